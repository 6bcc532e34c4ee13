//! Compares what is seen and heard of a clip with what it has to show.

use crate::common::ffmpeg::{Picture, probe, read_pictures, words};
use std::{
    fmt,
    ops::Range,
    path::Path,
    process::{self},
};

/// The size in which pictures are compared. All are scaled to it, whatever their shape.
const SIZE: (usize, usize) = (80, 45);
/// Audio is compared at this many samples per second, in one channel.
const RATE: usize = 8000;
/// The length of the audio pieces that are compared, in samples: 50 ms.
const PIECE: usize = RATE / 20;
/// The distance between pieces of audio, in seconds.
const STEP: f64 = 0.2;
/// The largest audio offset that is searched, in samples: 0.6 s.
const MAX_LAG: usize = RATE * 6 / 10;
/// An imperceptible offset, in seconds, for audio against its pictures, and for pictures against their time.
const UNHEARD: f64 = 0.005;
/// The largest mean squared error of encoded pictures: 30 dB.
const MAX_ERROR: f64 = 65.0;
/// By how much a clip may be longer, in seconds: rounding in the container, and an audio packet that extends beyond the
/// last picture.
const LONGER: f64 = 0.03;

/// A picture that is shown.
struct Seen {
    /// Seconds.
    time: f64,
    pixels: Vec<u8>,
}

/// What `FFmpeg` plays of a file.
pub struct Played {
    pictures: Vec<Seen>,
    sound: Vec<f32>,
    has_sound: bool,
    /// Whether a decoder complains.
    complains: bool,
}

impl Played {
    /// Plays a source. Second 0 is its start, whatever its timestamps are.
    pub fn source(path: &Path) -> Self {
        Self::of(path, &[])
    }

    /// Plays a clip with its own timestamps.
    pub fn clip(path: &Path) -> Self {
        Self::of(path, &["-copyts"])
    }

    #[expect(clippy::cast_precision_loss, reason = "times of a few minutes")]
    fn of(path: &Path, input: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [times, pixels, sound] =
            ["times", "pixels", "sound"].map(|name| folder.path().join(name));
        let streams = probe(path, "-show_entries stream=codec_type");
        let has_sound = streams.lines().any(|kind| kind.starts_with("audio"));
        let mut command = process::Command::new("ffmpeg");
        command.args(words("-nostdin -hide_banner -v warning"));
        command.args(input).arg("-i").arg(path);
        let shown = "-map 0:V:0 -fps_mode passthrough";
        command
            .args(words(&format!(
                "{shown} -enc_time_base:v demux -f framemd5"
            )))
            .arg(&times);
        let (width, height) = SIZE;
        let scale = format!("scale={width}:{height}:flags=area,format=gray");
        command
            .args(words(&format!("{shown} -vf {scale} -f rawvideo")))
            .arg(&pixels);
        if has_sound {
            command.args(words(SOUND)).arg(&sound);
        }
        let output = command.output().expect("ffmpeg on the PATH");
        let read = |path| std::fs::read(path).unwrap_or_default();
        let pixels = read(pixels);
        let listed = read_pictures(&read(times));
        let seen = listed.iter().zip(pixels.chunks_exact(width * height));
        let sound = read(sound);
        Self {
            pictures: seen
                .map(|(Picture { time, .. }, pixels)| Seen {
                    time: *time as f64 / 1e6,
                    pixels: pixels.to_vec(),
                })
                .collect(),
            sound: sound
                .as_chunks()
                .0
                .iter()
                .map(|sample| f32::from(i16::from_le_bytes(*sample)))
                .collect(),
            has_sound,
            complains: complains(&String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// When its last picture ends, assuming that it is shown for as long as the one before.
    fn end(&self) -> f64 {
        match &self.pictures[..] {
            [.., before, last] => 2.0 * last.time - before.time,
            _ => 0.0,
        }
    }
}

/// Output options for audio in its place, low-pass filtered so that a fraction of a sample makes no difference.
const SOUND: &str = "-map 0:a:0 -af aresample=async=1:min_hard_comp=0.002:first_pts=0,lowpass=f=600 -ac 1 -ar 8000 -f s16le";

/// Whether a decoder complains. The filter that scales full-range pictures for us does not count.
fn complains(remarks: &str) -> bool {
    let is_ours = |line: &&str| line.contains("deprecated pixel format used");
    remarks.lines().any(|line| !is_ours(&line))
}

/// Pictures of a source, one after the other.
#[derive(Debug, Clone)]
pub struct Interval {
    pub source: usize,
    pub shows: Range<usize>,
    /// When the interval begins, in seconds, if that is within its first picture.
    pub begins: Option<f64>,
}

/// What a clip has to show.
pub struct Expected {
    sources: Vec<Played>,
    /// The source and number of each picture, and when the clip shows it.
    pictures: Vec<(Place, f64)>,
    seconds: f64,
    begins: Option<f64>,
}

/// A picture of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    source: usize,
    number: usize,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pictures, seconds) = (self.pictures.len(), self.seconds);
        let s = if pictures == 1 { "" } else { "s" };
        write!(f, "{pictures} picture{s}, {seconds:.2} s")
    }
}

