//! A track's samples: when each is shown, how long it is and where it is in the file.

use crate::{
    boxes::parse::{Child, FourCC, children, damaged, find, fourcc_name, require},
    boxes::table::{Run, Runs, Table},
    error::{Error, Result},
};
use bytes::{Buf, Bytes};
use std::{iter, ops::Range};

/// The most samples of a video track that are inspected one by one; half a day at 60 frames per second is 2.6 million.
const MAX_VIDEO_SAMPLES: u32 = 4_000_000;

/// How many samples a keyframe is compared with.
const SAMPLES_COMPARED: u32 = 8;

/// The tables of an `stbl` box, read in place in the index.
#[derive(Debug, Clone)]
pub(crate) struct SampleTable {
    /// The number of samples.
    pub count: u32,
    /// The sum of all samples' durations, in the track's timescale.
    pub duration: i64,
    /// The `stsd` box, passed on byte for byte.
    pub descriptions: Bytes,
    /// The `sgpd` boxes, passed on byte for byte.
    pub group_descriptions: Vec<Bytes>,
    timing: Runs,
    /// The sample duration of the longest run of equal durations.
    usual_duration: u32,
    composition: Option<Runs>,
    /// The least difference between the time at which a frame is shown and the one at which it is decoded.
    pub earliest_offset: i64,
    sample_to_chunk: Table<12>,
    offsets: Offsets,
    sizes: Sizes,
    /// Indices of the samples that decoding can start at, ascending; `None` when it can start at any.
    sync: Option<Vec<u32>>,
    dependencies: Option<Bytes>,
    groups: Vec<Group>,
    /// How many frames must be decoded after any sync sample except the first until pictures are correct: above zero
    /// for intra refresh.
    pub recovery_frames: u32,
    /// What must be inserted at the start of the first sample of any range that does not begin with the track's first
    /// sample.
    pub preamble: Bytes,
    /// Whether the first keyframe has parameter sets.
    pub has_parameter_sets: bool,
    /// If fields have separate samples: the shortest duration of the first field of a frame.
    pub field_duration: Option<u32>,
}

#[derive(Debug, Clone)]
enum Offsets {
    Short(Table<4>),
    Long(Table<8>),
}

/// How long samples are.
#[derive(Debug, Clone)]
pub(crate) enum Sizes {
    /// Packets of equal length, each of one or more samples.
    Fixed(Packet),
    /// A length for each sample.
    Each(Table<4>),
    /// A length of 4, 8 or 16 bits for each sample.
    Compact { bits: u8, entries: Bytes },
}

/// A run of samples that cannot be taken apart: `samples` is above one only in old `QuickTime` audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet {
    pub samples: u32,
    pub bytes: u32,
}

/// An `sbgp` box: which group description each sample has.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Version, flags and grouping type, up to the number of entries, passed on byte for byte.
    pub head: Bytes,
    pub runs: Runs,
}

/// A frame's place in time. It is one sample, or two with one field each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its first sample: zero-based, in decode order.
    pub index: u32,
    /// The first sample after it.
    pub end: u32,
    /// When it is decoded, in the track's timescale.
    pub decode_time: i64,
    /// When it is shown, before edits, in the track's timescale.
    pub time: i64,
    /// How long it lasts, in the track's timescale.
    pub duration: u32,
    /// Whether decoding can start here.
    pub sync: bool,
}

/// A chunk: samples that lie one behind the other in the file.
#[derive(Debug)]
struct Chunk {
    /// Where they begin in the file.
    offset: u64,
    samples: Range<u32>,
    /// One-based index into the sample descriptions.
    description: u32,
}

/// Consecutive samples of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRun {
    /// Where they begin in the file.
    pub offset: u64,
    pub bytes: u64,
    pub samples: u32,
    /// One-based index into the sample descriptions.
    pub description: u32,
}

