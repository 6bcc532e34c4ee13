//! What `FFmpeg` decodes from a file, picture by picture, according to its log.
//!
//! Only the log (`-debug_ts`) says both when each picture is shown and, in the line before, whether it was decoded only
//! in part.

use crate::log::{self, MAX_LINE, MAX_LINES};
use model::text::shorten;
use std::ops::Range;

/// Log settings, which come first: every line with its level, and repeated lines in full.
const LEVELS: &str = "repeat+level+info";
/// Logged for a partially decoded picture, before the line with its time.
const IN_PART: &str = "corrupt decoded frame";
/// Precedes the time of a decoded picture. Output of another thread may precede it on the line; its own level is then
/// missing.
const PICTURE: &str = "decoder -> pts:";
/// Marks lines about audio.
const OF_AUDIO: &str = "[aist#";
/// Logged for a packet that a decoder refuses.
const LOST_PACKET: &str = "Error submitting packet to decoder";
/// Logged for a codec that this program does not decode; it decodes AV1 only in hardware.
const NO_DECODER: [&str; 3] = [
    "no decoder found",
    "Decoder not found",
    "Function not implemented",
];

/// Less than any picture is shown, in seconds.
const SHORTEST_SECONDS: f64 = 1e-7;

/// A picture that was decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picture {
    /// When it is shown, on the timeline of the file, in seconds.
    pub seconds: f64,
    /// Whether it was decoded without an error.
    pub is_whole: bool,
}

/// What was decoded from a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// Its pictures, in display order.
    pub pictures: Vec<Picture>,
    /// Whether some of its sound was not decoded.
    pub is_audio_damaged: bool,
    /// The program's first complaints.
    pub complaints: Vec<String>,
    /// Whether the next picture was decoded only in part.
    is_next_in_part: bool,
    has_no_decoder: bool,
    /// How many packets of pictures the decoder refused.
    lost_packets: u32,
}

impl Decoded {
    /// Options that come first.
    pub(crate) const COMMON: [&str; 8] = [
        "-nostdin",
        "-hide_banner",
        "-nostats",
        "-v",
        LEVELS,
        "-debug_ts",
        "-copyts",
        "-y",
    ];
    /// Options that continue however much is damaged.
    pub(crate) const PLAY_ON: [&str; 2] = ["-max_error_rate", "1"];
    /// Options that decode a whole input and write nothing.
    pub(crate) const OUTPUT: [&str; 11] = [
        "-map",
        "0:v:0",
        "-map",
        "0:a:0?",
        "-fps_mode",
        "passthrough",
        "-threads",
        "1",
        "-f",
        "null",
        "-",
    ];

    /// Whether nothing was decoded because this program has no decoder for it.
    #[must_use]
    pub fn has_no_decoder(&self) -> bool {
        self.has_no_decoder && self.pictures.is_empty()
    }

