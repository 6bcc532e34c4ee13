//! How recordings are named: `recordings/{camera}/{start:%Y/%m/%d}/{camera}.{start:%Y%m%dT%H%M%S%3f}.mp4`.
//!
//! A template must make a camera's keys sort by time. Then one listing, from one key to another, finds the recordings
//! that began between two instants, however many there are.

use std::{fmt::Write, str::FromStr};
use time::{Date, Month, OffsetDateTime};

/// A template of the keys of recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    parts: Vec<KeyPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyPart {
    Text(String),
    Camera,
    Start(Field),
}

/// A part of the time at which a recording began, in UTC, with a fixed number of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    /// Seconds since 1970.
    Epoch,
}

/// How many fields, from the year on, are needed for a time to the second.
const TO_THE_SECOND: usize = 6;

impl Field {
    /// The field of a conversion specification, and what follows it.
    fn parse(format: &str) -> Result<(Self, &str), TemplateError> {
        const CODES: [(&str, Field); 8] = [
            ("%Y", Field::Year),
            ("%m", Field::Month),
            ("%d", Field::Day),
            ("%H", Field::Hour),
            ("%M", Field::Minute),
            ("%S", Field::Second),
            ("%3f", Field::Millisecond),
            ("%s", Field::Epoch),
        ];
        let found = CODES
            .iter()
            .find_map(|(code, field)| Some((*field, format.strip_prefix(code)?)));
        found.ok_or_else(|| {
            TemplateError(format!(
                "{format:?} begins with none of %Y %m %d %H %M %S %3f %s"
            ))
        })
    }

    fn digits(self) -> usize {
        match self {
            Self::Year => 4,
            Self::Millisecond => 3,
            Self::Epoch => 10,
            _ => 2,
        }
    }

    fn of(self, at: OffsetDateTime) -> i64 {
        match self {
            Self::Year => at.year().into(),
            Self::Month => u8::from(at.month()).into(),
            Self::Day => at.day().into(),
            Self::Hour => at.hour().into(),
            Self::Minute => at.minute().into(),
            Self::Second => at.second().into(),
            Self::Millisecond => at.millisecond().into(),
            Self::Epoch => at.unix_timestamp(),
        }
    }
}

/// Why a text is not a [`KeyTemplate`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

impl FromStr for KeyTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            parts.push(KeyPart::Text(before.into()));
            let (inside, after) = behind
                .split_once('}')
                .ok_or_else(|| TemplateError(format!("{rest:?} has no closing brace")))?;
            match inside.strip_prefix("start:") {
                Some(format) => start_parts(format, &mut parts)?,
                None if inside == "camera" => parts.push(KeyPart::Camera),
                None => {
                    return Err(TemplateError(format!(
                        "{{{inside}}} is neither {{camera}} nor {{start:…}}"
                    )));
                }
            }
            rest = after;
        }
        parts.push(KeyPart::Text(rest.into()));
        parts.retain(|part| *part != KeyPart::Text(String::new()));
        let template = Self { parts };
        template.check()?;
        Ok(template)
    }
}

/// The parts of what follows `{start:`.
fn start_parts(format: &str, parts: &mut Vec<KeyPart>) -> Result<(), TemplateError> {
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let (field, after) = Field::parse(&rest[at..])?;
        parts.push(KeyPart::Text(rest[..at].into()));
        parts.push(KeyPart::Start(field));
        rest = after;
    }
    parts.push(KeyPart::Text(rest.into()));
    Ok(())
}

