//! Containers without the index of an ordinary MP4, and how to find an interval in them.

use crate::{
    boxes::parse::{Child, FourCC, children, damaged, decode, require},
    boxes::reader::{BoxReader, ReadAhead},
    error::{Error, Result},
    io::RangeRead,
    read::defragment::Defragmenter,
};
use bytes::Bytes;
use mp4_atom::{Mdhd, Mfra, Sidx, Tkhd};
use std::{collections::BTreeMap, ops::Range};

/// A container other than MP4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub enum Container {
    /// An MPEG transport stream, which is searched by timestamp.
    MpegTs,
    /// Matroska or `WebM` with cues.
    Matroska,
    /// Matroska or `WebM` without cues, such as a live or unfinished recording.
    MatroskaWithoutCues,
    /// AVI.
    Avi,
    /// Flash video.
    Flv,
    /// An MPEG program stream.
    MpegPs,
}

/// The identifiers of Matroska's elements (RFC 9559, section 5.1).
const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
const CUES: [u8; 4] = [0x1c, 0x53, 0xbb, 0x6b];
/// The length of `mfro`, the last box of a fragmented MP4 with an index at its end, which gives the index's length.
const MFRO_BYTES: u64 = 16;
/// A source without a complete index is opened only if it is short: every fragment may take a read.
const ALL: ReadAhead = ReadAhead {
    first_bytes: &[],
    then_bytes: 4 << 10,
    max_reads: 256,
    too_many: || Error::Unindexed,
    near_bytes: 64 << 10,
};
/// The index lists most fragments of an interval, so their heads are read concurrently.
const INTERVAL: ReadAhead = ReadAhead {
    max_reads: 1024,
    ..ALL
};
/// All of a source is read, from its start to its end.
const WHOLE: ReadAhead = ReadAhead {
    first_bytes: &[],
    then_bytes: 8 << 20,
    max_reads: usize::MAX,
    too_many: || Error::Unindexed,
    near_bytes: 0,
};
/// Up to this many fragments are all read at once, whatever is requested.
const FEW_FRAGMENTS: usize = 8;
/// How many samples are needed to describe a track.
const MIN_FIRST_SAMPLES: u32 = 2;
/// How many more fragments are read to find tracks missing from the first one.
const MAX_FRAGMENTS_BEYOND: u32 = 8;

impl Container {
    /// Its common name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MpegTs => "MPEG-TS",
            Self::Matroska | Self::MatroskaWithoutCues => "Matroska",
            Self::Avi => "AVI",
            Self::Flv => "FLV",
            Self::MpegPs => "MPEG-PS",
        }
    }

    /// Whether it has no reliable way to find an interval, so that it must be read from the start.
    #[must_use]
    pub fn is_read_whole(self) -> bool {
        !matches!(self, Self::MpegTs | Self::Matroska)
    }

    /// The container of a file that begins with `head` and is not an MP4; `None` if unknown.
    pub(crate) fn of(head: &[u8], file_bytes: u64) -> Option<Self> {
        let at = |offset: usize, magic: &[u8]| {
            head.get(offset..)
                .is_some_and(|rest| rest.starts_with(magic))
        };
        let sync_bytes =
            |first: usize, packet: usize| (0..3).all(|index| at(first + index * packet, b"\x47"));
        if sync_bytes(0, 188) || sync_bytes(4, 192) {
            return Some(Self::MpegTs);
        }
        if at(0, b"RIFF") && at(8, b"AVI ") {
            return Some(Self::Avi);
        }
        if at(0, b"FLV\x01") {
            return Some(Self::Flv);
        }
        if at(0, b"\0\0\x01\xba") {
            return Some(Self::MpegPs);
        }
        if !at(0, b"\x1a\x45\xdf\xa3") {
            return None;
        }
        // Its cues are missing, or may point to something that is missing.
        if matroska_bytes(head).is_some_and(|bytes| bytes > file_bytes) {
            return Some(Self::MatroskaWithoutCues);
        }
        // The head refers to the cues, or contains them.
        let in_front = head.windows(4).take_while(|bytes| *bytes != CLUSTER);
        Some(if in_front.into_iter().any(|bytes| bytes == CUES) {
            Self::Matroska
        } else {
            Self::MatroskaWithoutCues
        })
    }
}

