//! The requests: clips of several kinds of sources, by both engines, and some that are rejected.

use fastrand::Rng;
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};
use tests::{Stack, recording_key};

/// The sources: name, pictures, and how they are encoded.
const SOURCES: [(&str, &str, &str); 7] = [
    ("chaos.mp4", PICTURES, "-c:v libx264 -g 25 -c:a aac"),
    ("chaos.ts", PICTURES, "-c:v libx264 -g 25 -c:a aac"),
    ("chaos.mkv", PICTURES, "-c:v libx264 -g 25 -c:a aac"),
    (
        "chaos-fragments.mp4",
        PICTURES,
        "-c:v libx264 -g 25 -c:a aac -movflags +frag_keyframe+delay_moov",
    ),
    (
        "chaos.webm",
        PICTURES,
        "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -c:a libopus",
    ),
    // Noise: three seconds of it are uploaded in parts.
    (
        "chaos-large.mp4",
        "color=gray:size=480x270:rate=25:duration=12,noise=alls=100:allf=t+u",
        "-c:v libx264 -preset ultrafast -qp 0 -g 25 -c:a aac",
    ),
    // With one keyframe, so that exact cuts are encoded whole: by MediaConvert if they are long.
    (
        "chaos-long.mp4",
        "testsrc2=size=160x90:rate=10:duration=30",
        "-c:v libx264 -g 1000 -sc_threshold 0 -c:a aac",
    ),
];
const PICTURES: &str = "testsrc2=size=320x180:rate=25:duration=12";
/// The length of all sources except the long one, in tenths of a second.
const SOURCE_TENTHS: u32 = 120;
/// The length of each of the camera's four recordings, in seconds.
const RECORDING_SECONDS: u32 = 5;

/// The kinds of requests, each as often as it should occur.
const KINDS: [Kind; 20] = [
    Kind::Cut("chaos.mp4", "copy"),
    Kind::Cut("chaos.mp4", "copy"),
    Kind::Cut("chaos.mp4", "exact"),
    Kind::Cut("chaos.mp4", "exact"),
    Kind::Cut("chaos.ts", "copy"),
    Kind::Cut("chaos.ts", "exact"),
    Kind::Cut("chaos.mkv", "copy"),
    Kind::Cut("chaos.mkv", "exact"),
    Kind::Cut("chaos-fragments.mp4", "copy"),
    Kind::Cut("chaos-fragments.mp4", "exact"),
    Kind::Cut("chaos.webm", "exact"),
    Kind::Cut("chaos-large.mp4", "copy"),
    Kind::Joined,
    Kind::Camera,
    Kind::Camera,
    Kind::Long,
    Kind::Long,
    Kind::Invalid,
    Kind::Missing,
    Kind::OutOfRange,
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One cut of a source, made in one way.
    Cut(&'static str, &'static str),
    /// Two cuts of different sources.
    Joined,
    /// A camera's recordings.
    Camera,
    /// A clip for `MediaConvert`.
    Long,
    /// A request that is always invalid.
    Invalid,
    /// A missing source.
    Missing,
    /// An interval beyond the source's end.
    OutOfRange,
}

/// How a request must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Available,
    Rejected(&'static str),
}

/// A request and how it must end, no matter how often it is sent.
#[derive(Debug)]
pub struct Case {
    pub clip_id: String,
    pub request: Value,
    pub expected: Expected,
    /// How often it is sent.
    pub copies: usize,
}

/// Makes the sources and `count` requests, with clip ids that begin with `run`.
pub async fn make(stack: &Stack, random: &mut Rng, run: &str, count: usize) -> Vec<Case> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, pictures, options) in SOURCES {
        source(stack, folder.path(), (name, name), pictures, options).await;
    }
    let began_ms = record(stack, folder.path(), run).await;
    let mut kinds = Vec::new();
    while kinds.len() < count {
        let mut all = KINDS;
        random.shuffle(&mut all);
        kinds.extend(all);
    }
    let cases = kinds.into_iter().take(count).enumerate();
    cases
        .map(|(index, kind)| case(stack, random, format!("{run}-{index}"), kind, began_ms))
        .collect()
}

