//! Clips by wall-clock time from cameras' recordings, on the local stack.
//!
//! A camera takes ten pictures per second whose brightness encodes their number, and its recordings are pieces of that.
//! So a clip's pictures reveal which clock times it shows, however the recordings are divided.

use futures::future::join_all;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use tests::{Ended, Stack, eventually, recording_key};

/// The states of a delivered clip.
const ACCEPTED: [&str; 8] = [
    "Validate",
    "Probe",
    "ChooseEngine",
    "Trim",
    "Verify",
    "Thumbnail",
    "Store",
    "Notify",
];

/// A camera and when it took its first picture, in milliseconds since 1970.
struct Camera<'a> {
    stack: &'a Stack,
    id: &'a str,
    began_ms: i64,
}

impl<'a> Camera<'a> {
    /// A camera that took its first picture `seconds_ago` seconds ago.
    fn new(stack: &'a Stack, id: &'a str, seconds_ago: i64) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_millis();
        Self {
            stack,
            id,
            began_ms: i64::try_from(now).expect("this century") - seconds_ago * 1000,
        }
    }

    /// Records the tenths of a second from `first` (inclusive) to `end` (exclusive).
    async fn record(&self, folder: &Path, first: u32, end: u32) {
        let file = folder.join(format!("{first}.mp4"));
        let start_ms = self.began_ms + i64::from(first) * 100;
        let seconds = f64::from(end - first) / 10.0;
        let picture = format!(
            "color=black:size=160x90:rate=10:duration={seconds},geq=lum='16+mod((N+{first})*7\\,217)':cb=128:cr=128"
        );
        let sound = format!("sine=frequency=440:duration={seconds}:sample_rate=48000");
        let inputs = ["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound];
        let codecs = [
            "-c:v", "libx264", "-preset", "veryfast", "-crf", "10", "-g", "10", "-pix_fmt",
            "yuv420p",
        ];
        self.stack
            .ffmpeg(&[&inputs[..], &codecs, &[file.to_str().expect("UTF-8")]].concat());
        let key = recording_key(self.id, start_ms);
        self.stack.upload(&key, &file).await;
    }

    /// A request for the tenths of a second from `first` (inclusive) to `end` (exclusive).
    fn request(&self, clip_id: &str, first: i64, end: i64) -> Value {
        let at = |tenth: i64| self.began_ms + tenth * 100;
        json!({"clipId": clip_id, "cameraId": self.id, "startTimestampInMs": at(first),
            "endTimestampInMs": at(end).to_string(), "output": {"thumbnails": [64, 300]}})
    }

    fn interval(&self, first: i64, end: i64) -> Value {
        let at = |tenth: i64| self.began_ms + tenth * 100;
        json!({"startTimestampInMs": at(first), "endTimestampInMs": at(end)})
    }
}

/// Downloads the clip of an outcome, and checks which tenths of a second it shows.
async fn shows(
    stack: &Stack,
    ended: &Ended,
    folder: &Path,
    tenths: impl Iterator<Item = u32>,
) -> PathBuf {
    assert_eq!(
        (ended.status.as_str(), ended.output["status"].as_str()),
        ("SUCCEEDED", Some("available")),
        "{ended:?}"
    );
    let file = folder.join(format!(
        "{}.mp4",
        ended.output["clipId"].as_str().expect("a clipId")
    ));
    stack
        .download(ended.output["clip"]["key"].as_str().expect("a key"), &file)
        .await;
    let wanted: Vec<_> = tenths
        .map(|tenth| u8::try_from(16 + tenth * 7 % 217).expect("below 233"))
        .collect();
    let found = stack.brightness(&file);
    let same = found.len() == wanted.len()
        && found
            .iter()
            .zip(&wanted)
            .all(|(one, other)| one.abs_diff(*other) < 3);
    assert!(
        same,
        "{}: {found:?} and not {wanted:?}",
        ended.output["clipId"]
    );
    file
}

fn rejection(ended: &Ended) -> (&str, &str) {
    let text = |field: &str| {
        ended.output[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field}: {ended:?}"))
    };
    assert_eq!(text("status"), "rejected");
    (text("reason"), text("message"))
}