/// The length that a Matroska file declares; `None` if it does not (RFC 8794, sections 4 and 6).
fn matroska_bytes(head: &[u8]) -> Option<u64> {
    const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];
    let (header, bytes) = element_size(head.get(4..)?)?;
    let segment = usize::try_from(4 + header + bytes?).ok()?;
    let (header, bytes) = element_size(head.get(segment..)?.strip_prefix(&SEGMENT)?)?;
    (segment as u64 + 4 + header).checked_add(bytes?)
}

/// How many bytes an element's size field takes, and the size, if known.
fn element_size(bytes: &[u8]) -> Option<(u64, Option<u64>)> {
    let length = bytes.first()?.leading_zeros() + 1;
    let field = bytes.get(..length.min(8) as usize)?;
    let value = field
        .iter()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let unknown = (1_u64 << (7 * length)) - 1;
    let value = value & unknown;
    (length <= 8).then_some((length.into(), (value != unknown).then_some(value)))
}

/// Where the fragments of a fragmented MP4 are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fragments {
    /// Where the first can begin in the file: after the `moov` box.
    head_end: u64,
    starts: Starts,
    /// Whether the index lists fragments beyond the end of the file.
    pub is_cut_short: bool,
}

/// By track number: when each fragment begins, in seconds of the track's media, and where in the file, in order.
type Starts = BTreeMap<u32, Vec<(f64, u64)>>;

/// What follows the `moov` box of a file that announces fragments (`mvex`).
#[derive(Debug)]
pub(crate) enum Found {
    /// No fragment: the `mvex` box is a remnant, which some cameras leave.
    None,
    /// Few enough fragments that all were read.
    All(Defragmenter),
    /// An index of them.
    Indexed(Fragments),
}

impl Fragments {
    /// Finds the index of the fragments, either after the `moov` box, which ends at `head_end`, or at the end of the
    /// file. If there is no complete index, it reads all fragments, if they are few.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for many fragments without an index; and any error from the source.
    pub async fn find(source: &impl RangeRead, moov: &Bytes, head_end: u64) -> Result<Found> {
        let mut boxes = BoxReader::new(source, &ALL);
        let Some(first) = boxes.find(head_end, &[b"sidx", b"moof"]).await? else {
            return Ok(Found::None);
        };
        let (fragments, is_enough) = Self::indexed(&mut boxes, first, moov, head_end).await?;
        if is_enough {
            return fragments.sorted(source.len()).map(Found::Indexed);
        }
        let mut all = Defragmenter::new(moov, source.len())?;
        all.is_cut_short = fragments.places().any(|at| at >= source.len());
        let mut boxes = BoxReader::new(source, &ALL);
        add_all(&mut boxes, &mut all, head_end, true, &[]).await?;
        Ok(Found::All(all))
    }

    /// The samples of all fragments after the `moov` box, which ends at `head_end`, however many there are. Reads the
    /// whole source.
    ///
    /// # Errors
    /// As [`Defragmenter::add`]; and any error from the source.
    pub async fn all(source: &impl RangeRead, moov: &Bytes, head_end: u64) -> Result<Defragmenter> {
        let mut all = Defragmenter::new(moov, source.len())?;
        let mut boxes = BoxReader::new(source, &WHOLE);
        add_all(&mut boxes, &mut all, head_end, true, &[]).await?;
        Ok(all)
    }

