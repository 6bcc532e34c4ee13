//! Supplemental enhancement information (ITU-T H.264, 7.3.2.3.1 and annex D; H.265, 7.3.2.4 and annex D).

use std::iter;

/// The type of a message that rotates or mirrors pictures (D.1.27; D.2.17). Encoded pictures would lack it.
const DISPLAY_ORIENTATION: usize = 47;

/// Whether a message rotates pictures.
pub fn turns_pictures(payload: &[u8]) -> bool {
    sei_messages(payload).any(|(kind, _)| kind == DISPLAY_ORIENTATION)
}

/// The messages of an SEI NAL unit, each with its type. The last may be truncated.
pub fn sei_messages(mut payload: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    iter::from_fn(move || {
        let (kind, bytes) = (sei_number(&mut payload)?, sei_number(&mut payload)?);
        let (message, rest) = payload.split_at(bytes.min(payload.len()));
        payload = rest;
        Some((kind, message))
    })
}

/// A type or length, which is the sum of its bytes up to the first that is not 255.
fn sei_number(bytes: &mut &[u8]) -> Option<usize> {
    let last = bytes.iter().position(|byte| *byte < 255)?;
    let (number, rest) = bytes.split_at(last + 1);
    *bytes = rest;
    Some(number.iter().map(|byte| usize::from(*byte)).sum())
}
