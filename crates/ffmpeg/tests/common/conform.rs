//! Checks that every clip is exact, in sync, and decodes without complaints.

use super::{
    ffmpeg::{Decoded, Picture, SAMPLE_RATE, decode, load, probe, read},
    kinds::NO_KEYFRAME,
    smart::smart_cut,
    source::{Source, TIME_TOLERANCE, encode, microseconds, psnr},
};
use bytes::Bytes;
use ffmpeg::{
    check::{self, Checked, Clip},
    process::Ffmpeg,
};
use mp4_cut::{Movie, SmartCutFacts, Window, WindowFacts, io::CachedSource};
use std::{collections::HashMap, ops::Range, path::Path};

/// The lowest PSNR of an encoded picture against the source's, in dB.
const MIN_PSNR: f64 = 38.0;
/// The largest audio offset, in samples: 1 ms.
const MAX_SOUND_OFF: usize = SAMPLE_RATE / 1000;

/// Checks an MP4 clip around `seams`, in seconds, and at both ends.
pub async fn check(clip: &Bytes, seams: &[f64]) -> Checked {
    let pieces = Movie::read_edits(clip).await.expect("a clip");
    let facts = || pieces.iter().map(|piece| &piece.facts.video);
    let (shown, leads, frames_behind) = check::pictures(&pieces).expect("frames");
    let clip = Clip {
        file: CachedSource::new(clip.clone()),
        demuxer: "mov",
        codec: &facts().next().expect("a piece").codec,
        shown: &shown,
        leads: &leads,
        frames_behind,
        end_seconds: facts().map(|video| video.duration_seconds).sum(),
        known: &[],
    };
    let ffmpeg = Ffmpeg::find().expect("ffmpeg");
    let folder = std::env::temp_dir();
    let checked = clip.check(seams, &ffmpeg, &folder).await;
    checked.expect("a clip that can be read")
}

/// How a clip was cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    Copy,
    /// A copy from open GOPs. `FFmpeg` misses the references of their leading pictures.
    OpenCopy,
    Smart(SmartCutFacts),
    Encode,
}

impl Way {
    fn is_copy(self) -> bool {
        matches!(self, Self::Copy | Self::OpenCopy)
    }
}

/// How well a clip conforms.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The lowest PSNR of its pictures against the source's, in dB; infinite if all are identical.
    worst_psnr: f64,
    /// Its audio offset, in samples.
    sound_off: usize,
}

/// A clip and what it has to show.
struct Cut<'a> {
    sources: &'a [(&'a Source, &'a Window)],
    way: Way,
    clip: &'a Path,
    /// The label for failure messages.
    label: String,
}

/// A picture that a clip has to show.
struct Expected<'a> {
    /// When it is shown, and for how long, in microseconds.
    time: i64,
    duration: i64,
    hash: &'a str,
    /// Empty for a copy, whose pictures have the same hash.
    pixels: &'a [u8],
}

/// As [`assert_all_conform`], for one interval.
pub async fn assert_conforms(source: &Source, window: &Window, way: Way, clip: &Path) -> Found {
    assert_all_conform(&[(source, window)], way, clip).await
}

/// Asserts that a clip shows the intervals' pictures at their times, one interval after the other, the copied ones
/// unchanged and the encoded ones similar; that its audio is in place at both ends of each; that time increases in
/// every track; and that it decodes without complaints.
pub async fn assert_all_conform(sources: &[(&Source, &Window)], way: Way, clip: &Path) -> Found {
    let facts: Vec<_> = sources.iter().map(|(_, window)| &window.facts).collect();
    let has_audio = facts.iter().any(|facts| facts.has_audio);
    let cut = Cut {
        sources,
        way,
        clip,
        label: format!("{way:?} of {facts:?}"),
    };
    let Decoded {
        pictures,
        sound,
        remarks,
    } = decode(clip, has_audio);
    let Cut { label, .. } = &cut;
    assert!(
        remarks.is_empty() || way == Way::OpenCopy,
        "{label}: {remarks}"
    );
    let found = Found {
        sound_off: cut.assert_sound_is_in_place(&sound),
        worst_psnr: cut.assert_shows_its_pictures(&pictures),
    };
    cut.assert_facts_are_those_of_the_source().await;
    cut.assert_is_found_whole().await;
    assert_time_goes_on(clip, label);
    found
}

