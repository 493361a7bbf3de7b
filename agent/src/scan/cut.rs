//! Pure. Finds a key that about halves what is left of a slice, by asking for the first key above a place, a bounded
//! number of times. Knows nothing of how many keys lie where: it halves the key space as its keys spell it.

use std::collections::BTreeSet;

use s3sync_proto::model::Key;

/// Questions asked at most; each is a LIST of one key, so a cut costs no more than a few pages.
pub const MAX_PROBES: u32 = 24;

/// Questions spent on finding about where the keys end.
const PROBES_FOR_THE_END: u32 = 16;

/// Above every key with the same beginning: the highest code point there is.
const CEILING: char = '\u{10ffff}';

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for the first key above this place and give it to [`Cut::answer`].
    Probe(Key),
    /// Cut behind this key, which exists.
    At(Key),
    /// Nothing worth a cut was found.
    Decline,
}

/// The search for a place to cut.
#[derive(Debug)]
pub struct Cut {
    /// Everything up to here stays.
    low: String,
    /// The highest key known to exist.
    last: String,
    /// Nothing is known to exist above.
    high: Option<String>,
    /// Places that may be above everything, the most likely at the end.
    ceilings: Vec<String>,
    alphabet: Vec<char>,
    probes: u32,
    asked: Option<Asked>,
    outcome: Option<Step>,
}

#[derive(Debug)]
enum Asked {
    End(String),
    Middle(String),
}

// === impl Cut ===

impl Cut {
    /// Searches above `listed` up to `until`; `first` is a key from the beginning of the slice.
    #[must_use]
    pub fn new(first: &Key, listed: &Key, until: Option<&Key>) -> Self {
        let text = |key: &Key| String::from_utf8_lossy(key.as_bytes()).into_owned();
        let (first, low) = (text(first), text(listed));
        let shared = common(&first, &low);
        // Keys mostly share a folder, or a word before a number, with those around them; one question tells, instead
        // of some for each letter.
        let mut ceilings = vec![String::new()];
        ceilings.extend(words(&shared));
        ceilings.dedup();
        let until = until.map(text);
        let mut cut = Self {
            last: until.clone().unwrap_or_else(|| low.clone()),
            high: until,
            alphabet: Vec::new(),
            ceilings,
            low,
            probes: 0,
            asked: None,
            outcome: None,
        };
        cut.learn(&first);
        let (low, last) = (cut.low.clone(), cut.last.clone());
        cut.learn(&low);
        cut.learn(&last);
        cut
    }

    /// What to do next.
    pub fn step(&mut self) -> Step {
        if let Some(outcome) = &self.outcome {
            return outcome.clone();
        }
        if self.probes >= MAX_PROBES {
            return Step::Decline;
        }
        let asked = match self.next_question() {
            Some(asked) => asked,
            None => return Step::Decline,
        };
        self.probes += 1;
        let (Asked::End(place) | Asked::Middle(place)) = &asked;
        let probe = Key::from(place.as_str());
        self.asked = Some(asked);
        Step::Probe(probe)
    }

    /// Takes the first key above the place that was asked for; `None` when there is none in the slice.
    pub fn answer(&mut self, found: Option<&Key>) {
        let found = found.and_then(|key| std::str::from_utf8(key.as_bytes()).ok());
        if let Some(found) = found {
            self.learn(found);
        }
        match self.asked.take() {
            Some(Asked::End(place)) => match found {
                Some(found) if found > self.last.as_str() => found.clone_into(&mut self.last),
                Some(_) => {}
                None => self.high = Some(place),
            },
            Some(Asked::Middle(place)) => match found {
                // The last key is no place to cut: behind it is nothing.
                Some(found) if found < self.last.as_str() => {
                    self.outcome = Some(Step::At(Key::from(found)));
                }
                _ => self.last = place,
            },
            None => {}
        }
    }

    fn next_question(&mut self) -> Option<Asked> {
        if self.high.is_none() {
            let shared = self.ceilings.pop()?;
            return Some(Asked::End(format!("{shared}{CEILING}")));
        }
        if self.probes < PROBES_FOR_THE_END
            && let Some(high) = self.high.as_ref().filter(|high| **high != self.last)
            && let Some(place) = between(&self.last, high, &self.alphabet)
        {
            return Some(Asked::End(place));
        }
        between(&self.low, &self.last, &self.alphabet).map(Asked::Middle)
    }

    /// Takes over the letters of a key, so that halves are counted in letters that are in use.
    fn learn(&mut self, key: &str) {
        let known: BTreeSet<char> = self.alphabet.iter().copied().chain(key.chars()).collect();
        self.alphabet = known.into_iter().collect();
    }
}