/// What a clip shows.
struct Shown {
    /// Which pictures of sources it shows, and when, in seconds.
    pictures: Vec<(Place, f64)>,
    /// How many of them differ from the source.
    damaged: usize,
}

impl Expected {
    /// The intervals of sources, one after the other.
    pub fn of(sources: Vec<Played>, intervals: Vec<Interval>) -> Self {
        let (mut pictures, mut end) = (Vec::new(), 0.0);
        let begins = intervals[0].begins;
        for interval in intervals {
            let played = &sources[interval.source];
            let time = |number: usize| match played.pictures.get(number) {
                Some(picture) => picture.time,
                None => played.end(),
            };
            let start = interval.begins.unwrap_or(time(interval.shows.start));
            for number in interval.shows.clone() {
                let place = Place {
                    source: interval.source,
                    number,
                };
                pictures.push((place, end + (time(number) - start).max(0.0)));
            }
            end += time(interval.shows.end) - start;
        }
        Self {
            sources,
            pictures,
            seconds: end,
            begins,
        }
    }

    /// What is wrong with a clip; empty if nothing is.
    pub fn faults(&self, clip: &Path) -> Vec<String> {
        let played = Played::clip(clip);
        let shown = self.shown(&played);
        let mut faults = self.wrong_pictures(&shown);
        if shown.damaged > 0 {
            faults.push(format!(
                "{} are not as in the source",
                pictures(shown.damaged)
            ));
        }
        faults.extend(self.wrong_times(&shown));
        faults.extend(hidden(clip));
        faults.extend(self.wrong_sound(&played, &shown));
        faults.extend(self.wrong_duration(clip, faults.is_empty()));
        if played.complains {
            faults.push("a decoder complains".to_owned());
        }
        faults
    }

    /// Finds which pictures are shown.
    fn shown(&self, played: &Played) -> Shown {
        let (mut pictures, mut damaged) = (Vec::<(Place, f64)>::new(), 0);
        for seen in &played.pictures {
            let next = match pictures.last() {
                Some((last, _)) => {
                    let expected = self.pictures.iter().position(|(place, _)| place == last);
                    let follows = expected.and_then(|index| self.pictures.get(index + 1));
                    follows.map(|(place, _)| *place)
                }
                None => self.pictures.first().map(|(place, _)| *place),
            };
            let (place, error) = self.find(seen, next);
            damaged += usize::from(error > MAX_ERROR);
            pictures.push((place, seen.time));
        }
        Shown { pictures, damaged }
    }

    /// The picture most like `seen`, which is probably `next`, and how much they differ.
    fn find(&self, seen: &Seen, next: Option<Place>) -> (Place, f64) {
        let of = |place: Place| &self.sources[place.source].pictures[place.number].pixels;
        let mut best = (
            Place {
                source: 0,
                number: 0,
            },
            f64::INFINITY,
        );
        if let Some(next) = next {
            best = (next, error(&seen.pixels, of(next), f64::INFINITY));
            if best.1 < MAX_ERROR {
                return best;
            }
        }
        for (source, played) in self.sources.iter().enumerate() {
            for number in 0..played.pictures.len() {
                let place = Place { source, number };
                let error = error(&seen.pixels, of(place), best.1);
                if error < best.1 {
                    best = (place, error);
                }
            }
        }
        best
    }

    fn time_of(&self, place: Place) -> f64 {
        self.sources[place.source].pictures[place.number].time
    }

