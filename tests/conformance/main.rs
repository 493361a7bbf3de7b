//! One list of cases about S3 and SQS, run against the lab and against independent servers, so that the lab cannot drift
//! into a fantasy. What a real server does differently is declared with its reason, and must stay true: a declared
//! difference that is none any more fails as well.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod conditions;
mod copied;
mod faults;
mod integrity;
mod keys;
mod metadata;
mod multipart;
mod notifications;
mod program;
mod queues;
mod reading;
mod servers;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use futures_util::future::BoxFuture;
use s3sync_lab::{EndpointConfig, Lab};
use s3sync_tests::servers::{Server, ministack, s3_client as client, seaweedfs};

/// What a case says: nothing when all is as on S3, else what is not.
type Outcome = Result<(), String>;

/// A case: its name and what it does in a bucket or queue of its own.
type Case<Place> = (&'static str, for<'a> fn(&'a Place) -> BoxFuture<'a, Outcome>);

/// A bucket of a case, with who may use it and who may not.
struct Bucket {
    client: Client,
    stranger: Client,
    name: String,
}

/// Fails a case with what was seen, unless it is so.
macro_rules! ensure {
    ($condition:expr, $($seen:tt)*) => {
        if !$condition {
            return Err(format!($($seen)*));
        }
    };
}
use ensure;

/// Makes a list of cases of async functions of a place.
macro_rules! cases {
    ($place:ty; $($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[crate::Case<$place>] = &[$((stringify!($name), |place| Box::pin($name(place)))),*];
    };
}
use cases;

/// S3's code of a failed request, or its HTTP status where there is no code.
fn code<T, E: ProvideErrorMetadata + std::fmt::Debug>(result: Result<T, SdkError<E>>) -> String {
    match result {
        Ok(_) => "success".to_owned(),
        Err(error) => {
            let status = error.raw_response().map(|response| response.status().as_u16());
            match (error.code().map(str::to_owned), status) {
                (Some(code), _) => code,
                (None, Some(status)) => status.to_string(),
                (None, None) => format!("{error:?}"),
            }
        }
    }
}

/// The text of a failed request.
fn text<E: std::fmt::Debug>(error: E) -> String {
    format!("{error:?}").chars().take(300).collect()
}

impl Bucket {
    async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> Result<String, String> {
        let body = ByteStream::from(body.into());
        let answer = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .body(body)
            .send()
            .await
            .map_err(text)?;
        Ok(answer.e_tag.unwrap_or_default())
    }

    async fn body(&self, key: &str) -> Result<Vec<u8>, String> {
        let answer =
            self.client.get_object().bucket(&self.name).key(key).send().await.map_err(text)?;
        Ok(answer.body.collect().await.map_err(text)?.to_vec())
    }
}

fn all() -> impl Iterator<Item = &'static Case<Bucket>> {
    [keys::CASES, reading::CASES, conditions::CASES, integrity::CASES, multipart::CASES]
        .into_iter()
        .flatten()
}

/// Runs all cases about S3.
async fn run(server: &Server, declared: &[(&str, &str)]) {
    let mut outcomes = Vec::new();
    for (name, case) in all() {
        let bucket = Bucket {
            client: client(&server.url, &server.region, &server.key.0, &server.key.1),
            stranger: client(&server.url, &server.region, &server.key.0, "not-the-secret"),
            name: format!("case-{}", name.replace('_', "-")),
        };
        bucket.client.create_bucket().bucket(&bucket.name).send().await.unwrap();
        outcomes.push((*name, case(&bucket).await));
    }
    assert!(outcomes.len() >= 60, "only {} cases", outcomes.len());
    judge(server.name, outcomes, declared);
}

/// What differs must be exactly what is declared.
fn judge(server: &str, outcomes: Vec<(&'static str, Outcome)>, declared: &[(&str, &str)]) {
    let known = |name: &str| outcomes.iter().any(|(known, _)| *known == name);
    let unknown: Vec<_> = declared.iter().filter(|(name, _)| !known(name)).collect();
    assert!(unknown.is_empty(), "declared and no case: {unknown:?}");
    let (mut wrong, count) = (Vec::new(), outcomes.len());
    for (name, outcome) in outcomes {
        match (outcome, declared.iter().find(|(declared, _)| *declared == name)) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Err(seen), None) => wrong.push(format!("{name}: {seen}")),
            (Ok(()), Some((_, reason))) => {
                wrong.push(format!("{name}: is as on AWS, yet declared: {reason}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} cases on {server}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lab_is_like_s3() {
    let config = EndpointConfig::new("lab", "us-east-1").key("AKIALAB", "lab-secret");
    let lab = Lab::start(vec![config]).await.unwrap();
    let server = Server {
        name: "the lab",
        url: lab.endpoint("lab").url(),
        region: "us-east-1".into(),
        key: ("AKIALAB".into(), "lab-secret".into()),
        processes: Vec::new(),
        folder: None,
    };
    run(&server, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ministack_is_like_s3_and_sqs_but_for_what_is_declared() {
    let server = ministack().await;
    run(&server, servers::MINISTACK_DIFFERS).await;
    queues::run_on_ministack(&server).await;
    notifications::run_on_ministack(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_is_like_s3_but_for_what_is_declared() {
    run(&seaweedfs().await, servers::SEAWEEDFS_DIFFERS).await;
}
