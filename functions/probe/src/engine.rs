//! Which engine makes a clip, and why.
//!
//! `trim` makes what it can, because it is cheaper. `MediaConvert` makes a clip if too much of it has to be encoded, or
//! if it takes too long or too much space for a Lambda. A copy may be of any length.

use crate::estimate::Estimates;
use model::{
    outcome::{Engine, EngineName},
    request::Cut,
};

/// The share of its timeout that `trim`'s estimate may take up.
const MAX_TIMEOUT_SHARE: f64 = 0.6;

/// What `trim` can do.
#[derive(Debug, Clone, Copy)]
pub struct TrimLimits {
    /// How much of a clip it encodes at most, in seconds of the clip.
    pub encoded_seconds: f64,
    /// How long it may run.
    pub timeout_seconds: f64,
    /// Its space in `/tmp`.
    pub scratch_bytes: u64,
}

/// The facts that decide on the engine.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    pub cut: Cut,
    /// How long the clip plays.
    pub clip_seconds: f64,
    /// How much of that is encoded.
    pub encoded_seconds: f64,
    /// Whether `MediaConvert` cannot do what is requested.
    pub is_trim_only: bool,
    pub estimates: Estimates,
}

impl Work {
    /// The engine that makes the clip.
    #[must_use]
    pub fn engine(&self, limits: TrimLimits) -> Engine {
        let estimates = &self.estimates;
        if let Some(why) = self.beyond_trim(limits) {
            return Engine {
                name: EngineName::Transcode,
                why,
                estimate_usd: estimates.transcode_usd,
                cutting: None,
            };
        }
        let cut = match self.cut {
            Cut::Exact => "exact",
            Cut::Copy => "copy",
        };
        let (clip, work) = (rounded(self.clip_seconds), rounded(estimates.trim_seconds));
        Engine {
            name: EngineName::Trim,
            why: format!("{cut} clip of {clip} s takes about {work} s"),
            estimate_usd: estimates.trim_usd,
            cutting: None,
        }
    }

    /// Why `trim` cannot make the clip.
    fn beyond_trim(&self, limits: TrimLimits) -> Option<String> {
        if self.encoded_seconds > limits.encoded_seconds && !self.is_trim_only {
            let (encoded, most) = (
                grouped(self.encoded_seconds, 1),
                grouped(limits.encoded_seconds, 1),
            );
            return Some(format!("encoding {encoded} s > {most} s"));
        }
        let max_seconds = MAX_TIMEOUT_SHARE * limits.timeout_seconds;
        if self.estimates.trim_seconds > max_seconds {
            let (work, most) = (
                grouped(self.estimates.trim_seconds, 0),
                grouped(max_seconds, 0),
            );
            return Some(format!("work {work} s > {most} s"));
        }
        let bytes = self.estimates.scratch_bytes;
        if bytes > limits.scratch_bytes {
            let (needed, most) = (with_commas(bytes), with_commas(limits.scratch_bytes));
            return Some(format!("working space {needed} bytes > {most} bytes"));
        }
        None
    }
}

/// A number with one decimal, omitted if it is 0.
fn rounded(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// A number with commas between thousands, and up to `decimals` decimals.
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = with_commas(whole.parse().unwrap_or(u64::MAX));
    match fraction.trim_end_matches('0') {
        "" => whole,
        fraction => format!("{whole}.{fraction}"),
    }
}

fn with_commas(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TrimLimits = TrimLimits {
        encoded_seconds: 600.0,
        timeout_seconds: 900.0,
        scratch_bytes: 2_147_483_648,
    };

    /// An exact clip that is encoded whole and is just within every limit.
    fn largest() -> Work {
        Work {
            cut: Cut::Exact,
            clip_seconds: 600.0,
            encoded_seconds: 600.0,
            is_trim_only: false,
            estimates: Estimates {
                trim_seconds: 540.0,
                trim_usd: 0.03,
                transcode_usd: 0.15,
                scratch_bytes: 2_147_483_648,
            },
        }
    }

    fn transcode(why: &str) -> Engine {
        Engine {
            name: EngineName::Transcode,
            why: why.to_owned(),
            estimate_usd: 0.15,
            cutting: None,
        }
    }

    #[test]
    fn clip_at_every_limit_is_made_by_trim() {
        let wanted = Engine {
            name: EngineName::Trim,
            why: "exact clip of 600 s takes about 540 s".to_owned(),
            estimate_usd: 0.03,
            cutting: None,
        };
        assert_eq!(largest().engine(LIMITS), wanted);
    }

    #[test]
    fn clip_of_which_too_much_is_encoded_goes_to_mediaconvert() {
        for (encoded_seconds, max_seconds, why) in [
            (600.1, 600.0, "encoding 600.1 s > 600 s"),
            (1920.0, 600.0, "encoding 1,920 s > 600 s"),
            (1_234_567.89, 90.5, "encoding 1,234,567.9 s > 90.5 s"),
        ] {
            let work = Work {
                encoded_seconds,
                ..largest()
            };
            let limits = TrimLimits {
                encoded_seconds: max_seconds,
                ..LIMITS
            };
            assert_eq!(work.engine(limits), transcode(why));
        }
    }

    #[test]
    fn only_trim_can_do_what_mediaconvert_cannot_however_much_it_encodes() {
        let mut work = Work {
            encoded_seconds: 601.0,
            is_trim_only: true,
            ..largest()
        };
        assert_eq!(work.engine(LIMITS).name, EngineName::Trim);
        work.estimates.trim_seconds = 541.0;
        assert_eq!(
            work.engine(LIMITS),
            transcode("work 541 s > 540 s"),
            "which refuses it, with the field that it cannot do"
        );
    }

    #[test]
    fn long_clip_that_is_copied_is_made_by_trim() {
        let mut work = Work {
            cut: Cut::Copy,
            clip_seconds: 36_000.04,
            encoded_seconds: 0.0,
            ..largest()
        };
        work.estimates.trim_seconds = 12.34;
        let why = "copy clip of 36000 s takes about 12.3 s";
        assert_eq!(work.engine(LIMITS).why, why);
    }

    #[test]
    fn clip_that_is_too_slow_or_too_large_for_a_lambda_goes_to_mediaconvert() {
        let mut slow = largest();
        slow.estimates.trim_seconds = 1540.4;
        assert_eq!(slow.engine(LIMITS), transcode("work 1,540 s > 540 s"));
        let mut large = largest();
        large.estimates.scratch_bytes += 1;
        let why = "working space 2,147,483,649 bytes > 2,147,483,648 bytes";
        assert_eq!(large.engine(LIMITS), transcode(why));
    }
}