impl KeyTemplate {
    /// Checks that the keys of one camera sort by time and can be listed without those of other cameras.
    fn check(&self) -> Result<(), TemplateError> {
        let error = |message: &str| Err(TemplateError(message.into()));
        for part in &self.parts {
            if let KeyPart::Text(text) = part
                && !text
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"{}%".contains(&byte))
            {
                return error(
                    "outside {start:…}, only printable ASCII characters except braces and % are allowed",
                );
            }
        }
        let first_field = self
            .parts
            .iter()
            .position(|part| matches!(part, KeyPart::Start(_)));
        let first_camera = self.parts.iter().position(|part| *part == KeyPart::Camera);
        match (first_camera, first_field) {
            (None, _) => return error("there is no {camera}"),
            (_, None) => return error("there is no {start:…}"),
            (Some(camera), Some(field)) if field < camera => {
                return error(
                    "{start:…} comes before {camera}, so a search would list the recordings of all cameras",
                );
            }
            _ => {}
        }
        match self.known_fields()? {
            known if known < TO_THE_SECOND => {
                error("{start:…} does not tell the time to the second")
            }
            _ => Ok(()),
        }
    }

    /// How many fields, from the year on, the keys contain.
    fn known_fields(&self) -> Result<usize, TemplateError> {
        let mut known = 0;
        for field in self.fields() {
            let place = field as usize;
            if field == Field::Epoch {
                known = known.max(TO_THE_SECOND);
            } else if place > known {
                let field = format!("{field:?}").to_lowercase();
                return Err(TemplateError(format!(
                    "the {field} comes before a larger unit, so the keys would not sort by time"
                )));
            } else {
                known = known.max(place + 1);
            }
        }
        Ok(known)
    }

    fn fields(&self) -> impl Iterator<Item = Field> {
        self.parts.iter().filter_map(|part| {
            if let KeyPart::Start(field) = part {
                Some(*field)
            } else {
                None
            }
        })
    }

    /// The precision of a recording's start in its key, in milliseconds.
    #[must_use]
    pub fn precision_ms(&self) -> i64 {
        if self.fields().any(|field| field == Field::Millisecond) {
            1
        } else {
            1000
        }
    }

    /// A prefix that all keys of a camera have, and few others.
    #[must_use]
    pub fn prefix(&self, camera: &str) -> String {
        let parts = self
            .parts
            .iter()
            .take_while(|part| !matches!(part, KeyPart::Start(_)));
        render(parts, camera, OffsetDateTime::UNIX_EPOCH)
    }

    /// The key of a recording that began at `start_ms`, in milliseconds since 1970.
    #[must_use]
    pub fn key(&self, camera: &str, start_ms: i64) -> String {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(start_ms) * 1_000_000);
        render(
            self.parts.iter(),
            camera,
            at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        )
    }

    /// When the recording of a key began, in milliseconds since 1970; `None` if the key is not one of the camera's.
    ///
    /// A leap second counts, as in POSIX, as the second after it.
    #[must_use]
    pub fn start_ms(&self, camera: &str, key: &str) -> Option<i64> {
        let mut values: [Option<i64>; 8] = [None; 8];
        let mut rest = key;
        for part in &self.parts {
            rest = match part {
                KeyPart::Text(text) => rest.strip_prefix(text.as_str())?,
                KeyPart::Camera => rest.strip_prefix(camera)?,
                KeyPart::Start(field) => {
                    let (digits, after) = rest.split_at_checked(field.digits())?;
                    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                        return None;
                    }
                    let value = digits.parse().ok()?;
                    if *values[*field as usize].get_or_insert(value) != value {
                        return None;
                    }
                    after
                }
            };
        }
        let millisecond = values[Field::Millisecond as usize].unwrap_or(0);
        let seconds = if let Some(epoch) = values[Field::Epoch as usize] {
            epoch
        } else {
            seconds(&values)?
        };
        rest.is_empty().then_some(seconds * 1000 + millisecond)
    }
}

/// Seconds since 1970 of a date and a time of day.
fn seconds(values: &[Option<i64>; 8]) -> Option<i64> {
    let value = |field: Field| values[field as usize];
    let within = |field: Field, most: i64| value(field).filter(|value| *value <= most);
    let month = Month::try_from(u8::try_from(value(Field::Month)?).ok()?).ok()?;
    let day = u8::try_from(value(Field::Day)?).ok()?;
    let date =
        Date::from_calendar_date(i32::try_from(value(Field::Year)?).ok()?, month, day).ok()?;
    let (hour, minute) = (within(Field::Hour, 23)?, within(Field::Minute, 59)?);
    Some(
        date.midnight().assume_utc().unix_timestamp()
            + (hour * 60 + minute) * 60
            + within(Field::Second, 60)?,
    )
}

