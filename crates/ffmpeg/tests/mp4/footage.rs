//! Windows of sources as cameras, phones and encoders write them, compared with what `FFmpeg` decodes from the source.

use crate::common::{
    boxes,
    conform::{Way, assert_conforms},
    ffmpeg::{Folder, load, pictures, probe, read, sound, words},
    smart::smart_cut,
    source::{AAC, H264, HEVC, Source, clip_of, encode},
    synthetic::decode_index,
};
use futures::TryStreamExt;
use model::{ClipError, ErrorKind};
use mp4_atom::{Codec, StszSamples};
use mp4_cut::Movie;
use serde_json::json;
use std::{path::Path, sync::Arc};

#[tokio::test]
async fn first_video_and_all_sound_are_kept_of_many_tracks() {
    let folder = Folder::new();
    let tracks = "-map 1:a -map 0 -map 2:a -map 1:a -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu";
    let path = folder.build(
        "many.mp4",
        &[
            pictures("30", 4),
            sound(4),
            sound(3),
            words(H264),
            words(AAC),
            words(tracks),
            words("-timecode 01:00:00:00"),
        ],
    );
    let facts = read(&load(&path)).await.facts;
    assert_eq!(facts.audio.map(|audio| audio.tracks), Some(3));
    assert_eq!(facts.dropped_tracks, ["time code"]);
    let source = Source::decode(&path).await;
    let (window, copy) = source.cut(0.5..2.5).await;
    assert_conforms(&source, &window, Way::Copy, &copy).await;
    assert_eq!(languages(&copy), languages(&path));
    let (window, facts, clip) = smart_cut(&source, 0.5..2.5).await.expect("a smart cut");
    assert_eq!(languages(&clip), languages(&path));
    assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
}

/// The language of each audio track, and whether it is the default.
#[tokio::test]
async fn spatial_sound_beside_ordinary_sound_is_dropped() {
    let folder = Folder::new();
    let path = folder.build(
        "two.mp4",
        &[
            pictures("30", 4),
            sound(4),
            words(H264),
            words(AAC),
            words("-map 0 -map 1 -map 1"),
        ],
    );
    let mut file = load(&path).to_vec();
    let second = boxes::last(&file, *b"mp4a");
    boxes::rename(&mut file, second, *b"apac");
    std::fs::write(&path, file).expect("room");
    let source = Source::decode(&path).await;
    assert_eq!(
        (
            source.movie.facts.audio.as_ref().map(|audio| audio.tracks),
            &source.movie.facts.dropped_tracks[..]
        ),
        (Some(1), &["audio".to_owned()][..])
    );
    let (window, facts, clip) = smart_cut(&source, 0.5..3.5).await.expect("a smart cut");
    assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
}

fn languages(path: &Path) -> String {
    probe(
        path,
        "-select_streams a -show_entries stream=codec_type:stream_tags=language:stream_disposition=default",
    )
}

#[tokio::test]
async fn facts_are_those_of_the_source() {
    let folder = Folder::new();
    let options = words("-ac 2 -video_track_timescale 30000");
    let path = folder.build(
        "source.mp4",
        &[
            pictures("30000/1001", 3),
            sound(3),
            words(H264),
            words(AAC),
            options,
        ],
    );
    let facts = read(&load(&path)).await.facts;
    assert_eq!(
        (facts.container.as_str(), facts.bytes),
        ("isom", load(&path).len() as u64)
    );
    assert_eq!(
        (
            facts.video.codec.as_str(),
            facts.video.width,
            facts.video.height,
            facts.video.timescale
        ),
        ("h264", 320, 180, 30_000)
    );
    assert!(
        (facts.video.frame_rate - 30.0 / 1.001).abs() < 1e-9 && facts.video.constant_frame_rate,
        "{facts:?}"
    );
    assert_eq!(facts.video.frames, 90);
    let audio = facts.audio.expect("sound");
    assert_eq!(
        (audio.codec.as_str(), audio.channels, audio.sample_rate),
        ("aac", 2, 48_000)
    );
}

#[tokio::test]
async fn frames_that_leave_some_out_are_joined_at_the_rate_of_their_grid() {
    let folder = Folder::new();
    for (rate, seconds, left_out, grid) in [
        ("25", 5, "eq(n\\,40)", Some(25.0)),
        (
            "30000/1001",
            5,
            "eq(mod(n\\,50)\\,7)",
            Some(30_000.0 / 1001.0),
        ),
        ("24", 5, "gt(mod(n\\,30)\\,27)", Some(24.0)),
        ("50", 3, "mod(n\\,5)", None),
    ] {
        let select = format!("-vf select='not({left_out})' -fps_mode passthrough");
        let options = [pictures(rate, seconds), words(&select), words(H264)];
        let movie = read(&load(&folder.build("left-out.mp4", &options))).await;
        let facts = &movie.facts;
        assert!(
            !facts.video.constant_frame_rate || grid.is_none(),
            "{facts:?}"
        );
        assert_eq!(facts.video.grid_frame_rate, grid, "{rate}");
        let Some(grid) = grid else { continue };
        let window = movie.window(0.0, 2.0).expect("a window").facts;
        let windows = [(0, window.clone()), (0, window)];
        let (_, spec) = clip_of(&[facts], &windows, &json!({}));
        let joined = spec.frame_rate.expect("a rate").hertz();
        assert!((joined - grid).abs() < 0.001, "{joined}");
    }
}

