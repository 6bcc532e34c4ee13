//! Reading byte spans of a source in parallel parts, in order.

use crate::{Error, Result, io::RangeRead};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use std::ops::{Deref, Range};

/// The largest part that one request asks for. With a few connections it keeps memory flat, and it is long enough that
/// the wait for a first byte (about 30 ms from S3) is no more than the transfer.
const MAX_PART_BYTES: u64 = 2 << 20;
/// The smallest part that is worth a request of its own.
const MIN_PART_BYTES: u64 = 128 << 10;

/// Cuts `spans` into parts of nearly equal length, so that `connections` of them finish at the same time.
#[must_use]
pub fn parts(spans: &[Range<u64>], connections: usize) -> Vec<Range<u64>> {
    let total: u64 = spans.iter().map(|span| span.end - span.start).sum();
    let connections = connections.max(1) as u64;
    let rounds = total.div_ceil(connections * MAX_PART_BYTES).max(1);
    let part = total
        .div_ceil(rounds * connections)
        .clamp(MIN_PART_BYTES, MAX_PART_BYTES);
    spans
        .iter()
        .flat_map(|span| {
            let span = span.clone();
            (span.start..span.end)
                .step_by(usize::try_from(part).unwrap_or(usize::MAX))
                .map(move |start| start..span.end.min(start + part))
        })
        .collect()
}

/// Reads `parts` of `source`, `connections` at a time, and yields them in order, each with where it begins.
pub fn read_parts<S>(
    source: S,
    parts: Vec<Range<u64>>,
    connections: usize,
) -> impl Stream<Item = Result<(u64, Bytes)>> + Send
where
    S: Deref<Target: RangeRead + Sized> + Clone + Send + Sync,
{
    futures::stream::iter(parts)
        .map(move |part| {
            let source = source.clone();
            async move { Ok((part.start, read_exact(&*source, part).await?)) }
        })
        .buffered(connections.max(1))
}

/// Reads exactly `range`.
///
/// # Errors
/// Whatever the source raises, and `Internal` when it returns another number of bytes.
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
    fn parts_cover_their_spans_once() {
        let spans = [10..11, 20..5_000_000, 6_000_000..30_000_000];
        let parts = parts(&spans, 4);
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
        assert_eq!(joined, spans);
    }

    #[test]
    fn span_of_a_short_clip_is_one_round() {
        let span = 0..7_500_000;
        assert_eq!(parts(std::slice::from_ref(&span), 4).len(), 4);
    }
}
