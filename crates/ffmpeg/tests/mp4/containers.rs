//! Sources other than MP4 with an index: excerpts of them, cut like any MP4, compared with what `FFmpeg` decodes from
//! the source.

use crate::common::{
    boxes,
    conform::{Way, assert_conforms},
    counted::Counted,
    ffmpeg::{
        Decoded, Folder, Picture, decode, decode_pixels, load, pictures, probe, sound, words,
    },
    smart::smart_cut,
    source::{AAC, H264, HEVC, Source, microseconds},
};
use bytes::Bytes;
use ffmpeg::{
    process::{Ffmpeg, Limits},
    remux::{Media, RemuxedRange, Remuxer, Samples},
    scratch::Scratch,
};
use model::{ClipError, ErrorKind};
use mp4_cut::{Error, Movie, io::RangeRead};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

const LIMITS: Limits = Limits {
    time: Duration::from_mins(1),
    file_bytes: 1 << 30,
};
/// Seconds of every source.
const SECONDS: u32 = 8;
/// Intervals of it: all, from the start, across keyframes, a few frames, to the end.
const INTERVALS: [(f64, f64); 5] = [(0.0, 8.0), (0.0, 0.7), (3.123, 6.4), (5.0, 5.1), (6.6, 8.0)];

/// How to write a container: the file's name, which determines it, and options.
const CONTAINERS: [(&str, &str); 10] = [
    ("a.ts", ""),
    ("a.mkv", ""),
    (
        "sidx.mp4",
        "-movflags +frag_keyframe+delay_moov+default_base_moof+global_sidx",
    ),
    // Enough fragments that the clip's are found by the index.
    (
        "many.mp4",
        "-g 12 -movflags +frag_keyframe+delay_moov+default_base_moof+global_sidx",
    ),
    ("mfra.mp4", "-movflags +frag_keyframe+delay_moov"),
    ("late.ts", "-output_ts_offset 3600"),
    // The clock of a transport stream wraps around after 95443.7 s.
    ("wraps.ts", "-output_ts_offset 95440"),
    ("wraps-later.ts", "-output_ts_offset 95435"),
    ("dash.mp4", "-movflags +dash+delay_moov"),
    // The first group of pictures is in `moov`, the others are in fragments.
    ("hybrid.mp4", "-g 48 -movflags +frag_keyframe"),
];

/// A working folder and a program for excerpts.
pub struct Work {
    ffmpeg: Ffmpeg,
    scratch: Scratch,
}

impl Work {
    pub fn new() -> Self {
        Self {
            ffmpeg: Ffmpeg::find().expect("ffmpeg"),
            scratch: Scratch::new(0, 0).expect("a folder"),
        }
    }

    fn remuxer(&self) -> Remuxer<'_> {
        Remuxer {
            ffmpeg: &self.ffmpeg,
            scratch: &self.scratch,
            limits: LIMITS,
            max_whole_bytes: 1 << 25,
        }
    }

    pub async fn open(&self, file: &Path) -> Result<Media<Bytes>, ClipError> {
        Media::open(load(file), self.remuxer()).await
    }

    pub async fn remuxed_range(
        &self,
        media: &Media<Bytes>,
        interval: (f64, f64),
    ) -> Result<RemuxedRange<Bytes>, ClipError> {
        media
            .remuxed_range(interval, None, "excerpt.mp4", self.remuxer())
            .await
    }

    /// The source of a cut: the excerpt's index and bytes, and what the source itself shows.
    pub async fn source(
        &self,
        media: &Media<Bytes>,
        interval: (f64, f64),
        shown: &Shown,
    ) -> Source {
        let remuxed_range = self
            .remuxed_range(media, interval)
            .await
            .expect("an excerpt");
        let (path, bytes) = match remuxed_range.samples {
            Samples::Source(bytes) => (shown.path.clone(), bytes),
            Samples::File(file) => {
                let bytes = file.read(0..file.len()).await.expect("the excerpt");
                let path = self.scratch.file("copied.mp4");
                std::fs::write(&path, &bytes).expect("room");
                (path, bytes)
            }
        };
        Source {
            folder: Folder::new(),
            path,
            bytes,
            movie: remuxed_range.movie,
            pictures: shown.pictures.clone(),
            sound: shown.sound.clone(),
            pixels: shown.pixels.clone().into(),
        }
    }
}

/// What a player shows of a source.
pub struct Shown {
    path: PathBuf,
    pub pictures: Vec<Picture>,
    sound: Vec<f64>,
    pixels: Vec<Vec<u8>>,
}

impl Shown {
    pub fn of(file: &Path, media: &Media<Bytes>) -> Self {
        let Decoded {
            mut pictures,
            sound,
            ..
        } = decode(file, media.facts.audio.is_some());
        // For a transport stream, FFmpeg counts from the first picture if it decodes nothing else.
        let video = &media.facts.video;
        let size = [video.coded_width, video.coded_height];
        let late = microseconds(video.start_seconds) - pictures[0].time;
        for picture in &mut pictures {
            picture.time += late;
        }
        Self {
            path: file.to_owned(),
            pictures,
            sound,
            pixels: decode_pixels(file, size.map(|pixels| pixels as usize)),
        }
    }
}