#[tokio::test]
async fn clip_across_recordings_is_joined_and_a_gap_is_told() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let camera = Camera::new(&stack, "e2e.north/shore.1", 60);
    let other = Camera {
        id: "e2e.north/shore.1/other",
        ..camera
    };
    camera.record(folder.path(), 0, 30).await;
    camera.record(folder.path(), 30, 60).await;
    camera.record(folder.path(), 80, 100).await;
    other.record(folder.path(), 31, 95).await;

    let with = |clip_id: &str, first, end, field: &str, value: Value| {
        let mut request = camera.request(clip_id, first, end);
        request[field] = value;
        request
    };
    let across = camera.request("e2e-across", 22, 41);
    let copied = with("e2e-across-copied", 22, 41, "cut", json!("copy"));
    let gap = with("e2e-gap-partial", 50, 90, "coverage", json!("partial"));
    let early = with("e2e-early-partial", -20, 10, "coverage", json!("partial"));
    let refused = [
        (
            camera.request("e2e-gap-complete", 50, 90),
            "IncompleteCoverage",
            "e2e.north/shore.1 has no recording of 20",
        ),
        (
            camera.request("e2e-gap-only", 62, 70),
            "IncompleteCoverage",
            "has no recording of",
        ),
        (
            with("e2e-gap-nothing", 62, 70, "coverage", json!("partial")),
            "SourceNotFound",
            "has no recording of",
        ),
        (
            camera.request("e2e-old", -2_592_010, -2_592_000),
            "OutOfRange",
            "is older than the 72 h",
        ),
        (
            camera.request("e2e-too-long", -110_000, 0),
            "TooLong",
            "endTimestampInMs: the clip lasts 11000.0 s",
        ),
    ];
    let all = [&across, &copied, &gap, &early]
        .into_iter()
        .chain(refused.iter().map(|(request, ..)| request));
    join_all(all.map(async |request| stack.send(&request.to_string()).await)).await;

    let ended = stack.ended(&across).await;
    assert_eq!(ended.states, ACCEPTED);
    shows(&stack, &ended, folder.path(), 22..41).await;
    let outcome = &ended.output;
    let why = outcome["engine"]["why"].as_str().expect("a reason");
    assert!(why.contains("; smart cut: "), "{why}");
    assert_eq!(outcome["cameraId"], "e2e.north/shore.1");
    assert_eq!(outcome["startTimestampInMs"], across["startTimestampInMs"]);
    assert_eq!(
        outcome["endTimestampInMs"].to_string(),
        across["endTimestampInMs"].as_str().expect("text")
    );
    assert_eq!(
        outcome["delivered"]["coverage"],
        json!({"covered": [camera.interval(22, 41)], "missing": []})
    );
    let thumbnail = &outcome["thumbnail"];
    assert_eq!(thumbnail["sizes"], json!([64, 160]));
    for (size, one) in [64, 160]
        .into_iter()
        .zip(outcome["thumbnails"].as_array().expect("thumbnails"))
    {
        for field in ["key", "url"] {
            let text = thumbnail[field].as_str().expect("text");
            assert_eq!(
                text.replace("{size}", &format!("{size}")),
                one[field].as_str().expect("text")
            );
        }
    }
    let clip = &outcome["clip"];
    let mut public = ureq::get(clip["url"].as_str().expect("a URL"))
        .call()
        .expect("the public finds the clip");
    assert_eq!(
        public.body_mut().read_to_vec().expect("the clip").len() as u64,
        clip["bytes"].as_u64().expect("bytes")
    );
    let notification = stack.notification("e2e-across").await;
    assert_eq!(notification["Message"], *outcome);
    assert_eq!(
        notification["MessageAttributes"]["cameraId"]["Value"],
        "e2e.north/shore.1"
    );
    let document = stack.document("e2e-across").await.expect("a document");
    assert_eq!(document.get_str("cameraId").ok(), Some("e2e.north/shore.1"));

    shows(&stack, &stack.ended(&copied).await, folder.path(), 22..41).await;

    let ended = stack.ended(&gap).await;
    shows(&stack, &ended, folder.path(), (50..60).chain(80..90)).await;
    let covered = [camera.interval(50, 60), camera.interval(80, 90)];
    let coverage = json!({"covered": covered, "missing": [camera.interval(60, 80)]});
    assert_eq!(ended.output["delivered"]["coverage"], coverage);

    let ended = stack.ended(&early).await;
    shows(&stack, &ended, folder.path(), 0..10).await;
    assert_eq!(
        ended.output["delivered"]["coverage"]["missing"],
        json!([camera.interval(-20, 0)])
    );

    for (request, reason, message) in &refused {
        let ended = stack.ended(request).await;
        assert_eq!(
            ended.states,
            ["Validate", "Probe", "Store", "Notify"],
            "{ended:?}"
        );
        let (found, text) = rejection(&ended);
        assert_eq!((found, text.contains(message)), (*reason, true), "{text}");
        assert_eq!(ended.output["cameraId"], "e2e.north/shore.1");
    }
}

