//! What making a clip takes with each engine: seconds, bytes and US dollars.

use model::{
    clip_spec::{ClipSpec, Size},
    job_metadata::ACCELERATED_SECONDS,
    plan::{Plan, PlannedSegment},
    prices::{Job, PRICES},
    request::{ClipRequest, Cut, Format},
};
use serde::Serialize;

/// 1080p at 30 frames per second, in pixels per second: the load that [`ENCODE_SECONDS`] was measured with.
const REFERENCE_PIXELS_PER_SECOND: f64 = 1920.0 * 1080.0 * 30.0;
/// Decoding and filtering one second of that load on one vCPU takes this long, measured.
const DECODE_SECONDS: f64 = 0.2;
/// Converting it from HDR to SDR on one vCPU takes this long, measured.
const TONE_MAP_SECONDS: f64 = 0.6;
/// Encoding one second of that load on one vCPU takes this long; measured with libx264's preset veryfast.
const ENCODE_SECONDS: f64 = 1.0;
/// Encoding one second of audio on one vCPU takes this long; measured with AAC in two channels.
const AUDIO_SECONDS: f64 = 0.02;
/// How much longer libx265 (veryfast) and libvpx (VP9, realtime, 5) take, measured.
const HEVC_FACTOR: f64 = 3.0;
const VP9_FACTOR: f64 = 2.2;
/// What every further vCPU adds, as a fraction of the first; measured with two.
const FURTHER_VCPU: f64 = 0.5;
/// Memory that comes with one vCPU (Lambda developer guide, "Configure Lambda function memory").
const MB_PER_VCPU: f64 = 1769.0;
/// Minimum throughput of one connection between a Lambda and S3, in bytes per second.
const TRANSFER_BYTES_PER_SECOND: f64 = 40_000_000.0;
/// The time for starting, reading the index and answering, in seconds.
const OVERHEAD_SECONDS: f64 = 1.0;
/// Bits per pixel that the encoder spends at the default quality, with a margin for noisy pictures.
const BITS_PER_PIXEL: f64 = 0.2;
/// The maximum bytes of an S3 request: a part of an upload, or a range of a source.
const S3_REQUEST_BYTES: f64 = 8.0 * 1024.0 * 1024.0;
/// What every clip takes besides its engine: measured GB-seconds of the other functions, as seconds at 1,024 MB.
const OTHER_SECONDS: f64 = 3.0;
/// State transitions of a clip in the definition.
const TRANSITIONS: f64 = 9.0;
/// Memory of functions that only call services, in MB.
const SMALL_FUNCTION_MB: f64 = 256.0;
/// Events about a job that invoke `resume`, besides one per minute of the clip.
const EVENTS: f64 = 2.0;

/// What making a clip takes with each engine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimates {
    /// How long `trim` runs.
    pub trim_seconds: f64,
    /// What the clip costs when `trim` makes it.
    pub trim_usd: f64,
    /// What the clip costs when `MediaConvert` makes it.
    pub transcode_usd: f64,
    /// Working space in `/tmp` that `trim` needs at most.
    pub scratch_bytes: u64,
}

/// The share of the clip's pictures that is encoded: 0 to 1.
#[must_use]
pub fn encoded_share(request: &ClipRequest, plan: &Plan) -> f64 {
    if request.cut == Cut::Copy {
        return 0.0;
    }
    let sum = |seconds: fn(&PlannedSegment) -> f64| plan.segments.iter().map(seconds).sum::<f64>();
    let encoded = |segment: &PlannedSegment| match segment.smart_cut {
        Some(smart_cut) => smart_cut.encoded_seconds,
        None => segment.window.duration_seconds,
    };
    sum(encoded) / sum(|segment| segment.window.duration_seconds)
}

impl Estimates {
    /// Estimates the clip `spec` of `request`, with `trim_memory_mb` MB of memory.
    #[must_use]
    pub fn of(request: &ClipRequest, plan: &Plan, spec: &ClipSpec, trim_memory_mb: u32) -> Self {
        let memory_mb = f64::from(trim_memory_mb);
        let windows_bytes: u64 = plan
            .segments
            .iter()
            .map(|segment| segment.window.output_bytes)
            .sum();
        let mut trim_seconds =
            OVERHEAD_SECONDS + lossy(windows_bytes) * 2.0 / TRANSFER_BYTES_PER_SECOND;
        let mut scratch_bytes = plan.remuxed_bytes();
        if request.cut == Cut::Exact {
            trim_seconds += encode_seconds(request, plan, spec, memory_mb / MB_PER_VCPU);
            scratch_bytes += windows_bytes + encoded_bytes(request, plan, spec).max(windows_bytes);
        }
        let requests = (lossy(windows_bytes) / S3_REQUEST_BYTES).ceil();
        let anyway = PRICES.transitions(TRANSITIONS) + PRICES.lambda(1024.0, OTHER_SECONDS);
        Self {
            trim_seconds,
            trim_usd: anyway
                + PRICES.lambda(memory_mb, trim_seconds)
                + PRICES.s3(requests, requests),
            transcode_usd: anyway + transcode_usd(request, plan, spec),
            scratch_bytes,
        }
    }

