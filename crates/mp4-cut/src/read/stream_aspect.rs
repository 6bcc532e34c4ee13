//! Pixel aspect ratios in MPEG-2 and MPEG-4 streams.

use std::iter;

/// Pixel aspect ratios by `aspect_ratio_info`, from 1 on (ISO/IEC 14496-2, table 6-12).
const PIXEL_ASPECTS: [(u32, u32); 5] = [(1, 1), (12, 11), (10, 11), (16, 11), (40, 33)];
/// The `aspect_ratio_info` for an explicit ratio that follows.
const EXTENDED_PAR: u32 = 15;

/// The pixel aspect ratio in the first stream header in `bytes`, which are the configuration box; `None` if it does not
/// say.
pub(crate) fn of_configuration(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut headers = bytes.windows(4).enumerate().filter_map(|(at, code)| {
        let [0, 0, 1, kind] = *code else { return None };
        let body = &bytes[at + 4..];
        match kind {
            0x20..=0x2f => of_mpeg4(body),
            0xb3 => of_mpeg2(body),
            _ => None,
        }
    });
    headers
        .next()
        .filter(|(width, height)| *width > 0 && *height > 0)
}

/// From a video object layer (ISO/IEC 14496-2, 6.2.3).
fn of_mpeg4(body: &[u8]) -> Option<(u32, u32)> {
    let mut bits = bits(body).skip(9);
    if number(&mut bits, 1)? == 1 {
        number(&mut bits, 7)?;
    }
    match number(&mut bits, 4)? {
        EXTENDED_PAR => Some((number(&mut bits, 8)?, number(&mut bits, 8)?)),
        index => PIXEL_ASPECTS.get((index as usize).wrapping_sub(1)).copied(),
    }
}

/// From a sequence header (ITU-T H.262, 6.2.2.1 and table 6-3), which has the aspect ratio of the picture.
fn of_mpeg2(body: &[u8]) -> Option<(u32, u32)> {
    let mut bits = bits(body);
    let (width, height) = (number(&mut bits, 12)?, number(&mut bits, 12)?);
    let (across, down) = match number(&mut bits, 4)? {
        2 => (4, 3),
        3 => (16, 9),
        4 => (221, 100),
        _ => return None,
    };
    Some((across * height, down * width))
}

fn bits(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let of_byte = |byte: &u8| {
        let byte = u32::from(*byte);
        (0..8).rev().map(move |bit| byte >> bit & 1)
    };
    bytes.iter().flat_map(of_byte)
}

fn number(bits: &mut impl Iterator<Item = u32>, count: usize) -> Option<u32> {
    iter::repeat_with(|| bits.next())
        .take(count)
        .try_fold(0, |value, bit| Some(value << 1 | bit?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shape_is_that_of_the_first_header() {
        // FFmpeg's headers of 320x180 pictures that are shown at 4:3.
        let mpeg2 = [0, 0, 1, 0xb3, 0x14, 0x00, 0xb4, 0x25];
        assert_eq!(of_configuration(&mpeg2), Some((720, 960)));
        let named = [9, 0, 0, 1, 0x20, 0, 0b0000_1000];
        assert_eq!(of_configuration(&named), Some((12, 11)));
        let own = [0, 0, 1, 0x20, 0, 0b0011_1100, 0b0000_1100, 0b0001_0000];
        assert_eq!(of_configuration(&own), Some((3, 4)));
    }

    proptest! {
        #[test]
        fn any_bytes_say_it_or_not(bytes in prop::collection::vec(0_u8..64, 0..40)) {
            let _ = of_configuration(&bytes);
        }
    }
}
