//! What an agent's own configuration lets it do, enforced below the protocol: whatever the server says, a request
//! that is not allowed is never sent.

use async_trait::async_trait;
use s3sync_proto::model::{AllowRule, Key, Name, Notifications, Verb};

use super::{
    Body, Class, CompleteRequest, CopyPartRequest, CopyRequest, CreateUploadRequest, DeleteRequest,
    Error, GetRequest, HeadRequest, ListPage, ListRequest, ListedPart, Object, ObjectStore,
    OpenUpload, Operation, Part, PartRequest, PutBody, PutRequest, Written,
};

/// What one endpoint's configuration allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    endpoint: Name,
    rules: Vec<AllowRule>,
}

/// A bucket of which only what is allowed can be asked.
#[derive(Debug)]
pub struct Guarded<S> {
    inner: S,
    bucket: String,
    policy: Policy,
    /// What governs the sources of copies inside S3: the policy of the endpoint they are read from.
    sources: Policy,
}

// === impl Policy ===

impl Policy {
    /// What is configured for `endpoint`. Without rules everything is allowed but to delete.
    #[must_use]
    pub fn new(endpoint: Name, rules: Vec<AllowRule>) -> Self {
        Self { endpoint, rules }
    }

    /// Whether `verb` is allowed on this key, or, to list, on all keys that begin with it.
    #[must_use]
    pub fn allows(&self, bucket: &str, key: &[u8], verb: Verb) -> bool {
        if self.rules.is_empty() {
            return verb != Verb::Delete;
        }
        self.rules.iter().any(|rule| {
            rule.bucket.as_deref().is_none_or(|allowed| allowed == bucket)
                && key.starts_with(rule.prefix.as_bytes())
                && rule.verbs.contains(&verb)
        })
    }

    /// Whether the bucket itself may be looked at: some rule lets something in it be listed or read.
    fn check_bucket(&self, operation: Operation, bucket: &str) -> Result<(), Box<Error>> {
        let looks = |rule: &AllowRule| {
            rule.bucket.as_deref().is_none_or(|allowed| allowed == bucket)
                && rule.verbs.iter().any(|verb| matches!(verb, Verb::List | Verb::Read))
        };
        if self.rules.is_empty() || self.rules.iter().any(looks) {
            return Ok(());
        }
        Err(self.refusal(operation, bucket, &Key::default(), Verb::List))
    }

    fn check(
        &self,
        operation: Operation,
        bucket: &str,
        key: &Key,
        verb: Verb,
    ) -> Result<(), Box<Error>> {
        if self.allows(bucket, key.as_bytes(), verb) {
            return Ok(());
        }
        Err(self.refusal(operation, bucket, key, verb))
    }

    fn refusal(&self, operation: Operation, bucket: &str, key: &Key, verb: Verb) -> Box<Error> {
        let verb = name(verb);
        let message = format!(
            "this agent's configuration does not allow it to {verb} s3://{bucket}/{key}; [endpoints.{}] would need a \
             rule such as {{ bucket = {bucket:?}, prefix = \"{key}\", verbs = [\"{verb}\"] }}",
            self.endpoint
        );
        Box::new(Error {
            class: Class::Denied,
            operation,
            bucket: bucket.to_owned(),
            key: key.clone(),
            code: "not_allowed".to_owned(),
            message,
            request_id: String::new(),
            status: None,
        })
    }
}

/// A verb as the configuration writes it.
fn name(verb: Verb) -> &'static str {
    match verb {
        Verb::List => "list",
        Verb::Read => "read",
        Verb::Write => "write",
        Verb::Delete => "delete",
    }
}

// === impl Guarded ===

impl<S> Guarded<S> {
    /// Guards `inner`, which is `bucket`. Sources of copies inside S3 are governed by `policy` too.
    pub fn new(inner: S, bucket: impl Into<String>, policy: Policy) -> Self {
        Self { inner, bucket: bucket.into(), sources: policy.clone(), policy }
    }

    /// Lets `sources` govern the sources of copies inside S3, when those are configured as another endpoint.
    #[must_use]
    pub fn with_sources(mut self, sources: Policy) -> Self {
        self.sources = sources;
        self
    }