impl SampleTable {
    /// Reads the body of an `stbl` box. `packet` is what the audio sample entry says about samples of a fixed length.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the tables contradict each other; [`Error::Unsupported`] if they refer to bytes beyond
    /// `file_bytes`.
    pub fn read(stbl: &Bytes, packet: Option<Packet>, file_bytes: u64) -> Result<Self> {
        let timing = Runs::of_box(&require(stbl, *b"stts")?)?;
        let composition = find(stbl, *b"ctts")?
            .as_ref()
            .map(Runs::of_box)
            .transpose()?;
        let (sizes, count) = read_sizes(stbl, packet)?;
        let offsets = match find(stbl, *b"co64")? {
            Some(co64) => Offsets::Long(Table::of_box(&co64)?),
            None => Offsets::Short(Table::of_box(&require(stbl, *b"stco")?)?),
        };
        let mut group_descriptions = Vec::new();
        let mut groups = Vec::new();
        for child in children(stbl.clone()) {
            let child = child?;
            match &child.kind {
                b"sgpd" => group_descriptions.push(child.whole),
                b"sbgp" => groups.push(Group::read(&child)?),
                _ => {}
            }
        }
        let mut table = Self {
            count,
            duration: total_duration(&timing, count)?,
            descriptions: require(stbl, *b"stsd")?.whole,
            group_descriptions,
            sync: None,
            usual_duration: timing
                .slice(0, count)
                .max_by_key(|run| (run.count, run.value))
                .map_or(0, |run| run.value),
            timing,
            earliest_offset: composition.as_ref().map_or(0, earliest_offset),
            composition,
            sample_to_chunk: Table::of_box(&require(stbl, *b"stsc")?)?,
            offsets,
            sizes,
            dependencies: find(stbl, *b"sdtp")?
                .and_then(|child| child.body.get(4..).map(|rest| child.body.slice_ref(rest))),
            groups,
            recovery_frames: 0,
            preamble: Bytes::new(),
            has_parameter_sets: false,
            field_duration: None,
        };
        table.check(file_bytes)?;
        table.sync = read_sync(stbl, &table)?;
        Ok(table)
    }

    fn check(&self, file_bytes: u64) -> Result<()> {
        let mut next_first_chunk = 1;
        for (entry, [first_chunk, samples, _]) in self
            .sample_to_chunk
            .entries()
            .iter()
            .map(split_entry)
            .enumerate()
        {
            if (entry == 0 && first_chunk != 1) || first_chunk < next_first_chunk || samples == 0 {
                return Err(damaged("box stsc is not in order"));
            }
            next_first_chunk = first_chunk.saturating_add(1);
        }
        let mut placed = 0;
        let largest = self.largest_sample();
        for Chunk {
            offset, samples, ..
        } in self.chunks(0)
        {
            placed = samples.end;
            let most = largest.saturating_mul(samples.len() as u64);
            if offset.saturating_add(most) <= file_bytes {
                continue;
            }
            let end = offset.saturating_add(self.bytes(samples));
            if end > file_bytes {
                return Err(Error::unsupported(format!(
                    "the source was cut short: its index names media at byte {end}, and it has {file_bytes}"
                )));
            }
        }
        if placed < self.count {
            return Err(damaged(format!(
                "it places {placed} samples of {}",
                self.count
            )));
        }
        Ok(())
    }

    /// Every frame's place in time, in decode order. A field without its pair is not a frame: no player shows it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a track with too many samples to look at one by one.
    pub fn frames(&self) -> Result<impl Iterator<Item = Frame>> {
        if self.count > MAX_VIDEO_SAMPLES {
            return Err(Error::unsupported(format!(
                "the source has {} video frames; more than {MAX_VIDEO_SAMPLES} are not supported",
                self.count
            )));
        }
        let mut durations = self.timing.values();
        let mut offsets = self.composition.as_ref().map(Runs::values);
        let mut sync = self.sync.as_ref().map(|sync| sync.iter().peekable());
        let (mut next_index, mut decode_time) = (0, 0_i64);
        let mut samples = iter::from_fn(move || {
            if next_index == self.count {
                return None;
            }
            let duration = durations.next()?;
            let offset = offsets.as_mut().and_then(Iterator::next);
            let offset = offset.unwrap_or(0).cast_signed();
            let frame = Frame {
                index: next_index,
                end: next_index + 1,
                decode_time,
                time: decode_time + i64::from(offset),
                duration,
                sync: match &mut sync {
                    Some(sync) => sync.next_if_eq(&&next_index).is_some(),
                    None => true,
                },
            };
            next_index += 1;
            decode_time += i64::from(duration);
            Some(frame)
        });
        // A frame lasts at least as long as two fields.
        let is_field = |duration: u32| {
            self.field_duration
                .is_some_and(|field| u64::from(duration) * 2 < u64::from(field) * 3)
        };
        Ok(iter::from_fn(move || {
            let mut frame = samples.next()?;
            if is_field(frame.duration) {
                let second = samples.next()?;
                frame.end = second.end;
                frame.duration = frame.duration.saturating_add(second.duration);
            }
            Some(frame)
        }))
    }

    /// The frames that can be shown before media time `time`, and perhaps some more: the first ones in decode order.
    ///
    /// # Errors
    /// As [`frames`](Self::frames).
    pub fn frames_before(&self, time: i64) -> Result<impl Iterator<Item = Frame>> {
        let earliest = self.earliest_offset;
        let may_be = move |frame: &Frame| frame.decode_time + earliest < time;
        Ok(self.frames()?.take_while(may_be))
    }

    /// The first sync sample after the track's first sample.
    pub fn second_keyframe(&self) -> Option<u32> {
        match &self.sync {
            Some(sync) => sync.iter().copied().find(|index| *index > 0),
            None => (self.count > 1).then_some(1),
        }
    }

