//! Serves one source on a loopback port, to programs that read over HTTP: ranges of that source, and nothing else.
//!
//! While a program reads sequentially, we read ahead by an eighth of what it has read so far. So a short read costs
//! little, and a long one hardly waits.
//!
//! Socket buffers are small: a seek costs 64 to 128 KiB, and a sequential run reads about a quarter of its length
//! beyond its end.

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{ACCEPT_RANGES, CONTENT_RANGE, RANGE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use model::error::ClipError;
use mp4_cut::io::RangeRead;
use std::{
    convert::Infallible,
    hash::{BuildHasher, Hasher, RandomState},
    net::Ipv4Addr,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::{AbortHandle, JoinSet},
};

/// The first read after a seek, in bytes: the cost of a short look.
const MIN_READ_BYTES: u64 = 64 << 10;
/// The longest read, in bytes.
const MAX_READ_BYTES: u64 = 2 << 20;
/// We read ahead by this fraction of what was read sequentially so far.
const AHEAD_DIVISOR: u64 = 8;
/// Concurrent reads.
const READS_AT_ONCE: usize = 2;
/// What the kernel buffers for a program, in bytes.
const SOCKET_BUFFER_BYTES: u32 = 64 << 10;

/// Serves a source to one run of a program, until dropped.
#[derive(Debug)]
pub struct RangeServer {
    url: String,
    port: u16,
    state: Arc<State>,
    server: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    read_bytes: AtomicU64,
    failure: Mutex<Option<ClipError>>,
}

impl RangeServer {
    /// Serves `source` on a free port, under a secret path, up to `most_bytes` in total. Beyond that the connection
    /// breaks, and the failure is `UnsupportedMedia`.
    ///
    /// # Errors
    /// `Internal` when there is no port.
    pub fn serve(source: impl RangeRead + 'static, most_bytes: u64) -> Result<Self, ClipError> {
        let listener = listen()
            .map_err(|error| ClipError::internal(format!("listening on loopback: {error}")))?;
        let address = listener
            .local_addr()
            .map_err(|error| ClipError::internal(format!("a port: {error}")))?;
        let path = format!("/{:016x}", RandomState::new().build_hasher().finish());
        let url = format!("http://{address}{path}");
        let state = Arc::new(State::default());
        let content = Arc::new(Served {
            source,
            path,
            most_bytes,
            state: state.clone(),
        });
        let server = tokio::spawn(accept(listener, content)).abort_handle();
        Ok(Self {
            url,
            port: address.port(),
            state,
            server,
        })
    }

    /// The URL of the source.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The loopback port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes that have been read from the source for the program.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.state.read_bytes.load(Relaxed)
    }

    /// The result of a program that read the source: the program itself only sees a broken connection, for any cause.
    ///
    /// # Errors
    /// The error of reading the source, or else the program's own.
    pub fn classify_exit<T>(&self, result: Result<T, ClipError>) -> Result<T, ClipError> {
        match self
            .state
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
        {
            Some(failure) => Err(failure),
            None => result.map_err(|error| ClipError {
                message: error.message.replace(&self.url, "it"),
                ..error
            }),
        }
    }
}

impl Drop for RangeServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(16)
}