fn build(folder: &Folder, name: &str, options: &[Vec<String>]) -> PathBuf {
    folder.build(
        name,
        &[&[pictures("30", SECONDS), sound(SECONDS)][..], options].concat(),
    )
}

/// Makes copies and, if possible, smart cuts of a source, and compares them with the source. Returns how many seconds
/// the smart cuts copied, and the reasons why there were none.
pub async fn assert_cuts_are_exact(path: &Path, intervals: &[(f64, f64)]) -> (f64, Vec<String>) {
    let work = Work::new();
    let media = work
        .open(path)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let shown = Shown::of(path, &media);
    let open = path.ends_with("open.ts");
    let (mut copied, mut refused) = (0.0, Vec::new());
    for (start, end) in intervals {
        let interval = (start.max(media.facts.video.start_seconds), *end);
        let source = work.source(&media, interval, &shown).await;
        let (window, copy) = source.cut(interval.0..interval.1).await;
        assert_conforms(
            &source,
            &window,
            if open { Way::OpenCopy } else { Way::Copy },
            &copy,
        )
        .await;
        match smart_cut(&source, interval.0..interval.1).await {
            Ok((window, facts, clip)) => {
                assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
                copied += facts.copied_seconds;
            }
            Err(why) => refused.push(why),
        }
    }
    (copied, refused)
}

#[tokio::test]
async fn copies_and_smart_cuts_of_other_containers_are_exact() {
    for (name, options) in CONTAINERS {
        let folder = Folder::new();
        let path = build(
            &folder,
            name,
            &[
                words(H264),
                words("-bf 2 -g 48"),
                words(AAC),
                words(options),
            ],
        );
        let (copied, refused) = assert_cuts_are_exact(&path, &INTERVALS).await;
        assert!(copied > 9.0, "{name}: {copied} s were copied; {refused:?}");
    }
}

#[tokio::test]
async fn copies_and_smart_cuts_of_hevc_in_other_containers_are_exact() {
    let parameters = "-x265-params log-level=error:keyint=48:min-keyint=48:scenecut=0:open-gop=1";
    for (name, options) in [
        ("source.ts", ""),
        ("source.mkv", ""),
        (
            "fragments.mp4",
            "-movflags +frag_keyframe+empty_moov+default_base_moof",
        ),
    ] {
        let folder = Folder::new();
        let encoder = [words(HEVC), words(parameters), words(AAC), words(options)];
        let path = build(&folder, name, &encoder);
        let (copied, refused) = assert_cuts_are_exact(&path, &INTERVALS[..2]).await;
        assert!(copied > 1.0, "{name}: {copied} s were copied; {refused:?}");
    }
}

#[tokio::test]
async fn copies_of_other_codecs_in_other_containers_are_exact() {
    for (name, options) in [
        (
            "hevc.ts",
            "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=48 -pix_fmt yuv420p -c:a ac3",
        ),
        (
            "mpeg2.ts",
            "-c:v mpeg2video -q:v 6 -g 15 -bf 2 -pix_fmt yuv420p -c:a mp2",
        ),
        (
            "open.ts",
            "-c:v libx264 -g 48 -bf 3 -x264-params open-gop=1 -pix_fmt yuv420p -c:a aac",
        ),
        (
            "a.m2ts",
            "-c:v libx264 -g 48 -pix_fmt yuv420p -mpegts_m2ts_mode 1 -c:a aac",
        ),
        (
            "a.webm",
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -g 48 -pix_fmt yuv420p -c:a libopus",
        ),
        (
            "opus.mkv",
            "-c:v libx264 -g 48 -pix_fmt yuv420p -c:a libopus",
        ),
        (
            "late.mkv",
            "-c:v libx264 -g 48 -pix_fmt yuv420p -c:a aac -output_ts_offset 5",
        ),
        (
            "variable.mkv",
            "-vf select='not(mod(n\\,7))+not(mod(n\\,3))' -fps_mode vfr -c:v libx264 -g 30 -c:a aac",
        ),
    ] {
        let folder = Folder::new();
        assert_cuts_are_exact(&build(&folder, name, &[words(options)]), &INTERVALS[1..4]).await;
    }
}

#[tokio::test]
async fn cuts_of_containers_that_lead_to_no_interval_are_exact() {
    for (name, options) in [
        (
            "live.mkv",
            "-c:v libx264 -g 48 -bf 2 -pix_fmt yuv420p -c:a aac -live 1",
        ),
        (
            "live.webm",
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 48 -pix_fmt yuv420p -c:a libopus -live 1",
        ),
        (
            "a.flv",
            "-c:v libx264 -g 48 -bf 2 -pix_fmt yuv420p -c:a aac",
        ),
        (
            "a.mpg",
            "-c:v mpeg2video -q:v 6 -g 15 -bf 2 -pix_fmt yuv420p -c:a mp2 -f vob",
        ),
        (
            "a.avi",
            "-c:v mpeg4 -q:v 6 -g 30 -bf 0 -pix_fmt yuv420p -c:a libmp3lame",
        ),
        (
            "mjpeg.avi",
            "-c:v mjpeg -q:v 6 -pix_fmt yuvj420p -c:a libmp3lame",
        ),
    ] {
        let folder = Folder::new();
        let path = build(&folder, name, &[words(options)]);
        let (copied, refused) = assert_cuts_are_exact(&path, &INTERVALS[..3]).await;
        assert!(
            copied > 1.0 || !options.contains("x264"),
            "{name}: {copied} s; {refused:?}"
        );
    }
}

