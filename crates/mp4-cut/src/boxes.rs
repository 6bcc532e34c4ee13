//! Walking boxes, and tables read in place from the bytes of the index.

use crate::{Error, Result};
use bytes::{Buf, Bytes};
use std::ops::Range;

/// The longest index that is read. At about 1 kB a second of source, that is nine hours; a source with a longer one is
/// `UnsupportedMedia`, so that a function's memory does not depend on its source.
pub const MAX_INDEX_BYTES: u64 = 32 << 20;
/// The bytes of a visual sample entry in front of its boxes.
pub(crate) const VISUAL_ENTRY_BYTES: usize = 78;

/// A box's four-character code.
pub(crate) type FourCC = [u8; 4];

/// The rejection of an index that contradicts itself.
pub(crate) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Damaged(what.to_string())
}

/// A box's code for a message, with what is not printable replaced.
pub(crate) fn fourcc_name(kind: FourCC) -> String {
    kind.iter()
        .map(|byte| {
            if byte.is_ascii_graphic() || *byte == b' ' {
                char::from(*byte)
            } else {
                '?'
            }
        })
        .collect()
}

/// The start of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: FourCC,
    /// Bytes of the header itself: 8, or 16 with a 64-bit size.
    pub length: u64,
    /// Bytes of the box with its header; `None` when it goes on to the end of what holds it.
    pub bytes: Option<u64>,
}

impl Header {
    /// Reads a box's header from the front of `data`; `None` when `data` is too short for it.
    ///
    /// # Errors
    /// `UnsupportedMedia` for a size that is less than the header's own.
    pub fn read(mut data: &[u8]) -> Result<Option<Self>> {
        if data.len() < 8 {
            return Ok(None);
        }
        let size = data.get_u32();
        let mut kind = FourCC::default();
        data.copy_to_slice(&mut kind);
        let (length, bytes) = match size {
            0 => (8, None),
            1 if data.len() < 8 => return Ok(None),
            1 => (16, Some(data.get_u64())),
            size => (8, Some(u64::from(size))),
        };
        if bytes.is_some_and(|bytes| bytes < length) {
            return Err(damaged(format!(
                "box {} has an impossible size",
                fourcc_name(kind)
            )));
        }
        Ok(Some(Self {
            kind,
            length,
            bytes,
        }))
    }
}

/// A box with all its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub kind: FourCC,
    /// The box as it stands in the file, header included.
    pub whole: Bytes,
    /// What follows the header.
    pub body: Bytes,
}

/// The boxes in `body`, one after the other. A remainder too short for a box, or of zeros, is padding, as `QuickTime`
/// writes it.
pub(crate) fn children(mut body: Bytes) -> impl Iterator<Item = Result<Child>> {
    std::iter::from_fn(move || {
        let header = match Header::read(&body) {
            Ok(header) => header?,
            Err(error) => {
                body.clear();
                return Some(Err(error));
            }
        };
        let fail = |what: &str| {
            Some(Err(damaged(format!(
                "box {} {what}",
                fourcc_name(header.kind)
            ))))
        };
        // Only the last box of a file may leave its length open: where others are copied to, it would hold what follows.
        let Some(bytes) = header.bytes else {
            body.clear();
            return if header.kind == [0; 4] {
                None
            } else {
                fail("has no length")
            };
        };
        let Some(bytes) = usize::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes <= body.len())
        else {
            body.clear();
            return fail("goes beyond the box that holds it");
        };
        let whole = body.split_to(bytes);
        // A header is 8 or 16 bytes, and `bytes` is no less.
        let content = whole.slice(if header.length == 8 { 8.. } else { 16.. });
        Some(Ok(Child {
            kind: header.kind,
            body: content,
            whole,
        }))
    })
}

/// The first box of `kind` in `body`.
pub(crate) fn find(body: &Bytes, kind: FourCC) -> Result<Option<Child>> {
    children(body.clone())
        .find(|child| child.as_ref().map_or(true, |child| child.kind == kind))
        .transpose()
}

/// The first box of `kind` in `body`, which must be there.
pub(crate) fn require(body: &Bytes, kind: FourCC) -> Result<Child> {
    find(body, kind)?.ok_or_else(|| damaged(format!("it has no box {}", fourcc_name(kind))))
}

/// A table of entries of `N` bytes, read where it stands in the index, so that it costs no memory of its own.
#[derive(Debug, Clone)]
pub(crate) struct Table<const N: usize>(Bytes);

impl<const N: usize> Table<N> {
    /// The table of a full box: version and flags, the number of entries, the entries.
    pub fn of_box(child: &Child) -> Result<Self> {
        let mut body = child.body.clone();
        if body.len() < 8 {
            return Err(damaged(format!(
                "box {} is too short",
                fourcc_name(child.kind)
            )));
        }
        body.advance(4);
        let count = body.get_u32();
        Self::new(body, count).ok_or_else(|| {
            damaged(format!(
                "box {} is shorter than its table",
                fourcc_name(child.kind)
            ))
        })
    }

