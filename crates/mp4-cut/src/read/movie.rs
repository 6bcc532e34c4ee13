//! A source as described by its index.
//!
//! Second 0 is the first picture or sound that a player shows, whatever the timestamps say.
//! `FFmpeg` does the same: it shows an edited video from the first frame inside the edit and shifts
//! by the container's start time.

use crate::{
    boxes::parse::{FourCC, children, damaged, decode, require},
    error::{Error, Result},
    io::RangeRead,
    read::edits,
    read::frame_grid,
    read::metadata,
    read::moov::{self, Moov},
    read::parameter_sets,
    read::pictures,
    read::pixel_format::PixelFormat,
    read::sample_entry::{AudioEntry, VideoEntry, handler_name},
    read::samples::Frame,
    read::selection::Selected,
    read::track::{EditSegment, Track, TrackHeader},
    time::Time,
};
use bytes::Bytes;
use mp4_atom::{Matrix, Mvhd};
use std::{iter, ops::Range};

/// Apple's spatial audio, which `FFmpeg` does not decode. iPhones record it in addition to an ordinary track.
const UNDECODABLE: &str = "apac";

/// A source whose index has been read and checked against the length of the file.
#[derive(Debug, Clone)]
pub struct Movie {
    /// What the source is.
    pub facts: Facts,
    pub(crate) index: Moov,
    pub(crate) mvhd: Mvhd,
    pub(crate) video: Track,
    pub(crate) audio: Option<Track>,
    /// Other audio tracks, such as another language's.
    pub(crate) more_audio: Vec<Track>,
    pub(crate) video_extent: VideoExtent,
    /// The first video or audio that a player presents, on the movie's timeline: second 0 of the source.
    pub(crate) origin: Time,
    /// The interval that was selected last. Selecting one goes through all frames before its end.
    pub(crate) selected: Option<Selected>,
}

/// The extent of the video that a player shows, in media time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VideoExtent {
    pub start: i64,
    /// Where the last frame ends.
    pub end: i64,
    /// The last frame's duration.
    pub last_duration: u32,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct Facts {
    /// The major brand (`ftyp`, ISO/IEC 14496-12, 4.3), such as `isom`; `qt` without one.
    pub container: String,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// Where the `moov` box begins in the file, in bytes.
    pub index_start: u64,
    /// Length of `ftyp` and `moov` together, in bytes.
    pub index_bytes: u64,
    /// From the first video or audio that a player presents to the last, in seconds.
    pub duration_seconds: f64,
    /// The video track that clips are made of: the first that is enabled, or else the first.
    pub video: VideoFacts,
    /// The audio track that clips are made of, chosen in the same way; `None` for a source without audio.
    pub audio: Option<AudioFacts>,
    /// Tracks that clips do not get, such as `text (deu)` or `time code`.
    pub dropped_tracks: Vec<String>,
    /// How many pieces of its media are shown in a row: one, unless it was joined by edit lists.
    #[cfg_attr(
        feature = "serde",
        serde(default = "one_piece", skip_serializing_if = "is_one_piece")
    )]
    pub pieces: usize,
}

#[cfg(feature = "serde")]
fn one_piece() -> usize {
    1
}

#[cfg(feature = "serde")]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_one_piece(pieces: &usize) -> bool {
    *pieces == 1
}

