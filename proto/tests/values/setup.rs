//! Values of how queues and buckets are set up.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use s3sync_proto::model::{
    Answer, Ask, BucketSetup, Notification, NotificationTarget, Notifications, QueueAttributes,
    QueueCheck, QueueSetup, Setup, SetupAsk, SetupPlace, SetupStep,
};

use super::ask::checks;
use super::{duration, endpoint_spec, name, text, work_error};

pub(super) fn ask() -> BoxedStrategy<Ask> {
    (name(), endpoint_spec(), of("\\PC{1,12}"), vec(text(), 0..3))
        .prop_map(|(endpoint, spec, queue_url, buckets)| {
            Ask::Setup(Box::new(SetupAsk { endpoint, spec, queue_url, buckets }))
        })
        .boxed()
}

fn queue() -> impl Strategy<Value = QueueSetup> {
    let texts = (text(), text(), text());
    let attributes = (texts, of(duration()), of(duration()), of(1..=i32::MAX as u32)).prop_map(
        |((arn, policy, kms_key), retention, visibility, max_receives)| QueueAttributes {
            arn,
            policy,
            retention,
            visibility,
            max_receives,
            kms_key,
        },
    );
    let attributes = prop_oneof![attributes.prop_map(Ok), work_error().prop_map(Err)];
    (attributes, of(work_error()), of(work_error()))
        .prop_map(|(attributes, deleting, hiding)| QueueSetup { attributes, deleting, hiding })
}

fn bucket() -> impl Strategy<Value = BucketSetup> {
    let targets =
        vec![NotificationTarget::Queue, NotificationTarget::Topic, NotificationTarget::Function];
    let texts = proptest::array::uniform4(text());
    let notification = (select(targets), texts, vec(text(), 0..3)).prop_map(
        |(target, [id, arn, prefix, suffix], events)| Notification {
            id,
            target,
            arn,
            events,
            prefix,
            suffix,
        },
    );
    let told = (vec(notification, 0..3), any::<bool>())
        .prop_map(|(all, event_bridge)| Notifications { all, event_bridge });
    (text(), prop_oneof![told.prop_map(Ok), work_error().prop_map(Err)])
        .prop_map(|(bucket, told)| BucketSetup { bucket, told })
}

pub(super) fn answer() -> BoxedStrategy<Answer> {
    (of(queue()), vec(bucket(), 0..3))
        .prop_map(|(queue, buckets)| Answer::SetUp(Box::new(Setup { queue, buckets })))
        .boxed()
}

pub(crate) fn queue_check() -> impl Strategy<Value = QueueCheck> {
    let place = (text(), of(name()), checks()).prop_map(|(about, agent, checks)| SetupPlace {
        about,
        agent,
        checks,
    });
    let step = (text(), vec((text(), text()), 0..3), vec(text(), 0..3))
        .prop_map(|(title, files, commands)| SetupStep { title, files, commands });
    (name(), vec(place, 0..3), vec(step, 0..3)).prop_map(|(queue, places, steps)| QueueCheck {
        queue,
        places,
        steps,
    })
}
