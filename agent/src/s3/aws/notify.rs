//! GetBucketNotificationConfiguration.

use aws_sdk_s3::types::{Event, FilterRuleName, NotificationConfigurationFilter};
use s3sync_proto::model::{Key, Notification, NotificationTarget, Notifications};

use super::{ANSWER_TIMEOUT, AwsStore, answer};
use crate::s3::{Error, Operation};

pub(super) async fn read(store: &AwsStore) -> Result<Notifications, Error> {
    let none = Key::default();
    let about = store.about(Operation::GetNotifications, &none);
    let send =
        (store.client.plain.get_bucket_notification_configuration()).bucket(&store.bucket).send();
    let found = answer(about, ANSWER_TIMEOUT, send).await?;
    let queues = found.queue_configurations().iter().map(|one| {
        let (id, arn) = (one.id(), one.queue_arn());
        notification(NotificationTarget::Queue, id, arn, one.events(), one.filter())
    });
    let topics = found.topic_configurations().iter().map(|one| {
        let (id, arn) = (one.id(), one.topic_arn());
        notification(NotificationTarget::Topic, id, arn, one.events(), one.filter())
    });
    let functions = found.lambda_function_configurations().iter().map(|one| {
        let (id, arn) = (one.id(), one.lambda_function_arn());
        notification(NotificationTarget::Function, id, arn, one.events(), one.filter())
    });
    Ok(Notifications {
        all: queues.chain(topics).chain(functions).collect(),
        event_bridge: found.event_bridge_configuration().is_some(),
    })
}

fn notification(
    target: NotificationTarget,
    id: Option<&str>,
    arn: &str,
    events: &[Event],
    filter: Option<&NotificationConfigurationFilter>,
) -> Notification {
    let rules = filter.and_then(NotificationConfigurationFilter::key);
    let rules = rules.map(|key| key.filter_rules()).unwrap_or_default();
    let value = |name: &FilterRuleName| {
        // AWS answers `Prefix` to who wrote `prefix`.
        let rule = rules.iter().find(|rule| {
            rule.name().is_some_and(|found| found.as_str().eq_ignore_ascii_case(name.as_str()))
        });
        rule.and_then(|rule| rule.value()).unwrap_or_default().to_owned()
    };
    Notification {
        id: id.unwrap_or_default().to_owned(),
        target,
        arn: arn.to_owned(),
        events: events.iter().map(|event| event.as_str().to_owned()).collect(),
        prefix: value(&FilterRuleName::Prefix),
        suffix: value(&FilterRuleName::Suffix),
    }
}