/// What a source's video is.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct VideoFacts {
    /// `FFmpeg`'s name of the codec, such as `h264` or `hevc`; for an unknown one the type of its sample entry.
    pub codec: String,
    /// Width in the sample entry (ISO/IEC 14496-12, 12.1.3), in pixels.
    pub coded_width: u32,
    /// Height in the sample entry, in pixels.
    pub coded_height: u32,
    /// Width after pixel aspect (`pasp`, 12.1.4) and rotation, in pixels.
    pub width: u32,
    /// Height after pixel aspect and rotation, in pixels.
    pub height: u32,
    /// How far the matrix of `tkhd` (8.3.2) rotates frames clockwise: 0, 90, 180 or 270 degrees.
    pub rotation_degrees: u16,
    /// Average frames per second.
    pub frame_rate: f64,
    /// Whether all frames have the same duration, to one unit of the timescale.
    pub constant_frame_rate: bool,
    /// The rate whose grid fits all frames and has one on at least every second place; `None` if no usual rate fits, or
    /// if the frame rate is constant.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub grid_frame_rate: Option<f64>,
    /// Units per second of the track's times (`mdhd`, 8.4.2).
    pub timescale: u32,
    /// Number of frames that a player presents.
    pub frames: u64,
    /// When the first frame is presented, in seconds; above zero if audio starts first.
    pub start_seconds: f64,
    /// From the first frame to the end of the last, in seconds.
    pub duration_seconds: f64,
    /// Average bits per second.
    pub bit_rate: u64,
    /// How pixels are stored; `None` if the sample entry does not say.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub pixels: Option<PixelFormat>,
}

/// What a source's audio is.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct AudioFacts {
    /// `FFmpeg`'s name of the codec, such as `aac`, or `pcm` for any uncompressed one.
    pub codec: String,
    /// Number of channels.
    pub channels: u32,
    /// `FFmpeg`'s name of the channel layout, such as `5.1(side)`, unless it is AAC's default for their number;
    /// `unknown` if the source does not say.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub layout: Option<String>,
    /// Samples per second.
    pub sample_rate: u32,
    /// Average bits per second.
    pub bit_rate: u64,
    /// Number of audio tracks that clips can have. A [`Window`](crate::Window) has all of them; a [`Join`](crate::Join)
    /// and a [`SmartClip`](crate::SmartClip) of several intervals have only the first.
    pub tracks: usize,
    /// Their languages, in order, as ISO 639-2 codes; an empty code for a track that has none, and an empty list if
    /// none has one.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Vec::is_empty")
    )]
    pub languages: Vec<String>,
}

/// A frame that a player shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShownFrame {
    /// When it is shown, on the timeline of the file, in seconds.
    pub seconds: f64,
    /// When it is shown if the edit list is ignored, in seconds; in fragmented files, since the first frame.
    pub media_seconds: f64,
    /// Whether the index says that decoding can begin with it.
    pub is_keyframe: bool,
}

impl Facts {
    /// Adds to `dropped_tracks` that the source ends before its index does.
    pub(super) fn say_cut_short(&mut self) {
        let seconds = self.duration_seconds;
        let missing = format!("all after {seconds:.3} s: the source was cut short");
        self.dropped_tracks.push(missing);
    }

    /// The ranges of the file that [`Movie::read`] reads, in bytes, if the file is still the same.
    #[must_use]
    pub fn index_reads(&self) -> [Range<u64>; 2] {
        moov::reads(
            self.index_start..self.index_start + self.index_bytes,
            self.bytes,
        )
    }
}

