//! What making a clip takes with each engine: seconds, bytes and US dollars.

use clipflow_core::{
    mediaconvert::{ACCELERATED_SECONDS, FrameGrid},
    plan::{PlannedSegment, ProbedSource},
    prices::PRICES,
    request::Cut,
};
use serde::Serialize;

/// Pictures of 1080p at 30 frames a second, in pixels a second: the load that [`ENCODE_SECONDS`] was measured with.
const REFERENCE_PIXELS_PER_SECOND: f64 = 1920.0 * 1080.0 * 30.0;
/// Encoding one second of that load on one vCPU takes this long; measured with libx264's preset veryfast.
const ENCODE_SECONDS: f64 = 1.2;
/// Encoding one second of sound on one vCPU takes this long; measured with AAC in two channels.
const SOUND_SECONDS: f64 = 0.02;
/// What every further vCPU adds, in parts of the first; measured on two.
const FURTHER_VCPU: f64 = 0.5;
/// Memory that brings one vCPU with it (Lambda developer guide, "Configure Lambda function memory").
const MB_PER_VCPU: f64 = 1769.0;
/// Bytes a second between a Lambda and S3 over one connection, at the least.
const TRANSFER_BYTES_PER_SECOND: f64 = 40_000_000.0;
/// What starting, reading the index and answering takes, in seconds.
const OVERHEAD_SECONDS: f64 = 1.0;
/// Bits that the encoder spends on a pixel at the quality that clips have, with a margin for noisy pictures.
const BITS_PER_PIXEL: f64 = 0.2;
/// Bytes of a request to S3, at the most: a part of an upload, or a range of a source.
const S3_REQUEST_BYTES: f64 = 8.0 * 1024.0 * 1024.0;
/// What every clip takes besides its engine: GB-seconds of the other functions, measured, as seconds of 1,024 MB.
const OTHER_SECONDS: f64 = 3.0;
/// State transitions of a clip, as the definition has them.
const TRANSITIONS: f64 = 9.0;
/// Memory of the functions that only make calls, in MB.
const SMALL_FUNCTION_MB: f64 = 256.0;
/// Events about a job that `resume` is invoked for, besides one a minute of the clip.
const EVENTS: f64 = 2.0;

/// What making a clip takes, with each engine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimates {
    /// How long `trim` runs.
    pub trim_seconds: f64,
    /// What the clip costs when `trim` makes it.
    pub trim_usd: f64,
    /// What the clip costs when `MediaConvert` makes it.
    pub transcode_usd: f64,
    /// Working space in `/tmp` that `trim` needs at the most.
    pub scratch_bytes: u64,
}

/// How much of a segment's pictures is encoded.
#[must_use]
pub fn encoded_seconds(cut: Cut, segment: &PlannedSegment) -> f64 {
    match (cut, &segment.splice) {
        (Cut::Copy, _) => 0.0,
        (Cut::Exact, Some(splice)) => splice.encoded_seconds,
        (Cut::Exact, None) => segment.window.duration_seconds,
    }
}

impl Estimates {
    /// Estimates a cut of `segments`, with `trim_memory_mb` MB of memory.
    #[must_use]
    pub fn of(cut: Cut, sources: &[ProbedSource], segments: &[PlannedSegment], trim_memory_mb: u32) -> Self {
        let memory_mb = f64::from(trim_memory_mb);
        let vcpus = (memory_mb / MB_PER_VCPU).max(0.1);
        let speed = if vcpus <= 1.0 { vcpus } else { 1.0 + (vcpus - 1.0) * FURTHER_VCPU };
        let mut trim_seconds = OVERHEAD_SECONDS;
        let mut scratch_bytes = 0;
        let mut clip_seconds = 0.0;
        let mut clip_bytes = 0.0;
        for segment in segments {
            let video = &sources[segment.source].facts.video;
            let seconds = segment.window.duration_seconds;
            let window_bytes = segment.window.output_bytes;
            clip_seconds += seconds;
            clip_bytes += lossy(window_bytes);
            trim_seconds += lossy(window_bytes) * 2.0 / TRANSFER_BYTES_PER_SECOND;
            if cut == Cut::Exact {
                let encoded_seconds = encoded_seconds(cut, segment);
                let pixels = f64::from(video.coded_width) * f64::from(video.coded_height) * video.frame_rate;
                trim_seconds += encoded_seconds * pixels / REFERENCE_PIXELS_PER_SECOND * ENCODE_SECONDS / speed;
                trim_seconds += seconds * SOUND_SECONDS / vcpus.min(1.0);
                let encoded = (encoded_seconds * pixels * BITS_PER_PIXEL / 8.0).ceil();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; saturates")]
                let encoded = encoded as u64;
                scratch_bytes += window_bytes + encoded.max(window_bytes);
            }
        }
        let requests = (clip_bytes / S3_REQUEST_BYTES).ceil();
        let anyway = PRICES.transitions(TRANSITIONS) + PRICES.lambda(1024.0, OTHER_SECONDS);
        let trim_usd = anyway + PRICES.lambda(memory_mb, trim_seconds) + PRICES.s3(requests, requests);
        let transcode_usd = segments.first().map_or(0.0, |first| {
            let video = &sources[first.source].facts.video;
            let accelerated = clip_seconds >= ACCELERATED_SECONDS;
            let events = EVENTS + clip_seconds / 60.0;
            PRICES.media_convert(video, FrameGrid::of(video).rate, clip_seconds, accelerated)
                + (1.0 + events) * PRICES.lambda(SMALL_FUNCTION_MB, OVERHEAD_SECONDS)
        });
        Self { trim_seconds, trim_usd, transcode_usd: anyway + transcode_usd, scratch_bytes }
    }