    /// The minimum cost of the clip: with the cheaper engine.
    #[must_use]
    pub fn min_usd(&self) -> f64 {
        self.trim_usd.min(self.transcode_usd)
    }
}

/// How long decoding and encoding what is not copied takes on so many vCPUs, and all of the sound.
fn encode_seconds(request: &ClipRequest, plan: &Plan, spec: &ClipSpec, vcpus: f64) -> f64 {
    let vcpus = vcpus.max(0.1);
    let speed = if vcpus <= 1.0 {
        vcpus
    } else {
        1.0 + (vcpus - 1.0) * FURTHER_VCPU
    };
    let share = encoded_share(request, plan);
    // In seconds of the reference.
    let load =
        |size: Size, frames: f64| share * pixels(size) * frames / REFERENCE_PIXELS_PER_SECOND;
    let mut video_seconds =
        load(spec.size, lossy(spec.frames())) * ENCODE_SECONDS * encoder_factor(request, plan);
    for (segment, part) in plan.segments.iter().zip(&spec.parts) {
        let video = &plan.sources[segment.source].facts.video;
        let frames = segment.window.duration_seconds * video.frame_rate;
        let tone_mapping = if part.becomes_sdr && segment.smart_cut.is_none() {
            TONE_MAP_SECONDS
        } else {
            0.0
        };
        video_seconds += load(part.decoded, frames) * (DECODE_SECONDS + tone_mapping);
    }
    video_seconds / speed + spec.seconds() * AUDIO_SECONDS / vcpus.min(1.0)
}

/// How much longer the clip's encoder takes than libx264.
fn encoder_factor(request: &ClipRequest, plan: &Plan) -> f64 {
    let is_smart_cut = plan
        .segments
        .iter()
        .all(|segment| segment.smart_cut.is_some());
    let first = plan.first_video();
    let stays_hevc = is_smart_cut && first.is_some_and(|video| video.codec == "hevc");
    match request.format {
        Format::Hevc => HEVC_FACTOR,
        Format::Source if stays_hevc => HEVC_FACTOR,
        Format::Mp4 | Format::Source => 1.0,
        Format::Webm => VP9_FACTOR,
    }
}

/// How much is encoded at most, in bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive; saturates"
)]
fn encoded_bytes(request: &ClipRequest, plan: &Plan, spec: &ClipSpec) -> u64 {
    let encoded_frames = encoded_share(request, plan) * lossy(spec.frames());
    (encoded_frames * pixels(spec.size) * BITS_PER_PIXEL / 8.0).ceil() as u64
}

