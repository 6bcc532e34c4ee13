//! Codec headers with values that no decoder should believe.

use crate::{
    Case,
    boxes::{Box4, with_moov},
    media::Media,
};

const KIND: &str = "codecs";
/// Sample entries for decoders that `FFmpeg` has, and for nonexistent ones.
const ENTRIES: [&[u8; 4]; 30] = [
    b"hvc1", b"hev1", b"av01", b"vp08", b"vp09", b"mp4v", b"mjpa", b"jpeg", b"mjp2", b"png ",
    b"gif ", b"tiff", b"rle ", b"rpza", b"smc ", b"cvid", b"SVQ1", b"SVQ3", b"apcn", b"ap4h",
    b"AVdn", b"dvcp", b"dvh5", b"raw ", b"2vuy", b"v210", b"vvc1", b"encv", b"drmi", b"xxxx",
];

/// All cases.
#[must_use]
pub fn cases(media: &Media) -> Vec<Case> {
    let mut cases = of_h264(media);
    cases.extend(of_sizes(media));
    cases.extend(of_hevc(media));
    cases.extend(of_sound(media));
    for entry in ENTRIES {
        let name = String::from_utf8_lossy(entry);
        let file = with_entry(&media.silent, |stsd| stsd.boxes[0].kind = *entry);
        cases.push(Case::new(KIND, format!("H.264 called {name}"), file));
    }
    cases
}

/// A file with the sample entries of its first track changed.
fn with_entry(file: &[u8], change: impl FnOnce(&mut Box4)) -> Vec<u8> {
    with_moov(file, |moov| change(moov.at("trak/mdia/minf/stbl/stsd")))
}

