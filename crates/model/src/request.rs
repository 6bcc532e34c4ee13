//! The request, as a user sends it and as the steps pass it on.

pub use crate::source::Source;
use crate::{
    ClipError,
    damage::OnDamage,
    edits::Edits,
    error::{invalid, parse},
    identity::{Identity, is_clip_id},
    quality::Quality,
    recordings::{CameraWindow, Interval, RequiredCoverage, is_camera_id},
    sent,
    text::shorten,
    time::{Moment, Time},
    timestamp::Timestamp,
};
use mp4_cut::{PixelFormat, VideoFacts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::str::FromStr;

/// The largest `metadata`, in bytes of its JSON.
pub const MAX_METADATA_BYTES: usize = 8 * 1024;
/// The most cuts of a clip.
pub const MAX_SEGMENTS: usize = 50;
/// The most thumbnails of a clip.
pub const MAX_THUMBNAILS: usize = 8;
/// The widest thumbnail, in pixels.
pub const MAX_THUMBNAIL_WIDTH: u32 = 4096;
/// The default widths of thumbnails, in pixels.
pub const DEFAULT_THUMBNAILS: [u32; 4] = [300, 640, 1500, 3000];

/// The lowest and the highest frame rate that can be requested, in frames per second: what `MediaConvert` makes at its
/// basic prices.
const FRAME_RATES: std::ops::RangeInclusive<f64> = 1.0..=60.0;

/// A request for one clip, as it is sent to the queue.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["source", "start", "end"]},
    {"required": ["segments"]},
    {"required": ["cameraId"]},
]))]
pub struct Request {
    /// The clip's name: 1 to 60 of A-Z a-z 0-9 _ -. Left out, it is derived from the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]{1,60}$"))]
    pub clip_id: Option<String>,
    /// The object to cut from; with `start` and `end`, and instead of `segments`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The first moment of the clip, snapped to the source's nearest frame. With `cameraId` a time in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Moment>,
    /// The end of the clip: the first moment that is no longer part of it. With `cameraId` a time in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Moment>,
    /// Cuts that are joined in this order, at most 50; instead of `source`, `start` and `end`. What differs from the
    /// first cut in size, frame rate or sound is brought to its format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub segments: Option<Vec<Segment>>,
    /// The camera whose recordings are cut by the clock, instead of `source` and `segments`: 1 to 128 of
    /// A-Z a-z 0-9 _ - . /
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_./-]{1,128}$"))]
    pub camera_id: Option<String>,
    /// The first moment of the clip by the clock; with `cameraId`, and instead of `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timestamp_in_ms: Option<Timestamp>,
    /// The end of the clip by the clock, exclusive; with `cameraId`, and instead of `end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_timestamp_in_ms: Option<Timestamp>,
    /// How much of the interval the camera's recordings must cover; `complete` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<RequiredCoverage>,
    /// How the clip is cut.
    #[serde(default)]
    pub cut: Cut,
    /// What happens if the source is damaged within the cut.
    #[serde(default, skip_serializing_if = "OnDamage::is_accept")]
    pub damage: OnDamage,
    /// How pictures and sound are changed.
    #[serde(default, skip_serializing_if = "Edits::is_none")]
    pub edits: Edits,
    /// The form of the clip, and what is made besides it.
    #[serde(default)]
    pub output: Output,
    /// Kept with the clip's document and announced with it; at most 8 KiB of JSON.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// The most that making the clip may cost, in US dollars, as it is estimated beforehand; above 0. The deployment has
    /// a ceiling of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub max_cost_usd: Option<f64>,
}

/// How a clip is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cut {
    /// Frame-exact in every player. Pictures are copied from the clip's first keyframe on, where the source is made for
    /// that, and otherwise encoded anew; nothing from outside the interval is in the file.
    #[default]
    Exact,
    /// Nothing is encoded. Exact where the player honours edit lists; the file still holds, hidden, up to a group of
    /// pictures from before the start.
    Copy,
}

/// The form of a clip, and what is made besides it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// Widths of the thumbnails in pixels, 16 to 4,096, at most 8 of them. A width above the clip's own gives a
    /// thumbnail of the clip's own width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), inner(range(min = 16, max = 4096)))]
    pub thumbnails: Option<Vec<u32>>,
    /// An animated picture of up to three seconds, from a quarter of the clip on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// The clip's codecs and container; when it is left out what the deployment says, which is `mp4` unless it was
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// How good the clip looks, and how large it is; medium when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Frames a second of the clip, all equally long, 1 to 60. 29.97 and the like stand for NTSC's fractions. Left out, one
    /// cut keeps the frames of its source, and joined cuts have the rate of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub frame_rate: Option<f64>,
}

