//! Small files that claim to be large.

use crate::{
    Case,
    boxes::{Box4, with_moov, with_table},
    media::Media,
};
use std::sync::LazyLock;

const KIND: &str = "bombs";
const MANY: u32 = 80_000_000;

/// All cases.
#[must_use]
pub fn cases(media: &Media) -> Vec<Case> {
    let mut cases = of_samples(media);
    cases.extend(of_tables(media));
    cases.extend(of_boxes(media));
    cases.extend(of_other_containers(media));
    cases
}

fn case(what: &str, file: impl Into<Vec<u8>>) -> Case {
    Case::new(KIND, what, file)
}

/// Numbers, one after the other.
fn words(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

/// Makes an index claim this many samples of this many bytes.
fn claim(moov: &mut Box4, samples: u32, bytes: u32) {
    let stbl = moov.at("trak/mdia/minf/stbl");
    stbl.at("stsz").body = words(&[0, bytes, samples]);
    stbl.at("stts").body = words(&[0, 1, samples, 1]);
    stbl.at("stsc").body = words(&[0, 1, 1, samples, 1]);
}

fn of_samples(media: &Media) -> Vec<Case> {
    let claiming =
        |samples: u32, bytes| with_moov(&media.silent, |moov| claim(moov, samples, bytes));
    vec![
        case("80 million samples in fragments", fragmented(media, MANY)),
        case("80 million samples", claiming(MANY, 1)),
        case("80 million samples of no bytes", claiming(MANY, 0)),
        case("4 billion samples", claiming(u32::MAX, 1)),
        case("10 million samples of no bytes", claiming(10_000_000, 0)),
        case("fragment of 4 billion samples", run_of(media, u32::MAX)),
        case("fragment of 80 million samples", run_of(media, MANY)),
        case("fragment of a million samples", run_of(media, 1_000_000)),
        case("50,000 fragments", many_fragments(media, 50_000)),
    ]
}

/// A fragmented file whose `moov` claims samples, with padding up to 106 kB.
fn fragmented(media: &Media, samples: u32) -> Vec<u8> {
    let mut boxes = crate::boxes::parse(&media.fragmented);
    let moov = boxes.iter_mut().find(|each| each.kind == *b"moov");
    claim(moov.expect("an index"), samples, 1);
    let mut file: Vec<u8> = boxes.iter().flat_map(Box4::bytes).collect();
    let padding = 106_000_usize.saturating_sub(file.len() + 8);
    file.extend(Box4::new(b"free", vec![0; padding]).bytes());
    file
}

/// The same with one run of this many samples, all with the same size and duration.
fn run_of(media: &Media, samples: u32) -> Vec<u8> {
    let mut boxes = crate::boxes::parse(&media.fragmented);
    let moof = boxes.iter_mut().find(|each| each.kind == *b"moof");
    let run = Box4::new(b"trun", words(&[1, samples, 0]));
    let header = Box4::new(b"tfhd", words(&[0x0002_0038, 1, 1, 1, 0]));
    let traf = moof.expect("a fragment").at("traf");
    traf.boxes = vec![header, Box4::new(b"tfdt", words(&[0, 0])), run];
    boxes.iter().flat_map(Box4::bytes).collect()
}

fn many_fragments(media: &Media, count: usize) -> Vec<u8> {
    let boxes = crate::boxes::parse(&media.fragmented);
    let until = boxes
        .iter()
        .position(|each| each.kind == *b"moof")
        .expect("a fragment");
    let mut file: Vec<u8> = boxes[..until].iter().flat_map(Box4::bytes).collect();
    let traf = [
        Box4::new(b"tfhd", words(&[0x0002_0038, 1, 1, 0, 0])),
        Box4::new(b"trun", words(&[0, 1])),
    ];
    let fragment = Box4::of(
        b"moof",
        [Box4::new(b"mfhd", [0; 8]), Box4::of(b"traf", traf)],
    );
    let fragment = [fragment.bytes(), Box4::new(b"mdat", []).bytes()].concat();
    file.extend(fragment.repeat(count));
    file
}

fn of_tables(media: &Media) -> Vec<Case> {
    let table = |kind: &str, entries: u32, entry: &[u32]| {
        with_table(&media.silent, kind, |table| {
            table.body = [words(&[0, entries]), words(entry).repeat(1_000_000)].concat();
        })
    };
    let tracks = |kind: &[u8; 4], count: usize| {
        with_moov(&media.silent, |moov| {
            let mut track = moov.at("trak").clone();
            track.at("mdia/hdlr").write(8, kind);
            moov.boxes.extend(vec![track; count]);
        })
    };
    let edits = with_moov(&media.silent, |moov| {
        let list = [
            words(&[0, 500_000]),
            words(&[1, 0, 0x1_0000]).repeat(500_000),
        ]
        .concat();
        moov.at("trak/edts/elst").body = list;
    });
    let entries = with_moov(&media.silent, |moov| {
        let stsd = moov.at("trak/mdia/minf/stbl/stsd");
        stsd.boxes = vec![stsd.boxes[0].clone(); 20_000];
        stsd.number(4, 20_000);
    });
    let references = with_moov(&media.silent, |moov| {
        let dref = moov.at("trak/mdia/minf/dinf/dref");
        dref.boxes = vec![dref.boxes[0].clone(); 500_000];
        dref.number(4, 500_000);
    });
    let stbl = |more: Box4| {
        with_moov(&media.silent, |moov| {
            moov.at("trak/mdia/minf/stbl").boxes.push(more);
        })
    };
    let group = [b"roll".to_vec(), words(&[u32::MAX, u32::MAX, 1])].concat();
    vec![
        case(
            "a million runs of durations",
            table("stts", 1_000_000, &[u32::MAX, 1]),
        ),
        case(
            "a million runs of offsets",
            table("ctts", 1_000_000, &[u32::MAX, 1]),
        ),
        case("a million chunks", table("stco", 1_000_000, &[9])),
        case(
            "a million runs of chunks",
            table("stsc", 1_000_000, &[1, 9, 1]),
        ),
        case("a million keyframes", table("stss", 1_000_000, &[1])),
        case("half a million edits", edits),
        case("20,000 sample entries", entries),
        case("half a million references", references),
        case(
            "group of 4 billion",
            stbl(Box4::new(b"sbgp", [vec![0; 4], group].concat())),
        ),
        case("20,000 texts", tracks(b"text", 20_000)),
        case("2,000 sounds", tracks(b"soun", 2_000)),
        case("500 videos", tracks(b"vide", 500)),
    ]
}

fn of_boxes(media: &Media) -> Vec<Case> {
    let nested = |kind: &[u8; 4], depth: usize| {
        let heads = (0..depth).map(|level| {
            let length = u32::try_from(8 * (depth - level)).expect("a short file");
            [&length.to_be_bytes()[..], kind].concat()
        });
        heads.collect::<Vec<_>>().concat()
    };
    let within = |kind: &[u8; 4], depth| {
        let inner = nested(kind, depth);
        with_moov(&media.silent, |moov| {
            moov.boxes.push(Box4::new(b"udta", inner.clone()));
            moov.at("trak/mdia/minf")
                .boxes
                .push(Box4::new(b"udta", inner));
        })
    };
    let free = Box4::new(b"free", []).bytes();
    vec![
        case(
            "moov in moov",
            [&media.mp4[..32], &nested(b"moov", 100_000)].concat(),
        ),
        case("trak in trak", within(b"trak", 100_000)),
        case("meta in meta", within(b"meta", 100_000)),
        case("udta in udta", within(b"udta", 100_000)),
        case(
            "100,000 boxes",
            [&media.mp4[..32], &free.repeat(100_000), &media.mp4[32..]].concat(),
        ),
        case("index that inflates to 64 MiB", compressed(&zeros())),
        case(
            "index compressed in itself",
            compressed(&zlib(&compressed(&zlib(&media.mp4)))),
        ),
        case("20 MB of zeros", vec![0; 20 << 20]),
    ]
}

/// A compressed `QuickTime` index.
fn compressed(stream: &[u8]) -> Vec<u8> {
    let cmov = [
        Box4::new(b"dcom", *b"zlib"),
        Box4::new(b"cmvd", [&[0xff; 4], stream].concat()),
    ];
    Box4::of(b"moov", [Box4::of(b"cmov", cmov)]).bytes()
}

fn zlib(content: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec_zlib(content, 1)
}

/// 64 MiB of zeros, compressed.
fn zeros() -> Vec<u8> {
    static ZEROS: LazyLock<Vec<u8>> = LazyLock::new(|| zlib(&vec![0; 64 << 20]));
    ZEROS.clone()
}

fn of_other_containers(media: &Media) -> Vec<Case> {
    // Matroska elements: segment, tracks, track, content encodings, content encoding, compression.
    let element = |id: &[u8], body: &[u8]| {
        let length = u64::try_from(body.len()).expect("a length") | 1 << 56;
        [id, &length.to_be_bytes(), body].concat()
    };
    let head = &media.mkv[..40];
    let mut deep = Vec::new();
    for _ in 0..20_000 {
        deep = [
            &[
                0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ][..],
            &deep,
        ]
        .concat();
    }
    let zeros = zeros();
    let compression = element(
        &[0x6d, 0x80],
        &element(
            &[0x62, 0x40],
            &element(&[0x50, 0x34], &[0x42, 0x54, 0x81, 0]),
        ),
    );
    let track = [
        &[0xd7, 0x81, 1, 0x83, 0x81, 1][..],
        &element(&[0x86], b"V_MPEG4/ISO/AVC"),
        &element(&[0x63, 0xa2], &zeros),
        &compression,
    ];
    let tracks = element(
        &[0x16, 0x54, 0xae, 0x6b],
        &element(&[0xae], &track.concat()),
    );
    let segment = element(&[0x18, 0x53, 0x80, 0x67], &tracks);
    let object = [&[3][..], &[0, 1, b'a', 3].repeat(30_000)].concat();
    let script = [&[2, 0, 10][..], b"onMetaData", &object].concat();
    let length = u32::try_from(script.len())
        .expect("a short tag")
        .to_be_bytes();
    let tag = [&[18][..], &length[1..], &[0; 7], &script, &[0; 4]].concat();
    let index = [&b"idx1"[..], &0x7fff_fff0_u32.to_le_bytes()].concat();
    vec![
        case("Matroska nested 20,000 deep", [head, &deep].concat()),
        case(
            "Matroska whose header inflates to 64 MiB",
            [head, &segment].concat(),
        ),
        case(
            "FLV with objects nested 30,000 deep",
            [&media.flv[..13], &tag].concat(),
        ),
        case(
            "AVI with an index of 2 GB",
            [&media.avi, &index[..]].concat(),
        ),
        case(
            "transport stream of nothing",
            [&b"\x47\x1f\xff\x10"[..], &[0xff; 184]]
                .concat()
                .repeat(100_000),
        ),
        case("transport stream of programs", programs()),
        case(
            "program stream of nothing",
            b"\0\0\x01\xba\x44\0\x04\0\x04\x01\0\0\x03\xf8".repeat(500_000),
        ),
    ]
}

/// A transport stream whose tables change with every packet: each lists 40 programs that do not exist.
fn programs() -> Vec<u8> {
    let mut stream = Vec::new();
    for version in 0..20_000_u32 {
        let mut packet = vec![
            0x47,
            0x40,
            0,
            0x10 | low_byte(version % 16),
            0,
            0,
            0xb0,
            169,
            0,
            1,
        ];
        packet.extend([0xc1 | low_byte((version % 32) << 1), 0, 0]);
        for program in 0..40_u32 {
            let number = version * 40 + program;
            packet.extend([
                low_byte(number >> 8),
                low_byte(number),
                0xe1 | low_byte((number >> 8) & 0x1f),
                low_byte(number),
            ]);
        }
        packet.resize(188, 0xff);
        stream.extend(packet);
    }
    stream
}

fn low_byte(number: u32) -> u8 {
    number.to_be_bytes()[3]
}