/// The beginnings of a text that end where a word ends, the shortest first; the whole text is one.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let kind = |c: char| (c.is_numeric(), c.is_alphabetic());
    text.char_indices().filter_map(move |(at, c)| {
        let end = at + c.len_utf8();
        let next = text[end..].chars().next();
        let ends = !c.is_alphanumeric() || next.is_none_or(|next| kind(next) != kind(c));
        ends.then(|| text[..end].to_owned())
    })
}

fn common(a: &str, b: &str) -> String {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

/// A text about halfway between two, counted in letters of the alphabet; strictly between them, else `None`.
fn between(low: &str, high: &str, alphabet: &[char]) -> Option<String> {
    let shared = common(low, high);
    let (low_rest, high_rest) = (&low[shared.len()..], &high[shared.len()..]);
    // Digit 0 is the end of the text.
    let base = alphabet.len() as u128 + 1;
    let mut places = 1;
    while base.pow(places + 1) < 1 << 96 && places < 24 {
        places += 1;
    }
    let value = |rest: &str| {
        let mut chars = rest.chars();
        (0..places).fold(0, |value, _| {
            let digit = chars.next().map_or(0, |c| match alphabet.binary_search(&c) {
                Ok(index) => index as u128 + 1,
                Err(index) => index as u128,
            });
            value * base + digit
        })
    };
    let (low_value, high_value) = (value(low_rest), value(high_rest));
    let mut middle = low_value + high_value.checked_sub(low_value)? / 2;
    let mut digits = Vec::new();
    for _ in 0..places {
        digits.push(usize::try_from(middle % base).ok()?);
        middle /= base;
    }
    let rest = digits.iter().rev().map_while(|digit| digit.checked_sub(1).map(|i| alphabet[i]));
    let text: String = shared.chars().chain(rest).collect();
    (low < text.as_str() && text.as_str() < high).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a search over these keys, of which the first `listed` were listed.
    fn search(keys: &[String], listed: usize, until: Option<&str>) -> (Option<usize>, u32) {
        let key = |text: &String| Key::from(text.as_str());
        let until = until.map(Key::from);
        let mut cut = Cut::new(&key(&keys[0]), &key(&keys[listed - 1]), until.as_ref());
        loop {
            match cut.step() {
                Step::Probe(place) => {
                    let found = keys.iter().map(key).find(|key| *key > place);
                    cut.answer(
                        found.filter(|f| until.as_ref().is_none_or(|until| f <= until)).as_ref(),
                    );
                }
                Step::At(at) => {
                    let index = keys.iter().position(|k| key(k) == at).expect("an existing key");
                    return (Some(index), cut.probes);
                }
                Step::Decline => return (None, cut.probes),
            }
        }
    }

    #[test]
    fn even_key_spaces_are_cut_about_in_half() {
        let spaces: [(&str, Vec<String>); 4] = [
            ("numbers", (0..10_000).map(|n| format!("{n:08}")).collect()),
            ("in one folder", (0..10_000).map(|n| format!("data/2026/img-{n:06}.jpg")).collect()),
            ("hex", (0..10_000_u64).map(|n| format!("{:05x}/k", n * 104)).collect()),
            ("folders", (0..10_000).map(|n| format!("d{:02}/f{:03}", n / 200, n % 200)).collect()),
        ];
        for (name, keys) in spaces {
            for listed in [1_000, 5_000] {
                let (at, probes) = search(&keys, listed, None);
                let at = at.unwrap_or_else(|| panic!("{name}: declined after {probes}"));
                let stays = at.saturating_sub(listed) as f64 / (keys.len() - listed) as f64;
                assert!((0.2..0.8).contains(&stays), "{name}, {listed}: {stays} stays");
                assert!(probes <= MAX_PROBES);
            }
        }
    }

    #[test]
    fn nothing_left_is_declined() {
        let keys: Vec<_> = (0..1_000).map(|n| format!("{n:04}")).collect();
        assert_eq!(search(&keys, 1_000, None).0, None);
        assert_eq!(search(&keys, 999, None).0, None, "behind the last key is nothing");
    }

    proptest! {
        /// Whatever the keys: a cut is at a key that exists, above what was listed and with something left behind it.
        #[test]
        fn a_cut_leaves_something_on_both_sides(
            keys in prop::collection::btree_set("[a-c/é\u{1f600}]{0,6}", 2..60),
            listed in any::<prop::sample::Index>(),
            bounded in any::<bool>(),
        ) {
            let keys: Vec<_> = keys.into_iter().collect();
            let listed = listed.index(keys.len() - 1) + 1;
            let until = bounded.then(|| keys[keys.len() - 1].as_str());
            let (at, probes) = search(&keys, listed, until);
            prop_assert!(probes <= MAX_PROBES);
            if let Some(at) = at {
                prop_assert!(at >= listed && at + 1 < keys.len());
            }
        }
    }
}