/// An animated picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Preview {
    /// A GIF, which everything shows.
    Gif,
    /// An animated `WebP`, which is several times smaller and looks better.
    Webp,
}

/// The codecs and the container of a clip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// H.264 and AAC in an MP4: `clip.mp4`.
    #[default]
    Mp4,
    /// VP9 and Opus in a `WebM`: `clip.webm`.
    Webm,
    /// H.265 and AAC in an MP4: `clip.mp4`.
    Hevc,
    /// The source's own codec, where its pictures can be kept, and otherwise as `mp4`: `clip.mp4`.
    Source,
}

impl FromStr for Format {
    type Err = ClipError;

    /// Parses the name used in requests.
    fn from_str(name: &str) -> Result<Self, ClipError> {
        parse(Value::String(name.to_owned()))
    }
}

impl Format {
    /// The name of the clip's file.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Mp4 | Self::Hevc | Self::Source => "clip.mp4",
            Self::Webm => "clip.webm",
        }
    }

    /// The format of a clip whose pictures are all encoded.
    #[must_use]
    pub fn encoded(self) -> Self {
        match self {
            Self::Source => Self::Mp4,
            format => format,
        }
    }

    /// `FFmpeg`'s names of the codecs that an exact clip may have.
    #[must_use]
    pub fn codecs(self) -> &'static [&'static str] {
        match self {
            Self::Mp4 => &["h264"],
            Self::Hevc => &["hevc"],
            Self::Webm => &["vp9"],
            Self::Source => &["h264", "hevc"],
        }
    }

    /// Checks that a source's pictures may be copied into an exact clip of the format.
    ///
    /// # Errors
    /// Why they may not.
    pub fn check_pictures(self, video: &VideoFacts) -> Result<(), String> {
        let codec = video.codec.as_str();
        let is_hdr = video.pixels.as_ref().is_some_and(PixelFormat::is_hdr);
        let own = match self {
            Self::Mp4 if is_hdr && codec == "h264" => {
                return Err("the source has a high dynamic range, which becomes SDR".to_owned());
            }
            _ if self.codecs().contains(&codec) => return Ok(()),
            Self::Mp4 => "H.264",
            Self::Hevc => "HEVC",
            Self::Webm => "VP9",
            Self::Source => "H.264 or HEVC",
        };
        Err(format!("the source is {codec}, not {own}"))
    }

    /// The media type of the clip.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp4 | Self::Hevc | Self::Source => "video/mp4",
            Self::Webm => "video/webm",
        }
    }
}

/// One cut out of one source.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Segment {
    /// The object to cut from.
    pub source: Source,
    /// The first moment, snapped to the source's nearest frame.
    pub start: Time,
    /// The end: the first moment that is no longer part of the cut.
    pub end: Time,
}

/// A valid request with every default filled in: what `validate` returns.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClipRequest {
    /// The clip's name.
    pub clip_id: String,
    /// The folder of the clip's objects, ending in a slash.
    pub prefix: String,
    /// The cuts, joined in this order; none for a camera's recordings.
    pub segments: Vec<Segment>,
    /// What is cut from a camera's recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraWindow>,
    /// How they are cut.
    pub cut: Cut,
    /// What happens to the clip if its source is damaged.
    #[serde(default, skip_serializing_if = "OnDamage::is_accept")]
    pub damage: OnDamage,
    /// How pictures and sound are changed.
    #[serde(default, skip_serializing_if = "Edits::is_none")]
    pub edits: Edits,
    /// The clip's codecs and container.
    #[serde(default)]
    pub format: Format,
    /// How good the clip looks.
    #[serde(default)]
    pub quality: Quality,
    /// The clip's frame rate; `None` for that of its sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<f64>,
    /// The animated picture that is made in addition to the clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Widths of the thumbnails in pixels, ascending, each once.
    pub thumbnails: Vec<u32>,
    /// Kept with the clip's document.
    pub metadata: Map<String, Value>,
    /// The most that making the clip may cost, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<f64>,
}

/// What a deployment allows in requests, and its defaults.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The buckets that sources and watermarks may be in.
    pub source_buckets: Vec<String>,
    /// The format of exact clips.
    pub default_format: Format,
}