    /// The [second keyframe](Self::second_keyframe) if it may not be one: if all samples are marked as keyframes, or if
    /// it is not much larger than the samples after it.
    pub fn doubtful_keyframe(&self) -> Option<u32> {
        let second = self.second_keyframe()?;
        if self.sync.is_none() {
            return Some(second);
        }
        let bytes = |index: u32| self.bytes(index..index + 1);
        let behind = second + 1..self.count.min(second.saturating_add(1 + SAMPLES_COMPARED));
        let largest = behind.map(bytes).max()?;
        (bytes(second) < 2 * largest).then_some(second)
    }

    /// Unmarks all sync samples except the track's first sample.
    pub fn only_first_is_keyframe(&mut self) {
        self.sync = Some(vec![0]);
    }

    /// Unmarks all sync samples before `sample`.
    pub fn first_keyframe_is(&mut self, sample: u32) {
        let sync = self.sync.get_or_insert_with(|| (0..self.count).collect());
        sync.retain(|index| *index >= sample);
    }

    /// Samples that decoding can start at, in order; only the first sample if there are none, or if all are.
    pub fn first_keyframes(&self) -> impl Iterator<Item = u32> {
        let sync = self.sync.as_deref().unwrap_or_default();
        let first = if sync.is_empty() { Some(0) } else { None };
        first.into_iter().chain(sync.iter().copied())
    }

    /// Up to `most` samples that decoding can start at, spread over the track; the first sample if there are none.
    pub fn keyframes(&self, most: usize) -> impl Iterator<Item = u32> {
        let count = self.sync.as_ref().map_or(1, Vec::len);
        self.first_keyframes().step_by(count.div_ceil(most).max(1))
    }

    /// When sample `index` is decoded.
    pub fn decode_time(&self, index: u32) -> i64 {
        self.timing
            .slice(0, index)
            .map(|run| i64::from(run.count) * i64::from(run.value))
            .sum()
    }

    /// The sample that is being decoded at `time`; earlier times give the first sample, later times the last.
    pub fn sample_at(&self, time: i64) -> u32 {
        let time = time.max(0);
        let (mut index, mut start) = (0_u32, 0_i64);
        for run in self.timing.slice(0, self.count) {
            let end = start + i64::from(run.count) * i64::from(run.value);
            if time < end {
                // A run that ends after its start has a value above zero.
                let within = (time - start) / i64::from(run.value);
                return index + u32::try_from(within).unwrap_or(run.count);
            }
            (index, start) = (index + run.count, end);
        }
        self.count.saturating_sub(1)
    }

    /// The sample whose decode time is nearest to `time`.
    pub fn sample_nearest(&self, time: i64) -> u32 {
        let index = self.sample_at(time);
        let start = self.decode_time(index);
        let duration = self
            .timing
            .slice(index, index + 1)
            .map(|run| i64::from(run.value))
            .sum::<i64>();
        if index + 1 < self.count && (time - start) * 2 > duration {
            index + 1
        } else {
            index
        }
    }

    /// The audio sample that is heard at `time`; in a gap, the one after it.
    pub fn sample_heard_at(&self, time: i64) -> u32 {
        let index = self.sample_at(time);
        if time - self.decode_time(index) > self.longest_audio_sample() {
            index + 1
        } else {
            index
        }
    }

    /// The start of the first sample that does not start before `time`; the end of the last if there is none.
    pub fn sample_start(&self, time: i64) -> i64 {
        let index = self.sample_at(time);
        if self.decode_time(index) < time {
            self.decode_time(index + 1)
        } else {
            self.decode_time(index)
        }
    }

    /// How long most samples last, in the track's timescale.
    pub fn usual_duration(&self) -> u32 {
        self.usual_duration
    }

    /// The longest duration of an audio sample without a gap after it: 5 % more than usual, plus possible rounding.
    fn longest_audio_sample(&self) -> i64 {
        i64::from(self.usual_duration) * 21 / 20 + 1
    }

    /// How many samples form an indivisible packet: one, except in old `QuickTime` audio.
    pub fn samples_per_packet(&self) -> u32 {
        match &self.sizes {
            Sizes::Fixed(packet) => packet.samples,
            _ => 1,
        }
    }

    /// The total length of the samples in `range`.
    pub fn bytes(&self, range: Range<u32>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let indices = range.start as usize..range.end as usize;
        match &self.sizes {
            Sizes::Fixed(packet) => {
                u64::from(range.end - range.start).div_ceil(u64::from(packet.samples))
                    * u64::from(packet.bytes)
            }
            Sizes::Each(table) => table.numbers(indices).map(u64::from).sum(),
            Sizes::Compact { bits, entries } => indices
                .map(|index| u64::from(compact_size(*bits, entries, index)))
                .sum(),
        }
    }

    /// No sample is larger, in bytes.
    fn largest_sample(&self) -> u64 {
        match &self.sizes {
            Sizes::Fixed(packet) => packet.bytes.into(),
            Sizes::Each(table) => table.all().max().unwrap_or(0).into(),
            Sizes::Compact { .. } => u16::MAX.into(),
        }
    }