impl Movie {
    /// Reads a file that another program remuxed from a part of a longer source and that keeps the source's timestamps.
    ///
    /// Times of this movie count from the source's second 0, whose timestamp is `start_microseconds`. The source lasts
    /// `source_seconds`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_remuxed(
        file: &impl RangeRead,
        start_microseconds: i64,
        source_seconds: f64,
    ) -> Result<Self> {
        let mut movie = Self::read(file).await?;
        movie.origin = Time {
            ticks: start_microseconds,
            timescale: 1_000_000,
        };
        movie.facts.duration_seconds = source_seconds;
        Ok(movie)
    }

    /// When the first keyframe is shown, in seconds.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a track with too many samples to inspect one by one, or without a keyframe.
    pub fn first_keyframe_seconds(&self) -> Result<f64> {
        let first = self.video.samples.frames()?.find(|frame| frame.sync);
        let first = first.ok_or_else(|| Error::unsupported("the source has no keyframe"))?;
        Ok(self.seconds_of(first.time))
    }

    /// When a media time of the video is shown, in seconds.
    pub(crate) fn seconds_of(&self, media_time: i64) -> f64 {
        self.video
            .edit_segment
            .presentation(media_time)
            .seconds_since(self.origin)
    }

    /// When the first frame is shown, in seconds.
    #[must_use]
    pub fn start_seconds(&self) -> f64 {
        self.seconds_of(self.video_extent.start)
    }

    /// When the last frame ends, in seconds.
    #[must_use]
    pub fn end_seconds(&self) -> f64 {
        self.seconds_of(self.video_extent.end)
    }

    /// Where second 0 is on the timeline of the file, in seconds.
    #[must_use]
    pub fn origin_seconds(&self) -> f64 {
        self.origin.seconds()
    }

    /// The frames that a player shows, in display order.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a track with too many samples to inspect one by one.
    pub fn shown_frames(&self) -> Result<Vec<ShownFrame>> {
        let edit = self.video.edit_segment;
        let mut shown: Vec<_> = self
            .video
            .samples
            .frames()?
            .filter(|frame| edit.shows(frame.time))
            .map(|frame| ShownFrame {
                seconds: edit.presentation(frame.time).seconds(),
                media_seconds: edit.media_seconds(frame.time),
                is_keyframe: frame.sync,
            })
            .collect();
        shown.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        Ok(shown)
    }

    /// The hidden frames that come before the first shown one since the last keyframe, and from which it may be decoded.
    /// Each is given as the time at which it is shown if the edit list is ignored, in seconds; in display order.
    ///
    /// # Errors
    /// As [`shown_frames`](Self::shown_frames).
    pub fn lead_frames(&self) -> Result<Vec<f64>> {
        let edit = self.video.edit_segment;
        let frames = || self.video.samples.frames();
        let shown = frames()?.filter(|frame| edit.shows(frame.time));
        let Some(first) = shown.min_by_key(|frame| frame.time) else {
            return Ok(Vec::new());
        };
        let before = frames()?.take_while(|frame| frame.index <= first.index);
        let keyframes = before.filter(|frame| frame.sync && frame.time <= first.time);
        let Some(keyframe) = keyframes.last() else {
            return Ok(Vec::new());
        };
        let lead = frames()?.filter(|frame| {
            frame.index >= keyframe.index && (keyframe.time..first.time).contains(&frame.time)
        });
        let mut lead: Vec<f64> = lead.map(|frame| edit.media_seconds(frame.time)).collect();
        lead.sort_by(f64::total_cmp);
        Ok(lead)
    }

    /// How many hidden frames come after the last shown one, which may be decoded from them.
    ///
    /// # Errors
    /// As [`shown_frames`](Self::shown_frames).
    pub fn frames_behind(&self) -> Result<u64> {
        let end = self.video.edit_segment.media_end;
        let behind = self
            .video
            .samples
            .frames()?
            .filter(|frame| frame.time >= end);
        Ok(behind.count() as u64)
    }

    /// Reads the index of `source`, in two or three requests: at most 256 KiB besides `ftyp` and `moov`. Parameter sets of
    /// H.264 and H.265 may lie among the pictures, whatever the index says: the first 16 KiB of the first keyframe tell
    /// them, and clips have them in front (`avc1`, `hvc1`).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for anything but an MP4 or MOV that can be cut, saying what it is; [`Error::Damaged`] for
    /// an inconsistent index; and any error from the source, as [`Error::Read`].
    pub async fn read(source: &impl RangeRead) -> Result<Self> {
        let mut movie = Self::of_one_edit(&Moov::read(source).await?, source.len())?;
        movie.look(source).await?;
        Ok(movie)
    }

    /// Adds facts that only the pictures reveal.
    pub(super) async fn look(&mut self, source: &impl RangeRead) -> Result<()> {
        self.describe(source).await?;
        let begins_with = Box::pin(pictures::look(&mut self.video, source)).await?;
        if let Some(sample) = begins_with {
            self.begin_with(sample)?;
        }
        self.count_fields(source).await
    }

    /// Adds parameter sets that are only in the samples.
    pub(super) async fn describe(&mut self, source: &impl RangeRead) -> Result<()> {
        if parameter_sets::describe(&mut self.video, source).await? {
            self.describe_pictures()?;
        }
        Ok(())
    }

    /// Has the video described as the movie is from whose media this is a part.
    pub(super) fn describe_as(&mut self, descriptions: Bytes) -> Result<()> {
        self.video.samples.descriptions = descriptions;
        self.describe_pictures()
    }

    fn describe_pictures(&mut self) -> Result<()> {
        let entry = VideoEntry::of(&self.video.samples.descriptions)?;
        let video = &mut self.facts.video;
        [video.width, video.height] = turned_size(&self.video, &entry);
        video.pixels = PixelFormat::of(&self.video.samples.descriptions);
        Ok(())
    }

    /// Hides all frames shown before that of `sample`: they cannot be decoded.
    fn begin_with(&mut self, sample: u32) -> Result<()> {
        self.video.samples.first_keyframe_is(sample);
        let begin = self
            .video
            .samples
            .frames()?
            .find(|frame| frame.index >= sample);
        let edit = &mut self.video.edit_segment;
        if let Some(begin) = begin.filter(|begin| edit.media_start < begin.time) {
            edit.shown_at += begin.time - edit.media_start;
            edit.media_start = begin.time;
            self.survey_again()?;
        }
        Ok(())
    }

    /// Where the video is shown, in media time of the whole source that this is a part of.
    pub(super) fn edit_of_source(&self) -> EditSegment {
        self.video.edit_segment.later(self.video.first_decode_time)
    }

    /// Shows this part where the whole source shows it: the edit does not begin with this part's first frame.
    pub(super) fn show_by(&mut self, edit_of_source: EditSegment) -> Result<()> {
        self.video.edit_segment = edit_of_source.later(-self.video.first_decode_time);
        self.survey_again()
    }

    /// Counts two fields with separate samples as one frame.
    pub(super) async fn count_fields(&mut self, source: &impl RangeRead) -> Result<()> {
        let fields = Box::pin(pictures::field_duration(&self.video, source)).await?;
        self.count_fields_lasting(fields)
    }

    fn count_fields_lasting(&mut self, fields: Option<u32>) -> Result<()> {
        if fields.is_some() {
            self.video.samples.field_duration = fields;
            self.survey_again()?;
        }
        Ok(())
    }

    /// Updates the facts after the set of shown frames has changed. If second 0 was the first frame, it stays so.
    fn survey_again(&mut self) -> Result<()> {
        let survey = Survey::of(&self.video)?;
        let extent = survey.video_extent()?;
        let at = |media_time: i64| self.video.edit_segment.presentation(media_time);
        let sound_start = self.audio.as_ref().map(|audio| audio_extent(audio).0);
        let (before, start) = (self.origin, at(extent.start));
        if self.origin == at(self.video_extent.start)
            && sound_start.is_none_or(|sound_start| start.is_before(sound_start))
        {
            self.origin = start;
        }
        let video = &mut self.facts.video;
        video.start_seconds = start.seconds_since(self.origin);
        video.duration_seconds = at(extent.end).seconds_since(start);
        survey.describe(video);
        self.facts.duration_seconds -= self.origin.seconds_since(before);
        self.video_extent = extent;
        Ok(())
    }

    /// How many edits of its media the index's video has.
    pub(super) fn count_edits(index: &Moov) -> Result<usize> {
        let (_, mut headers) = headers(index)?;
        let video = take_track(&mut headers, *b"vide");
        video.map_or(Ok(0), |video| video.count_edits())
    }

    pub(super) fn of_one_edit(index: &Moov, file_bytes: u64) -> Result<Self> {
        match Self::from_index(index, file_bytes, 1)?.pop() {
            Some(movie) => Ok(movie),
            None => Err(edits::refused()),
        }
    }

    /// Reads the index of a clip whose edit lists may have several edits of media, like those of a
    /// [`Join`](crate::Join): one movie for each, as if it were a separate file. For more than 50 edits, there are
    /// none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_edits(source: &impl RangeRead) -> Result<Vec<Self>> {
        Self::edits_of(&Moov::read(source).await?, source).await
    }

    pub(super) async fn edits_of(index: &Moov, source: &impl RangeRead) -> Result<Vec<Self>> {
        let mut edits = Self::from_index(index, source.len(), edits::MAX_EDITS)?;
        if let Some(first) = edits.first() {
            let fields = Box::pin(pictures::field_duration(&first.video, source)).await?;
            for edit in &mut edits {
                edit.count_fields_lasting(fields)?;
            }
        }
        Ok(edits)
    }

    /// A movie for each edit; none when there are more than `max_edits`, or when those of the tracks are not in step.
    fn from_index(index: &Moov, file_bytes: u64, max_edits: usize) -> Result<Vec<Self>> {
        let (mvhd, mut headers) = headers(index)?;
        let has_audio = headers.iter().any(|header| header.is(*b"soun"));
        let video = take_track(&mut headers, *b"vide").ok_or(Error::NoVideo { has_audio })?;
        let audio = take_track(&mut headers, *b"soun");
        let first_language = audio.as_ref().and_then(TrackHeader::language);

        let (mut video, video_entry) = video.video(mvhd.timescale, file_bytes)?;
        let audio = audio
            .map(|audio| audio.audio(mvhd.timescale, file_bytes))
            .transpose()?;
        let (mut audio, audio_entry) = audio.unzip();
        let align = |audio: &mut Track| edits::align(&mut video.edits, audio);
        let are_in_step = audio.as_mut().is_none_or(align);
        let count = video.edits.len();
        if !are_in_step || count > max_edits {
            return Ok(Vec::new());
        }
        // Players would not play a disabled track, but these were chosen.
        for track in iter::once(&mut video).chain(&mut audio) {
            track.tkhd.enabled = true;
        }
        let mut others = Others::of(headers, &mvhd, file_bytes, &video.edits);
        if metadata::names_place(&index.body)? {
            others.dropped_tracks.push("place".to_owned());
        }
        let described = Described {
            container: index.container(),
            file_bytes,
            video: video_entry,
            audio: audio_entry,
            audio_languages: [vec![first_language.unwrap_or_default()], others.languages].concat(),
            dropped_tracks: others.dropped_tracks,
        };
        let segment = |number: usize| {
            let mut video = video.with_edit(number);
            if !index.first_decode_times.is_empty() {
                video.show_from_first_frame()?;
            }
            video.start_with_a_frame()?;
            let audio = audio.as_ref().map(|track| track.with_edit(number));
            let mut movie = Self::of_tracks(index, &mvhd, video, audio, &described)?;
            let more_audio = others.more_audio.iter();
            movie.more_audio = more_audio.map(|track| track.with_edit(number)).collect();
            Ok(movie)
        };
        (0..count).map(segment).collect()
    }

    fn of_tracks(
        index: &Moov,
        mvhd: &Mvhd,
        video: Track,
        audio: Option<Track>,
        described: &Described,
    ) -> Result<Self> {
        let survey = Survey::of(&video)?;
        let video_extent = survey.video_extent()?;
        let mut origin = video.edit_segment.presentation(video_extent.start);
        let mut end = video.edit_segment.presentation(video_extent.end);
        if let Some(audio) = &audio {
            let (audio_start, audio_end) = audio_extent(audio);
            if audio_start.is_before(origin) {
                origin = audio_start;
            }
            if end.is_before(audio_end) {
                end = audio_end;
            }
        }
        let mut facts = Facts {
            container: described.container.clone(),
            bytes: described.file_bytes,
            index_start: index.start,
            index_bytes: index.bytes,
            duration_seconds: end.seconds_since(origin),
            video: video_facts(&video, &described.video, &survey, video_extent, origin),
            audio: audio
                .as_ref()
                .zip(described.audio.as_ref())
                .map(|(track, entry)| audio_facts(track, entry, &described.audio_languages)),
            dropped_tracks: described.dropped_tracks.clone(),
            pieces: 1,
        };
        if index.is_cut_short {
            facts.say_cut_short();
        }
        let (index, mvhd) = (index.clone(), mvhd.clone());
        Ok(Self {
            facts,
            index,
            mvhd,
            video,
            audio,
            more_audio: Vec::new(),
            video_extent,
            origin,
            selected: None,
        })
    }
}

