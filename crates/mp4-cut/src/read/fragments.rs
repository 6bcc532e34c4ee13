//! Containers without a `moov` index of all samples, and the index of a fragmented MP4's fragments.

use crate::{
    boxes::parse::{Child, FourCC, children, damaged, decode, require},
    boxes::reader::{BoxReader, ReadAhead},
    error::{Error, Result},
    io::RangeRead,
};
use bytes::{Bytes, BytesMut};
use mp4_atom::{Mdhd, Mfra, Moof, Mvex, Sidx, Tkhd, TrunSamples};
use std::{collections::BTreeMap, ops::Range};

/// A container that is not cut but that another program can remux from any interval on, without reading it from its
/// start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub enum Container {
    /// A fragmented MP4 with an index of its fragments (`sidx` or `mfra`, ISO/IEC 14496-12, 8.16.3 and 8.8.9).
    FragmentedMp4,
    /// An MPEG transport stream (ISO/IEC 13818-1), which is searched by its timestamps.
    MpegTs,
    /// Matroska or `WebM` with cues (RFC 9559, 5.1.5).
    Matroska,
}

/// The identifiers of Matroska's elements (RFC 9559, section 5.1).
const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
const CUES: [u8; 4] = [0x1c, 0x53, 0xbb, 0x6b];
/// The last box of a fragmented MP4 that has an index at its end, `mfro`, tells how long that index is.
const MFRO_BYTES: u64 = 16;
/// A source with an index for each fragment takes a read for each, and is opened if it is short.
const READ_AHEAD: ReadAhead = ReadAhead {
    first_bytes: &[],
    then_bytes: 4 << 10,
    max_reads: 64,
    too_many: || {
        Error::unsupported(
            "the source is a fragmented MP4 whose index (sidx or mfra) is in too many parts: remux it first",
        )
    },
};

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
    /// [`Error::Unsupported`] for a file that would have to be read from its start.
    pub(crate) fn of(head: &[u8]) -> Result<Option<Self>> {
        let at = |offset: usize, magic: &[u8]| {
            head.get(offset..)
                .is_some_and(|rest| rest.starts_with(magic))
        };
        let sync_bytes =
            |first: usize, packet: usize| (0..3).all(|index| at(first + index * packet, b"\x47"));
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
            Err(Error::unsupported(
                "the source is a Matroska or WebM file without an index (Cues), as live recordings are: remux it first",
            ))
        }
    }
}

/// Where the fragments of a fragmented MP4 lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragments {
    /// Where the `moov` box ends, in bytes: all fragments need what is before.
    pub head_end: u64,
    /// When the last of them ends, in seconds of their media.
    pub end_seconds: f64,
    starts: Starts,
}

/// When a track's fragments begin, in seconds of its media, and where in the file, in order; by the track's number.
type Starts = BTreeMap<u32, Vec<(f64, u64)>>;

impl Fragments {
    /// Finds the index of the fragments, behind the `moov` box, which ends at `head_end`, or at the end of the file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when there is none, or none of all fragments; and whatever the source raises.
    pub(super) async fn find(source: &impl RangeRead, moov: &Bytes, head_end: u64) -> Result<Self> {
        let mut reader = BoxReader::new(source, &READ_AHEAD);
        let mut fragments = Self {
            head_end,
            end_seconds: 0.0,
            starts: Starts::new(),
        };
        let mut next = reader.find(head_end, INDEX).await?;
        if let Some((at, b"sidx")) = next {
            next = fragments.add_segments(&mut reader, at).await?;
        }
        // Where one index is not all, the other is.
        if let (Some(_), Some(mfra)) = (next, random_access(&mut reader).await?) {
            fragments.starts = Starts::new();
            fragments.end_seconds = fragments
                .add_random_access(&mut reader, &decode(&mfra)?, moov)
                .await?;
            next = None;
        }
        while let Some((at, b"sidx")) = next {
            next = fragments.add_segments(&mut reader, at).await?;
        }
        let wanting = match (fragments.starts.is_empty(), next) {
            (true, _) => "without an index of its fragments (sidx or mfra)".to_owned(),
            (false, Some(_)) => {
                format!(
                    "whose index (sidx) ends at {:.3} s, and the file goes on",
                    fragments.end_seconds
                )
            }
            (false, None) => return fragments.sorted(source.len()),
        };
        Err(Error::unsupported(format!(
            "the source is a fragmented MP4 {wanting}: remux it first"
        )))
    }

