//! IDR pictures, which start a coded video sequence (ITU-T H.264, 7.4.1.2.4), and messages beside them.

/// Why a copy cannot begin with the sample that begins with `head`. `None` if it can: the sample is an IDR picture, so
/// nothing behind it refers to anything before it.
pub(crate) fn cannot_begin_with(mut head: &[u8]) -> Option<&'static str> {
    while let Some((length, rest)) = head.split_first_chunk() {
        match rest.first().map(|header| header & 31) {
            Some(5) => return None,
            None | Some(1..=4) => break,
            _ => {}
        }
        let Some((unit, next)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            break;
        };
        if unit.first().is_some_and(|header| header & 31 == 6)
            && has_message(&unit[1..], DISPLAY_ORIENTATION)
        {
            return Some("the source's pictures say how to turn them");
        }
        head = next;
    }
    Some("the clip's keyframes are no IDR pictures")
}

/// The type of a message that turns or mirrors pictures (D.1.27), which encoded ones would not have.
const DISPLAY_ORIENTATION: usize = 47;

/// Whether there is a message of a type among `messages`, the payload of an SEI NAL unit (7.3.2.3.1).
pub(crate) fn has_message(mut messages: &[u8], kind: usize) -> bool {
    while let (Some(found), Some(bytes)) = (sei_number(&mut messages), sei_number(&mut messages)) {
        if found == kind {
            return true;
        }
        messages = messages.get(bytes..).unwrap_or_default();
    }
    false
}

/// A type or length, which is the sum of its bytes up to the first that is not 255.
pub(crate) fn sei_number(bytes: &mut &[u8]) -> Option<usize> {
    let last = bytes.iter().position(|byte| *byte < 255)?;
    let (number, rest) = bytes.split_at(last + 1);
    *bytes = rest;
    Some(number.iter().map(|byte| usize::from(*byte)).sum())
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
        assert_eq!(cannot_begin_with(&sample(&[9, 7, 8, 6, 0x65])), None);
        for other in [
            &sample(&[9, 6, 0x41, 0x65])[..],
            &sample(&[9, 6]),
            &[0, 0, 0],
        ] {
            assert_eq!(
                cannot_begin_with(other),
                Some("the clip's keyframes are no IDR pictures")
            );
        }
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
        assert_eq!(cannot_begin_with(&sample(&[47, 1, 0x80, 0x80])), turned);
        assert_eq!(
            cannot_begin_with(&sample(&[5, 2, 47, 1, 47, 0, 0x80])),
            turned
        );
        assert_eq!(
            cannot_begin_with(&sample(&[255, 47, 0, 1, 2, 47, 47, 0x80])),
            None
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_sample_or_not(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = cannot_begin_with(&bytes);
        }
    }
}
