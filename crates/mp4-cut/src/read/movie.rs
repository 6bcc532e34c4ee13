//! A source as its index describes it.

use crate::{
    Error, Result,
    boxes::{FourCC, children, damaged, fourcc_name, require},
    io::RangeRead,
    read::fragments::{Container, Fragments},
    read::moov::{self, Found, Moov},
    read::sample_entry::{AudioEntry, VideoEntry, handler_name},
    read::samples::Frame,
    read::track::{Track, TrackHeader, decode},
    time::Time,
};
use mp4_atom::{Matrix, Mvhd};
use std::ops::Range;

/// The most pieces of an edit list that [`Movie::read_pieces`] takes apart.
const MAX_PIECES: usize = 50;
/// Apple's spatial audio, which `FFmpeg` does not decode. Telephones record it beside an ordinary track.
const UNDECODABLE: &str = "apac";

/// A source whose index has been read, and checked against the length of the file.
#[derive(Debug, Clone)]
pub struct Movie {
    /// What there is to know about the source.
    pub facts: Facts,
    pub(crate) index: Moov,
    pub(crate) mvhd: Mvhd,
    pub(crate) video: Track,
    pub(crate) audio: Option<Track>,
    /// Sound besides, such as another language's.
    pub(crate) more_audio: Vec<Track>,
    pub(crate) pictures: Pictures,
    /// The first picture or sound that a player shows, on the movie's timeline: what a user calls second 0.
    pub(crate) origin: Time,
}

/// What [`Movie::open`] finds.
#[derive(Debug, Clone)]
pub enum Opened {
    /// A source with an index.
    Indexed(Box<Movie>),
    /// A source of another container, and where its fragments lie if it is made of them.
    Other(Container, Option<Fragments>),
}

/// The extent of the pictures that a player shows, in media time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pictures {
    pub start: i64,
    /// Where the last picture ends.
    pub end: i64,
    /// The last picture's duration.
    pub last_duration: u32,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct Facts {
    /// The container's major brand, such as `isom` or `qt`.
    pub container: String,
    /// Length of the file.
    pub bytes: u64,
    /// Where the index begins in the file.
    pub index_start: u64,
    /// Length of the index (`ftyp` and `moov`).
    pub index_bytes: u64,
    /// How the source is read if not by such an index: the index then has no place, and frames are estimated by their
    /// rate.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub remuxed: Option<Remuxed>,
    /// From the first picture or sound that a player shows to the last, in seconds.
    pub duration_seconds: f64,
    /// The track of pictures that clips are made of.
    pub video: VideoFacts,
    /// The track of sound that clips are made of; `None` for a silent source.
    pub audio: Option<AudioFacts>,
    /// Tracks that clips do not get, such as `audio (deu)` or `time code`.
    pub dropped_tracks: Vec<String>,
}

/// A source that `FFmpeg` remuxes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct Remuxed {
    /// What it is.
    pub container: Container,
    /// How long a part of it tells what is in it.
    pub look_microseconds: u32,
    /// The time stamp of its second 0, in microseconds.
    pub start_microseconds: i64,
    /// The numbers of the streams that excerpts get: the pictures, and sound.
    pub streams: Vec<usize>,
}

/// What a source's pictures are.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct VideoFacts {
    /// `FFmpeg`'s name of the codec, such as `h264` or `hevc`; for an unknown one its four-character code.
    pub codec: String,
    /// Width of the coded picture, in pixels.
    pub coded_width: u32,
    /// Height of the coded picture, in pixels.
    pub coded_height: u32,
    /// Width of the picture as it is shown, after pixel aspect and rotation, in pixels.
    pub width: u32,
    /// Height of the picture as it is shown, after pixel aspect and rotation, in pixels.
    pub height: u32,
    /// How far players turn the picture clockwise: 0, 90, 180 or 270 degrees.
    pub rotation_degrees: u16,
    /// Average frames per second.
    pub frame_rate: f64,
    /// Whether all frames last equally long, to the unit of the timescale.
    pub constant_frame_rate: bool,
    /// Units per second that the track counts in.
    pub timescale: u32,
    /// Number of frames that a player shows.
    pub frames: u64,
    /// When the first frame is shown, in seconds; above zero when sound starts first.
    pub start_seconds: f64,
    /// From the first frame to the end of the last, in seconds.
    pub duration_seconds: f64,
    /// Average bits per second.
    pub bit_rate: u64,
}

