//! A track: its headers, its samples and where its edit list puts them.

use crate::{
    boxes::parse::{Child, FourCC, children, damaged, decode, find, require},
    error::{Error, Result},
    read::amr,
    read::language,
    read::sample_entry::{AudioEntry, VideoEntry},
    read::samples::SampleTable,
    time::{Time, rescale},
};
use bytes::Bytes;
use mp4_atom::{Elst, ElstEntry, Mdhd, Tkhd};

/// A track before its tables are read.
#[derive(Debug, Clone)]
pub(crate) struct TrackHeader {
    pub handler: FourCC,
    pub enabled: bool,
    pub has_samples: bool,
    /// When the first sample is decoded, in the track's timescale.
    pub first_decode_time: i64,
    /// Whether the file is a `QuickTime` movie.
    pub is_quicktime: bool,
    trak: Bytes,
    tkhd: Tkhd,
    mdia: Bytes,
    stbl: Bytes,
}

/// A track that clips are made of.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    pub tkhd: Tkhd,
    pub mdhd: Mdhd,
    pub codec: String,
    pub samples: SampleTable,
    /// The edit in use.
    pub edit_segment: EditSegment,
    /// All edits of media, in the order in which they are shown; at least one.
    pub edits: Vec<EditSegment>,
    has_edit: bool,
    /// When the first sample is decoded, in the track's timescale; the table counts from there.
    pub first_decode_time: i64,
    /// Boxes that are passed on byte for byte, by their parent box.
    pub trak_boxes: Vec<Bytes>,
    pub mdia_boxes: Vec<Bytes>,
    pub minf_boxes: Vec<Bytes>,
}

/// What a track's edit list does: where its media is shown on the movie's timeline.
///
/// Cameras, phones and `FFmpeg` write one edit of the media, after empty ones. Clips that were joined without encoding
/// have one for each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EditSegment {
    /// The units of everything below: 1/`timescale` second.
    pub timescale: u32,
    /// When the edit is shown, on the movie's timeline.
    pub shown_at: i64,
    /// The media time that is shown then.
    pub media_start: i64,
    /// The media time at which the edit ends.
    pub media_end: i64,
}

impl EditSegment {
    /// When `media_time` is shown, on the movie's timeline.
    pub fn presentation(&self, media_time: i64) -> Time {
        Time {
            ticks: media_time - self.media_start + self.shown_at,
            timescale: self.timescale,
        }
    }

    /// A media time in seconds.
    pub fn media_seconds(&self, media_time: i64) -> f64 {
        Time {
            ticks: media_time,
            timescale: self.timescale,
        }
        .seconds()
    }

    /// The media time that is shown at `time` of the movie's timeline, to the nearest unit.
    pub fn media_time(&self, time: Time) -> i64 {
        let shown_for =
            rescale(time.ticks, time.timescale, self.timescale).saturating_sub(self.shown_at);
        shown_for.saturating_add(self.media_start)
    }

    /// The same edit, with media times higher by `by`.
    pub fn later(self, by: i64) -> Self {
        Self {
            media_start: self.media_start.saturating_add(by),
            media_end: self.media_end.saturating_add(by),
            ..self
        }
    }

    pub fn shows(&self, media_time: i64) -> bool {
        (self.media_start..self.media_end).contains(&media_time)
    }
}

impl TrackHeader {
    /// Reads the parts of a `trak` box that say what the track is.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the box is.
    pub fn read(trak: &Child) -> Result<Self> {
        let trak = &trak.body;
        let tkhd: Tkhd = decode(&require(trak, *b"tkhd")?)?;
        let mdia = require(trak, *b"mdia")?.body;
        let hdlr = require(&mdia, *b"hdlr")?.body;
        let handler = hdlr
            .get(8..12)
            .and_then(|kind| kind.try_into().ok())
            .ok_or_else(|| damaged("box hdlr is too short"))?;
        let stbl = require(&require(&mdia, *b"minf")?.body, *b"stbl")?.body;
        let has_samples = match find(&stbl, *b"stsz")? {
            Some(stsz) => stsz.body.get(8..12) != Some(&[0; 4]),
            None => find(&stbl, *b"stz2")?.is_some(),
        };
        Ok(Self {
            handler,
            enabled: tkhd.enabled,
            has_samples,
            first_decode_time: 0,
            is_quicktime: false,
            trak: trak.clone(),
            tkhd,
            mdia,
            stbl,
        })
    }

