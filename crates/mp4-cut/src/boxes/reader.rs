//! Reads boxes of a source by byte range.

use crate::{
    boxes::parse::{Child, FourCC, Header, MAX_INDEX_BYTES, damaged, fourcc_name},
    error::{Error, Result},
    io::{fetch, range::RangeRead},
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::ops::Range;

/// Concurrent requests for a long box.
const CONNECTIONS: usize = 4;
/// Bytes of the longest header: size, type and 64-bit size.
const MAX_HEADER_BYTES: u64 = 16;
const NEAR_READ_BYTES: u64 = 256 << 10;
/// Reads longer than this are split into parallel parts.
const LONG_READ_BYTES: u64 = 1 << 20;
/// Concurrent requests for the heads of boxes.
const HEADS_AT_ONCE: usize = 8;

/// How far a [`BoxReader`] reads ahead, and how often it reads.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    /// Sizes of the first reads, in bytes.
    pub first_bytes: &'static [u64],
    /// Size of every later read, in bytes.
    pub then_bytes: u64,
    pub max_reads: usize,
    /// The error when more reads than this are needed.
    pub too_many: fn() -> Error,
    /// A read that begins within this distance after the previous one takes [`NEAR_READ_BYTES`]: more boxes of this
    /// kind are expected.
    pub near_bytes: u64,
}

/// Walks over the boxes of a source, buffering the last read.
pub(crate) struct BoxReader<'a, S> {
    source: &'a S,
    read_ahead: &'static ReadAhead,
    buffer: Bytes,
    buffer_start: u64,
    reads: usize,
    /// Beginnings of boxes that were read ahead, with their offsets, in order.
    heads: Vec<(u64, Bytes)>,
}

impl<'a, S: RangeRead> BoxReader<'a, S> {
    pub fn new(source: &'a S, read_ahead: &'static ReadAhead) -> Self {
        Self {
            source,
            read_ahead,
            buffer: Bytes::new(),
            buffer_start: 0,
            reads: 0,
            heads: Vec::new(),
        }
    }

    /// Reads the beginnings of the boxes at these offsets, several at once.
    pub async fn read_heads(&mut self, boxes: Vec<u64>) -> Result<()> {
        let length = self.read_ahead.then_bytes;
        let end = self.source.len();
        let heads = boxes
            .into_iter()
            .map(|at| at..end.min(at.saturating_add(length)));
        let heads: Vec<_> = heads.collect();
        let heads = fetch::read_ranges(self.source, &heads, HEADS_AT_ONCE);
        self.heads = heads.try_collect().await?;
        Ok(())
    }

    /// The length of the source, in bytes.
    pub fn source_bytes(&self) -> u64 {
        self.source.len()
    }

    /// The header of the box at `at`; `None` at the end of the source.
    pub async fn header(&mut self, at: u64) -> Result<Option<Header>> {
        let rest = self.source.len().saturating_sub(at);
        let needed = usize_of(rest.min(MAX_HEADER_BYTES));
        if self.buffered(at).len() < needed {
            let first = self.read_ahead.first_bytes.get(self.reads).copied();
            self.fill(at, first.unwrap_or(self.read_ahead.then_bytes))
                .await?;
        }
        Header::read(&self.buffered(at))
    }

