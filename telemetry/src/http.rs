//! The HTTP listener of a program: is it alive, can it work, and its metrics.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::{Metrics, TEXT};

/// Connections at the same time; others wait. There are a load balancer and a scraper or two.
const MAX_CONNECTIONS: usize = 64;
/// A request's head comes within this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A pause after a connection that was not accepted: for want of file descriptors, mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// What a program says of itself.
#[async_trait]
pub trait Pages: Send + Sync + 'static {
    /// Whether it can work.
    ///
    /// # Errors
    /// Why not, for a person.
    async fn ready(&self) -> Result<(), String>;

    /// Its metrics, as Prometheus reads them.
    async fn metrics(&self) -> Vec<u8>;
}

/// Pages of a program whose metrics are always fresh.
pub struct Plain<R> {
    /// Read for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Asked for `/readyz`.
    pub ready: R,
}

#[async_trait]
impl<R: Fn() -> Result<(), String> + Send + Sync + 'static> Pages for Plain<R> {
    async fn ready(&self) -> Result<(), String> {
        (self.ready)()
    }

    async fn metrics(&self) -> Vec<u8> {
        self.metrics.text()
    }
}

/// Serves until `shutdown`: `/healthz`, `/readyz` and `/metrics`.
pub async fn serve(listener: TcpListener, pages: Arc<dyn Pages>, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = shutdown.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (pages, shutdown) = (Arc::clone(&pages), shutdown.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&pages), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                served = connection => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "a connection broke");
                    }
                }
                () = shutdown.cancelled() => {}
            }
            drop(permit);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn answer(
    pages: Arc<dyn Pages>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let known = matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics");
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, body) = match request.uri().path() {
        _ if known && !reads => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "use GET\n".into()),
        "/healthz" => (StatusCode::OK, PLAIN, "alive\n".into()),
        "/readyz" => match pages.ready().await {
            Ok(()) => (StatusCode::OK, PLAIN, "ready\n".into()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, Bytes::from(why + "\n")),
        },
        "/metrics" => (StatusCode::OK, TEXT, pages.metrics().await.into()),
        _ => (StatusCode::NOT_FOUND, PLAIN, "there are /healthz, /readyz and /metrics\n".into()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::Program;

    async fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn pages_are_served_until_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let able = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&able);
        let metrics = Arc::new(Metrics::start(Program { name: "p", version: "1" }, None));
        let ready = move || match asked.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("it cannot".to_owned()),
        };
        let pages = Arc::new(Plain { metrics, ready });
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(listener, pages, shutdown.clone()));

        let status = |answer: &str| answer.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(status(&ask(address, "GET /healthz").await), "200");
        assert_eq!(status(&ask(address, "HEAD /readyz").await), "200");
        able.store(false, Ordering::Relaxed);
        let answer = ask(address, "GET /readyz").await;
        assert!(status(&answer) == "503" && answer.ends_with("it cannot\n"), "{answer}");
        let answer = ask(address, "GET /metrics").await;
        let typed = answer.contains("content-type: text/plain; version=0.0.4");
        assert!(typed && answer.contains("s3sync_build_info{"), "{answer}");
        let answer = ask(address, "POST /metrics").await;
        assert!(status(&answer) == "405" && answer.contains("allow: GET, HEAD"), "{answer}");
        assert_eq!(status(&ask(address, "GET /nothing").await), "404");
        // One that says nothing does not keep it from its end.
        let _silent = TcpStream::connect(address).await.unwrap();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(30), served).await.unwrap().unwrap();
    }
}