    /// What the clip costs at the least: with the cheaper engine.
    #[must_use]
    pub fn least_usd(&self) -> f64 {
        self.trim_usd.min(self.transcode_usd)
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn lossy(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipflow_core::mp4::SpliceFacts;
    use serde_json::json;

    /// A cut of 1080p at 30 frames a second, with the default memory of `trim`.
    fn estimates(cut: Cut, seconds: f64) -> Estimates {
        estimates_of(cut, seconds, None)
    }

    fn estimates_of(cut: Cut, seconds: f64, splice: Option<SpliceFacts>) -> Estimates {
        let video = json!({"codec": "h264", "codedWidth": 1920, "codedHeight": 1080, "width": 1920, "height": 1080,
            "rotationDegrees": 0, "frameRate": 30.0, "constantFrameRate": true, "timescale": 30000, "frames": 300,
            "startSeconds": 0.0, "durationSeconds": 7200.0, "bitRate": 5_000_000});
        let facts = json!({"container": "isom", "bytes": 1, "indexStart": 0, "indexBytes": 1, "durationSeconds": 7200.0, "video": video,
            "audio": null, "droppedTracks": []});
        let object = json!({"bucket": "archive", "key": "k.mp4", "etag": "e", "bytes": 1});
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        let bytes = (seconds * 625_000.0) as u64;
        let window = json!({"startSeconds": 0.0, "endSeconds": seconds, "durationSeconds": seconds, "frames": 1,
            "prerollFrames": 0, "keyframeSeconds": 0.0, "nextKeyframeSeconds": null, "hasAudio": false,
            "timescale": 30000, "outputBytes": bytes, "sourceBytes": bytes});
        let source = serde_json::from_value(json!({"object": object, "facts": facts})).expect("a source");
        let segment = json!({"source": 0, "window": window, "splice": splice});
        let segment = serde_json::from_value(segment).expect("a segment");
        Estimates::of(cut, &[source], &[segment], 3538)
    }

    #[test]
    fn lambda_is_several_times_cheaper_at_any_length() {
        for seconds in [20.0, 60.0, 600.0] {
            let Estimates { trim_usd, transcode_usd, .. } = estimates(Cut::Exact, seconds);
            assert!((3.0..8.0).contains(&(transcode_usd / trim_usd)), "{seconds} s: {trim_usd} {transcode_usd}");
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
        let [slow, fast] = [3599.0, 3600.0].map(|seconds| estimates(Cut::Exact, seconds).transcode_usd);
        assert!((1.5..1.7).contains(&(fast / slow)), "{slow} {fast}");
    }

    #[test]
    fn smart_cut_of_half_an_hour_takes_no_longer_than_its_sound() {
        let facts = json!({"encodedSeconds": 1.5, "copiedSeconds": 1798.5});
        let spliced = estimates_of(Cut::Exact, 1800.0, serde_json::from_value(facts).expect("facts"));
        let whole = estimates(Cut::Exact, 1800.0);
        assert!((60.0..120.0).contains(&spliced.trim_seconds), "{spliced:?}");
        assert!(spliced.trim_seconds * 10.0 < whole.trim_seconds && spliced.scratch_bytes < whole.scratch_bytes);
    }

    #[test]
    fn copy_needs_no_working_space_and_little_time() {
        let Estimates { trim_seconds, trim_usd, scratch_bytes, .. } = estimates(Cut::Copy, 1800.0);
        assert_eq!(scratch_bytes, 0);
        assert!(trim_seconds < 60.0 && trim_usd < 0.01, "{trim_seconds} {trim_usd}");
    }
}
