//! A source whose edit list shows several pieces of its media in a row, such as a clip that was joined without
//! encoding. Each piece is cut as if it were a separate source, but with the times of the whole.

use crate::{
    error::Result,
    io::RangeRead,
    read::{
        edits,
        moov::Moov,
        movie::{Facts, Movie, VideoFacts},
    },
};

/// Rates that differ by less than this fraction are considered equal.
const SAME_RATE: f64 = 1e-4;

/// An MP4 whose edit list shows several pieces of its media.
#[derive(Debug, Clone)]
pub struct EditedMovie {
    /// What there is to know about the whole.
    pub facts: Facts,
    /// In the order in which they are shown.
    pieces: Vec<Movie>,
}

impl EditedMovie {
    /// Opens a source whose video has several edits.
    pub(crate) async fn open(index: &Moov, source: &impl RangeRead) -> Result<Self> {
        let mut pieces = Movie::edits_of(index, source).await?;
        if let Some((first, others)) = pieces.split_first_mut() {
            first.look(source).await?;
            for other in others {
                other.video.samples = first.video.samples.clone();
            }
        }
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
            return Err(edits::refused());
        };
        let origin = first.origin;
        let end = last.origin.seconds_since(origin) + last.facts.duration_seconds;
        let facts = facts(&pieces, end);
        for piece in &mut pieces {
            piece.origin = origin;
            piece.facts.duration_seconds = end;
        }
        Ok(Self { facts, pieces })
    }

    /// The parts of the interval between two seconds, one for each piece that overlaps it, in order.
    #[must_use]
    pub fn parts(&self, start_seconds: f64, end_seconds: f64) -> Vec<(f64, f64)> {
        let begins = self.pieces.iter().map(Movie::start_seconds).skip(1);
        let ends: Vec<f64> = begins.chain([f64::INFINITY]).collect();
        let mut parts = Vec::new();
        let mut begin = f64::NEG_INFINITY;
        for end in ends {
            let part = (start_seconds.max(begin), end_seconds.min(end));
            if part.0 < part.1 {
                parts.push(part);
            }
            begin = end;
        }
        if parts.is_empty() {
            parts.push((start_seconds, end_seconds));
        }
        parts
    }

    /// The piece with the largest part of the interval between two seconds.
    #[must_use]
    pub fn piece(&self, start_seconds: f64, end_seconds: f64) -> &Movie {
        let overlap = |piece: &&Movie| {
            end_seconds.min(piece.end_seconds()) - start_seconds.max(piece.start_seconds())
        };
        let most = self
            .pieces
            .iter()
            .max_by(|one, other| overlap(one).total_cmp(&overlap(other)));
        most.unwrap_or(&self.pieces[0])
    }
}

/// The facts about all pieces together, which last `seconds`.
fn facts(pieces: &[Movie], seconds: f64) -> Facts {
    let videos = || pieces.iter().map(|piece| &piece.facts.video);
    let mut facts = pieces[0].facts.clone();
    facts.duration_seconds = seconds;
    facts.pieces = pieces.len();
    let first = facts.video.clone();
    let video = &mut facts.video;
    video.frames = videos().map(|video| video.frames).sum();
    video.duration_seconds = videos().map(|video| video.duration_seconds).sum();
    let is_same = |rate: f64| (rate / first.frame_rate - 1.0).abs() < SAME_RATE;
    video.constant_frame_rate =
        videos().all(|video| video.constant_frame_rate && is_same(video.frame_rate));
    if !video.constant_frame_rate {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people and for JSON")]
        let frames = video.frames as f64;
        video.frame_rate = frames / video.duration_seconds;
        let grid = |video: &VideoFacts| {
            if video.constant_frame_rate {
                Some(video.frame_rate)
            } else {
                video.grid_frame_rate
            }
        };
        let first = grid(&first);
        video.grid_frame_rate = first.filter(|_| videos().all(|video| grid(video) == first));
    }
    facts
}
