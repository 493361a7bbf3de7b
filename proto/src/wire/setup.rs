//! How queues and buckets are set up for events.

use super::ask::{checks_from, checks_to};
use super::run::{work_error, work_error_to};
use super::{Problems, duration_to, endpoint, int32, names};
use crate::model::{
    BucketSetup, Invalid, Notification, NotificationTarget, Notifications, QueueAttributes,
    QueueCheck, QueueSetup, Setup, SetupAsk, SetupPlace, SetupStep, WorkError,
};
use crate::pb::{agent::v1 as agent_pb, v1 as pb};

pub(super) fn question(
    question: agent_pb::SetupQuestion,
    problems: &mut Problems,
) -> Option<SetupAsk> {
    let agent_pb::SetupQuestion { endpoint, settings, queue_url, buckets } = question;
    let name = problems.name("endpoint", &endpoint);
    let spec = endpoint::spec(settings.unwrap_or_default(), "settings", problems);
    let queue_url = Some(queue_url).filter(|url| !url.is_empty());
    Some(SetupAsk { endpoint: name?, spec, queue_url, buckets })
}

pub(super) fn question_to(ask: SetupAsk) -> agent_pb::SetupQuestion {
    let SetupAsk { endpoint, spec, queue_url, buckets } = ask;
    agent_pb::SetupQuestion {
        endpoint: endpoint.into(),
        settings: Some(endpoint::spec_to(spec)),
        queue_url: queue_url.unwrap_or_default(),
        buckets,
    }
}

pub(super) fn answer(answer: agent_pb::SetupAnswer, problems: &mut Problems) -> Setup {
    let agent_pb::SetupAnswer { queue, buckets } = answer;
    let queue = queue.and_then(|queue| queue_from(queue, problems));
    let buckets = buckets.into_iter().enumerate();
    let buckets = buckets.filter_map(|(index, one)| bucket_from(index, one, problems)).collect();
    Setup { queue, buckets }
}

pub(super) fn answer_to(setup: Setup) -> agent_pb::SetupAnswer {
    let Setup { queue, buckets } = setup;
    agent_pb::SetupAnswer {
        queue: queue.map(queue_to),
        buckets: buckets.into_iter().map(bucket_to).collect(),
    }
}

fn queue_from(queue: agent_pb::QueueSetup, problems: &mut Problems) -> Option<QueueSetup> {
    use agent_pb::queue_setup::Result as Wire;
    let agent_pb::QueueSetup { result, deleting, hiding } = queue;
    let attributes = match result {
        Some(Wire::Attributes(attributes)) => Some(Ok(attributes_from(attributes, problems))),
        Some(Wire::Problem(error)) => work_error(Some(error), problems).map(Err),
        None => {
            problems.add("queue", "is neither attributes nor a problem");
            None
        }
    };
    let deleting = optional(deleting, problems);
    let hiding = optional(hiding, problems);
    Some(QueueSetup { attributes: attributes?, deleting, hiding })
}

fn optional(error: Option<agent_pb::WorkError>, problems: &mut Problems) -> Option<WorkError> {
    error.and_then(|error| work_error(Some(error), problems))
}

fn attributes_from(
    attributes: agent_pb::QueueAttributes,
    problems: &mut Problems,
) -> QueueAttributes {
    let agent_pb::QueueAttributes { arn, policy, retention, visibility, max_receives, kms_key } =
        attributes;
    let max_receives = problems.small_count("queue.max_receives", max_receives);
    QueueAttributes {
        arn,
        policy,
        retention: problems.duration("queue.retention", retention),
        visibility: problems.duration("queue.visibility", visibility),
        max_receives: Some(max_receives).filter(|most| *most > 0),
        kms_key,
    }
}

fn queue_to(queue: QueueSetup) -> agent_pb::QueueSetup {
    use agent_pb::queue_setup::Result as Wire;
    let QueueSetup { attributes, deleting, hiding } = queue;
    let result = match attributes {
        Err(error) => Wire::Problem(work_error_to(error)),
        Ok(attributes) => {
            let QueueAttributes { arn, policy, retention, visibility, max_receives, kms_key } =
                attributes;
            Wire::Attributes(agent_pb::QueueAttributes {
                arn,
                policy,
                retention: retention.and_then(duration_to),
                visibility: visibility.and_then(duration_to),
                max_receives: int32(max_receives.unwrap_or_default()),
                kms_key,
            })
        }
    };
    agent_pb::QueueSetup {
        result: Some(result),
        deleting: deleting.map(work_error_to),
        hiding: hiding.map(work_error_to),
    }
}

