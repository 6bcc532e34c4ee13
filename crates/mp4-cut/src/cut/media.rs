//! Files that a smart cut copies samples from; some samples are changed on the way.

use crate::{
    boxes::parse::damaged,
    error::Result,
    hevc::{self, Hevc, JoinableSource, ParameterSets},
    io::{RangeRead, fetch},
    nal::{LengthSize, units},
    read::samples::{ChunkRun, SampleSizes, SampleTable},
};
use bytes::{Bytes, BytesMut};
use std::{ops::Range, sync::Arc};

/// A file, and what is changed in it.
#[derive(Debug)]
pub(crate) struct Media<R> {
    file: R,
    change: Change,
}

#[derive(Debug)]
enum Change {
    None,
    /// The H.265 sample in `range` is changed so that a stream can continue with it; its length stays the same.
    Begun {
        range: Range<u64>,
        size: LengthSize,
    },
    /// It holds only the rewritten samples of a track.
    Rewritten(RewrittenSamples),
}

/// The samples of an encoded part, changed to share a stream with the source's.
#[derive(Debug, Clone)]
pub(crate) struct MovedSamples {
    /// The part's parameter sets, as the encoder wrote them.
    pub sets: ParameterSets,
    pub samples: RewrittenSamples,
}

/// The rewritten samples of a track, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct RewrittenSamples {
    places: Arc<[Place]>,
    rewrite: Rewrite,
}

/// How to rewrite samples whose NAL units have lengths of the given size.
#[derive(Debug, Clone)]
pub(crate) enum Rewrite {
    /// To share a stream with the samples of an H.265 source.
    Beside(Arc<JoinableSource>, LengthSize),
    /// To four-byte lengths.
    LongLengths(LengthSize),
}

/// Where a sample is in its file, and where it is among the rewritten samples.
#[derive(Debug)]
struct Place {
    written: Range<u64>,
    moved: Range<u64>,
}

impl Rewrite {
    fn sample(&self, written: &[u8]) -> Result<Vec<u8>, String> {
        let size = match self {
            Self::Beside(source, size) => {
                let moved = source.sample(written, *size);
                return moved.map_err(|why| why.to_string());
            }
            Self::LongLengths(size) => *size,
        };
        let mut sample = Vec::with_capacity(written.len() + written.len() / 64);
        for unit in units(written, size) {
            unit.filter(|unit| unit.is_whole)
                .and_then(|unit| LengthSize::Four.append(&mut sample, unit.bytes))
                .ok_or("a picture has NAL units beyond its end")?;
        }
        Ok(sample)
    }
}

impl<R: RangeRead> Media<R> {
    pub fn of(file: R) -> Self {
        let change = Change::None;
        Self { file, change }
    }

    /// A file whose H.265 sample in `range` is changed so that a stream can continue with it.
    pub fn begun(file: R, range: Range<u64>, size: LengthSize) -> Self {
        let change = Change::Begun { range, size };
        Self { file, change }
    }

    /// The rewritten samples of a file.
    pub fn rewritten(file: R, samples: RewrittenSamples) -> Self {
        let change = Change::Rewritten(samples);
        Self { file, change }
    }

    /// Reads exactly `range` of the changed file.
    ///
    /// # Errors
    /// Any error from the file, and [`Error::Damaged`](crate::Error::Damaged) if the file has changed meanwhile.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        match &self.change {
            Change::None => fetch::read_exact(&self.file, range).await,
            Change::Rewritten(samples) => samples.bytes(&self.file, range).await,
            Change::Begun { range: sample, .. } if overlap(sample, &range).is_empty() => {
                fetch::read_exact(&self.file, range).await
            }
            Change::Begun {
                range: sample,
                size,
            } => {
                let written = fetch::read_exact(&self.file, sample.clone()).await?;
                let begun = hevc::begin_copy(&written, *size)
                    .filter(|begun| begun.len() == written.len())
                    .ok_or_else(|| damaged("a keyframe cannot be read"))?;
                let mut whole = BytesMut::new();
                let before = range.start..sample.start.min(range.end);
                if !before.is_empty() {
                    whole.extend(fetch::read_exact(&self.file, before).await?);
                }
                whole.extend_from_slice(part_of(&begun, sample, &range));
                let after = sample.end.max(range.start)..range.end;
                if !after.is_empty() {
                    whole.extend(fetch::read_exact(&self.file, after).await?);
                }
                Ok(whole.freeze())
            }
        }
    }
}

