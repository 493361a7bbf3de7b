//! Queues.

use tonic::transport::Uri;

use super::problems::quoted;
use super::{Problems, int32, names, status, time_to};
use crate::model::{Invalid, MAX_RECEIVERS_PER_QUEUE, Queue, QueueSpec};
use crate::pb::v1 as pb;

/// A queue's settings from a request; what is output only is ignored.
///
/// # Errors
/// Every problem of the fields.
pub fn queue_spec(queue: pb::Queue) -> Result<QueueSpec, Invalid> {
    let mut problems = Problems::default();
    let spec = spec(&queue, &mut problems);
    problems.finish(spec)
}

/// A queue as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn queue_from(queue: pb::Queue) -> Result<Queue, Invalid> {
    let mut problems = Problems::default();
    let name = problems.part("", names::queue_name(&queue.name));
    let created = problems.time("create_time", queue.create_time).unwrap_or_default();
    let updated = problems.time("update_time", queue.update_time).unwrap_or_default();
    let spec = spec(&queue, &mut problems);
    let status = queue.status.and_then(|one| problems.part("status", status::queue_status(one)));
    let etag = queue.etag;
    problems.finish(name.zip(spec).map(|(name, spec)| Queue {
        name,
        spec,
        etag,
        created,
        updated,
        status,
    }))
}

/// A queue for the wire.
#[must_use]
pub fn queue_to(queue: Queue) -> pb::Queue {
    let Queue {
        name,
        spec: QueueSpec { url, endpoint, receivers },
        etag,
        created,
        updated,
        status,
    } = queue;
    pb::Queue {
        name: names::format_queue(&name),
        url,
        endpoint: endpoint.to_string(),
        etag,
        create_time: time_to(created),
        update_time: time_to(updated),
        status: status.map(status::queue_status_to),
        receivers: int32(receivers),
    }
}

fn spec(queue: &pb::Queue, problems: &mut Problems) -> Option<QueueSpec> {
    let pb::Queue {
        name: _,
        url,
        endpoint,
        etag: _,
        create_time: _,
        update_time: _,
        status: _,
        receivers,
    } = queue;
    if let Some(problem) = url_problem(url) {
        problems.add("url", problem);
    }
    let receivers = problems.small_count("receivers", *receivers).max(1);
    if receivers > MAX_RECEIVERS_PER_QUEUE {
        problems.add("receivers", format!("is {receivers}; at most {MAX_RECEIVERS_PER_QUEUE}"));
    }
    let endpoint = problems.name("endpoint", endpoint)?;
    Some(QueueSpec { url: url.clone(), endpoint, receivers })
}

/// What is wrong with a queue's URL, if anything. A URL with a user in it is not said back: it may hold a password.
fn url_problem(url: &str) -> Option<String> {
    if url.is_empty() {
        return Some("is missing; SQS shows it as the queue's URL".to_owned());
    }
    if url.contains('@') {
        return Some("has a user in it; agents hold the credentials, leave it out".to_owned());
    }
    let fits = url.parse::<Uri>().is_ok_and(|uri| {
        let plain = uri.query().is_none() && !url.contains('#');
        let named = uri.path().trim_matches('/').contains('/');
        matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some() && plain && named
    });
    let form =
        "is not the URL of a queue; it has the form https://sqs.REGION.amazonaws.com/ACCOUNT/NAME";
    (!fits).then(|| format!("{} {form}", quoted(url)))
}
