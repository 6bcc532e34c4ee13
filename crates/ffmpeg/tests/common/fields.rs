//! Writes field-coded H.264 (PAFF), which `FFmpeg` does not encode: frames, or pairs of fields, of one shade. Every
//! macroblock is uncompressed (`I_PCM`, ITU-T H.264, 7.3.5).

use super::synthetic::{Sample, Shape, Track, decode_index};
use mp4_atom::{Avc1, Avcc, Codec, Encode, Visual};

/// Lines and columns of a frame.
const SIZE: u16 = 64;
/// Which frame of a group, in display order, is decoded first, second, …
const DECODED: [u32; 5] = [0, 2, 1, 4, 3];
/// Units per second.
const TIMESCALE: u32 = 90_000;
/// The duration of a field at 25 frames per second.
const FIELD: u32 = 1800;

/// How a frame is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coded {
    Frame,
    /// As two fields, in separate samples or in one.
    Fields,
    FieldsInOneSample,
    /// As one field without its pair.
    OneField,
}

/// An MP4 with this many groups of frames. `coded` says how each frame is coded, by its number in decode order.
pub fn mp4(groups: u32, coded: impl Fn(u32) -> Coded) -> Vec<u8> {
    let (mut samples, mut media) = (Vec::new(), Vec::new());
    for number in 0..groups * group_frames() {
        let slices = Slices::of(number);
        let parts = match coded(number) {
            Coded::Frame => vec![slices.nal(None)],
            Coded::Fields => vec![slices.nal(Some(false)), slices.nal(Some(true))],
            Coded::OneField => vec![slices.nal(Some(false))],
            Coded::FieldsInOneSample => {
                vec![[slices.nal(Some(false)), slices.nal(Some(true))].concat()]
            }
        };
        // Shown a frame late, so that none is shown before it is decoded.
        let offset = i64::from(slices.shown) - i64::from(number) + 1;
        let offset = i32::try_from(offset * i64::from(2 * FIELD)).expect("few frames");
        let duration = match coded(number) {
            Coded::Fields | Coded::OneField => FIELD,
            Coded::Frame | Coded::FieldsInOneSample => 2 * FIELD,
        };
        for (index, part) in parts.iter().enumerate() {
            samples.push(Sample {
                bytes: u32::try_from(part.len()).expect("a short sample"),
                duration,
                offset,
                sync: slices.is_idr() && index == 0,
            });
            media.extend_from_slice(part);
        }
    }
    file(samples, &media)
}

pub fn group_frames() -> u32 {
    u32::try_from(DECODED.len()).expect("few frames")
}

fn file(samples: Vec<Sample>, media: &[u8]) -> Vec<u8> {
    let duration: u32 = samples.iter().map(|sample| sample.duration).sum();
    let track = Track {
        is_video: true,
        timescale: TIMESCALE,
        samples,
        samples_per_chunk: 3,
        edit: Some(super::synthetic::Edit {
            empty: 0,
            media_time: (2 * FIELD).into(),
        }),
    };
    let shape = Shape {
        tracks: vec![track],
        gap: 0,
        wide_offsets: false,
    };
    let mut file = shape.file_with_index_last();
    let mut index = decode_index(&file);
    let track = &mut index.trak[0];
    let edit = track.edts.as_mut().and_then(|edits| edits.elst.as_mut());
    edit.expect("an edit").entries[0].segment_duration = (duration / 90).into();
    (track.tkhd.width, track.tkhd.height) = (SIZE.into(), SIZE.into());
    track.mdia.minf.stbl.stsd.codecs = vec![Codec::Avc1(description())];
    let at = super::boxes::last(&file, *b"mdat") + 8;
    file.truncate(at);
    file.extend_from_slice(media);
    index.encode(&mut file).expect("an index");
    file
}

fn description() -> Avc1 {
    let avcc = Avcc {
        configuration_version: 1,
        avc_profile_indication: 77,
        profile_compatibility: 0,
        avc_level_indication: 30,
        length_size: 4,
        sequence_parameter_sets: vec![sequence_parameters()],
        picture_parameter_sets: vec![picture_parameters()],
        ext: None,
    };
    Avc1 {
        visual: Visual {
            data_reference_index: 1,
            width: SIZE,
            height: SIZE,
            ..Visual::default()
        },
        avcc,
        ..Avc1::default()
    }
}