/// The tracks of a movie besides its video and the chosen audio.
#[derive(Default)]
struct Others {
    /// Audio tracks that clips can have, whose edits are in step with the video's.
    more_audio: Vec<Track>,
    /// Their languages; empty for a track that has none.
    languages: Vec<String>,
    /// The names of the rest.
    dropped_tracks: Vec<String>,
}

impl Others {
    /// A track that cannot be read, such as an encrypted one, does not spoil the clip.
    fn of(
        headers: Vec<TrackHeader>,
        mvhd: &Mvhd,
        file_bytes: u64,
        video_edits: &[EditSegment],
    ) -> Self {
        let mut others = Self::default();
        for header in headers {
            let (name, language) = (header.name(), header.language());
            if !header.is(*b"soun") {
                others.dropped_tracks.push(name);
                continue;
            }
            let Ok((mut track, entry)) = header.audio(mvhd.timescale, file_bytes) else {
                others.dropped_tracks.push(name);
                continue;
            };
            if entry.codec != UNDECODABLE && edits::align_audio(video_edits, &mut track) {
                others.more_audio.push(track);
                others.languages.push(language.unwrap_or_default());
            } else {
                others.dropped_tracks.push(name);
            }
        }
        others
    }
}

/// What is the same for all edits of a movie.
struct Described {
    container: String,
    file_bytes: u64,
    video: VideoEntry,
    audio: Option<AudioEntry>,
    /// The languages of all audio tracks that clips can have.
    audio_languages: Vec<String>,
    dropped_tracks: Vec<String>,
}

