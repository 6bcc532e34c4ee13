//! Fragments as one set of sample tables, as if the file had a complete index (ISO/IEC 14496-12, 8.8).

use crate::{
    boxes::parse::{Child, FourCC, boxed, children, damaged, decode, find, require},
    boxes::table::Run,
    error::{Error, Result},
    read::samples::SampleTable,
};
use bytes::Bytes;
use mp4_atom::{Moof, Mvex, Tfhd, Tkhd, Traf, Trun};
use std::collections::BTreeMap;

/// `sample_is_non_sync_sample` of a sample's flags (8.8.3.1).
const NON_SYNC: u32 = 1 << 16;
/// The most samples over all tracks, so that their tables are no longer than an index may be.
const MAX_SAMPLES: u32 = 4 << 20;

/// Gathers the samples of a file's fragments, in the order of the file.
#[derive(Debug)]
pub(crate) struct Defragmenter {
    /// By track number: the sample defaults of `trex`, which fragments may override.
    defaults: BTreeMap<u32, Defaults>,
    tracks: BTreeMap<u32, TrackSamples>,
    file_bytes: u64,
    /// Whether samples were left out because the file is truncated.
    pub is_cut_short: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Defaults {
    description: u32,
    duration: u32,
    size: u32,
    flags: u32,
}

/// A track's samples in decode order.
#[derive(Debug, Default)]
struct TrackSamples {
    count: u32,
    /// When the first is decoded, in the track's timescale.
    first_decode_time: i64,
    /// When a sample after the last would be decoded.
    end_decode_time: i64,
    durations: Vec<Run>,
    composition: Vec<Run<i32>>,
    /// Big-endian u32, as in `stsz`.
    sizes: Vec<u8>,
    /// Numbers from 1, as in `stss`.
    sync: Vec<u32>,
    chunks: Vec<Chunk>,
}

/// Samples that are contiguous in the file.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    offset: u64,
    samples: u32,
    description: u32,
}

/// One sample of a fragment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    duration: u32,
    size: u32,
    composition: i32,
    is_sync: bool,
}

impl Defragmenter {
    /// Begins with the samples in the `moov` box itself, which some writers put before all fragments.
    ///
    /// # Errors
    /// [`Error::Damaged`] if `moov` has no `mvex`, or has tables that cannot be read.
    pub fn new(moov: &Bytes, file_bytes: u64) -> Result<Self> {
        let mvex: Mvex = decode(&require(moov, *b"mvex")?)?;
        let defaults = mvex.trex.iter().map(|trex| {
            let defaults = Defaults {
                description: trex.default_sample_description_index,
                duration: trex.default_sample_duration,
                size: trex.default_sample_size,
                flags: trex.default_sample_flags,
            };
            (trex.track_id, defaults)
        });
        let mut all = Self {
            defaults: defaults.collect(),
            tracks: BTreeMap::new(),
            file_bytes,
            is_cut_short: false,
        };
        for trak in children(moov.clone()) {
            let trak = trak?;
            if &trak.kind == b"trak" {
                all.add_complete(&trak.body)?;
            }
        }
        Ok(all)
    }

    /// Forgets the samples of `moov`'s own tables, if fragments after them were left out.
    pub fn forget_complete(&mut self) {
        self.tracks.clear();
    }

    /// Adds the samples of a track's own tables, if it has any.
    fn add_complete(&mut self, trak: &Bytes) -> Result<()> {
        let mdia = require(trak, *b"mdia")?.body;
        let stbl = require(&require(&mdia, *b"minf")?.body, *b"stbl")?.body;
        let is_empty =
            find(&stbl, *b"stsz")?.is_none_or(|stsz| stsz.body.get(8..12) == Some(&[0; 4]));
        if is_empty {
            return Ok(());
        }
        let tkhd: Tkhd = decode(&require(trak, *b"tkhd")?)?;
        let table = SampleTable::read(&stbl, None, self.file_bytes)?;
        let samples = self.tracks.entry(tkhd.track_id).or_default();
        for frame in table.frames()? {
            let size = table.bytes(frame.index..frame.index + 1);
            samples.push(Sample {
                duration: frame.duration,
                size: u32::try_from(size).unwrap_or(u32::MAX),
                composition: i32::try_from(frame.time - frame.decode_time).unwrap_or(0),
                is_sync: frame.sync,
            });
        }
        for run in table.chunk_runs(0..table.count) {
            samples.chunks.push(Chunk {
                offset: run.offset,
                samples: run.samples,
                description: run.description,
            });
        }
        Ok(())
    }

