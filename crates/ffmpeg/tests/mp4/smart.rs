//! Smart cuts of sources as cameras and encoders write them, compared with what `FFmpeg` decodes from the source.

use crate::{
    common::{
        boxes::{Detail, tree},
        conform::{Way, assert_conforms, stored_samples},
        ffmpeg::{Folder, SAMPLE_RATE, decode, load, pictures, probe, read, sound, words},
        kinds::IRREGULAR,
        property::assert_for_any,
        smart::smart_cut,
        source::{AAC, H264, HEVC, Source, encode, microseconds},
    },
    packets::{assert_holds_only, overlap, packets},
};
use expect_test::expect_file;
use mp4_cut::{SmartCut, SmartCutError};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

#[tokio::test]
async fn smart_cut_of_a_smart_cut_is_exact() {
    let folder = Folder::new();
    let path = folder.build(
        "source.mp4",
        &[pictures("30", 4), sound(4), words(H264), words(AAC)],
    );
    let source = Source::decode(&path).await;
    let (.., clip) = smart_cut(&source, 0.5..3.5).await.expect("a smart cut");
    let again = Source::decode(&clip).await;
    let (window, facts, clip) = smart_cut(&again, 0.3..2.7).await.expect("a smart cut");
    assert!(facts.copied_seconds > 1.0, "{facts:?}");
    assert_conforms(&again, &window, Way::Smart(facts), &clip).await;
}

/// Cameras code whole macroblocks, and crop the last columns only in the container.
#[tokio::test]
async fn pictures_that_only_the_container_crops_are_smart_cut() {
    let folder = Folder::new();
    let coded = words("-vf scale=864:480,setsar=1 -g 15");
    let path = folder.build("source.mp4", &[pictures("30", 3), words(H264), coded]);
    let mut file = load(&path).to_vec();
    // The offsets of the width in a sample entry and in a track header, after the box type.
    for (kind, at) in [(b"avc1", 28), (b"tkhd", 80)] {
        let found = file.windows(4).rposition(|bytes| bytes == kind);
        let width = found.expect("a box") + at;
        assert_eq!(file[width..width + 2], 864_u16.to_be_bytes());
        file[width..width + 2].copy_from_slice(&854_u16.to_be_bytes());
    }
    std::fs::write(&path, file).expect("room");
    let source = Source::decode(&path).await;
    assert_eq!(source.movie.facts.video.width, 854);
    let (window, facts, clip) = smart_cut(&source, 0.2..2.6).await.expect("a smart cut");
    assert!(facts.copied_seconds > 1.0, "{facts:?}");
    assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
}

#[tokio::test]
async fn head_of_several_chunks_is_exact() {
    let folder = Folder::new();
    // FFmpeg writes at most 1 MiB per chunk, and two seconds of this noise have more.
    let noise = words("-vf scale=1280:720,noise=alls=20:allf=t");
    let path = folder.build(
        "source.mp4",
        &[
            pictures("30", 4),
            noise,
            words(H264),
            words("-crf 20 -g 60"),
        ],
    );
    let source = Source::decode(&path).await;
    let (window, facts, clip) = smart_cut(&source, 0.1..3.5).await.expect("a smart cut");
    let packets = probe(&clip, "-select_streams v -show_entries packet=size");
    let encoded_bytes: u64 = packets
        .lines()
        .take(50)
        .map(|bytes| bytes.parse::<u64>().expect("a length"))
        .sum();
    assert!(
        facts.encoded_seconds > 1.7 && encoded_bytes > 1 << 20,
        "{facts:?}, {encoded_bytes} bytes"
    );
    assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
}

/// Puts captions (ATSC A/53, in a separate message) before every picture of an Annex B stream with one slice per
/// picture.
fn with_captions(stream: &[u8]) -> Vec<u8> {
    const START: &[u8] = &[0, 0, 1];
    let starts = stream
        .windows(START.len() + 1)
        .enumerate()
        .filter(|(_, bytes)| bytes.starts_with(START));
    let slices = starts
        .filter(|(_, bytes)| matches!(bytes[START.len()] & 0x1f, 1 | 5))
        .map(|(at, _)| at);
    let message = [
        START,
        b"\x06\x04\x0e\xb5\0\x31GA94\x03\xc1\xff\xfc\xc1\x80\xff\x80",
    ]
    .concat();
    let (mut captioned, mut from) = (Vec::new(), 0);
    for at in slices {
        captioned.extend([&stream[from..at], &message].concat());
        from = at;
    }
    [&captioned, &stream[from..]].concat()
}