/// The one track of a file that has only video or only audio.
pub(crate) async fn read_track(file: &impl RangeRead) -> Result<Option<Track>> {
    let index = Moov::read(file).await?;
    let (mvhd, mut headers) = headers(&index)?;
    if let Some(video) = take_track(&mut headers, *b"vide") {
        return Ok(Some(video.video(mvhd.timescale, file.len())?.0));
    }
    let audio = take_track(&mut headers, *b"soun");
    audio
        .map(|audio| audio.audio(mvhd.timescale, file.len()))
        .transpose()
        .map(|audio| audio.map(|(track, _)| track))
}

fn headers(index: &Moov) -> Result<(Mvhd, Vec<TrackHeader>)> {
    let mvhd: Mvhd = decode(&require(&index.body, *b"mvhd")?)?;
    if mvhd.timescale == 0 {
        return Err(damaged("the movie's timescale is zero"));
    }
    let is_quicktime = index.container() == "qt";
    let mut headers = Vec::new();
    for child in children(index.body.clone()) {
        let child = child?;
        if &child.kind == b"trak" {
            let mut header = TrackHeader::read(&child)?;
            let time = index.first_decode_times.get(&header.id());
            header.first_decode_time = time.copied().unwrap_or(0);
            header.is_quicktime = is_quicktime;
            headers.push(header);
        }
    }
    Ok((mvhd, headers))
}

