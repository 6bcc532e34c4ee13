//! Points in time within a source, as requests write them.

use crate::{
    ClipError,
    text::shorten,
    timestamp::{Timestamp, TimestampError},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// The largest point in time that a request may name, in seconds: 1,000 hours.
pub const MAX_SECONDS: f64 = 3_600_000.0;

/// A point in time within a source.
///
/// Written as a number of seconds, as a string of seconds (`"72.5"`), as `[[HH:]MM:]SS[.fff]`, or as a percentage of
/// the source's duration (`"25%"`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// Seconds from the start of the source; finite, 0 to [`MAX_SECONDS`].
    Seconds(f64),
    /// Percent of the source's duration; 0 to 100.
    Percent(f64),
}

impl Time {
    /// The point in seconds for a source that lasts `duration_seconds`.
    #[must_use]
    pub fn resolve(self, duration_seconds: f64) -> f64 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::Percent(percent) => duration_seconds * percent / 100.0,
        }
    }

    fn seconds(seconds: f64) -> Result<Self, TimeError> {
        match seconds {
            s if s.is_nan() => Err(TimeError("is not a number")),
            s if s < 0.0 => Err(TimeError("is negative")),
            s if s > MAX_SECONDS => Err(TimeError(
                "is more than 1,000 hours within a source; of a camera, the time of the clock is in RFC 3339 here, or in \
                 milliseconds in startTimestampInMs and endTimestampInMs",
            )),
            s => Ok(Self::Seconds(s)),
        }
    }
}

/// Why a text is not a [`Time`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}; a time is seconds, [[HH:]MM:]SS[.fff] or a percentage such as 25%")]
pub struct TimeError(&'static str);

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let number = |part: &str| {
            let digits = part.strip_prefix('-').unwrap_or(part);
            if digits.eq_ignore_ascii_case("nan") {
                return Err(TimeError("is not a number"));
            }
            let decimal = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            match part.parse() {
                Ok(value) if decimal => Ok(value),
                _ => Err(TimeError("is not a time")),
            }
        };
        if let Some(percent) = text.strip_suffix('%') {
            let percent = number(percent)?;
            return if (0.0..=100.0).contains(&percent) {
                Ok(Self::Percent(percent))
            } else {
                Err(TimeError("is not between 0% and 100%"))
            };
        }
        let parts: Vec<&str> = text.split(':').collect();
        let (last, leading) = parts.split_last().ok_or(TimeError("is empty"))?;
        if leading.len() > 2 {
            return Err(TimeError("has more than three parts"));
        }
        let mut total = 0.0;
        for (index, part) in leading.iter().enumerate() {
            let whole = part
                .parse::<u32>()
                .map_err(|_| TimeError("has hours or minutes that are not whole numbers"))?;
            if index > 0 && whole > 59 {
                return Err(TimeError("has more than 59 minutes"));
            }
            total = (total + f64::from(whole)) * 60.0;
        }
        let seconds = number(last)?;
        if !leading.is_empty() && !(0.0..60.0).contains(&seconds) {
            return Err(TimeError("has seconds that are not between 0 and 60"));
        }
        Self::seconds(total + seconds)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds} s"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Seconds(seconds) => serializer.serialize_f64(*seconds),
            Self::Percent(percent) => serializer.collect_str(&format_args!("{percent}%")),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a time: seconds, \"[[HH:]MM:]SS[.fff]\" or a percentage such as \"25%\"",
                )
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Time, E> {
                Time::seconds(value).map_err(|error| E::custom(format_args!("{value} {error}")))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Time, E> {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "out of range long before it loses precision"
                )]
                self.visit_f64(value as f64)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Time, E> {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "out of range long before it loses precision"
                )]
                self.visit_f64(value as f64)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Time, E> {
                value
                    .parse()
                    .map_err(|error| E::custom(format_args!("{:?} {error}", shorten(value, 40))))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Seconds, [[HH:]MM:]SS[.fff], or a percentage of the source's duration.",
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": MAX_SECONDS},
                {"type": "string", "pattern": r"^(([0-9]+:)?[0-9]+:)?[0-9]*\.?[0-9]+$"},
                {"type": "string", "pattern": r"^[0-9]*\.?[0-9]+%$"}
            ]
        })
    }
}

/// A point in time in `start` and `end`: within a source, or a clock time in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// Within a source.
    Within(Time),
    /// By the clock.
    At(Timestamp),
}

impl Moment {
    /// The point within a source in `field`.
    ///
    /// # Errors
    /// `InvalidRequest` for a clock time.
    pub fn within(self, field: &str) -> Result<Time, ClipError> {
        match self {
            Self::Within(time) => Ok(time),
            Self::At(_) => Err(ClipError::invalid_request(format!(
                "{field}: a time in RFC 3339 needs cameraId"
            ))),
        }
    }

    /// The clock time in `field`.
    ///
    /// # Errors
    /// `InvalidRequest` for a point within a source.
    pub fn at(self, field: &str) -> Result<Timestamp, ClipError> {
        match self {
            Self::At(timestamp) => Ok(timestamp),
            Self::Within(time) => Err(ClipError::invalid_request(format!(
                "{field}: {time} is not a clock time; with cameraId, {field} must be an RFC 3339 time, such as \
                 2018-08-02T15:40:00Z"
            ))),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Within(time) => time.serialize(serializer),
            Self::At(timestamp) => serializer.collect_str(timestamp),
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        // Nothing else has a dash after its first digits.
        match value.as_str() {
            Some(text) if text.as_bytes().get(4) == Some(&b'-') => Timestamp::from_rfc3339(text)
                .map(Self::At)
                .map_err(|error: TimestampError| {
                    de::Error::custom(format_args!("{:?} {error}", shorten(text, 40)))
                }),
            _ => Time::deserialize(value)
                .map(Self::Within)
                .map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time within the source; with cameraId a time in RFC 3339.",
            "anyOf": [generator.subschema_for::<Time>(), {"type": "string", "format": "date-time"}]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_way_of_writing_a_time_is_understood() {
        for (text, seconds) in [
            ("72.5", 72.5),
            ("1:12.5", 72.5),
            ("00:01:30.250", 90.25),
            ("2:00:00", 7200.0),
            ("90:00", 5400.0),
        ] {
            assert_eq!(text.parse(), Ok(Time::Seconds(seconds)), "{text}");
        }
        assert_eq!("25%".parse(), Ok(Time::Percent(25.0)));
        assert_eq!(
            serde_json::from_str::<Time>("7").ok(),
            Some(Time::Seconds(7.0))
        );
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_reason() {
        for (text, reason) in [
            ("NaN", "is not a number"),
            ("-1", "is negative"),
            ("", "is not a time"),
            ("inf", "is not a time"),
            ("1e3", "is not a time"),
            ("1:60", "between 0 and 60"),
            ("1:60:00", "59 minutes"),
            ("1:2:3:4", "three parts"),
            ("-1:00", "whole numbers"),
            ("101%", "between 0% and 100%"),
            ("99999999", "1,000 hours"),
        ] {
            let error = text.parse::<Time>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,20}") {
            let _ = text.parse::<Time>();
        }

        #[test]
        fn json_round_trip_keeps_the_time(seconds in 0.0..MAX_SECONDS) {
            let time = Time::Seconds(seconds);
            let json = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
        }
    }
}
