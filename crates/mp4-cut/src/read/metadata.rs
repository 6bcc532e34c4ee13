//! Metadata of a source, besides its tracks.

use crate::{
    boxes::parse::{children, find},
    error::Result,
};
use bytes::Bytes;

/// Boxes of `udta` that say where a source was recorded: `QuickTime`'s and 3GPP's (TS 26.244, 8.12).
const PLACES: [[u8; 4]; 2] = [*b"\xa9xyz", *b"loci"];
/// The same among the keys of Apple's metadata (`QuickTime` File Format, "Metadata keys").
const PLACE_KEY: &[u8] = b"com.apple.quicktime.location.";

/// Whether the body of a `moov` box says where the source was recorded.
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged) if boxes in it are.
pub(crate) fn names_place(moov: &Bytes) -> Result<bool> {
    let has_key = |meta: &Bytes| meta.windows(PLACE_KEY.len()).any(|key| key == PLACE_KEY);
    if let Some(udta) = find(moov, *b"udta")? {
        // The boxes may be followed by four zeros (`QuickTime` File Format, "User data atoms").
        for child in children(udta.body).map_while(Result::ok) {
            if PLACES.contains(&child.kind) || &child.kind == b"meta" && has_key(&child.body) {
                return Ok(true);
            }
        }
    }
    let meta = find(moov, *b"meta")?;
    Ok(meta.is_some_and(|meta| has_key(&meta.body)))
}