async fn source(
    stack: &Stack,
    folder: &Path,
    (name, key): (&str, &str),
    pictures: &str,
    options: &str,
) {
    let file = folder.join(name);
    let sound = "sine=frequency=440:sample_rate=48000";
    let inputs = ["-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", sound];
    let options: Vec<_> = options.split(' ').chain(["-shortest"]).collect();
    stack.ffmpeg(&[&inputs[..], &options, &[file.to_str().expect("UTF-8")]].concat());
    stack.upload(key, &file).await;
}

/// Makes a camera's recordings; returns when they begin, in milliseconds since 1970.
async fn record(stack: &Stack, folder: &Path, camera: &str) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = i64::try_from(now.expect("after 1970").as_millis()).expect("this century");
    let began_ms = now_ms - 60_000;
    let pictures = format!("testsrc2=size=320x180:rate=25:duration={RECORDING_SECONDS}");
    for number in 0..4 {
        let key = recording_key(
            camera,
            began_ms + number * i64::from(RECORDING_SECONDS) * 1000,
        );
        let options = "-c:v libx264 -g 25 -c:a aac";
        source(stack, folder, ("recording.mp4", &key), &pictures, options).await;
    }
    began_ms
}

fn case(stack: &Stack, random: &mut Rng, clip_id: String, kind: Kind, began_ms: i64) -> Case {
    let start = random.u32(0..SOURCE_TENTHS - 50);
    let interval = [start, start + random.u32(10..50)].map(seconds);
    let of = |key: &str, [start, end]: &[Value; 2]| stack.request(&clip_id, key, start, end);
    let mut expected = Expected::Available;
    let mut request = match kind {
        Kind::Cut(key, cut) => {
            let mut request = of(key, &interval);
            request["cut"] = json!(cut);
            request
        }
        Kind::Joined => joined(stack, &clip_id, &interval),
        Kind::Camera => {
            let at = began_ms + i64::from(start) * 100;
            json!({"clipId": clip_id, "cameraId": camera_of(&clip_id), "startTimestampInMs": at,
                "endTimestampInMs": at + 6_000})
        }
        Kind::Long => of("chaos-long.mp4", &[json!(1), json!(random.u32(23..29))]),
        Kind::Invalid => {
            expected = Expected::Rejected("InvalidRequest");
            let [start, end] = interval;
            of("chaos.mp4", &[end, start])
        }
        Kind::Missing => {
            expected = Expected::Rejected("SourceNotFound");
            of("chaos-missing.mp4", &interval)
        }
        Kind::OutOfRange => {
            expected = Expected::Rejected("OutOfRange");
            of("chaos.mp4", &[json!(100), json!(101)])
        }
    };
    request["output"] = json!({"thumbnails": [64]});
    if matches!(kind, Kind::Long) {
        let events = ["usual", "duplicated", "reordered"][random.usize(0..3)];
        if events != "usual" {
            stack.behave(&clip_id, json!({"events": events}));
        }
    }
    Case {
        request,
        expected,
        copies: random.usize(1..=3),
        clip_id,
    }
}

fn joined(stack: &Stack, clip_id: &str, [start, end]: &[Value; 2]) -> Value {
    let cut = |key: &str| json!({"source": {"bucket": stack.description.source_bucket, "key": key}, "start": start, "end": end});
    json!({"clipId": clip_id, "segments": [cut("chaos.mp4"), cut("chaos.mkv")]})
}

/// Tenths of a second as seconds, in canonical JSON.
fn seconds(tenths: u32) -> Value {
    if tenths.is_multiple_of(10) {
        json!(tenths / 10)
    } else {
        json!(f64::from(tenths) / 10.0)
    }
}

/// The camera of a run: the prefix of its clips' ids.
fn camera_of(clip_id: &str) -> &str {
    clip_id.rsplit_once('-').map_or(clip_id, |(run, _)| run)
}
