//! The result of a request: the document in `MongoDB`, the message on SNS and the execution's output.

use crate::{
    damage::Damaged,
    identity::Identity,
    recordings::{Coverage, is_camera_id},
    sent,
    timestamp::Timestamp,
};
use mp4_cut::PixelFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt::Display;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub clip_id: String,
    /// The requested camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera_id: Option<String>,
    /// The requested start within a camera's recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timestamp_in_ms: Option<Timestamp>,
    /// The requested end within a camera's recordings, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_timestamp_in_ms: Option<Timestamp>,
    /// Whether there is a clip.
    pub status: Status,
    /// The name of the error, if there is no clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is wrong, for people, if there is no clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where and how the execution failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The bucket of the clip, its thumbnails and its preview.
    pub bucket: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Object>,
    /// The thumbnails as one entry, for front ends that choose a size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<ThumbnailSizes>,
    /// The thumbnails, from small to large.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thumbnails: Vec<Thumbnail>,
    /// The animated picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Object>,
    /// The request as it was sent; absent if it is `null`, or exceeds the limits on size or depth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<Value>,
    /// What `verify` found in the clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Delivered>,
    /// What made the clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// The execution that made it.
    pub execution: Execution,
    /// From the request.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// When this was written, RFC 3339 in UTC.
    pub updated_at: String,
}

/// Whether there is a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// The clip was read back and is what was requested.
    Available,
    /// The request is at fault; a rerun cannot help.
    Rejected,
    /// Something else is at fault; rerun it once that is fixed.
    Failed,
}

impl Status {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// How an execution failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What kind of cause it had.
    pub class: FailureClass,
    /// The state that failed, which is where a redrive begins; absent if the execution ended between two states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The execution in the Step Functions console.
    pub console_url: String,
    /// The command that makes the clip once the cause is fixed.
    pub rerun_command: String,
}

/// What kind of cause a failure had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureClass {
    /// An AWS service or `MongoDB` throttled or was down for longer than we wait.
    Dependency,
    /// The clip could not be made, or is not what was requested.
    Media,
    /// A state or the whole execution took too long.
    Timeout,
    /// Somebody stopped the execution.
    Aborted,
    /// A bug, or a misconfigured deployment.
    Bug,
}

impl FailureClass {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dependency => "dependency",
            Self::Media => "media",
            Self::Timeout => "timeout",
            Self::Aborted => "aborted",
            Self::Bug => "bug",
        }
    }
}

/// An object that was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Its key in the outcome's bucket.
    pub key: String,
    /// Its public URL, if the deployment has a public base URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub bytes: u64,
    /// Its `ETag`, without quotes.
    pub etag: String,
}

/// A clip as `trim` passes it on.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MadeClip {
    #[serde(flatten)]
    pub object: Object,
    /// Damage that was found in its sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<Damaged>,
}

/// A thumbnail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Thumbnail {
    /// The requested width, in pixels.
    pub size: u32,
    /// Its key in the outcome's bucket.
    pub key: String,
    /// Its public URL, if the deployment has a public base URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// All thumbnails: `{size}` in key and URL stands for any of the sizes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThumbnailSizes {
    /// Their key in the outcome's bucket, with `{size}`.
    pub key: String,
    /// Their public URL, with `{size}`, if the deployment has a public base URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Their widths in pixels, ascending.
    pub sizes: Vec<u32>,
}

/// The name of the thumbnail of a size.
pub fn thumbnail_name(size: impl Display) -> String {
    format!("thumb-{size}.jpg")
}

/// What a delivered clip is.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivered {
    /// The first moment of the clip in its source, in seconds, on the source's frame grid.
    pub start: f64,
    /// The end of the clip in its source, exclusive, in seconds, on the source's frame grid.
    pub end: f64,
    /// What was cut from which source, in the order of the clip, if there are several intervals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<DeliveredSegment>,
    /// How long the clip plays.
    pub duration_seconds: f64,
    /// How many pictures it shows.
    pub frames: u64,
    /// Width in pixels as shown, after rotation.
    pub width: u32,
    /// Height in pixels as shown, after rotation.
    pub height: u32,
    /// For example `h264`.
    pub video_codec: String,
    /// For example `aac`; absent if the clip is silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_codec: Option<String>,
    /// How the clip's pixels are stored, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<PixelFormat>,
    /// How the pixels of its first source are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_pixels: Option<PixelFormat>,
    /// Which parts of a camera's window the clip shows, and which are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// How segments were converted to the first one's format, or their audio to a channel layout that the clip's codec
    /// has a number for, for people: one line for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conformed: Vec<String>,
    /// The damage in its sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<Damaged>,
    /// Why `verify` decoded none of it, or less than intended, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecoded: Option<String>,
    /// Tracks of the sources that the clip does not have, such as `time code` or `audio track 2`, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

