//! IDR pictures, which start a coded video sequence (ITU-T H.264, 7.4.1.2.4).

use crate::nal::{self, LengthSize};

/// Why a copy cannot begin with the sample that begins with `head`. `None` if it can: the sample is an IDR picture, so
/// nothing after it refers to anything before it.
pub(crate) fn cannot_begin_with(head: &[u8], size: LengthSize) -> Option<&'static str> {
    for unit in nal::units(head, size).map_while(|unit| unit) {
        match unit.bytes.first().map(|header| header & 31) {
            Some(5) => return None,
            Some(1..=4) => break,
            Some(6) if nal::turns_pictures(&unit.bytes[1..]) => {
                return Some("the source's pictures say how to turn them");
            }
            _ => {}
        }
    }
    Some("the clip's keyframes are no IDR pictures")
}

/// Whether the sample that begins with `head` is an IDR picture.
pub(crate) fn is_idr(head: &[u8], size: LengthSize) -> bool {
    let units = nal::units(head, size).map_while(|unit| unit);
    let mut kinds = units.filter_map(|unit| unit.bytes.first().map(|header| header & 31));
    kinds.find(|kind| matches!(kind, 1..=5)) == Some(5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_slice_tells_an_idr_picture() {
        let sample = |types: &[u8]| {
            types
                .iter()
                .flat_map(|kind| [0, 0, 0, 2, *kind, 0xff])
                .collect::<Vec<u8>>()
        };
        assert_eq!(
            cannot_begin_with(&sample(&[9, 7, 8, 6, 0x65]), LengthSize::Four),
            None
        );
        for other in [
            &sample(&[9, 6, 0x41, 0x65])[..],
            &sample(&[9, 6]),
            &[0, 0, 0],
        ] {
            assert_eq!(
                cannot_begin_with(other, LengthSize::Four),
                Some("the clip's keyframes are no IDR pictures")
            );
            assert!(!is_idr(other, LengthSize::Four));
        }
        assert!(is_idr(&sample(&[9, 7, 8, 6, 0x65]), LengthSize::Four));
    }

    #[test]
    fn message_that_turns_pictures_is_found_among_others() {
        let sample = |messages: &[u8]| {
            [
                &[0, 0, 0, 1 + u8::try_from(messages.len()).expect("few"), 6],
                messages,
                &[0, 0, 0, 1, 0x65],
            ]
            .concat()
        };
        let turned = Some("the source's pictures say how to turn them");
        assert_eq!(
            cannot_begin_with(&sample(&[47, 1, 0x80, 0x80]), LengthSize::Four),
            turned
        );
        assert_eq!(
            cannot_begin_with(&sample(&[5, 2, 47, 1, 47, 0, 0x80]), LengthSize::Four),
            turned
        );
        assert_eq!(
            cannot_begin_with(&sample(&[255, 47, 0, 1, 2, 47, 47, 0x80]), LengthSize::Four),
            None
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_sample_or_not(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = cannot_begin_with(&bytes, LengthSize::Four);
        }
    }
}
