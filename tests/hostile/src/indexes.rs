//! Indexes with false content.

use crate::{
    Case,
    boxes::{Box4, with_moov, with_table},
    media::Media,
};

const KIND: &str = "indexes";
/// Values that programs do not expect.
const NUMBERS: [u32; 7] = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX];
/// Fields of sample tables: the table, the field's offset in its body, and its meaning.
const FIELDS: [(&str, usize, &str); 15] = [
    ("stsz", 4, "size of every sample"),
    ("stsz", 8, "number of samples"),
    ("stsz", 12, "size of the first sample"),
    ("stsz", 20, "size of the third sample"),
    ("stts", 4, "number of runs"),
    ("stts", 8, "samples of the first run"),
    ("stts", 12, "duration"),
    ("ctts", 8, "samples with an offset"),
    ("ctts", 12, "offset"),
    ("stsc", 8, "first chunk"),
    ("stsc", 12, "samples of a chunk"),
    ("stsc", 16, "sample entry"),
    ("stco", 4, "number of chunks"),
    ("stco", 8, "place of the first chunk"),
    ("stss", 8, "first keyframe"),
];

/// All cases.
#[must_use]
pub fn cases(media: &Media) -> Vec<Case> {
    let mut cases = Vec::new();
    for (table, at, what) in FIELDS {
        for number in NUMBERS {
            let file = with_table(&media.mp4, table, |table| {
                table.number(at, number);
            });
            cases.push(Case::new(KIND, format!("{what} is {number}"), file));
        }
    }
    for (path, at, what) in [
        ("mvhd", 12, "timescale of the movie"),
        ("mvhd", 16, "duration of the movie"),
        ("trak/mdia/mdhd", 12, "timescale"),
        ("trak/mdia/mdhd", 16, "duration of the media"),
        ("trak/tkhd", 20, "duration of the track"),
        ("trak/edts/elst", 8, "duration of an edit"),
        ("trak/edts/elst", 12, "start of an edit"),
        ("trak/edts/elst", 16, "rate of an edit"),
    ] {
        for number in NUMBERS {
            let file = with_moov(&media.mp4, |moov| {
                moov.at(path).number(at, number);
            });
            cases.push(Case::new(KIND, format!("{what} is {number}"), file));
        }
    }
    cases.extend(of_no_bytes(media));
    cases.extend(of_long_times(media));
    cases.extend(of_fragments(media));
    cases
}

/// Samples without bytes: all, the keyframes, those after them, those of the audio.
fn of_no_bytes(media: &Media) -> Vec<Case> {
    let zeroed = |file: &[u8], track: usize, is_zero: fn(usize) -> bool| {
        with_moov(file, |moov| {
            let tracks = moov.boxes.iter_mut().filter(|each| each.kind == *b"trak");
            let track = tracks.into_iter().nth(track).expect("a track");
            let sizes = &mut track.at("mdia/minf/stbl/stsz").body;
            for (index, size) in sizes[12..].chunks_mut(4).enumerate() {
                if is_zero(index) {
                    size.fill(0);
                }
            }
        })
    };
    let case = |what: &str, file: Vec<u8>| Case::new(KIND, what, file);
    vec![
        case("no sample has bytes", zeroed(&media.mp4, 0, |_| true)),
        case(
            "no keyframe has bytes",
            zeroed(&media.silent, 0, |index| index % 10 == 0),
        ),
        case(
            "only keyframes have bytes",
            zeroed(&media.silent, 0, |index| index % 10 != 0),
        ),
        case(
            "every other sample has bytes",
            zeroed(&media.silent, 0, |index| index % 2 == 0),
        ),
        case(
            "samples before a keyframe have no bytes",
            zeroed(&media.silent, 0, |index| index % 10 > 6),
        ),
        case(
            "no sample of HEVC has bytes",
            zeroed(&media.hevc, 0, |_| true),
        ),
        case(
            "only keyframes of HEVC have bytes",
            zeroed(&media.hevc, 0, |index| index % 10 != 0),
        ),
        case("no sound has bytes", zeroed(&media.mp4, 1, |_| true)),
        case(
            "every other sound has bytes",
            zeroed(&media.mp4, 1, |index| index % 2 == 0),
        ),
    ]
}