    /// The track's number.
    pub fn id(&self) -> u32 {
        self.tkhd.track_id
    }

    /// How many edits of its media there are.
    pub fn count_edits(&self) -> Result<usize> {
        let entries = edit_list(&self.trak)?.map_or_else(Vec::new, |list| list.entries);
        let edits = entries.iter().filter(|entry| entry.media_time.is_some());
        Ok(edits.count().max(1))
    }

    /// The ISO 639-2 code of the track's language; `None` if it has none.
    pub fn language(&self) -> Option<String> {
        language::named(self.media_header().ok()?.language)
    }

    fn media_header(&self) -> Result<Mdhd> {
        let mut mdhd: Mdhd = decode(&require(&self.mdia, *b"mdhd")?)?;
        if self.is_quicktime {
            mdhd.language = language::of_quicktime(mdhd.language);
        }
        Ok(mdhd)
    }

    pub fn video(self, movie_timescale: u32, file_bytes: u64) -> Result<(Track, VideoEntry)> {
        let entry = VideoEntry::of(&require(&self.stbl, *b"stsd")?.whole)?;
        let samples = SampleTable::read(&self.stbl, None, file_bytes)?;
        Ok((self.track(samples, &entry.codec, movie_timescale)?, entry))
    }

    pub fn audio(self, movie_timescale: u32, file_bytes: u64) -> Result<(Track, AudioEntry)> {
        let entry = AudioEntry::of(&require(&self.stbl, *b"stsd")?.whole)?;
        let timescale = self.media_header()?.timescale;
        let split = amr::in_single_frames(&self.stbl, &entry.codec, timescale)?;
        let stbl = split.as_ref().unwrap_or(&self.stbl);
        let samples = SampleTable::read(stbl, entry.packet, file_bytes)?;
        Ok((self.track(samples, &entry.codec, movie_timescale)?, entry))
    }

    fn track(self, samples: SampleTable, codec: &str, movie_timescale: u32) -> Result<Track> {
        let mdhd = self.media_header()?;
        if mdhd.timescale == 0 {
            return Err(damaged("a track's timescale is zero"));
        }
        if samples.duration >= max_ticks(mdhd.timescale) {
            return Err(damaged("a track is impossibly long"));
        }
        let minf = require(&self.mdia, *b"minf")?.body;
        check_self_contained(&minf)?;
        let edits = edit_list(&self.trak)?;
        let has_edit = edits.is_some();
        let mut edits = read_edits(edits, movie_timescale, mdhd.timescale)?;
        for edit in &mut edits {
            // The table counts from its first sample.
            *edit = edit.later(-self.first_decode_time);
        }
        Ok(Track {
            edit_segment: edits[0],
            edits,
            has_edit,
            first_decode_time: self.first_decode_time,
            trak_boxes: kept_boxes(&self.trak, |kind| kind == b"tapt")?,
            mdia_boxes: kept_boxes(&self.mdia, |kind| matches!(kind, b"hdlr" | b"elng"))?,
            minf_boxes: kept_boxes(&minf, |kind| kind != b"stbl")?,
            tkhd: self.tkhd,
            mdhd,
            codec: codec.to_owned(),
            samples,
        })
    }
}

impl Track {
    /// The same track with another edit in use.
    #[must_use]
    pub fn with_edit(&self, index: usize) -> Self {
        Self {
            edit_segment: self.edits[index],
            ..self.clone()
        }
    }

    /// Shows the frames of a fragmented source that precede media time 0, if its edit begins there: writers that use
    /// negative composition offsets mean to show all frames.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a track with too many samples to inspect one by one.
    pub fn show_from_first_frame(&mut self) -> Result<()> {
        let edit = self.edit_segment;
        let earliest = self.samples.frames()?.map(|frame| frame.time).min();
        if edit.media_start + self.first_decode_time == 0
            && let Some(earliest) = earliest
            && earliest < edit.media_start
        {
            self.edit_segment.shown_at -= edit.media_start - earliest;
            self.edit_segment.media_start = earliest;
        }
        Ok(())
    }