    /// The first box from `at` on whose type is one of `kinds`, and its offset.
    pub async fn find(
        &mut self,
        mut at: u64,
        kinds: &[&'static FourCC],
    ) -> Result<Option<(u64, &'static FourCC)>> {
        while let Some(header) = self.header(at).await? {
            for kind in kinds {
                if header.kind == **kind {
                    return Ok(Some((at, kind)));
                }
            }
            let Some(bytes) = header.bytes else { break };
            at = at.saturating_add(bytes);
        }
        Ok(None)
    }

    /// The box at `at`, which must be of type `kind` and no longer than [`MAX_INDEX_BYTES`].
    pub async fn require(&mut self, at: u64, kind: FourCC) -> Result<Child> {
        match self.header(at).await? {
            Some(header) if header.kind == kind && header.bytes.is_some() => {
                self.child(at, header, MAX_INDEX_BYTES).await
            }
            _ => Err(damaged(format!(
                "it leads to byte {at}, where there is no box {}",
                fourcc_name(kind)
            ))),
        }
    }

    /// The box at `at` with `header`, of at most `max_bytes`.
    pub async fn child(&mut self, at: u64, header: Header, max_bytes: u64) -> Result<Child> {
        let rest = self.source.len() - at;
        let bytes = header.bytes.unwrap_or(rest);
        if bytes > max_bytes.min(rest) {
            let name = fourcc_name(header.kind);
            return Err(damaged(format!("box {name} is too long")));
        }
        Ok(Child::new(header, self.bytes(at..at + bytes).await?))
    }

    /// Bytes of the source: from the buffer where possible. The rest of a long range is read in parallel.
    pub async fn bytes(&mut self, range: Range<u64>) -> Result<Bytes> {
        let length = usize_of(range.end - range.start);
        if self.buffered(range.start).len() < length && length as u64 <= self.read_ahead.then_bytes
        {
            self.fill(range.start, self.read_ahead.then_bytes).await?;
        }
        let mut front = self.buffered(range.start);
        if front.len() >= length {
            front.truncate(length);
            return Ok(front);
        }
        self.count_read()?;
        let rest = range.start + front.len() as u64..range.end;
        fetch::read_whole(self.source, &front, rest, CONNECTIONS).await
    }

    /// What the buffer holds from `at` on.
    pub fn buffered(&self, at: u64) -> Bytes {
        let behind = self.heads.partition_point(|(start, _)| *start <= at);
        if let Some((start, head)) = behind.checked_sub(1).and_then(|last| self.heads.get(last))
            && at - start < head.len() as u64
        {
            return head.slice(usize_of(at - start)..);
        }
        match at.checked_sub(self.buffer_start).map(usize_of) {
            Some(skip) if skip < self.buffer.len() => self.buffer.slice(skip..),
            _ => Bytes::new(),
        }
    }

    /// Fills the buffer with `bytes` from `at` on, or fewer at the end of the source.
    async fn fill(&mut self, at: u64, bytes: u64) -> Result<()> {
        self.count_read()?;
        let read_end = self.buffer_start + self.buffer.len() as u64;
        let is_near = self.reads > 1 && at.saturating_sub(read_end) < self.read_ahead.near_bytes;
        let bytes = if is_near { NEAR_READ_BYTES } else { bytes };
        let end = self.source.len().min(at.saturating_add(bytes));
        self.buffer = if end - at > LONG_READ_BYTES {
            fetch::read_whole(self.source, &[], at..end, CONNECTIONS).await?
        } else {
            fetch::read_exact(self.source, at..end).await?
        };
        self.buffer_start = at;
        Ok(())
    }

    fn count_read(&mut self) -> Result<()> {
        if self.reads == self.read_ahead.max_reads {
            return Err((self.read_ahead.too_many)());
        }
        self.reads += 1;
        Ok(())
    }
}

/// Cannot fail: reads are bounded by [`MAX_INDEX_BYTES`].
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_executor::block_on;
    use std::sync::Mutex;

    const READ_AHEAD: ReadAhead = ReadAhead {
        first_bytes: &[64],
        then_bytes: 32,
        max_reads: 3,
        too_many: || damaged("too many reads"),
        near_bytes: 0,
    };

    /// A file that records which ranges were read.
    struct Recorded(Bytes, Mutex<Vec<Range<u64>>>);

    impl Recorded {
        fn new(boxes: &[(&FourCC, u32)]) -> Self {
            let mut file = Vec::new();
            for (kind, body) in boxes {
                file.extend((body + 8).to_be_bytes());
                file.extend(*kind);
                file.resize(file.len() + *body as usize, 0);
            }
            Self(file.into(), Mutex::default())
        }

        fn reads(&self) -> Vec<Range<u64>> {
            self.1.lock().expect("a list").clone()
        }
    }

    impl RangeRead for Recorded {
        fn len(&self) -> u64 {
            RangeRead::len(&self.0)
        }

        async fn read(&self, range: Range<u64>) -> Result<Bytes> {
            self.1.lock().expect("a list").push(range.clone());
            self.0.read(range).await
        }
    }

    #[test]
    fn box_behind_others_is_read_without_what_the_buffer_has_of_it() {
        let file = Recorded::new(&[(b"free", 12), (b"moov", 100), (b"mdat", 500)]);
        let mut reader = BoxReader::new(&file, &READ_AHEAD);
        let (at, kind) = block_on(reader.find(0, &[b"moov"]))
            .expect("boxes")
            .expect("moov");
        let moov = block_on(reader.require(at, *kind)).expect("a box");
        assert_eq!((at, moov.whole.len(), moov.body.len()), (20, 108, 100));
        assert_eq!(file.reads(), [0..64, 64..128]);
    }

    #[test]
    fn walk_over_too_many_boxes_is_refused() {
        let file = Recorded::new(&[(b"free", 80); 5]);
        let mut reader = BoxReader::new(&file, &READ_AHEAD);
        let error = block_on(reader.find(0, &[b"moov"])).expect_err("too many boxes");
        assert!(error.to_string().ends_with("too many reads"), "{error}");
        assert_eq!(file.reads(), [0..64, 88..120, 176..208]);
    }

    #[test]
    fn box_that_is_longer_than_it_may_be_is_refused() {
        let file = Recorded::new(&[(b"ftyp", 40)]);
        let mut reader = BoxReader::new(&file, &READ_AHEAD);
        let header = block_on(reader.header(0)).expect("a file").expect("a box");
        assert!(block_on(reader.child(0, header, 47)).is_err());
        assert!(block_on(reader.child(0, header, 48)).is_ok());
    }
}
