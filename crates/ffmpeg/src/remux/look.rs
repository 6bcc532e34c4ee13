//! What is judged by what `FFmpeg` decodes of a source itself.

use crate::{damage, decoded::Picture};
use model::ClipError;
use mp4_cut::Movie;

/// What was decoded from a source itself.
#[derive(Debug)]
pub struct Looked {
    /// Times count from second 0 of the source.
    pub pictures: Vec<Picture>,
    /// Whether some picture of the index does not decode at its time, or pictures are decoded in another order.
    pub is_damaged: bool,
}

impl Looked {
    /// Judges the pictures that were decoded between two seconds, with some before them, by what the index of `movie`
    /// shows then. All of these times are those of the movie's file.
    pub(super) fn of(
        movie: &Movie,
        (start, end): (f64, f64),
        decoded: Vec<Picture>,
    ) -> Result<Self, ClipError> {
        let shown = movie.shown_frames()?;
        let shown: Vec<f64> = shown.iter().map(|frame| frame.seconds).collect();
        let index = |at: f64| shown.partition_point(|seconds| *seconds < at);
        // Pictures that only a wrong index shows are missing close to where decoding begins.
        let first = decoded
            .first()
            .map_or(start, |begun| begun.seconds - damage::TOLERANCE_SECONDS);
        let flaws = damage::flaws(&shown, index(first)..index(end), &decoded);
        // FFmpeg gives up after a few out-of-order times, which may precede the inspected part.
        let times = decoded.iter().map(|picture| picture.seconds);
        let is_in_order = times.is_sorted_by(|one, next| one < next);
        let by_the_source = decoded.into_iter().map(|picture| Picture {
            seconds: picture.seconds - movie.origin_seconds(),
            ..picture
        });
        Ok(Self {
            pictures: by_the_source.collect(),
            is_damaged: !flaws.is_empty() || !is_in_order,
        })
    }
}
