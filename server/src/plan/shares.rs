//! Pure. Deals the limit of a job out to the sessions that hold work of its run. What all of them together may be using never
//! exceeds the limit, at no moment: a share grows only by what is free, and what was taken away is free only when its
//! session has said that it uses no more, or is gone.

use std::collections::BTreeMap;

use crate::store::SessionId;

/// What one session has of one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// What it was told last.
    pub told: u64,
    /// The most it may be using now.
    pub bound: u64,
}

/// What all sessions have of one limit.
pub type Holdings = BTreeMap<SessionId, Holding>;

/// Deals the limit anew, by the works that each session holds. To be called whenever something changed: it tells each
/// session as much of its share as is free now.
pub fn deal(limit: u64, works: &BTreeMap<SessionId, u32>, holdings: &mut Holdings) {
    let all: u64 = works.values().map(|works| u64::from(*works)).sum();
    let target = |session: &SessionId| {
        let works = works.get(session).copied().map_or(0, u64::from);
        let share = u128::from(limit) * u128::from(works) / u128::from(all.max(1));
        u64::try_from(share).unwrap_or(limit)
    };
    for session in works.keys() {
        holdings.entry(*session).or_default();
    }
    for (session, holding) in holdings.iter_mut() {
        holding.told = holding.told.min(target(session));
    }
    let used: u64 = holdings.values().map(|holding| holding.bound).sum();
    let mut free = limit.saturating_sub(used);
    for (session, holding) in holdings.iter_mut() {
        // What it may still be using it may as well use.
        let most = holding.bound.saturating_add(free);
        let told = target(session).min(most).max(holding.told);
        holding.told = told;
        let grown = told.saturating_sub(holding.bound);
        free -= grown;
        holding.bound += grown;
    }
}

/// A session uses no more than it was told last.
pub fn applied(session: SessionId, holdings: &mut Holdings) {
    if let Some(holding) = holdings.get_mut(&session) {
        holding.bound = holding.told;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn works(all: &[(u64, u32)]) -> BTreeMap<SessionId, u32> {
        all.iter().map(|(session, works)| (SessionId(*session), *works)).collect()
    }

    fn told(holdings: &Holdings) -> Vec<u64> {
        holdings.values().map(|holding| holding.told).collect()
    }

    #[test]
    fn a_second_session_gets_its_share_when_the_first_has_let_go_of_it() {
        let mut holdings = Holdings::new();
        deal(90, &works(&[(1, 2)]), &mut holdings);
        assert_eq!(told(&holdings), [90]);
        deal(90, &works(&[(1, 2), (2, 1)]), &mut holdings);
        assert_eq!(told(&holdings), [60, 0], "it may still use 90");
        applied(SessionId(1), &mut holdings);
        deal(90, &works(&[(1, 2), (2, 1)]), &mut holdings);
        assert_eq!(told(&holdings), [60, 30]);
        // It dies; until that is known its share is not dealt.
        deal(90, &works(&[(2, 1)]), &mut holdings);
        assert_eq!(told(&holdings), [0, 30]);
        holdings.remove(&SessionId(1));
        deal(90, &works(&[(2, 1)]), &mut holdings);
        assert_eq!(told(&holdings), [90]);
    }

    proptest! {
        /// Messages are lost and late, sessions come and go: what they use together is never more than the limit; and when
        /// all have answered, it is all of it, shared by works.
        #[test]
        fn the_limit_is_never_exceeded_and_in_the_end_all_of_it_is_dealt(
            limit in 0..1_000_000_u64,
            steps in prop::collection::vec((0..5_u8, 1..6_u64, 0..4_u32), 1..80),
        ) {
            let mut holdings = Holdings::new();
            let mut works = BTreeMap::new();
            // What each session uses: it may not have heard yet of what it was told.
            let mut using: BTreeMap<SessionId, u64> = BTreeMap::new();
            for (kind, session, n) in steps {
                let session = SessionId(session);
                match kind {
                    // It holds other works.
                    0 | 1 if n > 0 => drop(works.insert(session, n)),
                    0 | 1 => drop(works.remove(&session)),
                    // It hears, and says so.
                    2 => {
                        if let Some(holding) = holdings.get(&session).copied() {
                            using.insert(session, holding.told);
                            applied(session, &mut holdings);
                        }
                    }
                    // It hears, and what it says is lost.
                    3 => {
                        if let Some(holding) = holdings.get(&session) {
                            using.insert(session, holding.told);
                        }
                    }
                    // It is gone.
                    _ => {
                        works.remove(&session);
                        using.remove(&session);
                        holdings.remove(&session);
                    }
                }
                deal(limit, &works, &mut holdings);
                prop_assert!(using.values().sum::<u64>() <= limit);
                let bounds: u64 = holdings.values().map(|holding| holding.bound).sum();
                prop_assert!(bounds <= limit);
                for (session, holding) in &holdings {
                    prop_assert!(holding.told <= holding.bound);
                    prop_assert!(using.get(session).copied().unwrap_or_default() <= holding.bound);
                }
            }
            for _ in 0..2 {
                let all: Vec<_> = holdings.keys().copied().collect();
                all.into_iter().for_each(|session| applied(session, &mut holdings));
                deal(limit, &works, &mut holdings);
            }
            let all: u64 = works.values().map(|works| u64::from(*works)).sum();
            for (session, works) in &works {
                let share = limit * u64::from(*works) / all;
                prop_assert_eq!(holdings[session].told, share);
            }
        }
    }
}