    /// The first `count` entries of `data`; `None` when there are fewer.
    pub fn new(mut data: Bytes, count: u32) -> Option<Self> {
        let bytes = usize::try_from(count).ok()?.checked_mul(N)?;
        if bytes > data.len() {
            return None;
        }
        data.truncate(bytes);
        Some(Self(data))
    }

    pub fn entries(&self) -> &[[u8; N]] {
        self.0.as_chunks().0
    }
}

impl Table<4> {
    /// The entries in `range`, as they stand in the index.
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        self.entries()
            .get(range)
            .map_or_else(Bytes::new, |entries| {
                self.0.slice_ref(entries.as_flattened())
            })
    }

    pub fn numbers(&self, range: Range<usize>) -> impl Iterator<Item = u32> {
        self.entries()
            .get(range)
            .unwrap_or_default()
            .iter()
            .map(|entry| u32::from_be_bytes(*entry))
    }

    pub fn all(&self) -> impl Iterator<Item = u32> {
        self.numbers(0..self.entries().len())
    }
}

/// A table of runs: a number of samples, and the value that each of them has.
pub(crate) type Runs = Table<8>;

/// `count` samples that share `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub count: u32,
    pub value: u32,
}

impl Run {
    /// The run as it is written.
    pub fn entry(self) -> [u32; 2] {
        [self.count, self.value]
    }
}

impl Runs {
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        self.entries().iter().map(|[a, b, c, d, e, f, g, h]| Run {
            count: u32::from_be_bytes([*a, *b, *c, *d]),
            value: u32::from_be_bytes([*e, *f, *g, *h]),
        })
    }

    /// The value of each sample.
    pub fn values(&self) -> impl Iterator<Item = u32> {
        self.runs()
            .flat_map(|run| std::iter::repeat_n(run.value, run.count as usize))
    }

    /// The runs of the samples from `first` up to, not including, `end`.
    pub fn slice(&self, first: u32, end: u32) -> impl Iterator<Item = Run> {
        let (first, end) = (u64::from(first), u64::from(end));
        let mut at = 0;
        self.runs()
            .map(move |run| {
                let range = at..at + u64::from(run.count);
                at = range.end;
                (range, run.value)
            })
            .skip_while(move |(range, _)| range.end <= first)
            .take_while(move |(range, _)| range.start < end)
            .filter_map(move |(range, value)| {
                let count = range.end.min(end).saturating_sub(range.start.max(first));
                // Part of a run whose count is a u32.
                u32::try_from(count)
                    .ok()
                    .filter(|count| *count > 0)
                    .map(|count| Run { count, value })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(pairs: &[(u32, u32)]) -> Runs {
        let bytes: Vec<u8> = pairs
            .iter()
            .flat_map(|(count, value)| [count.to_be_bytes(), value.to_be_bytes()].concat())
            .collect();
        Table::new(bytes.into(), u32::try_from(pairs.len()).unwrap()).unwrap()
    }

    #[test]
    fn slice_of_runs_has_the_values_of_its_samples() {
        let runs = runs(&[(3, 10), (0, 99), (2, 20), (4, 30)]);
        let all: Vec<u32> = runs.values().collect();
        for first in 0..=9 {
            for end in first..=9 {
                let sliced: Vec<u32> = runs
                    .slice(first, end)
                    .flat_map(|run| std::iter::repeat_n(run.value, run.count as usize))
                    .collect();
                assert_eq!(sliced, all[first as usize..end as usize], "{first}..{end}");
            }
        }
    }

    #[test]
    fn box_beyond_its_parent_is_damaged() {
        let error = children(Bytes::from_static(b"\0\0\0\x10free\0\0\0\0"))
            .next()
            .unwrap()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the source's MP4 index is damaged: box free goes beyond the box that holds it"
        );
    }

    #[test]
    fn box_smaller_than_its_header_is_damaged() {
        assert!(Header::read(b"\0\0\0\x07free").is_err());
        assert!(Header::read(b"\0\0\0\x01free\0\0\0\0\0\0\0\x0f").is_err());
    }

    #[test]
    fn quicktime_terminator_is_padding() {
        let boxes: Vec<_> = children(Bytes::from_static(b"\0\0\0\x08free\0\0\0\0"))
            .map(Result::unwrap)
            .collect();
        assert_eq!(boxes.len(), 1);
    }

    #[test]
    fn box_in_a_box_has_a_length() {
        let error = children(Bytes::from_static(b"\0\0\0\0free\0\0\0\0"))
            .next()
            .unwrap()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the source's MP4 index is damaged: box free has no length"
        );
        assert_eq!(children(Bytes::from_static(&[0; 12])).count(), 0);
    }

    #[test]
    fn table_longer_than_its_box_is_damaged() {
        let body = Bytes::from_static(b"\0\0\0\0\xff\xff\xff\xff\0\0\0\0");
        let child = Child {
            kind: *b"stco",
            whole: body.clone(),
            body,
        };
        assert!(Table::<4>::of_box(&child).is_err());
    }
}
