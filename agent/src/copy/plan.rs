//! What a run would do with one key: a copy's questions without the copy. Nothing is written.

use std::sync::Arc;

use s3sync_proto::model::{CopyWay, Failure};

use super::ask::{Compared, can_copy_onto_itself, compared};
use super::choose::{Route, choose};
use super::{Fault, State, Task, carry, failure, head_source, look, too_large, way};
use crate::clock;
use crate::compare::{Ask, Found, parts_of};
use crate::retry::{Next, Tries};
use crate::worker::context::Context;
use crate::worker::side::Failed;

/// How often a key is looked at anew that changes while it is looked at.
const MAX_LOOKS: u32 = 3;

/// What would become of a key.
#[derive(Debug)]
pub(crate) enum Fate {
    InStep,
    Vanished,
    Copy(CopyWay),
    Archived,
    Fail(Box<Failure>),
}

/// What a run would do with a key, and what that would cost.
#[derive(Debug)]
pub(crate) struct Planned {
    /// As it was found at last.
    pub(crate) source: Found,
    pub(crate) fate: Fate,
    /// Requests that read, about.
    pub(crate) reads: u64,
    /// Requests that write, about.
    pub(crate) writes: u64,
}

/// Looks at a key as closely as a copy of it would.
pub(crate) async fn plan(context: &Arc<Context>, task: Task) -> Planned {
    let began = clock::now();
    let mut state = State::new(task, false);
    let mut tries = Tries::default();
    let mut looks = 0;
    let (mut reads, mut writes) = (0, 0);
    let fate = loop {
        let attempt = attempt(context, &mut state).await;
        let (error, attempts) = match attempt {
            Ok((fate, cost)) => {
                (reads, writes) = cost;
                break fate;
            }
            Err(Fault::Vanished) => break Fate::Vanished,
            Err(Fault::Changed(error)) if looks < MAX_LOOKS => {
                looks += 1;
                match look::again(context, &mut state).await {
                    Ok(true) => break Fate::InStep,
                    Ok(false) => {
                        state.ask = None;
                        continue;
                    }
                    Err(Fault::Vanished) => break Fate::Vanished,
                    Err(Fault::Spent(Failed { error, attempts })) => (error, attempts),
                    Err(_) => (error, looks),
                }
            }
            Err(Fault::Changed(error)) => (error, looks),
            Err(Fault::Failed(error)) => match tries.failed(error.class, fastrand::f64()) {
                Next::Wait(wait) => {
                    context.side_of(&error).limiter.again(wait).await;
                    continue;
                }
                Next::GiveUp => (error, tries.failed),
            },
            Err(Fault::Spent(Failed { error, attempts })) => (error, attempts),
            // Of writes, and nothing is written.
            Err(Fault::Lost | Fault::GivenUp | Fault::OtherWay | Fault::Unstamped(_)) => {
                break Fate::Copy(CopyWay::Single);
            }
        };
        break Fate::Fail(Box::new(failure(&state.source.key, &error, attempts, began)));
    };
    Planned { source: state.source, fate, reads, writes }
}

/// What would become of a key, and the requests that read and write.
async fn attempt(context: &Context, state: &mut State) -> Result<(Fate, (u64, u64)), Fault> {
    let ask = state.ask;
    let compared = match ask {
        Some(ask) => compared(context, state, ask).await?,
        None => Compared::Copy,
    };
    // What is asked now is asked by a run as well. Tags are not foreseen.
    let mut reads = match ask {
        None => 0,
        Some(Ask::Stamp) => 1,
        Some(Ask::Checksums | Ask::Carried) => 2,
    };
    match compared {
        Compared::InStep => Ok((Fate::InStep, (reads, 0))),
        Compared::Drifted(drifted) if can_copy_onto_itself(context, &drifted.destination) => {
            Ok((Fate::Copy(CopyWay::Repair), (reads, 1)))
        }
        Compared::Copy if state.source.archived => Ok((Fate::Archived, (reads, 0))),
        Compared::Copy | Compared::Drifted(_) => {
            let route = route(context, state).await?;
            let cost = cost(context, state, route);
            reads += cost.0;
            let way = match route {
                Route::ServerSide => CopyWay::ServerSide,
                Route::ServerSideParts(_) => CopyWay::ServerSideParts,
                Route::Single => CopyWay::Single,
                Route::Parts(_) => CopyWay::Parts,
                Route::TooLarge => return Err(too_large(context, &state.source)),
            };
            Ok((Fate::Copy(way), (reads, cost.1)))
        }
    }
}

/// The way a copy would go. As a copy, it asks for more of what may travel in parts.
async fn route(context: &Context, state: &State) -> Result<Route, Fault> {
    let early = choose(way::facts(context, state.source.size));
    if !matches!(early, Route::Parts(_) | Route::ServerSideParts(_)) {
        return Ok(early);
    }
    let object = head_source(context, state, None).await?;
    carry::all_readable(context, state, &object)?;
    Ok(choose(way::all_facts(context, state, &object).await?))
}

/// Requests that read and write, of a copy that goes as it should.
fn cost(context: &Context, state: &State, route: Route) -> (u64, u64) {
    let source = &state.source;
    let known = &context.destination.known;
    let again = |honoured: Option<bool>| u64::from(honoured == Some(false));
    // HEAD of what goes in parts, and of its first part when the source was written in parts.
    let layout = 1 + u64::from(parts_of(&source.etag).is_some());
    match route {
        Route::ServerSide => {
            let comparable = carry::single_is_comparable(context, state);
            let stamped = carry::stamp_of(context, state, comparable).is_some();
            let head = u64::from(stamped || source.size == 0);
            (head + again(known.conditional_copies()), 1)
        }
        Route::Single => (1 + again(known.conditional_writes()), 1),
        Route::ServerSideParts(parts) => {
            (layout + again(known.conditional_writes()), u64::from(parts.parts) + 2)
        }
        Route::Parts(parts) => {
            let parts = u64::from(parts.parts);
            (layout + parts + again(known.conditional_writes()), parts + 2)
        }
        Route::TooLarge => (0, 0),
    }
}
