//! What a run would delete.

use s3sync_proto::model::{DeleteReview, DeleteShare, Run};

use super::resources::place;
use super::text::count;

/// Sample keys of a destination that are shown.
const SAMPLES: usize = 10;

/// What is to be deleted, a line for each destination and each of some keys.
pub(crate) fn review_lines(run: &Run, review: &DeleteReview) -> Vec<String> {
    let mut lines = Vec::new();
    for share in &review.destinations {
        lines.push(share_line(run, share));
        for key in share.samples.iter().take(SAMPLES) {
            lines.push(format!("  {key}"));
        }
        let shown = share.samples.len().min(SAMPLES) as u64;
        if shown > 0 && share.extra > shown {
            lines.push(format!("  and {} more", count(share.extra - shown)));
        }
    }
    lines
}

fn share_line(run: &Run, share: &DeleteShare) -> String {
    let DeleteShare { destination, extra, listed, deleted, reason, samples: _ } = share;
    let index = usize::try_from(*destination).unwrap_or(usize::MAX);
    let at = run.destinations.get(index).map_or_else(String::new, |one| place(&one.location));
    let mut line = format!("{} of {} keys in {at}", count(*extra), count(*listed));
    if *deleted > 0 {
        line.push_str(&format!(", beside {} it has deleted", count(*deleted)));
    }
    if !reason.is_empty() {
        line.push_str(&format!(": {reason}"));
    }
    line
}
