//! Clips of ours as sources: made like the functions make them, cut again, and compared with the original source, whose
//! pictures are numbered.

use crate::common::{
    ffmpeg::{Folder, SAMPLE_RATE, SIZE, decode, load, number_of, pictures, words},
    source::{AAC, H264, LIMITS, Source, microseconds},
};
use bytes::Bytes;
use ffmpeg::{
    clip::{self, Content, Method},
    process::Ffmpeg,
    remux::{Media, Remuxer},
    scratch::Scratch,
};
use futures::TryStreamExt;
use model::{
    ClipError,
    plan::{PinnedObject, Plan, PlannedSegment, ProbedSource},
    request::ClipRequest,
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Frames per second of the source.
const RATE: u32 = 30;
/// The largest audio offset, in samples: 1 ms.
const MAX_SOUND_OFF: usize = SAMPLE_RATE / 1000;
/// Tolerance for picture times, in microseconds: the rounding of a `WebM`, for a picture and for the first one.
const TIME_TOLERANCE: i64 = 1100;
/// A tone that rises ten times a second and survives repeated compression.
const SOUND: &str =
    "-f lavfi -i aevalsrc=0.5*sin(2*PI*mod(t\\,0.1)*(200+19000*mod(t\\,0.1))):d=8:s=48000";

/// A clip and the frames of the source that it shows.
#[derive(Debug, Clone)]
struct Made {
    path: PathBuf,
    /// Frame ranges, in order; the end is exclusive.
    shows: Vec<(u32, u32)>,
}

impl Made {
    /// The source frames shown by a part of it, which is given in its own frames.
    fn part(&self, start: u32, end: u32) -> Vec<(u32, u32)> {
        let (mut begin, mut part) = (0, Vec::new());
        for (first, last) in &self.shows {
            let length = last - first;
            let within =
                start.saturating_sub(begin).min(length)..end.saturating_sub(begin).min(length);
            if !within.is_empty() {
                part.push((first + within.start, first + within.end));
            }
            begin += length;
        }
        part
    }

    fn frames(&self) -> u32 {
        self.shows.iter().map(|(start, end)| end - start).sum()
    }
}

struct Generations {
    folder: Folder,
    original: Source,
    ffmpeg: Ffmpeg,
    count: u32,
    encodes_hevc_whole: bool,
}

impl Generations {
    async fn of(options: &str) -> Self {
        let folder = Folder::new();
        let arguments = [
            pictures("30", 8),
            words(SOUND),
            words(H264),
            words(AAC),
            words(options),
        ];
        let path = folder.build("original.mp4", &arguments);
        Self {
            folder,
            original: Source::decode(&path).await,
            ffmpeg: Ffmpeg::find().expect("ffmpeg"),
            count: 0,
            encodes_hevc_whole: false,
        }
    }

    fn first(&self) -> Made {
        Made {
            path: self.original.path.clone(),
            shows: vec![(0, 8 * RATE)],
        }
    }

    /// Makes and checks the clip of a request. Each cut is a clip, its first frame and its end frame (exclusive).
    async fn cut(&mut self, cuts: &[(&Made, u32, u32)], asked: &Value) -> (Made, Method) {
        let label = format!("{asked} of {cuts:?}");
        let made = self.make(cuts, asked).await;
        let (path, method) = made.unwrap_or_else(|error| panic!("{label}: {error}"));
        let shows = cuts
            .iter()
            .flat_map(|(of, start, end)| of.part(*start, *end));
        let shows = shows.collect();
        let made = Made { path, shows };
        Self::judge(&made, &label);
        // FFmpeg plays whole audio packets where edits meet.
        if made.shows.len() == 1 || !matches!(method, Method::Copy) {
            self.judge_sound(&made, &label);
        }
        (made, method)
    }

    async fn make(
        &mut self,
        cuts: &[(&Made, u32, u32)],
        asked: &Value,
    ) -> Result<(PathBuf, Method), ClipError> {
        let mut request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact",
            "thumbnails": [], "metadata": {}});
        let fields = request.as_object_mut().expect("an object");
        fields.extend(asked.as_object().cloned().expect("an object"));
        let request: ClipRequest = serde_json::from_value(request).expect("a request");
        let scratch = Scratch::new(0, 0).expect("a folder");
        let remuxer = Remuxer {
            ffmpeg: &self.ffmpeg,
            scratch: &scratch,
            limits: LIMITS,
            max_whole_bytes: 1 << 24,
        };
        let (mut sources, mut segments, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (of, start, end)) in cuts.iter().enumerate() {
            let media: Media<Bytes> = Media::open(load(&of.path), remuxer).await?;
            let seconds = |frame: u32| f64::from(frame) / f64::from(RATE);
            for (index, part) in media
                .parts((seconds(*start), seconds(*end)))
                .into_iter()
                .enumerate()
            {
                let name = format!("excerpt-{number}-{index}.mp4");
                let range = media.remuxed_range(part, None, &name, remuxer).await?;
                segments.push(PlannedSegment {
                    source: number,
                    window: range.movie.window(part.0, part.1)?.facts,
                    smart_cut: None,
                    lead_seconds: range.lead_seconds,
                });
                ranges.push(range);
            }
            let object = PinnedObject {
                bucket: "b".into(),
                key: "k".into(),
                etag: "e".into(),
                bytes: 1,
            };
            sources.push(ProbedSource {
                object,
                facts: media.facts,
            });
        }
        let plan = Plan {
            sources,
            segments,
            coverage: None,
            watermark: None,
            encodes_hevc_whole: self.encodes_hevc_whole,
        };
        let made = clip::make(request.look(), &plan, &ranges, None, remuxer).await?;
        self.count += 1;
        let name = format!("{}-{}", self.count, request.format.file_name());
        let path = self.folder.path(&name);
        match made.content {
            Content::File(file) => {
                std::fs::copy(file, &path).expect("room");
            }
            Content::Stream(stream) => {
                let parts: Vec<Bytes> = stream.try_collect().await?;
                std::fs::write(&path, parts.concat()).expect("room");
            }
        }
        Ok((path, made.method))
    }

    /// Checks that a clip shows its frames, each at its time.
    fn judge(made: &Made, label: &str) {
        let pictures = decode(&made.path, true).pictures;
        let pixels = crate::common::ffmpeg::decode_pixels(&made.path, [SIZE.0, SIZE.1]);
        let numbers: Vec<_> = pixels.iter().map(|picture| number_of(picture)).collect();
        let shown = made.shows.iter().flat_map(|(start, end)| *start..*end);
        let shown: Vec<_> = shown.map(|frame| frame as usize).collect();
        assert_eq!(numbers, shown, "{label}");
        for (number, picture) in (0_u32..).zip(&pictures) {
            let due = microseconds(f64::from(number) / f64::from(RATE));
            assert!(
                (picture.time - due).abs() <= TIME_TOLERANCE,
                "{label}: {number} at {}",
                picture.time
            );
        }
    }

    /// Checks that a clip's audio is in place at both ends of each part.
    fn judge_sound(&self, made: &Made, label: &str) {
        let sound = decode(&made.path, true).sound;
        let mut begin = 0;
        for (start, end) in &made.shows {
            let seconds = |frame: u32| f64::from(frame) / f64::from(RATE);
            let window = self.original.movie.window(seconds(*start), seconds(*end));
            let window = window.expect("an interval");
            let own = &sound[begin as usize * SAMPLE_RATE / RATE as usize..];
            let off = self.original.sound_off(&window, own);
            assert!(
                off <= MAX_SOUND_OFF,
                "{label}: the sound of {start}..{end} is off by {off}"
            );
            begin += end - start;
        }
    }
}

