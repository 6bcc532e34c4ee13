//! How a source's pixels are stored, and what their values mean, according to the container or, if it does not say, to
//! the stream.

use crate::{
    boxes::parse::find,
    boxes::stsd::{VISUAL_ENTRY_BYTES, entry_boxes, first_entry},
    h264, hevc,
    nal::VideoSignal,
    vvc,
};
use bytes::Bytes;

/// H.273's value for "unspecified".
const UNSPECIFIED: u8 = 2;
/// Transfer characteristics of HDR: SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG).
const HDR_TRANSFERS: [u8; 2] = [16, 18];

/// How pixels are stored, and what their values mean.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct PixelFormat {
    /// Bits of a luma sample.
    pub bit_depth: u8,
    /// How densely colours are sampled, such as `4:2:0`.
    pub chroma: String,
    /// Whether values use their full range; `None` if neither container nor stream says.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub full_range: Option<bool>,
    /// Colour primaries, by their number in ITU-T H.273; 2 if unspecified.
    pub primaries: u8,
    /// Transfer characteristics, by their number in H.273: 16 is PQ, 18 is HLG.
    pub transfer: u8,
    /// Matrix coefficients, by their number in H.273.
    pub matrix: u8,
    /// Whether there is Dolby Vision metadata.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "std::ops::Not::not")
    )]
    pub dolby_vision: bool,
}

impl PixelFormat {
    /// Whether pictures have a high dynamic range.
    #[must_use]
    pub fn is_hdr(&self) -> bool {
        HDR_TRANSFERS.contains(&self.transfer)
    }

    /// From the first entry of a whole `stsd` box; `None` if the codec is unknown or does not say.
    pub(crate) fn of(stsd: &Bytes) -> Option<Self> {
        let entry = first_entry(stsd).ok()?;
        let boxes = entry_boxes(&entry, VISUAL_ENTRY_BYTES).ok()?;
        let body = |kind| Some(find(&boxes, kind).ok()??.body);
        let (bit_depth, chroma_format, signal) = match &entry.kind {
            b"apch" | b"apcn" | b"apcs" | b"apco" => (10, 2, VideoSignal::default()),
            b"ap4h" | b"ap4x" => (12, 3, VideoSignal::default()),
            _ => h264::pixel_format(&boxes)
                .or_else(|| hevc::pixel_format(stsd))
                .or_else(|| of_av1(&body(*b"av1C")?))
                .or_else(|| of_vp9(&body(*b"vpcC")?))
                .or_else(|| of_vvc(&body(*b"vvcC")?))?,
        };
        let container = body(*b"colr").and_then(|colr| of_container(&colr));
        let container = container.unwrap_or_default();
        let [primaries, transfer, matrix] = container
            .colours
            .or(signal.colours)
            .unwrap_or([UNSPECIFIED; 3]);
        Some(Self {
            bit_depth,
            chroma: ["4:0:0", "4:2:0", "4:2:2", "4:4:4"]
                .get(usize::from(chroma_format))?
                .to_string(),
            full_range: container.full_range.or(signal.full_range),
            primaries,
            transfer,
            matrix,
            dolby_vision: hevc::DOLBY_VISION.iter().any(|kind| body(*kind).is_some()),
        })
    }
}

/// What a `colr` box says (ISO/IEC 14496-12, 12.1.5, and `QuickTime`'s `nclc`, which has no range).
fn of_container(colr: &[u8]) -> Option<VideoSignal> {
    let full_range = match colr.get(..4)? {
        b"nclx" => Some(colr.get(10)? >> 7 == 1),
        b"nclc" => None,
        _ => return None,
    };
    let [_, primaries, _, transfer, _, matrix] = *colr.get(4..)?.first_chunk()?;
    Some(VideoSignal {
        full_range,
        colours: Some([primaries, transfer, matrix]),
    })
}

/// From the third byte of an `av1C` box ("AV1 Codec ISO Media File Format Binding", 2.3.3).
fn of_av1(record: &[u8]) -> Option<(u8, u8, VideoSignal)> {
    let flags = *record.get(2)?;
    let bit_depth = match flags >> 5 & 3 {
        0b11 => 12,
        0b10 => 10,
        _ => 8,
    };
    let chroma_format = match flags >> 2 & 7 {
        0b100..=0b111 => 0,
        0b011 => 1,
        0b010 => 2,
        _ => 3,
    };
    Some((bit_depth, chroma_format, VideoSignal::default()))
}

