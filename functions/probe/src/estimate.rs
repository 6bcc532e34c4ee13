//! What making a clip takes: seconds, bytes and US dollars.

use clipflow_core::{
    plan::{PlannedSegment, ProbedSource},
    request::Cut,
};
use serde::Serialize;

/// Pictures of 1080p at 30 frames a second, in pixels a second: the load that [`ENCODE_SECONDS`] was measured with.
const REFERENCE_PIXELS_PER_SECOND: f64 = 1920.0 * 1080.0 * 30.0;
/// Encoding one second of that load on one vCPU takes this long; measured with libx264's preset veryfast.
const ENCODE_SECONDS: f64 = 1.2;
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
/// US dollars for one GB-second of an x86 Lambda in us-east-1 (aws.amazon.com/lambda/pricing).
const USD_PER_GB_SECOND: f64 = 0.000_016_666_7;

/// What making a clip with `trim` takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimates {
    /// How long `trim` runs.
    pub trim_seconds: f64,
    /// What that costs.
    pub trim_usd: f64,
    /// Working space in `/tmp` that it needs at the most.
    pub scratch_bytes: u64,
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
        for segment in segments {
            let video = &sources[segment.source].facts.video;
            let seconds = segment.window.duration_seconds;
            let window_bytes = segment.window.output_bytes;
            trim_seconds += lossy(window_bytes) * 2.0 / TRANSFER_BYTES_PER_SECOND;
            if cut == Cut::Exact {
                let pixels = f64::from(video.coded_width) * f64::from(video.coded_height) * video.frame_rate;
                trim_seconds += seconds * pixels / REFERENCE_PIXELS_PER_SECOND * ENCODE_SECONDS / speed;
                let encoded = (seconds * pixels * BITS_PER_PIXEL / 8.0).ceil();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; saturates")]
                let encoded = encoded as u64;
                scratch_bytes += window_bytes + encoded.max(window_bytes);
            }
        }
        Self { trim_seconds, trim_usd: trim_seconds * memory_mb / 1024.0 * USD_PER_GB_SECOND, scratch_bytes }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn lossy(bytes: u64) -> f64 {
    bytes as f64
}
