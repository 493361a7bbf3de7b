//! Pure. The one copy planner: how an object travels, and in which parts.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// Smallest part but the last (S3 User Guide, "Amazon S3 multipart upload limits").
pub const MIN_PART: u64 = 5 * MIB;

/// Largest part, and largest object of one PutObject or CopyObject (same page).
pub const MAX_PART: u64 = 5 * GIB;

/// Parts of an upload at most (same page).
pub const MAX_PARTS: u64 = 10_000;

/// Largest object S3 can hold: that many parts of that size.
pub const MAX_OBJECT: u64 = MAX_PARTS * MAX_PART;

/// Objects up to this size travel as one GET and one PUT. In parts such an object costs at least five requests
/// instead of two, and its ETag stops being comparable with that of a source written by one PUT; above it, what
/// parallel parts save on a long way is worth more.
pub const SINGLE_UP_TO: u64 = 16 * MIB;

/// Smallest part we choose ourselves; what most tools use, so that layouts often agree.
pub const USUAL_PART: u64 = 8 * MIB;

/// Parts double in size with each doubling of the round trip above this: between the last byte of a part and the first of
/// the next a connection stands still for about two round trips, and a window of a few MiB moves one usual part in as many.
const USUAL_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Parts grow up to this before there are more than [`FEW_PARTS`]: a part that fails is sent again as a whole.
const LARGE_PART: u64 = 64 * MIB;

/// Up to this many parts the cost of their requests does not matter.
const FEW_PARTS: u64 = 1_000;

/// Smallest part of a copy inside S3: no bytes travel, so only the number of requests counts.
const SERVER_SIDE_PART: u64 = 512 * MIB;

/// What is known of an object before it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its size in bytes.
    pub size: u64,
    /// Whether S3 can copy it by itself: same credential, and same endpoint or one AWS partition.
    pub server_side: bool,
    /// Largest object that travels as one.
    pub single_up_to: u64,
    /// Largest object of one copy inside S3.
    pub copy_up_to: u64,
    /// Smallest part to choose; below S3's own minimum only for servers that have another one.
    pub usual_part: u64,
    /// The longer of the shortest round trips to both sides that were seen.
    pub round_trip: Duration,
    /// Largest object the destination takes.
    pub max_object: u64,
    /// The source's part layout, when its ETag speaks of one.
    pub source_layout: Option<SourceLayout>,
    /// Whether only one pass over the whole body can verify it: the source has an MD5 and no checksum of another kind,
    /// and an MD5 cannot be combined from parts.
    pub whole_body_only: bool,
}

/// How the source was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLayout {
    /// Number of parts.
    pub parts: u32,
    /// Size of the first part in bytes.
    pub first_part: u64,
}

/// How an object travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One CopyObject.
    ServerSide,
    /// UploadPartCopy for each part.
    ServerSideParts(Layout),
    /// One GET into one PUT.
    Single,
    /// A ranged GET into an UploadPart, for each part.
    Parts(Layout),
    /// The destination cannot hold it.
    TooLarge,
}

/// Parts of equal size; the last may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a part.
    pub part_size: u64,
    /// Number of parts.
    pub parts: u32,
    /// Whether the source has the same parts, so that ETags come out equal.
    pub as_source: bool,
}

/// Decides how an object travels.
#[must_use]
pub fn choose(facts: Facts) -> Route {
    let Facts { size, server_side, single_up_to, max_object, .. } = facts;
    if size > max_object.min(MAX_OBJECT) {
        Route::TooLarge
    } else if server_side && size <= facts.copy_up_to.min(MAX_PART) {
        Route::ServerSide
    } else if server_side {
        Route::ServerSideParts(layout(facts, SERVER_SIDE_PART))
    } else if size <= single_up_to.min(MAX_PART) || (facts.whole_body_only && size <= MAX_PART) {
        Route::Single
    } else {
        let usual = on_the_way(facts.usual_part, facts.round_trip).min(LARGE_PART);
        let part = size.div_ceil(FEW_PARTS).clamp(usual, LARGE_PART);
        Route::Parts(layout(facts, part))
    }
}