    /// Where the samples in `range` are, in decode order, one run per chunk (`stsc` and `stco`, 8.7.4 and 8.7.5).
    pub fn chunk_runs(&self, range: Range<u32>) -> impl Iterator<Item = ChunkRun> {
        let chunks = self.chunks(range.start);
        let end = range.end;
        let of_range = chunks.take_while(move |chunk| chunk.samples.start < end);
        of_range.filter_map(
            move |Chunk {
                      offset,
                      samples,
                      description,
                  }| {
                let kept = samples.start.max(range.start)..samples.end.min(range.end);
                (!kept.is_empty()).then(|| ChunkRun {
                    offset: offset.saturating_add(self.bytes(samples.start..kept.start)),
                    bytes: self.bytes(kept.clone()),
                    samples: kept.end - kept.start,
                    description,
                })
            },
        )
    }

    /// The chunks from the one of sample `first` on, or perhaps a few before it.
    fn chunks(&self, first: u32) -> impl Iterator<Item = Chunk> {
        let (entry, skipped, mut end) = self.chunks_before(first);
        let entries = &self.sample_to_chunk.entries()[entry..];
        let mut entries = entries.iter().map(split_entry);
        let mut next_entry = entries.next();
        let (mut samples_per_chunk, mut description) = (0, 1);
        let mut chunks = self.offsets.behind(skipped as usize).zip(skipped + 1..);
        iter::from_fn(move || {
            if end == self.count {
                return None;
            }
            let (offset, chunk) = chunks.next()?;
            if let Some([first_chunk, samples, entry]) = next_entry
                && first_chunk <= chunk
            {
                (samples_per_chunk, description) = (samples, entry);
                next_entry = entries.next();
            }
            let start = end;
            end = start.saturating_add(samples_per_chunk).min(self.count);
            Some(Chunk {
                offset,
                samples: start..end,
                description,
            })
        })
    }

    /// The chunks that have only samples before `sample`: the index of the `stsc` entry that applies after them, how many
    /// chunks there are, and how many samples they have.
    fn chunks_before(&self, sample: u32) -> (usize, u32, u32) {
        let entries = self.sample_to_chunk.entries();
        let (mut chunks, mut samples) = (0, 0);
        for (index, [first_chunk, samples_per_chunk, _]) in
            entries.iter().map(split_entry).enumerate()
        {
            let next = entries.get(index + 1).map(split_entry);
            let of_entry = next.map_or(u32::MAX, |[next_first, ..]| next_first) - first_chunk;
            let before = of_entry.min((sample - samples) / samples_per_chunk.max(1));
            chunks += before;
            samples += before * samples_per_chunk;
            if before < of_entry {
                return (index, chunks, samples);
            }
        }
        (entries.len(), chunks, samples)
    }

    /// As [`select`](Self::select), for audio that is inaudible before the sample `heard`; also returns the media time
    /// at which it begins. `FFmpeg` drops as much audio as the hidden samples last, so they get the usual duration if
    /// there is a gap between them.
    pub fn select_audio(&self, range: Range<u32>, heard: u32) -> (SampleList, i64) {
        let hidden = Run {
            count: heard - range.start,
            value: self.usual_duration,
        };
        let start = self.decode_time(range.start);
        let closed_start =
            self.decode_time(heard) - i64::from(hidden.count) * i64::from(hidden.value);
        let has_gap = |run: Run| i64::from(run.value) > self.longest_audio_sample();
        if closed_start < start || !self.timing.slice(range.start, heard).any(has_gap) {
            return (self.select(range), start);
        }
        let durations = iter::once(hidden)
            .chain(self.timing.slice(heard, range.end))
            .collect();
        (
            SampleList {
                durations,
                ..self.select(range)
            },
            closed_start,
        )
    }

    /// As [`select`](Self::select), with the preamble inserted before the first sample.
    pub fn select_behind_preamble(&self, range: Range<u32>) -> SampleList {
        let is_behind_first = range.start > 0 && !self.preamble.is_empty();
        let samples = self.select(range);
        if is_behind_first {
            samples.behind(self.preamble.clone())
        } else {
            samples
        }
    }

