//! Objects that S3 keeps in an archive: they are listed as failures and never asked for, since only a restore, which is
//! somebody else's to order, makes them readable.

use s3sync_proto::model::{Counters, Failure, FailureClass};

use crate::clock;
use crate::compare::Found;
use crate::scan::frontier::Settled;

/// What becomes of an object that a listing or a HEAD shows to be archived. No request is made for it.
pub(crate) fn settled(source: &Found) -> Settled {
    let counters = Counters { listed: 1, archived: 1, ..Counters::default() };
    Settled { counters, failure: Some(failure(source)), object: String::new() }
}

pub(super) fn failure(source: &Found) -> Failure {
    let now = clock::now();
    let class = match source.storage_class.as_str() {
        "" => "an archive tier",
        class => class,
    };
    Failure {
        key: source.key.clone(),
        // The server knows which destination the range is of.
        destination: 0,
        class: FailureClass::Archived,
        code: "archived".to_owned(),
        message: format!("it is in {class} and must be restored before it can be read"),
        s3_request_id: String::new(),
        attempts: 0,
        first: now,
        last: now,
    }
}