/// The usual part on a way of this length. In a few steps only, so that agents of one region choose the same.
fn on_the_way(usual: u64, round_trip: Duration) -> u64 {
    let mut part = usual;
    let mut reached = USUAL_ROUND_TRIP;
    while round_trip > reached && part < LARGE_PART {
        part *= 2;
        reached *= 2;
    }
    part
}

fn layout(facts: Facts, wanted: u64) -> Layout {
    if let Some(layout) = facts.source_layout.and_then(|source| reproduced(facts, source)) {
        return layout;
    }
    let least = facts.size.div_ceil(MAX_PARTS);
    let wanted = wanted.max(least);
    let rounded = if wanted < MIN_PART { wanted } else { wanted.next_multiple_of(MIB) };
    let part_size = rounded.clamp(MIN_PART.min(facts.usual_part).max(1), MAX_PART);
    Layout { part_size, parts: count(facts.size, part_size), as_source: false }
}

/// The source's layout, when parts of equal size give it and S3 takes them.
fn reproduced(facts: Facts, source: SourceLayout) -> Option<Layout> {
    let size = facts.size;
    let least = MIN_PART.min(facts.usual_part);
    let part_size = source.first_part;
    let fits =
        (least..=MAX_PART).contains(&part_size) || (source.parts == 1 && part_size <= MAX_PART);
    let same = part_size > 0
        && u64::from(source.parts) <= MAX_PARTS
        && size.div_ceil(part_size) == u64::from(source.parts);
    (fits && same).then_some(Layout { part_size, parts: source.parts, as_source: true })
}

/// The parts an upload was begun with, when S3 takes them.
#[must_use]
pub fn begun(facts: Facts, part_size: u64) -> Option<Layout> {
    let least = MIN_PART.min(facts.usual_part).min(facts.size);
    let parts =
        facts.size.checked_div(part_size)? + u64::from(!facts.size.is_multiple_of(part_size));
    let fits = (least..=MAX_PART).contains(&part_size) && (1..=MAX_PARTS).contains(&parts);
    let parts = u32::try_from(parts).ok().filter(|_| fits)?;
    let as_source = facts.source_layout == Some(SourceLayout { parts, first_part: part_size });
    Some(Layout { part_size, parts, as_source })
}

fn count(size: u64, part_size: u64) -> u32 {
    u32::try_from(size.div_ceil(part_size)).expect("at most 10,000 by the choice of the size")
}

