//! Pure. Where a run's ranges were cut is where the next one begins with ranges, as far as that is worth it.

/// Most cuts that are kept. More agents than that split further.
const MAX_CUTS: usize = 64;

/// Keys a range should have on average. A smaller one costs more in listings that are not full than it gains.
const KEYS_PER_RANGE: u64 = 10_000;

/// The cuts to keep of a run that listed so many keys: evenly thinned, in their order.
pub fn kept_cuts<T>(cuts: Vec<T>, listed: u64) -> impl Iterator<Item = T> {
    let worth = usize::try_from(listed / KEYS_PER_RANGE).unwrap_or(usize::MAX).saturating_sub(1);
    let room = worth.min(MAX_CUTS);
    let step = if room == 0 { usize::MAX } else { cuts.len().div_ceil(room).max(1) };
    cuts.into_iter().skip(step - 1).step_by(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_thinned_to_what_is_worth_it() {
        let kept = |cuts: usize, listed: u64| kept_cuts((0..cuts).collect(), listed).count();
        assert_eq!(kept(7, 19_999), 0, "one range of fewer than 20,000 keys");
        assert_eq!(kept(7, 20_000), 1);
        assert_eq!(kept(7, 10_000_000), 7);
        assert_eq!(kept(0, 10_000_000), 0);
        assert!(kept(1_000, 1_000_000_000) <= MAX_CUTS);
        assert!(kept(1_000, 1_000_000_000) > MAX_CUTS / 2);
    }
}
