//! Looks at one key on both sides as it is now, and says how it stands and what a run would do. Nothing is written: the
//! desk it works at lets no commit begin.

mod judge;
mod look;

use std::sync::Arc;

use s3sync_proto::model::{
    Assignment, CompareMode, FailureClass, Key, KeyExplanation, Matcher, Work, WorkError,
};

use self::judge::{Carried, Evidence};
use self::look::{Looked, look};
use crate::compare::drift::{drift, same_tags};
use crate::compare::{Ask, Decision, decide};
use crate::copy;
use crate::work::NoDesk;
use crate::worker::context::Context;
use crate::worker::{Engine, Sides};

/// Explains the one key of an assignment.
///
/// # Errors
/// When the assignment is not of one key, or this version does not know its filter.
pub(crate) async fn explain(
    assignment: Assignment,
    sides: Sides,
    engine: Arc<Engine>,
) -> Result<KeyExplanation, WorkError> {
    let refuse = |message: String| {
        let code = "unsupported".to_owned();
        WorkError { class: FailureClass::Permanent, code, message }
    };
    let key = match &assignment.work {
        Work::Keys(keys) if keys.len() == 1 => keys[0].clone(),
        Work::Keys(_)
        | Work::DeleteKeys { .. }
        | Work::Range { .. }
        | Work::Delete(_)
        | Work::Reap => {
            return Err(refuse("only one key at a time is explained".to_owned()));
        }
    };
    let filter = Matcher::new(&assignment.filter).map_err(|problem| refuse(problem.to_string()))?;
    let patterns = assignment.filter.clone();
    let context = Context::new(&assignment, filter, sides, Arc::new(NoDesk), engine);
    let (source, destination) =
        tokio::join!(look(&context.source, &key), look(&context.destination, &key));
    let carried = carried(&context, &key, &source, &destination).await;
    let route = match (&source.found, &source.object) {
        (Some(found), Some(object)) => Some(copy::route(&context, found.clone(), object).await),
        _ => None,
    };
    let evidence = Evidence {
        key: &key,
        mode: context.compare,
        kinds: context.kinds(),
        filter: &context.filter,
        patterns: &patterns,
        source: &source,
        destination: &destination,
        carried,
        route,
        max_object: context.max_object,
    };
    Ok(judge::judge(evidence))
}

/// What both sides carry, where the job compares that too.
async fn carried(
    context: &Context,
    key: &Key,
    source: &Looked,
    destination: &Looked,
) -> Option<Carried> {
    let (from, to) = (source.object.as_ref()?, destination.object.as_ref()?);
    let pair = (source.found.as_ref()?, destination.found.as_ref()?);
    let asked = matches!(
        decide(context.compare, pair.0, pair.1, context.kinds()),
        Decision::Ask(Ask::Carried | Ask::Stamp)
    );
    if context.compare != CompareMode::Full || !asked {
        return None;
    }
    let mut differs = drift(&from.attributes, &to.attributes);
    let tags =
        tokio::join!(look::tags(&context.source, key), look::tags(&context.destination, key));
    let unread = match tags {
        (Ok(from), Ok(to)) => {
            if !same_tags(&from, &to) {
                differs.push("tags".to_owned());
            }
            false
        }
        _ => true,
    };
    Some(Carried { differs, unread })
}