impl Request {
    /// Parses a request as it was sent, checks it and fills in its defaults.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field at fault.
    pub fn validate(request: Value, limits: &Limits) -> Result<ClipRequest, ClipError> {
        let identity = Identity::of(&request);
        if let Some(why) = sent::why_unreadable(&request) {
            return Err(ClipError::invalid_request(why));
        }
        sent::check(&identity.canonical)?;
        if !request.is_object() {
            return Err(ClipError::invalid_request(
                "the request is not a JSON object",
            ));
        }
        parse::<Self>(request)?.resolve(identity, limits)
    }

    /// Checks what the types cannot express and fills in the defaults.
    fn resolve(self, identity: Identity, limits: &Limits) -> Result<ClipRequest, ClipError> {
        self.check_clip_id()?;
        let camera = self.camera()?;
        let segments = match camera {
            Some(_) => Vec::new(),
            None => self.cuts()?,
        };
        for (index, segment) in segments.iter().enumerate() {
            let prefix = match self.segments {
                Some(_) => format!("segments[{index}]."),
                None => String::new(),
            };
            segment.check(&prefix, &limits.source_buckets)?;
        }
        self.check_max_cost()?;
        self.edits.check(&limits.source_buckets)?;
        self.output.check()?;
        self.check_copy()?;
        check_metadata(&self.metadata)?;
        Ok(ClipRequest {
            prefix: identity.prefix(),
            clip_id: identity.clip_id,
            segments,
            camera,
            cut: self.cut,
            damage: self.damage,
            edits: self.edits,
            format: match self.cut {
                Cut::Exact => self.output.format.unwrap_or(limits.default_format),
                Cut::Copy => Format::default(),
            },
            quality: self.output.quality.unwrap_or_default(),
            frame_rate: self.output.frame_rate,
            preview: self.output.preview,
            thumbnails: self.output.thumbnail_widths(),
            metadata: self.metadata,
            max_cost_usd: self.max_cost_usd,
        })
    }

    fn check_clip_id(&self) -> Result<(), ClipError> {
        match &self.clip_id {
            Some(clip_id) if !is_clip_id(clip_id) => invalid(
                "clipId",
                format_args!(
                    "{:?} is not 1 to 60 of A-Z a-z 0-9 _ -",
                    shorten(clip_id, 80)
                ),
            ),
            _ => Ok(()),
        }
    }

    fn check_max_cost(&self) -> Result<(), ClipError> {
        match self.max_cost_usd {
            Some(usd) if !usd.is_finite() || usd <= 0.0 => {
                invalid("maxCostUsd", format_args!("{usd} is not above 0"))
            }
            _ => Ok(()),
        }
    }

    /// A copy encodes nothing, so there is much that it cannot change.
    fn check_copy(&self) -> Result<(), ClipError> {
        if self.cut != Cut::Copy {
            return Ok(());
        }
        let changed = if let Some(field) = self.edits.first_field() {
            format!("edits.{field}")
        } else if matches!(self.output.format, Some(Format::Hevc | Format::Webm)) {
            "output.format".to_owned()
        } else if self.output.quality.is_some() {
            "output.quality".to_owned()
        } else if self.output.frame_rate.is_some() {
            "output.frameRate".to_owned()
        } else {
            return Ok(());
        };
        invalid(
            &changed,
            format_args!("is not possible with the cut \"copy\", which encodes nothing"),
        )
    }

    /// The cuts, in order, in whichever of the two ways they are written.
    fn cuts(&self) -> Result<Vec<Segment>, ClipError> {
        let of_camera = [
            ("startTimestampInMs", self.start_timestamp_in_ms.is_some()),
            ("endTimestampInMs", self.end_timestamp_in_ms.is_some()),
            ("coverage", self.coverage.is_some()),
        ];
        if let Some((field, _)) = of_camera.iter().find(|(_, given)| *given) {
            return invalid(field, format_args!("needs cameraId; {EITHER}"));
        }
        let alone = [
            ("source", self.source.is_some()),
            ("start", self.start.is_some()),
            ("end", self.end.is_some()),
        ];
        if let Some(segments) = &self.segments {
            if let Some((field, _)) = alone.iter().find(|(_, given)| *given) {
                return invalid(
                    field,
                    format_args!("cannot be combined with segments; {EITHER}"),
                );
            }
            if !(1..=MAX_SEGMENTS).contains(&segments.len()) {
                return invalid(
                    "segments",
                    format_args!("has {} cuts, not 1 to {MAX_SEGMENTS}", segments.len()),
                );
            }
            return Ok(segments.clone());
        }
        let (Some(source), Some(start), Some(end)) = (self.source.clone(), self.start, self.end)
        else {
            let missing = alone
                .iter()
                .find(|(_, given)| !given)
                .map_or("source", |(field, _)| field);
            return invalid(missing, format_args!("is missing; {EITHER}"));
        };
        Ok(vec![Segment {
            source,
            start: start.within("start")?,
            end: end.within("end")?,
        }])
    }

