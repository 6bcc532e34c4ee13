//! Clips that are encoded whole.

use crate::{
    common::{
        source::clip_of_request,
        synthetic::{Edit, Sample, Shape, Track},
    },
    lines,
};
use bytes::Bytes;
use ffmpeg::encode;
use futures::executor::block_on;
use mp4_cut::Movie;

/// Cuts, each with its source. There are two sources; the second is silent, half as large and has another rate.
type Cuts = &'static [(usize, f64, f64)];

const ONE: Cuts = &[(0, 0.5, 1.5)];
const SEVERAL: Cuts = &[(0, 0.5, 1.5), (1, 0.0, 2.0)];

/// Name, request and cuts of each clip.
pub const ALL: [(&str, &str, Cuts); 11] = [
    ("plain", "{}", ONE),
    ("webm", r#"{"format": "webm", "quality": "high"}"#, ONE),
    ("hevc", r#"{"format": "hevc", "quality": "low"}"#, ONE),
    ("mute", r#"{"edits": {"mute": true}}"#, ONE),
    ("faster", r#"{"edits": {"speed": 3}}"#, ONE),
    (
        "slower",
        r#"{"edits": {"speed": 0.25, "fade": {"in": 0.5, "out": 1}}}"#,
        ONE,
    ),
    (
        "resized",
        r#"{"edits": {"rotate": 90, "crop": {"x": 10, "y": 20, "width": 100, "height": 200},
            "resize": {"width": 64, "height": 64, "fit": "cover"}}}"#,
        ONE,
    ),
    (
        "watermark",
        r#"{"edits": {"watermark": {"key": "logo.png", "position": "bottom-right", "opacity": 0.5}}}"#,
        ONE,
    ),
    ("another_rate", r#"{"frameRate": 23.976}"#, ONE),
    ("several", "{}", SEVERAL),
    (
        "several_edited",
        r#"{"edits": {"speed": 2, "rotate": 180, "fade": {"out": 0.5}}}"#,
        SEVERAL,
    ),
];

/// Two seconds of a source.
fn source(timescale: u32, frame: u32, has_sound: bool) -> Bytes {
    let sample = |duration| Sample {
        bytes: 100,
        duration,
        offset: 0,
        sync: true,
    };
    let track = |is_video, timescale, duration| Track {
        is_video,
        timescale,
        samples: vec![sample(duration); (2 * timescale / duration) as usize],
        samples_per_chunk: 5,
        edit: Some(Edit {
            empty: 0,
            media_time: 0,
        }),
    };
    let mut tracks = vec![track(true, timescale, frame)];
    if has_sound {
        tracks.push(track(false, 48_000, 1000));
    }
    let shape = Shape {
        tracks,
        gap: 0,
        wide_offsets: false,
    };
    shape.file().into()
}

/// The arguments with which the clip of a request is made.
pub fn arguments(request: &str, cuts: Cuts) -> String {
    let files = [source(30_000, 1000, true), source(25, 1, false)];
    let movies = files.map(|file| block_on(Movie::read(&file)).expect("a source"));
    let windows: Vec<_> = cuts
        .iter()
        .map(|(source, start, end)| {
            (
                *source,
                movies[*source].window(*start, *end).expect("a window"),
            )
        })
        .collect();
    let facts: Vec<_> = windows
        .iter()
        .map(|(source, window)| (*source, window.facts.clone()))
        .collect();
    let request = serde_json::from_str(request).expect("JSON");
    let sources = movies.each_ref().map(|movie| &movie.facts);
    let (request, spec) = clip_of_request(&sources, &facts, &request);
    let arguments = encode::arguments(request.look(), &spec, &windows[0].1);
    lines(
        arguments
            .into_iter()
            .map(|argument| argument.into_string().expect("text")),
    )
}
