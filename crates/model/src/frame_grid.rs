//! How `MediaConvert` numbers frames.
//!
//! Frames count from the first picture, and `EndTimecode` names the last frame. Jobs make only constant rates, and
//! `verify` counts on the same grid. Time codes have two digits for the frame and one day, so more than 100 frames per
//! second or 24 hours is `UnsupportedMedia`.

use crate::{error::ClipError, number::whole};
use mp4_cut::{VideoFacts, WindowFacts};
use std::ops::Range;

/// The frame rates to which variable-rate sources are converted (user guide, "Using variable frame rate inputs").
const CONSTANT_RATES: [u32; 8] = [1, 5, 10, 15, 24, 30, 50, 60];
/// The lowest frame rate that a time code can count: one frame per second, or NTSC's, which is slightly below 1.
const MIN_TIMECODE_RATE: f64 = 0.99;
/// The highest frame rate that a time code can count with its two digits.
const MAX_TIMECODE_RATE: u32 = 100;
/// What a time code can count: a day.
const MAX_TIMECODE_SECONDS: u64 = 24 * 3600;

/// How `MediaConvert` numbers the frames of a source, the first one being 0.
///
/// A constant frame rate is kept. `MediaConvert` makes only constant frame rates, so a variable-rate source is
/// converted to the next higher rate of a short list, and its frames are those of that grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameGrid {
    /// Frames per second, as time codes count them.
    pub rate: f64,
    /// The rate of a clip from a variable-rate source; `None` if the source's own is kept.
    pub converted_to: Option<f64>,
    origin_seconds: f64,
}

impl FrameGrid {
    /// The grid of a source.
    #[must_use]
    pub fn of(video: &VideoFacts) -> Self {
        let is_high = |rate: &f64| *rate >= video.frame_rate - 0.001;
        let next = || CONSTANT_RATES.into_iter().map(f64::from).find(is_high);
        let (rate, converted_to) = if video.constant_frame_rate {
            (video.frame_rate, None)
        } else {
            let rate = next().unwrap_or(f64::from(CONSTANT_RATES[CONSTANT_RATES.len() - 1]));
            (rate, Some(video.grid_frame_rate.unwrap_or(rate)))
        };
        Self {
            rate,
            converted_to,
            origin_seconds: video.start_seconds,
        }
    }

    /// The frame rate of a clip from the source: if its frames are on a grid and some are missing, the grid's rate.
    #[must_use]
    pub fn clip_rate(&self) -> f64 {
        self.converted_to.unwrap_or(self.rate)
    }

    /// The frames of a window, the end exclusive; at least one.
    #[must_use]
    pub fn frames(&self, window: &WindowFacts) -> Range<u64> {
        let number = |seconds: f64| whole((seconds - self.origin_seconds) * self.rate);
        let start = number(window.start_seconds);
        start..number(window.end_seconds).max(start + 1)
    }

