//! A web server on a loopback port that serves one file by ranges, and misbehaves on some paths.

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Bytes, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};
use tokio::{net::TcpListener, sync::Notify};

/// A secret in the query of URLs.
pub const SECRET: &str = "X-Amz-Signature=0123abcd";

pub struct Server {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    file: Bytes,
    requests: AtomicUsize,
    sent_bytes: AtomicU64,
    stalled: Notify,
}

impl Server {
    /// Serves a file until the test ends.
    pub async fn start(file: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            file: std::fs::read(file).expect("the file").into(),
            requests: AtomicUsize::new(0),
            sent_bytes: AtomicU64::new(0),
            stalled: Notify::new(),
        });
        let served = state.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let served = served.clone();
                let service = service_fn(move |request| {
                    let served = served.clone();
                    async move { Ok::<_, Infallible>(served.answer(&request).await) }
                });
                let connection = TokioIo::new(connection);
                tokio::spawn(http1::Builder::new().serve_connection(connection, service));
            }
        });
        Self { port, state }
    }

    /// A URL with a secret in its query.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}?{SECRET}", self.port)
    }

    /// How many bytes of the file were sent.
    pub fn sent_bytes(&self) -> u64 {
        self.state.sent_bytes.load(Relaxed)
    }

    /// Waits until a request hangs.
    pub async fn stalled(&self) {
        self.state.stalled.notified().await;
    }
}

impl State {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let number = self.requests.fetch_add(1, Relaxed);
        let is_signed = request
            .uri()
            .query()
            .is_some_and(|query| query.contains(SECRET));
        match request.uri().path() {
            "/moved.mp4" => {
                let mut response = status(StatusCode::FOUND);
                let to = format!("/source.mp4?{SECRET}").parse().expect("a header");
                response.headers_mut().insert(header::LOCATION, to);
                response
            }
            "/round.mp4" => {
                let mut response = status(StatusCode::FOUND);
                let to = format!("/round.mp4?{SECRET}").parse().expect("a header");
                response.headers_mut().insert(header::LOCATION, to);
                response
            }
            "/source.mp4" if is_signed => self.range(request, "\"v1\"", true),
            "/archive/source.mp4" => self.range(request, "\"v1\"", true),
            "/without-ranges.mp4" => Response::new(Full::new(self.file.clone())),
            "/changes.mp4" | "/stalls.mp4" if number == 0 => self.range(request, "\"v1\"", true),
            "/changes.mp4" => self.range(request, "\"v2\"", true),
            "/changes-unnoticed.mp4" if number == 0 => self.range(request, "\"v1\"", false),
            "/changes-unnoticed.mp4" => self.range(request, "\"v2\"", false),
            "/now-and-then.mp4" if number.is_multiple_of(2) => {
                status(StatusCode::SERVICE_UNAVAILABLE)
            }
            "/now-and-then.mp4" => self.range(request, "W/\"v1\"", true),
            "/stalls.mp4" => {
                self.stalled.notify_one();
                std::future::pending().await
            }
            "/refused.mp4" => status(StatusCode::FORBIDDEN),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    /// The requested range of a version of the file; 412 for another version, if conditions are `heeded`.
    fn range(
        &self,
        request: &Request<Incoming>,
        etag: &'static str,
        heeded: bool,
    ) -> Response<Full<Bytes>> {
        let header = |name| {
            request
                .headers()
                .get(name)
                .map(|value| value.to_str().expect("text"))
        };
        if heeded && header(header::IF_MATCH).is_some_and(|wanted| wanted != etag) {
            return status(StatusCode::PRECONDITION_FAILED);
        }
        let range = header(header::RANGE).and_then(|range| range.strip_prefix("bytes="));
        let (first, last) = range
            .and_then(|range| range.split_once('-'))
            .expect("a range");
        let first: usize = first.parse().expect("a number");
        let end = self
            .file
            .len()
            .min(last.parse::<usize>().expect("a number") + 1);
        self.sent_bytes.fetch_add((end - first) as u64, Relaxed);
        let mut response = Response::new(Full::new(self.file.slice(first..end)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let place = format!("bytes {first}-{}/{}", end - 1, self.file.len());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_RANGE, place.parse().expect("a header"));
        headers.insert(header::ETAG, header::HeaderValue::from_static(etag));
        response
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