fn sequence_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.number(77, 8);
    bits.number(30, 16);
    // The id, four bits of frame_num, eight bits of picture order count, two reference frames, no gaps.
    bits.golombs(&[0, 0, 0, 4, 2]);
    bits.number(0, 1);
    bits.golomb(u32::from(SIZE / 16) - 1);
    bits.golomb(u32::from(SIZE / 32) - 1);
    // Fields, no MBAFF, direct 8x8 inference, no cropping; VUI with timing only.
    bits.number(0b0_0101, 5);
    bits.number(0b0_0001, 5);
    bits.number(1, 32);
    bits.number(TIMESCALE / FIELD, 32);
    // Fixed frame rate, no HRD, no pic_struct, with bounds.
    bits.number(0b10_0011, 6);
    bits.golombs(&[0, 0, 15, 15, 1, 2]);
    bits.unit(0x67)
}

fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.golombs(&[0, 0]);
    bits.number(0, 2);
    bits.golombs(&[0, 0, 0]);
    bits.number(0, 3);
    bits.golombs(&[0, 0, 0]);
    bits.number(0, 3);
    bits.unit(0x68)
}

/// The slices of a frame, or of its fields.
struct Slices {
    /// The frame's number in display order.
    shown: u32,
    /// Its place in its group, in decode order.
    place: u32,
}

impl Slices {
    fn of(number: u32) -> Self {
        let place = number % group_frames();
        Self {
            shown: number - place + DECODED[place as usize],
            place,
        }
    }

    fn is_idr(&self) -> bool {
        self.place == 0
    }

    /// Whether others may refer to it; every second frame is shown before the one decoded before it.
    fn is_reference(&self) -> bool {
        self.place == 0 || self.place % 2 == 1
    }

    /// The slice of a whole frame, or of a field, with its length prefix.
    fn nal(&self, field: Option<bool>) -> Vec<u8> {
        let is_bottom = field == Some(true);
        let is_idr = self.is_idr() && !is_bottom;
        let (slice_type, pcm, header) = match (is_idr, self.is_reference()) {
            (true, _) => (7, 25, 0x65),
            (false, true) => (5, 30, 0x41),
            (false, false) => (6, 48, 0x01),
        };
        let mut bits = Bits::default();
        bits.golombs(&[0, slice_type, 0]);
        bits.number(self.place / 2 + u32::from(self.place > 0), 4);
        bits.number(field.is_some().into(), 1);
        if field.is_some() {
            bits.number(is_bottom.into(), 1);
        }
        if is_idr {
            bits.golomb(self.shown / group_frames() % 2);
        }
        bits.number(2 * DECODED[self.place as usize] + u32::from(is_bottom), 8);
        // Default reference lists and marking.
        let flags = match slice_type {
            7 => (0, 2),
            5 => (0, 3),
            _ => (0b1000, 4),
        };
        bits.number(flags.0, flags.1);
        bits.golomb(0);
        let lines = if field.is_some() { SIZE / 2 } else { SIZE };
        for _ in 0..u32::from(SIZE / 16) * u32::from(lines / 16) {
            if !is_idr {
                bits.golomb(0);
            }
            bits.golomb(pcm);
            bits.macroblock(self.shade());
        }
        let unit = bits.unit(header);
        let length = u32::try_from(unit.len()).expect("a short unit");
        // An access unit delimiter, except before the second field of a frame.
        let delimiter: &[u8] = if is_bottom {
            &[]
        } else {
            &[0, 0, 0, 2, 9, 0xf0]
        };
        [delimiter, &length.to_be_bytes(), &unit].concat()
    }

    fn shade(&self) -> u8 {
        u8::try_from(20 + self.shown * 37 % 200).expect("a shade")
    }
}

#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn number(&mut self, value: u32, bits: u32) {
        self.0
            .extend((0..bits).rev().map(|bit| value >> bit & 1 == 1));
    }

    /// An unsigned Exp-Golomb number.
    fn golomb(&mut self, value: u32) {
        let length = 32 - (value + 1).leading_zeros();
        self.number(0, length - 1);
        self.number(value + 1, length);
    }

    fn golombs(&mut self, values: &[u32]) {
        for value in values {
            self.golomb(*value);
        }
    }

    /// The samples of a macroblock, aligned to the next byte after the header.
    fn macroblock(&mut self, shade: u8) {
        self.0.resize(self.0.len().next_multiple_of(8), false);
        for sample in [[shade; 256].as_slice(), &[128; 128]].concat() {
            self.number(sample.into(), 8);
        }
    }

    /// The unit, with emulation prevention.
    fn unit(mut self, header: u8) -> Vec<u8> {
        self.number(1, 1);
        self.0.resize(self.0.len().next_multiple_of(8), false);
        let mut unit = vec![header];
        for byte in self.0.chunks(8) {
            let byte = byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            if byte <= 3 && unit.ends_with(&[0, 0]) {
                unit.push(3);
            }
            unit.push(byte);
        }
        unit
    }
}