fn render<'a>(
    parts: impl Iterator<Item = &'a KeyPart>,
    camera: &str,
    at: OffsetDateTime,
) -> String {
    let mut key = String::new();
    for part in parts {
        match part {
            KeyPart::Text(text) => key.push_str(text),
            KeyPart::Camera => key.push_str(camera),
            KeyPart::Start(field) => {
                write!(key, "{:0width$}", field.of(at), width = field.digits())
                    .expect("a String takes any text");
            }
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::{MAX_TIMESTAMP, MIN_TIMESTAMP};
    use proptest::prelude::*;

    const EXAMPLE: &str =
        "recordings/{camera}/{start:%Y/%m/%d}/{camera}.{start:%Y%m%dT%H%M%S%3f}.mp4";
    const KEY: &str = "recordings/hi-pipeline/2018/08/02/hi-pipeline.20180802T154000007.mp4";
    const START_MS: i64 = 1_533_224_400_007;

    fn template(text: &str) -> KeyTemplate {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn key_tells_camera_and_start() {
        let template = template(EXAMPLE);
        assert_eq!(template.key("hi-pipeline", START_MS), KEY);
        assert_eq!(template.start_ms("hi-pipeline", KEY), Some(START_MS));
        assert_eq!(template.prefix("hi-pipeline"), "recordings/hi-pipeline/");
        assert_eq!(template.precision_ms(), 1);
    }

    #[test]
    fn seconds_since_1970_are_a_time_as_well() {
        let template = template("{camera}/{start:%s%3f}.mp4");
        assert_eq!(template.key("a", START_MS), "a/1533224400007.mp4");
        assert_eq!(
            template.start_ms("a", "a/1533224400007.mp4"),
            Some(START_MS)
        );
        assert_eq!(
            self::template("{camera}/{start:%Y/%m/%s}").precision_ms(),
            1000
        );
    }

    #[test]
    fn key_of_another_camera_or_form_is_no_recording() {
        let template = template(EXAMPLE);
        for (camera, key) in [
            ("hi", KEY),
            (
                "hi-pipeline",
                "recordings/hi-pipeline/2018/08/02/hi-pipeline.20180802T154000007.mp4.part",
            ),
            (
                "hi-pipeline",
                "recordings/hi-pipeline/2018/08/02/hi-pipeline.20180802T15400007.mp4",
            ),
            (
                "hi-pipeline",
                "recordings/hi-pipeline/2018/08/03/hi-pipeline.20180802T154000007.mp4",
            ),
            (
                "hi-pipeline",
                "recordings/hi-pipeline/2018/08/32/hi-pipeline.20180832T154000007.mp4",
            ),
            (
                "hi-pipeline",
                "recordings/hi-pipeline/2018/08/02/hi-pipeline.20180802T24+000007.mp4",
            ),
            ("hi-pipeline", "recordings/hi-pipeline/"),
        ] {
            assert_eq!(template.start_ms(camera, key), None, "{key}");
        }
    }

    #[test]
    fn camera_with_dots_and_slashes_is_itself_alone() {
        let template = template(EXAMPLE);
        let key = template.key("north.shore/cam.1", START_MS);
        assert_eq!(
            key,
            "recordings/north.shore/cam.1/2018/08/02/north.shore/cam.1.20180802T154000007.mp4"
        );
        assert_eq!(template.start_ms("north.shore/cam.1", &key), Some(START_MS));
        assert_eq!(template.start_ms("north.shore", &key), None);
        assert_eq!(template.start_ms("north.shore/cam", &key), None);
    }

    #[test]
    fn leap_second_is_the_second_after_it() {
        let template = template("{camera}.{start:%Y%m%d%H%M%S}");
        let [before, leap, next] = ["a.20161231235959", "a.20161231235960", "a.20170101000000"]
            .map(|key| template.start_ms("a", key));
        assert_eq!((before.map(|ms| ms + 1000), leap), (next, next));
        assert_eq!(template.start_ms("a", "a.20161231235961"), None);
    }

    #[test]
    fn template_that_cannot_be_listed_by_time_is_refused_with_the_reason() {
        for (text, reason) in [
            ("recordings/{start:%Y%m%dT%H%M%S}.mp4", "no {camera}"),
            ("recordings/{camera}.mp4", "no {start:…}"),
            (
                "{start:%Y%m%d}/{camera}/{start:%H%M%S}.mp4",
                "comes before {camera}",
            ),
            (
                "{camera}/{start:%d%m%Y%H%M%S}.mp4",
                "day comes before a larger unit",
            ),
            (
                "{camera}/{start:%H%M%S}/{start:%Y%m%d}.mp4",
                "hour comes before a larger unit",
            ),
            (
                "{camera}/{start:%3f%s}.mp4",
                "millisecond comes before a larger unit",
            ),
            ("{camera}/{start:%Y%m%d}.mp4", "to the second"),
            ("{camera}/{start:%Y%m%dT%H%M}.mp4", "to the second"),
            (
                "{camera}/{start:%y%m%d}.mp4",
                "\"%y%m%d\" begins with none of %Y",
            ),
            ("{camera}/{start}.mp4", "{start} is neither {camera} nor"),
            (
                "{camera}/{begin:%s}.mp4",
                "{begin:%s} is neither {camera} nor",
            ),
            ("{camera}/{start:%s.mp4", "no closing brace"),
            ("{camera}/%s/{start:%s}.mp4", "printable ASCII"),
            ("{camera}}/{start:%s}.mp4", "printable ASCII"),
            ("{camera} {start:%s}.mp4", "printable ASCII"),
            ("", "no {camera}"),
        ] {
            let error = text.parse::<KeyTemplate>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    fn templates() -> impl Strategy<Value = KeyTemplate> {
        prop::sample::select(vec![
            EXAMPLE,
            "{camera}{start:%s}",
            "{camera}/{start:%s%3f}.mp4",
            "{camera}/{start:%Y/%m/%d/%H}/{start:%M-%S}-{camera}.mp4",
            "a/{camera}/{start:%Y-%m-%d}/{start:%s}/{start:%H%M%S%3f}.mp4",
        ])
        .prop_map(template)
    }

    const CAMERA: &str = "[A-Za-z0-9_./-]{1,20}";

    proptest! {
        #[test]
        fn start_is_read_back_to_the_precision(template in templates(), camera in CAMERA, ms in MIN_TIMESTAMP..MAX_TIMESTAMP / 30) {
            let key = template.key(&camera, ms);
            prop_assert!(key.starts_with(&template.prefix(&camera)));
            prop_assert_eq!(template.start_ms(&camera, &key), Some(ms - ms % template.precision_ms()));
        }

        #[test]
        fn keys_sort_by_time(template in templates(), camera in CAMERA, one in MIN_TIMESTAMP..MAX_TIMESTAMP / 30, apart in 0_i64..100_000_000) {
            let [earlier, later] = [one, one + apart].map(|ms| template.key(&camera, ms));
            prop_assert!(earlier <= later);
            prop_assert_eq!(earlier == later, one / template.precision_ms() == (one + apart) / template.precision_ms());
        }

        #[test]
        fn any_text_is_a_template_or_refused(text in "(\\{camera\\}|\\{start:|%Y|%m|%d|%s|\\}|[ -~]){0,12}", key in ".{0,40}") {
            if let Ok(template) = text.parse::<KeyTemplate>() {
                let _ = template.start_ms("a", &key);
            }
        }
    }
}