    /// The tables of the samples in `range`, as a separate track.
    pub fn select(&self, range: Range<u32>) -> SampleList {
        let Range { start, end } = range;
        let indices = start as usize..end as usize;
        SampleList {
            durations: self.timing.slice(start, end).collect(),
            composition: self
                .composition
                .iter()
                .flat_map(|runs| runs.slice(start, end))
                .map(Run::signed)
                .collect(),
            sync: self.sync.as_ref().map(|sync| {
                let at = |index: u32| sync.partition_point(|sync| *sync < index);
                let within = sync[at(start)..at(end)].iter().map(|index| index - start);
                // Readers begin at the last one before what is shown, which may be too late in this case.
                within
                    .filter(|index| self.recovery_frames == 0 || *index == 0)
                    .collect()
            }),
            sizes: match &self.sizes {
                Sizes::Fixed(packet) => SampleSizes::Same(*packet),
                Sizes::Each(table) => SampleSizes::Each(table.slice(indices.clone())),
                Sizes::Compact { bits, entries } => SampleSizes::Each(
                    indices
                        .clone()
                        .flat_map(|index| compact_size(*bits, entries, index).to_be_bytes())
                        .collect(),
                ),
            },
            dependencies: match &self.dependencies {
                Some(entries) if indices.end <= entries.len() => Some(entries.slice(indices)),
                _ => None,
            },
            groups: self
                .groups
                .iter()
                .map(|group| (group.head.clone(), group.runs.slice(start, end).collect()))
                .collect(),
            preamble: Bytes::new(),
            open: Vec::new(),
            range,
        }
    }
}

/// The tables of some samples, in decode order.
#[derive(Debug, Clone)]
pub(crate) struct SampleList {
    /// Which samples of the source these are.
    pub range: Range<u32>,
    pub durations: Vec<Run>,
    /// Composition offsets: how long after decoding samples are shown; empty if nothing is reordered.
    pub composition: Vec<Run<i64>>,
    /// Zero-based; `None` if decoding can start at any sample.
    pub sync: Option<Vec<u32>>,
    pub sizes: SampleSizes,
    /// One `sdtp` entry per sample.
    pub dependencies: Option<Bytes>,
    /// For each `sbgp` box, the fields before its table, and the table.
    pub groups: Vec<(Bytes, Vec<Run>)>,
    /// Bytes inserted before the source's bytes of the first sample.
    pub preamble: Bytes,
    /// Which of `sync` are H.265 clean random access pictures, if that is to be written: their leading pictures may
    /// refer to earlier pictures.
    pub open: Vec<u32>,
}

/// Sample lengths, as written to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SampleSizes {
    /// All packets have the same length.
    Same(Packet),
    /// One length per sample, as big-endian u32.
    Each(Bytes),
}

