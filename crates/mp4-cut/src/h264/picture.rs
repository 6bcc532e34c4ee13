//! What the NAL units of a sample say about its picture: its first slice header (ITU-T H.264, 7.3.3) and its SEI
//! messages (annex D).

use crate::{
    h264::sps::Sps,
    nal::{
        self, LengthSize,
        bits::{BitReader, unescape},
    },
};

/// Bytes of a slice that are read: more than the header fields used here need.
const SLICE_HEAD_BYTES: usize = 32;
/// The type of the message that says from where on pictures are correct (D.1.8).
const RECOVERY_POINT: usize = 6;
/// The type of messages defined by programs and identified by a 16-byte UUID (D.1.7).
const USER_DATA_UNREGISTERED: usize = 5;
/// The UUID of x264's version message.
const X264: [u8; 16] = [
    0xdc, 0x45, 0xe9, 0xbd, 0xe6, 0xd9, 0x48, 0xb7, 0x96, 0x2c, 0xd8, 0x20, 0xd9, 0x23, 0xee, 0xef,
];

/// The first x264 build whose 4:4:4 and lossless pictures follow the standard. Decoders know how earlier ones deviate.
const FIRST_RIGHT_BUILD: u32 = 151;

/// Whether 4:4:4 or lossless pictures that follow this NAL unit, which names the x264 build, decode by the standard.
pub(crate) fn is_as_standardized(version: &[u8]) -> bool {
    const BEFORE_BUILD: &[u8] = b"x264 - core ";
    let before = version
        .windows(BEFORE_BUILD.len())
        .position(|bytes| bytes == BEFORE_BUILD);
    let digits = before.map_or(&[][..], |at| &version[at + BEFORE_BUILD.len()..]);
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let build = digits.fold(0_u32, |build, digit| {
        build
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    });
    build >= FIRST_RIGHT_BUILD
}

/// What a sample is, judging by its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    pub is_idr: bool,
    /// Whether its first slice refers to no other picture.
    pub is_intra: bool,
    /// How many more frames must be decoded until pictures are correct, if a message says so.
    pub recovery_frames: Option<u32>,
    /// The field that its first slice belongs to; `None` for a frame.
    pub field: Option<Field>,
    /// The NAL unit, including its length prefix, with x264's version: some decoders depend on it.
    pub version: Option<Vec<u8>>,
}

/// A field of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    /// What both fields of a frame have in common.
    pub frame_num: u32,
    pub is_bottom: bool,
}

impl Picture {
    /// Reads the sample that begins with `head`; `None` if there is no slice in `head`.
    pub fn read(head: &[u8], sps: &Sps, size: LengthSize) -> Option<Self> {
        let mut picture = Self::default();
        for unit in nal::units(head, size).map_while(|unit| unit) {
            match unit.bytes.first().map(|header| header & 31) {
                Some(kind @ (1 | 5)) => {
                    picture.is_idr = kind == 5;
                    picture.read_slice(unit.bytes, sps)?;
                    return Some(picture);
                }
                Some(6) if unit.is_whole => picture.read_messages(unit.prefixed, &unit.bytes[1..]),
                _ => {}
            }
        }
        None
    }

    /// The field that a whole sample contains, if it is exactly one.
    pub fn lone_field(sample: &[u8], sps: &Sps, size: LengthSize) -> Option<Field> {
        let units = nal::units(sample, size).map_while(|unit| unit);
        let slices = units.filter(|unit| {
            let header = unit.bytes.first();
            header.is_some_and(|header| matches!(header & 31, 1 | 5))
        });
        let mut fields = slices.map(|unit| {
            let mut picture = Self::default();
            picture.read_slice(unit.bytes, sps)?;
            picture.field
        });
        let first = fields.next()??;
        fields.all(|other| other == Some(first)).then_some(first)
    }

    fn read_slice(&mut self, unit: &[u8], sps: &Sps) -> Option<()> {
        let rbsp = unescape(&unit[..unit.len().min(SLICE_HEAD_BYTES)]);
        let mut bits = BitReader::of_beginning(&rbsp);
        bits.skip(8)?;
        bits.ue()?;
        self.is_intra = matches!(bits.ue()? % 5, 2 | 4);
        bits.ue()?;
        if sps.shape.separate_planes {
            bits.skip(2)?;
        }
        let frame_num = bits.number(sps.frame_num_bits)?;
        if !sps.shape.frame_mbs_only && bits.flag()? {
            self.field = Some(Field {
                frame_num,
                is_bottom: bits.flag()?,
            });
        }
        Some(())
    }

