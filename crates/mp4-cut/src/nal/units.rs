//! NAL units of samples (ISO/IEC 14496-15, 5.3.3.1.2 and 8.3.2).

use std::iter;

/// How many bytes the length before each NAL unit of a sample takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthSize {
    /// Units of at most 255 bytes.
    One,
    /// Units of less than 64 KiB.
    Two,
    /// Used by nearly all files.
    Four,
}

impl LengthSize {
    /// `None` for a size that the file format does not allow.
    #[must_use]
    pub fn of_bytes(bytes: u8) -> Option<Self> {
        match bytes {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    fn split_length(self, data: &[u8]) -> Option<(usize, &[u8])> {
        let (length, rest) = data.split_at_checked(self.bytes())?;
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | u32::from(*byte));
        Some((usize::try_from(length).ok()?, rest))
    }

    /// Appends a NAL unit to a sample; `None` when it is too long for its length.
    pub fn append(self, sample: &mut Vec<u8>, nal: &[u8]) -> Option<()> {
        match self {
            Self::One => sample.push(u8::try_from(nal.len()).ok()?),
            Self::Two => sample.extend(u16::try_from(nal.len()).ok()?.to_be_bytes()),
            Self::Four => sample.extend(u32::try_from(nal.len()).ok()?.to_be_bytes()),
        }
        sample.extend_from_slice(nal);
        Some(())
    }
}

/// A NAL unit of a sample, or what is known of its beginning.
#[derive(Debug, Clone, Copy)]
pub struct NalUnit<'a> {
    /// Including its length prefix.
    pub prefixed: &'a [u8],
    /// From its header on.
    pub bytes: &'a [u8],
    /// Whether `bytes` is all of it.
    pub is_whole: bool,
}

/// The NAL units of a sample, or of the beginning of one. Ends with `None` if a length is truncated.
pub fn units(mut sample: &[u8], size: LengthSize) -> impl Iterator<Item = Option<NalUnit<'_>>> {
    iter::from_fn(move || {
        if sample.is_empty() {
            return None;
        }
        let Some((length, rest)) = size.split_length(sample) else {
            sample = &[];
            return Some(None);
        };
        let bytes = &rest[..length.min(rest.len())];
        let (prefixed, behind) = sample.split_at(size.bytes() + bytes.len());
        sample = behind;
        Some(Some(NalUnit {
            prefixed,
            bytes,
            is_whole: bytes.len() == length,
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_too_long_for_its_length_is_refused() {
        let mut sample = Vec::new();
        assert_eq!(LengthSize::One.append(&mut sample, &[0; 256]), None);
        assert_eq!(
            LengthSize::Two.append(&mut sample, &vec![0; 0x1_0000]),
            None
        );
        assert_eq!(LengthSize::of_bytes(3), None);
    }
}