impl Cut<'_> {
    fn facts(&self) -> impl Iterator<Item = &WindowFacts> {
        self.sources.iter().map(|(_, window)| &window.facts)
    }

    fn frames(&self) -> u64 {
        self.facts().map(|facts| facts.frames).sum()
    }

    fn seconds(&self) -> f64 {
        self.facts().map(|facts| facts.duration_seconds).sum()
    }

    /// Each interval with its source, and when it begins in the clip, in microseconds.
    fn intervals(&self) -> Vec<(&Source, &Window, i64)> {
        let (mut intervals, mut begin) = (Vec::new(), 0);
        for (source, window) in self.sources {
            intervals.push((*source, *window, begin));
            let [start, end] = ends(window);
            begin += end - start;
        }
        intervals
    }

    /// Asserts that checking only around every joint, as `verify` does, finds no damage.
    async fn assert_is_found_whole(&self) {
        let checked = check(&load(self.clip), &self.joints()).await;
        assert_eq!(checked, Checked::default(), "{}", self.label);
    }

    /// Where one interval ends and another begins, in seconds of the clip.
    fn joints(&self) -> Vec<f64> {
        let mut end = 0.0;
        let mut joints = Vec::new();
        for facts in self.facts() {
            end += facts.duration_seconds;
            joints.push(end);
        }
        joints.pop();
        joints
    }

    /// Returns the audio offset, in samples.
    fn assert_sound_is_in_place(&self, sound: &[f64]) -> usize {
        let mut sound_off = 0;
        for (source, window, begin) in self.intervals() {
            let heard = usize::try_from(begin).expect("a time") * SAMPLE_RATE / 1_000_000;
            let own = sound.get(heard..).unwrap_or_default();
            sound_off = sound_off.max(source.sound_off(window, own));
        }
        assert!(
            sound_off <= MAX_SOUND_OFF,
            "{}: the sound is off by {sound_off} samples",
            self.label
        );
        sound_off
    }

    fn expected(&self) -> Vec<Expected<'_>> {
        let mut expected = Vec::new();
        for (source, window, begin) in self.intervals() {
            let [start, end] = ends(window);
            let (first, pictures) = (source.first_picture(window), source.pictures_in(window));
            for (index, picture) in pictures.iter().enumerate() {
                let end = pictures.get(index + 1).map_or(end, |next| next.time);
                let time = if index == 0 { start } else { picture.time };
                expected.push(Expected {
                    time: time - start + begin,
                    duration: end - time,
                    hash: &picture.hash,
                    pixels: if self.way.is_copy() {
                        &[]
                    } else {
                        &source.pixels()[first + index]
                    },
                });
            }
        }
        expected
    }

    /// Returns the lowest PSNR of the encoded pictures against the source's, in dB.
    fn assert_shows_its_pictures(&self, shown: &[Picture]) -> f64 {
        let (label, expected) = (&self.label, self.expected());
        assert_eq!(
            (shown.len(), shown.len() as u64),
            (expected.len(), self.frames()),
            "{label}"
        );
        for (shown, expected) in shown.iter().zip(&expected) {
            let (time, wanted) = (shown.time, expected.time);
            assert!(
                (time - wanted).abs() <= TIME_TOLERANCE,
                "{label}: shown at {time} µs, not {wanted}"
            );
        }
        let (mut unchanged, mut others) = (0, Vec::new());
        for (index, (shown, expected)) in shown.iter().zip(&expected).enumerate() {
            if shown.hash == expected.hash {
                unchanged += expected.duration;
            } else {
                others.push((index, expected));
            }
        }
        self.assert_copied(unchanged);
        self.assert_alike(&others)
    }

    /// Asserts that a smart cut has as many unchanged microseconds as it claims to have copied.
    fn assert_copied(&self, unchanged: i64) {
        if let (Way::Smart(facts), label) = (self.way, &self.label) {
            assert!(
                unchanged + 100 >= microseconds(facts.copied_seconds),
                "{label}: {unchanged} µs are unchanged"
            );
            let seconds = facts.copied_seconds + facts.encoded_seconds;
            assert!((seconds - self.seconds()).abs() < 1e-6, "{label}");
        }
    }

    /// Asserts that pictures that are not identical to the source's are similar; each comes with its index in the clip.
    fn assert_alike(&self, others: &[(usize, &Expected)]) -> f64 {
        let label = &self.label;
        let mut worst_psnr = f64::INFINITY;
        if others.is_empty() {
            return worst_psnr;
        }
        assert!(
            !self.way.is_copy(),
            "{label}: picture {} is another",
            others[0].0
        );
        let pixels = self.sources[0].0.pixels_of(self.clip);
        for (index, expected) in others {
            worst_psnr = worst_psnr.min(psnr(&pixels[*index], expected.pixels));
            assert!(
                worst_psnr >= MIN_PSNR,
                "{label}: picture {index} has a PSNR of {worst_psnr} dB"
            );
        }
        worst_psnr
    }

    async fn assert_facts_are_those_of_the_source(&self) {
        let (label, of_source) = (&self.label, &self.sources[0].0.movie.facts.video);
        let delivered = read(&load(self.clip)).await.facts;
        let video = &delivered.video;
        assert_eq!(video.frames, self.frames());
        assert!(
            (video.duration_seconds - self.seconds()).abs() < 1e-4,
            "{label}: {delivered:?}"
        );
        assert_eq!(
            (video.width, video.height),
            (of_source.width, of_source.height),
            "{label}"
        );
        let turned = if self.way == Way::Encode {
            0
        } else {
            of_source.rotation_degrees
        };
        assert_eq!(video.rotation_degrees, turned, "{label}");
        assert!(
            self.way.is_copy() || stored_samples(self.clip) == self.frames(),
            "{label}: more is stored than shown"
        );
    }
}

