//! What a caching source reads again.

#[path = "common/counted.rs"]
mod counted;

use bytes::Bytes;
use counted::Counted;
use futures_executor::block_on;
use mp4_cut::{
    Result,
    io::{CachedSource, RangeRead},
};
use std::ops::Range;

/// Zeros.
#[derive(Clone)]
struct Zeros;

impl RangeRead for Zeros {
    fn len(&self) -> u64 {
        64 << 20
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(vec![0; usize::try_from(range.end - range.start).expect("a short read")].into())
    }
}

/// How many bytes are read from the source when these ranges are read through the cache.
fn bytes_read(ranges: impl IntoIterator<Item = Range<u64>>) -> u64 {
    let source = Counted::new(Zeros);
    let kept = CachedSource::new(source.clone());
    for range in ranges {
        block_on(kept.read(range)).expect("zeros");
    }
    source.bytes()
}

#[test]
fn what_was_read_lately_is_not_read_again() {
    assert_eq!(bytes_read([0..300_000, 0..300_000, 1000..2000]), 300_000);
}

#[test]
fn what_was_read_long_ago_is_read_again() {
    let mebibytes = (0..16)
        .chain([0])
        .map(|start| start << 20..(start + 1) << 20);
    assert_eq!(bytes_read(mebibytes), 17 << 20);
}
