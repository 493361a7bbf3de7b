//! Pure. Merge-join of two listings in byte order, fed page by page, over one slice of the key space.

use std::collections::VecDeque;

use s3sync_proto::model::Key;

use super::Place;
use crate::compare::Found;

/// Which listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Of the source.
    Source,
    /// Of the destination.
    Destination,
}

/// What the join says of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The source has it, and what the destination has.
    Listed {
        /// At the source.
        source: Found,
        /// At the destination.
        destination: Option<Found>,
    },
    /// Only the destination has it.
    Extra(Found),
}

/// A listing was not strictly ascending, so nothing can be concluded from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the listing of the {} is not in ascending byte order: {key} after {last}", lane.name())]
pub struct Unordered {
    /// Which.
    pub lane: Lane,
    /// The key that came.
    pub key: Key,
    /// The key before it, or the bound of the slice.
    pub last: Key,
}

/// The join. Holds the keys that were fed and not yet joined.
#[derive(Debug)]
pub struct Merge {
    source: Queue,
    destination: Queue,
    until: Option<Key>,
    /// Last key that was given out; the slice is done up to here.
    joined: Option<Key>,
}

#[derive(Debug)]
struct Queue {
    found: VecDeque<Found>,
    last: Option<Key>,
    /// Where its next page begins; `None` while that is being read, or at the end.
    next: Option<Place>,
    ended: bool,
}

// === impl Merge ===

impl Merge {
    /// Joins the keys after `after` (`None`: from the very first, the empty one included) up to `until`.
    #[must_use]
    pub fn new(after: Option<Key>, until: Option<Key>) -> Self {
        let queue = || Queue {
            found: VecDeque::new(),
            last: after.clone(),
            next: Some(Place::After(after.clone())),
            ended: false,
        };
        Self { source: queue(), destination: queue(), until, joined: after.clone() }
    }

    /// Where the next page of a listing begins, when it is to be read: fewer than `ahead` of its keys wait, and no page of it
    /// is being read. It is being read from now on.
    pub(crate) fn next_page(&mut self, lane: Lane, ahead: usize) -> Option<Place> {
        let queue = self.queue(lane);
        if queue.ended || queue.found.len() >= ahead { None } else { queue.next.take() }
    }

    /// Takes a page of a listing; `next` is where the one behind it begins, `None` when no further one follows.
    ///
    /// # Errors
    /// The page is not strictly ascending, or begins at or below the key before it.
    pub(crate) fn feed(
        &mut self,
        lane: Lane,
        page: Vec<Found>,
        next: Option<Place>,
    ) -> Result<(), Unordered> {
        let until = self.until.clone();
        let queue = self.queue(lane);
        for found in page {
            if let Some(last) = queue.last.as_ref().filter(|last| found.key <= **last) {
                return Err(Unordered { lane, key: found.key, last: last.clone() });
            }
            queue.last = Some(found.key.clone());
            if until.as_ref().is_some_and(|until| found.key > *until) {
                queue.ended = true;
            } else {
                queue.found.push_back(found);
            }
        }
        queue.ended |= next.is_none();
        queue.next = next;
        Ok(())
    }

    /// The next key, when both listings reach far enough to tell.
    pub fn join(&mut self) -> Option<Verdict> {
        let source = self.source.head()?;
        let destination = self.destination.head()?;
        let verdict = match (source, destination) {
            (None, None) => return None,
            (Some(s), Some(d)) if s == d => Verdict::Listed {
                source: self.source.found.pop_front()?,
                destination: self.destination.found.pop_front(),
            },
            (Some(s), d) if d.is_none_or(|d| s < d) => {
                Verdict::Listed { source: self.source.found.pop_front()?, destination: None }
            }
            _ => Verdict::Extra(self.destination.found.pop_front()?),
        };
        let key = match &verdict {
            Verdict::Listed { source, .. } => &source.key,
            Verdict::Extra(found) => &found.key,
        };
        self.joined = Some(key.clone());
        Some(verdict)
    }

