//! What AWS charges: the figures of `prices.json`, each with its source, and how they are applied.
//!
//! Estimates serve to choose an engine and to enforce cost limits. They ignore discounts, free tiers and other regions'
//! prices.

use serde::Deserialize;
use std::sync::LazyLock;

/// The prices that estimates are made with.
pub static PRICES: LazyLock<Prices> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).expect("prices.json is complete")
});

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
    media_convert_hevc: Factor,
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
struct Factor {
    factor: f64,
}

#[derive(Debug, Deserialize)]
struct Minimum {
    seconds: f64,
}

/// What the price of a `MediaConvert` job with one output, in a single pass, depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// The shorter side of the pictures, in pixels.
    pub lines: u32,
    /// Frames per second.
    pub frame_rate: f64,
    /// How long the output plays.
    pub seconds: f64,
    /// Whether several machines work on it in parallel.
    pub accelerated: bool,
    /// Whether it is H.265 rather than H.264.
    pub hevc: bool,
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

    /// A `MediaConvert` job.
    #[must_use]
    pub fn media_convert(&self, job: &Job) -> f64 {
        let sizes = &self.media_convert_size.factors;
        let size = sizes
            .iter()
            .find(|size| size.up_to_lines.is_none_or(|most| job.lines <= most));
        let rates = &self.media_convert_rate.factors;
        let rate = rates.iter().find(|rate| {
            rate.up_to_frames_per_second
                .is_none_or(|most| job.frame_rate <= most)
        });
        let codec = if job.hevc {
            self.media_convert_hevc.factor
        } else {
            1.0
        };
        let factor =
            size.map_or(1.0, |size| size.factor) * rate.map_or(1.0, |rate| rate.factor) * codec;
        let tiers = &self.media_convert_minute.usd;
        let minute = if job.accelerated || job.hevc {
            tiers.professional
        } else {
            tiers.basic
        };
        let billed_seconds = job
            .seconds
            .ceil()
            .max(self.media_convert_minimum_seconds.seconds);
        billed_seconds / 60.0 * minute * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(lines: u32, frame_rate: f64, seconds: f64) -> f64 {
        PRICES.media_convert(&Job {
            lines,
            frame_rate,
            seconds,
            accelerated: false,
            hevc: false,
        })
    }

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn every_figure_has_a_source() {
        let prices: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(include_str!("prices.json")).expect("prices");
        for (name, price) in prices.iter().filter(|(_, price)| price.is_object()) {
            assert!(
                price["source"]
                    .as_str()
                    .is_some_and(|source| !source.is_empty()),
                "{name}"
            );
        }
    }

    #[test]
    fn minute_of_1080p30_costs_one_and_a_half_cents() {
        assert!(close(job(1080, 30.0, 60.0), 0.015));
        assert!(close(job(1080, 59.94, 60.0), 0.03));
        assert!(close(job(360, 25.0, 60.0), 0.0075));
        let large = Job {
            lines: 2160,
            frame_rate: 30.0,
            seconds: 60.0,
            accelerated: true,
            hevc: false,
        };
        assert!(close(PRICES.media_convert(&large), 0.048));
        assert!(close(
            PRICES.media_convert(&Job {
                hevc: true,
                ..large
            }),
            0.096
        ));
    }

    #[test]
    fn ten_seconds_are_billed_at_the_least_and_whole_seconds_after_that() {
        let seconds = |seconds| job(360, 25.0, seconds);
        assert!(close(seconds(1.0), seconds(10.0)) && close(seconds(10.2), seconds(11.0)));
    }

    #[test]
    fn second_of_two_vcpus_costs_a_hundredth_of_a_cent_at_the_most() {
        assert!((0.00005..0.0001).contains(&PRICES.lambda(3538.0, 1.0)));
    }
}