/// When a window begins and ends in its source, in microseconds.
fn ends(window: &Window) -> [i64; 2] {
    [window.facts.start_seconds, window.facts.end_seconds].map(microseconds)
}

/// How many pictures a clip contains, including hidden ones.
pub fn stored_samples(clip: &Path) -> u64 {
    let moov = super::synthetic::decode_index(&load(clip));
    let runs = &moov.trak[0].mdia.minf.stbl.stts.entries;
    runs.iter().map(|run| u64::from(run.sample_count)).sum()
}

/// Asserts that in every track decode times increase and no two packets are shown at the same time.
fn assert_time_goes_on(clip: &Path, label: &str) {
    let mut tracks: HashMap<String, (Vec<i64>, Vec<i64>)> = HashMap::new();
    for line in probe(clip, "-show_entries packet=stream_index,pts,dts").lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let time = |field: usize| {
            let time = fields[field].parse::<i64>();
            time.unwrap_or_else(|_| panic!("{label}: {line}"))
        };
        let (shown, decoded) = tracks.entry(fields[0].to_owned()).or_default();
        shown.push(time(1));
        decoded.push(time(2));
    }
    for (track, (mut shown, decoded)) in tracks {
        assert!(
            decoded.is_sorted_by(|a, b| a < b),
            "{label}: track {track} is decoded at {decoded:?}"
        );
        shown.sort_unstable();
        assert!(
            shown.is_sorted_by(|a, b| a < b),
            "{label}: track {track} shows two packets at once: {shown:?}"
        );
    }
}

/// What is known about a source that is cut in every way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    /// Why it cannot be smart-cut. From other sources, a good part has to be copied.
    pub unfit: Option<&'static str>,
    /// Whether it is H.264 with open GOPs.
    pub open: bool,
}

/// Cuts a source at the usual intervals in every way, and returns how well the clips conform, one line per way.
pub async fn assert_all_cuts_conform(name: &str, path: &Path, traits: Traits) -> Vec<String> {
    let source = Source::decode(path).await;
    let (mut copies, mut smart_cuts, mut encoded) = (Vec::new(), Vec::new(), Vec::new());
    let mut copied_seconds = 0.0;
    let way = if traits.open {
        Way::OpenCopy
    } else {
        Way::Copy
    };
    for (number, interval) in source.intervals().enumerate() {
        let (window, copy) = source.cut(interval.clone()).await;
        copies.push(assert_conforms(&source, &window, way, &copy).await);
        // Everything slower than copying is done for only half of them.
        if number < source.intervals().count() / 2 {
            continue;
        }
        let clip = encode(&source, &window, &copy).await;
        encoded.push(assert_conforms(&source, &window, Way::Encode, &clip).await);
        if let Some((copied, found)) = assert_smart_cut_conforms(&source, interval, traits).await {
            copied_seconds += copied;
            smart_cuts.push(found);
        }
    }
    assert!(
        traits.unfit.is_some() || copied_seconds > 1.0,
        "{name}: {copied_seconds} s were copied by smart cuts"
    );
    let ways = ["copy", "smart cut", "encode"];
    let found = ways.into_iter().zip([copies, smart_cuts, encoded]);
    found
        .filter(|(_, found)| !found.is_empty())
        .map(|(way, found)| line(name, way, &found))
        .collect()
}

/// Makes a smart cut and returns how many seconds of it were copied; or asserts that none was expected.
async fn assert_smart_cut_conforms(
    source: &Source,
    interval: Range<f64>,
    traits: Traits,
) -> Option<(f64, Found)> {
    match smart_cut(source, interval.clone()).await {
        Ok((window, facts, clip)) => {
            let found = assert_conforms(source, &window, Way::Smart(facts), &clip).await;
            Some((facts.copied_seconds, found))
        }
        Err(why) => {
            let expected = traits.unfit.unwrap_or(NO_KEYFRAME);
            assert!(why.starts_with(expected), "{interval:?}: {why}");
            None
        }
    }
}

fn line(name: &str, way: &str, found: &[Found]) -> String {
    let psnrs = found.iter().map(|found| found.worst_psnr);
    let worst_psnr = psnrs.fold(f64::INFINITY, f64::min);
    let pictures = if worst_psnr.is_finite() {
        format!("{worst_psnr:.1} dB")
    } else {
        "identical".to_owned()
    };
    let samples = found.iter().map(|found| found.sound_off).max().unwrap_or(0);
    let sound_off = samples * 1_000_000 / SAMPLE_RATE;
    let cuts = found.len();
    format!("{name:24} {way:10} {cuts:4} {pictures:>10} {sound_off:6} µs")
}
