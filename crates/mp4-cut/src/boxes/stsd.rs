//! Sample entries, the descriptions in an `stsd` box (ISO/IEC 14496-12, 8.5.2).

use crate::{
    boxes::parse::{Child, boxed, children, damaged},
    error::Result,
};
use bytes::{Buf, Bytes};

/// Bytes of a `VisualSampleEntry` before its boxes (12.1.3).
pub(crate) const VISUAL_ENTRY_BYTES: usize = 78;
/// Bytes of an `AudioSampleEntry` before its boxes (12.2.3).
pub(crate) const AUDIO_ENTRY_BYTES: usize = 28;
/// Bytes of the version, the flags and the number of entries.
const HEAD_BYTES: usize = 8;

/// The entries of a whole `stsd` box.
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged) if `stsd`, or an entry, is not a box.
pub(crate) fn entries(stsd: &Bytes) -> Result<impl Iterator<Item = Result<Child>> + use<>> {
    let stsd = children(stsd.clone())
        .next()
        .unwrap_or_else(|| Err(damaged("box stsd is too short")))?;
    let entries = match stsd.body.get(HEAD_BYTES..) {
        Some(entries) => stsd.body.slice_ref(entries),
        None => Bytes::new(),
    };
    Ok(children(entries))
}

/// The first entry of a whole `stsd` box.
///
/// # Errors
/// As [`entries`], and [`Error::Damaged`](crate::Error::Damaged) when there is none.
pub(crate) fn first_entry(stsd: &Bytes) -> Result<Child> {
    entries(stsd)?
        .next()
        .unwrap_or_else(|| Err(damaged("a track has no sample description (stsd)")))
}

/// The entry of a video track's whole `stsd` box, if it has exactly one.
pub(crate) fn only_video_entry(stsd: &Bytes) -> Option<Child> {
    let mut entries = entries(stsd).ok()?;
    let entry = entries.next()?.ok()?;
    if entries.next().is_some() || entry.body.len() < VISUAL_ENTRY_BYTES {
        return None;
    }
    Some(entry)
}

/// Bytes of an audio sample entry before its boxes. `QuickTime`'s versions 1 and 2 have more fields than MP4's.
pub(crate) fn audio_entry_bytes(entry: &Child) -> usize {
    let version = entry.body.get(8..10).map(|mut version| version.get_u16());
    AUDIO_ENTRY_BYTES
        + match version {
            Some(1) => 16,
            Some(2) => 36,
            _ => 0,
        }
}

/// The boxes of a sample entry, which begin `boxes_at` bytes into its body.
pub(crate) fn entry_boxes(entry: &Child, boxes_at: usize) -> Result<Bytes> {
    match entry.body.get(boxes_at..) {
        Some(boxes) => Ok(entry.body.slice_ref(boxes)),
        None => Err(damaged("a sample description is too short")),
    }
}

/// A whole `stsd` box whose only entry is replaced by one of type `kind` with the body `entry`.
pub(crate) fn with_entry(stsd: &Bytes, kind: [u8; 4], entry: &[u8]) -> Result<Bytes> {
    let stsd = children(stsd.clone())
        .next()
        .unwrap_or_else(|| Err(damaged("box stsd is too short")))?;
    let head = stsd
        .body
        .get(..HEAD_BYTES)
        .ok_or_else(|| damaged("box stsd is too short"))?;
    Ok(boxed(*b"stsd", &[head, &boxed(kind, entry)].concat()).into())
}
