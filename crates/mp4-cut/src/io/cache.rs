//! A source of which what was read lately is kept: programs look at the same places again.

use crate::{
    Result,
    io::{RangeRead, fetch},
};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use std::{
    collections::VecDeque,
    ops::Range,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

/// How much is kept, in bytes.
const KEPT_BYTES: usize = 8 << 20;
/// A long read is made over this many connections.
const CONNECTIONS: usize = 4;

/// A source, and what was read of it lately.
#[derive(Debug, Clone)]
pub struct CachedSource<S> {
    source: S,
    kept: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
}

impl<S> CachedSource<S> {
    /// Wraps a source of which nothing is kept yet.
    pub fn new(source: S) -> Self {
        Self {
            source,
            kept: Arc::default(),
        }
    }

    fn find(&self, range: &Range<u64>) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find_map(|(start, bytes)| {
            let first = usize::try_from(range.start.checked_sub(*start)?).ok()?;
            let end = usize::try_from(range.end - start).ok()?;
            (end <= bytes.len()).then(|| bytes.slice(first..end))
        })
    }

    fn keep(&self, start: u64, bytes: &Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((start, bytes.clone()));
        let mut total: usize = kept.iter().map(|(_, bytes)| bytes.len()).sum();
        while let Some((_, oldest)) = kept.front().filter(|_| total > KEPT_BYTES) {
            total -= oldest.len();
            kept.pop_front();
        }
    }
}

impl<S: RangeRead> RangeRead for CachedSource<S> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if let Some(kept) = self.find(&range) {
            return Ok(kept);
        }
        let parts = fetch::parts(std::slice::from_ref(&range), CONNECTIONS);
        let mut read = BytesMut::new();
        let mut parts = pin!(fetch::read_parts(&self.source, parts, CONNECTIONS));
        while let Some((_, part)) = parts.try_next().await? {
            read.extend_from_slice(&part);
        }
        let read = read.freeze();
        self.keep(range.start, &read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
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
        let kept = CachedSource::new(Zeros(AtomicU64::new(0)));
        for range in [0..300_000, 0..300_000, 1000..2000] {
            block_on(kept.read(range)).expect("zeros");
        }
        assert_eq!(kept.source.0.load(Relaxed), 300_000);
    }

    #[test]
    fn what_was_read_long_ago_is_read_again() {
        let kept = CachedSource::new(Zeros(AtomicU64::new(0)));
        for start in (0..16).chain([0]) {
            block_on(kept.read(start << 20..(start + 1) << 20)).expect("zeros");
        }
        assert_eq!(kept.source.0.load(Relaxed), 17 << 20);
    }
}