impl TrackHeader {
    fn is(&self, handler: FourCC) -> bool {
        self.handler == handler && self.has_samples
    }

    fn name(&self) -> String {
        let name = handler_name(self.handler);
        self.language()
            .map_or_else(|| name.clone(), |language| format!("{name} ({language})"))
    }
}

/// Takes the track of `handler` that players choose: the first enabled one, or else the first.
fn take_track(headers: &mut Vec<TrackHeader>, handler: FourCC) -> Option<TrackHeader> {
    let enabled = headers
        .iter()
        .position(|header| header.is(handler) && header.enabled);
    let chosen = enabled.or_else(|| headers.iter().position(|header| header.is(handler)))?;
    Some(headers.remove(chosen))
}

/// What a pass over all frames finds.
#[derive(Debug, Default)]
struct Survey {
    shown: u64,
    /// When the first of all frames would be shown without an edit.
    earliest: i64,
    first: Option<i64>,
    last: Option<Frame>,
    end: i64,
    shortest: u32,
    longest: u32,
    grid_frame_rate: Option<f64>,
}

impl Survey {
    fn of(video: &Track) -> Result<Self> {
        let mut survey = Self {
            shortest: u32::MAX,
            earliest: i64::MAX,
            ..Self::default()
        };
        let is_piece = video.edits.len() > 1;
        let mut before = None;
        for frame in video.samples.frames()? {
            let is_shown = video.edit_segment.shows(frame.time);
            // Writers put anything into the last duration; in a piece, it compensates for the joint.
            if (is_shown || !is_piece)
                && let Some(duration) = before.replace(frame.duration)
            {
                survey.shortest = survey.shortest.min(duration);
                survey.longest = survey.longest.max(duration);
            }
            survey.earliest = survey.earliest.min(frame.time);
            if !is_shown {
                continue;
            }
            survey.shown += 1;
            survey.first = Some(
                survey
                    .first
                    .map_or(frame.time, |first| first.min(frame.time)),
            );
            if survey.last.is_none_or(|last| frame.time >= last.time) {
                survey.last = Some(frame);
            }
        }
        survey.end = survey.last.map_or(0, |last| survey.end_of(last, video));
        if let (false, Ok(extent)) = (survey.is_constant(), survey.video_extent()) {
            survey.grid_frame_rate = frame_grid::rate(video, extent.start..extent.end)?;
        }
        Ok(survey)
    }

