//! The audit log: every call that asks for a change is recorded before it is looked at, whichever call it is, and its end
//! after it. The rest of this file lists what was recorded.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poller, Poll};

use bytes::Bytes;
use http::{Request as HttpRequest, Response as HttpResponse};
use http_body_util::{BodyExt as _, Full, Limited};
use s3sync_proto::client::MAX_API_MESSAGE;
use s3sync_proto::json::request_json;
use s3sync_proto::model::{
    AuditCall, AuditOutcome, MAX_AUDIT_REASON_BYTES, MAX_AUDIT_REQUEST_BYTES,
};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::pb::v1::audit_service_server::AuditService;
use s3sync_proto::wire;
use serde_json::Value;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Code, Request, Response, Status};
use tower::Service;

use super::auth::Caller;
use super::status::refused;
use super::{Context, page};

/// Calls that only look begin with one of these; all others ask for a change.
const LOOKS: &[&str] = &["Get", "List", "Watch", "Group", "Explain", "Plan", "Check"];

/// Bytes before a message: whether it is compressed, and its length.
const FRAME_HEAD: usize = 5;

/// Fields that hold the id of what is to be created, and its collection.
const IDS: &[(&str, &str)] =
    &[("jobId", "jobs"), ("endpointId", "endpoints"), ("queueId", "queues")];

/// What stands for a URL that has a user in it, and so perhaps a password.
const HIDDEN_URL: &str = "(a URL with a user in it)";

/// A service whose changes are recorded.
#[derive(Clone)]
pub(super) struct Audited<S> {
    inner: S,
    context: Context,
}

impl<S> Audited<S> {
    pub(super) fn new(inner: S, context: Context) -> Self {
        Self { inner, context }
    }
}

impl<S: NamedService> NamedService for Audited<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<HttpRequest<Body>> for Audited<S>
where
    S: Service<HttpRequest<Body>, Response = HttpResponse<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let mut inner = self.inner.clone();
        if !asks_for_change(request.uri().path()) {
            return Box::pin(inner.call(request));
        }
        let context = self.context.clone();
        Box::pin(async move {
            match record(&context, request).await {
                Err(status) => Ok(status.into_http()),
                Ok((request, None)) => inner.call(request).await,
                Ok((request, Some(number))) => {
                    let response = inner.call(request).await?;
                    let ended =
                        context.store.end_audit(number, outcome(&response), context.clock.now());
                    if let Err(error) = ended.await {
                        // It is done, so it is not refused; its entry says that its end is not known.
                        tracing::error!(%error, entry = number, "the end of a call was not recorded");
                    }
                    Ok(response)
                }
            }
        })
    }
}

/// Records a call; without a number when it only checks.
async fn record(
    context: &Context,
    request: HttpRequest<Body>,
) -> Result<(HttpRequest<Body>, Option<u64>), Status> {
    let (parts, body) = request.into_parts();
    let read = Limited::new(body, MAX_API_MESSAGE + FRAME_HEAD).collect().await;
    let bytes = match read {
        Ok(read) => read.to_bytes(),
        Err(error) => {
            let text = format!("the request cannot be read: {error}");
            return Err(Status::out_of_range(text));
        }
    };
    let json = json_of(parts.uri.path(), &bytes);
    let checks_only = json.get("validateOnly").is_some_and(|flag| *flag == Value::Bool(true));
    let number = if checks_only {
        None
    } else {
        let call = AuditCall {
            caller: parts
                .extensions
                .get::<Caller>()
                .map_or_else(|| "anonymous".to_owned(), |caller| caller.0.to_string()),
            peer: peer(&parts.extensions),
            method: short(parts.uri.path()),
            resource: resource(&json),
            request: cut(json.to_string(), MAX_AUDIT_REQUEST_BYTES),
        };
        let recorded = context.store.begin_audit(call, context.clock.now()).await;
        Some(recorded.map_err(refused)?)
    };
    Ok((HttpRequest::from_parts(parts, Body::new(Full::new(bytes))), number))
}

/// The JSON form of a call's request; null when it is none, which the call itself then refuses.
fn json_of(path: &str, body: &Bytes) -> Value {
    let Some((service, method)) = path.trim_start_matches('/').split_once('/') else {
        return Value::Null;
    };
    let message = body.get(FRAME_HEAD..).unwrap_or_default();
    let mut json = request_json(service, method, message).unwrap_or_default();
    hide(&mut json);
    json
}

/// Takes out URLs with a user in them: such a request is refused, but its record is read by others.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("://") && text.contains('@') => {
            HIDDEN_URL.clone_into(text);
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `JobService.RunJob` of `/s3sync.v1.JobService/RunJob`.
fn short(path: &str) -> String {
    let (service, method) = path.rsplit_once('/').unwrap_or_default();
    let service = service.rsplit(['.', '/']).next().unwrap_or_default();
    format!("{service}.{method}")
}