    fn read_messages(&mut self, whole: &[u8], messages: &[u8]) {
        for (kind, payload) in nal::sei_messages(messages) {
            if kind == RECOVERY_POINT {
                self.recovery_frames = BitReader::of_beginning(&unescape(payload)).ue();
            }
            if kind == USER_DATA_UNREGISTERED && payload.starts_with(&X264) {
                self.version = Some(whole.to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nal::bits::BitWriter;
    use proptest::prelude::*;

    /// Parameters of pictures that may be fields.
    fn interlaced() -> Sps {
        const X264: &[u8] = &[
            0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00,
            0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
        ];
        let mut sps = Sps::read(X264).expect("parameters");
        sps.shape.frame_mbs_only = false;
        sps
    }

    /// A sample of a slice, of a field or of a frame.
    fn sample(nal: u8, slice_type: u32, is_bottom_field: Option<bool>) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.number(nal.into(), 8);
        for value in [0, slice_type, 0] {
            bits.ue(value);
        }
        bits.number(0, interlaced().frame_num_bits);
        bits.flag(is_bottom_field.is_some());
        if let Some(is_bottom) = is_bottom_field {
            bits.flag(is_bottom);
        }
        unit(&bits.into_nal())
    }

    fn unit(nal: &[u8]) -> Vec<u8> {
        let length = u32::try_from(nal.len()).expect("a short unit");
        [&length.to_be_bytes(), nal].concat()
    }

    #[test]
    fn slice_tells_what_its_picture_is() {
        let read = |sample: &[u8]| {
            Picture::read(sample, &interlaced(), LengthSize::Four).expect("a picture")
        };
        let idr = read(&sample(0x65, 7, None));
        assert!(idr.is_idr && idr.is_intra && idr.field.is_none());
        let field = read(&sample(0x41, 5, Some(true)));
        assert!(!field.is_idr && !field.is_intra);
        assert!(field.field.is_some_and(|field| field.is_bottom));
    }

    #[test]
    fn sample_of_both_fields_is_no_lone_field() {
        let field = |bottom: bool| sample(0x41, 5, Some(bottom));
        let lone = |samples: &[Vec<u8>]| {
            let found = Picture::lone_field(&samples.concat(), &interlaced(), LengthSize::Four);
            found.map(|field| field.is_bottom)
        };
        assert_eq!(lone(&[field(true)]), Some(true));
        assert_eq!(lone(&[field(false), field(false)]), Some(false));
        assert_eq!(lone(&[field(false), field(true)]), None);
        assert_eq!(lone(&[sample(0x41, 5, None)]), None);
    }

    #[test]
    fn messages_in_front_of_a_slice_are_understood() {
        let mut recovery = BitWriter::default();
        recovery.ue(19);
        let recovery = recovery.into_nal();
        let length = u8::try_from(recovery.len()).expect("short");
        let recovery = unit(&[&[6, 6, length][..], &recovery, &[0x80]].concat());
        let version = unit(&[&[6, 5, 18][..], &X264, b"x2", &[0x80]].concat());
        let all = [&version[..], &recovery, &sample(0x41, 0, None)].concat();
        let picture = Picture::read(&all, &interlaced(), LengthSize::Four).expect("a picture");
        assert_eq!(picture.recovery_frames, Some(19));
        assert_eq!(picture.version, Some(version));
    }

    #[test]
    fn old_versions_are_told_by_their_number() {
        for (version, is_right) in [
            (&b"x264 - core 164 r3108"[..], true),
            (b"x264 - core 151", true),
            (b"x264 - core 142 r50", false),
            (b"x264 - core", false),
        ] {
            assert_eq!(is_as_standardized(version), is_right);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_picture_or_not(bytes in prop::collection::vec(0_u8..70, 0..80), length_bytes in 1..5_u8) {
            let size = LengthSize::of_bytes(length_bytes).unwrap_or(LengthSize::Four);
            let _ = Picture::read(&bytes, &interlaced(), size);
        }
    }
}