/// Times with 19 digits, in the file and in the request.
fn of_long_times(media: &Media) -> Vec<Case> {
    let wide = |numbers: &[u64]| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect()
    };
    let mut cases = Vec::new();
    for number in [
        0,
        1,
        i64::MAX.cast_unsigned(),
        1 << 63,
        u64::MAX,
        1_000_000_000_000_000_000,
    ] {
        let list = with_moov(&media.mp4, |moov| {
            let body = [
                vec![1, 0, 0, 0, 0, 0, 0, 1],
                wide(&[number, number]),
                vec![0, 1, 0, 0],
            ];
            moov.at("trak/edts/elst").body = body.concat();
        });
        cases.push(Case::new(KIND, format!("edit of {number}"), list));
        let header = with_moov(&media.mp4, |moov| {
            let body = [
                vec![1, 0, 0, 0],
                wide(&[0, 0]),
                vec![0, 0, 0, 1],
                wide(&[number]),
                vec![0; 4],
            ];
            moov.at("trak/mdia/mdhd").body = body.concat();
        });
        cases.push(Case::new(KIND, format!("media of {number}"), header));
        let chunks = with_moov(&media.mp4, |moov| {
            let stbl = moov.at("trak/mdia/minf/stbl");
            stbl.boxes.retain(|each| each.kind != *b"stco");
            let body = [vec![0, 0, 0, 0, 0, 0, 0, 1], wide(&[number])].concat();
            stbl.boxes.push(Box4::new(b"co64", body));
            stbl.at("stsc").body = [0_u32, 1, 1, 50, 1]
                .iter()
                .flat_map(|n| n.to_be_bytes())
                .collect();
        });
        cases.push(Case::new(KIND, format!("chunk at {number}"), chunks));
    }
    let slow = with_moov(&media.mp4, |moov| {
        moov.at("trak/mdia/mdhd").number(12, 1);
        moov.at("trak/mdia/minf/stbl/stts").number(12, 0x7fff_ffff);
    });
    cases.push(Case::new(KIND, "pictures of 68 years", slow));
    for (start, end) in [
        ("0".to_owned(), "9".repeat(19)),
        ("9".repeat(19), "9".repeat(20)),
        ("0".to_owned(), "1e308".to_owned()),
        (
            "0.0000000000000000001".to_owned(),
            "0.0000000000000000002".to_owned(),
        ),
        ("99:99:99.999".to_owned(), "999999999999:00:00".to_owned()),
        ("0%".to_owned(), "99999999999999999999%".to_owned()),
    ] {
        let name = format!("cut from {start} to {end}");
        cases.push(Case::new(KIND, name, media.mp4.as_slice()).between(start, end));
    }
    cases
}

/// Fragments with wrong times and offsets, and an index of fragments that refers to itself.
fn of_fragments(media: &Media) -> Vec<Case> {
    let changed = |change: &dyn Fn(&mut Box4)| {
        let mut boxes = crate::boxes::parse(&media.fragmented);
        for moof in boxes.iter_mut().filter(|each| each.kind == *b"moof") {
            change(moof);
        }
        boxes.iter().flat_map(Box4::bytes).collect::<Vec<u8>>()
    };
    let mut cases = Vec::new();
    for number in NUMBERS {
        for (path, at, what) in [
            ("traf/tfdt", 4, "time of a fragment"),
            ("traf/tfhd", 4, "track of a fragment"),
            ("traf/tfhd", 8, "default of a fragment"),
            ("traf/trun", 4, "samples of a fragment"),
            ("traf/trun", 8, "place of a fragment"),
        ] {
            let file = changed(&|moof| {
                moof.at(path).number(at, number);
            });
            cases.push(Case::new(KIND, format!("{what} is {number}"), file));
        }
    }
    let mut boxes = crate::boxes::parse(&media.fragmented);
    let until = boxes
        .iter()
        .position(|each| each.kind == *b"moof")
        .expect("a fragment");
    let references = [0x8000_0000_u32, 25, 0x9000_0000]
        .map(u32::to_be_bytes)
        .concat()
        .repeat(1000);
    let head = [0, 1, 12_800, 0, 0, 1000].map(u32::to_be_bytes).concat();
    boxes.insert(until, Box4::new(b"sidx", [head, references].concat()));
    let file: Vec<u8> = boxes.iter().flat_map(Box4::bytes).collect();
    cases.push(Case::new(KIND, "index of indexes of fragments", file));
    cases
}
