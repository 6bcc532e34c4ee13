//! Tables, read in place.

use crate::{
    boxes::parse::{Child, damaged, fourcc_name},
    error::Result,
};
use bytes::{Buf, Bytes};
use std::{iter, ops::Range};

/// A table of `N`-byte entries, read in place in the index, so that it needs no memory of its own.
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
    /// The bytes of the entries in `range`.
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

/// A table of runs: a number of samples, and the value that they share.
pub(crate) type Runs = Table<8>;

/// `count` samples that share `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run<T = u32> {
    pub count: u32,
    pub value: T,
}

impl<T: Copy> Run<T> {
    /// The value of each sample of `runs`.
    pub fn values(runs: &[Self]) -> impl Iterator<Item = T> {
        runs.iter()
            .flat_map(|run| iter::repeat_n(run.value, run.count as usize))
    }
}

impl Run {
    /// The run as it is written.
    pub fn entry(self) -> [u32; 2] {
        [self.count, self.value]
    }

    /// The run with its value reinterpreted as a signed number (`ctts`, 8.6.1.3).
    pub fn signed(self) -> Run<i64> {
        Run {
            count: self.count,
            value: self.value.cast_signed().into(),
        }
    }
}

impl Runs {
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        self.entries().iter().map(|entry| {
            let (fields, _) = entry.as_chunks();
            let [count, value] = [fields[0], fields[1]].map(u32::from_be_bytes);
            Run { count, value }
        })
    }

    /// The value of each sample.
    pub fn values(&self) -> impl Iterator<Item = u32> {
        let mut runs = self.runs();
        let (mut left, mut value) = (0, 0);
        iter::from_fn(move || {
            while left == 0 {
                let run = runs.next()?;
                (left, value) = (run.count, run.value);
            }
            left -= 1;
            Some(value)
        })
    }

    /// The runs of the samples from `first` up to, not including, `end`.
    pub fn slice(&self, first: u32, end: u32) -> impl Iterator<Item = Run> {
        let mut runs = self.runs();
        let mut at = 0_u64;
        iter::from_fn(move || {
            while at < end.into() {
                let run = runs.next()?;
                let start = at.max(first.into());
                at += u64::from(run.count);
                let count = at.min(end.into()).saturating_sub(start);
                // Part of a run whose count is a u32.
                if let Ok(count @ 1..) = u32::try_from(count) {
                    return Some(Run { count, ..run });
                }
            }
            None
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
