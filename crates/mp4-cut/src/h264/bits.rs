//! Bit strings of NAL units: emulation prevention (ITU-T H.264, 7.4.1.1) and Exp-Golomb numbers (9.1).

/// A bit string and how far it was read. `None` is its end.
pub(crate) struct Bits {
    pub all: Vec<bool>,
    pub at: usize,
}

impl Bits {
    pub fn flag(&mut self) -> Option<bool> {
        let bit = *self.all.get(self.at)?;
        self.at += 1;
        Some(bit)
    }

    /// An unsigned integer of up to 32 bits.
    pub fn number(&mut self, bits: usize) -> Option<u32> {
        let value = number(self.all.get(self.at..self.at + bits)?);
        self.at += bits;
        Some(value)
    }

    /// An unsigned Exp-Golomb number (9.1).
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        if zeros >= 32 {
            return None;
        }
        let rest = self.number(zeros)?;
        Some(rest + ((1_u32 << zeros) - 1))
    }

    /// Skips a list of `length` scaling factors (7.3.2.1.1.1), if it is there.
    pub fn skip_scaling_list(&mut self, length: u32) -> Option<()> {
        if !self.flag()? {
            return Some(());
        }
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..length {
            if next != 0 {
                let coded = i64::from(self.ue()?);
                let delta = if coded % 2 == 0 {
                    -(coded / 2)
                } else {
                    coded / 2 + 1
                };
                next = (last + delta).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
        Some(())
    }

    /// Skips HRD parameters (E.1.2), and tells whether they are there.
    pub fn skip_hrd(&mut self) -> Option<bool> {
        if !self.flag()? {
            return Some(false);
        }
        let count = self.ue()?;
        if count >= 32 {
            return None;
        }
        self.number(8)?;
        for _ in 0..=count {
            self.ue()?;
            self.ue()?;
            self.flag()?;
        }
        self.number(20)?;
        Some(true)
    }
}

/// The unsigned integer that `bits` are, the highest first.
pub(crate) fn number(bits: &[bool]) -> u32 {
    bits.iter()
        .fold(0, |value, bit| value << 1 | u32::from(*bit))
}

/// Appends an unsigned Exp-Golomb number.
pub(crate) fn write_ue(bits: &mut Vec<bool>, value: u32) {
    let coded = u64::from(value) + 1;
    let length = u64::BITS - coded.leading_zeros();
    bits.extend(std::iter::repeat_n(false, length as usize - 1));
    bits.extend((0..length).rev().map(|bit| coded >> bit & 1 == 1));
}

/// The bits of a NAL unit without the bytes that prevent start codes in it.
pub(crate) fn unpack(nal: &[u8]) -> Vec<bool> {
    let mut zeros = 0;
    let mut bits = Vec::with_capacity(nal.len() * 8);
    for byte in nal {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        bits.extend((0..8).rev().map(|bit| byte >> bit & 1 == 1));
    }
    bits
}

/// Bytes of `bits`, with the stop bit and the zeros that fill the last byte.
pub(crate) fn pack(mut bits: Vec<bool>) -> Vec<u8> {
    bits.push(true);
    bits.resize(bits.len().next_multiple_of(8), false);
    bits.chunks(8)
        .map(|byte| {
            byte.iter()
                .fold(0, |value, bit| value << 1 | u8::from(*bit))
        })
        .collect()
}

/// A NAL unit of `rbsp`, with the bytes that prevent start codes in it.
pub(crate) fn escape(rbsp: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut nal = Vec::with_capacity(rbsp.len() + 4);
    for byte in rbsp {
        if zeros >= 2 && *byte <= 3 {
            nal.push(3);
            zeros = 0;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        nal.push(*byte);
    }
    nal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn escaped_bytes_have_no_start_code_and_come_back(bytes in prop::collection::vec(0_u8..5, 0..64)) {
            let escaped = escape(&bytes);
            prop_assert!(escaped.windows(3).all(|three| three[..2] != [0, 0] || three[2] > 2));
            let bits = unpack(&escaped);
            let back: Vec<u8> = bits.chunks(8).map(|byte| u8::try_from(number(byte)).expect("a byte")).collect();
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn golomb_numbers_come_back(values in prop::collection::vec(0..u32::MAX / 2, 0..8)) {
            let mut all = Vec::new();
            for value in &values {
                write_ue(&mut all, *value);
            }
            let mut bits = Bits { all, at: 0 };
            for value in values {
                prop_assert_eq!(bits.ue(), Some(value));
            }
        }
    }
}
