//! The proto JSON form of resources: what `-o json` prints and what other tools expect.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use crate::model::{
    Agent, AuditEntry, Difference, Endpoint, EndpointProbe, Explanation, Failure, FailureGroup,
    Job, JobPlan, Queue, QueueCheck, Run, RunReport, RunView,
};
use crate::{pb, wire};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(pb::DESCRIPTORS).expect("the build script wrote valid descriptors")
});

/// A resource that has a JSON form.
pub trait Resource {
    /// Its JSON form: field names in lowerCamelCase, 64-bit numbers as text, times as RFC 3339, defaults left out.
    fn to_json(&self) -> serde_json::Value;
}

impl Resource for Endpoint {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.Endpoint", &wire::endpoint_to(self.clone()))
    }
}

impl Resource for Job {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.Job", &wire::job_to(self.clone()))
    }
}

impl Resource for Queue {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.Queue", &wire::queue_to(self.clone()))
    }
}

impl Resource for Run {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.Run", &wire::run_to(self.clone()))
    }
}

impl Resource for RunReport {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.RunReport", &wire::run_report_to(self.clone()))
    }
}

impl Resource for RunView {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.RunView", &wire::run_view_to(self.clone()))
    }
}

impl Resource for Failure {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.Failure", &wire::failure_to(self.clone()))
    }
}

impl Resource for FailureGroup {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.FailureGroup", &wire::failure_group_to(self.clone()))
    }
}

impl Resource for Explanation {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.ExplainKeyResponse", &wire::key_explained_to(self.clone()))
    }
}

impl Resource for EndpointProbe {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.ProbeEndpointResponse", &wire::probed_to(self.clone()))
    }
}

impl Resource for QueueCheck {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.CheckQueueResponse", &wire::queue_checked_to(self.clone()))
    }
}

impl Resource for JobPlan {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.JobPlan", &wire::plan_to(self.clone()))
    }
}

impl Resource for Difference {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.Difference", &wire::difference_to(self.clone()))
    }
}

impl Resource for Agent {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.Agent", &wire::agent_to(self.clone()))
    }
}

impl Resource for AuditEntry {
    fn to_json(&self) -> serde_json::Value {
        json("s3sync.v1.AuditEntry", &wire::audit_entry_to(self.clone()))
    }
}

/// The paths of all calls of the contract, such as `/s3sync.v1.JobService/RunJob`.
#[must_use]
pub fn calls() -> Vec<String> {
    let services = POOL.services();
    let paths = services.flat_map(|service| {
        let name = service.full_name().to_owned();
        service.methods().map(move |one| format!("/{name}/{}", one.name())).collect::<Vec<_>>()
    });
    paths.collect()
}

/// The JSON form of an encoded request of a call; `None` when the contract has no such call or
/// the bytes are not one.
#[must_use]
pub fn request_json(service: &str, method: &str, encoded: &[u8]) -> Option<serde_json::Value> {
    let service = POOL.get_service_by_name(service)?;
    let method = service.methods().find(|one| one.name() == method)?;
    let message = DynamicMessage::decode(method.input(), encoded).ok()?;
    message.serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new()).ok()
}

fn json(name: &str, message: &impl prost::Message) -> serde_json::Value {
    let descriptor = POOL.get_message_by_name(name).expect("the message is in the contract");
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .expect("an encoded message decodes by its own descriptor");
    dynamic
        .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
        .expect("a message of plain fields has a JSON form")
}
