//! Bits of NAL units: emulation prevention (ITU-T H.264, 7.4.1.1; H.265, 7.4.2) and Exp-Golomb numbers (9.1; 9.2).

use std::ops::Range;

/// Removes the bytes that prevent start codes.
pub fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut rbsp = Vec::with_capacity(nal.len());
    for byte in nal {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        rbsp.push(*byte);
    }
    rbsp
}

/// Inserts the bytes that prevent start codes, also after zero words at the end (7.4.2).
pub fn escape(rbsp: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut nal = Vec::with_capacity(rbsp.len() + rbsp.len() / 64 + 1);
    for byte in rbsp {
        if zeros >= 2 && *byte <= 3 {
            nal.push(3);
            zeros = 0;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        nal.push(*byte);
    }
    if zeros >= 2 {
        nal.push(3);
    }
    nal
}

/// Reads the bits of a parameter set. `None` marks its end.
pub struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
    end: usize,
}

impl<'a> BitReader<'a> {
    /// Reads an unescaped NAL unit from its header to `rbsp_stop_one_bit`, exclusive.
    pub fn new(rbsp: &'a [u8]) -> Self {
        let last = rbsp.iter().rposition(|byte| *byte != 0);
        let end = last.map_or(0, |at| at * 8 + 7 - rbsp[at].trailing_zeros() as usize);
        Self {
            end,
            ..Self::of_beginning(rbsp)
        }
    }

    /// Reads the beginning of an unescaped NAL unit, which may be cut off anywhere.
    pub fn of_beginning(rbsp: &'a [u8]) -> Self {
        Self {
            bytes: rbsp,
            position: 0,
            end: rbsp.len() * 8,
        }
    }

    /// The number of bits before the next one.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The number of bits before `rbsp_stop_one_bit`.
    pub fn end(&self) -> usize {
        self.end
    }

    pub fn skip(&mut self, bits: usize) -> Option<()> {
        let position = self.position.checked_add(bits)?;
        if position > self.end {
            return None;
        }
        self.position = position;
        Some(())
    }

    pub fn flag(&mut self) -> Option<bool> {
        let at = self.position;
        self.skip(1)?;
        Some(self.bytes[at / 8] << (at % 8) & 0x80 != 0)
    }

    /// An unsigned number of at most 32 bits.
    pub fn number(&mut self, bits: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..bits {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// An unsigned number of at most 8 bits.
    pub fn byte(&mut self, bits: u32) -> Option<u8> {
        u8::try_from(self.number(bits)?).ok()
    }

    /// An unsigned Exp-Golomb number, `ue(v)`.
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros == 32 {
                return None;
            }
        }
        Some(self.number(zeros)? + ((1 << zeros) - 1))
    }

    /// An unsigned Exp-Golomb number that may be at most `max`.
    pub fn ue_to(&mut self, max: u8) -> Option<u8> {
        let value = u8::try_from(self.ue()?).ok()?;
        if value > max { None } else { Some(value) }
    }
}

/// Writes the bits of a parameter set.
#[derive(Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    bits: usize,
}

impl BitWriter {
    pub fn flag(&mut self, value: bool) {
        if self.bits.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let (true, Some(last)) = (value, self.bytes.last_mut()) {
            *last |= 0x80 >> (self.bits % 8);
        }
        self.bits += 1;
    }

    /// The lowest `bits` bits of a number, at most 32.
    pub fn number(&mut self, value: u32, bits: u32) {
        for bit in (0..bits).rev() {
            self.flag(value >> bit & 1 == 1);
        }
    }

    /// An unsigned Exp-Golomb number, `ue(v)`. `u32::MAX` has no code and is not written.
    pub fn ue(&mut self, value: u32) {
        let Some(coded) = value.checked_add(1) else {
            return;
        };
        let length = u32::BITS - coded.leading_zeros();
        self.number(0, length - 1);
        self.number(coded, length);
    }

    /// The bits of `rbsp` at the positions `range`, which must be in it.
    pub fn copy(&mut self, rbsp: &[u8], range: Range<usize>) {
        for at in range {
            self.flag(rbsp[at / 8] << (at % 8) & 0x80 != 0);
        }
    }

    /// The NAL unit: stop bit, alignment and emulation prevention are added.
    pub fn into_nal(mut self) -> Vec<u8> {
        self.flag(true);
        escape(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_words_behind_slice_data_come_back() {
        let nal = [2, 1, 0x80, 0, 0, 3, 0, 0, 3];
        assert_eq!(unescape(&nal), [2, 1, 0x80, 0, 0, 0, 0]);
        assert_eq!(escape(&unescape(&nal)), nal);
    }

    #[test]
    fn stop_bit_is_not_data() {
        let mut bits = BitReader::new(&[0b1010_0000, 0, 0]);
        assert_eq!((bits.number(2), bits.flag()), (Some(0b10), None));
        assert_eq!(BitReader::new(&[0, 0]).flag(), None);
        assert_eq!(BitReader::new(&[]).skip(usize::MAX), None);
    }

    #[test]
    fn number_of_more_than_32_bits_is_refused() {
        assert_eq!(
            BitReader::new(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]).ue(),
            None
        );
        assert_eq!(
            BitReader::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff]).ue(),
            Some(u32::MAX - 1)
        );
    }

    proptest! {
        #[test]
        fn escaped_bytes_have_no_start_code_and_come_back(
            bytes in prop::collection::vec(0_u8..5, 0..64),
        ) {
            let nal = escape(&bytes);
            prop_assert!(nal.windows(3).all(|three| three[..2] != [0, 0] || three[2] > 2));
            prop_assert!(!nal.ends_with(&[0, 0]));
            prop_assert_eq!(unescape(&nal), bytes);
        }

        #[test]
        fn written_bits_are_read_again(
            numbers in prop::collection::vec((any::<u32>(), 0_u32..=32), 0..8),
            golomb in prop::collection::vec(0..u32::MAX, 0..8),
        ) {
            let mut writer = BitWriter::default();
            for (value, bits) in &numbers {
                writer.number(*value, *bits);
            }
            for value in &golomb {
                writer.ue(*value);
            }
            let rbsp = unescape(&writer.into_nal());
            let mut bits = BitReader::new(&rbsp);
            for (value, width) in numbers {
                let mask = u32::MAX.checked_shr(32 - width).unwrap_or(0);
                prop_assert_eq!(bits.number(width), Some(value & mask));
            }
            for value in golomb {
                prop_assert_eq!(bits.ue(), Some(value));
            }
            prop_assert_eq!(bits.position(), bits.end());
        }
    }
}
