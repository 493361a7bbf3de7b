//! Lists both sides of a slice and finds where to cut it. What is concluded from the listings is decided in `merge`,
//! `frontier` and `cut`, which are pure.

pub mod cut;
pub mod frontier;
pub mod merge;

use s3sync_proto::model::{FailureClass, Key, WorkError};

use crate::compare::Found;
use crate::copy::failure_class;
use crate::s3::{ListRequest, Listed, Operation};
use crate::worker::context::Context;
use crate::worker::side::{Failed, Side};
use cut::{Cut, Step};
use merge::{Lane, Unordered};

/// Keys of one page: as many as S3 gives.
pub(crate) const PAGE_KEYS: u16 = 1_000;

/// Where a listing stands: the next request begins here.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// After this key (without prefix), or at the very first.
    After(Option<Key>),
    /// Behind the page that gave this token.
    Token(String),
}

/// A page of a listing, with keys without prefix.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) found: Vec<Found>,
    /// `None`: it was the last.
    pub(crate) next: Option<Place>,
    /// Whether it says in so many words what it lists.
    pub(crate) exact: bool,
}

/// Reads one page.
pub(crate) async fn page(context: &Context, lane: Lane, place: Place) -> Result<Page, WorkError> {
    let side = side(context, lane);
    let mut request = request(context, side, PAGE_KEYS);
    match place {
        Place::After(after) => request.start_after = start_after(side, after.as_ref()),
        Place::Token(token) => request.token = Some(token),
    }
    let list = side.call(Operation::List, || side.store.list(request.clone())).await;
    let page = list.map_err(|failed| work_error(&failed))?;
    if lane == Lane::Source {
        context.meter.listed(page.objects.len());
    }
    let mut found = Vec::with_capacity(page.objects.len());
    for listed in page.objects {
        let full = listed.key.clone();
        let Some(key) = side.relative(listed.key.clone()) else {
            return Err(bad_listing(lane, &full));
        };
        let archived = listed.is_archived();
        let Listed { key: _, size, etag, modified, storage_class, restored: _ } = listed;
        found.push(Found { key, size, etag, modified, storage_class, archived });
    }
    Ok(Page { found, next: page.next.map(Place::Token), exact: page.exact })
}

/// Searches a key to cut the slice at. `None`: nothing worth a cut is left, or it cannot be told.
pub(crate) async fn find_cut(context: &Context, mut cut: Cut, until: Option<Key>) -> Option<Key> {
    let side = &context.source;
    loop {
        let place = match cut.step() {
            Step::Probe(place) => place,
            Step::At(key) => return Some(key),
            Step::Decline => return None,
        };
        let request = ListRequest {
            start_after: start_after(side, Some(&place)),
            ..request(context, side, 1)
        };
        let list = side.call(Operation::List, || side.store.list(request.clone())).await.ok()?;
        let found = list.objects.into_iter().next().and_then(|listed| side.relative(listed.key));
        let inside = found.filter(|key| until.as_ref().is_none_or(|until| key <= until));
        cut.answer(inside.as_ref());
    }
}

/// The error of a listing out of order.
pub(crate) fn unordered(error: &Unordered) -> WorkError {
    WorkError {
        class: FailureClass::Permanent,
        code: "unordered_listing".to_owned(),
        message: error.to_string(),
    }
}

/// The error of a piece of work that one request spoils.
pub(crate) fn work_error(failed: &Failed) -> WorkError {
    let Failed { error, attempts } = failed;
    WorkError {
        class: failure_class(error.class),
        code: error.code.clone(),
        message: format!("{error} (tried {attempts} times)"),
    }
}

fn bad_listing(lane: Lane, key: &Key) -> WorkError {
    WorkError {
        class: FailureClass::Permanent,
        code: "bad_listing".to_owned(),
        message: format!("the listing of the {} has a key outside its prefix: {key}", lane.name()),
    }
}

/// A request for keys that the filter may let through.
fn request(context: &Context, side: &Side, max_keys: u16) -> ListRequest {
    let prefix = side.full(context.filter.prefix());
    ListRequest { prefix, max_keys, ..ListRequest::default() }
}

/// The full key to begin after. Nothing to say when that is the empty key: no object has it.
fn start_after(side: &Side, after: Option<&Key>) -> Option<Key> {
    after.map(|key| side.full(key)).filter(|full| !full.as_bytes().is_empty())
}

fn side(context: &Context, lane: Lane) -> &Side {
    match lane {
        Lane::Source => &context.source,
        Lane::Destination => &context.destination,
    }
}
