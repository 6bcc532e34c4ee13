//! Boxes that are in memory.

use crate::error::{Error, Result};
use bytes::{Buf, Bytes};
use mp4_atom::Atom;
use std::iter;

/// The longest index (`moov`, `sidx` or `mfra`) that is read, in bytes: about nine hours at 1 kB per second of media. A
/// longer one is [`Error::Unsupported`], which bounds memory for any source.
pub const MAX_INDEX_BYTES: u64 = 32 << 20;
/// A box's type: its four-character code.
pub(crate) type FourCC = [u8; 4];

/// The error for an inconsistent index.
pub(crate) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Damaged(what.to_string())
}

/// A box's type for a message, with `?` for each unprintable byte.
pub(crate) fn fourcc_name(kind: FourCC) -> String {
    let mut name = String::new();
    for byte in kind {
        let is_printable = byte.is_ascii_graphic() || byte == b' ';
        name.push(if is_printable { char::from(byte) } else { '?' });
    }
    name
}

/// The header of a box (4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: FourCC,
    /// Bytes of the header itself: 8, or 16 with a 64-bit size.
    pub length: u64,
    /// Bytes of the box including its header; `None` if the box extends to the end of its container.
    pub bytes: Option<u64>,
}

impl Header {
    /// Reads a box's header from the start of `data`; `None` when `data` is too short for it.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a size smaller than the header itself.
    pub fn read(mut data: &[u8]) -> Result<Option<Self>> {
        if data.len() < 8 {
            return Ok(None);
        }
        let size = data.get_u32();
        let mut kind = FourCC::default();
        data.copy_to_slice(&mut kind);
        let (length, bytes) = match size {
            0 => (8, None),
            1 if data.len() < 8 => return Ok(None),
            1 => (16, Some(data.get_u64())),
            size => (8, Some(u64::from(size))),
        };
        if bytes.is_some_and(|bytes| bytes < length) {
            return Err(damaged(format!(
                "box {} has an impossible size",
                fourcc_name(kind)
            )));
        }
        Ok(Some(Self {
            kind,
            length,
            bytes,
        }))
    }
}

/// A box with all its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub kind: FourCC,
    /// The whole box as in the file, header included.
    pub whole: Bytes,
    /// What follows the header.
    pub body: Bytes,
}

impl Child {
    /// A box from all its bytes; `whole` must be at least as long as `header`.
    pub fn new(header: Header, whole: Bytes) -> Self {
        let content = if header.length == 8 { 8.. } else { 16.. };
        Self {
            kind: header.kind,
            body: whole.slice(content),
            whole,
        }
    }
}

/// The boxes in `body`, one after the other. A remainder too short for a box, or of zeros, is padding, as `QuickTime`
/// writes it.
pub(crate) fn children(mut body: Bytes) -> impl Iterator<Item = Result<Child>> {
    iter::from_fn(move || {
        let next = split_child(&mut body).transpose();
        if !matches!(next, Some(Ok(_))) {
            body.clear();
        }
        next
    })
}

/// Takes the first box off `body`.
fn split_child(body: &mut Bytes) -> Result<Option<Child>> {
    let Some(header) = Header::read(body)? else {
        return Ok(None);
    };
    let name = fourcc_name(header.kind);
    // Only the last box of a file may leave its length open. Copied elsewhere, it would swallow what follows.
    let Some(bytes) = header.bytes else {
        return if header.kind == [0; 4] {
            Ok(None)
        } else {
            Err(damaged(format!("box {name} has no length")))
        };
    };
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= body.len() => Ok(Some(Child::new(header, body.split_to(bytes)))),
        _ => Err(damaged(format!(
            "box {name} goes beyond the box that holds it"
        ))),
    }
}

/// The first box of `kind` in `body`.
pub(crate) fn find(body: &Bytes, kind: FourCC) -> Result<Option<Child>> {
    for child in children(body.clone()) {
        let child = child?;
        if child.kind == kind {
            return Ok(Some(child));
        }
    }
    Ok(None)
}

/// The first box of `kind` in `body`, which must be there.
pub(crate) fn require(body: &Bytes, kind: FourCC) -> Result<Child> {
    find(body, kind)?.ok_or_else(|| damaged(format!("it has no box {}", fourcc_name(kind))))
}

/// Decodes a box with `mp4-atom`, which is strict about boxes that it knows.
pub(crate) fn decode<T: Atom>(child: &Child) -> Result<T> {
    T::decode_body(&mut &child.body[..])
        .map_err(|error| damaged(format!("box {}: {error}", T::KIND)))
}

/// A box whose length fits in 32 bits, such as a table or a sample entry.
pub(crate) fn boxed(kind: FourCC, body: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(body.len() + 8).unwrap_or(u32::MAX);
    [&bytes.to_be_bytes()[..], &kind, body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_beyond_its_parent_is_damaged() {
        let error = children(Bytes::from_static(b"\0\0\0\x10free\0\0\0\0"))
            .next()
            .unwrap()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the source's MP4 index is damaged: box free goes beyond the box that holds it"
        );
    }

    #[test]
    fn box_smaller_than_its_header_is_damaged() {
        assert!(Header::read(b"\0\0\0\x07free").is_err());
        assert!(Header::read(b"\0\0\0\x01free\0\0\0\0\0\0\0\x0f").is_err());
    }

    #[test]
    fn quicktime_terminator_is_padding() {
        let boxes: Vec<_> = children(Bytes::from_static(b"\0\0\0\x08free\0\0\0\0"))
            .map(Result::unwrap)
            .collect();
        assert_eq!(boxes.len(), 1);
    }

    #[test]
    fn box_in_a_box_has_a_length() {
        let error = children(Bytes::from_static(b"\0\0\0\0free\0\0\0\0"))
            .next()
            .unwrap()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the source's MP4 index is damaged: box free has no length"
        );
        assert_eq!(children(Bytes::from_static(&[0; 12])).count(), 0);
    }
}