/// What a source's sound is.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct AudioFacts {
    /// `FFmpeg`'s name of the codec, such as `aac`, or `pcm` for any uncompressed one.
    pub codec: String,
    /// Number of channels.
    pub channels: u32,
    /// Samples per second.
    pub sample_rate: u32,
    /// Average bits per second.
    pub bit_rate: u64,
    /// Number of sound tracks that clips can have. Edited and joined clips get the first, others get all.
    pub tracks: usize,
}

impl Facts {
    /// The parts of the file that [`Movie::read`] will read, when the file is still the same.
    #[must_use]
    pub fn index_reads(&self) -> [Range<u64>; 2] {
        moov::reads(
            self.index_start..self.index_start + self.index_bytes,
            self.bytes,
        )
    }
}

impl Remuxed {
    /// The time stamp of its second 0 in an excerpt, in microseconds: a transport stream that starts shortly before its
    /// clock begins anew starts below zero, where nothing is shown in an MP4.
    #[must_use]
    pub fn remuxed_start_microseconds(&self) -> i64 {
        self.start_microseconds.max(0)
    }
}

impl Movie {
    /// Reads the index of `source`, as [`read`](Self::read) does, or tells what container it is that is to be remuxed.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn open(source: &impl RangeRead) -> Result<Opened> {
        Ok(match Moov::find(source).await? {
            Found::Moov(index) => {
                Opened::Indexed(Box::new(Self::of_one_piece(&index, source.len())?))
            }
            Found::Other(container, fragments) => Opened::Other(container, fragments),
        })
    }

    /// Reads the index of an excerpt of a source: a file that shows a part of it, with the source's own time stamps, or
    /// those that count from its start.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_remuxed(
        file: &impl RangeRead,
        source: &Remuxed,
        source_seconds: f64,
    ) -> Result<Self> {
        let mut movie = Self::read(file).await?;
        movie.origin = Time {
            ticks: source.remuxed_start_microseconds(),
            timescale: 1_000_000,
        };
        movie.facts.duration_seconds = source_seconds;
        Ok(movie)
    }

    /// When the first keyframe is shown, in seconds.
    ///
    /// # Errors
    /// `UnsupportedMedia` for a track with too many samples to look at one by one, or without a keyframe.
    pub fn first_keyframe_seconds(&self) -> Result<f64> {
        let first = self.video.samples.frames()?.find(|frame| frame.sync);
        let first = first.ok_or_else(|| Error::unsupported("the source has no keyframe"))?;
        Ok(self
            .video
            .edit_segment
            .presentation(first.time)
            .seconds_since(self.origin))
    }

    /// Reads the index of `source`: in two or three requests, and little more than the index.
    ///
    /// # Errors
    /// `UnsupportedMedia` for what is not an MP4 or MOV that can be cut, saying what it is; and whatever the source
    /// raises.
    pub async fn read(source: &impl RangeRead) -> Result<Self> {
        Self::of_one_piece(&Moov::read(source).await?, source.len())
    }

    fn of_one_piece(index: &Moov, file_bytes: u64) -> Result<Self> {
        let unsupported = || {
            Error::unsupported(
                "the source has an edit list of several pieces, which is not supported",
            )
        };
        Self::from_index(index, file_bytes, 1)?
            .pop()
            .ok_or_else(unsupported)
    }

    /// Reads the index of a clip that may have been joined without encoding: one movie for each piece of its edit
    /// lists, as if each were a file of its own.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_pieces(source: &impl RangeRead) -> Result<Vec<Self>> {
        Self::from_index(&Moov::read(source).await?, source.len(), MAX_PIECES)
    }

    /// The pieces of a movie; none when there are more than `most`, or when its tracks have not the same number.
    fn from_index(index: &Moov, file_bytes: u64, most: usize) -> Result<Vec<Self>> {
        let (mvhd, mut outlines) = outlines(index)?;
        let has_sound = outlines.iter().any(|outline| outline.is(*b"soun"));
        let video = take_track(&mut outlines, *b"vide").ok_or_else(|| no_video(has_sound))?;
        let audio = take_track(&mut outlines, *b"soun");

        let (mut video, video_entry) = video.video(mvhd.timescale, file_bytes)?;
        let mut audio = audio
            .map(|audio| audio.audio(mvhd.timescale, file_bytes))
            .transpose()?;
        let count = video.pieces.len();
        if count > most
            || audio
                .as_ref()
                .is_some_and(|(track, _)| track.pieces.len() != count)
        {
            return Ok(Vec::new());
        }
        // Players would not play a disabled track, and these have been chosen.
        video.tkhd.enabled = true;
        if let Some((audio, _)) = &mut audio {
            audio.tkhd.enabled = true;
        }
        let (mut more_audio, mut dropped_tracks) = (Vec::new(), Vec::new());
        for outline in outlines {
            let name = outline.name();
            // What cannot be read of the rest, such as an encrypted track, does not spoil the clip.
            let read = outline
                .is(*b"soun")
                .then(|| outline.audio(mvhd.timescale, file_bytes).ok())
                .flatten();
            match read {
                Some((track, entry))
                    if track.pieces.len() == count && entry.codec != UNDECODABLE =>
                {
                    more_audio.push(track);
                }
                _ => dropped_tracks.push(name),
            }
        }
        let described = Described {
            container: index.ftyp.as_ref().and_then(moov::brand).map_or_else(
                || "qt".to_owned(),
                |brand| fourcc_name(brand).trim_end().to_owned(),
            ),
            file_bytes,
            video: video_entry,
            audio: audio.as_ref().map(|(_, entry)| entry.clone()),
            audio_tracks: 1 + more_audio.len(),
            dropped_tracks,
        };
        let piece = |number: usize| {
            let mut video = video.piece(number);
            video.start_with_a_picture()?;
            let audio = audio.as_ref().map(|(track, _)| track.piece(number));
            let more_audio = more_audio.iter().map(|track| track.piece(number)).collect();
            Ok(Self {
                more_audio,
                ..Self::of_tracks(index, &mvhd, video, audio, &described)?
            })
        };
        (0..count).map(piece).collect()
    }

    fn of_tracks(
        index: &Moov,
        mvhd: &Mvhd,
        video: Track,
        audio: Option<Track>,
        described: &Described,
    ) -> Result<Self> {
        let survey = Survey::of(&video)?;
        let pictures = survey.pictures()?;
        let first_picture = video.edit_segment.presentation(pictures.start);
        let last_picture = video.edit_segment.presentation(pictures.end);
        let sound = audio.as_ref().map(sound_extent);
        let origin = sound
            .map(|sound| sound.0)
            .filter(|sound| sound.is_before(first_picture))
            .unwrap_or(first_picture);
        let end = sound
            .map(|sound| sound.1)
            .filter(|sound| last_picture.is_before(*sound))
            .unwrap_or(last_picture);

        let facts = Facts {
            container: described.container.clone(),
            bytes: described.file_bytes,
            index_start: index.start,
            index_bytes: index.bytes,
            remuxed: None,
            duration_seconds: end.seconds_since(origin),
            video: video_facts(&video, &described.video, &survey, pictures, origin),
            audio: audio
                .as_ref()
                .zip(described.audio.as_ref())
                .map(|(track, entry)| audio_facts(track, entry, described.audio_tracks)),
            dropped_tracks: described.dropped_tracks.clone(),
        };
        let (index, mvhd) = (index.clone(), mvhd.clone());
        Ok(Self {
            facts,
            index,
            mvhd,
            video,
            audio,
            more_audio: Vec::new(),
            pictures,
            origin,
        })
    }
}