/// From a `vpcC` box ("VP Codec ISO Media File Format Binding").
fn of_vp9(record: &[u8]) -> Option<(u8, u8, VideoSignal)> {
    let [packed, primaries, transfer, matrix] = *record.get(6..)?.first_chunk()?;
    let signal = VideoSignal {
        full_range: Some(packed & 1 == 1),
        colours: Some([primaries, transfer, matrix]),
    };
    // 0 and 1 are both 4:2:0, with different chroma locations.
    Some((packed >> 4, (packed >> 1 & 7).max(1), signal))
}

/// From a `vvcC` box.
fn of_vvc(record: &[u8]) -> Option<(u8, u8, VideoSignal)> {
    let (bit_depth, chroma_format) = vvc::pixel_format(record)?;
    Some((bit_depth, chroma_format, VideoSignal::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::parse::boxed;

    /// What a sample entry with these boxes says.
    fn of(kind: [u8; 4], boxes: &[([u8; 4], &[u8])]) -> Option<PixelFormat> {
        let boxes = boxes.iter().map(|(kind, body)| boxed(*kind, body));
        let boxes: Vec<_> = [vec![0; VISUAL_ENTRY_BYTES]]
            .into_iter()
            .chain(boxes)
            .collect();
        let entry = boxed(kind, &boxes.concat());
        PixelFormat::of(&boxed(*b"stsd", &[&[0; 8][..], &entry].concat()).into())
    }

    fn told(pixels: Option<PixelFormat>) -> Option<(u8, String, Option<bool>, [u8; 3])> {
        let pixels = pixels?;
        let PixelFormat {
            primaries,
            transfer,
            matrix,
            ..
        } = pixels;
        Some((
            pixels.bit_depth,
            pixels.chroma,
            pixels.full_range,
            [primaries, transfer, matrix],
        ))
    }

    #[test]
    fn container_says_before_the_stream_what_values_mean() {
        let vp9: &[u8] = &[1, 0, 0, 0, 2, 10, 0xa3, 1, 1, 1, 0, 0];
        let vpcc = (*b"vpcC", vp9);
        let stream = Some((10, "4:2:0".to_owned(), Some(true), [1; 3]));
        assert_eq!(told(of(*b"vp09", &[vpcc])), stream);
        let nclx = (*b"colr", &b"nclx\0\x09\0\x10\0\x09\0"[..]);
        let pixels = of(*b"vp09", &[vpcc, nclx]).expect("it says");
        assert!(pixels.is_hdr());
        let container = Some((10, "4:2:0".to_owned(), Some(false), [9, 16, 9]));
        assert_eq!(told(Some(pixels)), container);
        let quicktime = (*b"colr", &b"nclc\0\x06\0\x01\0\x06"[..]);
        let container = Some((10, "4:2:0".to_owned(), Some(true), [6, 1, 6]));
        assert_eq!(told(of(*b"vp09", &[vpcc, quicktime])), container);
        let profile = (*b"colr", &b"prof1234567890"[..]);
        assert_eq!(told(of(*b"vp09", &[vpcc, profile])), stream);
    }

    #[test]
    fn depth_and_chroma_are_those_of_the_codec() {
        for (flags, depth, chroma) in [
            (0b0000_1100, 8, "4:2:0"),
            (0b0100_1100, 10, "4:2:0"),
            (0b0110_1000, 12, "4:2:2"),
            (0b0101_1100, 10, "4:0:0"),
            (0, 8, "4:4:4"),
        ] {
            let record: &[u8] = &[0x81, 0, flags, 0];
            let found = told(of(*b"av01", &[(*b"av1C", record)]));
            assert_eq!(found, Some((depth, chroma.to_owned(), None, [2; 3])));
        }
        let record: &[u8] = &[0, 0, 0, 0, 0xff, 0, 0x15, 0x5f];
        let vvc = told(of(*b"vvc1", &[(*b"vvcC", record)])).expect("it says");
        assert_eq!((vvc.0, vvc.1.as_str()), (10, "4:2:0"));
        let prores = told(of(*b"apcn", &[])).expect("it says");
        assert_eq!((prores.0, prores.1.as_str()), (10, "4:2:2"));
        assert_eq!(of(*b"jpeg", &[]), None);
        let dolby = of(*b"apcn", &[(*b"dvvC", &[0; 24])]);
        assert!(dolby.expect("it says").dolby_vision);
    }
}
