//! How much audio decoders need before the first audible sample, and how `FFmpeg` applies an edit list there.

use crate::{read::track::Track, time::rescale};

/// How audio of a codec is cut so that playback begins with the right sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decoder {
    hidden: Hidden,
    /// Where an edit can begin.
    pub starts_at: StartsAt,
}

/// What precedes the audible sound, hidden by the edit list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    /// Nothing: every sample decodes independently. `FFmpeg` decodes several at once, and would then drop other samples
    /// than the hidden ones.
    Nothing,
    /// At least one sample, and at least this many milliseconds.
    Milliseconds(i64),
}

/// Where in a sample an edit can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartsAt {
    AnyTime,
    /// At its start. `FFmpeg` never presents part of a sample; it presents the next one instead.
    Sample,
}

/// By [codec name](crate::AudioFacts::codec).
///
/// - `AAC`, AC-3 and DTS overlap with the previous frame.
/// - Opus needs 80 ms (RFC 7845, 4.6).
/// - An MP3 packet may begin up to 511 bytes back in earlier packets (`main_data_begin` of ISO/IEC 11172-3, 2.4.2.7).
///   From 32 kbit/s on, ten packets hold that much. Layer II, which has the same name in MP4, needs less.
/// - A Vorbis decoder outputs nothing for its first packet (Vorbis I, 4.3.8).
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

/// Frame duration in milliseconds, for codecs whose samples may hold several frames that are decoded one by one.
const FRAME_MILLISECONDS: [(&str, i64); 2] = [("amr_nb", 20), ("amr_wb", 20)];

/// For samples of several frames. When `FFmpeg` drops one frame of a sample, it also drops all but one frame of the
/// next.
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

    /// How much of `audio` is decoded before the audible part, in its timescale, not counting the one sample that
    /// always precedes it; `None` if nothing may be hidden.
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