    /// What is cut from a camera's recordings; `None` if something else is cut.
    fn camera(&self) -> Result<Option<CameraWindow>, ClipError> {
        let Some(camera_id) = &self.camera_id else {
            return Ok(None);
        };
        if !is_camera_id(camera_id) {
            let camera_id = shorten(camera_id, 160);
            return invalid(
                "cameraId",
                format_args!("{camera_id:?} is not 1 to 128 of A-Z a-z 0-9 _ - . /"),
            );
        }
        let others = [
            ("source", self.source.is_some()),
            ("segments", self.segments.is_some()),
        ];
        if let Some((field, _)) = others.iter().find(|(_, given)| *given) {
            return invalid(
                field,
                format_args!("cannot be combined with cameraId; {EITHER}"),
            );
        }
        let start = timestamp(
            ["startTimestampInMs", "start"],
            self.start_timestamp_in_ms,
            self.start,
        )?;
        let end = timestamp(
            ["endTimestampInMs", "end"],
            self.end_timestamp_in_ms,
            self.end,
        )?;
        if end <= start {
            return invalid(
                "endTimestampInMs",
                format_args!("{end} is not after the start, {start}"),
            );
        }
        Ok(Some(CameraWindow {
            camera_id: camera_id.clone(),
            interval: Interval {
                start_ms: start.ms(),
                end_ms: end.ms(),
            },
            coverage: self.coverage.unwrap_or_default(),
        }))
    }
}

/// How a request says what is cut.
const EITHER: &str = "a request has source, start and end, or segments, or cameraId, startTimestampInMs and endTimestampInMs";

/// A clock time, which may be written in either of two fields.
fn timestamp(
    [name, moment_name]: [&str; 2],
    timestamp: Option<Timestamp>,
    moment: Option<Moment>,
) -> Result<Timestamp, ClipError> {
    match (timestamp, moment) {
        (Some(_), Some(_)) => invalid(moment_name, format_args!("cannot be combined with {name}")),
        (Some(timestamp), None) => Ok(timestamp),
        (None, Some(moment)) => moment.at(moment_name),
        (None, None) => invalid(name, format_args!("is missing; {EITHER}")),
    }
}

impl Segment {
    fn check(&self, prefix: &str, source_buckets: &[String]) -> Result<(), ClipError> {
        self.source
            .check(&format!("{prefix}source"), source_buckets)?;
        if let (Time::Seconds(start), Time::Seconds(end))
        | (Time::Percent(start), Time::Percent(end)) = (self.start, self.end)
            && end <= start
        {
            return invalid(
                &format!("{prefix}end"),
                format_args!("{} is not after start, {}", self.end, self.start),
            );
        }
        Ok(())
    }
}

/// The part of a request that concerns the clip itself, not who requests it and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// How the sources are cut.
    pub cut: Cut,
    /// How pictures and sound are changed.
    pub edits: &'a Edits,
    /// The clip's codecs and container.
    pub format: Format,
    /// How good the clip looks.
    pub quality: Quality,
    /// The clip's frame rate; `None` for that of its sources.
    pub frame_rate: Option<f64>,
    /// What happens to the clip if its source is damaged.
    pub damage: OnDamage,
}

impl Look<'_> {
    /// Whether an exact cut may copy pictures of its source: nothing in the request changes them or makes the file
    /// smaller.
    #[must_use]
    pub fn may_keep_pictures(&self) -> bool {
        let as_they_are =
            self.edits.is_none() && self.format != Format::Webm && self.quality != Quality::Low;
        self.cut == Cut::Exact && as_they_are
    }
}

