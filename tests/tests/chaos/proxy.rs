//! A proxy for S3 that fails like networks and services do.
//!
//! Each connection carries one request, so trouble of a connection is trouble of a request.

use fastrand::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

/// How much longer a delayed request takes.
const DELAY: Duration = Duration::from_millis(1500);
/// How long the rest of a refused request is read, so that the answer is not lost.
const DRAIN: Duration = Duration::from_secs(1);
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// What can happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The connection is reset before S3 learns of the request.
    ResetBefore,
    /// S3 performs the request; the connection is reset during the answer.
    ResetAfter,
    /// It takes longer.
    Delay,
    /// It is answered with 503.
    Refusal,
    /// It is not answered.
    Silence,
}

impl Trouble {
    /// What happens to single requests. Silence is only for outages: each such request would take the SDK nine seconds.
    const PASSING: [Self; 4] = [
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Delay,
        Self::Refusal,
    ];
}

/// What the proxy does to requests.
#[derive(Debug, Clone, Copy)]
pub enum Weather {
    /// Nothing.
    Calm,
    /// One in this many requests is troubled.
    Unsettled(u32),
    /// All requests are troubled.
    Outage(Trouble),
}

/// A proxy that runs until the tests end.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    random: Rng,
    troubled: BTreeMap<Trouble, usize>,
    lost_uploads: BTreeSet<String>,
}

impl Proxy {
    /// Starts a proxy to the service at an address, in calm weather. It has its own thread, since tests block theirs.
    pub fn start(service: SocketAddr, random: Rng) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener
            .set_nonblocking(true)
            .expect("a socket without waiting");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State {
            weather: Weather::Calm,
            random,
            troubled: BTreeMap::new(),
            lost_uploads: BTreeSet::new(),
        }));
        let shared = state.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(accept(listener, service, shared));
        });
        Self { url, state }
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        lock(&self.state).weather = weather;
    }

    /// How many requests were troubled, by kind of trouble.
    pub fn troubled(&self) -> BTreeMap<Trouble, usize> {
        lock(&self.state).troubled.clone()
    }

    /// The paths of multipart uploads whose id nobody learned, or that S3 was not told to abort.
    pub fn lost_uploads(&self) -> BTreeSet<String> {
        lock(&self.state).lost_uploads.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// What happens to the next request, which has this head.
    fn next(&mut self, head: &[u8]) -> Option<Trouble> {
        let trouble = match self.weather {
            Weather::Calm => None,
            Weather::Unsettled(one_of) => {
                let is_hit = self.random.u32(0..one_of) == 0;
                is_hit.then(|| Trouble::PASSING[self.random.usize(0..Trouble::PASSING.len())])
            }
            Weather::Outage(trouble) => Some(trouble),
        }?;
        *self.troubled.entry(trouble).or_default() += 1;
        self.lost_uploads.extend(lost_upload(head, trouble));
        Some(trouble)
    }
}

async fn accept(listener: std::net::TcpListener, service: SocketAddr, state: Arc<Mutex<State>>) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        let state = state.clone();
        tokio::spawn(async move {
            // Either side may end a connection at any time.
            let _ = serve(client, service, &state).await;
        });
    }
}

async fn serve(mut client: TcpStream, service: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let head = read_head(&mut client).await?;
    let trouble = lock(state).next(&head);
    match trouble {
        Some(Trouble::ResetBefore) => return reset(client),
        Some(Trouble::Refusal) => return refuse(client).await,
        Some(Trouble::Silence) => return drain(&mut client).await,
        Some(Trouble::Delay) => sleep(DELAY).await,
        Some(Trouble::ResetAfter) | None => {}
    }
    let mut server = TcpStream::connect(service).await?;
    server.write_all(&closing(&head)).await?;
    let (mut from_server, mut to_server) = server.split();
    let (mut from_client, mut to_client) = client.split();
    let answer = async {
        if trouble != Some(Trouble::ResetAfter) {
            return copy(&mut from_server, &mut to_client).await.map(|_| ());
        }
        let mut start = vec![0; 1024];
        let read = from_server.read(&mut start).await?;
        to_client.write_all(&start[..read / 2]).await
    };
    tokio::select! {
        Err(error) = copy(&mut from_client, &mut to_server) => return Err(error),
        answered = answer => answered?,
    }
    match trouble {
        Some(Trouble::ResetAfter) => reset(client),
        _ => client.shutdown().await,
    }
}

/// The head of a request, and whatever was read with it.
async fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 || head.len() > MAX_HEAD {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// The path of the multipart upload that is left behind if a request with this head has this trouble.
fn lost_upload(head: &[u8], trouble: Trouble) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let mut words = head.split_whitespace();
    let (method, address) = (words.next()?, words.next()?);
    let (path, query) = address.split_once('?')?;
    let is_lost = match method {
        "POST" => query.starts_with("uploads") && trouble == Trouble::ResetAfter,
        "DELETE" => {
            let arrives = matches!(trouble, Trouble::Delay | Trouble::ResetAfter);
            query.contains("uploadId=") && !arrives
        }
        _ => false,
    };
    is_lost.then(|| path.to_owned())
}

/// The request, changed so that the connection is closed after it.
fn closing(head: &[u8]) -> Vec<u8> {
    let line = head
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    [&head[..line], b"Connection: close\r\n", &head[line..]].concat()
}

fn reset(client: TcpStream) -> io::Result<()> {
    client.set_zero_linger()?;
    drop(client);
    Ok(())
}

async fn refuse(mut client: TcpStream) -> io::Result<()> {
    let body =
        "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    let head = format!(
        "HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(format!("{head}{body}").as_bytes()).await?;
    client.shutdown().await?;
    timeout(DRAIN, drain(&mut client)).await.unwrap_or(Ok(()))
}

/// Reads until the client gives up.
async fn drain(client: &mut TcpStream) -> io::Result<()> {
    let mut rest = vec![0; 64 << 10];
    while client.read(&mut rest).await? > 0 {}
    Ok(())
}