fn asks_for_change(path: &str) -> bool {
    let method = path.rsplit('/').next().unwrap_or_default();
    !LOOKS.iter().any(|look| method.starts_with(look))
}

/// What a request is about: its name, that of the resource in it, or the one that is to be created.
fn resource(json: &Value) -> String {
    let named = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    let id = || {
        IDS.iter().find_map(|(field, collection)| {
            json.get(field).and_then(Value::as_str).map(|id| format!("{collection}/{id}"))
        })
    };
    let inner = || json.as_object()?.values().find_map(named);
    let parent = || json.get("parent").and_then(Value::as_str).map(str::to_owned);
    named(json).or_else(id).or_else(inner).or_else(parent).unwrap_or_default()
}

fn peer(extensions: &http::Extensions) -> String {
    let plain = extensions.get::<TcpConnectInfo>();
    let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref);
    plain
        .or(tls)
        .and_then(TcpConnectInfo::remote_addr)
        .map(|address| address.to_string())
        .unwrap_or_default()
}

fn outcome(response: &HttpResponse<Body>) -> AuditOutcome {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => {
            AuditOutcome::Refused(cut(status.message().to_owned(), MAX_AUDIT_REASON_BYTES))
        }
        Some(_) | None => AuditOutcome::Done,
    }
}

/// A text of at most this many bytes.
fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

/// AuditService.
pub(super) struct Audits(pub(super) Context);

#[tonic::async_trait]
impl AuditService for Audits {
    async fn list_audit_entries(
        &self,
        request: Request<pb::ListAuditEntriesRequest>,
    ) -> Result<Response<pb::ListAuditEntriesResponse>, Status> {
        let pb::ListAuditEntriesRequest { page_size, page_token, resource } = request.into_inner();
        let list = format!("audit of {resource}");
        let before = page::number(&list, &page_token)?;
        let size = page::size(page_size);
        let of = (!resource.is_empty()).then_some(resource.as_str());
        let mut entries = self.0.store.audit(of, before, size + 1).await.map_err(refused)?;
        let next_page_token =
            page::cut(&list, &mut entries, size, |last| last.number.to_be_bytes().to_vec());
        let entries = entries.into_iter().map(wire::audit_entry_to).collect();
        Ok(Response::new(pb::ListAuditEntriesResponse { entries, next_page_token }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Every call of the contract, so that a new one is looked at: is it a change?
    #[test]
    fn each_call_is_a_look_or_a_change() {
        let calls = s3sync_proto::json::calls();
        let changes: Vec<_> = calls
            .iter()
            .filter(|path| path.starts_with("/s3sync.v1.") && asks_for_change(path))
            .map(|path| short(path))
            .collect();
        for (call, is_change) in [
            ("JobService.RunJob", true),
            ("JobService.CancelRun", true),
            ("EndpointService.ProbeEndpoint", true),
            ("JobService.WatchRuns", false),
            ("JobService.ExplainKey", false),
            ("AuditService.ListAuditEntries", false),
        ] {
            assert_eq!(changes.iter().any(|one| one == call), is_change, "{call}");
        }
        let verbs = [
            "Create", "Update", "Delete", "Run", "Cancel", "Pause", "Resume", "Retry", "Approve",
            "Probe", "Drain",
        ];
        for change in &changes {
            let method = change.split_once('.').unwrap().1;
            assert!(
                verbs.iter().any(|verb| method.starts_with(verb)),
                "{change}: a look or a change?"
            );
        }
    }

    #[test]
    fn a_request_tells_what_it_is_about() {
        for (request, about) in [
            (json!({"name": "jobs/a"}), "jobs/a"),
            (json!({"jobId": "a", "job": {}}), "jobs/a"),
            (json!({"job": {"name": "jobs/b"}, "allowMissing": true}), "jobs/b"),
            (json!({"parent": "jobs/a/runs/1"}), "jobs/a/runs/1"),
            (Value::Null, ""),
        ] {
            assert_eq!(resource(&request), about, "{request}");
        }
    }

    #[test]
    fn no_password_of_a_url_is_kept() {
        let mut request = json!({"endpoint": {"url": "https://me:secret@host", "list": ["http://a@b"]}, "id": "a@b"});
        hide(&mut request);
        assert!(!request.to_string().contains("secret"), "{request}");
        assert_eq!(request["id"], "a@b");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(cut("aé".repeat(10), 5), "aéa");
        assert_eq!(cut("ab".to_owned(), 2), "ab");
    }
}