    fn check(&self, operation: Operation, key: &Key, verb: Verb) -> Result<(), Box<Error>> {
        self.policy.check(operation, &self.bucket, key, verb)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Guarded<S> {
    async fn list(&self, request: ListRequest) -> Result<ListPage, Error> {
        self.check(Operation::List, &request.prefix, Verb::List)?;
        self.inner.list(request).await
    }

    async fn head(&self, request: HeadRequest) -> Result<Object, Error> {
        self.check(Operation::Head, &request.key, Verb::Read)?;
        self.inner.head(request).await
    }

    async fn get(&self, request: GetRequest) -> Result<(Object, Body), Error> {
        self.check(Operation::Get, &request.key, Verb::Read)?;
        self.inner.get(request).await
    }

    async fn get_tags(&self, key: &Key) -> Result<Vec<(String, String)>, Error> {
        self.check(Operation::GetTags, key, Verb::Read)?;
        self.inner.get_tags(key).await
    }

    async fn put(&self, request: PutRequest, body: PutBody) -> Result<Written, Error> {
        self.check(Operation::Put, &request.key, Verb::Write)?;
        self.inner.put(request, body).await
    }

    async fn copy(&self, request: CopyRequest) -> Result<Written, Error> {
        self.check(Operation::Copy, &request.key, Verb::Write)?;
        let (bucket, key) = (&request.source_bucket, &request.source_key);
        // A copy of an object onto itself reads nothing but what is written.
        let onto_itself = *bucket == self.bucket && *key == request.key;
        let sources = if onto_itself { &self.policy } else { &self.sources };
        sources.check(Operation::Copy, bucket, key, Verb::Read)?;
        self.inner.copy(request).await
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<String, Error> {
        self.check(Operation::CreateUpload, &request.key, Verb::Write)?;
        self.inner.create_upload(request).await
    }

    async fn upload_part(&self, request: PartRequest, body: PutBody) -> Result<Part, Error> {
        self.check(Operation::UploadPart, &request.key, Verb::Write)?;
        self.inner.upload_part(request, body).await
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<Part, Error> {
        self.check(Operation::CopyPart, &request.key, Verb::Write)?;
        let (bucket, key) = (&request.source_bucket, &request.source_key);
        self.sources.check(Operation::CopyPart, bucket, key, Verb::Read)?;
        self.inner.copy_part(request).await
    }

    async fn complete_upload(&self, request: CompleteRequest) -> Result<Written, Error> {
        self.check(Operation::CompleteUpload, &request.key, Verb::Write)?;
        self.inner.complete_upload(request).await
    }

    async fn abort_upload(&self, key: &Key, upload_id: &str) -> Result<(), Error> {
        self.check(Operation::AbortUpload, key, Verb::Write)?;
        self.inner.abort_upload(key, upload_id).await
    }

    async fn list_parts(&self, key: &Key, upload_id: &str) -> Result<Vec<ListedPart>, Error> {
        // Only of uploads that were begun for a copy.
        self.check(Operation::ListParts, key, Verb::Write)?;
        self.inner.list_parts(key, upload_id).await
    }

    async fn notifications(&self) -> Result<Notifications, Error> {
        self.policy.check_bucket(Operation::GetNotifications, &self.bucket)?;
        self.inner.notifications().await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<(), Error> {
        self.check(Operation::Delete, &request.key, Verb::Delete)?;
        self.inner.delete(request).await
    }

    async fn delete_many(
        &self,
        requests: Vec<DeleteRequest>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        for request in &requests {
            self.check(Operation::DeleteMany, &request.key, Verb::Delete)?;
        }
        self.inner.delete_many(requests).await
    }

    async fn list_uploads(&self, key: &Key) -> Result<Vec<OpenUpload>, Error> {
        self.check(Operation::ListUploads, key, Verb::List)?;
        self.inner.list_uploads(key).await
    }

    fn clock_ahead(&self) -> Option<i64> {
        self.inner.clock_ahead()
    }
}

#[cfg(test)]
mod tests {
    use s3sync_proto::model::AgentEndpoint;

    use super::*;

    fn rule(bucket: Option<&str>, prefix: &str, verbs: &[Verb]) -> AllowRule {
        let bucket = bucket.map(str::to_owned);
        AllowRule { bucket, prefix: prefix.to_owned(), verbs: verbs.to_vec() }
    }

    fn policy(rules: Vec<AllowRule>) -> Policy {
        Policy::new("usw2".parse().unwrap(), rules)
    }

    #[test]
    fn rules_allow_by_verb_bucket_and_prefix() {
        use Verb::{Delete, List, Read, Write};
        let rules = vec![
            rule(Some("a"), "x/", &[List, Read]),
            rule(Some("b"), "", &[Write]),
            rule(None, "shared/", &[Read]),
        ];
        let some = policy(rules);
        let none = policy(Vec::new());
        let table = [
            (&some, "a", "x/", List, true),
            (&some, "a", "x/1", Read, true),
            (&some, "a", "x", Read, false),
            (&some, "a", "", List, false),
            (&some, "a", "x/1", Write, false),
            (&some, "a", "y/1", Read, false),
            (&some, "b", "anything", Write, true),
            (&some, "b", "anything", Read, false),
            (&some, "b", "shared/1", Read, true),
            (&some, "c", "shared/1", Delete, false),
            (&none, "a", "x", Read, true),
            (&none, "a", "x", Write, true),
            (&none, "a", "x", Delete, false),
        ];
        for (policy, bucket, key, verb, allowed) in table {
            assert_eq!(
                policy.allows(bucket, key.as_bytes(), verb),
                allowed,
                "{verb:?} {bucket}/{key}"
            );
            // What the server plans with is the same rule.
            let offered = AgentEndpoint {
                endpoint: policy.endpoint.clone(),
                credential_kind: String::new(),
                allow: policy.rules.clone(),
                credential_fingerprint: String::new(),
            };
            assert_eq!(offered.allows(bucket, key, verb), allowed);
        }
    }

    #[test]
    fn a_refusal_names_the_rule_that_is_missing() {
        let policy = policy(vec![rule(Some("a"), "x/", &[Verb::Read])]);
        let error = policy.check(Operation::Put, "b", &Key::from("k"), Verb::Write).unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (Class::Denied, "not_allowed"));
        let wanted = "[endpoints.usw2] would need a rule such as { bucket = \"b\", prefix = \"k\", verbs = [\"write\"] }";
        assert!(error.message.contains(wanted), "{}", error.message);
    }
}