#[tokio::test]
async fn recording_that_was_never_closed_is_read_as_far_as_it_goes() {
    let folder = Folder::new();
    let fragments = "-movflags +frag_keyframe+empty_moov+skip_trailer";
    for (name, options) in [
        ("open.mkv", "-live 1"),
        ("cut-short.mkv", ""),
        ("open.flv", ""),
        ("open.ts", ""),
        ("open.mp4", fragments),
    ] {
        let all = [
            words("-c:v libx264 -g 48 -bf 2 -pix_fmt yuv420p -c:a aac"),
            words(options),
        ];
        let whole = load(&build(&folder, name, &all));
        let path = folder.path(name);
        std::fs::write(&path, &whole[..whole.len() * 2 / 3]).expect("room");
        let facts = Work::new().open(&path).await.expect("a source").facts;
        let video = facts.video.duration_seconds;
        assert!((4.5..6.0).contains(&video), "{name}: {facts:?}");
        assert_cuts_are_exact(&path, &[(1.2, 3.4), (3.9, video - 0.2)]).await;
    }
}

#[tokio::test]
async fn recording_without_its_index_is_unsupported_media() {
    let folder = Folder::new();
    let whole = load(&build(&folder, "open.mp4", &[words(H264), words(AAC)]));
    let path = folder.path("open.mp4");
    let index = boxes::first(&whole, *b"moov");
    std::fs::write(&path, &whole[..index]).expect("room");
    let error = Work::new().open(&path).await.expect_err("no index");
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
    let message = "cut short or never finished: it has media but no index (moov)";
    assert!(error.message.ends_with(message), "{error}");
}

/// A fragmented MP4 without an index, with too many fragments to spend a read on each.
fn unindexed(folder: &Folder) -> PathBuf {
    let options = words(
        "-g 48 -bf 0 -an -movflags +frag_every_frame+empty_moov+default_base_moof+skip_trailer",
    );
    let whole = load(&build(folder, "many.mp4", &[words(H264), options]));
    let (mut file, mut at, mut count) = (Vec::new(), 0, 0);
    let space = boxes::boxed(*b"free", &vec![0; 72_000]);
    while at < whole.len() {
        let size = boxes::size(&whole, at);
        if whole[at + 4..].starts_with(b"moof") && count < 140 {
            file.extend([&space[..], &space].concat());
            count += 1;
        }
        file.extend_from_slice(&whole[at..at + size]);
        at += size;
    }
    assert_eq!(count, 140);
    let path = folder.path("many.mp4");
    std::fs::write(&path, file).expect("room");
    path
}

#[tokio::test]
async fn many_fragments_without_an_index_are_read_once_from_start_to_end() {
    let folder = Folder::new();
    let path = unindexed(&folder);
    let (copied, refused) = assert_cuts_are_exact(&path, &INTERVALS[1..4]).await;
    assert!(copied > 1.0, "{copied} s were copied; {refused:?}");
    let source = Counted::new(load(&path));
    assert!(matches!(Movie::open(&source).await, Err(Error::Unindexed)));
    let before = source.bytes();
    Movie::open_whole(&source).await.expect("a source");
    let (read, all) = (source.bytes() - before, source.len());
    assert!(read < all + (1 << 20), "{read} of {all}");
}

#[tokio::test]
async fn many_fragments_without_an_index_are_refused_with_the_command_that_helps() {
    let folder = Folder::new();
    assert_too_large(&unindexed(&folder), 1 << 20, "a fragmented MP4").await;
}

/// A source of more than `max_whole_bytes` is refused as `what` without an index.
async fn assert_too_large(path: &Path, max_whole_bytes: u64, what: &str) {
    let work = Work::new();
    let remuxer = Remuxer {
        max_whole_bytes,
        ..work.remuxer()
    };
    let opened = Media::open(load(path), remuxer).await;
    let error = opened.expect_err("too large");
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
    let start = format!("the source is {what} without an index");
    assert!(error.message.starts_with(&start), "{error:?}");
    let command = "ffmpeg -i SOURCE -c copy";
    assert!(error.message.contains(command), "{error:?}");
}

#[tokio::test]
async fn cut_that_ends_long_before_a_held_picture_does_ends_there() {
    let folder = Folder::new();
    let held = "-vf select='lt(t,2)+gt(t,6.5)' -fps_mode passthrough -g 15";
    // If pictures are reordered, the one after the end is decoded early.
    for (name, reordered) in [
        ("held.ts", 0),
        ("held.ts", 2),
        ("held.mkv", 0),
        ("held.mkv", 2),
    ] {
        let reordered = words(&format!("-bf {reordered}"));
        let options = [words(H264), words(AAC), words(held), reordered];
        let path = build(&folder, name, &options);
        let work = Work::new();
        let media = work.open(&path).await.expect("a source");
        for (start, end) in [(1.0, 4.0), (3.0, 5.2), (1.5, 7.0)] {
            let range = work.remuxed_range(&media, (start, end)).await;
            let window = range.expect("a range").movie.window(start, end);
            let facts = window.expect("a window").facts;
            let lasts = facts.duration_seconds;
            assert!((lasts - (end - start)).abs() < 0.02, "{name}: {facts:?}");
        }
        assert_cuts_are_exact(&path, &[(1.0, 4.0), (3.0, 5.2)]).await;
    }
}