/// One of several intervals of sources that a clip shows.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredSegment {
    /// The key of the recording, for a camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// Its first moment in its source, in seconds, on the source's frame grid.
    pub start: f64,
    /// Its end in its source, exclusive, in seconds, on the source's frame grid.
    pub end: f64,
}

/// What made a clip.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    pub name: EngineName,
    /// Why this one.
    pub why: String,
    /// What it was estimated to cost, in US dollars.
    pub estimate_usd: f64,
    /// What was copied and what was encoded, if `trim` made the clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutting: Option<Cutting>,
}

/// Which of a clip's pictures were copied, and which were encoded.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", tag = "method")]
pub enum Cutting {
    /// All were copied.
    Copy,
    /// Those in these intervals were encoded; the others were copied.
    SmartCut { encoded: Vec<Interval> },
    /// All were encoded.
    EncodedWhole,
}

/// An interval of a clip, in seconds; the end is exclusive.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    pub start_seconds: f64,
    pub end_seconds: f64,
}

/// The function that makes a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EngineName {
    /// `FFmpeg` in a Lambda.
    Trim,
    /// A `MediaConvert` job.
    Transcode,
}

/// The execution that a step belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    pub arn: String,
    /// When it was first started (a redrive keeps it), RFC 3339 in UTC.
    pub started_at: String,
}

impl Outcome {
    /// An outcome of a request as it was sent, valid or not, with nothing delivered.
    #[must_use]
    pub fn new(status: Status, request: &Value, execution: Execution, bucket: &str) -> Self {
        let identity = Identity::of(request);
        let is_kept = sent::check(&identity.canonical).is_ok() && !request.is_null();
        let requested = is_kept.then(|| request.clone());
        let metadata = requested
            .as_ref()
            .and_then(|request| request.get("metadata")?.as_object().cloned());
        let camera_id = request
            .get("cameraId")
            .and_then(Value::as_str)
            .filter(|id| is_camera_id(id));
        let timestamp = |name: &str, moment_name: &str| {
            let timestamp = request
                .get(name)
                .and_then(|value| Timestamp::deserialize(value).ok());
            let moment = || Timestamp::from_rfc3339(request.get(moment_name)?.as_str()?).ok();
            camera_id.and_then(|_| timestamp.or_else(moment))
        };
        Self {
            clip_id: identity.clip_id,
            camera_id: camera_id.map(str::to_owned),
            start_timestamp_in_ms: timestamp("startTimestampInMs", "start"),
            end_timestamp_in_ms: timestamp("endTimestampInMs", "end"),
            status,
            reason: None,
            message: None,
            failure: None,
            bucket: bucket.to_owned(),
            clip: None,
            thumbnail: None,
            thumbnails: Vec::new(),
            preview: None,
            requested,
            delivered: None,
            engine: None,
            execution,
            metadata: metadata.unwrap_or_default(),
            updated_at: now(),
        }
    }
}

/// The current time to the millisecond, which is `MongoDB`'s precision, so that document and message agree.
fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let to_the_millisecond = now
        .replace_millisecond(now.millisecond())
        .expect("a millisecond is below 1,000");
    to_the_millisecond
        .format(&Rfc3339)
        .expect("the present has four digits of year")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(request: &Value) -> Value {
        let execution = Execution {
            arn: "arn:e".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
        };
        serde_json::to_value(Outcome::new(Status::Rejected, request, execution, "clips"))
            .expect("JSON")
    }

    #[test]
    fn outcome_says_camera_and_clock_however_they_were_written() {
        for request in [
            json!({"cameraId": "a/b.c", "startTimestampInMs": 1_533_224_400_000_u64, "endTimestampInMs": "1533224422000"}),
            json!({"cameraId": "a/b.c", "start": "2018-08-02T15:40:00Z", "end": "2018-08-02T17:40:22+02:00"}),
        ] {
            let outcome = outcome(&request);
            assert_eq!(outcome["cameraId"], "a/b.c");
            assert_eq!(outcome["startTimestampInMs"], 1_533_224_400_000_u64);
            assert_eq!(outcome["endTimestampInMs"], 1_533_224_422_000_u64);
        }
    }

    #[test]
    fn outcome_of_an_invalid_request_repeats_no_invalid_camera_or_clock() {
        for request in [
            json!({"cameraId": "", "startTimestampInMs": 1_533_224_400_000_u64}),
            json!({"cameraId": ["a"], "start": "2018-08-02T15:40:00Z"}),
            json!({"start": "2018-08-02T15:40:00Z", "end": 2}),
            json!(["cameraId"]),
        ] {
            let outcome = outcome(&request);
            for field in ["cameraId", "startTimestampInMs", "endTimestampInMs"] {
                assert_eq!(outcome.get(field), None, "{request}");
            }
        }
        assert_eq!(
            outcome(&json!({"cameraId": "a", "startTimestampInMs": "soon"}))
                .get("startTimestampInMs"),
            None
        );
    }
}
