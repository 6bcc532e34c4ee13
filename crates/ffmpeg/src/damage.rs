//! Which pictures of a file decode, of those that its sample table shows.
//!
//! A picture is damaged if no picture is decoded at its time, or only one with errors. Its appearance is not judged.

use crate::decoded::Picture;
use crate::log;
use model::ClipError;
use std::ops::Range;

/// Tolerance for the time of a picture, in seconds: `FFmpeg` and we round edits to the timescale of the movie.
pub const TOLERANCE_SECONDS: f64 = 0.002;

/// A picture that is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// Its index among the shown pictures.
    pub index: usize,
    /// Whether there is no picture at all.
    pub is_missing: bool,
}

impl Flaw {
    /// The first shown picture, decoded in part.
    pub(crate) const IN_FIRST: Self = Self {
        index: 0,
        is_missing: false,
    };
}

/// Which pictures in the range `looked_at` of `shown` (their times, in seconds) are damaged. `decoded` is in order.
#[must_use]
pub fn flaws(shown: &[f64], looked_at: Range<usize>, decoded: &[Picture]) -> Vec<Flaw> {
    let mut decoded = decoded.iter().peekable();
    let mut flaws = Vec::new();
    for index in looked_at {
        let seconds = shown[index];
        while decoded
            .next_if(|picture| picture.seconds < seconds - TOLERANCE_SECONDS)
            .is_some()
        {}
        let picture = decoded.next_if(|picture| picture.seconds <= seconds + TOLERANCE_SECONDS);
        if picture.is_none_or(|picture| !picture.is_whole) {
            flaws.push(Flaw {
                index,
                is_missing: picture.is_none(),
            });
        }
    }
    flaws
}

/// How many of the pictures shown at the times `shown`, in seconds, an encoder does not get. A decoded picture whose time
/// differs from the index counts: it is encoded all the same.
#[must_use]
pub fn left_out(shown: &[f64], decoded: &[Picture]) -> usize {
    let (Some(first), Some(last)) = (shown.first(), shown.last()) else {
        return 0;
    };
    let range = first - TOLERANCE_SECONDS..=last + TOLERANCE_SECONDS;
    let came = decoded.iter().filter(|one| range.contains(&one.seconds));
    shown.len().saturating_sub(came.count())
}

/// Refuses a source whose first shown picture does not decode.
///
/// # Errors
/// `UnsupportedMedia`, with what `FFmpeg` complained of.
pub fn check_first(flaws: &[Flaw], complaints: &[String]) -> Result<(), ClipError> {
    match flaws.first() {
        Some(Flaw {
            index: 0,
            is_missing: true,
        }) => Err(undecodable("its first picture does not decode", complaints)),
        _ => Ok(()),
    }
}

pub(crate) fn undecodable(what: &str, complaints: &[String]) -> ClipError {
    let said = complaints.join("; ");
    ClipError::unsupported_media(match log::undecodable_codec(&said) {
        Some(codec) => format!("this FFmpeg cannot decode {codec}"),
        None => format!("the source is damaged: {what}: {said}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_at_another_time_is_not_left_out() {
        let picture = |seconds| Picture {
            seconds,
            is_whole: true,
        };
        let shown = [0.0, 0.04, 0.08, 0.12];
        let moved = [0.0, 0.05, 0.09, 0.12].map(picture);
        assert_eq!(flaws(&shown, 0..4, &moved).len(), 2);
        assert_eq!(left_out(&shown, &moved), 0);
        assert_eq!(left_out(&shown, &moved[..3]), 1);
        let with_others = [-0.04, 0.0, 0.04, 0.12, 0.16].map(picture);
        assert_eq!(left_out(&shown, &with_others), 1);
    }

    fn picture(seconds: f64, is_whole: bool) -> Picture {
        Picture { seconds, is_whole }
    }

    #[test]
    fn pictures_without_one_at_their_time_are_missing() {
        let shown = [0.0, 0.04, 0.08, 0.12, 0.16];
        let decoded = [
            picture(-0.04, true),
            picture(0.0004, true),
            picture(0.0799, false),
            picture(0.16, true),
        ];
        let flaw = |index, is_missing| Flaw { index, is_missing };
        assert_eq!(
            flaws(&shown, 0..5, &decoded),
            [flaw(1, true), flaw(2, false), flaw(3, true)]
        );
        assert_eq!(flaws(&shown, 4..5, &decoded), []);
    }

    #[test]
    fn source_whose_first_picture_decodes_in_part_is_not_refused() {
        let first = |is_missing| {
            [Flaw {
                index: 0,
                is_missing,
            }]
        };
        assert_eq!(check_first(&first(false), &[]), Ok(()));
        assert!(check_first(&first(true), &[]).is_err());
    }
}
