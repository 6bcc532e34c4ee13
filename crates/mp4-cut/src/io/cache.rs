//! Caches the most recently read ranges: programs that seek read the same places again.

use crate::{
    error::Result,
    io::{fetch, range::RangeRead},
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

const MAX_CACHED_BYTES: usize = 8 << 20;
/// Concurrent requests of a long read.
const CONNECTIONS: usize = 4;

/// A source with a cache of the 8 MiB read last. Clones share the cache.
#[derive(Debug, Clone)]
pub struct CachedSource<S> {
    source: S,
    cached: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
}

impl<S> CachedSource<S> {
    /// Wraps `source` with an empty cache.
    pub fn new(source: S) -> Self {
        Self {
            source,
            cached: Arc::default(),
        }
    }

    fn find(&self, range: &Range<u64>) -> Option<Bytes> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        for (start, bytes) in cached.iter() {
            let within = |at: u64| usize::try_from(at.checked_sub(*start)?).ok();
            if let (Some(first), Some(end)) = (within(range.start), within(range.end))
                && end <= bytes.len()
            {
                return Some(bytes.slice(first..end));
            }
        }
        None
    }

    fn insert(&self, start: u64, bytes: Bytes) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.push_back((start, bytes));
        let mut total: usize = cached.iter().map(|(_, bytes)| bytes.len()).sum();
        while total > MAX_CACHED_BYTES
            && let Some((_, oldest)) = cached.pop_front()
        {
            total -= oldest.len();
        }
    }
}

impl<S: RangeRead> RangeRead for CachedSource<S> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if let Some(cached) = self.find(&range) {
            return Ok(cached);
        }
        let bytes = fetch::read_whole(&self.source, &[], range.clone(), CONNECTIONS).await?;
        self.insert(range.start, bytes.clone());
        Ok(bytes)
    }
}