impl SampleList {
    /// The samples of `lists`, one list after the other.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for audio packets that cannot be listed one by one; only old `QuickTime` files have them.
    pub fn joined<'a>(lists: impl Iterator<Item = &'a Self> + Clone) -> Result<Self> {
        let mut whole = Self {
            range: 0..0,
            durations: Vec::new(),
            composition: Vec::new(),
            sync: None,
            sizes: SampleSizes::joined(lists.clone())?,
            dependencies: None,
            groups: joined_groups(lists.clone()),
            preamble: Bytes::new(),
            open: Vec::new(),
        };
        let reordered = lists.clone().any(|list| !list.composition.is_empty());
        let some_sync = lists.clone().any(|list| list.sync.is_some());
        let mut sync = Vec::new();
        let mut dependencies = Vec::new();
        for list in lists {
            let (start, count) = (whole.range.end, list.count());
            whole.range.end += count;
            whole.durations.extend(&list.durations);
            whole.composition.extend(&list.composition);
            if reordered && list.composition.is_empty() {
                whole.composition.push(Run { count, value: 0 });
            }
            match &list.sync {
                Some(indices) => sync.extend(indices.iter().map(|index| start + index)),
                None => sync.extend(start..start + count),
            }
            whole
                .open
                .extend(list.open.iter().map(|index| start + index));
            dependencies.extend_from_slice(list.dependencies.as_deref().unwrap_or_default());
        }
        if some_sync {
            whole.sync = Some(sync);
        }
        if dependencies.len() == whole.count() as usize {
            whole.dependencies = Some(dependencies.into());
        }
        Ok(whole)
    }

    /// These samples with more bytes before the first.
    fn behind(mut self, preamble: Bytes) -> Self {
        let SampleSizes::Each(sizes) = &self.sizes else {
            return self;
        };
        let Some((first, rest)) = sizes.split_first_chunk() else {
            return self;
        };
        let added = u32::try_from(preamble.len()).unwrap_or(u32::MAX);
        let first = u32::from_be_bytes(*first).saturating_add(added);
        self.sizes = SampleSizes::Each([&first.to_be_bytes(), rest].concat().into());
        Self { preamble, ..self }
    }

    pub fn count(&self) -> u32 {
        self.range.end - self.range.start
    }

    /// Leaves out the samples after the first that are shown before it, and returns their number. The first sample's
    /// duration grows by theirs, and `range` shrinks by their number.
    pub fn leave_out_leading(&mut self) -> u32 {
        let mut durations = Run::values(&self.durations);
        let mut offsets = Run::values(&self.composition);
        let (Some(first_duration), Some(first_time)) = (durations.next(), offsets.next()) else {
            return 0;
        };
        let mut duration = first_duration;
        let mut count = 0;
        for (lasts, offset) in durations.zip(offsets) {
            if i64::from(duration) + offset >= first_time {
                break;
            }
            duration = duration.saturating_add(lasts);
            count += 1;
        }
        if count > 0 {
            self.leave_out_behind_first(count, duration, first_time);
        }
        count
    }

    /// Decodes the first sample later, by at most its duration, without changing when it is shown.
    pub fn decode_first_later(&mut self, by: i64) {
        let Some(&Run { value, .. }) = self.durations.first() else {
            return;
        };
        let offset = self.composition.first().map_or(0, |run| run.value) - by;
        let lasts = u32::try_from(i64::from(value) - by).unwrap_or(1);
        self.durations = behind(
            &self.durations,
            1,
            Run {
                count: 1,
                value: lasts,
            },
        );
        if !self.composition.is_empty() {
            self.composition = behind(
                &self.composition,
                1,
                Run {
                    count: 1,
                    value: offset,
                },
            );
        }
    }

    fn leave_out_behind_first(&mut self, count: u32, duration: u32, offset: i64) {
        let first = |value| Run { count: 1, value };
        self.durations = behind(&self.durations, count + 1, first(duration));
        self.composition = behind(
            &self.composition,
            count + 1,
            Run {
                count: 1,
                value: offset,
            },
        );
        if let Some(sync) = &mut self.sync {
            sync.retain(|index| *index == 0 || *index > count);
            for index in sync.iter_mut().filter(|index| **index > 0) {
                *index -= count;
            }
        }
        let count_bytes = count as usize;
        if let SampleSizes::Each(sizes) = &self.sizes {
            let kept = [&sizes[..4], &sizes[4 * (count_bytes + 1)..]].concat();
            self.sizes = SampleSizes::Each(kept.into());
        }
        if let Some(entries) = &self.dependencies {
            let kept = [&entries[..1], &entries[count_bytes + 1..]].concat();
            self.dependencies = Some(kept.into());
        }
        for (_, runs) in &mut self.groups {
            if let Some(group) = runs.first().map(|run| first(run.value)) {
                *runs = behind(runs, count + 1, group);
            }
        }
        self.range.end -= count;
    }

    /// Raises all composition offsets to zero or more, and returns by how much.
    pub fn make_composition_offsets_nonnegative(&mut self) -> i64 {
        let mut lowest = 0;
        for run in &self.composition {
            lowest = lowest.min(run.value);
        }
        for run in &mut self.composition {
            run.value -= lowest;
        }
        -lowest
    }

    /// When the first of the samples shown within `shown` is decoded; both in the list's own time.
    pub fn first_decode_time(&self, shown: &Range<i64>) -> Option<i64> {
        let mut offsets = Run::values(&self.composition);
        let mut decode_time = 0_i64;
        for duration in Run::values(&self.durations) {
            let offset = offsets.next().unwrap_or(0);
            if shown.contains(&(decode_time + offset)) {
                return Some(decode_time);
            }
            decode_time += i64::from(duration);
        }
        None
    }

    /// When the sample shown last is shown, in the list's own time.
    pub fn latest_time(&self) -> Option<i64> {
        let mut offsets = Run::values(&self.composition);
        let mut decode_time = 0_i64;
        let times = Run::values(&self.durations).map(|duration| {
            let time = decode_time + offsets.next().unwrap_or(0);
            decode_time += i64::from(duration);
            time
        });
        times.max()
    }

    /// Shows all samples later, by `by` units of the track's timescale.
    pub fn delay(&mut self, by: i64) {
        if self.composition.is_empty() {
            let count = self.count();
            self.composition.push(Run { count, value: 0 });
        }
        for run in &mut self.composition {
            run.value += by;
        }
    }

    /// Shows one sample later.
    pub fn show_later(&mut self, index: u32, by: i64) {
        if self.composition.is_empty() {
            let count = self.count();
            self.composition.push(Run { count, value: 0 });
        }
        let mut changed = Vec::with_capacity(self.composition.len() + 2);
        let mut start = 0;
        for run in &self.composition {
            let end = start + run.count;
            if (start..end).contains(&index) {
                let value = run.value;
                let parts = [
                    (index - start, value),
                    (1, value + by),
                    (end - index - 1, value),
                ];
                changed.extend(parts.map(|(count, value)| Run { count, value }));
            } else {
                changed.push(*run);
            }
            start = end;
        }
        changed.retain(|run| run.count > 0);
        self.composition = changed;
    }

    /// Makes the last sample last no longer than `duration`.
    pub fn shorten_last(&mut self, duration: i64) {
        if let Some(last) = self.durations.last()
            && i64::from(last.value) > duration
        {
            let others = i64::try_from(self.duration()).unwrap_or(i64::MAX) - i64::from(last.value);
            self.fit_to(others + duration);
        }
    }

    /// Makes the last sample longer, so that the sum of the durations is at least `duration`.
    pub fn extend_to(&mut self, duration: i64) {
        if i64::try_from(self.duration()).is_ok_and(|own| own < duration) {
            self.fit_to(duration);
        }
    }

    /// Makes the last sample longer or shorter, so that the sum of the durations is `duration`. Returns whether that is
    /// possible: a sample lasts at least one unit, and readers treat a duration above `i32::MAX` as negative.
    pub fn fit_to(&mut self, duration: i64) -> bool {
        let missing = i128::from(duration) - i128::from(self.duration());
        if missing == 0 {
            return true;
        }
        let Some(last) = self.durations.last_mut() else {
            return false;
        };
        let value = match i32::try_from(i128::from(last.value) + missing) {
            Ok(value) if value > 0 => value.cast_unsigned(),
            _ => return false,
        };
        last.count -= 1;
        if last.count == 0 {
            self.durations.pop();
        }
        self.durations.push(Run { count: 1, value });
        true
    }

    /// The sum of the durations, in the track's timescale.
    pub fn duration(&self) -> u64 {
        self.durations
            .iter()
            .map(|run| u64::from(run.count) * u64::from(run.value))
            .sum()
    }
}