    /// Starts a video's edit with the first frame whose time is within it, as players and `FFmpeg` do.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a track with too many samples to inspect one by one.
    pub fn start_with_a_frame(&mut self) -> Result<()> {
        if self.has_edit {
            let edit_segment = self.edit_segment;
            let shown = self
                .samples
                .frames()?
                .map(|frame| frame.time)
                .filter(|time| edit_segment.shows(*time));
            self.edit_segment.media_start = shown.min().unwrap_or(edit_segment.media_start);
        }
        Ok(())
    }
}

/// Half a year in a track's timescale: far longer than any video, and short enough that sums and conversions to any
/// other timescale fit in an i64.
fn max_ticks(timescale: u32) -> i64 {
    i64::from(timescale) << 24
}

/// The whole boxes in `body` whose type `keep` accepts.
fn kept_boxes(body: &Bytes, keep: impl Fn(&FourCC) -> bool) -> Result<Vec<Bytes>> {
    let mut kept = Vec::new();
    for child in children(body.clone()) {
        let child = child?;
        if keep(&child.kind) {
            kept.push(child.whole);
        }
    }
    Ok(kept)
}

/// Refuses tracks whose media is in another file, as in `QuickTime` reference movies.
fn check_self_contained(minf: &Bytes) -> Result<()> {
    let Some(dinf) = find(minf, *b"dinf")? else {
        return Ok(());
    };
    let Some(dref) = find(&dinf.body, *b"dref")? else {
        return Ok(());
    };
    let entries = dref
        .body
        .get(8..)
        .map(|entries| dref.body.slice_ref(entries))
        .unwrap_or_default();
    for entry in children(entries) {
        if entry?.body.get(3).is_some_and(|flags| flags & 1 == 0) {
            return Err(Error::unsupported(
                "the source's media lies in another file, which is not supported",
            ));
        }
    }
    Ok(())
}

/// The edits of media in an edit list (ISO/IEC 14496-12, 8.6.6), in the order in which they are shown; at least one.
fn read_edits(
    edits: Option<Elst>,
    movie_timescale: u32,
    timescale: u32,
) -> Result<Vec<EditSegment>> {
    let limit = max_ticks(timescale);
    let ticks = |movie_ticks: u64| {
        let ticks = i64::try_from(movie_ticks).unwrap_or(i64::MAX);
        match rescale(ticks, movie_timescale, timescale) {
            ticks if ticks < limit => Ok(ticks),
            _ => Err(damaged("an edit is impossibly long")),
        }
    };
    let mut segments = Vec::new();
    let mut shown_at = 0_i64;
    for edit in edits.into_iter().flat_map(|edits| edits.entries) {
        let duration = ticks(edit.segment_duration)?;
        if let Some(media_start) = media_start(&edit, limit)? {
            // A duration of zero means that the edit extends to the end of the media.
            let media_end = if duration > 0 {
                media_start + duration
            } else {
                i64::MAX
            };
            segments.push(EditSegment {
                timescale,
                shown_at,
                media_start,
                media_end,
            });
        }
        shown_at = shown_at.saturating_add(duration).min(limit);
    }
    if segments.is_empty() {
        segments.push(EditSegment {
            timescale,
            shown_at,
            media_start: 0,
            media_end: i64::MAX,
        });
    }
    Ok(segments)
}

/// Where in the media an edit begins, below `limit`; `None` for an empty one.
fn media_start(edit: &ElstEntry, limit: i64) -> Result<Option<i64>> {
    let Some(media_time) = edit.media_time else {
        return Ok(None);
    };
    if (edit.media_rate.integer(), edit.media_rate.decimal()) != (1, 0) {
        return Err(Error::unsupported(
            "the source's edit list changes its speed, which is not supported",
        ));
    }
    match i64::try_from(media_time) {
        Ok(time) if time < limit => Ok(Some(time)),
        _ => Err(damaged("an edit starts impossibly late")),
    }
}

fn edit_list(trak: &Bytes) -> Result<Option<Elst>> {
    let Some(edts) = find(trak, *b"edts")? else {
        return Ok(None);
    };
    let Some(elst) = find(&edts.body, *b"elst")? else {
        return Ok(None);
    };
    decode(&elst).map(Some)
}
