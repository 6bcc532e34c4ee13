//! Number and layout of audio channels, from the decoder configuration.

/// Channels of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Channels {
    pub count: u32,
    /// As [`AudioFacts::layout`](crate::AudioFacts::layout).
    pub layout: Option<&'static str>,
}

/// A layout that the source does not name.
const UNKNOWN: &str = "unknown";
/// Locations of dependent E-AC-3 substreams (ETSI TS 102 366, F.6.2) that are a single channel: Cs, Ts, Cvh and LFE2.
/// All others are pairs.
const SINGLE_PLACES: u32 = 0b1_1000_1100;

impl Channels {
    const fn usual(count: u32) -> Self {
        Self {
            count,
            layout: None,
        }
    }

    const fn named(count: u32, layout: &'static str) -> Self {
        Self {
            count,
            layout: Some(layout),
        }
    }

    /// From the number alone, which implies a layout in some codecs.
    pub fn of_count(codec: &str, count: u32) -> Self {
        match (codec, count) {
            ("opus" | "flac" | "vorbis", 4) => Self::named(4, "quad"),
            ("opus" | "flac" | "vorbis", 7) => Self::named(7, "6.1"),
            ("alac", 7) => Self::named(7, "6.1(back)"),
            ("alac", 8) => Self::named(8, "7.1(wide)"),
            _ => Self::usual(count),
        }
    }

    /// From an AAC `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
    pub fn of_aac(config: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(config);
        if bits.number(5)? == 31 {
            bits.number(6)?;
        }
        if bits.number(4)? == 15 {
            bits.number(24)?;
        }
        Some(match bits.number(4)? {
            // Object types other than AAC main, LC, SSR and LTP have other fields before the PCE.
            0 if matches!(config[0] >> 3, 1..=4) => Self::named(bits.skip_to_pce()?, UNKNOWN),
            0 => return None,
            7 | 12 => Self::usual(8),
            11 => Self::named(7, "6.1(back)"),
            14 => Self::named(8, UNKNOWN),
            count => Self::usual(count),
        })
    }

    /// From the body of a `dac3` box (ETSI TS 102 366, F.4).
    pub fn of_ac3(dac3: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(dac3);
        bits.number(2 + 5 + 3)?;
        Some(Self::of_mode(bits.number(3)?, bits.number(1)? == 1))
    }

    /// From the body of a `dec3` box (F.6).
    pub fn of_eac3(dec3: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(dec3);
        bits.number(13 + 3)?;
        bits.number(2 + 5 + 1 + 1 + 3)?;
        let main = Self::of_mode(bits.number(3)?, bits.number(1)? == 1);
        bits.number(3)?;
        if bits.number(4)? == 0 {
            return Some(main);
        }
        let places = bits.number(9)?;
        let more =
            2 * (places & !SINGLE_PLACES).count_ones() + (places & SINGLE_PLACES).count_ones();
        Some(Self::named(main.count + more, UNKNOWN))
    }

    /// From AC-3's `acmod` and `lfeon` (ETSI TS 102 366, 4.4.2).
    fn of_mode(acmod: u32, lfe: bool) -> Self {
        match (acmod, lfe) {
            (1, false) => Self::usual(1),
            (0 | 2, false) => Self::usual(2),
            (3, false) => Self::usual(3),
            (4, false) => Self::named(3, "3.0(back)"),
            (5, false) => Self::usual(4),
            (6, false) => Self::named(4, "quad(side)"),
            (7, false) => Self::named(5, "5.0(side)"),
            (0 | 2, true) => Self::named(3, "2.1"),
            (3, true) => Self::named(4, "3.1"),
            (5, true) => Self::named(5, "4.1"),
            (7, true) => Self::named(6, "5.1(side)"),
            (mode, _) => Self::named([2, 2, 3, 4, 4, 5, 5, 6][mode as usize % 8], UNKNOWN),
        }
    }
}