    /// The pictures that are shown in `range`, in seconds.
    fn shown_in(&self, range: &Range<f64>) -> impl Iterator<Item = &Picture> + use<'_> {
        let range = range.start - SHORTEST_SECONDS..range.end - SHORTEST_SECONDS;
        let pictures = self.pictures.iter();
        pictures.filter(move |picture| range.contains(&picture.seconds))
    }

    /// Whether as many as `expected` pictures were decoded that are shown in `range`, in seconds, and all of them whole.
    #[must_use]
    pub fn is_whole(&self, range: Range<f64>, expected: u64) -> bool {
        let came: Vec<_> = self.shown_in(&range).collect();
        came.len() as u64 >= expected && came.iter().all(|picture| picture.is_whole)
    }

    /// Whether one of the hidden pictures shown at the times `lead`, before one that is shown at `end`, was not decoded,
    /// or only in part. Unless a packet was lost, the first ones may be missing by design: if a stream is refreshed
    /// gradually, `FFmpeg` gives out no picture before the first complete one.
    #[must_use]
    pub fn is_lead_damaged(&self, lead: &[f64], end: f64) -> bool {
        let Some(start) = lead.first() else {
            return false;
        };
        let came: Vec<_> = self.shown_in(&(*start..end)).collect();
        let begun = match came.first() {
            _ if self.lost_packets > 0 => *start,
            Some(first) => first.seconds,
            None => end,
        };
        let expected = lead
            .iter()
            .filter(|seconds| **seconds > begun - SHORTEST_SECONDS)
            .count();
        came.len() < expected || came.iter().any(|picture| !picture.is_whole)
    }

    /// Takes a line of the log.
    pub(crate) fn hear(&mut self, line: &str) {
        if let Some((_, picture)) = line.split_once(PICTURE) {
            self.pictures
                .extend(seconds(picture).map(|seconds| Picture {
                    seconds,
                    is_whole: !self.is_next_in_part,
                }));
            self.is_next_in_part = false;
        } else if line.ends_with(IN_PART) {
            self.is_next_in_part = true;
            self.complain(line);
        } else if Self::is_error(line) {
            let is_of_audio = line.starts_with(OF_AUDIO);
            self.is_audio_damaged |= is_of_audio;
            self.lost_packets += u32::from(!is_of_audio && line.contains(LOST_PACKET));
            self.has_no_decoder |= NO_DECODER.iter().any(|said| line.contains(said));
            self.complain(line);
        }
    }

    /// Whether a line of the log says that something went wrong.
    pub(crate) fn is_error(line: &str) -> bool {
        line.contains("[error]") || line.contains("[fatal]")
    }

    fn complain(&mut self, line: &str) {
        if self.complaints.len() < MAX_LINES {
            let said = shorten(log::said(line), MAX_LINE);
            self.complaints.push(said.into_owned());
        }
    }
}

/// The time of `PTS … time_base:NUMERATOR/DENOMINATOR`.
fn seconds(picture: &str) -> Option<f64> {
    let ticks: f64 = picture.split(' ').next()?.parse().ok()?;
    let (_, base) = picture.rsplit_once(" time_base:")?;
    let (numerator, denominator) = base.split_once('/')?;
    let parse = |text: &str| text.parse::<f64>().ok();
    Some(ticks * parse(numerator)? / parse(denominator)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_their_times_and_those_decoded_in_part_are_known() {
        let mut decoded = Decoded::default();
        for line in [
            "[info] Input #0, mov, from 'clip.mp4':",
            "[vist#0:0/h264 @ 0x7f] [info] demuxer -> ist_index:0:0 type:video pkt_pts:31744",
            "[vist#0:0/h264 @ 0x7f] [dec:h264 @ 0x7e] [info] decoder -> pts:512 pts_time:0.0333333 \
             duration:512 keyframe:1 frame_type:1 time_base:1/15360",
            "[h264 @ 0x7d] [error] error while decoding MB 18 4, bytestream -5",
            "[vist#0:0/h264 @ 0x7f] [dec:h264 @ 0x7e] [warning] corrupt decoded frame",
            "[vist#0:0/h264 @ 0x7f] [dec:h264 @ 0x7e] [info] decoder -> pts:1024 pts_time:0.0666667 \
             duration:512 keyframe:0 frame_type:2 time_base:1/15360",
            "[vist#0:0/h264 @ 0x7f] [dec:h264 @ 0x7e] [info] decoder -> pts:NOPTS pts_time:NOPTS time_base:1/15360",
            "  Stream #0:0(und)decoder -> pts:1536 pts_time:0.1 duration:512 keyframe:0 time_base:1/15360",
        ] {
            decoded.hear(line);
        }
        let picture = |ticks: f64, is_whole| Picture {
            seconds: ticks / 15360.0,
            is_whole,
        };
        assert_eq!(
            decoded.pictures,
            [
                picture(512.0, true),
                picture(1024.0, false),
                picture(1536.0, true)
            ]
        );
        assert_eq!(
            decoded.complaints,
            [
                "error while decoding MB 18 4, bytestream -5",
                "corrupt decoded frame"
            ]
        );
        assert!(!decoded.is_audio_damaged);
    }

    #[test]
    fn sound_that_does_not_decode_is_told_from_pictures() {
        let mut decoded = Decoded::default();
        decoded.hear("[aist#0:1/aac @ 0x7f] [dec:aac @ 0x7e] [error] Error submitting packet to decoder: Invalid data");
        assert!(decoded.is_audio_damaged && !decoded.has_no_decoder());
    }
}