/// What the job costs, and the functions that submit it and hear of it.
fn transcode_usd(request: &ClipRequest, plan: &Plan, spec: &ClipSpec) -> f64 {
    let first = &plan.sources[plan.segments[0].source].facts.video;
    let seconds = spec.seconds();
    let job = Job {
        lines: spec.size.width.min(spec.size.height),
        frame_rate: spec.clip_rate(first).hertz(),
        seconds,
        accelerated: seconds >= ACCELERATED_SECONDS,
        hevc: request.format == Format::Hevc,
    };
    let events = EVENTS + seconds / 60.0;
    PRICES.media_convert(&job) + (1.0 + events) * PRICES.lambda(SMALL_FUNCTION_MB, OVERHEAD_SECONDS)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn lossy(count: u64) -> f64 {
    count as f64
}

fn pixels(size: Size) -> f64 {
    f64::from(size.width) * f64::from(size.height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mp4_cut::SmartCutFacts;
    use serde_json::{Value, json};

    /// A cut of 1080p at 30 frames per second, with the default memory of `trim`.
    fn estimates(cut: Cut, seconds: f64) -> Estimates {
        edited(cut, seconds, &json!({}), None)
    }

    fn edited(
        cut: Cut,
        seconds: f64,
        asked: &Value,
        smart_cut: Option<SmartCutFacts>,
    ) -> Estimates {
        let (request, plan) = (request(cut, asked), plan(seconds, smart_cut));
        Estimates::of(
            &request,
            &plan,
            &ClipSpec::of(request.look(), &plan).expect("a clip"),
            3538,
        )
    }

    fn request(cut: Cut, asked: &Value) -> ClipRequest {
        let mut request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": cut, "thumbnails": [],
            "metadata": {}});
        request
            .as_object_mut()
            .expect("an object")
            .extend(asked.as_object().expect("an object").clone());
        serde_json::from_value(request).expect("a request")
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small"
    )]
    fn plan(seconds: f64, smart_cut: Option<SmartCutFacts>) -> Plan {
        let video = json!({"codec": "h264", "codedWidth": 1920, "codedHeight": 1080, "width": 1920, "height": 1080,
            "rotationDegrees": 0, "frameRate": 30.0, "constantFrameRate": true, "timescale": 30000, "frames": 300,
            "startSeconds": 0.0, "durationSeconds": 7200.0, "bitRate": 5_000_000});
        let facts = json!({"container": "isom", "bytes": 1, "indexStart": 0, "indexBytes": 1, "durationSeconds": 7200.0, "video": video,
            "audio": null, "droppedTracks": []});
        let object = json!({"bucket": "archive", "key": "k.mp4", "etag": "e", "bytes": 1});
        let bytes = (seconds * 625_000.0) as u64;
        let window = json!({"startSeconds": 0.0, "endSeconds": seconds, "durationSeconds": seconds, "frames": (seconds * 30.0) as u64,
            "prerollFrames": 0, "keyframeSeconds": 0.0, "nextKeyframeSeconds": null, "hasAudio": false,
            "timescale": 30000, "outputBytes": bytes, "sourceBytes": bytes});
        let segment = json!({"source": 0, "window": window, "splice": smart_cut});
        let plan = json!({"sources": [{"object": object, "facts": facts}], "segments": [segment]});
        serde_json::from_value(plan).expect("a plan")
    }

    #[test]
    fn edits_and_formats_are_in_the_estimates() {
        let plain = estimates(Cut::Exact, 60.0);
        let edited = |asked: Value| edited(Cut::Exact, 60.0, &asked, None);
        let small = edited(json!({"edits": {"resize": {"width": 640}}}));
        assert!(
            small.trim_seconds < plain.trim_seconds / 3.0
                && small.transcode_usd < plain.transcode_usd
        );
        let fast = edited(json!({"frameRate": 60}));
        assert!(fast.trim_seconds > 1.5 * plain.trim_seconds, "{fast:?}");
        assert!(fast.transcode_usd > 1.5 * plain.transcode_usd, "{fast:?}");
        let slow = edited(json!({"edits": {"speed": 0.5}}));
        assert!((1.6..2.0).contains(&(slow.trim_seconds / plain.trim_seconds)));
        for (format, factor) in [("hevc", HEVC_FACTOR), ("webm", VP9_FACTOR)] {
            let times = edited(json!({"format": format})).trim_seconds / plain.trim_seconds;
            assert!((factor * 0.8..factor).contains(&times), "{format}: {times}");
        }
        assert!(edited(json!({"format": "hevc"})).transcode_usd > 2.0 * plain.transcode_usd);
    }

    #[test]
    fn lambda_is_several_times_cheaper_at_any_length() {
        for seconds in [20.0, 60.0, 600.0] {
            let Estimates {
                trim_usd,
                transcode_usd,
                ..
            } = estimates(Cut::Exact, seconds);
            assert!(
                (3.0..8.0).contains(&(transcode_usd / trim_usd)),
                "{seconds} s: {trim_usd} {transcode_usd}"
            );
        }
    }

    #[test]
    fn ten_minutes_of_1080p_are_about_what_a_lambda_can_do() {
        let seconds = estimates(Cut::Exact, 600.0).trim_seconds;
        assert!((450.0..540.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn ten_minutes_from_mediaconvert_cost_fifteen_cents() {
        let usd = estimates(Cut::Exact, 600.0).transcode_usd;
        assert!((0.150..0.152).contains(&usd), "{usd}");
    }

    #[test]
    fn acceleration_costs_more() {
        let [slow, fast] =
            [3599.0, 3600.0].map(|seconds| estimates(Cut::Exact, seconds).transcode_usd);
        assert!((1.5..1.7).contains(&(fast / slow)), "{slow} {fast}");
    }

    #[test]
    fn smart_cut_of_half_an_hour_takes_no_longer_than_its_sound() {
        let facts = json!({"encodedSeconds": 1.5, "copiedSeconds": 1798.5});
        let smart_cut = serde_json::from_value(facts).expect("facts");
        let smart_clip = edited(Cut::Exact, 1800.0, &json!({}), Some(smart_cut));
        let whole = estimates(Cut::Exact, 1800.0);
        assert!(
            (60.0..120.0).contains(&smart_clip.trim_seconds),
            "{smart_clip:?}"
        );
        assert!(
            smart_clip.trim_seconds * 10.0 < whole.trim_seconds
                && smart_clip.scratch_bytes < whole.scratch_bytes
        );
    }

    #[test]
    fn share_of_joined_cuts_is_that_of_all_of_them() {
        let smart_cut = |encoded_seconds, copied_seconds| {
            Some(SmartCutFacts {
                encoded_seconds,
                copied_seconds,
            })
        };
        let [mut plan, other] = [(30.0, smart_cut(1.5, 28.5)), (10.0, smart_cut(10.0, 0.0))]
            .map(|(all, smart_cut)| plan(all, smart_cut));
        plan.segments.extend(other.segments);
        let request = request(Cut::Exact, &json!({}));
        assert!((encoded_share(&request, &plan) - 11.5 / 40.0).abs() < 1e-9);
        plan.segments
            .iter_mut()
            .for_each(|segment| segment.smart_cut = None);
        assert!((encoded_share(&request, &plan) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn copy_needs_no_working_space_and_little_time() {
        let Estimates {
            trim_seconds,
            trim_usd,
            scratch_bytes,
            ..
        } = estimates(Cut::Copy, 1800.0);
        assert_eq!(scratch_bytes, 0);
        assert!(
            trim_seconds < 60.0 && trim_usd < 0.01,
            "{trim_seconds} {trim_usd}"
        );
    }
}