impl ClipRequest {
    /// The part that concerns the clip itself.
    #[must_use]
    pub fn look(&self) -> Look<'_> {
        Look {
            cut: self.cut,
            edits: &self.edits,
            format: self.format,
            quality: self.quality,
            frame_rate: self.frame_rate,
            damage: self.damage,
        }
    }

    /// The clip's key.
    #[must_use]
    pub fn clip_key(&self) -> String {
        format!("{}{}", self.prefix, self.format.file_name())
    }

    /// Checks a clip's estimated cost against the limits of the request and of the deployment, in US dollars.
    ///
    /// # Errors
    /// `TooExpensive`, with the estimate and the limit.
    pub fn check_cost(&self, estimate_usd: f64, deployment_max_usd: f64) -> Result<(), ClipError> {
        let ceilings = [
            ("the request", self.max_cost_usd),
            ("this deployment", Some(deployment_max_usd)),
        ];
        for (whose, max_usd) in ceilings {
            if let Some(max_usd) = max_usd
                && estimate_usd > max_usd
            {
                return Err(ClipError::too_expensive(format!(
                    "maxCostUsd: the clip is estimated at {estimate_usd:.4} USD, {whose} allows {max_usd} USD"
                )));
            }
        }
        Ok(())
    }
}

impl Output {
    fn check(&self) -> Result<(), ClipError> {
        let widths = self.thumbnails.as_deref().unwrap_or_default();
        if widths.len() > MAX_THUMBNAILS {
            return invalid(
                "output.thumbnails",
                format_args!("has {} widths, at most 8", widths.len()),
            );
        }
        if let Some(rate) = self.frame_rate
            && !FRAME_RATES.contains(&rate)
        {
            return invalid(
                "output.frameRate",
                format_args!("{rate} is not between 1 and 60 frames a second"),
            );
        }
        match widths
            .iter()
            .find(|width| !(16..=MAX_THUMBNAIL_WIDTH).contains(*width))
        {
            Some(width) => invalid(
                "output.thumbnails",
                format_args!("{width} is not between 16 and 4,096 pixels"),
            ),
            None => Ok(()),
        }
    }

    /// The widths of the thumbnails in pixels, ascending, each once.
    #[must_use]
    pub fn thumbnail_widths(&self) -> Vec<u32> {
        let mut widths = self
            .thumbnails
            .clone()
            .unwrap_or_else(|| DEFAULT_THUMBNAILS.to_vec());
        widths.sort_unstable();
        widths.dedup();
        widths
    }
}

/// `MongoDB` forbids NUL in names and reads `$` and `.` as operators and paths, so metadata keys must not contain them.
fn check_metadata(metadata: &Map<String, Value>) -> Result<(), ClipError> {
    fn bad_key(value: &Value) -> Option<&String> {
        match value {
            Value::Object(map) => map.iter().find_map(|(key, value)| {
                if key.starts_with('$') || key.contains(['.', '\0']) {
                    Some(key)
                } else {
                    bad_key(value)
                }
            }),
            Value::Array(items) => items.iter().find_map(bad_key),
            _ => None,
        }
    }
    let value = Value::Object(metadata.clone());
    if let Some(key) = bad_key(&value) {
        return invalid(
            "metadata",
            format_args!(
                "key {:?} begins with $ or contains a dot or NUL",
                shorten(key, 40)
            ),
        );
    }
    match value.to_string().len() {
        bytes if bytes > MAX_METADATA_BYTES => invalid(
            "metadata",
            format_args!("has {bytes} bytes, at most {MAX_METADATA_BYTES}"),
        ),
        _ => Ok(()),
    }
}

