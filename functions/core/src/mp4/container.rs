//! Containers that have no index as an MP4 has it, and what in them leads to an interval.

use super::{
    boxes::{Child, Header, Kind, children, damaged, kind_name, require},
    fetch,
    index::MAX_INDEX_BYTES,
    track::decode,
};
use crate::{error::ClipError, range::RangeRead};
use bytes::{Bytes, BytesMut};
use mp4_atom::{Mdhd, Mfra, Moof, Mvex, Sidx, Tkhd, TrunSamples};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A container that `FFmpeg` reads. Each leads to any interval without being read from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Container {
    /// An MP4 in fragments, with an index of them (`sidx` or `mfra`).
    FragmentedMp4,
    /// An MPEG transport stream, which is searched by its time stamps.
    MpegTs,
    /// Matroska or `WebM` with cues.
    Matroska,
}

/// The identifiers of Matroska's elements (RFC 9559, section 5.1).
const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
const CUES: [u8; 4] = [0x1c, 0x53, 0xbb, 0x6b];
/// The last box of a fragmented MP4 that has an index at its end, `mfro`, tells how long that index is.
const MFRO_BYTES: u64 = 16;

impl Container {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FragmentedMp4 => "fragmented MP4",
            Self::MpegTs => "MPEG-TS",
            Self::Matroska => "Matroska",
        }
    }

    /// The container of a file that begins with `head` and is no MP4; `None` for one that is not read.
    ///
    /// # Errors
    /// `UnsupportedMedia` for a file that would have to be read from its start.
    pub(crate) fn of(head: &[u8]) -> Result<Option<Self>, ClipError> {
        let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
        let sync_bytes = |first: usize, packet: usize| (0..3).all(|index| at(first + index * packet, b"\x47"));
        if sync_bytes(0, 188) || sync_bytes(4, 192) {
            return Ok(Some(Self::MpegTs));
        }
        if !at(0, b"\x1a\x45\xdf\xa3") {
            return Ok(None);
        }
        // Cues are named by the head, or lie in it.
        let in_front = head.windows(4).take_while(|bytes| *bytes != CLUSTER);
        if in_front.into_iter().any(|bytes| bytes == CUES) {
            Ok(Some(Self::Matroska))
        } else {
            Err(ClipError::unsupported_media(
                "the source is a Matroska or WebM file without an index (Cues), as live recordings are: remux it first",
            ))
        }
    }
}

/// Where the fragments of a fragmented MP4 lie.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fragments {
    /// Where what all of them need ends in the file: the first thing that is left out of an excerpt.
    pub head_end: u64,
    /// When the last of them ends, in seconds of their media.
    pub end_seconds: f64,
    /// When each begins, in seconds of its media, and where in the file, in order.
    starts: Vec<(f64, u64)>,
}

impl Fragments {
    /// Finds the index of the fragments, behind the `moov` box, which ends at `head_end`, or at the end of the file.
    ///
    /// # Errors
    /// `UnsupportedMedia` when there is none; and whatever the source raises.
    pub async fn find(source: &impl RangeRead, moov: &Bytes, head_end: u64) -> Result<Self, ClipError> {
        let (mut starts, end_seconds) = match read_box(source, head_end, *b"sidx").await? {
            Some(sidx) => segments(&decode(&sidx)?, head_end + sidx.whole.len() as u64),
            None => match random_access(source).await? {
                Some(mfra) => randomly_accessed(source, &decode(&mfra)?, moov).await?,
                None => Default::default(),
            },
        };
        if starts.is_empty() {
            return Err(ClipError::unsupported_media(
                "the source is a fragmented MP4 without an index of its fragments (sidx or mfra): remux it first",
            ));
        }
        starts.sort_by_key(|(_, offset)| *offset);
        if let Some((_, offset)) = starts.iter().find(|(_, offset)| !(head_end..source.len()).contains(offset)) {
            let bytes = source.len();
            return Err(damaged(format!("it names a fragment at byte {offset} of {bytes}")));
        }
        Ok(Self { head_end, end_seconds, starts })
    }

    /// Where the last fragment begins that begins no later than `seconds`; the first one if none does.
    pub fn before(&self, seconds: f64) -> u64 {
        let last = self.starts.iter().rfind(|(start, _)| *start <= seconds);
        last.or(self.starts.first()).map_or(self.head_end, |(_, offset)| *offset)
    }
}

/// The box at `at`, if it is a `kind` and no longer than an index may be.
async fn read_box(source: &impl RangeRead, at: u64, kind: Kind) -> Result<Option<Child>, ClipError> {
    let rest = source.len().saturating_sub(at);
    if rest == 0 {
        return Ok(None);
    }
    let header = Header::read(&fetch::read_exact(source, at..at + rest.min(16)).await?)?;
    let Some(bytes) = header.filter(|header| header.kind == kind).and_then(|header| header.bytes) else {
        return Ok(None);
    };
    if bytes > rest.min(MAX_INDEX_BYTES) {
        return Err(damaged(format!("box {} is too long", kind_name(kind))));
    }
    children(fetch::read_exact(source, at..at + bytes).await?).next().transpose()
}