    /// Adds the samples of the fragment whose `moof` box begins at byte `at` of the file. Fragments without `tfdt`
    /// continue where the previous one ended; `is_first` says that none was left out before this one.
    ///
    /// # Errors
    /// [`Error::Damaged`] for an inconsistent fragment; [`Error::Unsupported`] for one without a start time, and for
    /// more samples than an index may have.
    pub fn add(&mut self, at: u64, moof: &Child, is_first: bool) -> Result<()> {
        let moof: Moof = decode(moof)?;
        let mut implicit_base = at;
        for traf in &moof.traf {
            implicit_base = self.add_track(at, implicit_base, traf, is_first)?;
        }
        let samples: u64 = self
            .tracks
            .values()
            .map(|track| u64::from(track.count))
            .sum();
        if samples > u64::from(MAX_SAMPLES) {
            return Err(Error::unsupported(format!(
                "the source's fragments have more than {MAX_SAMPLES} samples"
            )));
        }
        Ok(())
    }

    /// Adds a track's part of a fragment. Returns where its data ends, which is where the next track's data begins
    /// unless that says otherwise (8.8.7.1).
    fn add_track(
        &mut self,
        moof: u64,
        implicit_base: u64,
        traf: &Traf,
        is_first: bool,
    ) -> Result<u64> {
        let Tfhd { track_id, .. } = traf.tfhd;
        let usual = self.usual(&traf.tfhd);
        let base = match traf.tfhd.base_data_offset {
            Some(offset) => offset,
            None if traf.tfhd.default_base_is_moof => moof,
            None => implicit_base,
        };
        let track = self.tracks.entry(track_id).or_default();
        match &traf.tfdt {
            Some(tfdt) => {
                let time = i64::try_from(tfdt.base_media_decode_time)
                    .ok()
                    .filter(|time| *time < i64::MAX / 4)
                    .ok_or_else(|| damaged("a fragment begins impossibly late"))?;
                track.go_on_at(time);
            }
            None if track.count > 0 || is_first => {}
            None => {
                return Err(Error::unsupported(
                    "the source is a fragmented MP4 whose fragments do not tell when they begin (tfdt), as those of \
                     Smooth Streaming do not: remux it first",
                ));
            }
        }
        let mut data = base;
        for trun in &traf.trun {
            if let Some(offset) = trun.data_offset {
                data = base
                    .checked_add_signed(offset.into())
                    .ok_or_else(|| damaged("a fragment's data lies in front of the file"))?;
            }
            let (end, is_whole) = track.add_run(data, usual, trun, self.file_bytes)?;
            self.is_cut_short |= !is_whole;
            data = end;
        }
        Ok(data)
    }

    fn usual(&self, tfhd: &Tfhd) -> Defaults {
        let usual = self
            .defaults
            .get(&tfhd.track_id)
            .copied()
            .unwrap_or_default();
        Defaults {
            description: tfhd
                .sample_description_index
                .unwrap_or(usual.description)
                .max(1),
            duration: tfhd.default_sample_duration.unwrap_or(usual.duration),
            size: tfhd.default_sample_size.unwrap_or(usual.size),
            flags: tfhd.default_sample_flags.unwrap_or(usual.flags),
        }
    }

    /// When a track's last sample ends, in its timescale; `None` for a track without samples.
    pub fn end_decode_time(&self, track_id: u32) -> Option<i64> {
        let track = self.tracks.get(&track_id).filter(|track| track.count > 0)?;
        Some(track.end_decode_time)
    }

    /// How many samples a track has.
    pub fn count(&self, track_id: u32) -> u32 {
        self.tracks.get(&track_id).map_or(0, |track| track.count)
    }

    /// When each track's first sample is decoded, in its timescale.
    pub fn first_decode_times(&self) -> BTreeMap<u32, i64> {
        let times = self
            .tracks
            .iter()
            .map(|(id, track)| (*id, track.first_decode_time));
        times.collect()
    }

    /// The body of a `moov` box whose tables have all gathered samples.
    ///
    /// # Errors
    /// [`Error::Damaged`] if `moov` is.
    pub fn complete(&self, moov: &Bytes) -> Result<Bytes> {
        let mut body = Vec::new();
        for child in children(moov.clone()) {
            let child = child?;
            match &child.kind {
                b"mvex" => {}
                b"trak" => {
                    let tkhd: Tkhd = decode(&require(&child.body, *b"tkhd")?)?;
                    let empty = TrackSamples::default();
                    let track = self.tracks.get(&tkhd.track_id).unwrap_or(&empty);
                    let path = [*b"trak", *b"mdia", *b"minf", *b"stbl"];
                    body.extend(replaced(&child, &path, &track.tables())?);
                }
                _ => body.extend_from_slice(&child.whole),
            }
        }
        Ok(body.into())
    }
}

impl TrackSamples {
    /// Makes the last sample last until `time`, when the next is decoded. If that is not later than the last sample
    /// itself, the fragment's time is ignored: a recording's clock does not run backwards.
    fn go_on_at(&mut self, time: i64) {
        let Some(last) = self.durations.last_mut() else {
            (self.first_decode_time, self.end_decode_time) = (time, time);
            return;
        };
        let value = i64::from(last.value) + time - self.end_decode_time;
        let Some(value) = i32::try_from(value).ok().filter(|value| *value > 0) else {
            return;
        };
        if time != self.end_decode_time {
            last.count -= 1;
            self.durations.retain(|run| run.count > 0);
            push(&mut self.durations, value.cast_unsigned());
            self.end_decode_time = time;
        }
    }

