//! Sound of every codec that a source may have, behind an edit.

use super::{
    containers::assert_cuts_are_exact,
    ffmpeg::{Folder, SAMPLE_RATE, decode, load, pictures, sound, words},
    footage::{H264, Source, encode, microseconds},
    smart::smart_cut,
};
use std::{iter, ops::Range, path::Path};

/// How `FFmpeg` writes a codec: the file's name and options.
const CODECS: [(&str, &str); 13] = [
    ("aac.mp4", "-c:a aac"),
    ("mp3.mp4", "-c:a libmp3lame"),
    ("opus.mp4", "-c:a libopus"),
    ("vorbis.mp4", "-c:a vorbis -ac 2 -strict -2"),
    ("ac3.mp4", "-c:a ac3"),
    ("eac3.mp4", "-c:a eac3"),
    ("dts.mp4", "-c:a dca -strict -2"),
    ("flac.mp4", "-c:a flac"),
    ("alac.mp4", "-c:a alac"),
    ("mp2.mp4", "-c:a mp2"),
    ("pcm.mov", "-c:a pcm_s16le"),
    ("float.mov", "-c:a pcm_f32le"),
    ("adpcm.mov", "-c:a adpcm_ima_qt"),
];
/// Intervals that begin and end within packets: close to the start, across keyframes, within a group of pictures.
const INTERVALS: [Range<f64>; 3] = [0.1..0.633, 0.733..2.5, 2.3..2.9];

/// How far sound may be off, in samples: 1 ms.
const MAX_OFF: usize = SAMPLE_RATE / 1000;

/// Copies, smart cuts and encodes of a source have its sound in place, and all of it. Its decoder takes `settling_seconds`
/// to get going.
async fn assert_sound_is_in_place(path: &Path, settling_seconds: f64) {
    let source = Source::decode(path).await;
    assert!(source.movie.facts.audio.is_some(), "{}", path.display());
    for interval in INTERVALS {
        let (window, copy) = source.cut(interval.clone()).await;
        assert!(window.facts.has_audio);
        let encoded = encode(&source, &window, &copy).await;
        let mut clips = vec![
            ("copy", decode(&copy, true)),
            ("encode", decode(&encoded, true)),
        ];
        if let Ok((.., clip)) = smart_cut(&source, interval.clone()).await {
            clips.push(("smart cut", decode(&clip, true)));
        }
        for (way, clip) in clips {
            let mut settled = window.clone();
            settled.facts.start_seconds += settling_seconds;
            let from = sample_at(settling_seconds);
            let off = source.sound_off(&settled, clip.sound.get(from..).unwrap_or_default());
            let label = format!("{way} of {} at {interval:?}", path.display());
            assert!(off <= MAX_OFF, "{label}: the sound is off by {off} samples");
        }
    }
}

fn sample_at(seconds: f64) -> usize {
    usize::try_from(microseconds(seconds)).expect("a time") * SAMPLE_RATE / 1_000_000
}

#[tokio::test]
async fn sound_of_every_codec_is_in_place_behind_an_edit() {
    let folder = Folder::new();
    for (name, options) in CODECS {
        let path = folder.build(
            name,
            &[pictures("30", 3), sound(3), words(H264), words(options)],
        );
        assert_sound_is_in_place(&path, 0.0).await;
    }
}

#[tokio::test]
async fn sound_that_decodes_to_nothing_at_first_is_in_place_in_other_containers() {
    let folder = Folder::new();
    let codec = words("-c:a vorbis -ac 2 -strict -2");
    let path = folder.build("a.mkv", &[pictures("30", 3), sound(3), words(H264), codec]);
    assert_cuts_are_exact(&path, &[(0.1, 0.633), (0.7, 2.5), (2.3, 2.9)]).await;
}

/// Frames of AMR at 12.2 kbit/s (RFC 4867, 5.3): noise of an even loudness, as the first and most important of their
/// bits are always the same.
fn amr(frames: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    iter::repeat_with(|| [&[0x3c][..], &[0x99; 11], &[(); 20].map(|()| byte())].concat())
        .take(frames)
        .flatten()
        .collect()
}

/// Where the body of the last box of a kind begins.
fn last_box(file: &[u8], kind: &[u8; 4]) -> usize {
    4 + file
        .windows(4)
        .rposition(|bytes| bytes == kind)
        .expect("a box")
}

/// Makes one sample of every `count` ones of a file's last track, which are all of one length and lie in `media`.
fn pack(file: &mut Vec<u8>, media: &[u8], count: u32) {
    let media_at = u32::try_from(file.len() + 8).expect("a short file");
    let bytes = u32::try_from(media.len() + 8).expect("a short box");
    file.extend([&bytes.to_be_bytes()[..], b"mdat", media].concat());
    let number =
        |file: &[u8], at: usize| u32::from_be_bytes(*file[at..].first_chunk().expect("a number"));
    let [stts, stsz, stsc, stco] =
        [b"stts", b"stsz", b"stsc", b"stco"].map(|kind| last_box(file, kind));
    let (duration, size) = (number(file, stts + 12), number(file, stsz + 4));
    let samples = number(file, stsz + 8) / count;
    for (at, value) in [
        (stts + 8, samples),
        (stts + 12, duration * count),
        (stsz + 4, size * count),
        (stsz + 8, samples),
        (stsc + 4, 1),
        (stsc + 12, samples),
        (stco + 4, 1),
        (stco + 8, media_at),
    ] {
        file[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
}

#[tokio::test]
async fn sound_of_packets_of_several_frames_is_in_place_behind_an_edit() {
    let folder = Folder::new();
    let (stream, media) = (folder.path("sound.amr"), amr(150));
    std::fs::write(&stream, [b"#!AMR\n", &media[..]].concat()).expect("room");
    let input = vec!["-i".to_owned(), stream.display().to_string()];
    let path = folder.build(
        "one.3gp",
        &[pictures("30", 3), input, words(H264), words("-c:a copy")],
    );
    assert_sound_is_in_place(&path, 0.0).await;
    for count in [2, 5, 10] {
        let mut file = load(&path).to_vec();
        pack(&mut file, &media, count);
        let packed = folder.path(&format!("{count}.3gp"));
        std::fs::write(&packed, file).expect("room");
        assert_sound_is_in_place(&packed, 0.1).await;
    }
}
