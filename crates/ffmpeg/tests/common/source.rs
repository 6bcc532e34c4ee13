//! Sources as cameras, phones and encoders write them, what players show of them, and clips from them.

pub use super::ffmpeg::{AAC, H264, HEVC};

use super::ffmpeg::{
    Decoded, Folder, Picture, SAMPLE_RATE, collect, decode, decode_pixels, load, probe, read,
};
use ffmpeg::{
    encode,
    process::{Ffmpeg, Input, Limits},
};
use model::{
    clip_spec::ClipSpec,
    plan::{PinnedObject, Plan, PlannedSegment, ProbedPicture, ProbedSource},
    request::ClipRequest,
};
use mp4_cut::{Facts, Movie, Window, WindowFacts};
use serde_json::{Value, json};
use std::{
    cell::OnceCell,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

/// What one run of `FFmpeg` may use.
pub const LIMITS: Limits = Limits {
    time: Duration::from_mins(1),
    file_bytes: 1 << 30,
};
/// Intervals as fractions of the duration: from the first frame, a frame or two, the end; all, the middle, across
/// keyframes.
const INTERVALS: [(f64, f64); 6] = [
    (0.0, 0.1),
    (0.7, 0.715),
    (0.803, 1.0),
    (0.0, 1.0),
    (0.31, 0.57),
    (0.123, 0.913),
];

/// A request for an exact clip, and the clip: windows of sources, each given by its source's index, with edits.
pub fn clip_of(
    sources: &[&Facts],
    windows: &[(usize, WindowFacts)],
    edits: &Value,
) -> (ClipRequest, ClipSpec) {
    clip_of_request(sources, windows, &json!({"edits": edits}))
}

/// As [`clip_of`], with any other fields of a valid request. A watermark is 200 by 100 pixels.
pub fn clip_of_request(
    sources: &[&Facts],
    windows: &[(usize, WindowFacts)],
    more: &Value,
) -> (ClipRequest, ClipSpec) {
    let object = PinnedObject {
        bucket: "b".into(),
        key: "k".into(),
        etag: "e".into(),
        bytes: 1,
    };
    let probed = |facts: &&Facts| ProbedSource {
        object: object.clone(),
        facts: Facts::clone(facts).into(),
    };
    let segment = |(source, window): &(usize, WindowFacts)| PlannedSegment {
        source: *source,
        window: window.clone(),
        smart_cut: None,
        lead_seconds: None,
    };
    let mut request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact",
        "thumbnails": [], "metadata": {}});
    let fields = request.as_object_mut().expect("an object");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    let request: ClipRequest = serde_json::from_value(request).expect("a request");
    let plan = Plan {
        sources: sources.iter().map(probed).collect(),
        segments: windows.iter().map(segment).collect(),
        coverage: None,
        watermark: request.edits.watermark.is_some().then(|| ProbedPicture {
            object: object.clone(),
            width: 200,
            height: 100,
        }),
        encodes_hevc_whole: false,
    };
    let spec = ClipSpec::of(request.look(), &plan).expect("a clip");
    (request, spec)
}

/// Encodes a window, which is in the file `copy`, like a clip that is encoded whole.
pub async fn encode(source: &Source, window: &Window, copy: &Path) -> PathBuf {
    edit(source, window, copy, &json!({})).await.0
}

/// As [`encode`], with edits; also returns the clip's specification.
pub async fn edit(
    source: &Source,
    window: &Window,
    copy: &Path,
    edits: &Value,
) -> (PathBuf, ClipSpec) {
    encode_as(source, window, copy, &json!({"edits": edits})).await
}

/// As [`edit`], with any other fields of a valid request.
pub async fn encode_as(
    source: &Source,
    window: &Window,
    copy: &Path,
    more: &Value,
) -> (PathBuf, ClipSpec) {
    let facts = [(0, window.facts.clone())];
    let (request, spec) = clip_of_request(&[&source.movie.facts], &facts, more);
    let arguments = encode::arguments(request.look(), &spec, window);
    let folder = copy.parent().expect("a folder");
    let input = Input::mp4(copy.file_name().expect("a file").to_string_lossy());
    let ffmpeg = Ffmpeg::find().expect("ffmpeg");
    ffmpeg
        .run(folder, &[input], &arguments, LIMITS)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    (folder.join(request.format.file_name()), spec)
}

/// A source and what a player shows of it.
pub struct Source {
    pub folder: Folder,
    pub movie: Movie,
    pub pictures: Vec<Picture>,
    pub path: PathBuf,
    pub bytes: bytes::Bytes,
    pub pixels: OnceCell<Vec<Vec<u8>>>,
    pub sound: Vec<f64>,
}

/// Where the sound of a file ends by its index, in samples. Without an edit list, `FFmpeg` goes on to the end of the last
/// packet, which the encoder has filled up with silence.
fn sound_end(path: &Path) -> Option<usize> {
    let entries = "-select_streams a:0 -show_entries stream=start_time,duration:format=start_time";
    let said = probe(path, entries);
    let mut numbers = said.split(['\n', ',']).map(str::parse::<f64>);
    let mut number = || numbers.next()?.ok();
    let (start, seconds, file_start) = (number()?, number()?, number()?);
    let end = microseconds(start - file_start + seconds);
    Some(usize::try_from(end).ok()? * SAMPLE_RATE / 1_000_000)
}

impl Source {
    pub async fn decode(path: &Path) -> Self {
        let bytes = load(path);
        let movie = read(&bytes).await;
        let Decoded {
            pictures,
            mut sound,
            ..
        } = decode(path, movie.facts.audio.is_some());
        sound.truncate(sound_end(path).unwrap_or(usize::MAX));
        Self {
            folder: Folder::new(),
            movie,
            pictures,
            path: path.to_owned(),
            bytes,
            pixels: OnceCell::new(),
            sound,
        }
    }

