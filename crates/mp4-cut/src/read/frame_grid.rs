//! The frame grid of a source that leaves some frames out.

use crate::{error::Result, read::track::Track, time::Time};
use std::ops::Range;

/// How far a frame may be from its place on a grid, in frames, in addition to one unit of its timescale.
const TOLERANCE: f64 = 0.05;
/// Frame rates of cameras, film and television, ascending.
const RATES: [f64; 17] = [
    5.0,
    7.5,
    10.0,
    12.0,
    12.5,
    15.0,
    20.0,
    24_000.0 / 1001.0,
    24.0,
    25.0,
    30_000.0 / 1001.0,
    30.0,
    48.0,
    50.0,
    60_000.0 / 1001.0,
    60.0,
    120.0,
];

/// The lowest of [`RATES`] whose grid fits all frames shown between two media times, if they fill at least every second
/// place.
pub(crate) fn rate(video: &Track, shown: Range<i64>) -> Result<Option<f64>> {
    let timescale = video.edit_segment.timescale;
    let seconds = |ticks| Time { ticks, timescale }.seconds();
    let mut found = RATES.map(|rate| (rate, 0.0)).to_vec();
    let mut frames = 0.0;
    for frame in video.samples.frames()? {
        if !shown.contains(&frame.time) || !video.edit_segment.shows(frame.time) {
            continue;
        }
        frames += 1.0;
        found.retain_mut(|(rate, off)| {
            let place = seconds(frame.time - shown.start) * *rate;
            *off = (place - place.round()).abs().max(*off);
            *off <= TOLERANCE + *rate / f64::from(timescale)
        });
    }
    let most = 2.0 * frames / seconds(shown.end - shown.start);
    found.retain(|(rate, _)| *rate <= most);
    // Over a few seconds, the grids of 24 and 24/1.001 frames per second are hardly distinguishable.
    Ok(match found[..] {
        [(rate, off), (next, next_off), ..] if next < 1.01 * rate && next_off < off => Some(next),
        [(rate, _), ..] => Some(rate),
        [] => None,
    })
}
