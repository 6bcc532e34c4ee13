//! Reads a `WebM` clip. Only its blocks reveal how many frames it has, so it is read whole.

use crate::found::{AUDIO_TOLERANCE_SECONDS, Found};
use aws::source::S3Source;
use ffmpeg::scratch::Scratch;
use matroska_demuxer::{DisplayUnit, Frame, MatroskaFile, TrackEntry, TrackType, Video};
use model::{ClipError, clip_spec::Size};
use mp4_cut::{ShownFrame, io::LocalFile};
use std::{fmt::Display, fs::File, io::BufReader, num::NonZeroU64, path::Path};

/// Reads the clip `object` into a file, which must fit into `scratch_bytes`, and returns what the clip is and the file.
///
/// # Errors
/// `UnsupportedMedia` if it is not a `WebM` with video; any error from S3; `TrimBudgetExceeded` if it is too long.
pub async fn read(
    object: &S3Source,
    scratch: &Scratch,
    scratch_bytes: u64,
) -> Result<(Found, LocalFile), ClipError> {
    Scratch::check(object.object().bytes, scratch_bytes)?;
    scratch.save("clip.webm", object.stream()).await?;
    let path = scratch.file("clip.webm");
    let file = LocalFile::open(&path)?;
    let found = tokio::task::spawn_blocking(move || found(&path)).await;
    let found = found.map_err(|error| ClipError::internal(format!("reading the clip: {error}")))?;
    Ok((found?, file))
}

fn unreadable(what: impl Display) -> ClipError {
    ClipError::unsupported_media(format!("the clip is no WebM: {what}"))
}

fn found(path: &Path) -> Result<Found, ClipError> {
    let file = File::open(path)
        .map_err(|error| ClipError::internal(format!("opening the clip: {error}")))?;
    let mut file = MatroskaFile::open(BufReader::new(file)).map_err(unreadable)?;
    let track = |kind| {
        file.tracks()
            .iter()
            .find(|track| track.track_type() == kind)
    };
    let video_track = track(TrackType::Video).ok_or_else(|| unreadable("it has no video"))?;
    let video = video_track
        .video()
        .ok_or_else(|| unreadable("its video has no size"))?;
    let size = shown_size(video);
    let video_codec = codec(video_track);
    let audio_codec = track(TrackType::Audio).map(codec);
    let audio_tracks = file
        .tracks()
        .iter()
        .filter(|track| track.track_type() == TrackType::Audio)
        .count();
    let number = video_track.track_number().get();
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a tick")]
    let tick_seconds = file.info().timestamp_scale().get() as f64 / 1e9;
    let seconds = file.info().duration().unwrap_or(0.0) * tick_seconds;
    let shown = shown_frames(&mut file, number, tick_seconds)?;
    Ok(Found {
        size,
        start_seconds: shown.first().map_or(0.0, |first| first.seconds),
        shown,
        leads: Vec::new(),
        frames_behind: 0,
        seconds,
        imprecision_seconds: AUDIO_TOLERANCE_SECONDS,
        excess_seconds: 0.0,
        video_codec,
        pixels: None,
        audio_codec,
        audio_tracks,
    })
}

/// The frames that are shown of the track `number`.
fn shown_frames(
    file: &mut MatroskaFile<BufReader<File>>,
    number: u64,
    tick_seconds: f64,
) -> Result<Vec<ShownFrame>, ClipError> {
    let mut shown = Vec::new();
    let mut frame = Frame::default();
    while file.next_frame(&mut frame).map_err(unreadable)? {
        if frame.track == number && !frame.is_invisible {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
            let seconds = frame.timestamp as f64 * tick_seconds;
            shown.push(ShownFrame {
                seconds,
                media_seconds: seconds,
                is_keyframe: frame.is_keyframe == Some(true),
            });
        }
    }
    Ok(shown)
}

/// The size in which pictures are shown: their own, unless the file declares another one in pixels (RFC 9559,
/// 5.1.4.1.28.8).
fn shown_size(video: &Video) -> Size {
    let in_pixels = matches!(video.display_unit(), None | Some(DisplayUnit::Pixels));
    let shown = |named: Option<NonZeroU64>, stored: NonZeroU64| {
        let pixels = named.filter(|_| in_pixels).unwrap_or(stored);
        u32::try_from(pixels.get()).unwrap_or(u32::MAX)
    };
    Size {
        width: shown(video.display_width(), video.pixel_width()),
        height: shown(video.display_height(), video.pixel_height()),
    }
}

/// `FFmpeg`'s name of a track's codec, for those that clips have.
fn codec(track: &TrackEntry) -> String {
    match track.codec_id() {
        "V_VP9" => "vp9".to_owned(),
        "A_OPUS" => "opus".to_owned(),
        other => other.to_owned(),
    }
}