    /// Where the last frame ends. That is the end of the edit, the only reliable source if frames are reordered and
    /// vary in duration. But an edit that continues for longer than any frame lasts, and than all of them together,
    /// does not stretch the last frame.
    fn end_of(&self, last: Frame, video: &Track) -> i64 {
        let (media_end, longest) = (
            video.edit_segment.media_end,
            self.longest.max(last.duration),
        );
        let all = self.earliest.saturating_add(video.samples.duration);
        if media_end <= last.time.saturating_add(longest.into()).max(all) {
            media_end
        } else {
            last.time.saturating_add(last.duration.into())
        }
    }

    fn video_extent(&self) -> Result<VideoExtent> {
        match (self.first, self.last) {
            (Some(start), Some(last)) if self.end > start => Ok(VideoExtent {
                start,
                end: self.end,
                last_duration: last.duration,
            }),
            _ => Err(Error::unsupported("the source shows no frame of its video")),
        }
    }

    /// Fills in the number of frames and the frame rate.
    fn describe(&self, video: &mut VideoFacts) {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people and for JSON")]
        let frames = self.shown as f64;
        video.frames = self.shown;
        video.frame_rate = frames / video.duration_seconds;
        video.constant_frame_rate = self.is_constant();
        video.grid_frame_rate = self.grid_frame_rate;
    }

    fn is_constant(&self) -> bool {
        self.longest <= self.shortest || (self.shortest >= 10 && self.longest - self.shortest == 1)
    }
}