#[tokio::test]
async fn rotated_source_is_shown_upright() {
    let folder = Folder::new();
    let base = folder.build("base.mp4", &[pictures("30", 1), words(H264)]);
    // FFmpeg counts anticlockwise.
    for (option, degrees, shown) in [
        ("90", 270, (180, 320)),
        ("-90", 90, (180, 320)),
        ("180", 180, (320, 180)),
    ] {
        let input = [
            words("-display_rotation"),
            words(option),
            vec!["-i".to_owned(), base.display().to_string()],
        ]
        .concat();
        let path = folder.build("rotated.mp4", &[input, words("-c copy")]);
        let video = read(&load(&path)).await.facts.video;
        assert_eq!(
            (video.rotation_degrees, (video.width, video.height)),
            (degrees, shown)
        );
        assert_eq!((video.coded_width, video.coded_height), (320, 180));
    }
}

#[tokio::test]
async fn source_whose_pixels_are_not_square_keeps_its_shape() {
    let folder = Folder::new();
    let path = folder.build(
        "source.mp4",
        &[pictures("30", 1), words(H264), words("-aspect 4:3")],
    );
    let video = read(&load(&path)).await.facts.video;
    assert_eq!(
        (video.width, video.height, video.coded_width),
        (240, 180, 320)
    );
}

#[tokio::test]
async fn second_zero_is_the_first_thing_that_a_player_shows() {
    let folder = Folder::new();
    let base = folder.build(
        "base.mp4",
        &[pictures("30", 2), sound(2), words(H264), words(AAC)],
    );
    let input = vec!["-i".to_owned(), base.display().to_string()];
    let path = folder.build(
        "late.mp4",
        &[
            input,
            words("-an -c copy -output_ts_offset 5 -avoid_negative_ts disabled"),
        ],
    );
    let movie = read(&load(&path)).await;
    assert_eq!(
        (
            movie.facts.video.start_seconds,
            movie.facts.duration_seconds
        ),
        (0.0, 2.0)
    );
    assert!(
        (movie
            .window(1.0, 1.5)
            .expect("an interval")
            .facts
            .start_seconds
            - 1.0)
            .abs()
            < 1e-9
    );
}

#[tokio::test]
async fn times_beyond_the_source_are_refused_by_name() {
    let folder = Folder::new();
    let path = folder.build("source.mp4", &[pictures("30", 2), words(H264)]);
    let movie = read(&load(&path)).await;
    for (start, end, kind, message) in [
        (
            2.0,
            3.0,
            ErrorKind::OutOfRange,
            "start: 2 s is beyond the last frame of the source, which ends at 2.000 s",
        ),
        (
            1.0,
            2.1,
            ErrorKind::OutOfRange,
            "end: 2.1 s is beyond the source, which is 2.000 s long",
        ),
        (
            1.0,
            1.0,
            ErrorKind::InvalidRequest,
            "end: 1 s is not after start, 1 s",
        ),
        (
            1.001,
            1.002,
            ErrorKind::InvalidRequest,
            "end: no frame lies between 1.001 s and 1.002 s",
        ),
        (
            -1.0,
            1.0,
            ErrorKind::InvalidRequest,
            "start: -1 is not a time",
        ),
        (
            0.0,
            f64::NAN,
            ErrorKind::InvalidRequest,
            "end: NaN is not a time",
        ),
        (
            0.0,
            f64::INFINITY,
            ErrorKind::InvalidRequest,
            "end: inf is not a time",
        ),
        (1e300, 1e301, ErrorKind::OutOfRange, "start: 1"),
    ] {
        let error = ClipError::from(movie.window(start, end).expect_err("no interval"));
        assert!(
            error.kind == kind && error.message.starts_with(message),
            "{start}..{end}: {error:?}"
        );
    }
    let last = movie
        .window(1.9, 2.02)
        .expect("an end less than a frame beyond the last")
        .facts;
    assert_eq!((last.frames, last.end_seconds), (3, 2.0));
}