#[tokio::test]
async fn overlapping_recordings_show_no_frame_twice_and_a_long_one_is_found() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let camera = Camera::new(&stack, "e2e-overlap", 300);
    camera.record(folder.path(), 0, 50).await;
    camera.record(folder.path(), 30, 80).await;
    // Other recordings exist, but not the one of the window's end.
    camera.record(folder.path(), 1000, 1900).await;
    camera.record(folder.path(), 1200, 1210).await;
    camera.record(folder.path(), 1300, 1310).await;
    let logo = folder.path().join("logo.png");
    let mut encoder = png::Encoder::new(std::fs::File::create(&logo).expect("a file"), 8, 8);
    encoder.set_color(png::ColorType::Grayscale);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&[255; 64]))
        .expect("a picture");
    stack.upload("brand/e2e-camera.png", &logo).await;
    let (overlap, mut long) = (
        camera.request("e2e-overlap", 40, 60),
        camera.request("e2e-long", 1800, 1815),
    );
    long["edits"] = json!({"mute": true, "watermark": {"key": "brand/e2e-camera.png"}});
    join_all([&overlap, &long].map(async |request| stack.send(&request.to_string()).await)).await;
    shows(&stack, &stack.ended(&overlap).await, folder.path(), 40..60).await;
    let ended = stack.ended(&long).await;
    let clip = shows(&stack, &ended, folder.path(), 1800..1815).await;
    assert_eq!(
        stack.ffprobe(&clip)["streams"].as_array().map(Vec::len),
        Some(1),
        "it is muted"
    );
}

#[tokio::test]
async fn recording_that_is_not_there_yet_is_waited_for() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let camera = Camera::new(&stack, "e2e-future", 5);
    camera.record(folder.path(), 0, 20).await;
    let awaited = camera.request("e2e-future", 15, 30);
    let mut partial = camera.request("e2e-never-partial", 15, 90);
    partial["coverage"] = json!("partial");
    let never = Camera {
        id: "e2e-never",
        ..camera
    }
    .request("e2e-never", 0, 10);
    join_all(
        [&awaited, &partial, &never].map(async |request| stack.send(&request.to_string()).await),
    )
    .await;
    // The recording arrives after the first attempt has not found it.
    let arn = stack.execution_arn(&awaited);
    eventually("a look that does not find the recording", async || {
        let history = stack
            .sfn
            .get_execution_history()
            .execution_arn(&arn)
            .send()
            .await
            .ok()?;
        let failures = history
            .events
            .into_iter()
            .filter_map(|event| event.task_failed_event_details?.error);
        failures.filter(|error| error == "SourceNotReady").nth(1)
    })
    .await;
    camera.record(folder.path(), 20, 40).await;
    let ended = stack.ended(&awaited).await;
    assert_eq!(ended.states, ACCEPTED);
    shows(&stack, &ended, folder.path(), 15..30).await;

    let ended = stack.ended(&never).await;
    assert_eq!(
        ended.states,
        ["Validate", "Probe", "Probe", "Store", "Notify"]
    );
    let (reason, message) = rejection(&ended);
    assert_eq!(
        (reason, message.contains("e2e-never has no recording of")),
        ("SourceNotFound", true),
        "{message}"
    );

    let ended = stack.ended(&partial).await;
    shows(&stack, &ended, folder.path(), 15..40).await;
    assert_eq!(
        ended.output["delivered"]["coverage"]["missing"],
        json!([camera.interval(40, 90)])
    );
}
