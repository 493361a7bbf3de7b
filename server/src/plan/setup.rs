//! Pure. How a queue and the source buckets of the jobs that name it are set up, judged by what was read, and what to add.

mod arn;
mod bucket;
mod policy;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use s3sync_proto::model::{
    BucketSetup, CheckState, EndpointSpec, JobSpec, Name, ProbeCheck, QueueAttributes, QueueCheck,
    QueueSetup, QueueSpec, QueueStatus, SetupPlace, SetupStep, WorkError,
};
use serde_json::Value;

use arn::QueueArn;
use bucket::{Judged, Way, Wish};
use steps::Newcomer;

/// A queue that keeps messages for less loses them in a longer weekend.
const SHORT_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// A message that is received so often may have met two agents that died.
const FEW_RECEIVES: u32 = 3;

/// What an agent read, and who it was; or why none did.
pub type Looked<T> = Result<(Name, T), String>;

/// Everything that was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The queue.
    pub queue: Name,
    /// Its settings.
    pub spec: QueueSpec,
    /// The endpoint it is read with.
    pub endpoint: EndpointSpec,
    /// How it is.
    pub found: Looked<QueueSetup>,
    /// How it stands with receiving from it; `None` when no job names it.
    pub receiving: Option<QueueStatus>,
    /// The source buckets.
    pub buckets: Vec<BucketRead>,
}

/// What was read of a source bucket.
#[derive(Clone, Debug)]
pub struct BucketRead {
    /// The bucket.
    pub bucket: String,
    /// Its endpoint.
    pub endpoint: Name,
    /// That endpoint's settings.
    pub spec: EndpointSpec,
    /// How it is.
    pub found: Looked<BucketSetup>,
    /// The jobs whose source it is.
    pub jobs: BTreeMap<Name, JobSpec>,
}

/// What all is judged by.
#[derive(Debug)]
struct Ground<'a> {
    arn: &'a QueueArn,
    spec: &'a QueueSpec,
    endpoint: &'a EndpointSpec,
    /// The queue's policy; `Null` without one, `None` when it could not be read.
    policy: Option<Value>,
}

/// Judges what was read.
#[must_use]
pub fn check_queue(read: &Read) -> QueueCheck {
    let attributes = read.found.as_ref().ok().and_then(|(_, found)| found.attributes.as_ref().ok());
    let told = attributes.and_then(|attributes| QueueArn::parse(&attributes.arn));
    let arn = told.unwrap_or_else(|| QueueArn::of(&read.spec.url, &read.endpoint));
    let policy = attributes.map(|attributes| match attributes.policy.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_default(),
    });
    let ground = Ground { arn: &arn, spec: &read.spec, endpoint: &read.endpoint, policy };
    let mut places = vec![queue_place(read, &ground)];
    let mut judged = Vec::new();
    for one in &read.buckets {
        let (place, found) = bucket_place(one, &ground);
        judged.extend(found.map(|found| (one, found)));
        places.push(place);
    }
    let steps = steps(read, &ground, attributes, &judged);
    QueueCheck { queue: read.queue.clone(), places, steps }
}

impl Ground<'_> {
    fn is_fifo(&self) -> bool {
        self.arn.name.ends_with(".fifo")
    }
}

fn check(name: &str, state: CheckState, detail: impl Into<String>) -> ProbeCheck {
    ProbeCheck { name: name.to_owned(), state, detail: detail.into() }
}

fn error_text(error: &WorkError) -> String {
    format!("{}: {}", error.code, error.message)
}

fn queue_place(read: &Read, ground: &Ground<'_>) -> SetupPlace {
    let mut checks = Vec::new();
    let mut agent = None;
    match &read.found {
        Err(why) => checks.push(check("reachable", CheckState::Failed, why.clone())),
        Ok((who, found)) => {
            agent = Some(who.clone());
            match &found.attributes {
                Ok(attributes) => {
                    let detail = format!("it answers; its ARN is {}", ground.arn);
                    checks.push(check("reachable", CheckState::Ok, detail));
                    checks.extend(attribute_checks(read, ground, attributes));
                }
                Err(error) => {
                    checks.push(check("reachable", CheckState::Failed, error_text(error)))
                }
            }
            for (name, refused) in [("deleting", &found.deleting), ("hiding", &found.hiding)] {
                checks.push(match refused {
                    None => check(name, CheckState::Ok, "the agent's credential may"),
                    Some(error) => check(name, CheckState::Failed, error_text(error)),
                });
            }
        }
    }
    checks.push(receiving(read));
    SetupPlace { about: format!("queue {}", read.queue), agent, checks }
}

