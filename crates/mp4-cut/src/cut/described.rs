//! Copies of sources whose sample description lacks parameter sets, or differs from those in the samples.

use crate::{error::Result, io::RangeRead, read::movie::Movie, read::parameter_sets};

/// How many keyframes of an interval are inspected at most.
const MAX_KEYFRAMES: usize = 16;

impl Movie {
    /// The movies of the intervals, in order; each interval has a start (inclusive) and an end (exclusive) in seconds.
    /// If their sample descriptions are equal and keyframes of the intervals carry parameter sets that these lack, the
    /// sets are added to all of them, because players take parameter sets from there.
    ///
    /// # Errors
    /// As [`window`](Self::window), and any error from a source.
    pub async fn described<R: RangeRead>(cuts: &[(&Self, &R, f64, f64)]) -> Result<Vec<Self>> {
        let mut movies: Vec<Self> = cuts.iter().map(|(movie, ..)| (*movie).clone()).collect();
        let descriptions = |movie: &Self| movie.video.samples.descriptions.clone();
        let Some(first) = movies.first().map(descriptions) else {
            return Ok(movies);
        };
        if movies.iter().any(|movie| descriptions(movie) != first) {
            return Ok(movies);
        }
        let mut heads = Vec::new();
        for (movie, (_, source, start, end)) in movies.iter_mut().zip(cuts) {
            movie.select(*start, *end)?;
            let keyframes = movie.keyframes_of(*start, *end)?;
            heads.extend(parameter_sets::heads(&movie.video.samples, *source, keyframes).await?);
        }
        for movie in &mut movies {
            parameter_sets::add(&mut movie.video, &heads);
        }
        Ok(movies)
    }

    /// Has the sample description say which parameter sets hold where decoding an interval of this movie begins, which was
    /// read from `source`: those among the pictures hold from where they stand.
    ///
    /// # Errors
    /// As [`window`](Self::window), and whatever the source raises.
    pub async fn describe_interval(
        &mut self,
        source: &impl RangeRead,
        start_seconds: f64,
        end_seconds: f64,
    ) -> Result<()> {
        if !self.video.samples.has_parameter_sets {
            return Ok(());
        }
        let (samples, _) = self.samples_of(&self.snap(start_seconds, end_seconds)?)?;
        parameter_sets::describe_at(&mut self.video, source, samples.start).await
    }

    /// The sample that decoding an interval starts with and later ones where it could start, up to a limit.
    fn keyframes_of(&self, start_seconds: f64, end_seconds: f64) -> Result<Vec<u32>> {
        let (samples, _) = self.samples_of(&self.snap(start_seconds, end_seconds)?)?;
        let first = samples.start;
        let frames = self.video.samples.frames()?;
        let later = frames.filter(|frame| frame.sync && samples.contains(&frame.index));
        let later = later
            .map(|frame| frame.index)
            .filter(|index| *index > first);
        Ok(std::iter::once(first)
            .chain(later)
            .take(MAX_KEYFRAMES)
            .collect())
    }
}