#[tokio::test]
async fn captions_within_pictures_stay() {
    let folder = Folder::new();
    let stream = folder.build(
        "bare.h264",
        &[pictures("30", 4), words(H264), words("-bf 0")],
    );
    std::fs::write(&stream, with_captions(&load(&stream))).expect("room");
    let input = vec!["-i".to_owned(), stream.display().to_string()];
    let path = folder.build("source.mp4", &[words("-r 30"), input, words("-c copy")]);
    let source = Source::decode(&path).await;
    let captions = |clip: &Path| {
        probe(clip, "-show_entries frame_side_data=side_data_type")
            .matches("Caption")
            .count()
    };
    let (window, copy) = source.cut(0.5..3.2).await;
    assert!(captions(&copy) as u64 >= window.facts.frames);
    assert_eq!(
        captions(&encode(&source, &window, &copy).await) as u64,
        window.facts.frames
    );
    let (.., clip) = smart_cut(&source, 0.5..3.2).await.expect("a smart cut");
    assert_eq!(captions(&clip) as u64, window.facts.frames);
}

#[tokio::test]
async fn source_that_cannot_be_spliced_says_why() {
    let folder = Folder::new();
    for (options, why) in [
        ("-c:v mpeg4 -q:v 8".to_owned(), "the source is mpeg4, not H.264"),
        (
            format!("{HEVC} -x265-params log-level=error:keyint=300"),
            "the clip has no keyframe that a copy can begin with",
        ),
        (
            format!("{HEVC} -x265-params log-level=error:keyint=30:interlace=tff"),
            "the source's pictures are fields",
        ),
        (
            "-c:v libx264 -preset veryfast -g 24 -keyint_min 24 -sc_threshold 0 -bf 3 -x264-params open-gop=1"
                .to_owned(),
            "the clip has no keyframe that a copy can begin with",
        ),
        ("-c:v libx264 -preset veryfast -flags +ildct+ilme".to_owned(), "the source may be interlaced"),
        ("-c:v libx264 -preset veryfast -g 300".to_owned(), "the clip has no keyframe that a copy can begin with"),
    ] {
        let path = folder.build("source.mp4", &[pictures("30", 4), words(&options)]);
        let said = smart_cut(&Source::decode(&path).await, 0.5..3.5).await.expect_err("no smart cut");
        assert_eq!(said, why, "{options}");
    }
}

#[tokio::test]
async fn keyframe_that_is_no_idr_picture_begins_no_copy() {
    let folder = Folder::new();
    let path = folder.build("source.mp4", &[pictures("30", 4), words(H264)]);
    let mut source = load(&path).to_vec();
    // Turn an IDR picture's NAL unit header, and the beginning of its slice, into those of a non-IDR picture.
    let slices: Vec<usize> = source
        .windows(2)
        .enumerate()
        .filter(|(_, bytes)| *bytes == [0x65, 0x88])
        .map(|(at, _)| at)
        .collect();
    assert!(slices.len() >= 4);
    for at in slices {
        source[at] = 0x61;
    }
    let source = bytes::Bytes::from(source);
    let said = SmartCut::of(&[(&read(&source).await, &source, 0.5, 3.5)])
        .await
        .expect_err("no smart cut");
    assert!(
        matches!(said, SmartCutError::Ineligible(why) if why == "the clip's keyframes are no IDR pictures")
    );
}

#[tokio::test]
async fn snapshot_of_the_boxes_of_a_smart_cut() {
    let folder = Folder::new();
    let path = folder.build(
        "source.mp4",
        &[pictures("30", 4), sound(4), words(H264), words(AAC)],
    );
    let source = Source::decode(&path).await;
    let (.., clip) = smart_cut(&source, 0.5..3.5).await.expect("a smart cut");
    expect_file!["../snapshots/boxes_of_a_smart_cut.txt"]
        .assert_eq(&tree(&load(&clip), Detail::Kinds));
}

/// How a source is made.
#[derive(Debug, Clone)]
struct Recipe {
    rate: &'static str,
    irregular: bool,
    group: u32,
    b_frames: u32,
    reference_frames: u32,
    /// How late pictures start, or, if negative, audio, in milliseconds.
    late_ms: i32,
    /// When both start.
    start_ms: u32,
    /// The audio encoder: each has a different delay.
    sound: &'static str,
    options: &'static str,
}

