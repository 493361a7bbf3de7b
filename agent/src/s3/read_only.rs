//! A bucket of which nothing can be asked but to read: whatever goes wrong above, what only looks writes nothing.

use std::sync::Arc;

use async_trait::async_trait;
use s3sync_proto::model::{Key, Notifications};

use super::{
    Body, Class, CompleteRequest, CopyPartRequest, CopyRequest, CreateUploadRequest, DeleteRequest,
    Error, GetRequest, HeadRequest, ListPage, ListRequest, ListedPart, Object, ObjectStore,
    OpenUpload, Operation, Part, PartRequest, PutBody, PutRequest, Written,
};

/// See the module.
pub struct ReadOnly {
    inner: Arc<dyn ObjectStore>,
    bucket: String,
}

impl ReadOnly {
    /// `inner`, which is `bucket`, without its writes.
    pub fn new(inner: Arc<dyn ObjectStore>, bucket: impl Into<String>) -> Self {
        Self { inner, bucket: bucket.into() }
    }

    fn refusal(&self, operation: Operation, key: &Key) -> Error {
        Error {
            class: Class::Denied,
            operation,
            bucket: self.bucket.clone(),
            key: key.clone(),
            code: "read_only".to_owned(),
            message: "this only looks, and writes nothing".to_owned(),
            request_id: String::new(),
            status: None,
        }
    }
}

#[async_trait]
impl ObjectStore for ReadOnly {
    async fn list(&self, request: ListRequest) -> Result<ListPage, Error> {
        self.inner.list(request).await
    }

    async fn head(&self, request: HeadRequest) -> Result<Object, Error> {
        self.inner.head(request).await
    }

    async fn get(&self, request: GetRequest) -> Result<(Object, Body), Error> {
        self.inner.get(request).await
    }

    async fn get_tags(&self, key: &Key) -> Result<Vec<(String, String)>, Error> {
        self.inner.get_tags(key).await
    }

    async fn list_uploads(&self, key: &Key) -> Result<Vec<OpenUpload>, Error> {
        self.inner.list_uploads(key).await
    }

    async fn list_parts(&self, key: &Key, upload_id: &str) -> Result<Vec<ListedPart>, Error> {
        self.inner.list_parts(key, upload_id).await
    }

    async fn notifications(&self) -> Result<Notifications, Error> {
        self.inner.notifications().await
    }

    async fn put(&self, request: PutRequest, _body: PutBody) -> Result<Written, Error> {
        Err(self.refusal(Operation::Put, &request.key))
    }

    async fn copy(&self, request: CopyRequest) -> Result<Written, Error> {
        Err(self.refusal(Operation::Copy, &request.key))
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<String, Error> {
        Err(self.refusal(Operation::CreateUpload, &request.key))
    }

    async fn upload_part(&self, request: PartRequest, _body: PutBody) -> Result<Part, Error> {
        Err(self.refusal(Operation::UploadPart, &request.key))
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<Part, Error> {
        Err(self.refusal(Operation::CopyPart, &request.key))
    }

    async fn complete_upload(&self, request: CompleteRequest) -> Result<Written, Error> {
        Err(self.refusal(Operation::CompleteUpload, &request.key))
    }

    async fn abort_upload(&self, key: &Key, _upload_id: &str) -> Result<(), Error> {
        Err(self.refusal(Operation::AbortUpload, key))
    }

    async fn delete(&self, request: DeleteRequest) -> Result<(), Error> {
        Err(self.refusal(Operation::Delete, &request.key))
    }

    async fn delete_many(
        &self,
        requests: Vec<DeleteRequest>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let key = requests.first().map(|request| request.key.clone()).unwrap_or_default();
        Err(self.refusal(Operation::DeleteMany, &key))
    }

    fn clock_ahead(&self) -> Option<i64> {
        self.inner.clock_ahead()
    }
}
