//! What `FFmpeg` is told to read and remux of a source.

use model::{number, plan::Remuxed};
use mp4_cut::{Container, Facts};
use std::ffi::OsString;

/// The most bytes that `FFmpeg` looks at to find out what is in a source.
const PROBE_BYTES: &str = "2000000";

/// Drops packets with missing parts.
pub(super) const DISCARD_CORRUPT: [&str; 2] = ["-fflags", "+discardcorrupt"];

/// The options that remux the kept streams of a source, with its own timestamps, up to timestamp `to`.
pub(super) fn remux_arguments(
    facts: &Facts,
    remuxed: &Remuxed,
    to: Option<&str>,
    name: &str,
) -> Vec<OsString> {
    // Apple's players require hvc1: all parameter sets in the sample entry.
    let tag: &[&str] = if facts.video.codec == "hevc" {
        &["-tag:v", "hvc1"]
    } else {
        &[]
    };
    // By default, it gives up at a packet without its header.
    let unframed: &[&str] = match &facts.audio {
        Some(audio) if audio.codec == "aac" && remuxed.container == Container::MpegTs => {
            &["-bsf:a:0", "aac_adtstoasc"]
        }
        _ => &[],
    };
    let maps = remuxed
        .streams
        .iter()
        .flat_map(|stream| ["-map".to_owned(), format!("0:{stream}")])
        .map(OsString::from);
    let to = to.map_or_else(Vec::new, |to| vec!["-to", to]);
    let options = [
        &["-c", "copy"],
        tag,
        unframed,
        // A damaged packet spoils one picture, not the whole clip.
        &["-noxerror", "-copypriorss:v", "1"],
        &to,
        // Keeps the creation time.
        &["-map_metadata", "0", "-map_chapters", "-1"],
        // In microseconds, the excerpt's start is exact.
        &[
            "-movie_timescale",
            "1000000",
            "-strict",
            "unofficial",
            "-f",
            "mp4",
            name,
        ],
    ];
    maps.chain(options.concat().into_iter().map(OsString::from))
        .collect()
}

/// `FFmpeg`'s name of its reader.
pub(super) fn demuxer(container: Container) -> &'static str {
    match container {
        Container::MpegTs => "mpegts",
        Container::Matroska | Container::MatroskaWithoutCues => "matroska",
        Container::Avi => "avi",
        Container::Flv => "flv",
        Container::MpegPs => "mpeg",
    }
}

/// The options with which `FFmpeg` analyses this many microseconds of a source.
pub(super) fn look(microseconds: u32) -> Vec<String> {
    let microseconds = microseconds.to_string();
    let options = ["-probesize", PROBE_BYTES, "-analyzeduration", &microseconds];
    options.map(str::to_owned).to_vec()
}

/// How far before an interval reading begins. Matroska's cues lead to a keyframe.
pub(super) fn container_lead_seconds(container: Container) -> f64 {
    match container {
        Container::MpegTs => 2.5,
        _ => 0.0,
    }
}

/// The input options that keep the source's timestamps, except negative ones, which an MP4 cannot hold.
pub(super) fn read_on(remuxed: &Remuxed) -> Vec<String> {
    let later = format!(
        "{}us",
        remuxed.remuxed_start_microseconds() - remuxed.start_microseconds
    );
    let rest = [
        "-skip_estimate_duration_from_pts",
        "1",
        "-copyts",
        "-itsoffset",
        &later,
    ]
    .map(str::to_owned);
    look(remuxed.look_microseconds)
        .into_iter()
        .chain(rest)
        .collect()
}

/// The same input options, reading from a second on.
pub(super) fn read_from(remuxed: &Remuxed, seconds: f64) -> Vec<String> {
    let seek = ["-seek_timestamp", "1", "-ss"].map(str::to_owned);
    read_on(remuxed)
        .into_iter()
        .chain(seek)
        .chain([stamp(seconds, remuxed.start_microseconds)])
        .collect()
}

/// The timestamp, in `FFmpeg`'s notation, of a second of a source that starts at `start_microseconds`.
pub(super) fn stamp(seconds: f64, start_microseconds: i64) -> String {
    let microseconds = start_microseconds.saturating_add(number::signed(seconds * 1e6));
    format!("{microseconds}us")
}