impl MovedSamples {
    /// Measures the rewritten samples of an encoded part. The inner error says why they cannot share a stream with the
    /// source's.
    pub async fn read(
        file: &impl RangeRead,
        table: &SampleTable,
        hevc: &Hevc,
    ) -> Result<Result<Self, String>> {
        let (mut sets, size) = match hevc::encoded_sets(&table.descriptions) {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        let collect = |sample: &[u8]| {
            let collected = sets.collect(sample, size);
            collected.map_err(|why| why.to_string())
        };
        let rewrite = Rewrite::Beside(Arc::new(hevc.source().clone()), size);
        let samples = RewrittenSamples::read(file, table, rewrite, collect).await?;
        Ok(samples.map(|samples| Self { sets, samples }))
    }
}

impl RewrittenSamples {
    /// Measures the rewritten samples of a track; `look` sees each of them first. The inner error says why they cannot
    /// be rewritten.
    pub async fn read(
        file: &impl RangeRead,
        table: &SampleTable,
        rewrite: Rewrite,
        mut look: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Result<Self, String>> {
        let mut places = Vec::new();
        let mut at = 0;
        for (index, written) in written_samples(table) {
            let sample = fetch::read_exact(file, written.clone()).await?;
            let moved = match look(&sample).and_then(|()| rewrite.sample(&sample)) {
                Ok(moved) => moved,
                Err(why) => return Ok(Err(why)),
            };
            debug_assert_eq!(places.len(), index);
            let end = at + moved.len() as u64;
            places.push(Place {
                written,
                moved: at..end,
            });
            at = end;
        }
        let places = places.into();
        Ok(Ok(Self { places, rewrite }))
    }

    /// Where consecutive samples are.
    pub fn run(&self, range: Range<u32>) -> ChunkRun {
        let samples = &self.places[range.start as usize..range.end as usize];
        let ends = samples.first().zip(samples.last());
        let (offset, end) =
            ends.map_or((0, 0), |(first, last)| (first.moved.start, last.moved.end));
        ChunkRun {
            offset,
            bytes: end - offset,
            samples: range.end - range.start,
            description: 1,
        }
    }

    pub fn sizes(&self) -> SampleSizes {
        let sizes = self.places.iter().flat_map(|place| {
            let bytes = u32::try_from(place.moved.end - place.moved.start);
            bytes.unwrap_or(u32::MAX).to_be_bytes()
        });
        SampleSizes::Each(sizes.collect())
    }

    async fn bytes(&self, file: &impl RangeRead, range: Range<u64>) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        let first = self
            .places
            .partition_point(|place| place.moved.end <= range.start);
        let wanted = self.places[first..]
            .iter()
            .take_while(|place| place.moved.start < range.end);
        for place in wanted {
            let written = fetch::read_exact(file, place.written.clone()).await?;
            let moved = self.rewrite.sample(&written).map_err(damaged)?;
            whole.extend_from_slice(part_of(&moved, &place.moved, &range));
        }
        Ok(whole.freeze())
    }
}

/// Where the encoder put each sample.
fn written_samples(table: &SampleTable) -> impl Iterator<Item = (usize, Range<u64>)> {
    let runs = table.chunk_runs(0..table.count);
    let mut index = 0;
    let ranges = runs.flat_map(move |run| {
        let mut at = run.offset;
        let samples = index..index + run.samples;
        index += run.samples;
        let ranges: Vec<_> = samples
            .map(|sample| {
                let start = at;
                at += table.bytes(sample..sample + 1);
                start..at
            })
            .collect();
        ranges
    });
    ranges.enumerate()
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> Range<u64> {
    one.start.max(other.start)..one.end.min(other.end)
}

/// The part of `bytes`, which are at `at`, that is within `range`.
fn part_of<'a>(bytes: &'a [u8], at: &Range<u64>, range: &Range<u64>) -> &'a [u8] {
    let part = overlap(at, range);
    let within = |offset: u64| usize::try_from(offset - at.start).unwrap_or(usize::MAX);
    bytes
        .get(within(part.start)..within(part.end))
        .unwrap_or_default()
}
