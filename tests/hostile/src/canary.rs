//! A port and files that nothing may reach.

use crate::boxes;
use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};
use tempfile::TempDir;

/// The content of the canary's files, which occurs nowhere else.
pub const MARK: &str = "canary-that-nobody-may-read-7f3a9c51";

/// Where the canary is, for files that refer to it.
#[derive(Debug, Clone)]
pub struct Bait {
    pub address: SocketAddr,
    /// An MP4 whose pictures contain the mark.
    pub video: PathBuf,
    /// A text that consists of the mark.
    pub text: PathBuf,
}

/// A port that counts visits, and files that are recognizable by their content.
#[derive(Debug)]
pub struct Canary {
    pub bait: Bait,
    visits: Arc<AtomicUsize>,
    _folder: TempDir,
}

impl Canary {
    /// Listens on loopback until the process ends, and writes the files; `video` is an MP4 with H.264 by x264.
    ///
    /// # Panics
    /// If there is no free port or no disk space.
    #[must_use]
    pub fn new(video: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bait = |address| Bait {
            address,
            video: folder.path().join("canary.mp4"),
            text: folder.path().join("canary.txt"),
        };
        let visits = Arc::new(AtomicUsize::new(0));
        let bait = bait(listen(&visits));
        std::fs::write(&bait.video, marked(video)).expect("the video");
        std::fs::write(&bait.text, format!("{MARK}\n").repeat(500)).expect("the text");
        Self {
            bait,
            visits,
            _folder: folder,
        }
    }

    /// The number of visits: connections and datagrams.
    #[must_use]
    pub fn visits(&self) -> usize {
        self.visits.load(Relaxed)
    }
}

/// Whether `content` contains the content of the canary's files.
#[must_use]
pub fn is_told(content: &[u8]) -> bool {
    content
        .windows(MARK.len())
        .any(|bytes| bytes == MARK.as_bytes())
}

/// Counts connections to a TCP port, and datagrams to the UDP port of the same number.
fn listen(visits: &Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let socket = UdpSocket::bind(address).expect("the port of the same number");
    let count = visits.clone();
    thread::spawn(move || {
        for _ in listener.incoming() {
            count.fetch_add(1, Relaxed);
        }
    });
    let count = visits.clone();
    thread::spawn(move || {
        while socket.recv(&mut [0; 1500]).is_ok() {
            count.fetch_add(1, Relaxed);
        }
    });
    address
}

/// A video whose samples contain the mark in place of x264's version text.
fn marked(video: &[u8]) -> Vec<u8> {
    let mut boxes = boxes::parse(video);
    let media = boxes.iter_mut().find(|each| each.kind == *b"mdat");
    let media = &mut media.expect("samples").body;
    let named = media.windows(5).position(|bytes| bytes == b"x264 ");
    let at = named.expect("the encoder's name");
    media[at..at + MARK.len()].copy_from_slice(MARK.as_bytes());
    boxes.iter().flat_map(boxes::Box4::bytes).collect()
}