    /// The time code of a frame: `HH:MM:SS:FF`, every frame counted. Without the semicolon of drop-frame time codes,
    /// `MediaConvert` skips no numbers, not even at 29.97 and 59.94 frames per second (user guide, "Setting up
    /// timecodes").
    ///
    /// # Errors
    /// `UnsupportedMedia` for a frame that no time code can name: below 1 or above 100 frames per second, or a day into
    /// the source.
    pub fn timecode(&self, frame: u64) -> Result<String, ClipError> {
        if self.rate < MIN_TIMECODE_RATE {
            return Err(ClipError::unsupported_media(format!(
                "the source has {} frames a second; for a clip that is too much for a Lambda it must have at least 1",
                self.rate
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked below"
        )]
        let rate = self.rate.round().max(1.0) as u32;
        if rate > MAX_TIMECODE_RATE {
            return Err(ClipError::unsupported_media(format!(
                "the source has {rate} frames a second; for a clip that is too much for a Lambda it may have at most \
                 {MAX_TIMECODE_RATE}"
            )));
        }
        let (seconds, frame) = (frame / u64::from(rate), frame % u64::from(rate));
        if seconds >= MAX_TIMECODE_SECONDS {
            return Err(ClipError::unsupported_media(
                "a clip that is too much for a Lambda must lie within the first 24 hours of its source",
            ));
        }
        Ok(format!(
            "{:02}:{:02}:{:02}:{frame:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;

    fn video(frame_rate: f64, constant_frame_rate: bool, start_seconds: f64) -> VideoFacts {
        VideoFacts {
            codec: "h264".into(),
            coded_width: 640,
            coded_height: 360,
            width: 640,
            height: 360,
            rotation_degrees: 0,
            frame_rate,
            constant_frame_rate,
            grid_frame_rate: None,
            timescale: 30000,
            frames: 300,
            start_seconds,
            duration_seconds: 10.0,
            bit_rate: 1000,
            pixels: None,
        }
    }

    fn window(start_seconds: f64, end_seconds: f64) -> WindowFacts {
        WindowFacts {
            start_seconds,
            end_seconds,
            duration_seconds: end_seconds - start_seconds,
            frames: 0,
            preroll_frames: 0,
            keyframe_seconds: 0.0,
            next_keyframe_seconds: None,
            has_audio: true,
            timescale: 30000,
            output_bytes: 0,
            source_bytes: 0,
            source_span: None,
        }
    }

    const NTSC: f64 = 30_000.0 / 1001.0;

    #[test]
    fn frames_of_a_constant_rate_are_the_source_s_own() {
        assert_eq!(
            FrameGrid::of(&video(25.0, true, 0.0)).frames(&window(1.0, 2.0)),
            25..50
        );
    }

    #[test]
    fn frame_after_an_hour_of_ntsc_is_counted_without_dropping_numbers() {
        let grid = FrameGrid::of(&video(NTSC, true, 0.0));
        let frames = grid.frames(&window(3600.0 * 1.001, 3600.0 * 1.001 + 10.0 / NTSC));
        assert_eq!(frames, 108_000..108_010);
        assert_eq!(grid.timecode(frames.start).as_deref(), Ok("01:00:00:00"));
        assert_eq!(grid.timecode(frames.end - 1).as_deref(), Ok("01:00:00:09"));
    }

    #[test]
    fn frames_are_counted_from_the_first_picture_where_sound_starts_earlier() {
        assert_eq!(
            FrameGrid::of(&video(25.0, true, 0.4)).frames(&window(0.4, 1.4)),
            0..25
        );
    }

    #[test]
    fn variable_rate_is_laid_on_the_next_higher_constant_one() {
        let grid = FrameGrid::of(&video(27.3, false, 0.0));
        assert_eq!((grid.rate, grid.converted_to), (30.0, Some(30.0)));
        assert_eq!(grid.frames(&window(1.0, 2.5)), 30..75);
        assert_eq!(
            FrameGrid::of(&video(30.0, false, 0.0)).converted_to,
            Some(30.0)
        );
        assert_eq!(
            FrameGrid::of(&video(75.0, false, 0.0)).converted_to,
            Some(60.0)
        );
    }

    #[test]
    fn clip_of_frames_on_a_grid_has_the_rate_of_that_grid() {
        let video = VideoFacts {
            grid_frame_rate: Some(25.0),
            ..video(24.9, false, 0.0)
        };
        let grid = FrameGrid::of(&video);
        assert_eq!((grid.rate, grid.clip_rate()), (30.0, 25.0));
    }

    #[test]
    fn frame_that_no_timecode_can_name_is_unsupported() {
        for rate in [240.0, 0.5] {
            let grid = FrameGrid::of(&video(rate, true, 0.0));
            assert_eq!(
                grid.timecode(0).expect_err("it cannot be counted").kind,
                ErrorKind::UnsupportedMedia
            );
        }
        let grid = FrameGrid::of(&video(25.0, true, 0.0));
        assert_eq!(grid.timecode(25 * 86_400 - 1).as_deref(), Ok("23:59:59:24"));
        assert_eq!(
            grid.timecode(25 * 86_400).expect_err("a day").kind,
            ErrorKind::UnsupportedMedia
        );
    }

    proptest! {

        #[test]
        fn clip_has_the_frames_between_its_timecodes(start in 0_u64..2_000_000, length in 1_u64..400_000) {
            let grid = FrameGrid::of(&video(NTSC, true, 0.0));
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let seconds = |frame: u64| frame as f64 / NTSC;
            prop_assert_eq!(grid.frames(&window(seconds(start), seconds(start + length))), start..start + length);
        }
    }
}