impl SampleSizes {
    fn joined<'a>(lists: impl Iterator<Item = &'a SampleList> + Clone) -> Result<Self> {
        let first = lists.clone().next().map(|list| list.sizes.clone());
        if let Some(Self::Same(packet)) = first
            && lists.clone().all(|list| list.sizes == Self::Same(packet))
        {
            return Ok(Self::Same(packet));
        }
        let mut each = Vec::new();
        for list in lists {
            match &list.sizes {
                Self::Each(sizes) => each.extend_from_slice(sizes),
                Self::Same(Packet { samples: 1, bytes }) => {
                    each.extend(bytes.to_be_bytes().repeat(list.count() as usize));
                }
                Self::Same(_) => {
                    return Err(Error::unsupported(
                        "sound of this kind cannot be joined without encoding",
                    ));
                }
            }
        }
        Ok(Self::Each(each.into()))
    }
}

/// `first`, followed by `runs` without those of the first `count` samples.
fn behind<T: Copy>(runs: &[Run<T>], mut count: u32, first: Run<T>) -> Vec<Run<T>> {
    let mut kept = vec![first];
    for run in runs {
        let skipped = count.min(run.count);
        count -= skipped;
        if skipped < run.count {
            kept.push(Run {
                count: run.count - skipped,
                value: run.value,
            });
        }
    }
    kept
}

/// The groups that all lists have. Groups of only some lists are dropped; no decoder needs them.
fn joined_groups<'a>(mut lists: impl Iterator<Item = &'a SampleList>) -> Vec<(Bytes, Vec<Run>)> {
    let Some(first) = lists.next() else {
        return Vec::new();
    };
    let mut groups = Vec::new();
    for (head, runs) in &first.groups {
        groups.push((head.clone(), covering_runs(first, runs)));
    }
    for list in lists {
        groups.retain_mut(|(head, joined)| {
            for (other, runs) in &list.groups {
                if other == head {
                    joined.extend(covering_runs(list, runs));
                    return true;
                }
            }
            false
        });
    }
    groups
}

/// `runs`, completed by a run of no group for the samples of `list` that they do not cover.
fn covering_runs(list: &SampleList, runs: &[Run]) -> Vec<Run> {
    let mut covering = runs.to_vec();
    let covered: u32 = runs.iter().map(|run| run.count).sum();
    if covered < list.count() {
        let count = list.count() - covered;
        covering.push(Run { count, value: 0 });
    }
    covering
}

impl Offsets {
    /// The offsets of the chunks from `first` on, counted from zero.
    fn behind(&self, first: usize) -> impl Iterator<Item = u64> {
        let (short, long) = match self {
            Self::Short(table) => (table.entries(), [].as_slice()),
            Self::Long(table) => ([].as_slice(), table.entries()),
        };
        let short = short.iter().skip(first).copied().map(u32::from_be_bytes);
        let long = long.iter().skip(first).copied().map(u64::from_be_bytes);
        short.map(u64::from).chain(long)
    }
}

impl Group {
    fn read(child: &Child) -> Result<Self> {
        let head_bytes = if child.body.first() == Some(&1) {
            12
        } else {
            8
        };
        let mut body = child.body.clone();
        if body.len() < head_bytes + 4 {
            return Err(damaged("box sbgp is too short"));
        }
        let head = body.split_to(head_bytes);
        let count = body.get_u32();
        let runs =
            Table::new(body, count).ok_or_else(|| damaged("box sbgp is shorter than its table"))?;
        Ok(Self { head, runs })
    }

    fn is(&self, grouping: FourCC) -> bool {
        self.head.get(4..8) == Some(&grouping)
    }
}

