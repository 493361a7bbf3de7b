//! How an object would travel: what `choose` decides by, as far as it must be asked for.

use s3sync_proto::model::{Counters, EtagKind};

use super::choose::{self, Facts, Route, SourceLayout};
use super::{By, Fault, State, Task, head_source};
use crate::compare::{Found, is_md5_like, parts_of};
use crate::s3::{Class, Object};
use crate::worker::context::Context;
use crate::worker::side::Failed;

/// Counts how the bytes of a copy went.
pub(super) fn count(by: By, bytes: u64, counters: &mut Counters) {
    match by {
        By::Agent => {}
        By::AgentParts => (counters.copied_parts, counters.copied_parts_bytes) = (1, bytes),
        By::Copy => {
            (counters.copied_server_side, counters.copied_server_side_bytes) = (1, bytes);
        }
        By::PartCopies => {
            (counters.copied_server_side, counters.copied_server_side_bytes) = (1, bytes);
            counters.copied_server_side_parts = 1;
            counters.copied_server_side_parts_bytes = bytes;
        }
    }
}

/// What is known of a copy before anything is asked.
pub(super) fn facts(context: &Context, size: u64) -> Facts {
    Facts {
        size,
        server_side: context.server_side(),
        single_up_to: context.engine.settings.single_up_to,
        copy_up_to: context.engine.settings.copy_up_to,
        usual_part: context.engine.settings.usual_part,
        round_trip: context.round_trip(),
        max_object: context.max_object,
        source_layout: None,
        whole_body_only: false,
    }
}

/// The rest of it, for what may be copied in parts.
pub(super) async fn all_facts(
    context: &Context,
    state: &State,
    object: &Object,
) -> Result<Facts, Fault> {
    let whole_body_only = object.checksum.is_none()
        && is_md5_like(&state.source.etag)
        && context.kinds().source != Some(EtagKind::Opaque);
    let source_layout = source_layout(context, state).await?;
    Ok(Facts { source_layout, whole_body_only, ..facts(context, state.source.size) })
}

/// How an object would travel as it is now. Only reads.
pub(crate) async fn route(context: &Context, source: Found, object: &Object) -> Route {
    let early = choose::choose(facts(context, source.size));
    if !matches!(early, Route::Parts(_) | Route::ServerSideParts(_)) {
        return early;
    }
    let state = State::new(Task { source, seen: None, ask: None, left: None }, false);
    let facts = all_facts(context, &state, object).await;
    facts.map_or(early, choose::choose)
}

async fn source_layout(context: &Context, state: &State) -> Result<Option<SourceLayout>, Fault> {
    let Some(parts) = parts_of(&state.source.etag) else { return Ok(None) };
    match head_source(context, state, Some(1)).await {
        Ok(part) if part.parts_count.is_none_or(|count| count == parts) => {
            Ok(Some(SourceLayout { parts, first_part: part.length }))
        }
        // Not every server knows part numbers; then the layout stays unknown.
        Ok(_) => Ok(None),
        Err(Fault::Spent(Failed { error, .. }))
            if matches!(error.class, Class::Unsupported | Class::Permanent) =>
        {
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}