/// The `AudioSpecificConfig` in the body of an `esds` box: the contents of its `DecSpecificInfo` (ISO/IEC 14496-1,
/// 7.2.6).
pub(crate) fn decoder_config(esds: &[u8]) -> Option<&[u8]> {
    const ES: u8 = 3;
    const DECODER_CONFIG: u8 = 4;
    const DECODER_SPECIFIC: u8 = 5;
    let es = descriptor(esds.get(4..)?, ES)?;
    let flags = *es.get(2)?;
    let depends = if flags & 0x80 != 0 { 2 } else { 0 };
    let url = if flags & 0x40 != 0 {
        1 + usize::from(*es.get(3 + depends)?)
    } else {
        0
    };
    let clock = if flags & 0x20 != 0 { 2 } else { 0 };
    let decoder = descriptor(es.get(3 + depends + url + clock..)?, DECODER_CONFIG)?;
    descriptor(decoder.get(13..)?, DECODER_SPECIFIC)
}

/// The contents of the descriptor at the start of `bytes`, if it has this tag.
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (found, mut rest) = bytes.split_first()?;
    let mut length = 0;
    for _ in 0..4 {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    if *found == tag {
        rest.get(..length)
    } else {
        None
    }
}

/// Reads bits, most significant first. `None` marks the end.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// An unsigned number of at most 32 bits.
    fn number(&mut self, bits: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..bits {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// The number of channels in the program config element that follows the fields of a `GASpecificConfig` (ISO/IEC
    /// 14496-3, 4.4.1 and 4.4.1.1).
    fn skip_to_pce(&mut self) -> Option<u32> {
        self.number(1)?;
        if self.number(1)? == 1 {
            self.number(14)?;
        }
        self.number(1)?;
        self.number(4 + 2 + 4)?;
        let elements = self.number(4)? + self.number(4)? + self.number(4)?;
        let low_frequency = self.number(2)?;
        self.number(3 + 4)?;
        for bits in [4, 4, 3] {
            if self.number(1)? == 1 {
                self.number(bits)?;
            }
        }
        let mut channels = elements + low_frequency;
        for _ in 0..elements {
            channels += self.number(1)?;
            self.number(4)?;
        }
        Some(channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aac_has_the_channels_of_its_number_or_of_its_pce() {
        let of = Channels::of_aac;
        assert_eq!(of(&[0x11, 0x88]), Some(Channels::usual(1)));
        assert_eq!(of(&[0x11, 0xb0]), Some(Channels::usual(6)));
        assert_eq!(of(&[0x11, 0xb8]), Some(Channels::usual(8)));
        // As FFmpeg writes 5.1(side) and octagonal.
        let side = [0x11, 0x80, 0x04, 0xc8, 0x44, 0x00, 0x20, 0x00, 0xc4, 0x0d];
        assert_eq!(of(&side), Some(Channels::named(6, UNKNOWN)));
        let octagonal = [0x11, 0x80, 0x04, 0xc8, 0x48, 0x00, 0x20, 0x08, 0xc8, 0x20];
        assert_eq!(of(&octagonal), Some(Channels::named(8, UNKNOWN)));
        assert_eq!(of(&side[..6]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn ac3_has_the_channels_of_its_mode() {
        // As FFmpeg writes 5.1(side).
        let side = Some(Channels::named(6, "5.1(side)"));
        assert_eq!(Channels::of_ac3(&[0x10, 0x3d, 0xc0]), side);
        let eac3 = [0x0e, 0x00, 0x20, 0x0f, 0x00];
        assert_eq!(Channels::of_eac3(&eac3), side);
        assert_eq!(
            Channels::of_ac3(&[0x10, 0x11, 0x40]),
            Some(Channels::usual(2))
        );
        // With a pair of rear channels.
        let rear = [0x0e, 0x00, 0x20, 0x0f, 0x02, 0x02];
        assert_eq!(Channels::of_eac3(&rear), Some(Channels::named(8, UNKNOWN)));
        assert_eq!(Channels::of_eac3(&rear[..4]), None);
    }
}
