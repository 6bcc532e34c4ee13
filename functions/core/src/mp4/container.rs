//! Containers that have no index as an MP4 has it, and what in them leads to an interval.

use super::{
    boxes::{Header, Kind},
    fetch,
};
use crate::{error::ClipError, range::RangeRead};
use serde::{Deserialize, Serialize};

/// A container that `FFmpeg` reads. Each leads to any interval without being read from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Container {
    /// An MP4 in fragments, with an index of them (`sidx` or `mfra`).
    FragmentedMp4,
    /// An MPEG transport stream, which is searched by its time stamps.
    MpegTs,
    /// Matroska or `WebM` with cues.
    Matroska,
}

/// The identifiers of Matroska's elements (RFC 9559, section 5.1).
const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
const CUES: [u8; 4] = [0x1c, 0x53, 0xbb, 0x6b];
/// The last box of a fragmented MP4 that has an index at its end, `mfro`: the length of that index, in 16 bytes.
const MFRO_BYTES: u64 = 16;

impl Container {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FragmentedMp4 => "fragmented MP4",
            Self::MpegTs => "MPEG-TS",
            Self::Matroska => "Matroska",
        }
    }

    /// The container of a file that begins with `head` and is no MP4; `None` for one that is not read.
    ///
    /// # Errors
    /// `UnsupportedMedia` for a file that would have to be read from its start.
    pub(crate) fn of(head: &[u8]) -> Result<Option<Self>, ClipError> {
        let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
        let sync_bytes = |first: usize, packet: usize| (0..3).all(|index| at(first + index * packet, b"\x47"));
        if sync_bytes(0, 188) || sync_bytes(4, 192) {
            return Ok(Some(Self::MpegTs));
        }
        if !at(0, b"\x1a\x45\xdf\xa3") {
            return Ok(None);
        }
        // Cues are named by the head, or lie in it.
        let in_front = head.windows(4).take_while(|bytes| *bytes != CLUSTER);
        if in_front.into_iter().any(|bytes| bytes == CUES) {
            Ok(Some(Self::Matroska))
        } else {
            Err(ClipError::unsupported_media(
                "the source is a Matroska or WebM file without an index (Cues), as live recordings are: remux it first",
            ))
        }
    }

    /// A fragmented MP4, whose fragments have an index in front of them or at the end of the file.
    ///
    /// # Errors
    /// `UnsupportedMedia` when they have none; and whatever the source raises.
    pub(crate) async fn fragmented(source: &impl RangeRead, next: Option<Kind>) -> Result<Self, ClipError> {
        let is_indexed = match source.len().checked_sub(MFRO_BYTES) {
            _ if next == Some(*b"sidx") => true,
            None => false,
            Some(at) => {
                let last = fetch::read_exact(source, at..source.len()).await?;
                Header::read(&last).is_ok_and(|header| header.is_some_and(|header| header.kind == *b"mfro"))
            }
        };
        if is_indexed {
            Ok(Self::FragmentedMp4)
        } else {
            Err(ClipError::unsupported_media(
                "the source is a fragmented MP4 without an index of its fragments (sidx or mfra): remux it first",
            ))
        }
    }
}