#[tokio::test]
async fn interval_without_a_keyframe_before_it_is_said_to_have_none() {
    let folder = Folder::new();
    let options =
        "-vf scale=64:36 -c:v libx264 -preset ultrafast -g 9999 -pix_fmt yuv420p -c:a aac";
    let path = folder.build("a.ts", &[pictures("30", 60), sound(60), words(options)]);
    let work = Work::new();
    let media = work.open(&path).await.expect("a source");
    let error = work.remuxed_range(&media, (50.0, 51.0)).await;
    let error = error.expect_err("the only keyframe is the first");
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
    let message = "no keyframe was found in the 40.0 s before 50 s";
    assert!(error.message.starts_with(message), "{error}");
}

#[tokio::test]
async fn source_that_is_too_large_to_be_read_whole_is_refused_with_the_command_that_helps() {
    let folder = Folder::new();
    let options = words("-c:v mpeg4 -q:v 6 -c:a libmp3lame");
    assert_too_large(&build(&folder, "a.avi", &[options]), 1000, "AVI").await;
}

#[tokio::test]
async fn facts_of_other_containers_are_those_of_the_source() {
    let folder = Folder::new();
    let base = build(
        &folder,
        "base.mp4",
        &[words(H264), words(AAC), words("-ac 2")],
    );
    let input = || vec!["-i".to_owned(), base.display().to_string()];
    let tracks = "-map 0:v -map 0:a -map 0:a -c copy -metadata:s:a:1 language=deu";
    let path = folder.build(
        "a.mkv",
        &[words("-display_rotation 90"), input(), words(tracks)],
    );
    let facts = Work::new().open(&path).await.expect("a source").facts;
    let video = &facts.video;
    assert_eq!(
        (
            facts.container.as_str(),
            video.codec.as_str(),
            video.timescale
        ),
        ("Matroska", "h264", 1000)
    );
    assert_eq!(
        (video.width, video.height, video.rotation_degrees),
        (180, 320, 270)
    );
    assert!(
        (video.frame_rate - 30.0).abs() < 1e-9 && video.constant_frame_rate,
        "{video:?}"
    );
    assert!(
        (facts.duration_seconds - f64::from(SECONDS)).abs() < 0.05,
        "{facts:?}"
    );
    let audio = facts.audio.as_ref().expect("sound");
    assert_eq!(
        (
            audio.codec.as_str(),
            audio.channels,
            audio.sample_rate,
            audio.tracks
        ),
        ("aac", 2, 48_000, 2)
    );
    assert_eq!(audio.languages, ["", "deu"]);
}