    /// Adds the samples of a run whose data begins at `offset`. Returns where it ends, and whether all of it is within
    /// the file.
    fn add_run(
        &mut self,
        offset: u64,
        usual: Defaults,
        trun: &Trun,
        file_bytes: u64,
    ) -> Result<(u64, bool)> {
        let mut end = offset;
        let first = self.count;
        let mut is_whole = true;
        for entry in &trun.samples {
            let size = entry.size.unwrap_or(usual.size);
            if size == 0 {
                return Err(damaged("a fragment has a sample without a length"));
            }
            if end.saturating_add(size.into()) > file_bytes {
                is_whole = false;
                break;
            }
            end += u64::from(size);
            let composition = i32::try_from(entry.cts.unwrap_or(0))
                .map_err(|_| damaged("a sample is shown impossibly late"))?;
            self.push(Sample {
                duration: entry.duration.unwrap_or(usual.duration),
                size,
                composition,
                is_sync: entry.flags.unwrap_or(usual.flags) & NON_SYNC == 0,
            });
        }
        if self.count > first {
            self.chunks.push(Chunk {
                offset,
                samples: self.count - first,
                description: usual.description,
            });
        }
        Ok((end, is_whole))
    }

    fn push(&mut self, sample: Sample) {
        self.count += 1;
        self.end_decode_time = self.end_decode_time.saturating_add(sample.duration.into());
        push(&mut self.durations, sample.duration);
        push(&mut self.composition, sample.composition);
        self.sizes.extend(sample.size.to_be_bytes());
        if sample.is_sync {
            self.sync.push(self.count);
        }
    }

    /// The boxes of an `stbl` that describe the samples.
    fn tables(&self) -> Vec<u8> {
        let runs = |runs: &[Run]| {
            let entries = runs.iter().flat_map(|run| run.entry());
            table(u32::try_from(runs.len()).unwrap_or(u32::MAX), entries)
        };
        let mut tables = full_box(*b"stts", 0, &runs(&self.durations));
        if self.composition.iter().any(|run| run.value != 0) {
            let mut offsets = Vec::new();
            for run in &self.composition {
                let value = run.value.cast_unsigned();
                offsets.push(Run {
                    count: run.count,
                    value,
                });
            }
            tables.extend(full_box(*b"ctts", 1, &runs(&offsets)));
        }
        if self.sync.len() < self.count as usize {
            let numbers = table(
                u32::try_from(self.sync.len()).unwrap_or(u32::MAX),
                self.sync.iter().copied(),
            );
            tables.extend(full_box(*b"stss", 0, &numbers));
        }
        let sizes = [&[0; 4], &self.count.to_be_bytes()[..], &self.sizes].concat();
        tables.extend(full_box(*b"stsz", 0, &sizes));
        let mut first_of_runs = Vec::new();
        for (number, chunk) in (1_u32..).zip(&self.chunks) {
            let [.., samples, description] = first_of_runs.last().copied().unwrap_or([0; 3]);
            if [samples, description] != [chunk.samples, chunk.description] {
                first_of_runs.push([number, chunk.samples, chunk.description]);
            }
        }
        let count = u32::try_from(first_of_runs.len()).unwrap_or(u32::MAX);
        tables.extend(full_box(
            *b"stsc",
            0,
            &table(count, first_of_runs.into_iter().flatten()),
        ));
        let mut offsets = u32::try_from(self.chunks.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes()
            .to_vec();
        for chunk in &self.chunks {
            offsets.extend(chunk.offset.to_be_bytes());
        }
        tables.extend(full_box(*b"co64", 0, &offsets));
        tables
    }
}

/// Adds a value to runs of equal values.
fn push<T: PartialEq>(runs: &mut Vec<Run<T>>, value: T) {
    match runs.last_mut() {
        Some(last) if last.value == value => last.count += 1,
        _ => runs.push(Run { count: 1, value }),
    }
}

/// The body of a table: the number of entries, then their numbers.
pub(super) fn table(count: u32, numbers: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut table = count.to_be_bytes().to_vec();
    table.extend(numbers.flat_map(u32::to_be_bytes));
    table
}

pub(super) fn full_box(kind: FourCC, version: u8, body: &[u8]) -> Vec<u8> {
    boxed(kind, &[&[version, 0, 0, 0], body].concat())
}

/// A box in which the tables of the `stbl` box at the end of `path` are replaced by `tables`.
fn replaced(parent: &Child, path: &[FourCC], tables: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    for child in children(parent.body.clone()) {
        let child = child?;
        match path.get(1) {
            Some(kind) if child.kind == *kind => body.extend(replaced(&child, &path[1..], tables)?),
            Some(_) => body.extend_from_slice(&child.whole),
            None if matches!(&child.kind, b"stsd" | b"sgpd") => {
                body.extend_from_slice(&child.whole);
            }
            None => {}
        }
    }
    if path.len() == 1 {
        body.extend_from_slice(tables);
    }
    Ok(boxed(parent.kind, &body))
}
