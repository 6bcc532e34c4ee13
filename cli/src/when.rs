//! Moments and time spans, as people write and read them.

use time::{
    Date, Duration, OffsetDateTime, format_description::well_known::Rfc3339,
    macros::format_description,
};

/// A moment: `2d` (that long ago), `2026-11-24` (its midnight in UTC) or RFC 3339.
pub fn parse(text: &str) -> Result<OffsetDateTime, String> {
    parse_at(text, OffsetDateTime::now_utc())
}

fn parse_at(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    let expected = || {
        format!(
            "{text:?} is not a time; write for example 30m, 12h, 7d, 2026-11-24 or 2026-11-24T06:00:00Z"
        )
    };
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(moment);
    }
    if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        return Ok(date.midnight().assume_utc());
    }
    let unit = text.chars().next_back().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(expected()),
    };
    let number: i64 = text[..text.len() - 1]
        .parse()
        .ok()
        .filter(|number| *number >= 0)
        .ok_or_else(expected)?;
    let span = number.checked_mul(seconds).map(Duration::seconds);
    span.and_then(|span| now.checked_sub(span))
        .ok_or_else(|| format!("{text:?} is too long ago"))
}

/// `2026-11-24 06:00:00`, in UTC.
pub fn moment(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    at.to_offset(time::UtcOffset::UTC)
        .format(format)
        .unwrap_or_default()
}

/// RFC 3339 in UTC, to the millisecond.
pub fn rfc3339(at: OffsetDateTime) -> String {
    let at = to_millisecond(at.to_offset(time::UtcOffset::UTC));
    at.format(&Rfc3339).unwrap_or_default()
}

/// The millisecond that a moment is in.
pub fn to_millisecond(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_millisecond(at.millisecond()).unwrap_or(at)
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 03 min` or `4 d 2 h`.
pub fn span(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = Duration::seconds_f64(seconds.round()).whole_seconds();
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// How long ago something was: `12 s`, `3 min`, `2 h` or `4 d`.
pub fn age(seconds: f64) -> String {
    let seconds = Duration::seconds_f64(seconds.max(0.0)).whole_seconds();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A moment of the AWS SDK.
pub fn of_sdk(at: &aws_sdk_sfn::primitives::DateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(at.as_nanos()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-24 06:00 UTC);

    #[test]
    fn moments_are_understood_as_people_write_them() {
        for (text, expected) in [
            ("0s", NOW),
            ("90m", datetime!(2026-11-24 04:30 UTC)),
            ("2d", datetime!(2026-11-22 06:00 UTC)),
            ("1w", datetime!(2026-11-17 06:00 UTC)),
            ("2026-11-20", datetime!(2026-11-20 00:00 UTC)),
            ("2026-11-20T01:00:00+01:00", datetime!(2026-11-20 00:00 UTC)),
        ] {
            assert_eq!(parse_at(text, NOW), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_examples() {
        for text in [
            "",
            "d",
            "-1d",
            "1.5h",
            "yesterday",
            "2026-13-01",
            "2d\u{e9}",
        ] {
            assert!(
                parse_at(text, NOW).is_err_and(|error| error.contains("write for example 30m")),
                "{text}"
            );
        }
        assert!(
            parse_at("9223372036854775807w", NOW)
                .is_err_and(|error| error.contains("too long ago"))
        );
    }

    #[test]
    fn spans_are_short() {
        let spans = [0.04, 9.94, 9.96, 59.4, 59.9, 3599.9, 7380.0, 360_000.0].map(span);
        assert_eq!(
            spans,
            [
                "0.0 s",
                "9.9 s",
                "10 s",
                "59 s",
                "1 min 00 s",
                "1 h 00 min",
                "2 h 03 min",
                "4 d 4 h"
            ]
        );
    }

    #[test]
    fn ages_are_of_one_unit() {
        let ages = [-1.0, 59.9, 60.0, 7199.0, 90_000.0].map(age);
        assert_eq!(ages, ["0 s", "59 s", "1 min", "1 h", "1 d"]);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,12}") {
            let _ = parse_at(&text, NOW);
        }
    }
}