    /// Whether this listing has reached the end of the slice.
    #[must_use]
    pub fn ended(&self, lane: Lane) -> bool {
        match lane {
            Lane::Source => self.source.ended,
            Lane::Destination => self.destination.ended,
        }
    }

    /// Whether all keys of the slice have been given out.
    #[must_use]
    pub fn done(&self) -> bool {
        [&self.source, &self.destination].iter().all(|queue| queue.ended && queue.found.is_empty())
    }

    /// The end of the slice.
    #[must_use]
    pub fn until(&self) -> Option<&Key> {
        self.until.as_ref()
    }

    /// The last key that was listed on the source side, or the bound the slice began after.
    #[must_use]
    pub fn listed(&self) -> Option<&Key> {
        self.source.last.as_ref()
    }

    /// Ends the slice at `at` from now on. Returns whether it could: not when a key at or above it was given out.
    pub fn stop_at(&mut self, at: &Key) -> bool {
        if self.joined.as_ref().is_some_and(|joined| joined >= at)
            || self.until.as_ref().is_some_and(|until| at >= until)
        {
            return false;
        }
        self.until = Some(at.clone());
        for queue in [&mut self.source, &mut self.destination] {
            if queue.last.as_ref().is_some_and(|last| last >= at) {
                queue.ended = true;
            }
            let keep = queue.found.partition_point(|found| found.key <= *at);
            queue.found.truncate(keep);
        }
        true
    }

    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Source => &mut self.source,
            Lane::Destination => &mut self.destination,
        }
    }
}

impl Queue {
    /// The next key: `None` when more pages are needed to know it, `Some(None)` when there is none.
    fn head(&self) -> Option<Option<&Key>> {
        match self.found.front() {
            Some(found) => Some(Some(&found.key)),
            None if self.ended => Some(None),
            None => None,
        }
    }
}

impl Lane {
    /// Its name, for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use s3sync_proto::model::{KeyRange, Timestamp};

    use super::*;

    fn found(key: &str) -> Found {
        Found {
            key: Key::from(key),
            size: 0,
            etag: String::new(),
            modified: Timestamp::default(),
            storage_class: String::new(),
            archived: false,
        }
    }

    fn page(keys: &[&str]) -> Vec<Found> {
        keys.iter().map(|key| found(key)).collect()
    }

    fn feed(
        merge: &mut Merge,
        lane: Lane,
        page: Vec<Found>,
        last_page: bool,
    ) -> Result<(), Unordered> {
        merge.feed(lane, page, (!last_page).then(|| Place::Token("t".to_owned())))
    }

    #[test]
    fn a_page_is_asked_for_once_and_only_when_few_keys_wait_and_more_may_come() {
        let after = Some(Key::from("0"));
        let mut merge = Merge::new(after.clone(), Some(Key::from("m")));
        let (source, destination) = (Lane::Source, Lane::Destination);
        assert!(matches!(merge.next_page(source, 2), Some(Place::After(at)) if at == after));
        assert!(merge.next_page(source, 2).is_none(), "it is being read");
        assert!(matches!(merge.next_page(destination, 2), Some(Place::After(_))));
        feed(&mut merge, source, page(&["a", "b"]), false).unwrap();
        assert!(merge.next_page(source, 2).is_none(), "two wait");
        assert!(matches!(merge.next_page(source, 3), Some(Place::Token(_))));
        feed(&mut merge, source, page(&["c", "x"]), false).unwrap();
        assert!(merge.next_page(source, 9).is_none(), "the slice ends before it");
        feed(&mut merge, destination, page(&["a"]), true).unwrap();
        assert!(merge.next_page(destination, 9).is_none(), "it was the last");
    }

