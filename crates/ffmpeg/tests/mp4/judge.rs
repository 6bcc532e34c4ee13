//! Checks HEVC smart cuts with a decoder other than `FFmpeg`'s: libde265's `dec265`, which the variable
//! `CLIPFLOW_DEC265` names (`make judge`).
//!
//! It reads a raw stream and writes pictures in display order, with 8 or 16 bits. It gets parameter sets once, from the
//! sample entry: version 1.0.11 loses the references of leading pictures if sets are repeated after other pictures, in
//! clips as well as in their sources. So sets are repeated in samples only in closed GOPs here.

use crate::common::{
    ffmpeg::{Folder, ffmpeg, load, pictures, words},
    smart::{smart_cut, smart_cuts},
    source::{HEVC, Source},
    synthetic::decode_index,
};
use mp4_atom::Codec;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The options of the sources.
const KINDS: [(&str, &str); 8] = [
    ("open-gop=0", ""),
    ("open-gop=1:b-adapt=0", ""),
    ("open-gop=0", "-pix_fmt yuv420p10le"),
    ("open-gop=1:b-adapt=0", "-pix_fmt yuv420p10le"),
    ("open-gop=1:slices=4:ctu=16", ""),
    ("open-gop=1:slices=2:wpp=1:ctu=16", ""),
    (
        "open-gop=1:bframes=8:b-adapt=0:ref=5:rc-lookahead=10:b-pyramid=1",
        "",
    ),
    ("open-gop=0:repeat-headers=1", "-tag:v hev1"),
];

fn build(folder: &Folder, parameters: &str, options: &str) -> PathBuf {
    let groups = "log-level=error:keyint=24:min-keyint=24:scenecut=0:bframes=3";
    let options = format!("{HEVC} -x265-params {groups}:{parameters} {options}");
    folder.build("source.mp4", &[pictures("30", 5), words(&options)])
}

/// The parameter sets of a clip's sample entry and its samples, each NAL unit preceded by its four-byte length.
fn units(clip: &Path) -> Vec<u8> {
    let moov = decode_index(&load(clip));
    let Some(Codec::Hvc1(entry)) = moov.trak[0].mdia.minf.stbl.stsd.codecs.first() else {
        panic!("{} is no HEVC", clip.display());
    };
    let mut units = Vec::new();
    for nal in entry.hvcc.arrays.iter().flat_map(|array| &array.nalus) {
        let bytes = u32::try_from(nal.len()).expect("a short unit");
        units.extend(bytes.to_be_bytes());
        units.extend(nal);
    }
    let input = vec!["-i".to_owned(), clip.display().to_string()];
    units.extend(ffmpeg(
        &[input, words("-map 0:v:0 -c copy -f data -")].concat(),
    ));
    units
}

/// All pictures that libde265 shows of a clip, concatenated.
fn judged(program: &str, folder: &Folder, clip: &Path) -> Vec<u8> {
    let (stream, shown) = (folder.path("bare.nal"), folder.path("shown.yuv"));
    std::fs::write(&stream, units(clip)).expect("room");
    let output = Command::new(program)
        .args(["--quiet", "--threads", "1", "--nal", "--output"])
        .args([&shown, &stream])
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "{program}: {error}; libde265's dec265 is in Debian's package libde265-examples, and CLIPFLOW_DEC265 names it"
        )
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    let pictures = std::fs::read(&shown).expect("pictures");
    std::fs::remove_file(shown).expect("they are there");
    pictures
}

/// The same for `FFmpeg`.
fn decoded(clip: &Path) -> Vec<u8> {
    let input = vec!["-i".to_owned(), clip.display().to_string()];
    let options = words("-map 0:v:0 -fps_mode passthrough -f rawvideo -");
    ffmpeg(&[input, options].concat())
}

/// Asserts that both decoders show the same `pictures` pictures of a clip.
fn assert_agreed(program: &str, folder: &Folder, clip: &Path, pictures: u64, label: &str) {
    let (one, other) = (judged(program, folder, clip), decoded(clip));
    let picture_bytes = other.len() / usize::try_from(pictures).expect("few");
    let differing: Vec<_> = one
        .chunks(picture_bytes)
        .zip(other.chunks(picture_bytes))
        .enumerate()
        .filter(|(_, (one, other))| one != other)
        .map(|(index, _)| index)
        .collect();
    assert!(
        differing.is_empty(),
        "{label}: pictures {differing:?} of {pictures}"
    );
    assert_eq!(one.len(), other.len(), "{label}: {pictures} pictures");
}

#[tokio::test]
async fn second_judge_sees_the_same_pictures_of_smart_cuts() {
    let Ok(program) = std::env::var("CLIPFLOW_DEC265") else {
        eprintln!("CLIPFLOW_DEC265 is not set: clips are not shown to libde265");
        return;
    };
    let folder = Folder::new();
    let mut clips = 0;
    for (parameters, options) in KINDS {
        let source = Source::decode(&build(&folder, parameters, options)).await;
        let label = format!("{parameters} {options}");
        let (window, facts, clip) = smart_cut(&source, 0.3..4.1).await.expect("a smart cut");
        assert!(facts.copied_seconds > 1.0, "{label}: {facts:?}");
        assert_agreed(&program, &folder, &clip, window.facts.frames, &label);
        let again = folder.path("cut.mp4");
        std::fs::copy(&clip, &again).expect("room");
        let again = Source::decode(&again).await;
        let (window, _, clip) = smart_cut(&again, 0.2..3.1).await.expect("a smart cut");
        let label_again = format!("{label}, cut twice");
        assert_agreed(&program, &folder, &clip, window.facts.frames, &label_again);
        let intervals =
            [0.3..2.45, 1.1..1.9, 1.7..3.2, 3.3..5.0].map(|interval| (&source, interval));
        let joined = smart_cuts(&intervals, None).await.expect("a smart cut");
        let pictures = joined
            .windows
            .iter()
            .map(|window| window.facts.frames)
            .sum();
        assert_agreed(
            &program,
            &folder,
            &joined.path,
            pictures,
            &format!("{label}, joined"),
        );
        clips += 3;
    }
    println!("{clips} clips were shown to libde265");
}
