//! Which samples of a video an interval needs.

use crate::{
    error::{Error, Result},
    read::samples::Frame,
    read::track::Track,
};
use std::ops::Range;

/// A sample that an interval begins within: its index, and how long it has been shown by then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub index: u32,
    pub shown_for: i64,
}

/// An interval and the video samples that it needs.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    /// The start and the end that were asked for.
    pub seconds: [f64; 2],
    /// The media times that they were snapped to.
    pub interval: Range<i64>,
    pub selection: Selection,
}

/// The video samples that an interval needs.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// In decode order, from the keyframe to the last sample that is shown.
    pub samples: Range<u32>,
    pub keyframe: Frame,
    pub next_keyframe: Option<Frame>,
    pub frames: u64,
    pub preroll_frames: u64,
    /// The media time of the earliest frame, shown or not.
    pub earliest: i64,
    /// The last frame that is shown.
    pub last_frame: Frame,
    /// The frame that the interval begins within, if it does, and how long it has been shown by then.
    pub held: Option<Held>,
}

impl Selection {
    /// Chooses the last keyframe that precedes everything shown in the interval, in decode order and in display order.
    /// So an interval that starts with the leading pictures of an open GOP gets the keyframe of the previous GOP, which
    /// they refer to.
    pub fn of(video: &Track, interval: &Range<i64>) -> Result<Self> {
        let on_screen = on_screen_at(video, interval.start)?;
        let (mut shown, mut held) = (None::<Shown>, None);
        let mut keyframes = Keyframes::default();
        for frame in video.samples.frames_before(interval.end)? {
            if (on_screen..interval.end).contains(&frame.time)
                && video.edit_segment.shows(frame.time)
            {
                shown.get_or_insert_with(|| Shown::none(frame)).add(frame);
                if frame.time == on_screen && on_screen < interval.start {
                    held = Some(Held {
                        index: frame.index,
                        shown_for: interval.start - on_screen,
                    });
                }
            }
            let nothing_shown_before = shown
                .as_ref()
                .is_none_or(|shown| shown.samples.start == frame.index);
            keyframes.look_at(
                frame,
                nothing_shown_before,
                on_screen,
                video.samples.recovery_frames,
            );
        }
        let (Some(keyframe), Some(shown)) = (keyframes.last, shown) else {
            return Err(Error::internal(
                "an interval between frame boundaries has no frame",
            ));
        };
        let samples = keyframe.index..shown.samples.end;
        let (mut preroll_frames, mut earliest) = (0, interval.start);
        let until_end = video.samples.frames()?;
        let until_end = until_end.take_while(|frame| frame.index < samples.end);
        for frame in until_end {
            if frame.index >= samples.start && frame.time < on_screen {
                preroll_frames += 1;
                earliest = earliest.min(frame.time);
            }
        }
        Ok(Self {
            samples,
            keyframe,
            next_keyframe: keyframes.next.filter(|next| interval.contains(&next.time)),
            frames: shown.frames,
            preroll_frames,
            earliest,
            last_frame: shown.last,
            held,
        })
    }
}

/// The frames that an interval shows, as far as it was looked at.
struct Shown {
    /// In decode order, from the first to the last.
    samples: Range<u32>,
    frames: u64,
    /// The one that is shown last.
    last: Frame,
}

impl Shown {
    /// No frame yet, of which `first` will be the first.
    fn none(first: Frame) -> Self {
        Self {
            samples: first.index..first.index,
            frames: 0,
            last: first,
        }
    }

    /// Goes on to the next `frame` in decode order.
    fn add(&mut self, frame: Frame) {
        self.samples.end = frame.end;
        self.frames += 1;
        if self.last.time <= frame.time {
            self.last = frame;
        }
    }
}

/// The media time of the frame shown at `time`; `time` itself if there is none.
fn on_screen_at(video: &Track, time: i64) -> Result<i64> {
    let frames = video.samples.frames_before(time.saturating_add(1))?;
    let shown = frames.map(|frame| frame.time);
    let before = shown.filter(|shown| *shown <= time && video.edit_segment.shows(*shown));
    Ok(before.max().unwrap_or(time))
}

/// The keyframes around the start of an interval.
#[derive(Default)]
struct Keyframes {
    /// The last at which decoding can start.
    last: Option<Frame>,
    next: Option<Frame>,
    refreshes: Vec<Refresh>,
}

impl Keyframes {
    /// Takes the next `frame` in decode order, for an interval whose first shown frame has media time `start`.
    fn look_at(
        &mut self,
        frame: Frame,
        nothing_shown_before: bool,
        start: i64,
        recovery_frames: u32,
    ) {
        if recovery_frames > 0 && nothing_shown_before {
            let complete = Refresh::next(&mut self.refreshes, frame, recovery_frames);
            self.last = complete.or(self.last);
        }
        let can_start = frame.sync && nothing_shown_before && recovery_frames == 0;
        if self.last.is_none() || (can_start && frame.time <= start) {
            self.last = Some(frame);
        } else if self.next.is_none() && frame.sync && frame.time > start {
            self.next = Some(frame);
        }
    }
}

/// A keyframe whose parts are spread over several frames (gradual refresh).
struct Refresh {
    keyframe: Frame,
    /// How many frames are still missing that are shown later than all before them; other frames may not count.
    missing: u32,
    last_shown: i64,
}

impl Refresh {
    /// Takes the next `frame` in decode order. Returns the last keyframe that is complete with it.
    fn next(refreshes: &mut Vec<Self>, frame: Frame, recovery_frames: u32) -> Option<Frame> {
        for refresh in refreshes
            .iter_mut()
            .filter(|refresh| frame.time > refresh.last_shown)
        {
            refresh.last_shown = frame.time;
            refresh.missing = refresh.missing.saturating_sub(1);
        }
        let complete = refreshes.iter().rposition(|refresh| refresh.missing == 0);
        let complete = complete.and_then(|index| refreshes.drain(..=index).next_back());
        if frame.sync && frame.index > 0 {
            refreshes.push(Self {
                keyframe: frame,
                missing: recovery_frames,
                last_shown: frame.time,
            });
        }
        complete.map(|refresh| refresh.keyframe)
    }
}
