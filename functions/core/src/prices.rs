//! What AWS charges: the figures of `prices.json`, each with its source, and how they are applied.
//!
//! Estimates are for deciding between engines and for ceilings; discounts, free tiers and other regions' prices are
//! not in them.

use crate::mp4::VideoFacts;
use serde::Deserialize;
use std::sync::LazyLock;

/// The prices that estimates are made with.
pub static PRICES: LazyLock<Prices> =
    LazyLock::new(|| serde_json::from_str(include_str!("prices.json")).expect("prices.json is complete"));

/// Published prices, in US dollars.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prices {
    lambda_gb_second: Price<f64>,
    lambda_request: Price<f64>,
    state_transition: Price<f64>,
    s3_get: Price<f64>,
    s3_put: Price<f64>,
    media_convert_minute: Price<Tiers>,
    media_convert_size: Factors<SizeFactor>,
    media_convert_rate: Factors<RateFactor>,
    media_convert_minimum_seconds: Minimum,
}

#[derive(Debug, Deserialize)]
struct Price<T> {
    usd: T,
}

#[derive(Debug, Deserialize)]
struct Tiers {
    basic: f64,
    professional: f64,
}

#[derive(Debug, Deserialize)]
struct Factors<T> {
    factors: Vec<T>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SizeFactor {
    up_to_lines: Option<u32>,
    factor: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RateFactor {
    up_to_frames_per_second: Option<f64>,
    factor: f64,
}

#[derive(Debug, Deserialize)]
struct Minimum {
    seconds: f64,
}

impl Prices {
    /// One invocation of a Lambda with `memory_mb` MB that takes `seconds`.
    #[must_use]
    pub fn lambda(&self, memory_mb: f64, seconds: f64) -> f64 {
        self.lambda_request.usd + seconds * memory_mb / 1024.0 * self.lambda_gb_second.usd
    }

    /// Transitions between states.
    #[must_use]
    pub fn transitions(&self, count: f64) -> f64 {
        count * self.state_transition.usd
    }

    /// Requests to S3.
    #[must_use]
    pub fn s3(&self, gets: f64, puts: f64) -> f64 {
        gets * self.s3_get.usd + puts * self.s3_put.usd
    }

    /// A `MediaConvert` job with one output: `seconds` of H.264 in a single pass, in the size of `video` and at
    /// `frame_rate` frames a second.
    #[must_use]
    pub fn media_convert(&self, video: &VideoFacts, frame_rate: f64, seconds: f64, accelerated: bool) -> f64 {
        let lines = video.width.min(video.height);
        let sizes = &self.media_convert_size.factors;
        let size = sizes.iter().find(|size| size.up_to_lines.is_none_or(|most| lines <= most));
        let rates = &self.media_convert_rate.factors;
        let rate = rates.iter().find(|rate| rate.up_to_frames_per_second.is_none_or(|most| frame_rate <= most));
        let factor = size.map_or(1.0, |size| size.factor) * rate.map_or(1.0, |rate| rate.factor);
        let tiers = &self.media_convert_minute.usd;
        let minute = if accelerated { tiers.professional } else { tiers.basic };
        let billed_seconds = seconds.ceil().max(self.media_convert_minimum_seconds.seconds);
        billed_seconds / 60.0 * minute * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(width: u32, height: u32) -> VideoFacts {
        let facts = serde_json::json!({"codec": "h264", "codedWidth": width, "codedHeight": height, "width": width,
            "height": height, "rotationDegrees": 0, "frameRate": 30.0, "constantFrameRate": true, "timescale": 30000,
            "frames": 300, "startSeconds": 0.0, "durationSeconds": 10.0, "bitRate": 1000});
        serde_json::from_value(facts).expect("facts")
    }

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn every_figure_has_a_source() {
        let prices: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(include_str!("prices.json")).expect("prices");
        for (name, price) in prices.iter().filter(|(_, price)| price.is_object()) {
            assert!(price["source"].as_str().is_some_and(|source| !source.is_empty()), "{name}");
        }
    }

    #[test]
    fn minute_of_1080p30_costs_one_and_a_half_cents() {
        assert!(close(PRICES.media_convert(&video(1920, 1080), 30.0, 60.0, false), 0.015));
        assert!(close(PRICES.media_convert(&video(1080, 1920), 59.94, 60.0, false), 0.03));
        assert!(close(PRICES.media_convert(&video(640, 360), 25.0, 60.0, false), 0.0075));
        assert!(close(PRICES.media_convert(&video(3840, 2160), 30.0, 60.0, true), 0.048));
    }

    #[test]
    fn ten_seconds_are_billed_at_the_least_and_whole_seconds_after_that() {
        let seconds = |seconds| PRICES.media_convert(&video(640, 360), 25.0, seconds, false);
        assert!(close(seconds(1.0), seconds(10.0)) && close(seconds(10.2), seconds(11.0)));
    }

    #[test]
    fn second_of_two_vcpus_costs_a_hundredth_of_a_cent_at_the_most() {
        assert!((0.00005..0.0001).contains(&PRICES.lambda(3538.0, 1.0)));
    }
}