#[tokio::test]
async fn sound_that_cannot_be_kept_is_dropped_and_said_to_be() {
    let folder = Folder::new();
    let silent = "-map 0 -map 1 -map 1 -c:a aac -filter:a:0 aselect='gt(t\\,9)'";
    for (name, options, kept, dropped) in [
        (
            "latm.ts",
            "-c:a aac -mpegts_flags +latm",
            None,
            &["audio (aac_latm)"][..],
        ),
        ("silent.ts", silent, Some(1), &["audio (aac)"]),
        (
            "late.ts",
            "-c:a aac -filter:a aselect='gt(t\\,7)'",
            None,
            &["audio (aac)"],
        ),
        (
            "pcm.m2ts",
            "-c:a pcm_bluray -mpegts_m2ts_mode 1",
            None,
            &["audio (pcm_bluray)"],
        ),
        (
            "two.mkv",
            "-map 0 -map 1 -map 1 -c:a:0 wavpack -c:a:1 aac -metadata:s:a:0 language=deu",
            Some(1),
            &["audio (deu, wavpack)"],
        ),
    ] {
        let path = build(&folder, name, &[words(H264), words(options)]);
        let work = Work::new();
        let media = work.open(&path).await.expect("a source");
        let facts = &media.facts;
        assert_eq!(
            facts
                .audio
                .as_ref()
                .map(|audio| (audio.codec.as_str(), audio.tracks)),
            kept.map(|n| ("aac", n))
        );
        assert_eq!(facts.dropped_tracks, dropped, "{name}");
        let remuxed_range = work
            .remuxed_range(&media, (7.2, 7.9))
            .await
            .expect("an excerpt");
        let window = remuxed_range
            .movie
            .window(7.2, 7.9)
            .expect("a window")
            .facts;
        assert_eq!(
            (window.frames, window.has_audio),
            (21, kept.is_some()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn clip_is_as_old_as_its_source() {
    let folder = Folder::new();
    let (title, date) = (
        words("-metadata title=bikes"),
        "2020-05-06T07:08:09.000000Z",
    );
    let made = words(&format!(
        "-metadata creation_time={date} -metadata encoder=camera"
    ));
    folder.build("plain.mkv", &[pictures("30", SECONDS), words(H264)]);
    let chapters = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=5\ntitle=one\n";
    std::fs::write(folder.path("chapters.txt"), chapters).expect("room");
    let inputs = ["plain.mkv", "chapters.txt"]
        .map(|name| ["-i".to_owned(), folder.path(name).display().to_string()]);
    let path = folder.build(
        "a.mkv",
        &[
            inputs.concat(),
            words("-map_metadata 1 -c copy"),
            title,
            made,
        ],
    );
    let work = Work::new();
    let media = work.open(&path).await.expect("a source");
    let source = work
        .source(&media, (3.0, 5.0), &Shown::of(&path, &media))
        .await;
    let (window, copy) = source.cut(3.0..5.0).await;
    assert_conforms(&source, &window, Way::Copy, &copy).await;
    assert_eq!(
        probe(&copy, "-show_entries format_tags=creation_time").trim(),
        date
    );
    assert_eq!(media.facts.dropped_tracks, Vec::<String>::new());
}

#[tokio::test]
async fn container_that_does_not_lead_to_an_interval_is_unsupported_media() {
    let folder = Folder::new();
    let muxed = |name: &str, options: &str| {
        build(&folder, name, &[words(H264), words(AAC), words(options)])
    };
    for (path, message) in [
        (
            muxed(
                "vp8.webm",
                "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libopus",
            ),
            "the source is VP8, which",
        ),
        (
            muxed("a.ts", "-vn"),
            "the source has no video: it is audio only",
        ),
    ] {
        let error = Work::new().open(&path).await.expect_err("not a source");
        assert!(
            error.kind == ErrorKind::UnsupportedMedia && error.message.starts_with(message),
            "{error:?}"
        );
    }
}

/// A fragmented MP4 with an index for each fragment and none at its end, and the offset of its first index.
fn chained(folder: &Folder, seconds: u32, options: &str) -> (Vec<u8>, usize) {
    let options = words(&format!(
        "-g 30 -movflags +dash+delay_moov+skip_trailer {options}"
    ));
    let arguments = [
        pictures("30", seconds),
        sound(seconds),
        words(H264),
        words(AAC),
        options,
    ];
    let whole = load(&folder.build("chained.mp4", &arguments)).to_vec();
    let at = boxes::first(&whole, *b"sidx");
    (whole, at)
}

#[tokio::test]
async fn index_in_parts_is_read_to_its_end() {
    let folder = Folder::new();
    let (long, _) = chained(&folder, 60, "-vf scale=16:16 -preset ultrafast");
    let path = folder.path("chained.mp4");
    std::fs::write(&path, long).expect("room");
    let facts = Work::new().open(&path).await.expect("a source").facts;
    assert!((facts.duration_seconds - 60.0).abs() < 0.05, "{facts:?}");
    let (whole, at) = chained(&folder, SECONDS, "");
    // Boxes that may precede an index, or a part of it.
    let other = [
        &b"\0\0\0\x10styp\0\0\0\0\0\0\0\0"[..],
        b"\0\0\0\x08free",
        b"\0\0\0\x0cemsg\0\0\0\0",
    ]
    .concat();
    std::fs::write(&path, [&whole[..at], &other, &whole[at..]].concat()).expect("room");
    let (copied, refused) = assert_cuts_are_exact(&path, &INTERVALS).await;
    assert!(copied > 9.0, "{copied} s were copied; {refused:?}");
    let facts = Work::new().open(&path).await.expect("a source").facts;
    assert!(
        (facts.duration_seconds - f64::from(SECONDS)).abs() < 0.05,
        "{facts:?}"
    );
}

#[tokio::test]
async fn index_of_indexes_is_followed() {
    let folder = Folder::new();
    let options = words("-g 30 -movflags +frag_keyframe+delay_moov+default_base_moof+global_sidx");
    let path = build(&folder, "a.mp4", &[words(H264), words(AAC), options]);
    let (whole, work) = (load(&path), Work::new());
    let media = work.open(&path).await.expect("a source");
    let window = async |media: &Media<Bytes>| {
        let (start, end) = INTERVALS[2];
        let range = work
            .remuxed_range(media, (start, end))
            .await
            .expect("a part");
        range.movie.window(start, end).expect("a window").facts
    };
    let expected = (media.facts.duration_seconds, window(&media).await.frames);
    let at = boxes::first(&whole, *b"sidx");
    let be = |at: usize| u32::from_be_bytes(whole[at..at + 4].try_into().expect("four bytes"));
    // It refers to the index after it, which spans the rest of the file; bit 31 says that it is an index.
    let rest = u32::try_from(whole.len() - at).expect("a short file");
    let numbers = [
        44,
        u32::from_be_bytes(*b"sidx"),
        0,
        be(at + 12),
        be(at + 16),
        0,
        0,
        1,
        1 << 31 | rest,
        0,
        0,
    ];
    let index = numbers.map(u32::to_be_bytes).concat();
    std::fs::write(&path, [&whole[..at], &index, &whole[at..]].concat()).expect("room");
    let media = work.open(&path).await.expect("a source");
    let found = (media.facts.duration_seconds, window(&media).await.frames);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn fragments_that_no_index_names_are_found() {
    let folder = Folder::new();
    let (mut unnamed, _) = chained(&folder, SECONDS, "");
    let last = boxes::last(&unnamed, *b"moof");
    // One index for each of the two tracks.
    for index in [last - 104, last - 52] {
        boxes::rename(&mut unnamed, index, *b"free");
    }
    let path = folder.path("unnamed.mp4");
    std::fs::write(&path, unnamed).expect("room");
    assert_cuts_are_exact(&path, &INTERVALS).await;
    for options in ["-g 48", "-g 20 -bf 3"] {
        let options = words(&format!(
            "{options} -movflags +frag_keyframe+empty_moov+skip_trailer"
        ));
        let path = build(&folder, "none.mp4", &[words(H264), words(AAC), options]);
        assert_cuts_are_exact(&path, &INTERVALS).await;
    }
    let (many, _) = chained(&folder, 90, "-vf scale=16:16 -preset ultrafast");
    std::fs::write(&path, many).expect("room");
    let facts = Work::new().open(&path).await.expect("a source").facts;
    assert!((facts.duration_seconds - 90.0).abs() < 0.05, "{facts:?}");
}

#[tokio::test]
async fn fragments_that_do_not_tell_when_they_begin_are_unsupported_media() {
    let folder = Folder::new();
    let options = [words(H264), words("-g 24"), words(AAC)];
    let path = build(&folder, "a.ismv", &options);
    let error = Work::new().open(&path).await.expect_err("not a source");
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
    let message = "whose fragments do not tell when they begin (tfdt)";
    assert!(error.message.contains(message), "{error}");
}

#[tokio::test]
async fn fragments_of_one_track_each_are_cut_with_all_their_sound() {
    let folder = Folder::new();
    let options =
        words("-g 48 -movflags +frag_keyframe+separate_moof+delay_moov+default_base_moof");
    let path = build(
        &folder,
        "a.mp4",
        &[words(H264), words("-bf 2"), words(AAC), options],
    );
    assert_cuts_are_exact(&path, &INTERVALS).await;
}

#[tokio::test]
async fn segment_of_a_fragmented_mp4_without_its_head_is_unsupported_media() {
    let folder = Folder::new();
    let path = build(
        &folder,
        "a.mp4",
        &[
            words(H264),
            words(AAC),
            words("-movflags +frag_keyframe+empty_moov"),
        ],
    );
    let whole = load(&path);
    let moof = boxes::first(&whole, *b"moof");
    std::fs::write(&path, &whole[moof..]).expect("room");
    let error = Work::new().open(&path).await.expect_err("not a source");
    assert!(
        error
            .message
            .starts_with("the source is a segment of a fragmented MP4"),
        "{error:?}"
    );
}

#[tokio::test]
async fn fragments_of_a_file_that_was_cut_short_are_read_as_far_as_they_go() {
    let folder = Folder::new();
    let unindexed = "-movflags +frag_keyframe+empty_moov+default_base_moof+skip_trailer";
    for (name, options) in [CONTAINERS[2], CONTAINERS[3], ("none.mp4", unindexed)] {
        let options = [words(H264), words(AAC), words("-g 30"), words(options)];
        let path = build(&folder, name, &options);
        let whole = load(&path);
        let kinds = whole.windows(4).enumerate();
        let moofs = kinds.filter(|(_, kind)| kind == b"moof");
        let moofs: Vec<usize> = moofs.map(|(at, _)| at - 4).collect();
        let fragment = moofs[moofs.len() / 2];
        let mut ends = vec![whole.len() / 2, whole.len() * 2 / 3, fragment + 20];
        // Only an index tells that fragments are missing.
        if name != "none.mp4" {
            ends.push(fragment);
        }
        for kept in ends {
            std::fs::write(&path, &whole[..kept]).expect("room");
            let facts = Work::new().open(&path).await.expect("a source").facts;
            let said = facts.dropped_tracks.last().cloned().unwrap_or_default();
            let place = kept - fragment.min(kept);
            assert!(
                said.ends_with("the source was cut short"),
                "{name}, {kept} bytes, {place} in a fragment: {said}"
            );
            assert!(
                (2.5..6.5).contains(&facts.duration_seconds),
                "{name}: {facts:?}"
            );
            assert_cuts_are_exact(&path, &[(0.0, 2.0), (1.123, 2.4)]).await;
        }
    }
}

#[tokio::test]
async fn times_beyond_a_source_of_another_container_are_refused_by_name() {
    let folder = Folder::new();
    let path = build(&folder, "a.ts", &[words(H264), words(AAC)]);
    let work = Work::new();
    let media = work.open(&path).await.expect("a source");
    for (interval, kind, message) in [
        (
            (9.0, 10.0),
            ErrorKind::OutOfRange,
            "start: 9 s is beyond the source",
        ),
        (
            (1.0, 10.0),
            ErrorKind::OutOfRange,
            "end: 10 s is beyond the source",
        ),
        (
            (2.0, 1.0),
            ErrorKind::InvalidRequest,
            "end: 1 s is not after start, 2 s",
        ),
        (
            (0.0, f64::NAN),
            ErrorKind::InvalidRequest,
            "end: NaN is not a time",
        ),
    ] {
        let error = work
            .remuxed_range(&media, interval)
            .await
            .expect_err("no interval");
        assert!(
            error.kind == kind && error.message.starts_with(message),
            "{interval:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn transport_stream_with_rare_keyframes_is_read_from_further_in_front() {
    let folder = Folder::new();
    let path = build(
        &folder,
        "rare.ts",
        &[words(H264), words("-g 300 -bf 0"), words(AAC)],
    );
    let work = Work::new();
    let remuxed_range = work
        .remuxed_range(&work.open(&path).await.expect("a source"), (6.0, 7.0))
        .await
        .expect("an excerpt");
    assert_eq!(remuxed_range.lead_seconds, Some(10.0));
    assert_cuts_are_exact(&path, &[(6.0, 7.0)]).await;
}

#[tokio::test]
async fn cut_of_a_transport_stream_does_not_begin_at_a_later_keyframe() {
    let folder = Folder::new();
    let keyframes = words("-g 300 -force_key_frames 0,1,5.5");
    let path = build(&folder, "rare.ts", &[words(H264), keyframes, words(AAC)]);
    let work = Work::new();
    let media = work.open(&path).await.expect("a source");
    // The keyframe before each start is further away than what is read first.
    for (start, end) in [(5.0, 6.5), (4.2, 7.0), (0.9, 1.5)] {
        let range = work.remuxed_range(&media, (start, end)).await;
        let window = range.expect("an excerpt").movie.window(start, end);
        let begins = window.expect("a window").facts.start_seconds;
        assert!((begins - start).abs() < 0.02, "{begins} and not {start}");
        assert_cuts_are_exact(&path, &[(start, end)]).await;
    }
}

#[tokio::test]
async fn interval_that_is_not_remuxed_is_estimated_by_the_frame_rate() {
    let folder = Folder::new();
    let work = Work::new();
    for (name, options) in CONTAINERS {
        let path = build(
            &folder,
            name,
            &[
                words(H264),
                words("-bf 2 -g 48"),
                words(AAC),
                words(options),
            ],
        );
        let media = work.open(&path).await.expect("a source");
        for (start, end) in INTERVALS {
            let interval = (f64::max(start, media.facts.video.start_seconds), end);
            let estimate = media.estimate(interval).expect("an estimate");
            let exact = work
                .remuxed_range(&media, interval)
                .await
                .expect("an excerpt");
            let exact = exact
                .movie
                .window(interval.0, interval.1)
                .expect("a window")
                .facts;
            assert_eq!(
                (estimate.frames, estimate.has_audio),
                (exact.frames, true),
                "{name} {interval:?}"
            );
            for (one, other) in [
                (estimate.start_seconds, exact.start_seconds),
                (estimate.end_seconds, exact.end_seconds),
                (estimate.duration_seconds, exact.duration_seconds),
            ] {
                assert!(
                    (one - other).abs() < 0.001,
                    "{name} {interval:?}: {one}, not {other}"
                );
            }
        }
        for (interval, kind) in [
            ((9.0, 10.0), ErrorKind::OutOfRange),
            ((2.0, 1.0), ErrorKind::InvalidRequest),
        ] {
            assert_eq!(
                media.estimate(interval).expect_err("no interval").kind,
                kind
            );
        }
    }
}

/// The error of reading a source.
#[derive(Debug, Clone)]
struct Changed(Bytes);

impl RangeRead for Changed {
    fn len(&self) -> u64 {
        RangeRead::len(&self.0)
    }

    async fn read(&self, range: Range<u64>) -> mp4_cut::Result<Bytes> {
        if range.start > 0 {
            Err(ClipError::source_not_found("it changed").into())
        } else {
            self.0.read(range).await
        }
    }
}

#[tokio::test]
async fn source_that_changes_while_ffmpeg_reads_it_is_said_to() {
    let folder = Folder::new();
    let work = Work::new();
    let source = Changed(load(&build(&folder, "a.ts", &[words(H264), words(AAC)])));
    let error = Media::open(source, work.remuxer())
        .await
        .expect_err("it changed");
    assert_eq!(error, ClipError::source_not_found("it changed"));
}

#[tokio::test]
async fn interval_from_second_0_begins_there_where_the_source_starts_a_microsecond_earlier() {
    let folder = Folder::new();
    let file = load(&build(&folder, "a.mp4", &[words(H264)]));
    let movie = mp4_cut::Movie::read_remuxed(&file, 1, f64::from(SECONDS)).await;
    let movie = movie.expect("a source");
    let facts = movie.window(0.0, 1.0).expect("a window").facts;
    assert_eq!(facts.frames, 30);
    // The planned interval is requested again when the clip is made.
    let again = movie.window(facts.start_seconds, facts.end_seconds);
    assert_eq!(again.expect("the same window").facts, facts);
}

#[tokio::test]
async fn recording_that_begins_between_keyframes_begins_with_its_first_keyframe() {
    let folder = Folder::new();
    let path = build(
        &folder,
        "a.ts",
        &[words(H264), words("-g 60 -keyint_min 60")],
    );
    let whole = load(&path);
    let packets = whole.len() / 188;
    std::fs::write(&path, &whole[packets / 8 * 188..]).expect("room");
    let work = Work::new();
    let media = work.open(&path).await.expect("a source");
    let range = work
        .remuxed_range(&media, (0.0, 1.0))
        .await
        .expect("a part");
    let facts = range.movie.window(0.0, 1.0).expect("a window").facts;
    assert_eq!((facts.frames, facts.preroll_frames), (30, 0));
    assert!(
        facts.start_seconds < 0.001 && facts.keyframe_seconds.abs() < 0.001,
        "{facts:?}"
    );
    assert!(
        media.facts.duration_seconds < 6.1,
        "{:?}",
        media.facts.duration_seconds
    );
}

/// The packets of a transport stream.
fn packets(file: &mut [u8]) -> impl Iterator<Item = &mut [u8; 188]> {
    file.as_chunks_mut().0.iter_mut()
}

fn stream_of(packet: &[u8; 188]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

/// The checksum of a transport stream section (ITU-T H.222.0, annex A).
fn crc(section: &[u8]) -> u32 {
    section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

/// The streams of a transport stream, as `FFmpeg` numbers them.
const VIDEO: u16 = 0x100;
const SOUND: u16 = 0x101;
const PROGRAM_MAP: u16 = 0x1000;

/// Changes every program map of a transport stream (ITU-T H.222.0, 2.4.4.9).
fn change_program_map(file: &mut [u8], change: impl Fn(&mut [u8])) {
    for packet in packets(file).filter(|packet| stream_of(packet) == PROGRAM_MAP) {
        let start = 5 + usize::from(packet[4]);
        let section = &mut packet[start..];
        change(section);
        let end = 3 + usize::from(section[2]) - 4;
        let crc = crc(&section[..end]).to_be_bytes();
        section[end..end + 4].copy_from_slice(&crc);
    }
}

/// Receivers leave the descriptor of the access control in what they have decrypted.
#[tokio::test]
async fn program_that_says_how_it_was_encrypted_is_read_if_it_no_longer_is() {
    let folder = Folder::new();
    let path = build(&folder, "a.ts", &[words(H264), words(AAC)]);
    let mut file = load(&path).to_vec();
    change_program_map(&mut file, |section| {
        assert_eq!(section[11], 0);
        let end = section.len();
        section.copy_within(12..end - 6, 18);
        section[12..18].copy_from_slice(&[9, 4, 0x0b, 0x00, 0xe1, 0x23]);
        section[11] += 6;
        section[2] += 6;
    });
    std::fs::write(&path, file).expect("room");
    assert_cuts_are_exact(&path, &[(1.2, 3.4)]).await;
}

#[tokio::test]
async fn encrypted_sources_are_refused_by_name_whatever_the_container() {
    const VP9: &str = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -c:a libopus";
    let scramble = |file: &mut [u8], stream: u16| {
        for packet in packets(file).filter(|packet| stream_of(packet) == stream) {
            packet[3] |= 0x80;
        }
    };
    let scramble_pes = |file: &mut [u8]| {
        for packet in
            packets(file).filter(|packet| stream_of(packet) == VIDEO && packet[1] & 0x40 != 0)
        {
            let payload = 4 + if packet[3] & 0x20 == 0 {
                0
            } else {
                1 + usize::from(packet[4])
            };
            packet[payload + 6] |= 0x20;
        }
    };
    let sample_aes = |file: &mut [u8]| {
        change_program_map(file, |section| {
            let video = 12 + usize::from(section[11]);
            assert_eq!(section[video], 0x1b);
            section[video] = 0xdb;
        });
    };
    // Replaces a track's number with ContentEncodings, ContentEncoding and an empty ContentEncryption.
    let encrypt_track = |file: &mut [u8]| {
        let number = file
            .windows(3)
            .position(|bytes| bytes == [0x73, 0xc5, 0x88]);
        let number = number.expect("a track's number");
        let encrypted = [
            0x6d, 0x80, 0x88, 0x62, 0x40, 0x85, 0x50, 0x35, 0x82, 0xec, 0x80,
        ];
        file[number..number + encrypted.len()].copy_from_slice(&encrypted);
    };
    let entry = |file: &mut [u8], from: [u8; 4], to: [u8; 4]| {
        let entry = boxes::last(file, from);
        boxes::rename(file, entry, to);
    };
    let pictures_entry = |file: &mut [u8]| entry(file, *b"avc1", *b"encv");
    let sound_entry = |file: &mut [u8]| entry(file, *b"mp4a", *b"enca");
    let video = |file: &mut [u8]| scramble(file, VIDEO);
    let sound = |file: &mut [u8]| scramble(file, SOUND);
    for (name, encrypt) in [
        ("video.ts", &video as &dyn Fn(&mut [u8])),
        ("sound.ts", &sound),
        ("pes.ts", &scramble_pes),
        ("sample-aes.ts", &sample_aes),
        ("track.mkv", &encrypt_track),
        ("track.webm", &encrypt_track),
        ("video.mp4", &pictures_entry),
        ("sound.mp4", &sound_entry),
        ("fragments.mp4", &pictures_entry),
    ] {
        let folder = Folder::new();
        let codecs = match name {
            "track.webm" => words(VP9),
            "fragments.mp4" => words(&format!("{H264} {AAC} -movflags +frag_keyframe+empty_moov")),
            _ => [words(H264), words(AAC)].concat(),
        };
        let path = build(&folder, name, &[codecs]);
        let mut file = load(&path).to_vec();
        assert!(Work::new().open(&path).await.is_ok(), "{name}");
        encrypt(&mut file);
        std::fs::write(&path, file).expect("room");
        let error = Work::new().open(&path).await.expect_err(name);
        assert_eq!(error.kind, ErrorKind::UnsupportedMedia, "{name}: {error}");
        assert_eq!(
            error.message, "the source is encrypted, which is not supported",
            "{name}"
        );
    }
}