    /// Pictures that are wrongly shown, or missing.
    fn wrong_pictures(&self, shown: &Shown) -> Vec<String> {
        let is_expected = |place: &Place| self.pictures.iter().any(|(other, _)| other == place);
        let is_shown = |place: &Place| shown.pictures.iter().any(|(other, _)| other == place);
        let places: Vec<_> = shown.pictures.iter().map(|(place, _)| *place).collect();
        let Some(first) = places.iter().position(is_expected) else {
            return vec!["shows none of its pictures".to_owned()];
        };
        let last = places.iter().rposition(is_expected).unwrap_or(first);
        let mut faults = Vec::new();
        let mut add = |count: usize, what: &str| {
            if count > 0 {
                faults.push(what.replace('#', &pictures(count)));
            }
        };
        add(first, "begins with # from before the cut");
        add(places.len() - 1 - last, "ends with # from behind the cut");
        let within = &places[first..=last];
        let others = within.iter().filter(|place| !is_expected(place)).count();
        add(others, "shows # that were cut off");
        let expected: Vec<_> = self.pictures.iter().map(|(place, _)| *place).collect();
        let missing = |places: &mut dyn Iterator<Item = &Place>| {
            places.take_while(|place| !is_shown(place)).count()
        };
        let at_start = missing(&mut expected.iter());
        let at_end = missing(&mut expected.iter().rev());
        let all = expected.iter().filter(|place| !is_shown(place)).count();
        add(at_start, "lacks # at its start");
        add(at_end, "lacks # at its end");
        add(all - at_start - at_end, "lacks # within");
        let twice = within.windows(2).filter(|pair| pair[0] == pair[1]).count();
        add(twice, "shows # twice");
        faults
    }

    /// Pictures that are shown at the wrong time.
    fn wrong_times(&self, shown: &Shown) -> Vec<String> {
        let mut faults = Vec::new();
        let Some((_, first)) = shown.pictures.first() else {
            return faults;
        };
        if *first > 0.02 {
            faults.push(format!("shows nothing for its first {first:.2} s"));
        }
        let due = |place: &Place| {
            let expected = self.pictures.iter().find(|(other, _)| other == place);
            expected.map(|(_, time)| *time)
        };
        let late = |(place, time): &(Place, f64)| due(place).map(|due| time - due);
        let mut late_by = shown.pictures.iter().filter_map(late);
        let begin = late_by.next().unwrap_or(0.0);
        let off = late_by.map(|by| (by - begin).abs()).fold(0.0, f64::max);
        if off > UNHEARD {
            faults.push(format!(
                "shows pictures up to {:.0} ms beside their time",
                off * 1000.0
            ));
        }
        faults
    }

    /// Whether the container's duration is wrong.
    fn wrong_duration(&self, clip: &Path, is_right: bool) -> Option<String> {
        let said = probe(clip, "-show_entries format=duration");
        let seconds: f64 = said.trim().parse().unwrap_or(0.0);
        let is_off = (seconds - self.seconds).abs() > LONGER;
        (is_right && is_off).then(|| format!("lasts {seconds:.2} s instead of {:.2}", self.seconds))
    }

    /// Audio that is out of sync with its pictures, or missing.
    fn wrong_sound(&self, played: &Played, shown: &Shown) -> Vec<String> {
        if !self.sources[0].has_sound {
            return Vec::new();
        }
        if !played.has_sound {
            return vec!["has no sound".to_owned()];
        }
        let (mut off, mut silent, mut foreign) = (0.0_f64, 0, 0);
        let mut time = 0.05;
        while time + 0.1 < self.seconds {
            match self.heard(time, played, shown) {
                Some(Heard::Off(seconds)) => off = off.max(seconds),
                Some(Heard::Nothing) => silent += 1,
                Some(Heard::Other) => foreign += 1,
                None => {}
            }
            time += STEP;
        }
        let mut faults = Vec::new();
        if off > UNHEARD {
            faults.push(format!("its sound is up to {:.0} ms off", off * 1000.0));
        }
        let seconds = |places: u32| f64::from(places) * STEP;
        if silent > 0 {
            faults.push(format!(
                "about {:.1} s of its sound are missing",
                seconds(silent)
            ));
        }
        if foreign > 0 {
            faults.push(format!(
                "about {:.1} s of its sound are others",
                seconds(foreign)
            ));
        }
        faults
    }

