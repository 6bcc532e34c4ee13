//! Sources that count the bytes read from them.

use bytes::Bytes;
use mp4_cut::{Result, io::RangeRead};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// A source that counts the bytes read from it and its clones.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    source: S,
    read: Arc<AtomicU64>,
}

impl<S> Counted<S> {
    pub fn new(source: S) -> Self {
        Self {
            source,
            read: Arc::default(),
        }
    }

    /// How many bytes were read.
    pub fn bytes(&self) -> u64 {
        self.read.load(Relaxed)
    }
}

impl<S: RangeRead> RangeRead for Counted<S> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.read.fetch_add(range.end - range.start, Relaxed);
        self.source.read(range).await
    }
}