fn split_entry(entry: &[u8; 12]) -> [u32; 3] {
    let (fields, _) = entry.as_chunks();
    [fields[0], fields[1], fields[2]].map(u32::from_be_bytes)
}

fn earliest_offset(composition: &Runs) -> i64 {
    let offsets = composition.runs().map(|run| run.signed().value);
    // Samples behind the table have none.
    offsets.fold(0, i64::min)
}

fn total_duration(timing: &Runs, count: u32) -> Result<i64> {
    let (mut samples, mut duration) = (0_u64, 0_i64);
    for run in timing.slice(0, count) {
        // Sums of products of two u32 stay in range: there are no more than u32::MAX samples, and no duration is
        // above i32::MAX.
        if i32::try_from(run.value).is_err() {
            return Err(damaged("a sample has a negative duration"));
        }
        samples += u64::from(run.count);
        duration += i64::from(run.count) * i64::from(run.value);
    }
    if samples < u64::from(count) {
        return Err(damaged(format!("it times {samples} samples of {count}")));
    }
    Ok(duration)
}

fn read_sizes(stbl: &Bytes, packet: Option<Packet>) -> Result<(Sizes, u32)> {
    if let Some(stsz) = find(stbl, *b"stsz")? {
        let mut body = stsz.body;
        if body.len() < 12 {
            return Err(damaged("box stsz is too short"));
        }
        body.advance(4);
        let (bytes, count) = (body.get_u32(), body.get_u32());
        if bytes > 0 {
            let packet = match packet {
                Some(packet) if packet.bytes > bytes && packet.samples > 0 => packet,
                _ => Packet { samples: 1, bytes },
            };
            return Ok((Sizes::Fixed(packet), count));
        }
        let table =
            Table::new(body, count).ok_or_else(|| damaged("box stsz is shorter than its table"))?;
        return Ok((Sizes::Each(table), count));
    }
    let mut body = require(stbl, *b"stz2")?.body;
    if body.len() < 12 {
        return Err(damaged("box stz2 is too short"));
    }
    body.advance(7);
    let (bits, count) = (body.get_u8(), body.get_u32());
    if !matches!(bits, 4 | 8 | 16)
        || (u64::from(count) * u64::from(bits)).div_ceil(8) > body.len() as u64
    {
        return Err(damaged("box stz2 is shorter than its table"));
    }
    Ok((
        Sizes::Compact {
            bits,
            entries: body,
        },
        count,
    ))
}

fn compact_size(bits: u8, entries: &[u8], index: usize) -> u32 {
    let byte = |at: usize| u32::from(entries.get(at).copied().unwrap_or(0));
    match bits {
        4 if index.is_multiple_of(2) => byte(index / 2) >> 4,
        4 => byte(index / 2) & 15,
        8 => byte(index),
        _ => byte(index * 2) << 8 | byte(index * 2 + 1),
    }
}

/// The samples that decoding can start at: `stss`, `QuickTime`'s partial sync samples (`stps`) and the random access
/// points of open groups of pictures (`sbgp` of type `rap `).
fn read_sync(stbl: &Bytes, table: &SampleTable) -> Result<Option<Vec<u32>>> {
    let Some(stss) = find(stbl, *b"stss")? else {
        return Ok(None);
    };
    let mut sync: Vec<u32> = Table::<4>::of_box(&stss)?.all().collect();
    if let Some(stps) = find(stbl, *b"stps")? {
        sync.extend(Table::<4>::of_box(&stps)?.all());
    }
    if sync.contains(&0) {
        return Err(damaged(format!(
            "box {} counts samples from zero",
            fourcc_name(stss.kind)
        )));
    }
    for number in &mut sync {
        *number -= 1;
    }
    // There is at most one such group, and none is read for packet audio, whose number of samples no table bounds.
    let random_access = table
        .groups
        .iter()
        .find(|group| group.is(*b"rap ") && table.samples_per_packet() == 1);
    if let Some(group) = random_access {
        let mut at = 0_u32;
        for run in group.runs.runs() {
            let end = at.saturating_add(run.count).min(table.count);
            if run.value > 0 {
                sync.extend(at..end);
            }
            at = end;
        }
    }
    sync.sort_unstable();
    sync.dedup();
    Ok(Some(sync))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_becomes_no_longer_than_readers_take() {
        let mut one = SampleList {
            range: 0..1,
            durations: vec![Run {
                count: 1,
                value: 512,
            }],
            composition: Vec::new(),
            sync: None,
            sizes: SampleSizes::Each(Bytes::from_static(&[0, 0, 0, 1])),
            dependencies: None,
            groups: Vec::new(),
            preamble: Bytes::new(),
            open: Vec::new(),
        };
        let most = i64::from(i32::MAX);
        for (wanted, duration) in [(600, 600), (most + 1, 600), (most, most), (most + 1, most)] {
            one.extend_to(wanted);
            assert_eq!(one.duration(), duration.cast_unsigned());
        }
    }
}
