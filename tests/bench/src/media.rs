//! What `FFmpeg` sees in a file: its frames as small pictures, their times, its audio, and where samples are.

use crate::Outcome;
use serde_json::Value;
use std::{path::Path, process::Command};

/// Size of the pictures in which frames are compared, in pixels.
const PICTURE: usize = 160 * 90;
/// Sample rate in which audio is compared.
const SOUND_RATE: usize = 16_000;

/// Runs `ffmpeg` to its end and returns what it wrote to standard output.
///
/// # Errors
/// If it fails, with its output.
pub fn ffmpeg(arguments: &[&str]) -> Outcome<Vec<u8>> {
    run(
        "ffmpeg",
        &[&["-nostdin", "-v", "error", "-y"], arguments].concat(),
    )
}

fn run(program: &str, arguments: &[&str]) -> Outcome<Vec<u8>> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!(
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into())
    }
}

fn text(file: &Path) -> Outcome<&str> {
    Ok(file.to_str().ok_or("a path is not UTF-8")?)
}

/// Every frame that is shown, as a small grey picture.
///
/// # Errors
/// If the file cannot be decoded.
pub fn pictures(file: &Path) -> Outcome<Vec<Vec<u8>>> {
    let filter = "scale=160:90:flags=area,format=gray";
    let raw = ffmpeg(&[
        "-i",
        text(file)?,
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-vf",
        filter,
        "-f",
        "rawvideo",
        "-",
    ])?;
    Ok(raw.chunks_exact(PICTURE).map(<[u8]>::to_vec).collect())
}

/// The index of the picture in `pictures` that is most like `picture`.
#[must_use]
pub fn nearest(picture: &[u8], pictures: &[Vec<u8>]) -> usize {
    let distance = |other: &[u8]| -> u64 {
        picture
            .iter()
            .zip(other)
            .map(|(a, b)| u64::from(a.abs_diff(*b)) * u64::from(a.abs_diff(*b)))
            .sum()
    };
    let best = pictures
        .iter()
        .enumerate()
        .min_by_key(|(_, other)| distance(other));
    best.map_or(0, |(index, _)| index)
}

/// When each frame is shown, in seconds from the first picture or sound.
///
/// # Errors
/// If the file cannot be read.
pub fn times(file: &Path) -> Outcome<Vec<f64>> {
    let options = ["-v", "error", "-of", "json", "-select_streams", "v:0"];
    let entries = ["-show_entries", "frame=pts_time:format=start_time"];
    let told: Value = serde_json::from_slice(&run(
        "ffprobe",
        &[&options[..], &entries, &[text(file)?]].concat(),
    )?)?;
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
    let start = number(&told["format"]["start_time"]).unwrap_or(0.0);
    let frames = told["frames"].as_array().ok_or("ffprobe shows no frames")?;
    Ok(frames
        .iter()
        .filter_map(|frame| Some(number(&frame["pts_time"])? - start))
        .collect())
}

/// The audio from second 0 on, in one channel.
///
/// # Errors
/// If the file cannot be decoded.
pub fn sound(file: &Path) -> Outcome<Vec<f32>> {
    let filter = "aresample=16000:async=1:first_pts=0";
    let raw = ffmpeg(&[
        "-i",
        text(file)?,
        "-map",
        "0:a:0",
        "-af",
        filter,
        "-ac",
        "1",
        "-f",
        "f32le",
        "-",
    ])?;
    Ok(raw
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect())
}

/// How many milliseconds a clip's audio lags behind its source's: the lag at which they are most alike, within 50 ms in
/// both directions.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "short sounds"
)]
pub fn lag_ms(source: &[f32], clip: &[f32], start_seconds: f64) -> Option<f64> {
    let most = SOUND_RATE / 20;
    let at = (start_seconds * SOUND_RATE as f64).round() as usize;
    let length = SOUND_RATE.min(clip.len().checked_sub(2 * most)?);
    let piece = clip.get(most..most + length)?;
    let likeness = |lag: usize| -> Option<f64> {
        // The clip's sample `most` is the source's `at + most`, so a lag of `most` means no lag.
        let other = source.get((at + lag)..(at + lag + length))?;
        Some(
            piece
                .iter()
                .zip(other)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum(),
        )
    };
    let lags = (0..=2 * most).filter_map(|lag| Some((lag, likeness(lag)?)));
    let (lag, _) = lags.max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((most as f64 - lag as f64) * 1000.0 / SOUND_RATE as f64)
}

/// Bytes from the first to the last sample that an interval needs, including the previous keyframe, according to
/// `ffprobe`.
///
/// # Errors
/// If the file cannot be read.
pub fn span_bytes(file: &Path, start: f64, seconds: f64) -> Outcome<u64> {
    // A value after a plus counts from the keyframe, not from the start.
    let interval = format!("{start}%{}", start + seconds + 1.0);
    let options = [
        "-v",
        "error",
        "-of",
        "csv=p=0",
        "-read_intervals",
        &interval,
    ];
    let entries = ["-show_entries", "packet=pts_time,size,pos"];
    let told = String::from_utf8(run(
        "ffprobe",
        &[&options[..], &entries, &[text(file)?]].concat(),
    )?)?;
    let mut span: Option<(u64, u64)> = None;
    for line in told.lines() {
        let mut fields = line.split(',');
        let mut next = || fields.next().unwrap_or_default();
        let (time, size, position) = (
            next().parse::<f64>(),
            next().parse::<u64>(),
            next().parse::<u64>(),
        );
        if let (Ok(time), Ok(size), Ok(position)) = (time, size, position)
            && time < start + seconds
        {
            let (first, end) = span.unwrap_or((position, position));
            span = Some((first.min(position), end.max(position + size)));
        }
    }
    span.map(|(first, end)| end - first)
        .ok_or_else(|| "ffprobe shows no packet".into())
}