/// Options for closed GOPs.
const CLOSED: &str = "-g 30 -bf 2";

#[tokio::test]
async fn ten_generations_of_cuts_keep_their_frames_and_sound() {
    for ways in [&["exact"][..], &["copy"], &["copy", "exact"]] {
        let mut generations = Generations::of(CLOSED).await;
        let mut made = generations.first();
        for generation in 0..10 {
            let way = ways[generation % ways.len()];
            let end = made.frames() - 4;
            (made, _) = generations
                .cut(&[(&made, 3, end)], &json!({"cut": way}))
                .await;
        }
        assert_eq!(made.shows, [(30, 200)]);
    }
}

#[tokio::test]
async fn joined_copies_are_sources() {
    let mut generations = Generations::of(CLOSED).await;
    let copy = json!({"cut": "copy"});
    let first = generations.first();
    let cuts = [(&first, 95, 170), (&first, 10, 52), (&first, 200, 240)];
    let (joined, _) = generations.cut(&cuts, &copy).await;
    for way in [copy.clone(), json!({}), json!({"format": "hevc"})] {
        for (start, end) in [
            (0, 157),
            (5, 60),
            (80, 110),
            (60, 100),
            (70, 130),
            (75, 117),
        ] {
            generations.cut(&[(&joined, start, end)], &way).await;
        }
    }
    let cuts = [(&joined, 60, 140), (&joined, 20, 90)];
    let (again, _) = generations.cut(&cuts, &copy).await;
    let (third, _) = generations.cut(&[(&again, 10, 140)], &copy).await;
    let (_, method) = generations.cut(&[(&third, 0, 130)], &json!({})).await;
    assert!(matches!(method, Method::SmartCut { .. }), "{method}");
}

#[tokio::test]
async fn clips_of_every_format_are_sources() {
    let mut generations = Generations::of(CLOSED).await;
    let formats = ["mp4", "hevc", "webm", "source"];
    let first = generations.first();
    for format in formats {
        let asked = json!({"format": format});
        let (clip, _) = generations.cut(&[(&first, 17, 150)], &asked).await;
        let (copied, _) = generations
            .cut(&[(&clip, 40, 110)], &json!({"cut": "copy"}))
            .await;
        for format in formats {
            let asked = json!({"format": format});
            generations.cut(&[(&clip, 33, 100)], &asked).await;
            generations.cut(&[(&copied, 5, 65)], &asked).await;
        }
    }
}

#[tokio::test]
async fn hevc_is_encoded_whole_where_its_smart_cuts_are_turned_off() {
    let hevc = "-c:v libx265 -x265-params log-level=error:keyint=30:min-keyint=30 -tag:v hvc1";
    let mut generations = Generations::of(hevc).await;
    let first = generations.first();
    let asked = json!({"format": "hevc"});
    let (_, method) = generations.cut(&[(&first, 17, 150)], &asked).await;
    assert!(matches!(method, Method::SmartCut { .. }), "{method}");
    generations.encodes_hevc_whole = true;
    let (_, method) = generations.cut(&[(&first, 17, 150)], &asked).await;
    assert_eq!(
        method,
        Method::EncodedWhole {
            why: "smart cuts of HEVC are turned off in this deployment".to_owned()
        }
    );
}