impl Layout {
    /// The bytes of a part, counted from 1.
    #[must_use]
    pub fn range(&self, number: u32, size: u64) -> std::ops::Range<u64> {
        let start = u64::from(number - 1) * self.part_size;
        start..size.min(start + self.part_size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(size: u64) -> Facts {
        Facts {
            size,
            server_side: false,
            single_up_to: SINGLE_UP_TO,
            copy_up_to: MAX_PART,
            usual_part: USUAL_PART,
            round_trip: Duration::ZERO,
            max_object: MAX_OBJECT,
            source_layout: None,
            whole_body_only: false,
        }
    }

    fn layout_of(route: Route) -> Layout {
        match route {
            Route::Parts(layout) | Route::ServerSideParts(layout) => layout,
            Route::ServerSide | Route::Single | Route::TooLarge => panic!("{route:?} has no parts"),
        }
    }

    #[test]
    fn the_route_changes_exactly_at_the_limits() {
        assert_eq!(choose(facts(0)), Route::Single);
        assert_eq!(choose(facts(SINGLE_UP_TO)), Route::Single);
        let layout = layout_of(choose(facts(SINGLE_UP_TO + 1)));
        assert_eq!((layout.part_size, layout.parts), (USUAL_PART, 3));
        let server_side = |size| choose(Facts { server_side: true, ..facts(size) });
        assert_eq!(server_side(MAX_PART), Route::ServerSide);
        assert_eq!(layout_of(server_side(MAX_PART + 1)).parts, 11);
        assert_eq!(layout_of(choose(facts(MAX_OBJECT))).part_size, MAX_PART);
        assert_eq!(choose(facts(MAX_OBJECT + 1)), Route::TooLarge);
        assert_eq!(choose(Facts { max_object: 9, ..facts(10) }), Route::TooLarge);
        let whole = |size| choose(Facts { whole_body_only: true, ..facts(size) });
        assert_eq!(whole(MAX_PART), Route::Single);
        assert!(matches!(whole(MAX_PART + 1), Route::Parts(_)));
    }

    #[test]
    fn parts_grow_with_the_round_trip_and_with_the_size() {
        let part = |millis, size| {
            let round_trip = Duration::from_millis(millis);
            layout_of(choose(Facts { round_trip, ..facts(size) })).part_size / MIB
        };
        let on_the_way = [0, 100, 101, 200, 201, 400, 401, 60_000].map(|ms| part(ms, GIB));
        assert_eq!(on_the_way, [8, 8, 16, 16, 32, 32, 64, 64]);
        // 1,000 parts of the usual size, of the largest we choose, and then as S3's limit has it.
        let sizes = [8_000 * MIB, 8_001 * MIB, 64_000 * MIB, 640_000 * MIB, 640_001 * MIB];
        assert_eq!(sizes.map(|size| part(0, size)), [8, 9, 64, 64, 65]);
    }

    #[test]
    fn the_sources_layout_is_taken_when_it_can_be() {
        let with = |size, parts, first_part| {
            let source_layout = Some(SourceLayout { parts, first_part });
            layout_of(choose(Facts { source_layout, ..facts(size) }))
        };
        let taken = with(100 * MIB, 10, 10 * MIB);
        assert_eq!(taken, Layout { part_size: 10 * MIB, parts: 10, as_source: true });
        assert!(with(100 * MIB, 1, 100 * MIB).as_source, "one part that is the last too");
        assert!(!with(100 * MIB, 9, 10 * MIB).as_source, "uneven parts");
        assert!(!with(40 * MIB, 10, 4 * MIB).as_source, "smaller than S3 takes");
        assert!(!with(40 * MIB, 10, 0).as_source);
    }

    #[test]
    fn parts_that_were_begun_are_taken_up_within_the_limits() {
        let begun = |size, part_size| begun(facts(size), part_size).map(|layout| layout.parts);
        assert_eq!(begun(100 * MIB, 32 * MIB), Some(4));
        assert_eq!(begun(96 * MIB, 32 * MIB), Some(3));
        assert_eq!(begun(MIB, MIB), Some(1), "the only part is the last");
        for (size, part_size) in
            [(0, MIB), (GIB, 0), (GIB, MIN_PART - 1), (MAX_OBJECT, MIN_PART), (GIB, MAX_PART + 1)]
        {
            assert_eq!(begun(size, part_size), None, "{size} {part_size}");
        }
        let source = |first_part| {
            let source_layout = Some(SourceLayout { parts: 4, first_part });
            super::begun(Facts { source_layout, ..facts(100 * MIB) }, 32 * MIB).unwrap().as_source
        };
        assert!(source(32 * MIB));
        assert!(!source(33 * MIB));
    }

    proptest! {
        #[test]
        fn parts_cover_the_object_within_the_limits(
            size in prop_oneof![
                SINGLE_UP_TO + 1..GIB, GIB..6 * 1024 * GIB, MAX_OBJECT - GIB..=MAX_OBJECT,
            ],
            server_side in any::<bool>(),
            source in prop::option::of((1..20_000_u32, 0..6 * GIB)),
            round_trip in (0..2_000_u64).prop_map(Duration::from_millis),
        ) {
            let source_layout =
                source.map(|(parts, first_part)| SourceLayout { parts, first_part });
            let route = choose(Facts { server_side, source_layout, round_trip, ..facts(size) });
            prop_assume!(route != Route::ServerSide);
            let layout = layout_of(route);
            prop_assert!(u64::from(layout.parts) <= MAX_PARTS && layout.part_size <= MAX_PART);
            prop_assert!(layout.part_size >= MIN_PART || layout.parts == 1);
            let mut end = 0;
            for number in 1..=layout.parts {
                let range = layout.range(number, size);
                prop_assert_eq!(range.start, end);
                prop_assert!(range.end > range.start);
                end = range.end;
            }
            prop_assert_eq!(end, size);
        }
    }
}