fn video_facts(
    video: &Track,
    entry: &VideoEntry,
    survey: &Survey,
    extent: VideoExtent,
    origin: Time,
) -> VideoFacts {
    let (coded_width, coded_height) = (u32::from(entry.width), u32::from(entry.height));
    let rotation_degrees = rotation(&video.tkhd.matrix);
    let [width, height] = turned_size(video, entry);
    let duration = Time {
        ticks: extent.end - extent.start,
        timescale: video.edit_segment.timescale,
    };
    let mut facts = VideoFacts {
        codec: entry.codec.clone(),
        coded_width,
        coded_height,
        width,
        height,
        rotation_degrees,
        frame_rate: 0.0,
        constant_frame_rate: false,
        grid_frame_rate: None,
        timescale: video.edit_segment.timescale,
        frames: 0,
        start_seconds: video
            .edit_segment
            .presentation(extent.start)
            .seconds_since(origin),
        duration_seconds: duration.seconds(),
        bit_rate: bit_rate(video),
        pixels: PixelFormat::of(&video.samples.descriptions),
    };
    survey.describe(&mut facts);
    facts
}

/// The picture's size as it is shown.
fn turned_size(video: &Track, entry: &VideoEntry) -> [u32; 2] {
    let [width, height] = shown_size(video, entry);
    if rotation(&video.tkhd.matrix).is_multiple_of(180) {
        [width, height]
    } else {
        [height, width]
    }
}

/// The picture's size before rotation. As in `FFmpeg`, the pixel aspect takes precedence over the track header, which
/// some cameras fill with the coded size, and that over the stream.
fn shown_size(video: &Track, entry: &VideoEntry) -> [u32; 2] {
    let (width, height) = (u32::from(entry.width), u32::from(entry.height));
    let header = [video.tkhd.width.integer(), video.tkhd.height.integer()].map(u32::from);
    let no_size =
        video.tkhd.size_is_aspect_ratio || header.contains(&0) || header == [width, height];
    let stream_aspect = if no_size { entry.stream_aspect } else { None };
    match entry.pixel_aspect.or(stream_aspect) {
        Some((pixel_width, pixel_height)) => {
            let wide = u64::from(width) * u64::from(pixel_width) / u64::from(pixel_height);
            [u32::try_from(wide).unwrap_or(width), height]
        }
        None if no_size => [width, height],
        None => header,
    }
}

fn audio_facts(audio: &Track, entry: &AudioEntry, languages: &[String]) -> AudioFacts {
    let names_one = languages.iter().any(|language| !language.is_empty());
    AudioFacts {
        codec: entry.codec.clone(),
        channels: entry.channels.count,
        layout: entry.channels.layout.map(str::to_owned),
        sample_rate: if entry.sample_rate == 0 {
            audio.edit_segment.timescale
        } else {
            entry.sample_rate
        },
        bit_rate: bit_rate(audio),
        tracks: languages.len(),
        languages: if names_one {
            languages.to_vec()
        } else {
            Vec::new()
        },
    }
}

/// When an audio track starts and ends, on the movie's timeline.
pub(super) fn audio_extent(audio: &Track) -> (Time, Time) {
    let start = audio.edit_segment.media_start.max(0);
    let end = audio
        .samples
        .duration
        .min(audio.edit_segment.media_end)
        .max(start);
    (
        audio.edit_segment.presentation(start),
        audio.edit_segment.presentation(end),
    )
}

fn bit_rate(track: &Track) -> u64 {
    let bits = u128::from(track.samples.bytes(0..track.samples.count))
        * 8
        * u128::from(track.edit_segment.timescale);
    let duration = u128::try_from(track.samples.duration).unwrap_or(0).max(1);
    u64::try_from(bits / duration).unwrap_or(u64::MAX)
}

/// How far a display matrix rotates the picture clockwise, to the nearest quarter turn. Mirroring is ignored.
fn rotation(matrix: &Matrix) -> u16 {
    if matrix.a.unsigned_abs() >= matrix.b.unsigned_abs() {
        if matrix.a < 0 && matrix.d < 0 { 180 } else { 0 }
    } else if matrix.b > 0 {
        90
    } else {
        270
    }
}
