//! Pure. Names of queues and buckets in AWS ("Amazon Resource Names", AWS General Reference).

use std::fmt;

use s3sync_proto::model::EndpointSpec;

use crate::plan::check::partition;

/// Stands for an account that is not known.
const SOME_ACCOUNT: &str = "ACCOUNT";

/// The ARN of a queue, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueArn {
    pub(super) partition: String,
    pub(super) region: String,
    pub(super) account: String,
    pub(super) name: String,
}

impl QueueArn {
    /// `arn:aws:sqs:us-west-2:123456789012:media-events`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "sqs", region, account, name] = parts[..] else { return None };
        let [partition, region, account, name] =
            [partition, region, account, name].map(str::to_owned);
        Some(Self { partition, region, account, name })
    }

    /// What it must be, by the queue's URL and the endpoint it is read with.
    pub(super) fn of(url: &str, endpoint: &EndpointSpec) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut segments = path.trim_end_matches('/').rsplit('/');
        let name = segments.next().unwrap_or_default().to_owned();
        let account = segments.next().unwrap_or_default();
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let region = region_of(host).unwrap_or(&endpoint.region).to_owned();
        Self {
            partition: partition(&region).to_owned(),
            region,
            account: if is_account { account } else { SOME_ACCOUNT }.to_owned(),
            name,
        }
    }

    /// The ARN of a bucket in the same partition.
    pub(super) fn bucket(&self, bucket: &str) -> String {
        format!("arn:{}:s3:::{bucket}", self.partition)
    }

    /// The ARN of a rule of EventBridge beside the queue.
    pub(super) fn rule(&self, rule: &str) -> String {
        let Self { partition, region, account, .. } = self;
        format!("arn:{partition}:events:{region}:{account}:rule/{rule}")
    }

    /// The ARN of another queue beside it.
    pub(super) fn sibling(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }
}

impl fmt::Display for QueueArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, account, name } = self;
        write!(f, "arn:{partition}:sqs:{region}:{account}:{name}")
    }
}

/// `us-west-2` of `sqs.us-west-2.amazonaws.com`, and of the older `us-west-2.queue.amazonaws.com`.
fn region_of(host: &str) -> Option<&str> {
    let host = host.split(':').next()?;
    let front =
        host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    front.strip_prefix("sqs.").or_else(|| front.strip_suffix(".queue"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_of_a_queue_follows_from_its_url() {
        let here = EndpointSpec { region: "us-east-1".to_owned(), ..EndpointSpec::default() };
        let cases = [
            (
                "https://sqs.us-west-2.amazonaws.com/123456789012/media",
                "arn:aws:sqs:us-west-2:123456789012:media",
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/media",
                "arn:aws-cn:sqs:cn-north-1:123456789012:media",
            ),
            (
                "https://eu-west-1.queue.amazonaws.com/123456789012/media",
                "arn:aws:sqs:eu-west-1:123456789012:media",
            ),
            ("http://127.0.0.1:9324/queue/media/", "arn:aws:sqs:us-east-1:ACCOUNT:media"),
        ];
        for (url, expected) in cases {
            let arn = QueueArn::of(url, &here);
            assert_eq!(arn.to_string(), expected, "{url}");
            assert_eq!(QueueArn::parse(expected).as_ref(), Some(&arn));
        }
        assert_eq!(QueueArn::parse("arn:aws:sns:us-west-2:123456789012:topic"), None);
        assert_eq!(QueueArn::parse(""), None);
    }
}
