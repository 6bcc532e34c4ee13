//! Damage in sources: what a request wants done about it, and how an outcome reports it.

use crate::ClipError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The most places that are listed.
const MAX_PLACES: usize = 10;

/// What happens to a clip whose source is damaged within the cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnDamage {
    /// The clip shows what decodes, and its outcome says what does not.
    #[default]
    Accept,
    /// The source is refused.
    Reject,
}

impl OnDamage {
    #[must_use]
    pub fn is_accept(&self) -> bool {
        *self == Self::Accept
    }

    /// Whether a clip may be made of sources with such damage.
    ///
    /// # Errors
    /// `UnsupportedMedia` if it may not, saying what is damaged.
    pub fn check(self, damaged: &Damaged) -> Result<(), ClipError> {
        match self {
            Self::Reject if !damaged.is_none() => Err(ClipError::unsupported_media(format!(
                "the source is damaged ({damaged}), and the request refuses such sources"
            ))),
            _ => Ok(()),
        }
    }
}

/// The damage in a clip's sources.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Damaged {
    /// How many pictures do not decode, or only in part.
    pub pictures: u64,
    /// How many of them the clip does not have, so that the ones before them are shown for longer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Where they are. If there are more than ten places, the last one extends to the last damaged picture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<DamagedPlace>,
    /// Whether some of the audio does not decode.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audio: bool,
}

/// Consecutive damaged pictures.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DamagedPlace {
    /// When the first of them is shown, in seconds of the clip.
    pub start: f64,
    /// When the next undamaged picture is shown.
    pub end: f64,
    pub pictures: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Damaged {
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.pictures == 0 && !self.audio
    }

    /// Adds damage to the same clip that was found elsewhere, which may be the same.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.left_out += other.left_out;
        self.audio |= other.audio;
        self.places.extend(other.places);
        self.places
            .sort_by(|one, next| one.start.total_cmp(&next.start));
        self.places.dedup_by(|next, last| {
            let is_one = next.start <= last.end;
            if is_one {
                last.pictures = if next.start < last.end {
                    last.pictures.max(next.pictures)
                } else {
                    last.pictures + next.pictures
                };
                last.end = last.end.max(next.end);
            }
            is_one
        });
        self.pictures = self.places.iter().map(|place| place.pictures).sum();
        self.merge_last();
        self
    }

    /// Merges the last places if there are more than are listed.
    fn merge_last(&mut self) {
        while self.places.len() > MAX_PLACES
            && let Some(last) = self.places.pop()
            && let Some(before) = self.places.last_mut()
        {
            before.end = last.end;
            before.pictures += last.pictures;
        }
    }

    /// Adds a picture that is shown between two seconds of the clip, after the existing ones.
    pub fn add(&mut self, shown: Range<f64>) {
        let Range { start, end } = microseconds(shown);
        self.pictures += 1;
        let is_full = self.places.len() == MAX_PLACES;
        match self.places.last_mut() {
            Some(last) if is_full || start <= last.end => {
                last.end = end.max(last.end);
                last.pictures += 1;
            }
            _ => self.places.push(DamagedPlace {
                start,
                end,
                pictures: 1,
            }),
        }
    }
}

fn microseconds(shown: Range<f64>) -> Range<f64> {
    let round = |seconds: f64| (seconds * 1e6).round() / 1e6;
    round(shown.start)..round(shown.end)
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pictures = match self.pictures {
            1 => "1 picture".to_owned(),
            many => format!("{many} pictures"),
        };
        match self.places.first() {
            Some(first) => write!(f, "{pictures} from {:.3} s of the clip on", first.start)?,
            None => f.write_str("its sound")?,
        }
        match (self.places.is_empty(), self.audio) {
            (false, true) => f.write_str(", and its sound"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn damaged(frames: &[u32]) -> Damaged {
        let mut damaged = Damaged::default();
        for frame in frames {
            damaged.add(f64::from(*frame) / 30.0..f64::from(frame + 1) / 30.0);
        }
        damaged
    }

    #[test]
    fn pictures_one_behind_the_other_are_one_place() {
        let said = serde_json::to_value(damaged(&[3, 4, 5, 30])).expect("JSON");
        let places = json!([{"start": 0.1, "end": 0.2, "pictures": 3},
            {"start": 1.0, "end": 1.033_333, "pictures": 1}]);
        assert_eq!(said, json!({"pictures": 4, "places": places}));
    }

    #[test]
    fn last_of_ten_places_goes_on_to_the_last_picture() {
        let all: Vec<u32> = (0..1000).map(|number| 2 * number).collect();
        let damaged = damaged(&all);
        let last = damaged.places.last().expect("a place");
        assert_eq!((damaged.pictures, damaged.places.len()), (1000, 10));
        assert_eq!((last.pictures, last.end), (991, 66.633_333));
        // The metadata of an S3 object is limited to 2 KB.
        let said = serde_json::to_string(&damaged).expect("JSON");
        assert!(said.len() < 1000, "{said}");
    }

    #[test]
    fn what_was_found_twice_counts_once() {
        let both = damaged(&[0, 3, 4]).with(damaged(&[3, 4, 30]));
        assert_eq!(both, damaged(&[0, 3, 4, 30]));
        assert_eq!(Damaged::default().with(damaged(&[3])), damaged(&[3]));
        let many: Vec<u32> = (0..20).map(|number| 2 * number).collect();
        let both = damaged(&many[..10]).with(damaged(&many[10..]));
        assert_eq!(both, damaged(&many));
    }

    #[test]
    fn request_that_refuses_damage_is_told_where_it_is() {
        let mut damaged = damaged(&[15]);
        damaged.audio = true;
        assert_eq!(OnDamage::Accept.check(&damaged), Ok(()));
        assert_eq!(OnDamage::Reject.check(&Damaged::default()), Ok(()));
        let error = OnDamage::Reject.check(&damaged).expect_err("it is damaged");
        assert_eq!(
            error.message,
            "the source is damaged (1 picture from 0.500 s of the clip on, and its sound), and the request refuses such \
             sources"
        );
    }
}
