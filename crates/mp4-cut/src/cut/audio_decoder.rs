//! What the decoders of audio need before the sound that is heard, and what `FFmpeg` makes of an edit list in front of
//! them.

use crate::{read::track::Track, time::rescale};

/// How audio of a codec is cut so that decoders begin with the sound that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decoder {
    hidden: Hidden,
    /// Where an edit can begin.
    pub starts_at: StartsAt,
}

/// What is put in front of what is heard, and hidden by the edit list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    /// Nothing: every sample decodes by itself. `FFmpeg` decodes several of them at once, and then drops others than
    /// those that are hidden.
    Nothing,
    /// At least one sample, and at least so many milliseconds.
    Milliseconds(i64),
}

/// Where in a sample an edit can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartsAt {
    AnyTime,
    /// At its start. `FFmpeg` does not show a part of a sample, but shows the next one in its place.
    Sample,
}

/// By [codec name](crate::AudioFacts::codec).
///
/// - `AAC`, AC-3 and DTS overlap with one frame before.
/// - Opus needs 80 ms (RFC 7845, 4.6).
/// - A packet of MP3 begins in up to 511 bytes of those before it (`main_data_begin` of ISO/IEC 11172-3, 2.4.2.7), which
///   ten packets have from 32 kbit/s on. Layer II, which has the same name in MP4, needs less.
/// - A decoder of Vorbis makes nothing of its first packet (Vorbis I, 4.3.8).
/// - AMR predicts gains and spectra from the frames before, each of 20 ms (3GPP TS 26.090 and 26.190).
const DECODERS: [(&str, Decoder); 12] = [
    ("aac", Decoder::hiding(Hidden::Milliseconds(0))),
    ("ac3", Decoder::hiding(Hidden::Milliseconds(0))),
    ("eac3", Decoder::hiding(Hidden::Milliseconds(0))),
    ("dts", Decoder::hiding(Hidden::Milliseconds(0))),
    ("mp3", Decoder::hiding(Hidden::Milliseconds(240))),
    ("opus", Decoder::hiding(Hidden::Milliseconds(80))),
    ("pcm", Decoder::hiding(Hidden::Milliseconds(0))),
    ("flac", Decoder::hiding(Hidden::Nothing)),
    ("alac", Decoder::hiding(Hidden::Nothing)),
    (
        "vorbis",
        Decoder {
            hidden: Hidden::Milliseconds(0),
            starts_at: StartsAt::Sample,
        },
    ),
    ("amr_nb", Decoder::hiding(Hidden::Milliseconds(100))),
    ("amr_wb", Decoder::hiding(Hidden::Milliseconds(100))),
];

/// How long a frame of a codec is, in milliseconds, where a sample may have several that are decoded one by one.
const FRAME_MILLISECONDS: [(&str, i64); 2] = [("amr_nb", 20), ("amr_wb", 20)];

/// For samples of several frames. When `FFmpeg` drops a frame of one, it drops all but one of the next sample's, too.
const SEVERAL_FRAMES: Decoder = Decoder {
    hidden: Hidden::Nothing,
    starts_at: StartsAt::Sample,
};

impl Decoder {
    const fn hiding(hidden: Hidden) -> Self {
        Self {
            hidden,
            starts_at: StartsAt::AnyTime,
        }
    }

    /// The decoder of a track; for an unknown codec, one that needs the sample before.
    pub fn of(audio: &Track) -> Self {
        let codec = audio.codec.as_str();
        let frame = find(&FRAME_MILLISECONDS, codec);
        let usual_duration = i64::from(audio.samples.usual_duration());
        if frame.is_some_and(|frame| 2 * usual_duration > 3 * ticks(frame, audio)) {
            return SEVERAL_FRAMES;
        }
        find(&DECODERS, codec).unwrap_or(Self::hiding(Hidden::Milliseconds(0)))
    }

    /// How much of `audio` is decoded before what is heard, in its timescale, besides the one sample that is in front of
    /// it anyway; `None` where nothing is to be hidden.
    pub fn pre_roll(self, audio: &Track) -> Option<i64> {
        match self.hidden {
            Hidden::Nothing => None,
            Hidden::Milliseconds(milliseconds) => Some(ticks(milliseconds, audio)),
        }
    }
}

fn ticks(milliseconds: i64, audio: &Track) -> i64 {
    rescale(milliseconds, 1000, audio.edit_segment.timescale)
}

fn find<T: Copy>(table: &[(&str, T)], codec: &str) -> Option<T> {
    let entry = table.iter().find(|(name, _)| *name == codec);
    entry.map(|(_, value)| *value)
}