#[tokio::test]
async fn sources_that_cannot_be_cut_are_named() {
    let folder = Folder::new();
    let muxed = |name: &str, options: &str| {
        load(&folder.build(
            name,
            &[
                pictures("30", 1),
                sound(1),
                words(H264),
                words(AAC),
                words(options),
            ],
        ))
    };
    for (source, message) in [
        (
            "OggS\0\u{2}\0\0\0\0\0\0\0\0".into(),
            "the source is an Ogg file; supported are MP4, MOV, MPEG-TS, Matroska, WebM, AVI, FLV and MPEG-PS",
        ),
        (
            muxed("a.m4a", "-vn"),
            "the source has no video: it is audio only",
        ),
        (bytes::Bytes::new(), "the source is empty (0 bytes)"),
        (
            "#EXTM3U\nhttp://example.com/a.ts\n".into(),
            "the source is an HLS playlist; supported are",
        ),
        (
            "Not a video.\n".into(),
            "the source is a text file; supported are",
        ),
        (
            b"\x01\x02\x03\x04\x05\x06\x07\x08"[..].into(),
            "the source is of no known format; supported are",
        ),
    ] {
        let error = ClipError::from(Movie::read(&source).await.expect_err("not a source"));
        assert!(
            error.kind == ErrorKind::UnsupportedMedia && error.message.starts_with(message),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn clip_keeps_what_the_source_says_of_itself() {
    let folder = Folder::new();
    let metadata = "-metadata creation_time=2018-08-02T07:30:00Z -metadata:s:a:0 language=fra -aspect 4:3 \
                    -color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv";
    let path = folder.build(
        "source.mp4",
        &[
            pictures("30", 2),
            sound(2),
            words(H264),
            words(AAC),
            words(metadata),
        ],
    );
    let source = Source::decode(&path).await;
    let (window, copy) = source.cut(0.5..1.5).await;
    let described = |path: &Path| {
        let stream =
            "codec_tag_string,profile,sample_aspect_ratio,color_space,color_primaries,time_base";
        let tags = "stream_tags=language,creation_time:format_tags=creation_time";
        probe(path, &format!("-show_entries stream={stream}:{tags}"))
    };
    assert!(described(&path).contains("bt709") && described(&path).contains("fra"));
    assert_eq!(described(&copy), described(&path));
    let encoded = encode(&source, &window, &copy).await;
    assert!(
        described(&encoded).ends_with("2018-08-02T07:30:00.000000Z\n"),
        "{}",
        described(&encoded)
    );
    let clip = smart_cut(&source, 0.5..1.5).await.expect("a smart cut").2;
    assert_eq!(described(&clip), described(&path));
}

#[tokio::test]
async fn clip_of_hevc_names_all_parameter_sets_in_its_sample_entry() {
    let folder = Folder::new();
    let repeated = words("-x265-params log-level=error:repeat-headers=1 -tag:v hev1 -g 30");
    let path = folder.build("source.mp4", &[pictures("30", 2), words(HEVC), repeated]);
    let whole = load(&path);
    let mut bare = whole.to_vec();
    let record = whole
        .windows(4)
        .position(|kind| kind == b"hvcC")
        .expect("a configuration");
    // Set the number of arrays to zero: the sets are only in the samples.
    bare[record + 4 + 22] = 0;
    for (name, bytes) in [("whole.mp4", whole.to_vec()), ("bare.mp4", bare)] {
        let path = folder.path(name);
        std::fs::write(&path, bytes).expect("room");
        let source = Source::decode(&path).await;
        assert_eq!(source.pictures.len(), 60);
        let (window, clip) = source.cut(0.5..1.8).await;
        assert_conforms(&source, &window, Way::Copy, &clip).await;
        let index = decode_index(&load(&clip));
        let Codec::Hvc1(entry) = &index.trak[0].mdia.minf.stbl.stsd.codecs[0] else {
            panic!(
                "{name}: {}",
                probe(&clip, "-show_entries stream=codec_tag_string")
            );
        };
        let sets = entry
            .hvcc
            .arrays
            .iter()
            .map(|array| (array.nal_unit_type, array.nalus.len()));
        let mut sets: Vec<_> = sets.collect();
        sets.retain(|(kind, _)| *kind < 39);
        assert_eq!(sets, [(32, 1), (33, 1), (34, 1)], "{name}");
    }
}

#[tokio::test]
async fn sample_groups_cover_the_samples_of_a_clip() {
    let folder = Folder::new();
    let path = folder.build(
        "source.mp4",
        &[pictures("30", 2), sound(2), words(H264), words(AAC)],
    );
    let source = Source::decode(&path).await;
    let (_, copy) = source.cut(0.5..1.5).await;
    let stbl = &decode_index(&load(&copy)).trak[1].mdia.minf.stbl;
    let covered: u32 = stbl.sbgp[0]
        .entries
        .iter()
        .map(|run| run.sample_count)
        .sum();
    let StszSamples::Different { sizes } = &stbl.stsz.samples else {
        panic!("samples of one size")
    };
    assert_eq!((covered as usize, stbl.sgpd.len()), (sizes.len(), 1));
}

#[tokio::test]
async fn shared_source_is_read_in_another_task() {
    let folder = Folder::new();
    let source = Arc::new(load(
        &folder.build("source.mp4", &[pictures("30", 1), words(H264)]),
    ));
    let window = read(&source)
        .await
        .window(0.2, 0.8)
        .expect("an interval of the source");
    let stream = window.stream(source, 2);
    let parts: Vec<_> = tokio::spawn(stream.try_collect())
        .await
        .expect("a task")
        .expect("the source's bytes");
    assert_eq!(
        parts.iter().map(bytes::Bytes::len).sum::<usize>() as u64,
        window.facts.output_bytes
    );
}