/// What is the same for all pieces of a movie.
struct Described {
    container: String,
    file_bytes: u64,
    video: VideoEntry,
    audio: Option<AudioEntry>,
    audio_tracks: usize,
    dropped_tracks: Vec<String>,
}

/// The one track of a file that has only pictures or only sound.
pub(crate) async fn read_track(file: &impl RangeRead) -> Result<Option<Track>> {
    let index = Moov::read(file).await?;
    let (mvhd, mut outlines) = outlines(&index)?;
    if let Some(video) = take_track(&mut outlines, *b"vide") {
        return Ok(Some(video.video(mvhd.timescale, file.len())?.0));
    }
    let audio = take_track(&mut outlines, *b"soun");
    audio
        .map(|audio| audio.audio(mvhd.timescale, file.len()))
        .transpose()
        .map(|audio| audio.map(|(track, _)| track))
}

fn outlines(index: &Moov) -> Result<(Mvhd, Vec<TrackHeader>)> {
    let mvhd: Mvhd = decode(&require(&index.body, *b"mvhd")?)?;
    if mvhd.timescale == 0 {
        return Err(damaged("the movie's timescale is zero"));
    }
    let mut outlines = Vec::new();
    for child in children(index.body.clone()) {
        let child = child?;
        if &child.kind == b"trak" {
            outlines.push(TrackHeader::read(&child)?);
        }
    }
    Ok((mvhd, outlines))
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

/// Takes the track of `handler` that players choose: the first that is enabled, or else the first.
fn take_track(outlines: &mut Vec<TrackHeader>, handler: FourCC) -> Option<TrackHeader> {
    let enabled = outlines
        .iter()
        .position(|outline| outline.is(handler) && outline.enabled);
    let chosen = enabled.or_else(|| outlines.iter().position(|outline| outline.is(handler)))?;
    Some(outlines.remove(chosen))
}

/// The error for a source without a video track that can be cut.
#[must_use]
pub fn no_video(has_sound: bool) -> Error {
    Error::unsupported(if has_sound {
        "the source has no video: it is audio only"
    } else {
        "the source has no video track with frames"
    })
}

/// What a pass over all frames finds.
#[derive(Debug, Default)]
struct Survey {
    shown: u64,
    /// When the first of all frames is shown, were there no edit.
    earliest: i64,
    first: Option<i64>,
    last: Option<Frame>,
    end: i64,
    shortest: u32,
    longest: u32,
}

impl Survey {
    fn of(video: &Track) -> Result<Self> {
        let mut survey = Self {
            shortest: u32::MAX,
            earliest: i64::MAX,
            ..Self::default()
        };
        let count = video.samples.count;
        for frame in video.samples.frames()? {
            // Writers put anything into the last duration.
            if frame.index + 1 < count {
                survey.shortest = survey.shortest.min(frame.duration);
                survey.longest = survey.longest.max(frame.duration);
            }
            survey.earliest = survey.earliest.min(frame.time);
            if !video.edit_segment.shows(frame.time) {
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
        Ok(survey)
    }

    /// Where the last frame ends: with the edit, which alone knows it where frames are reordered and last differently
    /// long; but an edit that goes on for longer than any frame lasts, and than all of them, does not stretch it.
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

    fn pictures(&self) -> Result<Pictures> {
        match (self.first, self.last) {
            (Some(start), Some(last)) if self.end > start => Ok(Pictures {
                start,
                end: self.end,
                last_duration: last.duration,
            }),
            _ => Err(Error::unsupported("the source shows no frame of its video")),
        }
    }

    fn is_constant(&self) -> bool {
        self.longest <= self.shortest || (self.shortest >= 10 && self.longest - self.shortest == 1)
    }
}

fn video_facts(
    video: &Track,
    entry: &VideoEntry,
    survey: &Survey,
    pictures: Pictures,
    origin: Time,
) -> VideoFacts {
    let (coded_width, coded_height) = (u32::from(entry.width), u32::from(entry.height));
    let rotation_degrees = rotation(&video.tkhd.matrix);
    let shown = shown_size(video, entry);
    let [width, height] = if rotation_degrees.is_multiple_of(180) {
        shown
    } else {
        [shown[1], shown[0]]
    };
    let duration = Time {
        ticks: pictures.end - pictures.start,
        timescale: video.edit_segment.timescale,
    };
    VideoFacts {
        codec: entry.codec.clone(),
        coded_width,
        coded_height,
        width,
        height,
        rotation_degrees,
        frame_rate: per_second(survey.shown, duration),
        constant_frame_rate: survey.is_constant(),
        timescale: video.edit_segment.timescale,
        frames: survey.shown,
        start_seconds: video
            .edit_segment
            .presentation(pictures.start)
            .seconds_since(origin),
        duration_seconds: duration.seconds(),
        bit_rate: bit_rate(video),
    }
}

/// The picture's size before it is turned. As `FFmpeg` does, the pixels' aspect is believed before the track's header,
/// which some cameras fill with the coded size, and that before the stream.
fn shown_size(video: &Track, entry: &VideoEntry) -> [u32; 2] {
    let (width, height) = (u32::from(entry.width), u32::from(entry.height));
    let header = [video.tkhd.width.integer(), video.tkhd.height.integer()].map(u32::from);
    let no_size =
        video.tkhd.size_is_aspect_ratio || header.contains(&0) || header == [width, height];
    match entry
        .pixel_aspect
        .or(entry.stream_aspect.filter(|_| no_size))
    {
        Some((pixel_width, pixel_height)) => {
            let wide = u64::from(width) * u64::from(pixel_width) / u64::from(pixel_height);
            [u32::try_from(wide).unwrap_or(width), height]
        }
        None if no_size => [width, height],
        None => header,
    }
}

fn audio_facts(audio: &Track, entry: &AudioEntry, tracks: usize) -> AudioFacts {
    AudioFacts {
        codec: entry.codec.clone(),
        channels: entry.channels,
        sample_rate: if entry.sample_rate == 0 {
            audio.edit_segment.timescale
        } else {
            entry.sample_rate
        },
        bit_rate: bit_rate(audio),
        tracks,
    }
}

/// When a sound track starts and ends, on the movie's timeline.
fn sound_extent(audio: &Track) -> (Time, Time) {
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

#[expect(clippy::cast_precision_loss, reason = "a rate for people and for JSON")]
fn per_second(count: u64, duration: Time) -> f64 {
    count as f64 / duration.seconds()
}

fn bit_rate(track: &Track) -> u64 {
    let bits = u128::from(track.samples.bytes(0..track.samples.count))
        * 8
        * u128::from(track.edit_segment.timescale);
    let duration = u128::try_from(track.samples.duration).unwrap_or(0).max(1);
    u64::try_from(bits / duration).unwrap_or(u64::MAX)
}

/// How far a display matrix turns the picture clockwise, to the nearest quarter turn. A mirrored picture counts as not
/// mirrored.
fn rotation(matrix: &Matrix) -> u16 {
    if matrix.a.unsigned_abs() >= matrix.b.unsigned_abs() {
        if matrix.a < 0 && matrix.d < 0 { 180 } else { 0 }
    } else if matrix.b > 0 {
        90
    } else {
        270
    }
}