    /// What is heard at a time of the clip.
    fn heard(&self, time: f64, played: &Played, shown: &Shown) -> Option<Heard> {
        let (at, later) = (at(shown, time)?, at(shown, time + 0.06)?);
        let place = |index: usize| shown.pictures[index].0;
        let source_time = |time: f64, index: usize| {
            let (place, shown_at) = shown.pictures[index];
            let begins = self.begins.filter(|_| place == self.pictures[0].0);
            begins.unwrap_or(self.time_of(place)) + time - shown_at
        };
        let from = source_time(time, at);
        // Not across a joint.
        let goes_on = (source_time(time + 0.06, later) - from - 0.06).abs() < 0.02;
        if place(at).source != place(later).source || !goes_on {
            return None;
        }
        let own = &self.sources[place(at).source].sound;
        let wanted = own.get(sample(from)..sample(from) + PIECE)?;
        if level(wanted) < 50.0 {
            return None;
        }
        let begin = sample(time);
        let is_there = played
            .sound
            .get(begin..begin + PIECE)
            .is_some_and(|heard| level(heard) > 20.0);
        Some(match lag(wanted, &played.sound, begin) {
            _ if !is_there => Heard::Nothing,
            Some(samples) => Heard::Off(seconds_of(samples)),
            None => Heard::Other,
        })
    }
}

/// What is heard at a place.
enum Heard {
    /// The right audio, off by this many seconds.
    Off(f64),
    Nothing,
    Other,
}

/// Which picture is shown at a time.
fn at(shown: &Shown, time: f64) -> Option<usize> {
    let behind = shown.pictures.partition_point(|(_, from)| *from <= time);
    behind.checked_sub(1)
}

/// Says how many pictures a player that ignores edit lists shows from before the cut.
fn hidden(clip: &Path) -> Option<String> {
    let flags = probe(clip, "-select_streams V:0 -show_entries packet=flags");
    let hidden = flags.lines().filter(|flags| flags.contains('D')).count();
    (hidden > 0).then(|| {
        format!(
            "players that ignore edit lists show {} from before the cut",
            pictures(hidden)
        )
    })
}

fn pictures(count: usize) -> String {
    if count == 1 {
        "1 picture".to_owned()
    } else {
        format!("{count} pictures")
    }
}

/// The mean squared error, or any value above `limit`.
#[expect(clippy::cast_precision_loss, reason = "a picture has few pixels")]
fn error(a: &[u8], b: &[u8], limit: f64) -> f64 {
    let mut sum = 0;
    for (a, b) in a.chunks(SIZE.0).zip(b.chunks(SIZE.0)) {
        for (a, b) in a.iter().zip(b) {
            sum += u64::from(a.abs_diff(*b)).pow(2);
        }
        if sum as f64 / (SIZE.0 * SIZE.1) as f64 > limit {
            break;
        }
    }
    sum as f64 / (SIZE.0 * SIZE.1) as f64
}

/// The offset, in samples, at which a piece that should begin at `begin` is found in `sound`; `None` if it is not.
fn lag(piece: &[f32], sound: &[f32], begin: usize) -> Option<usize> {
    let (mut nearest, mut least) = (
        None,
        piece.iter().map(|sample| sample.abs()).sum::<f32>() / 2.0,
    );
    for lag in 0..=MAX_LAG {
        for from in [begin.checked_sub(lag), Some(begin + lag)]
            .into_iter()
            .flatten()
        {
            let Some(other) = sound.get(from..from + piece.len()) else {
                continue;
            };
            if let Some(distance) = distance_below(least, piece, other) {
                (nearest, least) = (Some(lag), distance);
            }
        }
    }
    nearest
}

fn distance_below(limit: f32, a: &[f32], b: &[f32]) -> Option<f32> {
    let mut distance = 0.0;
    for (a, b) in a.iter().zip(b) {
        distance += (a - b).abs();
        if distance >= limit {
            return None;
        }
    }
    Some(distance)
}

/// How loud sound is, on average.
#[expect(clippy::cast_precision_loss, reason = "few samples")]
fn level(sound: &[f32]) -> f32 {
    sound.iter().map(|sample| sample.abs()).sum::<f32>() / sound.len().max(1) as f32
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times of a few minutes"
)]
fn sample(seconds: f64) -> usize {
    (seconds * RATE as f64).round() as usize
}

#[expect(clippy::cast_precision_loss, reason = "few samples")]
fn seconds_of(samples: usize) -> f64 {
    samples as f64 / RATE as f64
}