    #[test]
    fn a_page_that_goes_back_is_refused_within_and_across_pages() {
        let mut merge = Merge::new(None, None);
        assert!(feed(&mut merge, Lane::Source, page(&["a", "c", "b"]), false).is_err());
        let mut merge = Merge::new(None, None);
        feed(&mut merge, Lane::Source, page(&["a", "c"]), false).unwrap();
        assert!(
            feed(&mut merge, Lane::Source, page(&["c"]), false).is_err(),
            "twice is not ascending"
        );
        let mut merge = Merge::new(Some(Key::from("b")), None);
        let error = feed(&mut merge, Lane::Destination, page(&["a"]), true).unwrap_err();
        assert_eq!(error.last, Key::from("b"), "start-after was not honoured");
    }

    #[test]
    fn nothing_is_said_before_both_sides_are_known() {
        let mut merge = Merge::new(None, None);
        feed(&mut merge, Lane::Source, page(&["a"]), true).unwrap();
        assert_eq!(merge.join(), None);
        assert!(!merge.done());
        feed(&mut merge, Lane::Destination, page(&[]), true).unwrap();
        assert!(matches!(merge.join(), Some(Verdict::Listed { destination: None, .. })));
        assert!(merge.done());
    }

    #[test]
    fn a_slice_is_cut_only_above_what_was_given_out() {
        let mut merge = Merge::new(None, None);
        feed(&mut merge, Lane::Source, page(&["a", "b", "c", "d"]), false).unwrap();
        feed(&mut merge, Lane::Destination, page(&["b", "z"]), false).unwrap();
        assert!(merge.join().is_some());
        assert!(!merge.stop_at(&Key::from("a")));
        assert!(merge.stop_at(&Key::from("c")));
        assert!(!merge.stop_at(&Key::from("c")), "it ends there already");
        assert!(merge.join().is_some() && merge.join().is_some() && merge.join().is_none());
        assert!(merge.done());
    }

    proptest! {
        /// Whatever the pages and the slice: each key of the slice comes once, in order, on the side it belongs to.
        #[test]
        fn each_key_of_the_slice_comes_once(
            source in prop::collection::btree_set("[a-c]{0,3}", 0..30),
            destination in prop::collection::btree_set("[a-c]{0,3}", 0..30),
            after in prop::option::of("[a-c]{0,2}"),
            until in prop::option::of("[a-c]{0,2}"),
            sizes in (1..5_usize, 1..5_usize),
        ) {
            let range = KeyRange {
                after: after.as_deref().map(Key::from),
                until: until.as_deref().map(Key::from),
            };
            let above = |keys: &BTreeSet<String>| -> Vec<String> {
                let listed = keys.iter().filter(|key| {
                    range.after.as_ref().is_none_or(|after| Key::from(key.as_str()) > *after)
                });
                listed.cloned().collect()
            };
            let (s, d) = (above(&source), above(&destination));
            let mut pages = (s.chunks(sizes.0), d.chunks(sizes.1));
            let mut merge = Merge::new(range.after.clone(), range.until.clone());
            let mut joined = Vec::new();
            while !merge.done() {
                if let Some(verdict) = merge.join() {
                    joined.push(match verdict {
                        Verdict::Listed { source, destination } => {
                            (source.key.to_string(), true, destination.is_some())
                        }
                        Verdict::Extra(found) => (found.key.to_string(), false, true),
                    });
                    continue;
                }
                for (lane, chunks) in
                    [(Lane::Source, &mut pages.0), (Lane::Destination, &mut pages.1)]
                {
                    if merge.next_page(lane, 1).is_some() {
                        let keys = chunks.next().unwrap_or_default();
                        let page = keys.iter().map(|key| found(key)).collect();
                        feed(&mut merge, lane, page, keys.is_empty()).unwrap();
                    }
                }
            }
            let expected: Vec<_> = source
                .union(&destination)
                .filter(|key| range.contains(&Key::from(key.as_str())))
                .map(|key| (key.clone(), source.contains(key), destination.contains(key)))
                .collect();
            prop_assert_eq!(joined, expected);
        }
    }
}