async fn accept<S: RangeRead + 'static>(listener: TcpListener, served: Arc<Served<S>>) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        let served = served.clone();
        connections.spawn(async move {
            let answer = service_fn(|request| {
                let answer = served.answer(&request);
                async { Ok::<_, Infallible>(answer) }
            });
            // A program hangs up when it seeks.
            let mut http = http1::Builder::new();
            http.max_buf_size(SOCKET_BUFFER_BYTES as usize);
            _ = http
                .serve_connection(TokioIo::new(connection), answer)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

#[derive(Debug)]
struct Served<S> {
    source: S,
    path: String,
    most_bytes: u64,
    state: Arc<State>,
}

impl<S: RangeRead + 'static> Served<S> {
    fn answer(
        self: &Arc<Self>,
        request: &Request<Incoming>,
    ) -> Response<UnsyncBoxBody<Bytes, ClipError>> {
        let whole = self.source.len();
        let range = match request
            .headers()
            .get(RANGE)
            .map(|range| parse_range(range.as_bytes(), whole))
        {
            None => Some(0..whole),
            Some(range) => range,
        };
        let mut response =
            Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        let status = match range {
            _ if request.uri().path() != self.path => StatusCode::NOT_FOUND,
            None => StatusCode::RANGE_NOT_SATISFIABLE,
            Some(range) => {
                let place = format!(
                    "bytes {}-{}/{whole}",
                    range.start,
                    range.end.saturating_sub(1)
                );
                let headers = response.headers_mut();
                headers.insert(ACCEPT_RANGES, "bytes".parse().expect("a header"));
                headers.insert(CONTENT_RANGE, place.parse().expect("a header of digits"));
                let body = self.clone().stream(range).map_ok(Frame::data);
                *response.body_mut() = StreamBody::new(body).boxed_unsync();
                StatusCode::PARTIAL_CONTENT
            }
        };
        *response.status_mut() = status;
        response
    }

    fn stream(
        self: Arc<Self>,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, ClipError>> + Send {
        let served = self;
        stream::iter(reads(range))
            .map(move |range| {
                let served = served.clone();
                async move { served.read(range).await }
            })
            .buffered(READS_AT_ONCE)
            // Large pieces would be accepted long before the program has read them.
            .map_ok(|read| stream::iter(pieces(read)))
            .try_flatten()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ClipError> {
        let bytes = range.end - range.start;
        let read = if self
            .state
            .read_bytes
            .fetch_add(bytes, Relaxed)
            .saturating_add(bytes)
            > self.most_bytes
        {
            Err(ClipError::unsupported_media(
                "the source's container does not say where the clip is, so everything before it would have to be read",
            ))
        } else {
            self.source.read(range).await.map_err(ClipError::from)
        };
        if let Err(error) = &read {
            let mut failure = self
                .state
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| error.clone());
        }
        read
    }
}

fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Result<Bytes, ClipError>> {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(SOCKET_BUFFER_BYTES as usize));
        (!piece.is_empty()).then_some(Ok(piece))
    })
}

/// Splits a sequential read of `range`. The parts end at multiples of [`MIN_READ_BYTES`], so that later reads of the
/// same places match them.
fn reads(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let ahead = ((at - range.start) / AHEAD_DIVISOR).clamp(MIN_READ_BYTES, MAX_READ_BYTES);
        let end = ((at + ahead) / MIN_READ_BYTES * MIN_READ_BYTES).min(range.end);
        let read = at..end;
        at = end;
        (!read.is_empty()).then_some(read)
    })
}