    /// The fragments by their indexes, and whether those name all of many fragments.
    async fn indexed(
        boxes: &mut BoxReader<'_, impl RangeRead>,
        first: (u64, &'static FourCC),
        moov: &Bytes,
        head_end: u64,
    ) -> Result<(Self, bool)> {
        let starts = Starts::new();
        let mut fragments = Self {
            head_end,
            starts,
            is_cut_short: false,
        };
        let mut next = Some(first);
        if let (at, b"sidx") = first {
            next = fragments.add_segments(boxes, at).await?;
        }
        // If one index is incomplete, the other is used.
        if next.is_some()
            && let Some(mfra) = random_access(boxes).await?
        {
            fragments.starts = Starts::new();
            fragments.add_random_access(&decode(&mfra)?, moov)?;
            next = None;
        }
        let count = fragments.starts.values().map(Vec::len).max().unwrap_or(0);
        Ok((fragments, next.is_none() && count > FEW_FRAGMENTS))
    }

    /// Where the fragments begin in the file.
    fn places(&self) -> impl Iterator<Item = u64> {
        self.starts.values().flatten().map(|(_, at)| *at)
    }

    /// Adds the fragments of a segment index, and of the indexes that it refers to. Returns what follows them all.
    async fn add_segments(
        &mut self,
        boxes: &mut BoxReader<'_, impl RangeRead>,
        at: u64,
    ) -> Result<Next> {
        let (mut indexes, mut last) = (vec![at], at);
        while let Some(at) = indexes.pop() {
            let index = boxes.require(at, *b"sidx").await?;
            let sidx: Sidx = decode(&index)?;
            let end = at.saturating_add(index.whole.len() as u64);
            let (mut time, mut offset) = (
                sidx.earliest_presentation_time,
                end.saturating_add(sidx.first_offset),
            );
            for segment in &sidx.references {
                if segment.reference_type {
                    indexes.push(offset);
                } else {
                    let starts = self.starts.entry(sidx.reference_id).or_default();
                    starts.push((seconds(time, sidx.timescale), offset));
                }
                time = time.saturating_add(segment.subsegment_duration.into());
                offset = offset.saturating_add(segment.referenced_size.into());
            }
            last = last.max(offset).max(end);
        }
        boxes.find(last, INDEX).await
    }

    /// Adds the fragments at which video and audio have random access points.
    fn add_random_access(&mut self, mfra: &Mfra, moov: &Bytes) -> Result<()> {
        let mut has_video = false;
        for track in media_tracks(moov)? {
            let entries = mfra.tfra.iter().filter(|tfra| tfra.track_id == track.id);
            let starts: Vec<_> = entries
                .flat_map(|tfra| &tfra.entries)
                .map(|entry| (seconds(entry.time, track.timescale), entry.moof_offset))
                .collect();
            if !starts.is_empty() {
                has_video |= track.is_video;
                self.starts.insert(track.id, starts);
            }
        }
        if !has_video {
            self.starts.clear();
        }
        Ok(())
    }

    /// In the order of the file, which is `bytes` long.
    fn sorted(mut self, bytes: u64) -> Result<Self> {
        for starts in self.starts.values_mut() {
            starts.sort_by_key(|(_, offset)| *offset);
            if let Some((_, offset)) = starts.iter().find(|(_, offset)| *offset < self.head_end) {
                return Err(damaged(format!(
                    "it names a fragment at byte {offset}, in front of all fragments"
                )));
            }
            let within = starts.partition_point(|(_, offset)| *offset < bytes);
            self.is_cut_short |= within < starts.len();
            starts.truncate(within);
        }
        Ok(self)
    }

    /// Where to start reading what is shown from `seconds` on: the earliest, over all tracks, of the last fragment that
    /// begins no later.
    fn before(&self, seconds: f64) -> u64 {
        let first = |starts: &Vec<(f64, u64)>| {
            let last = starts.iter().rfind(|(start, _)| *start <= seconds);
            last.or(starts.first()).map(|(_, offset)| *offset)
        };
        let first = self.starts.values().filter_map(first).min();
        first.unwrap_or(self.head_end)
    }

    /// The offsets of the fragments that the index lists from `offset` up to those that begin at `seconds`.
    fn named(&self, offset: u64, seconds: f64) -> Vec<u64> {
        let starts = self.starts.values().flatten();
        let mut named: Vec<u64> = starts
            .filter(|(start, at)| *at >= offset && *start < seconds)
            .map(|(_, at)| *at)
            .collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    /// The samples of the first fragments: enough of them to describe the tracks.
    ///
    /// # Errors
    /// As [`Defragmenter::add`]; and any error from the source.
    pub async fn first(&self, source: &impl RangeRead, moov: &Bytes) -> Result<Defragmenter> {
        let mut samples = Defragmenter::new(moov, source.len())?;
        let enough: Vec<_> = media_tracks(moov)?
            .into_iter()
            .map(|track| (track, Until::Samples(MIN_FIRST_SAMPLES)))
            .collect();
        add_all(
            &mut BoxReader::new(source, &INTERVAL),
            &mut samples,
            self.head_end,
            true,
            &enough,
        )
        .await?;
        Ok(samples)
    }

    /// The samples of the last fragments of every track.
    ///
    /// # Errors
    /// As [`Defragmenter::add`]; and any error from the source.
    pub async fn last(&self, source: &impl RangeRead, moov: &Bytes) -> Result<Defragmenter> {
        let from = self.before(f64::INFINITY);
        let samples = Self::all_from(source, moov, from).await?;
        let has_video = |track: &MediaTrack| track.is_video && samples.count(track.id) > 0;
        if media_tracks(moov)?.iter().any(has_video) {
            return Ok(samples);
        }
        // The file ends within the head of the last fragment.
        match self.places().filter(|at| *at < from).max() {
            Some(before) => Self::all_from(source, moov, before).await,
            None => Ok(samples),
        }
    }

    /// The samples of all fragments from byte `from` on.
    async fn all_from(source: &impl RangeRead, moov: &Bytes, from: u64) -> Result<Defragmenter> {
        let mut samples = Defragmenter::new(moov, source.len())?;
        samples.forget_complete();
        add_all(
            &mut BoxReader::new(source, &INTERVAL),
            &mut samples,
            from,
            false,
            &[],
        )
        .await?;
        Ok(samples)
    }

    /// The samples of the fragments that contain `seconds` of the media, and a little more at both ends.
    ///
    /// # Errors
    /// As [`Defragmenter::add`]; and any error from the source.
    pub async fn between(
        &self,
        source: &impl RangeRead,
        moov: &Bytes,
        seconds: Range<f64>,
    ) -> Result<Defragmenter> {
        let mut samples = Defragmenter::new(moov, source.len())?;
        let from = self.before(seconds.start);
        let is_first = from <= self.before(f64::NEG_INFINITY);
        if !is_first {
            samples.forget_complete();
        }
        let mut boxes = BoxReader::new(source, &INTERVAL);
        boxes.read_heads(self.named(from, seconds.end)).await?;
        let enough: Vec<_> = media_tracks(moov)?
            .into_iter()
            .map(|track| (track, Until::Seconds(seconds.end)))
            .collect();
        add_all(&mut boxes, &mut samples, from, is_first, &enough).await?;
        Ok(samples)
    }
}

/// A track of video or audio.
#[derive(Debug, Clone, Copy)]
struct MediaTrack {
    id: u32,
    timescale: u32,
    is_video: bool,
}

/// How far a track is read.
#[derive(Debug, Clone, Copy)]
enum Until {
    Samples(u32),
    Seconds(f64),
}

impl MediaTrack {
    fn has(self, samples: &Defragmenter, until: Until) -> bool {
        match until {
            Until::Samples(count) => samples.count(self.id) >= count,
            Until::Seconds(end) => samples.end_decode_time(self.id).is_some_and(|time| {
                seconds(u64::try_from(time).unwrap_or(0), self.timescale) >= end
            }),
        }
    }
}

fn media_tracks(moov: &Bytes) -> Result<Vec<MediaTrack>> {
    let mut tracks = Vec::new();
    for trak in children(moov.clone()) {
        let trak = trak?;
        if &trak.kind != b"trak" {
            continue;
        }
        let mdia = require(&trak.body, *b"mdia")?.body;
        let tkhd: Tkhd = decode(&require(&trak.body, *b"tkhd")?)?;
        let mdhd: Mdhd = decode(&require(&mdia, *b"mdhd")?)?;
        let is_video = match require(&mdia, *b"hdlr")?.body.get(8..12) {
            Some(b"vide") => true,
            Some(b"soun") => false,
            _ => continue,
        };
        tracks.push(MediaTrack {
            id: tkhd.track_id,
            timescale: mdhd.timescale,
            is_video,
        });
    }
    Ok(tracks)
}

/// A box that was found, with its offset.
type Next = Option<(u64, &'static FourCC)>;

/// Boxes that fragments, or an index of them, begin with.
const INDEX: &[&FourCC] = &[b"sidx", b"moof", b"mdat"];

/// Adds all fragments from byte `at` on, until every listed track has been read to its limit, or one of them much
/// further than the others, which means that the others have ended.
async fn add_all(
    reader: &mut BoxReader<'_, impl RangeRead>,
    samples: &mut Defragmenter,
    at: u64,
    is_first: bool,
    enough: &[(MediaTrack, Until)],
) -> Result<()> {
    let mut next = reader.find(at, &[b"moof"]).await?;
    let mut beyond = 0;
    while let Some((at, _)) = next {
        let bytes = reader.header(at).await?.and_then(|header| header.bytes);
        if bytes.is_some_and(|bytes| bytes > reader.source_bytes() - at) {
            samples.is_cut_short = true;
            break;
        }
        let fragment = reader.require(at, *b"moof").await?;
        samples.add(at, &fragment, is_first)?;
        let is_done = |(track, until): &&(MediaTrack, Until)| track.has(samples, *until);
        let done = enough.iter().filter(is_done).count();
        beyond += u32::from(done > 0);
        if !enough.is_empty() && (done == enough.len() || beyond > MAX_FRAGMENTS_BEYOND) {
            break;
        }
        let behind = at.saturating_add(fragment.whole.len() as u64);
        next = reader.find(behind, &[b"moof"]).await?;
    }
    Ok(())
}

/// The `mfra` box, whose length is in the last bytes of the file.
async fn random_access(boxes: &mut BoxReader<'_, impl RangeRead>) -> Result<Option<Child>> {
    let bytes = boxes.source_bytes();
    let Some(at) = bytes.checked_sub(MFRO_BYTES) else {
        return Ok(None);
    };
    let last = boxes.bytes(at..bytes).await?;
    let length = last
        .strip_prefix(b"\0\0\0\x10mfro")
        .and_then(|body| body.last_chunk());
    let length = length.map(|length| u64::from(u32::from_be_bytes(*length)));
    match length.and_then(|length| bytes.checked_sub(length)) {
        Some(at) => boxes.require(at, *b"mfra").await.map(Some),
        None => Ok(None),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "good to a microsecond for centuries"
)]
fn seconds(ticks: u64, timescale: u32) -> f64 {
    ticks as f64 / f64::from(timescale.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matroska_that_ends_before_it_says_is_not_led_by_its_cues() {
        // A header of four bytes, and a segment of 32 that refers to its cues.
        let head =
            b"\x1a\x45\xdf\xa3\x84EBML\x18\x53\x80\x67\x40\x20\x11\x4d\x9b\x74\x1c\x53\xbb\x6b";
        for (bytes, container) in [
            (47, Container::Matroska),
            (48, Container::Matroska),
            (46, Container::MatroskaWithoutCues),
        ] {
            assert_eq!(Container::of(head, bytes), Some(container), "{bytes}");
        }
        let mut open = head.to_vec();
        open[13..15].copy_from_slice(&[0x7f, 0xff]);
        assert_eq!(Container::of(&open, 30), Some(Container::Matroska));
    }
}