    /// Adds what a segment index names, and the indexes that it names. Returns what comes behind all that.
    async fn add_segments(
        &mut self,
        reader: &mut BoxReader<'_, impl RangeRead>,
        at: u64,
    ) -> Result<Next> {
        let (mut indexes, mut last) = (vec![at], at);
        while let Some(at) = indexes.pop() {
            let index = reader.require(at, *b"sidx").await?;
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
            self.end_seconds = self.end_seconds.max(seconds(time, sidx.timescale));
            last = last.max(offset).max(end);
        }
        reader.find(last, INDEX).await
    }

    /// Adds the random access points of video and audio. Returns when the last fragment ends, in seconds.
    async fn add_random_access(
        &mut self,
        reader: &mut BoxReader<'_, impl RangeRead>,
        mfra: &Mfra,
        moov: &Bytes,
    ) -> Result<f64> {
        let mut video = None;
        for trak in children(moov.clone()) {
            let trak = trak?;
            if &trak.kind == b"trak" {
                let (id, timescale) = self.add_entry_points(&trak, mfra)?;
                if handler(&trak)? == *b"vide" && video.is_none() {
                    video = Some((id, timescale));
                }
            }
        }
        let (id, timescale) = match video {
            Some((id, timescale)) if self.starts.contains_key(&id) => (id, timescale),
            _ => {
                self.starts.clear();
                return Ok(0.0);
            }
        };
        let last = self.starts[&id].iter().map(|(_, offset)| *offset).max();
        let (mut end, mut next) = (0, last.map(|last| (last, b"moof")));
        // Not every fragment can be entered: there may be more behind the last that can.
        while let Some((at, _)) = next {
            let fragment = reader.require(at, *b"moof").await?;
            end = end.max(fragment_end(&decode(&fragment)?, moov, id)?);
            next = reader
                .find(at.saturating_add(fragment.whole.len() as u64), &[b"moof"])
                .await?;
        }
        Ok(seconds(end, timescale))
    }

    /// Adds the random access points (`tfra`, 8.8.10) of an audio or video track. Returns its id and its timescale.
    fn add_entry_points(&mut self, trak: &Child, mfra: &Mfra) -> Result<(u32, u32)> {
        let tkhd: Tkhd = decode(&require(&trak.body, *b"tkhd")?)?;
        let mdia = require(&trak.body, *b"mdia")?.body;
        let mdhd: Mdhd = decode(&require(&mdia, *b"mdhd")?)?;
        let mut starts = Vec::new();
        for tfra in &mfra.tfra {
            if tfra.track_id == tkhd.track_id {
                for entry in &tfra.entries {
                    starts.push((seconds(entry.time, mdhd.timescale), entry.moof_offset));
                }
            }
        }
        let handler = handler(trak)?;
        if !starts.is_empty() && matches!(&handler, b"vide" | b"soun") {
            self.starts.insert(tkhd.track_id, starts);
        }
        Ok((tkhd.track_id, mdhd.timescale))
    }

    /// In the order of the file, which is `bytes` long.
    fn sorted(mut self, bytes: u64) -> Result<Self> {
        for starts in self.starts.values_mut() {
            starts.sort_by_key(|(_, offset)| *offset);
            if let Some((_, offset)) = starts
                .iter()
                .find(|(_, offset)| !(self.head_end..bytes).contains(offset))
            {
                return Err(damaged(format!(
                    "it names a fragment at byte {offset} of {bytes}"
                )));
            }
        }
        Ok(self)
    }

    /// Where to begin to read what is shown from `seconds` on: of every track the last fragment that begins no later.
    fn before(&self, seconds: f64) -> u64 {
        let first = |starts: &Vec<(f64, u64)>| {
            let last = starts.iter().rfind(|(start, _)| *start <= seconds);
            last.or(starts.first()).map(|(_, offset)| *offset)
        };
        self.starts
            .values()
            .filter_map(first)
            .min()
            .unwrap_or(self.head_end)
    }
}