/// The box `mfra`, whose length is told by the last bytes of the file.
async fn random_access(source: &impl RangeRead) -> Result<Option<Child>, ClipError> {
    let Some(at) = source.len().checked_sub(MFRO_BYTES) else { return Ok(None) };
    let last = fetch::read_exact(source, at..source.len()).await?;
    let length = match last.strip_prefix(b"\0\0\0\x10mfro").and_then(|body| body.last_chunk()) {
        Some(length) => u64::from(u32::from_be_bytes(*length)),
        None => return Ok(None),
    };
    match source.len().checked_sub(length) {
        Some(at) => read_box(source, at, *b"mfra").await,
        None => Ok(None),
    }
}

/// When fragments begin and where, and when the last of them ends.
type Starts = (Vec<(f64, u64)>, f64);

/// The subsegments of a segment index, which begin behind it; none when it is an index of indexes.
fn segments(sidx: &Sidx, end: u64) -> Starts {
    let (mut time, mut offset) = (sidx.earliest_presentation_time, end.saturating_add(sidx.first_offset));
    let mut starts = Vec::new();
    for segment in &sidx.references {
        if segment.reference_type {
            return Starts::default();
        }
        starts.push((seconds(time, sidx.timescale), offset));
        time = time.saturating_add(segment.subsegment_duration.into());
        offset = offset.saturating_add(segment.referenced_size.into());
    }
    (starts, seconds(time, sidx.timescale))
}

/// The fragments in which the pictures can be entered.
async fn randomly_accessed(source: &impl RangeRead, mfra: &Mfra, moov: &Bytes) -> Result<Starts, ClipError> {
    let mut video = None;
    for trak in children(moov.clone()) {
        let trak = trak?;
        if &trak.kind == b"trak" && video.is_none() {
            let mdia = require(&trak.body, *b"mdia")?.body;
            let is_video = require(&mdia, *b"hdlr")?.body.get(8..12) == Some(b"vide");
            let tkhd: Tkhd = decode(&require(&trak.body, *b"tkhd")?)?;
            let mdhd: Mdhd = decode(&require(&mdia, *b"mdhd")?)?;
            video = is_video.then_some((tkhd.track_id, mdhd.timescale));
        }
    }
    let Some((id, timescale)) = video else { return Ok(Starts::default()) };
    let entries = mfra.tfra.iter().filter(|tfra| tfra.track_id == id).flat_map(|tfra| &tfra.entries);
    let starts: Vec<_> = entries.map(|entry| (seconds(entry.time, timescale), entry.moof_offset)).collect();
    let Some((_, last)) = starts.iter().max_by_key(|(_, offset)| *offset) else { return Ok(Starts::default()) };
    let end = match read_box(source, *last, *b"moof").await? {
        Some(fragment) => fragment_end(&decode(&fragment)?, moov, id)?,
        None => return Err(damaged("its index of fragments leads to none")),
    };
    Ok((starts, seconds(end, timescale)))
}

/// When a track's part of a fragment ends, in its timescale.
fn fragment_end(fragment: &Moof, moov: &Bytes, track_id: u32) -> Result<u64, ClipError> {
    let mvex: Mvex = decode(&require(moov, *b"mvex")?)?;
    let usual = mvex.trex.iter().find(|trex| trex.track_id == track_id).map_or(0, |trex| trex.default_sample_duration);
    let mut end = 0;
    for traf in fragment.traf.iter().filter(|traf| traf.tfhd.track_id == track_id) {
        let usual = traf.tfhd.default_sample_duration.unwrap_or(usual);
        let start = traf.tfdt.as_ref().map_or(0, |tfdt| tfdt.base_media_decode_time);
        let runs = traf.trun.iter().map(|trun| match &trun.samples {
            TrunSamples::Inherited { count, .. } => u64::from(*count) * u64::from(usual),
            TrunSamples::Explicit(samples) => samples.iter().map(|one| u64::from(one.duration.unwrap_or(usual))).sum(),
        });
        end = end.max(runs.fold(start, u64::saturating_add));
    }
    Ok(end)
}

#[expect(clippy::cast_precision_loss, reason = "good to a microsecond for centuries")]
fn seconds(ticks: u64, timescale: u32) -> f64 {
    ticks as f64 / f64::from(timescale.max(1))
}

/// A source with a hole that is passed over: the bytes from a place to another seem to be one `free` box.
#[derive(Debug, Clone)]
pub(crate) struct Skipping<S> {
    source: S,
    at: u64,
    header: Bytes,
}

impl<S> Skipping<S> {
    pub fn new(source: S, hole: Range<u64>) -> Self {
        let bytes = hole.end.saturating_sub(hole.start);
        let header = match u32::try_from(bytes) {
            Ok(0) => Vec::new(),
            Ok(bytes) => [&bytes.to_be_bytes()[..], b"free"].concat(),
            Err(_) => [b"\0\0\0\x01free", &bytes.to_be_bytes()[..]].concat(),
        };
        Self { source, at: hole.start, header: header.into() }
    }
}

impl<S: RangeRead> RangeRead for Skipping<S> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ClipError> {
        let read = self.source.read(range.clone()).await?;
        let header = self.at..self.at + self.header.len() as u64;
        if header.end <= range.start || range.end <= header.start {
            return Ok(read);
        }
        let mut read = BytesMut::from(read);
        for (at, byte) in (header.start..).zip(&self.header) {
            let within = at.checked_sub(range.start).and_then(|at| usize::try_from(at).ok());
            if let Some(place) = within.and_then(|at| read.get_mut(at)) {
                *place = *byte;
            }
        }
        Ok(read.freeze())
    }
}