/// The JSON Schema of [`Request`], as it is kept in `request.schema.json`.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Request);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use expect_test::expect_file;
    use serde_json::json;

    /// The result of validating a request in a deployment with this source bucket.
    fn validated(request: Value, source_bucket: &str) -> Result<ClipRequest, ClipError> {
        let limits = Limits {
            source_buckets: vec![source_bucket.to_owned()],
            default_format: Format::Hevc,
        };
        Request::validate(request, &limits)
    }

    /// The message that refuses a request after `change`.
    fn refusal(change: impl Fn(&mut Value)) -> String {
        let mut request = json!({"clipId": "a", "source": {"bucket": "archive", "key": "k.mp4"}, "start": 1, "end": 2});
        change(&mut request);
        let error = validated(request, "archive").expect_err("the request is invalid");
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        error.message
    }

    /// The message that refuses a request with this value at this place.
    fn refusal_of(pointer: &str, value: &Value) -> String {
        refusal(|request| {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            request.pointer_mut(parent).expect("a field")[key] = value.clone();
        })
    }

    macro_rules! refused {
        ($($name:ident: $pointer:literal = $value:expr => $message:literal;)*) => {$(
            #[test]
            fn $name() {
                let message = refusal_of($pointer, &$value);
                assert!(message.contains($message), "{message}");
            }
        )*

        #[test]
        fn snapshot_of_refusals() {
            let mut told = String::new();
            $(
                let message = refusal_of($pointer, &$value);
                told += &format!("{}\n    {message}\n", stringify!($name));
            )*
            expect_file!["../tests/snapshots/refusals.txt"].assert_eq(&told);
        }};
    }

    refused! {
        end_before_start_is_invalid_request: "/end" = json!(0.5) => "end: 0.5 s is not after start, 1 s";
        end_at_start_is_invalid_request: "/end" = json!("0:01") => "end: 1 s is not after start, 1 s";
        negative_start_is_invalid_request: "/start" = json!(-1) => "start: -1 is negative";
        nan_start_is_invalid_request: "/start" = json!("NaN") => "start: \"NaN\" is not a number";
        absent_start_is_invalid_request: "/start" = json!(null) => "start: is missing; a request has source, start and end";
        clock_without_camera_is_invalid_request: "/start" = json!("2018-08-02T15:40:00Z") => "start: a time in RFC 3339";
        timestamp_without_camera_is_invalid_request: "/endTimestampInMs" = json!(1_533_224_400_000_u64) => "endTimestampInMs: needs cameraId";
        coverage_without_camera_is_invalid_request: "/coverage" = json!("partial") => "coverage: needs cameraId";
        camera_beside_a_source_is_invalid_request: "/cameraId" = json!("a") => "source: cannot be combined";
        unknown_field_is_named: "/edit" = json!({}) => "unknown field `edit`";
        unknown_field_within_source_is_named: "/source/url" = json!("") => "source.url: unknown field `url`";
        unknown_field_of_a_later_version_is_named: "/priority" = json!(1) => "unknown field `priority`";
        segments_beside_a_source_are_invalid_request: "/segments" = json!([]) => "source: cannot be combined with";
        foreign_bucket_is_invalid_request: "/source/bucket" = json!("other") => "source.bucket: \"other\" is not a source";
        empty_key_is_invalid_request: "/source/key" = json!("") => "source.key: has 0 bytes";
        clip_id_with_slash_is_invalid_request: "/clipId" = json!("a/b") => "clipId: \"a/b\" is not";
        clip_id_with_dots_is_invalid_request: "/clipId" = json!("..") => "clipId: \"..\" is not";
        clip_id_in_unicode_is_invalid_request: "/clipId" = json!("\u{6ce2}") => "clipId: \"\u{6ce2}\" is not";
        clip_id_of_300_characters_is_invalid_request: "/clipId" = json!("x".repeat(300)) => "clipId: \"xxx";
        unknown_cut_is_named: "/cut" = json!("fast") => "cut: unknown variant `fast`, expected `exact` or `copy`";
        tiny_thumbnail_is_invalid_request: "/output" = json!({"thumbnails": [1]}) => "output.thumbnails: 1 is not";
        operator_in_metadata_is_invalid_request: "/metadata" = json!({"a": [{"$set": 1}]}) => "metadata: key \"$set\"";
        unknown_edit_is_named: "/edits" = json!({"sepia": 1}) => "edits.sepia: unknown field `sepia`";
        odd_crop_is_invalid_request: "/edits" = json!({"crop": {"x": 1, "y": 0, "width": 64, "height": 64}}) =>
            "edits.crop.x: 1 is not even";
        tiny_resize_is_invalid_request: "/edits" = json!({"resize": {"width": 16}}) =>
            "edits.resize.width: 16 is not between 32 and 8192 pixels";
        resize_to_nothing_is_invalid_request: "/edits" = json!({"resize": {}}) => "edits.resize: has neither";
        standstill_is_invalid_request: "/edits" = json!({"speed": 0}) => "edits.speed: 0 is not between 0.25 and 4";
        slanting_is_invalid_request: "/edits" = json!({"rotate": 45}) => "edits.rotate: 45 is not 90, 180 or 270";
        fade_before_the_start_is_invalid_request: "/edits" = json!({"fade": {"out": -1}}) => "edits.fade.out: -1 is not";
        invisible_watermark_is_invalid_request: "/edits" = json!({"watermark": {"key": "k.png", "opacity": 0}}) =>
            "edits.watermark.opacity: 0 is not above 0";
        watermark_of_a_foreign_bucket_is_invalid_request: "/edits" =
            json!({"watermark": {"bucket": "other", "key": "k.png"}}) => "edits.watermark.bucket: \"other\" is not a source";
        unknown_format_is_named: "/output" = json!({"format": "avi"}) => "output.format: unknown variant `avi`";
        frame_rate_above_the_highest_is_invalid_request: "/output" = json!({"frameRate": 60.1}) =>
            "output.frameRate: 60.1 is not between 1 and 60";
        standing_frame_rate_is_invalid_request: "/output" = json!({"frameRate": 0}) => "output.frameRate: 0 is not between";
        unknown_quality_is_named: "/output" = json!({"quality": 7}) => "output.quality: invalid type";
        free_clip_is_invalid_request: "/maxCostUsd" = json!(0) => "maxCostUsd: 0 is not above 0";
        large_metadata_is_invalid_request: "/metadata" = json!({"a": "x".repeat(9000)}) => "metadata: has 9008 bytes";
    }

    #[test]
    fn copy_that_would_have_to_be_encoded_is_invalid_request() {
        for (pointer, value, field) in [
            ("/edits", json!({"mute": true}), "edits.mute"),
            (
                "/edits",
                json!({"fade": {"in": 1}, "speed": 2}),
                "edits.speed",
            ),
            ("/output", json!({"format": "hevc"}), "output.format"),
            ("/output", json!({"quality": "high"}), "output.quality"),
            ("/output", json!({"frameRate": 25}), "output.frameRate"),
        ] {
            let message = refusal(|request| {
                request["cut"] = json!("copy");
                request[&pointer[1..]] = value.clone();
            });
            assert_eq!(
                message,
                format!("{field}: is not possible with the cut \"copy\", which encodes nothing")
            );
        }
    }

    #[test]
    fn format_that_is_left_out_is_the_deployments_and_that_of_a_copy_its_sources() {
        let format = |cut: &str, output: Value| {
            let source = json!({"bucket": "archive", "key": "k.mp4"});
            let request =
                json!({"source": source, "start": 1, "end": 2, "cut": cut, "output": output});
            validated(request, "archive").expect("a request").format
        };
        assert_eq!(format("exact", json!({})), Format::Hevc);
        assert_eq!(format("exact", json!({"format": "source"})), Format::Source);
        assert_eq!(format("copy", json!({})), Format::Mp4);
        assert_eq!(format("copy", json!({"format": "source"})), Format::Mp4);
    }

    /// The message that refuses these segments.
    fn refused_segments(segments: &Value) -> String {
        let request = json!({"clipId": "a", "segments": segments});
        validated(request, "archive")
            .expect_err("the segments are invalid")
            .message
    }

    #[test]
    fn bad_segment_is_named_by_its_place() {
        let good = json!({"source": {"bucket": "archive", "key": "k.mp4"}, "start": 1, "end": 2});
        let with = |pointer: &str, value: Value| {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).expect("a field") = value;
            refused_segments(&json!([good, bad]))
        };
        assert!(with("/end", json!(1)).starts_with("segments[1].end: 1 s is not after start, 1 s"));
        assert!(
            with("/source/bucket", json!("other"))
                .starts_with("segments[1].source.bucket: \"other\" is not")
        );
        assert!(with("/start", json!(-1)).starts_with("segments[1].start: -1 is negative"));
        assert!(refused_segments(&json!([])).starts_with("segments: has 0 cuts, not 1 to 50"));
        assert!(refused_segments(&json!(vec![good; 51])).starts_with("segments: has 51 cuts"));
    }

    /// What a camera request requests after `change`, or the message that refuses it.
    fn camera(change: impl Fn(&mut Value)) -> Result<CameraWindow, String> {
        let mut request = json!({"cameraId": "hi-pipeline", "startTimestampInMs": 1_533_224_400_000_u64,
            "endTimestampInMs": "1533224422000"});
        change(&mut request);
        let valid = validated(request, "none").map_err(|error| error.message)?;
        assert_eq!(valid.segments, []);
        Ok(valid.camera.expect("it is one"))
    }

    #[test]
    fn clock_is_written_in_milliseconds_or_in_rfc_3339() {
        let wanted = CameraWindow {
            camera_id: "hi-pipeline".into(),
            interval: Interval {
                start_ms: 1_533_224_400_000,
                end_ms: 1_533_224_422_000,
            },
            coverage: RequiredCoverage::Complete,
        };
        assert_eq!(camera(|_| ()), Ok(wanted.clone()));
        let in_rfc_3339 = camera(|request| {
            *request = json!({"cameraId": "hi-pipeline", "start": "2018-08-02T15:40:00Z",
                "end": "2018-08-02t08:40:22.000-07:00", "coverage": "partial"});
        });
        assert_eq!(
            in_rfc_3339,
            Ok(CameraWindow {
                coverage: RequiredCoverage::Partial,
                ..wanted
            })
        );
    }

    #[test]
    fn bad_window_of_a_camera_is_refused_by_its_field() {
        let refused = |field: &str, value: Value| {
            camera(|request| request[field] = value.clone()).expect_err("it is bad")
        };
        for (field, value, message) in [
            ("cameraId", json!(""), "cameraId: \"\" is not 1 to 128"),
            (
                "cameraId",
                json!("a b"),
                "cameraId: \"a b\" is not 1 to 128",
            ),
            ("cameraId", json!("x".repeat(129)), "cameraId: \"xxx"),
            (
                "startTimestampInMs",
                json!(null),
                "startTimestampInMs: is missing; a request has",
            ),
            (
                "startTimestampInMs",
                json!(1_533_224_400),
                "startTimestampInMs: 1533224400 is before 2001",
            ),
            (
                "endTimestampInMs",
                json!("now"),
                "endTimestampInMs: invalid value: string \"now\", expected milliseconds",
            ),
            (
                "endTimestampInMs",
                json!(1_533_224_400_000_u64),
                "endTimestampInMs: 2018-08-02T15:40:00.000Z is not after",
            ),
            (
                "end",
                json!("2018-08-02T15:40:00Z"),
                "end: cannot be combined with endTimestampInMs",
            ),
            (
                "segments",
                json!([]),
                "segments: cannot be combined with cameraId",
            ),
            (
                "coverage",
                json!("most"),
                "coverage: unknown variant `most`, expected `complete` or `partial`",
            ),
        ] {
            let error = refused(field, value);
            assert!(error.starts_with(message), "{error}");
        }
        let error = camera(|request| *request = json!({"cameraId": "a", "start": 1, "end": 2}))
            .expect_err("no clock");
        assert!(
            error.starts_with("start: 1 s is not a clock time"),
            "{error}"
        );
        let error = camera(|request| {
            *request = json!({"cameraId": "a", "start": 1_533_224_400_000_u64, "end": 1_533_224_422_000_u64});
        });
        let error = error.expect_err("milliseconds");
        assert!(
            error.contains("in RFC 3339") && error.contains("startTimestampInMs"),
            "{error}"
        );
        let error =
            camera(|request| *request = json!({"cameraId": "a", "start": "2018-08-02T25:00:00Z"}))
                .expect_err("no time");
        assert!(
            error.starts_with("start: \"2018-08-02T25:00:00Z\" is not an RFC 3339 time"),
            "{error}"
        );
    }

    #[test]
    fn clip_above_either_ceiling_is_too_expensive() {
        let request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact", "thumbnails": [],
            "metadata": {}, "maxCostUsd": 0.25});
        let request: ClipRequest = parse(request).expect("a request");
        assert_eq!(request.check_cost(0.25, 5.0), Ok(()));
        let refused = |estimate, deployment| {
            request
                .check_cost(estimate, deployment)
                .expect_err("too much")
        };
        assert_eq!(refused(0.3, 5.0).kind, ErrorKind::TooExpensive);
        assert!(
            refused(0.3, 5.0)
                .message
                .ends_with("at 0.3000 USD, the request allows 0.25 USD")
        );
        assert!(
            refused(0.2, 0.1)
                .message
                .ends_with("at 0.2000 USD, this deployment allows 0.1 USD")
        );
    }

    #[test]
    fn thumbnails_are_ascending_and_unique() {
        let output = Output {
            thumbnails: Some(vec![640, 300, 640]),
            ..Output::default()
        };
        assert_eq!(output.thumbnail_widths(), [300, 640]);
        assert_eq!(Output::default().thumbnail_widths(), DEFAULT_THUMBNAILS);
    }

    #[test]
    fn schema_in_the_repository_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/request.schema.json");
        let kept = std::fs::read_to_string(path).expect("the schema");
        if std::env::var_os("CLIPFLOW_WRITE_SCHEMA").is_some() {
            std::fs::write(path, schema()).expect("the schema can be written");
        } else {
            // Whether fields keep their order depends on which other crates are compiled.
            let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
            assert_eq!(
                json(&kept),
                json(&schema()),
                "write it anew with CLIPFLOW_WRITE_SCHEMA=1 cargo test -p model schema"
            );
        }
    }
}