fn recipes() -> impl Strategy<Value = Recipe> {
    let rates = prop::sample::select(vec![
        "24000/1001",
        "25",
        "30000/1001",
        "30",
        "50",
        "60000/1001",
        "15",
    ]);
    let late = prop_oneof![Just(0), -400..400];
    let start = prop_oneof![Just(0), 0_u32..10_000];
    let sounds = [
        "",
        "aac -ar 44100",
        "aac",
        "libopus",
        "libmp3lame",
        "pcm_s16le",
        "flac",
        "alac",
    ];
    let options = prop::sample::select(vec![
        "",
        "-use_editlist 0",
        "-movflags +negative_cts_offsets",
    ]);
    let sounds = prop::sample::select(sounds.to_vec());
    let coding = (1_u32..80, 0_u32..5, 1_u32..5);
    (rates, any::<bool>(), coding, late, start, sounds, options).prop_map(
        |(
            rate,
            irregular,
            (group, b_frames, reference_frames),
            late_ms,
            start_ms,
            sound,
            options,
        )| Recipe {
            rate,
            irregular,
            group,
            b_frames,
            reference_frames,
            late_ms,
            start_ms,
            sound,
            options,
        },
    )
}

impl Recipe {
    fn build(&self, folder: &Folder) -> PathBuf {
        let late = |late: bool| {
            let seconds = f64::from(self.late_ms.abs()) / 1000.0;
            words(&if late {
                format!("-itsoffset {seconds:.3}")
            } else {
                String::new()
            })
        };
        let mut arguments = vec![late(self.late_ms > 0), pictures(self.rate, 3)];
        if !self.sound.is_empty() {
            arguments.extend([
                late(self.late_ms < 0),
                sound(3),
                words("-c:a"),
                words(self.sound),
            ]);
        }
        if self.irregular {
            arguments.push(words(IRREGULAR));
        }
        let Self {
            group,
            b_frames,
            reference_frames,
            ..
        } = self;
        let codec = format!(
            "-c:v libx264 -preset veryfast -crf 28 -pix_fmt yuv420p -g {group} -bf {b_frames} -refs {reference_frames}"
        );
        let start = format!("-output_ts_offset {:.3}", f64::from(self.start_ms) / 1000.0);
        arguments.extend([words(&codec), words(&start), words(self.options)]);
        folder.build(
            if self.sound.contains("pcm") {
                "source.mov"
            } else {
                "source.mp4"
            },
            &arguments,
        )
    }
}

#[tokio::test]
async fn last_frame_of_a_varying_rate_is_shown_to_its_end() {
    let recipe = Recipe {
        rate: "15",
        irregular: true,
        group: 15,
        b_frames: 2,
        reference_frames: 4,
        late_ms: -34,
        start_ms: 3243,
        sound: "pcm_s16le",
        options: "-use_editlist 0",
    };
    let folder = Folder::new();
    let source = Source::decode(&recipe.build(&folder)).await;
    let (window, facts, clip) = smart_cut(&source, 2.5958..3.2025)
        .await
        .expect("a smart cut");
    assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
}

#[tokio::test]
async fn last_frame_of_a_varying_rate_is_copied_for_as_long_as_it_is_shown() {
    let recipe = Recipe {
        rate: "25",
        irregular: true,
        group: 2,
        b_frames: 1,
        reference_frames: 2,
        late_ms: 0,
        start_ms: 0,
        sound: "",
        options: "-movflags +negative_cts_offsets",
    };
    let folder = Folder::new();
    let source = Source::decode(&recipe.build(&folder)).await;
    let (window, copy) = source.cut(1.2013..1.9289).await;
    assert_conforms(&source, &window, Way::Copy, &copy).await;
}

#[tokio::test]
async fn last_frame_of_a_varying_rate_is_encoded_for_as_long_as_it_is_shown() {
    let recipe = Recipe {
        rate: "50",
        irregular: true,
        group: 9,
        b_frames: 3,
        reference_frames: 3,
        late_ms: 361,
        start_ms: 178,
        sound: "libopus",
        options: "",
    };
    let folder = Folder::new();
    let source = Source::decode(&recipe.build(&folder)).await;
    let (window, copy) = source.cut(1.9141..2.1068).await;
    let encoded = encode(&source, &window, &copy).await;
    assert_conforms(&source, &window, Way::Encode, &encoded).await;
}

