//! A cache of the ranges that were read last: programs that seek read the same places again.

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

/// A source with a cache of the 8 MiB that were read last. Clones share the cache.
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_executor::block_on;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// Zeros, and how many of them were read.
    struct Zeros(AtomicU64);

    impl RangeRead for Zeros {
        fn len(&self) -> u64 {
            64 << 20
        }

        async fn read(&self, range: Range<u64>) -> Result<Bytes> {
            self.0.fetch_add(range.end - range.start, Relaxed);
            Ok(vec![0; usize::try_from(range.end - range.start).expect("a short read")].into())
        }
    }

    #[test]
    fn what_was_read_lately_is_not_read_again() {
        let cached = CachedSource::new(Zeros(AtomicU64::new(0)));
        for range in [0..300_000, 0..300_000, 1000..2000] {
            block_on(cached.read(range)).expect("zeros");
        }
        assert_eq!(cached.source.0.load(Relaxed), 300_000);
    }

    #[test]
    fn what_was_read_long_ago_is_read_again() {
        let cached = CachedSource::new(Zeros(AtomicU64::new(0)));
        for start in (0..16).chain([0]) {
            block_on(cached.read(start << 20..(start + 1) << 20)).expect("zeros");
        }
        assert_eq!(cached.source.0.load(Relaxed), 17 << 20);
    }
}