fn bucket_from(
    index: usize,
    bucket: agent_pb::BucketSetup,
    problems: &mut Problems,
) -> Option<BucketSetup> {
    let agent_pb::BucketSetup { bucket, problem, notifications, event_bridge } = bucket;
    if problem.is_some() {
        let told = Err(work_error(problem, problems)?);
        return Some(BucketSetup { bucket, told });
    }
    let mut all = Vec::with_capacity(notifications.len());
    for (nth, one) in notifications.into_iter().enumerate() {
        let agent_pb::Notification { id, target, arn, events, prefix, suffix } = one;
        let at = format!("buckets[{index}].notifications[{nth}].target");
        let target = problems.choice(&at, target, |target| {
            Some(match target {
                agent_pb::NotificationTarget::Unspecified => return None,
                agent_pb::NotificationTarget::Queue => NotificationTarget::Queue,
                agent_pb::NotificationTarget::Topic => NotificationTarget::Topic,
                agent_pb::NotificationTarget::Function => NotificationTarget::Function,
            })
        });
        all.extend(target.map(|target| Notification { id, target, arn, events, prefix, suffix }));
    }
    Some(BucketSetup { bucket, told: Ok(Notifications { all, event_bridge }) })
}

fn bucket_to(bucket: BucketSetup) -> agent_pb::BucketSetup {
    let BucketSetup { bucket, told } = bucket;
    let (problem, told) = match told {
        Ok(told) => (None, told),
        Err(error) => (Some(work_error_to(error)), Notifications::default()),
    };
    let Notifications { all, event_bridge } = told;
    let notification = |Notification { id, target, arn, events, prefix, suffix }| {
        let target = match target {
            NotificationTarget::Queue => agent_pb::NotificationTarget::Queue,
            NotificationTarget::Topic => agent_pb::NotificationTarget::Topic,
            NotificationTarget::Function => agent_pb::NotificationTarget::Function,
        };
        agent_pb::Notification { id, target: target.into(), arn, events, prefix, suffix }
    };
    let notifications = all.into_iter().map(notification).collect();
    agent_pb::BucketSetup { bucket, problem, notifications, event_bridge }
}

/// How a queue is set up, as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn queue_checked_from(check: pb::CheckQueueResponse) -> Result<QueueCheck, Invalid> {
    let pb::CheckQueueResponse { name, places, steps } = check;
    let mut problems = Problems::default();
    let queue = problems.part("", names::queue_name(&name));
    let mut found = Vec::with_capacity(places.len());
    for (index, pb::SetupPlace { about, agent, checks }) in places.into_iter().enumerate() {
        let at = format!("places[{index}]");
        let agent = match agent.as_str() {
            "" => None,
            agent => problems.part(&at, names::agent_name(agent)),
        };
        found.push(SetupPlace { about, agent, checks: checks_from(&at, checks, &mut problems) });
    }
    let step = |pb::SetupStep { title, files, commands }| {
        let file = |pb::SetupFile { name, content }| (name, content);
        SetupStep { title, files: files.into_iter().map(file).collect(), commands }
    };
    let steps = steps.into_iter().map(step).collect();
    problems.finish(queue.map(|queue| QueueCheck { queue, places: found, steps }))
}

/// How a queue is set up, for the wire.
#[must_use]
pub fn queue_checked_to(check: QueueCheck) -> pb::CheckQueueResponse {
    let QueueCheck { queue, places, steps } = check;
    let place = |SetupPlace { about, agent, checks }| pb::SetupPlace {
        about,
        agent: agent.map(|agent| names::format_agent(&agent)).unwrap_or_default(),
        checks: checks_to(checks),
    };
    let step = |SetupStep { title, files, commands }| {
        let file = |(name, content)| pb::SetupFile { name, content };
        pb::SetupStep { title, files: files.into_iter().map(file).collect(), commands }
    };
    pb::CheckQueueResponse {
        name: names::format_queue(&queue),
        places: places.into_iter().map(place).collect(),
        steps: steps.into_iter().map(step).collect(),
    }
}