#[tokio::test]
async fn gap_in_hidden_sound_hides_no_other_sound() {
    let folder = Folder::new();
    for codec in ["aac", "libmp3lame"] {
        let lost = words("-af aselect=not(between(t\\,1\\,1.5)) -c:a");
        let arguments = [
            pictures("30", 3),
            sound(3),
            lost,
            words(codec),
            words(H264),
            words("-g 60"),
        ];
        let source = Source::decode(&folder.build("source.mp4", &arguments)).await;
        // With the gap within the shown part, at its start, and in the hidden part.
        for interval in [0.8..2.8, 1.2..2.8, 1.7..2.8] {
            let (window, copy) = source.cut(interval.clone()).await;
            assert_conforms(&source, &window, Way::Copy, &copy).await;
            let encoded = encode(&source, &window, &copy).await;
            assert_conforms(&source, &window, Way::Encode, &encoded).await;
            let (window, facts, clip) = smart_cut(&source, interval).await.expect("a smart cut");
            assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
        }
    }
}

#[tokio::test]
async fn copied_mp3_is_whole_from_a_keyframe_on() {
    let folder = Folder::new();
    let arguments = [
        pictures("30", 3),
        sound(3),
        words("-c:a libmp3lame -b:a 32k"),
        words(H264),
        words("-g 30"),
    ];
    let source = Source::decode(&folder.build("source.mp4", &arguments)).await;
    let (window, copy) = source.cut(1.0..3.0).await;
    assert_eq!(window.facts.preroll_frames, 0);
    assert_eq!(
        decode(&copy, true).sound[..SAMPLE_RATE],
        source.sound[SAMPLE_RATE..2 * SAMPLE_RATE]
    );
}

#[tokio::test]
async fn copy_of_sound_ends_where_the_index_says() {
    let recipe = Recipe {
        rate: "30",
        irregular: false,
        group: 76,
        b_frames: 0,
        reference_frames: 2,
        late_ms: 393,
        start_ms: 0,
        sound: "libopus",
        // Only the edit list would tell players that the last packet is not heard to its end.
        options: "-use_editlist 0",
    };
    let folder = Folder::new();
    let source = Source::decode(&recipe.build(&folder)).await;
    let (window, copy) = source.cut(2.9..3.3).await;
    assert_conforms(&source, &window, Way::Copy, &copy).await;
}

/// How many sources are made.
const RECIPES: u32 = 12;
/// How much earlier and later than its pictures a copy may have audio, in microseconds: the decode delay of pictures,
/// and the pre-roll of audio decoders.
const SOUND_MARGIN: i64 = 500_000;

#[test]
fn cuts_of_any_source_and_any_interval_are_exact() {
    let values = (recipes(), 0.0..0.9, 0.05..1.0);
    assert_for_any(
        RECIPES,
        &values,
        async |(recipe, start, length): (Recipe, f64, f64)| {
            let folder = Folder::new();
            let path = recipe.build(&folder);
            let source = Source::decode(&path).await;
            let video = source.movie.facts.video.clone();
            let at = |part: f64| video.start_seconds + part * video.duration_seconds;
            let interval = at(start)..at(start + (1.0 - start) * length);
            if source.movie.window(interval.start, interval.end).is_err() {
                // The interval is shorter than half a frame.
                return;
            }
            let packets = packets(&path);
            let (window, copy) = source.cut(interval.clone()).await;
            assert_conforms(&source, &window, Way::Copy, &copy).await;
            // Besides the frames from the keyframe on, a copy has only those that its last frames refer to.
            let hidden = stored_samples(&copy) - window.facts.frames;
            assert!(
                hidden <= window.facts.preroll_frames + u64::from(recipe.b_frames),
                "{recipe:?} {window:?}"
            );
            assert!(
                window.facts.preroll_frames <= u64::from(recipe.group) + u64::from(recipe.b_frames)
            );
            let [keyframe, start, end] = [
                window.facts.keyframe_seconds,
                window.facts.start_seconds,
                window.facts.end_seconds,
            ]
            .map(microseconds);
            let decoded = keyframe.min(start) - SOUND_MARGIN..end + SOUND_MARGIN;
            assert_holds_only(&copy, &packets, |packet| {
                !packet.is_sound || overlap(&packet.shown, &decoded)
            });

            // An exact clip has no packets of the source except of pictures that it shows. Re-encoded audio may happen
            // to become the same packet again.
            let encoded = encode(&source, &window, &copy).await;
            assert_conforms(&source, &window, Way::Encode, &encoded).await;
            assert_holds_only(&encoded, &packets, |packet| {
                packet.is_sound && packet.is_shown_in(&window)
            });
            if let Ok((window, facts, clip)) = smart_cut(&source, interval).await {
                assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
                assert_holds_only(&clip, &packets, |packet| packet.is_shown_in(&window));
            }
        },
    );
}