/// The range in a header, clipped to the source; `None` if it does not overlap the source.
fn parse_range(header: &[u8], whole: u64) -> Option<Range<u64>> {
    let (first, last) = std::str::from_utf8(header)
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() {
        whole
    } else {
        last.parse::<u64>().ok()?.saturating_add(1).min(whole)
    };
    (first < end).then_some(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    struct Broken;

    impl RangeRead for Broken {
        fn len(&self) -> u64 {
            1 << 20
        }

        async fn read(&self, _: Range<u64>) -> mp4_cut::Result<Bytes> {
            Err(ClipError::source_not_found("it changed").into())
        }
    }

    fn serve(source: impl RangeRead + 'static) -> RangeServer {
        RangeServer::serve(source, 1 << 20).expect("a port")
    }

    /// The answer to a request to `loopback` for `path` and, if given, a `range`.
    async fn ask(loopback: &RangeServer, path: &str, range: Option<&str>) -> String {
        let address = loopback
            .url()
            .strip_prefix("http://")
            .expect("a URL")
            .split_once('/')
            .expect("a path")
            .0;
        let mut connection = TcpStream::connect(address).await.expect("a connection");
        let range = range.map_or_else(String::new, |range| format!("Range: bytes={range}\r\n"));
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{range}\r\n");
        connection
            .write_all(request.as_bytes())
            .await
            .expect("it listens");
        let mut answer = String::new();
        // A broken connection just ends the answer.
        _ = connection.read_to_string(&mut answer).await;
        answer
    }

    fn path(loopback: &RangeServer) -> String {
        format!("/{}", loopback.url().rsplit_once('/').expect("a path").1)
    }

    #[tokio::test]
    async fn ranges_of_the_source_are_served_and_nothing_else() {
        let loopback = serve(Bytes::from_static(b"0123456789"));
        let path = path(&loopback);
        let answer = ask(&loopback, &path, Some("3-5")).await;
        assert!(
            answer.starts_with("HTTP/1.1 206") && answer.contains("content-range: bytes 3-5/10"),
            "{answer}"
        );
        assert!(
            answer.contains("345") && !answer.contains("3456"),
            "{answer}"
        );
        assert!(ask(&loopback, &path, Some("8-")).await.contains("89"));
        assert!(
            ask(&loopback, &path, Some("10-"))
                .await
                .starts_with("HTTP/1.1 416")
        );
        assert!(
            ask(&loopback, "/", Some("0-1"))
                .await
                .starts_with("HTTP/1.1 404")
        );
    }

    #[tokio::test]
    async fn reading_breaks_off_at_what_is_allowed() {
        let loopback = serve(Bytes::from(vec![b'x'; 4 << 20]));
        ask(&loopback, &path(&loopback), None).await;
        assert_eq!(
            loopback.classify_exit(Ok(())).expect_err("a failure").kind,
            model::ErrorKind::UnsupportedMedia
        );
        assert!(loopback.read_bytes() < 2 << 20);
    }

    #[tokio::test]
    async fn each_run_has_an_allowance_and_a_failure_of_its_own() {
        let source = Bytes::from(vec![b'x'; 4 << 20]);
        let (long, short) = (
            RangeServer::serve(source.clone(), 4 << 20),
            RangeServer::serve(source, 1 << 20),
        );
        let (long, short) = (long.expect("a port"), short.expect("a port"));
        let (long_path, short_path) = (path(&long), path(&short));
        tokio::join!(ask(&long, &long_path, None), ask(&short, &short_path, None));
        assert_eq!(
            (long.classify_exit(Ok(())), long.read_bytes()),
            (Ok(()), 4 << 20)
        );
        assert!(short.classify_exit(Ok(())).is_err());
    }

    #[tokio::test]
    async fn failure_of_the_source_is_told() {
        let loopback = serve(Broken);
        ask(&loopback, &path(&loopback), None).await;
        assert_eq!(
            loopback.classify_exit(Ok(())),
            Err(ClipError::source_not_found("it changed"))
        );
    }

    #[tokio::test]
    async fn nothing_listens_once_it_is_dropped() {
        let loopback = serve(Bytes::from_static(b"0123456789"));
        let address = loopback.url()["http://".len()..]
            .split_once('/')
            .expect("a path")
            .0
            .to_owned();
        drop(loopback);
        for _ in 0..1000 {
            if TcpStream::connect(&address).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{address} still listens");
    }

    proptest! {
        #[test]
        fn reads_cover_their_range_and_run_ahead_by_an_eighth(start in 0_u64..1 << 30, length in 1_u64..1 << 28) {
            let mut at = start;
            for read in reads(start..start + length) {
                prop_assert_eq!(read.start, at);
                let most = ((at - start) / AHEAD_DIVISOR).clamp(MIN_READ_BYTES, MAX_READ_BYTES);
                prop_assert!(read.start < read.end && read.end - read.start <= most);
                at = read.end;
            }
            prop_assert_eq!(at, start + length);
        }
    }
}
