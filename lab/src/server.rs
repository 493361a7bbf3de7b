//! Sockets: accepts connections, hands requests on, makes bytes of answers, breaks connections when told to.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::endpoint::{Endpoint, EndpointConfig};
use crate::queue::{Queues, QueuesConfig};
use crate::reply::Reply;
use crate::{admin, s3};

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// Between the first half of a body that is cut and the end of its connection.
const CUT_PAUSE: Duration = Duration::from_millis(5);

/// Between attempts to accept while that fails, as it does without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Running endpoints. They stop when this is dropped.
#[derive(Debug)]
pub struct Lab {
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    queues: BTreeMap<String, Arc<Queues>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Lab {
    /// Starts endpoints.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn start(configs: Vec<EndpointConfig>) -> io::Result<Self> {
        let mut lab = Self {
            endpoints: BTreeMap::new(),
            queues: BTreeMap::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        for config in configs {
            let listener = TcpListener::bind(config.listen).await?;
            let endpoint = Endpoint::new(config, listener.local_addr()?);
            lab.endpoints.insert(endpoint.name().to_owned(), Arc::clone(&endpoint));
            lab.accept(listener, move |request| {
                let endpoint = Arc::clone(&endpoint);
                async move { s3::serve(&endpoint, request).await }
            });
        }
        Ok(lab)
    }

    /// Starts a server of queues beside the endpoints.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start_queues(&mut self, config: QueuesConfig) -> io::Result<Arc<Queues>> {
        let listener = TcpListener::bind(config.listen).await?;
        let queues = Queues::new(config, listener.local_addr()?);
        self.queues.insert(queues.name().to_owned(), Arc::clone(&queues));
        let served = Arc::clone(&queues);
        self.accept(listener, move |request| {
            let queues = Arc::clone(&served);
            async move { queues.serve(request).await }
        });
        Ok(queues)
    }

    /// An endpoint by name.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Arc<Endpoint> {
        Arc::clone(&self.endpoints[name])
    }

    /// All endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }

    /// A server of queues by name.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn queues(&self, name: &str) -> Arc<Queues> {
        Arc::clone(&self.queues[name])
    }

    /// All servers of queues.
    pub fn all_queues(&self) -> impl Iterator<Item = &Arc<Queues>> {
        self.queues.values()
    }

    /// Serves the control interface on a listener, for tests in other processes.
    pub(crate) fn serve_admin(&self, listener: TcpListener) {
        let served = Arc::new((self.endpoints.clone(), self.queues.clone()));
        self.accept(listener, move |request| {
            let served = Arc::clone(&served);
            async move { admin::serve(&served.0, &served.1, request).await }
        });
    }

    fn accept<F, A>(&self, listener: TcpListener, answer: F)
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = io::Result<Response<Body>>> + Send + 'static,
    {
        let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
        self.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let (answer, stop) = (answer.clone(), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = converse(stream, answer) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves the requests of one connection. An answer that is an error resets it.
async fn converse<F, A>(stream: TcpStream, answer: F)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = io::Result<Response<Body>>> + Send,
{
    // Without it each small answer waits for the acknowledgement of the one before.
    drop(stream.set_nodelay(true));
    let reset = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| {
        let (answered, reset) = (answer(request), Arc::clone(&reset));
        Box::pin(async move {
            let answered = answered.await;
            reset.store(answered.is_err(), Ordering::Relaxed);
            answered
        })
    });
    let mut connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A broken connection is the client's to notice, and often what was asked for.
    drop(poll_fn(|context| connection.poll_without_shutdown(context)).await);
    if reset.load(Ordering::Relaxed) {
        // Closing then sends a reset instead of an end.
        drop(connection.into_parts().io.into_inner().set_zero_linger());
    }
}

/// An answer as it goes out; `cut` ends its body early.
pub(crate) fn response(reply: Reply, cut: bool, request: u64) -> Response<Body> {
    let Reply { status, headers, body, length, changes: _ } = reply;
    let announced = length.unwrap_or(body.len() as u64);
    let cut = cut && body.len() > 1;
    let body: Body = if cut {
        let half = Ok(Frame::data(body.slice(..body.len() / 2)));
        let end = async {
            // Lets the head and the first half leave; an error at once would break the connection before them.
            tokio::time::sleep(CUT_PAUSE).await;
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        };
        let frames = stream::once(std::future::ready(half)).chain(stream::once(end));
        BodyExt::boxed(StreamBody::new(frames))
    } else {
        Full::new(body).map_err(|never| match never {}).boxed()
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Ok(id) = HeaderValue::from_str(&format!("LAB{request:013X}")) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    if cut || length.is_some() {
        response.headers_mut().insert("content-length", announced.into());
    }
    response
}

/// A plain answer of the control interface.
pub(crate) fn plain(status: http::StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response =
        Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}