fn of_h264(media: &Media) -> Vec<Case> {
    let configured = |configuration: Vec<u8>| {
        with_entry(&media.mp4, |stsd| stsd.at("avc1/avcC").body = configuration)
    };
    let own = media.mp4.windows(4).rposition(|bytes| bytes == b"avcC");
    let own = &media.mp4[own.expect("parameter sets") + 4..];
    let sps_bytes = usize::from(own[7]);
    let (sps, pps) = (&own[8..8 + sps_bytes], &own[8 + sps_bytes + 3..][..8]);
    let with_sps = |sps: &[u8]| configured(configuration(sps, pps));
    let mut cases = vec![
        ("empty avcC", configured(Vec::new())),
        ("avcC of a byte", configured(vec![1])),
        (
            "avcC without parameter sets",
            configured(vec![1, 100, 0, 10, 0xff, 0xe0, 0]),
        ),
        (
            "avcC with 31 empty parameter sets",
            configured([&[1, 100, 0, 10, 0xff, 0xff][..], &[0; 62], &[0]].concat()),
        ),
        (
            "avcC with lengths of 3 bytes",
            configured([&[1, 100, 0, 10, 0xfe], &own[5..100]].concat()),
        ),
        (
            "avcC longer than it is",
            configured(vec![1, 100, 0, 10, 0xff, 0xe1, 0xff, 0xff, 0x67]),
        ),
        ("avcC of ones", configured(vec![0xff; 64])),
        ("SPS of ones", with_sps(&[0x67; 40])),
        ("SPS cut short", with_sps(&sps[..5])),
        (
            "SPS of zeros",
            with_sps(&[0x67, 100, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "SPS of 8192x8192 with 16 references",
            with_sps(&sps_of(512, 512, 16)),
        ),
        ("SPS of 65535x65535", with_sps(&sps_of(4096, 4096, 1))),
        ("SPS of 16x65536", with_sps(&sps_of(1, 4096, 16))),
        ("SPS of 16384x16", with_sps(&sps_of(1024, 1, 0))),
        (
            "SPS of 4 billion references",
            with_sps(&sps_of(8, 5, u32::MAX - 1)),
        ),
    ];
    for bit in 0..sps_bytes.min(16) {
        let mut changed = sps.to_vec();
        changed[bit] ^= 0x55;
        cases.push(("SPS with a changed byte", with_sps(&changed)));
    }
    let numbered = cases.into_iter().enumerate();
    numbered
        .map(|(number, (what, file))| Case::new(KIND, format!("{what} ({number})"), file))
        .collect()
}

fn configuration(sps: &[u8], pps: &[u8]) -> Vec<u8> {
    let length = |set: &[u8]| u16::try_from(set.len()).expect("a short set").to_be_bytes();
    [
        &[1, 100, 0, 10, 0xff, 0xe1][..],
        &length(sps),
        sps,
        &[1],
        &length(pps),
        pps,
    ]
    .concat()
}

/// A sequence parameter set of the Main profile (ITU-T H.264, 7.3.2.1.1), with a size in
/// macroblocks.
fn sps_of(width: u32, height: u32, references: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.exp_golomb(0); // seq_parameter_set_id
    bits.exp_golomb(4); // log2_max_frame_num_minus4
    bits.exp_golomb(2); // pic_order_cnt_type
    bits.exp_golomb(references);
    bits.push(0, 1); // gaps_in_frame_num_value_allowed_flag
    bits.exp_golomb(width - 1);
    bits.exp_golomb(height - 1);
    bits.push(0b1100, 4); // frame_mbs_only, direct_8x8_inference, no cropping, no VUI
    bits.push(1, 1);
    [&[0x67, 77, 0, 62][..], &bits.bytes()].concat()
}

fn of_sizes(media: &Media) -> Vec<Case> {
    let mut cases = Vec::new();
    for (width, height) in [(0, 0), (1, 1), (65_535, 65_535), (8192, 8192), (65_535, 1)] {
        let size = [u16::to_be_bytes(width), u16::to_be_bytes(height)].concat();
        for (name, file, entry) in [("H.264", &media.mp4, "avc1"), ("HEVC", &media.hevc, "hvc1")] {
            let file = with_entry(file, |stsd| {
                stsd.at(entry).write(24, &size);
            });
            cases.push(Case::new(
                KIND,
                format!("entry of {name} of {width}x{height}"),
                file,
            ));
        }
        // Picture headers, for decoders that believe them.
        let jpeg = [
            &b"\xff\xd8\xff\xc0\0\x11\x08"[..],
            &size[2..],
            &size[..2],
            b"\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xda\0\x0c",
            b"\x03\x01\0\x02\x11\x03\x11\0\x3f\0\xff\xd9",
        ];
        cases.push(picture(
            media,
            &format!("JPEG of {width}x{height}"),
            *b"jpeg",
            &jpeg.concat(),
        ));
        let png = [
            &b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0"[..],
            &size[..2],
            &[0, 0],
            &size[2..],
            b"\x08\x06\0\0\0\0\0\0\0",
        ];
        cases.push(picture(
            media,
            &format!("PNG of {width}x{height}"),
            *b"png ",
            &png.concat(),
        ));
    }
    for (name, ratio) in [
        ("0:0", [0, 0]),
        ("4294967295:1", [u32::MAX, 1]),
        ("1:4294967295", [1, u32::MAX]),
    ] {
        let file = with_entry(&media.mp4, |stsd| {
            let body = ratio.map(u32::to_be_bytes).concat();
            stsd.at("avc1").boxes.push(Box4::new(b"pasp", body));
        });
        cases.push(Case::new(KIND, format!("pixels of {name}"), file));
    }
    cases
}

/// A file whose samples begin with a picture of another codec.
fn picture(media: &Media, what: &str, entry: [u8; 4], header: &[u8]) -> Case {
    let mut file = with_entry(&media.silent, |stsd| {
        stsd.boxes[0].kind = entry;
        stsd.boxes[0].boxes.clear();
    });
    let media = file
        .windows(4)
        .position(|bytes| bytes == b"mdat")
        .expect("samples")
        + 4;
    file[media..media + header.len()].copy_from_slice(header);
    Case::new(KIND, what, file).between(0, "50%")
}

fn of_hevc(media: &Media) -> Vec<Case> {
    let own = media.hevc.windows(4).rposition(|bytes| bytes == b"hvcC");
    let own = own.expect("parameter sets");
    let length =
        u32::from_be_bytes(*media.hevc[own - 4..].first_chunk().expect("a length")) as usize;
    let own = media.hevc[own + 4..own - 4 + length].to_vec();
    let configured = |configuration: Vec<u8>| {
        with_entry(&media.hevc, |stsd| {
            stsd.at("hvc1/hvcC").body = configuration;
        })
    };
    let mut cases = vec![
        ("empty hvcC".to_owned(), configured(Vec::new())),
        (
            "hvcC without arrays".to_owned(),
            configured([&own[..22], &[0]].concat()),
        ),
        (
            "hvcC of 255 arrays".to_owned(),
            configured([&own[..22], &[255]].concat()),
        ),
        ("hvcC of ones".to_owned(), configured(vec![0xff; 64])),
        (
            "hvcC of 65,535 sets".to_owned(),
            configured([&own[..22], &[1, 33, 0xff, 0xff], &[0; 2000]].concat()),
        ),
    ];
    for at in (23..own.len()).step_by(7) {
        let mut changed = own.clone();
        changed[at] ^= 0x55;
        cases.push((format!("hvcC changed at {at}"), configured(changed)));
        cases.push((
            format!("hvcC cut short at {at}"),
            configured(own[..at].to_vec()),
        ));
    }
    cases
        .into_iter()
        .map(|(what, file)| Case::new(KIND, what, file))
        .collect()
}

fn of_sound(media: &Media) -> Vec<Case> {
    let described = |what: &str, body: Vec<u8>| {
        let file = with_moov(&media.mp4, |moov| {
            let tracks = moov.boxes.iter_mut().filter(|each| each.kind == *b"trak");
            let sound = tracks.into_iter().nth(1).expect("sound");
            sound.at("mdia/minf/stbl/stsd/mp4a/esds").body = body;
        });
        Case::new(KIND, what, file)
    };
    let rated = |rate: u32, channels: u16| {
        let file = with_moov(&media.mp4, |moov| {
            let tracks = moov.boxes.iter_mut().filter(|each| each.kind == *b"trak");
            let sound = tracks
                .into_iter()
                .nth(1)
                .expect("sound")
                .at("mdia/minf/stbl/stsd/mp4a");
            sound.write(16, &channels.to_be_bytes()).number(24, rate);
        });
        Case::new(
            KIND,
            format!("sound of {rate} in {channels} channels"),
            file,
        )
    };
    vec![
        described("empty esds", Vec::new()),
        described("esds of ones", vec![0xff; 40]),
        described("esds nested 1,000 deep", [vec![0; 4], b"\x03\x80\x80\x80\x7f\0\0\0".repeat(1000)].concat()),
        described("esds without a rate", b"\0\0\0\0\x03\x19\0\0\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x17\x80\x06\x01\x02".to_vec()),
        described("esds of 0 channels", b"\0\0\0\0\x03\x19\0\0\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x11\x80\x06\x01\x02".to_vec()),
        rated(0, 2),
        rated(u32::MAX, 2),
        rated(48_000 << 16, 0),
        rated(48_000 << 16, u16::MAX),
    ]
}

/// Bits, most significant first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn push(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            self.0.push(value >> bit & 1 == 1);
        }
    }

    /// A number in Exp-Golomb code (ITU-T H.264, 9.1).
    fn exp_golomb(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let length = code.ilog2() + 1;
        self.push(0, length - 1);
        self.push(code, length);
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            let set = bits.iter().enumerate().filter(|(_, bit)| **bit);
            set.fold(0, |byte, (at, _)| byte | 0x80_u8 >> at)
        };
        self.0.chunks(8).map(byte).collect()
    }
}
