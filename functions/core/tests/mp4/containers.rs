//! Sources of other containers than MP4 with an index: excerpts of them, cut like any MP4, compared with what `FFmpeg`
//! decodes of the source.

use super::{
    ffmpeg::{Folder, Picture, SIZE, decode_grey, decode_pictures, decode_sound, load, pictures, sound, words},
    footage::{AAC, H264, Source, assert_copy_is_exact, microseconds},
    smart::{assert_clip_is_exact, smart_cut},
};
use bytes::Bytes;
use clipflow_core::{
    ClipError, ErrorKind,
    ffmpeg::{Ffmpeg, Limits},
    media::{Excerpt, Media, Remuxer},
    scratch::Scratch,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const LIMITS: Limits = Limits { time: Duration::from_mins(1), file_bytes: 1 << 30 };
/// Seconds of every source.
const SECONDS: u32 = 8;
/// Intervals of it: all, from the start, across keyframes, a few frames, to the end.
const INTERVALS: [(f64, f64); 5] = [(0.0, 8.0), (0.0, 0.7), (3.123, 6.4), (5.0, 5.1), (6.6, 8.0)];

/// How to write a container: the file's name, which says what it is, and options.
const CONTAINERS: [(&str, &str); 5] = [
    ("a.ts", ""),
    ("a.mkv", ""),
    ("sidx.mp4", "-movflags +frag_keyframe+delay_moov+default_base_moof+global_sidx"),
    ("mfra.mp4", "-movflags +frag_keyframe+delay_moov"),
    ("late.ts", "-output_ts_offset 3600"),
];

/// A working folder and a program for excerpts.
struct Work {
    ffmpeg: Ffmpeg,
    scratch: Scratch,
}

impl Work {
    fn new() -> Self {
        Self { ffmpeg: Ffmpeg::find().expect("ffmpeg"), scratch: Scratch::new(0, 0).expect("a folder") }
    }

    fn remuxer(&self) -> Remuxer<'_> {
        Remuxer { ffmpeg: &self.ffmpeg, scratch: &self.scratch, limits: LIMITS }
    }

    async fn open(&self, file: &Path) -> Result<Media<Bytes>, ClipError> {
        Media::open(load(file), self.remuxer()).await
    }

    async fn excerpt(&self, media: &Media<Bytes>, interval: (f64, f64)) -> Result<Excerpt<Bytes>, ClipError> {
        media.excerpt(interval, None, "excerpt.mp4", self.remuxer()).await
    }

    /// The source of a cut: the excerpt's index and bytes, and what is shown of the source itself.
    async fn source(&self, media: &Media<Bytes>, interval: (f64, f64), shown: &Shown) -> Source {
        let excerpt = self.excerpt(media, interval).await.expect("an excerpt");
        Source {
            folder: Folder::new(),
            bytes: load(&self.scratch.file("excerpt.mp4")),
            movie: excerpt.movie,
            pictures: shown.pictures.clone(),
            sound: shown.sound.clone(),
        }
    }
}

/// What a player shows of a source.
struct Shown {
    pictures: Vec<Picture>,
    sound: Option<Vec<f64>>,
    grey: Vec<Vec<u8>>,
}

impl Shown {
    fn of(file: &Path, media: &Media<Bytes>, has_sound: bool) -> Self {
        let mut pictures = decode_pictures(file);
        // Of a transport stream, FFmpeg counts from the first picture when it decodes nothing else.
        let late = microseconds(media.facts.video.start_seconds) - pictures[0].time;
        pictures.iter_mut().for_each(|picture| picture.time += late);
        Self {
            pictures,
            sound: has_sound.then(|| decode_sound(file)),
            grey: decode_grey(file, SIZE.0 * SIZE.1),
        }
    }
}

fn build(folder: &Folder, name: &str, options: &[Vec<String>]) -> PathBuf {
    folder.build(name, &[&[pictures("30", SECONDS), sound(SECONDS)][..], options].concat())
}

#[tokio::test]
async fn copies_and_smart_cuts_of_other_containers_are_exact() {
    for (name, options) in CONTAINERS {
        let folder = Folder::new();
        let path = build(&folder, name, &[words(H264), words("-bf 2 -g 48"), words(AAC), words(options)]);
        let work = Work::new();
        let media = work.open(&path).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let shown = Shown::of(&path, &media, true);
        eprintln!("{name}: {:?}", media.facts);
        for interval in INTERVALS {
            eprintln!("{name} {interval:?}");
            let source = work.source(&media, interval, &shown).await;
            let (start, end) = (interval.0.max(media.facts.video.start_seconds), interval.1);
            let interval = (start, end);
            assert_copy_is_exact(&source, interval.0..interval.1).await;
            match smart_cut(&source, interval.0..interval.1).await {
                Ok((window, facts, clip)) => {
                    assert_clip_is_exact(&source, &shown.grey, &window, facts, &clip).await;
                }
                Err(why) => eprintln!("{name} {interval:?}: {why}"),
            }
        }
    }
}
