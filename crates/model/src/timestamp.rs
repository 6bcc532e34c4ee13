//! Clock times, as written in requests for a camera's recordings.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{borrow::Cow, fmt};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// The earliest timestamp, 2001-09-09T01:46:40Z: a smaller value was meant as seconds, or cannot be a recording's time.
pub const MIN_TIMESTAMP: i64 = 1_000_000_000_000;
/// The latest timestamp, the end of the year 9999, RFC 3339's last.
pub const MAX_TIMESTAMP: i64 = 253_402_300_799_999;

/// Milliseconds since 1970 in UTC, from [`MIN_TIMESTAMP`] to [`MAX_TIMESTAMP`].
///
/// Time zones and daylight saving time never matter. As in POSIX, a leap second does not count: it becomes the last
/// millisecond of the second before it.
///
/// In JSON a number, or a string of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Timestamp(i64);

/// Why a value is not a [`Timestamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimestampError(&'static str);

impl Timestamp {
    /// The timestamp of a number of milliseconds.
    ///
    /// # Errors
    /// If it is not between [`MIN_TIMESTAMP`] and [`MAX_TIMESTAMP`].
    pub fn from_ms(ms: i64) -> Result<Self, TimestampError> {
        match ms {
            MIN_TIMESTAMP..=MAX_TIMESTAMP => Ok(Self(ms)),
            _ if ms < MIN_TIMESTAMP => Err(TimestampError(
                "is before 2001; a timestamp is milliseconds since 1970",
            )),
            _ => Err(TimestampError(
                "is after 9999; a timestamp is milliseconds since 1970",
            )),
        }
    }

    /// The timestamp of a text in RFC 3339, with any offset; fractions of a millisecond are dropped.
    ///
    /// # Errors
    /// If it is not RFC 3339, or out of range.
    pub fn from_rfc3339(text: &str) -> Result<Self, TimestampError> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
            TimestampError("is not an RFC 3339 time such as 2018-08-02T15:40:00.000Z")
        })?;
        let ms = at.unix_timestamp_nanos().div_euclid(1_000_000);
        Self::from_ms(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// Milliseconds since 1970 in UTC.
    #[must_use]
    pub fn ms(self) -> i64 {
        self.0
    }
}

/// Formats milliseconds since 1970 for people: `2018-08-02T15:40:00.000Z`.
#[must_use]
pub fn clock(ms: i64) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    at.and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| format!("{ms} ms"))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clock(self.0))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("milliseconds since 1970, a number or a string of digits")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Timestamp, E> {
                Timestamp::from_ms(value)
                    .map_err(|error| E::custom(format_args!("{value} {error}")))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Timestamp, E> {
                self.visit_i64(i64::try_from(value).unwrap_or(i64::MAX))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Timestamp, E> {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "saturates, and is out of range then"
                )]
                match value.fract() {
                    0.0 => self.visit_i64(value as i64),
                    _ => Err(E::custom(format_args!(
                        "{value} is no whole number of milliseconds"
                    ))),
                }
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Timestamp, E> {
                match value.parse() {
                    Ok(ms) if value.bytes().all(|byte| byte.is_ascii_digit()) => self.visit_i64(ms),
                    _ => Err(E::invalid_value(
                        de::Unexpected::Str(&crate::text::shorten(value, 40)),
                        &self,
                    )),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Milliseconds since 1970 in UTC.",
            "anyOf": [
                {"type": "integer", "minimum": MIN_TIMESTAMP, "maximum": MAX_TIMESTAMP},
                {"type": "string", "pattern": "^0*[0-9]{13,15}$"}
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INSTANT: Timestamp = Timestamp(1_533_224_400_000);

    #[test]
    fn number_and_string_are_the_same_timestamp() {
        for json in [
            "1533224400000",
            "\"1533224400000\"",
            "1533224400000.0",
            "1.5332244e12",
        ] {
            assert_eq!(
                serde_json::from_str::<Timestamp>(json).ok(),
                Some(INSTANT),
                "{json}"
            );
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused_with_the_reason() {
        for (json, reason) in [
            ("1533224400", "is before 2001"),
            ("-1", "is before 2001"),
            ("1533224400000000", "is after 9999"),
            ("18446744073709551615", "is after 9999"),
            ("1533224400000.5", "is no whole number"),
            ("\"2018-08-02T15:40:00Z\"", "milliseconds since 1970"),
            ("\"+1533224400000\"", "milliseconds since 1970"),
            ("\"\"", "milliseconds since 1970"),
            ("null", "milliseconds since 1970"),
        ] {
            let error = serde_json::from_str::<Timestamp>(json)
                .expect_err(json)
                .to_string();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn offset_from_utc_is_taken_into_account() {
        for text in [
            "2018-08-02T15:40:00Z",
            "2018-08-02T17:40:00+02:00",
            "2018-08-02T08:40:00.0009-07:00",
        ] {
            assert_eq!(Timestamp::from_rfc3339(text), Ok(INSTANT), "{text}");
        }
        assert_eq!(INSTANT.to_string(), "2018-08-02T15:40:00.000Z");
        assert!(
            Timestamp::from_rfc3339("2018-08-02T15:40:00").is_err(),
            "without an offset it is no instant"
        );
    }

    #[test]
    fn hour_that_daylight_saving_time_repeats_is_two_hours() {
        let [summer, winter] =
            ["2018-10-28T02:30:00+02:00", "2018-10-28T02:30:00+01:00"].map(Timestamp::from_rfc3339);
        assert_eq!(
            winter.expect("a time").ms() - summer.expect("a time").ms(),
            3_600_000
        );
    }

    #[test]
    fn leap_second_is_the_end_of_the_second_before_it() {
        let [leap, next] =
            ["2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"].map(Timestamp::from_rfc3339);
        assert_eq!(next.expect("a time").ms() - leap.expect("a time").ms(), 1);
    }

    proptest! {
        #[test]
        fn text_of_any_timestamp_is_the_timestamp(ms in MIN_TIMESTAMP..=MAX_TIMESTAMP) {
            prop_assert_eq!(Timestamp::from_rfc3339(&clock(ms)), Ok(Timestamp(ms)));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,30}") {
            let _ = Timestamp::from_rfc3339(&text);
            let _ = serde_json::from_value::<Timestamp>(text.into());
        }
    }
}