/// A box that was looked for, and where it begins.
type Next = Option<(u64, &'static FourCC)>;

/// What fragments begin with, or an index of them.
const INDEX: &[&FourCC] = &[b"sidx", b"moof", b"mdat"];

/// The box `mfra`, whose length is told by the last bytes of the file.
async fn random_access(reader: &mut BoxReader<'_, impl RangeRead>) -> Result<Option<Child>> {
    let bytes = reader.source_bytes();
    let Some(at) = bytes.checked_sub(MFRO_BYTES) else {
        return Ok(None);
    };
    let last = reader.bytes(at..bytes).await?;
    let length = last
        .strip_prefix(b"\0\0\0\x10mfro")
        .and_then(|body| body.last_chunk());
    let length = length.map(|length| u64::from(u32::from_be_bytes(*length)));
    match length.and_then(|length| bytes.checked_sub(length)) {
        Some(at) => reader.require(at, *b"mfra").await.map(Some),
        None => Ok(None),
    }
}

/// The handler of a track (`hdlr`, 8.4.3); zeros if it has none.
fn handler(trak: &Child) -> Result<FourCC> {
    let mdia = require(&trak.body, *b"mdia")?.body;
    let hdlr = require(&mdia, *b"hdlr")?.body;
    let kind = hdlr.get(8..12).and_then(|kind| kind.try_into().ok());
    Ok(kind.unwrap_or_default())
}

/// When a track's part of a fragment ends, in its timescale; 0 when it has none.
fn fragment_end(fragment: &Moof, moov: &Bytes, track_id: u32) -> Result<u64> {
    let mvex: Mvex = decode(&require(moov, *b"mvex")?)?;
    let usual = mvex
        .trex
        .iter()
        .find(|trex| trex.track_id == track_id)
        .map_or(0, |trex| trex.default_sample_duration);
    let mut end = 0;
    for traf in fragment
        .traf
        .iter()
        .filter(|traf| traf.tfhd.track_id == track_id)
    {
        let usual = traf.tfhd.default_sample_duration.unwrap_or(usual);
        let untimed = "the source is a fragmented MP4 whose fragments do not tell when they begin (tfdt), as those of \
                       Smooth Streaming do not: remux it first";
        let start = traf
            .tfdt
            .as_ref()
            .ok_or_else(|| Error::unsupported(untimed))?
            .base_media_decode_time;
        let runs = traf.trun.iter().map(|trun| match &trun.samples {
            TrunSamples::Inherited { count, .. } => u64::from(*count) * u64::from(usual),
            TrunSamples::Explicit(samples) => samples
                .iter()
                .map(|one| u64::from(one.duration.unwrap_or(usual)))
                .sum(),
        });
        end = end.max(runs.fold(start, u64::saturating_add));
    }
    Ok(end)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "good to a microsecond for centuries"
)]
fn seconds(ticks: u64, timescale: u32) -> f64 {
    ticks as f64 / f64::from(timescale.max(1))
}

/// A fragmented MP4 in which readers skip the fragments before an interval: they appear as one `free` box (ISO/IEC
/// 14496-12, 8.1.2). Offsets and length are those of the source.
#[derive(Debug, Clone)]
pub struct HoledSource<S> {
    source: S,
    at: u64,
    header: Bytes,
}

impl<S> HoledSource<S> {
    /// A source in which the first fragments that present `seconds` (in seconds of their media) follow the head; without
    /// `fragments`, the source as it is.
    pub fn to(seconds: f64, fragments: Option<&Fragments>, source: S) -> Self {
        let hole = fragments.map_or(0..0, |fragments| {
            fragments.head_end..fragments.before(seconds)
        });
        let bytes = hole.end.saturating_sub(hole.start);
        let header = match u32::try_from(bytes) {
            Ok(0) => Vec::new(),
            Ok(bytes) => [&bytes.to_be_bytes()[..], b"free"].concat(),
            Err(_) => [b"\0\0\0\x01free", &bytes.to_be_bytes()[..]].concat(),
        };
        Self {
            source,
            at: hole.start,
            header: header.into(),
        }
    }
}

impl<S: RangeRead> RangeRead for HoledSource<S> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let read = self.source.read(range.clone()).await?;
        let header = self.at..self.at + self.header.len() as u64;
        if header.end <= range.start || range.end <= header.start {
            return Ok(read);
        }
        let mut read = BytesMut::from(read);
        for (at, byte) in (header.start..).zip(&self.header) {
            let within = at
                .checked_sub(range.start)
                .and_then(|at| usize::try_from(at).ok());
            if let Some(place) = within.and_then(|at| read.get_mut(at)) {
                *place = *byte;
            }
        }
        Ok(read.freeze())
    }
}