/// Whether messages can be received is not tried: it would count as a receive of whatever came. Who does it tells.
fn receiving(read: &Read) -> ProbeCheck {
    let told = |state, detail: String| check("receiving", state, detail);
    let Some(status) = read.receiving.as_ref().filter(|_| !read.buckets.is_empty()) else {
        let detail = format!(
            "no job names the queue, so nothing is received; add `events: {{ queue: {} }}` to a job",
            read.queue
        );
        return told(CheckState::Unknown, detail);
    };
    let (agents, few) = receivers(&status.agents, read.spec.receivers);
    match (status.agents.is_empty(), status.reason.as_str(), status.told) {
        (true, "", _) => {
            told(CheckState::Unknown, "no agent has begun to yet; ask again".to_owned())
        }
        (true, reason, _) => told(CheckState::Failed, reason.to_owned()),
        (false, .., None) => {
            let detail = format!("{agents}, and nothing was told of it yet; ask again");
            told(CheckState::Unknown, detail)
        }
        (false, reason, Some(_)) if few => {
            let reason = if reason.is_empty() { "they wait for an agent" } else { reason };
            told(CheckState::Warning, format!("{agents}: {reason}"))
        }
        (false, ..) => told(CheckState::Ok, agents),
    }
}

/// Who receives, for a person, and whether that is fewer than should.
fn receivers(agents: &[Name], wanted: u32) -> (String, bool) {
    let names: Vec<&str> = agents.iter().map(Name::as_str).collect();
    let few = names.len() < wanted as usize;
    let text = match names.as_slice() {
        [one] => format!("{one} receives from it"),
        all => format!("{} receive from it", all.join(", ")),
    };
    let text = if few { format!("{text}, {} of {wanted} receivers", names.len()) } else { text };
    (text, few)
}

fn attribute_checks(
    read: &Read,
    ground: &Ground<'_>,
    attributes: &QueueAttributes,
) -> Vec<ProbeCheck> {
    use CheckState::{Failed, Ok, Unknown, Warning};
    let QueueAttributes { arn: _, policy: _, retention, visibility, max_receives, kms_key } =
        attributes;
    let mut checks = Vec::new();
    if ground.is_fifo() {
        checks.push(check("kind", Failed, "a FIFO queue: S3 sends to standard queues only"));
    } else {
        checks.push(check("kind", Ok, "a standard queue"));
    }
    let time = |time: Duration| humantime::format_duration(time).to_string();
    if let Some(retention) = *retention {
        let kept = format!("messages are kept for {}", time(retention));
        checks.push(if retention < SHORT_RETENTION {
            let detail = format!(
                "{kept}: when nothing is received for longer, a scan has to make up for it"
            );
            check("retention", Warning, detail)
        } else {
            check("retention", Ok, kept)
        });
    }
    if let Some(visibility) = *visibility {
        let detail = format!("{}; agents hide what they receive by themselves", time(visibility));
        checks.push(check("visibility", Ok, detail));
    }
    checks.push(match *max_receives {
        None => {
            let detail = "there is no redrive policy: a message that cannot be read is deleted after five receives";
            check("dead letters", Warning, detail)
        }
        Some(most) if most < FEW_RECEIVES => {
            let detail = format!("after {most} receives, which a few agents that die are enough for; 10 is usual");
            check("dead letters", Warning, detail)
        }
        Some(most) => check("dead letters", Ok, format!("after {most} receives")),
    });
    checks.push(match kms_key.as_str() {
        "" => check("encryption", Ok, "no KMS key that S3 would have to be allowed to use"),
        key if is_awss(key) => {
            let detail = format!("{key} is AWS's own, which S3 can never use: no event arrives");
            check("encryption", Failed, detail)
        }
        key => {
            let detail = format!(
                "the policy of the key {key} cannot be seen from here; it must let who sends use it"
            );
            check("encryption", Unknown, detail)
        }
    });
    if read.endpoint.url.is_none() && ground.arn.region != read.endpoint.region {
        let detail = format!(
            "the queue is in {}, and the endpoint it is read with in {}",
            ground.arn.region, read.endpoint.region
        );
        checks.push(check("region", Failed, detail));
    }
    checks
}

/// Whether a key is the one that AWS manages for SQS.
fn is_awss(key: &str) -> bool {
    key.ends_with("alias/aws/sqs")
}

