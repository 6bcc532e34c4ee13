//! Fetches byte ranges of a source in parallel parts, in order.

use crate::{
    error::{Error, Result},
    io::range::RangeRead,
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::{
    ops::{Deref, Range},
    pin::pin,
};

/// The largest part that one request asks for. So a few connections use little memory, and the time to first byte
/// (about 30 ms from S3) is no longer than the transfer.
const MAX_PART_BYTES: u64 = 2 << 20;
/// The smallest part worth its own request.
const MIN_PART_BYTES: u64 = 128 << 10;

/// Splits `ranges` into parts of nearly equal length, at most 2 MiB each, so that `connections` concurrent requests
/// finish at the same time.
#[must_use]
pub fn split_ranges(ranges: &[Range<u64>], connections: usize) -> Vec<Range<u64>> {
    let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let connections = connections.max(1) as u64;
    let rounds = total.div_ceil(connections * MAX_PART_BYTES).max(1);
    let part_bytes = total
        .div_ceil(rounds * connections)
        .clamp(MIN_PART_BYTES, MAX_PART_BYTES);
    let mut parts = Vec::new();
    for range in ranges {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + part_bytes);
            parts.push(start..end);
            start = end;
        }
    }
    parts
}

/// Reads `ranges` of `source` with `connections` requests in flight, and yields their bytes in order, in parts of at most
/// 2 MiB. Each part comes with the offset at which it begins in the source.
///
/// # Errors
/// The stream ends with the first error from the source, or with [`Error::Internal`] if a read returns a different
/// number of bytes than requested.
pub fn read_ranges<S>(
    source: S,
    ranges: &[Range<u64>],
    connections: usize,
) -> impl Stream<Item = Result<(u64, Bytes)>> + Send + use<S>
where
    S: Deref<Target: RangeRead + Sized> + Clone + Send + Sync,
{
    stream::iter(split_ranges(ranges, connections))
        .map(move |part| {
            let source = source.clone();
            async move { Ok((part.start, read_exact(&*source, part).await?)) }
        })
        .buffered(connections.max(1))
}

/// Reads `range` with `connections` requests in flight, and appends it to the bytes `front`.
pub(crate) async fn read_whole(
    source: &impl RangeRead,
    front: &[u8],
    range: Range<u64>,
    connections: usize,
) -> Result<Bytes> {
    let mut whole = BytesMut::from(front);
    let mut parts = pin!(read_ranges(source, &[range], connections));
    while let Some((_, part)) = parts.try_next().await? {
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

/// Reads exactly `range`.
///
/// # Errors
/// Any error from the source, and [`Error::Internal`] if it returns a different number of bytes.
pub(crate) async fn read_exact(source: &impl RangeRead, range: Range<u64>) -> Result<Bytes> {
    let expected = range.end.saturating_sub(range.start);
    let bytes = source.read(range.clone()).await?;
    if bytes.len() as u64 == expected {
        Ok(bytes)
    } else {
        Err(Error::internal(format!(
            "a read of bytes {range:?} returned {} bytes",
            bytes.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_their_ranges_once() {
        let ranges = [10..11, 20..5_000_000, 6_000_000..30_000_000];
        let parts = split_ranges(&ranges, 4);
        assert!(
            parts
                .iter()
                .all(|part| part.end - part.start <= MAX_PART_BYTES && part.start < part.end)
        );
        let mut joined: Vec<Range<u64>> = Vec::new();
        for part in parts {
            match joined.last_mut() {
                Some(last) if last.end == part.start => last.end = part.end,
                _ => joined.push(part),
            }
        }
        assert_eq!(joined, ranges);
    }

    #[test]
    fn range_of_a_short_clip_is_one_round() {
        let range = 0..7_500_000;
        assert_eq!(split_ranges(std::slice::from_ref(&range), 4).len(), 4);
    }
}