    /// The pixels of every picture.
    pub fn pixels(&self) -> &[Vec<u8>] {
        self.pixels.get_or_init(|| self.pixels_of(&self.path))
    }

    /// As [`pixels`](Self::pixels), for a clip.
    pub fn pixels_of(&self, clip: &Path) -> Vec<Vec<u8>> {
        let video = &self.movie.facts.video;
        decode_pixels(
            clip,
            [video.coded_width as usize, video.coded_height as usize],
        )
    }

    pub fn intervals(&self) -> impl Iterator<Item = Range<f64>> {
        let video = &self.movie.facts.video;
        INTERVALS.into_iter().map(|(start, end)| {
            let at = |part: f64| video.start_seconds + part * video.duration_seconds;
            at(start)..at(end)
        })
    }

    pub async fn cut(&self, interval: Range<f64>) -> (Window, PathBuf) {
        let window = self
            .movie
            .window(interval.start, interval.end)
            .expect("an interval of the source");
        let copy = collect(&window, &self.bytes)
            .await
            .expect("the source's bytes");
        assert_eq!(copy.len() as u64, window.facts.output_bytes);
        let path = self.folder.path("copy.mp4");
        std::fs::write(&path, copy).expect("room for a copy");
        (window, path)
    }

    /// The number of a window's first picture: the one on screen when it starts.
    pub fn first_picture(&self, window: &Window) -> usize {
        let start = microseconds(window.facts.start_seconds) + TIME_TOLERANCE;
        let behind = self
            .pictures
            .partition_point(|picture| picture.time <= start);
        behind.saturating_sub(1)
    }

    pub fn pictures_in(&self, window: &Window) -> &[Picture] {
        &self.pictures[self.first_picture(window)..self.pictures_before(window.facts.end_seconds)]
    }

    fn pictures_before(&self, seconds: f64) -> usize {
        let end = microseconds(seconds) - TIME_TOLERANCE;
        self.pictures.partition_point(|picture| picture.time < end)
    }

    /// The audio offset of a clip, in samples, at its start or its end, whichever is larger. Its audio must last to the
    /// window's end.
    pub fn sound_off(&self, window: &Window, clip: &[f64]) -> usize {
        /// The samples that decoders and encoders need to settle at the start and the end.
        const EDGE: usize = 2048;
        if !window.facts.has_audio {
            return 0;
        }
        let at = |seconds: f64| {
            usize::try_from(microseconds(seconds)).expect("a time") * SAMPLE_RATE / 1_000_000
        };
        let end = at(window.facts.end_seconds).min(self.sound.len());
        let expected = &self.sound[at(window.facts.start_seconds)..end];
        assert!(
            clip.len() + MAX_LAG >= expected.len(),
            "{} samples of {}",
            clip.len(),
            expected.len()
        );
        let is_silent = |sample: &&f64| **sample == 0.0;
        let heard = expected.iter().take_while(is_silent).count() + EDGE
            ..expected
                .len()
                .saturating_sub(expected.iter().rev().take_while(is_silent).count() + EDGE);
        if heard.len() < 3 * MAX_LAG {
            return 0;
        }
        let heard = heard.start + MAX_LAG..heard.end - MAX_LAG;
        let length = heard.len().min(SAMPLE_RATE / 20);
        let is_loud = |start: &usize| {
            expected[*start..start + length]
                .iter()
                .filter(is_silent)
                .count()
                < length / 10
        };
        let first = (heard.start..=heard.end - length)
            .step_by(length)
            .find(is_loud)
            .unwrap_or(heard.start);
        let lags = [first, heard.end - length]
            .map(|start| lag(&expected[start..start + length], clip, start));
        lags.into_iter().max().unwrap_or(0)
    }
}

/// Tolerance for times, in microseconds: `FFmpeg` and we round edits to the timescales of tracks, by up to half a unit.
pub const TIME_TOLERANCE: i64 = 50;
/// The largest audio offset that is searched, in samples: 5 ms.
const MAX_LAG: usize = SAMPLE_RATE / 200;

/// The offset, in samples, at which `part`, which should begin at `start`, is found in `sound`; the maximum if it is
/// not.
fn lag(part: &[f64], sound: &[f64], start: usize) -> usize {
    let mut nearest = None;
    let mut least = part.iter().map(|sample| sample.abs()).sum::<f64>() / 2.0;
    for lag in 0..=MAX_LAG {
        for from in [start - lag, start + lag] {
            if let Some(distance) = distance_below(least, part, &sound[from.min(sound.len())..]) {
                (nearest, least) = (Some(lag), distance);
            }
        }
    }
    nearest.unwrap_or(MAX_LAG)
}

/// How much the beginning of `sound`, padded with silence, differs from `part`, if that is below `limit`.
fn distance_below(limit: f64, part: &[f64], sound: &[f64]) -> Option<f64> {
    let mut distance = 0.0;
    for (index, sample) in part.iter().enumerate() {
        distance += (sample - sound.get(index).unwrap_or(&0.0)).abs();
        if distance >= limit {
            return None;
        }
    }
    Some(distance)
}

pub fn microseconds(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "times of a few seconds")]
    let microseconds = (seconds * 1e6).round() as i64;
    microseconds
}

/// The similarity of two pictures (PSNR), in dB.
#[expect(clippy::cast_precision_loss, reason = "a picture has few pixels")]
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let mut squares = 0;
    for (a, b) in a.iter().zip(b) {
        squares += u64::from(a.abs_diff(*b)).pow(2);
    }
    10.0 * (255.0_f64.powi(2) / (squares as f64 / a.len() as f64).max(1e-6)).log10()
}