fn bucket_place(one: &BucketRead, ground: &Ground<'_>) -> (SetupPlace, Option<Judged>) {
    let about = format!("bucket {}", one.bucket);
    let failed = |agent: Option<Name>, detail: String| {
        let checks = vec![check("configuration", CheckState::Failed, detail)];
        (SetupPlace { about: about.clone(), agent, checks }, None)
    };
    let (agent, found) = match &one.found {
        Err(why) => return failed(None, why.clone()),
        Ok((agent, found)) => (agent.clone(), found),
    };
    let told = match &found.told {
        Err(error) => return failed(Some(agent), error_text(error)),
        Ok(told) => told,
    };
    let aws = one.spec.url.is_none();
    if aws && ground.endpoint.url.is_none() && one.spec.region != ground.arn.region {
        let detail = format!(
            "the bucket is in {}, the queue in {}: S3 tells queues of its own region only; make a queue there",
            one.spec.region, ground.arn.region
        );
        let checks = vec![check("region", CheckState::Failed, detail)];
        return (SetupPlace { about, agent: Some(agent), checks }, None);
    }
    let wishes: Vec<_> = one.jobs.iter().map(|(job, spec)| Wish { job, spec }).collect();
    let judged = bucket::judge(&one.bucket, told, &wishes, aws, ground);
    let count = told.all.len();
    let bridge = if told.event_bridge { ", and EventBridge" } else { "" };
    let detail = format!("it tells {count} queues, topics or functions{bridge}");
    let mut checks = vec![check("configuration", CheckState::Ok, detail)];
    checks.extend(judged.checks.clone());
    (SetupPlace { about, agent: Some(agent), checks }, Some(judged))
}

fn steps(
    read: &Read,
    ground: &Ground<'_>,
    attributes: Option<&QueueAttributes>,
    judged: &[(&BucketRead, Judged)],
) -> Vec<SetupStep> {
    let mut all = Vec::new();
    // It takes another queue.
    if ground.is_fifo() {
        return all;
    }
    let key = attributes.map(|attributes| attributes.kms_key.as_str()).unwrap_or_default();
    if lacks_permission(read) {
        let sources: Vec<_> = read
            .buckets
            .iter()
            .flat_map(|one| {
                one.jobs.values().map(|spec| (one.bucket.clone(), spec.source.prefix.clone()))
            })
            .collect();
        all.push(steps::agent(ground, &sources, key));
    }
    // An agent looked, and was not let see it.
    let unread = ground.policy.is_none() && read.found.is_ok();
    let newcomers: Vec<_> = judged
        .iter()
        .filter(|(_, judged)| judged.lacks_right || unread)
        .map(|(one, judged)| Newcomer { bucket: &one.bucket, way: &judged.way })
        .collect();
    if !newcomers.is_empty() {
        all.push(steps::policy(ground, &newcomers));
    }
    if is_awss(key) {
        all.push(steps::managed_encryption(ground));
    } else if !key.is_empty() {
        let mut services: Vec<_> = judged.iter().map(|(_, judged)| service(&judged.way)).collect();
        services.sort_unstable();
        services.dedup();
        all.push(steps::key(ground, key, &services));
    }
    for (one, judged) in judged {
        if let Some(wanted) = &judged.wanted {
            all.push(steps::notifications(&one.bucket, &one.spec, wanted));
        }
        // What cannot be seen is said as long as something else shows that the way is not complete.
        let incomplete = judged.lacks_right || judged.wanted.is_some();
        match &judged.way {
            Way::Topic(topic) if incomplete => all.push(steps::subscription(ground, topic)),
            Way::EventBridge if incomplete => all.push(steps::event_rule(ground, &one.bucket)),
            Way::Queue | Way::Topic(_) | Way::EventBridge => {}
        }
    }
    if attributes.is_some_and(|attributes| attributes.max_receives.is_none()) {
        all.push(steps::dead_letters(ground));
    }
    all
}

fn service(way: &Way) -> &'static str {
    match way {
        Way::Queue => "s3.amazonaws.com",
        Way::Topic(_) => "sns.amazonaws.com",
        Way::EventBridge => "events.amazonaws.com",
    }
}

/// Whether something was refused to an agent that IAM decides on.
fn lacks_permission(read: &Read) -> bool {
    let denied = |error: &WorkError| error.code.contains("Denied") || error.code == "Forbidden";
    let queue = read.found.as_ref().ok().map(|(_, found)| found).is_some_and(|found| {
        let errors =
            [found.attributes.as_ref().err(), found.deleting.as_ref(), found.hiding.as_ref()];
        errors.into_iter().flatten().any(denied)
    });
    let buckets = read.buckets.iter().any(|one| {
        one.found.as_ref().is_ok_and(|(_, found)| found.told.as_ref().is_err_and(denied))
    });
    let receiving = read.receiving.as_ref().is_some_and(|status| status.reason.contains("Denied"));
    queue || buckets || receiving
}

#[cfg(test)]
#[path = "setup/tests.rs"]
mod tests;
