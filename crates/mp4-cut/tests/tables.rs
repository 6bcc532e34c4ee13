//! Checks windows of sources with tables of every kind against the tables that they were made from.

#[path = "common/counted.rs"]
mod counted;
#[path = "common/synthetic.rs"]
mod synthetic;

use bytes::Bytes;
use counted::Counted;
use futures_executor::block_on;
use futures_util::TryStreamExt;
use mp4_atom::{ElstEntry, Stbl, StszSamples, Trak};
use mp4_cut::{Movie, Window};
use proptest::{prelude::*, sample::Index};
use std::ops::Range;
use synthetic::{Edit, MOVIE_TIMESCALE, Sample, Shape, Track, decode_index, fill};

/// A sample as stored in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    content: Vec<u8>,
    decode_time: i64,
    time: i64,
    sync: bool,
}

/// A track as stored in a file.
struct StoredTrack {
    timescale: u32,
    samples: Vec<Stored>,
    empty: u64,
    shown: Range<i64>,
}

impl StoredTrack {
    fn of(file: &[u8], movie_timescale: u32, trak: &Trak) -> Self {
        let timescale = trak.mdia.mdhd.timescale;
        let edits = &trak
            .edts
            .as_ref()
            .and_then(|edts| edts.elst.as_ref())
            .expect("an edit list")
            .entries;
        let [
            ..,
            ElstEntry {
                segment_duration,
                media_time: Some(media_time),
                ..
            },
        ] = edits.as_slice()
        else {
            panic!("no edit of media: {edits:?}");
        };
        let length = u128::from(*segment_duration) * u128::from(timescale);
        let start = i64::try_from(*media_time).expect("a time");
        let end = start
            + i64::try_from(
                (length + u128::from(movie_timescale / 2)) / u128::from(movie_timescale),
            )
            .expect("a time");
        let empty = if edits.len() == 2 {
            edits[0].segment_duration
        } else {
            0
        };
        Self {
            timescale,
            samples: Stored::all(file, &trak.mdia.minf.stbl),
            empty,
            shown: start..end,
        }
    }
}

impl Stored {
    fn all(file: &[u8], stbl: &Stbl) -> Vec<Self> {
        let mut durations = stbl
            .stts
            .entries
            .iter()
            .flat_map(|run| vec![run.sample_delta; run.sample_count as usize]);
        let offsets = stbl.ctts.iter().flat_map(|ctts| &ctts.entries);
        let mut offsets =
            offsets.flat_map(|run| vec![run.sample_offset; run.sample_count as usize]);
        let mut sizes = match &stbl.stsz.samples {
            StszSamples::Identical { count, size } => vec![*size; *count as usize],
            StszSamples::Different { sizes } => sizes.clone(),
        }
        .into_iter();
        let chunks: Vec<u64> = match (&stbl.stco, &stbl.co64) {
            (Some(stco), _) => stco
                .entries
                .iter()
                .map(|offset| u64::from(*offset))
                .collect(),
            (_, co64) => co64.as_ref().expect("chunk offsets").entries.clone(),
        };
        let mut samples = Vec::new();
        let mut decode_time = 0;
        for (number, offset) in (1..).zip(chunks) {
            let mut runs = stbl.stsc.entries.iter();
            let run = runs
                .rfind(|run| run.first_chunk <= number)
                .expect("a run for every chunk");
            let mut at = usize::try_from(offset).expect("a small file");
            for _ in 0..run.samples_per_chunk {
                let bytes = sizes.next().expect("a size for every sample") as usize;
                let sample_number = u32::try_from(samples.len() + 1).expect("few samples");
                samples.push(Self {
                    content: file[at..at + bytes].to_vec(),
                    decode_time,
                    time: decode_time + offsets.next().unwrap_or(0),
                    sync: stbl
                        .stss
                        .as_ref()
                        .is_none_or(|stss| stss.entries.contains(&sample_number)),
                });
                decode_time += i64::from(durations.next().expect("a duration for every sample"));
                at += bytes;
            }
        }
        assert_eq!(
            (sizes.next(), durations.next(), offsets.next()),
            (None, None, None),
            "tables of one length"
        );
        samples
    }
}

/// When samples of a source's track are shown, in seconds on the movie's timeline.
struct Presentation {
    times: Vec<i64>,
    /// The offset added to media times.
    shift: f64,
    first: i64,
    timescale: f64,
}

impl Presentation {
    fn of(track: &Track) -> Self {
        let mut decode_time = 0;
        let times = track.samples.iter().map(|sample| {
            let time = decode_time + i64::from(sample.offset);
            decode_time += i64::from(sample.duration);
            time
        });
        let times: Vec<i64> = times.collect();
        let timescale = f64::from(track.timescale);
        let Some(Edit { empty, media_time }) = track.edit else {
            return Self {
                first: *times.iter().min().expect("samples"),
                times,
                shift: 0.0,
                timescale,
            };
        };
        let media_time = i64::try_from(media_time).expect("a time");
        let first = times
            .iter()
            .copied()
            .filter(|time| *time >= media_time)
            .min()
            .expect("a picture that is shown");
        let start = if track.is_video { first } else { media_time };
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let shift = (empty as f64 * timescale / f64::from(MOVIE_TIMESCALE)).round() - start as f64;
        Self {
            times,
            shift,
            first: start.max(if track.is_video { first } else { start }),
            timescale,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn seconds(&self, time: i64) -> f64 {
        (time as f64 + self.shift) / self.timescale
    }
}

prop_compose! {
    fn video()(
        count in 1_usize..50,
        group in 1_usize..12,
        mini_gop in 1_usize..5,
        irregular in any::<bool>(),
        lifted in any::<bool>(),
        timescale in prop::sample::select(vec![25_u32, 600, 15_360, 30_000, 90_000]),
        durations in prop::collection::vec(1_u32..4, 50),
        sizes in prop::collection::vec(4_u32..60, 50),
        samples_per_chunk in 1_u32..6,
        edited in any::<bool>(),
        empty in prop::sample::select(vec![0_u64, 40, 1500]),
    ) -> Track {
        let duration = |index: usize| if irregular { durations[index] * timescale / 25 } else { timescale / 25 };
        // Pictures in display order; in a mini-GOP, the last one is decoded first.
        let mut decode_order = vec![0];
        for first in (1..count).step_by(mini_gop) {
            let last = (first + mini_gop).min(count) - 1;
            decode_order.push(last);
            decode_order.extend(first..last);
        }
        let mut starts = vec![0_i64];
        for index in 0..count {
            starts.push(starts[index] + i64::from(duration(index)));
        }
        let offset = |decoded: usize| starts[decode_order[decoded]] - starts[decoded];
        let lift = if lifted { -(0..count).map(offset).min().unwrap_or(0) } else { 0 };
        let samples = (0..count).map(|decoded| Sample {
            bytes: sizes[decoded],
            duration: duration(decoded),
            offset: i32::try_from(offset(decoded) + lift).expect("a short delay"),
            sync: decode_order[decoded].is_multiple_of(group),
        });
        let edit = Edit { empty, media_time: lift.cast_unsigned() };
        Track { is_video: true, timescale, samples: samples.collect(), samples_per_chunk, edit: edited.then_some(edit) }
    }
}

prop_compose! {
    fn audio()(
        count in 1_usize..200,
        timescale in prop::sample::select(vec![8000_u32, 44_100, 48_000]),
        same in any::<bool>(),
        sizes in prop::collection::vec(4_u32..20, 200),
        samples_per_chunk in 1_u32..9,
        edited in any::<bool>(),
        empty in prop::sample::select(vec![0_u64, 300]),
    ) -> Track {
        let samples = (0..count).map(|index| Sample {
            bytes: if same { 7 } else { sizes[index] },
            duration: 1024,
            offset: 0,
            sync: true,
        });
        let edit = Edit { empty, media_time: if count > 1 { 1024 } else { 0 } };
        Track { is_video: false, timescale, samples: samples.collect(), samples_per_chunk, edit: edited.then_some(edit) }
    }
}

prop_compose! {
    fn shape()(
        video in video(),
        audio in prop::option::of(audio()),
        gap in prop::sample::select(vec![0_u32, 3, 300_000]),
        wide_offsets in any::<bool>(),
    ) -> Shape {
        Shape { tracks: [Some(video), audio].into_iter().flatten().collect(), gap, wide_offsets }
    }
}

fn cut(source: &Counted<Bytes>, movie: &Movie, interval: &Range<f64>) -> (Window, Vec<u8>) {
    let window = movie
        .window(interval.start, interval.end)
        .expect("an interval of the source");
    let before = source.bytes();
    let file = block_on(
        window
            .stream(source, 3)
            .try_fold(Vec::new(), async |whole, part| {
                Ok([whole, part.to_vec()].concat())
            }),
    );
    assert_eq!(source.bytes() - before, window.facts.source_bytes);
    (window, file.expect("the source's bytes"))
}

/// Which samples of the source's track the stored ones are.
fn numbers(stored: &StoredTrack, number: usize, track: &Track) -> Range<usize> {
    let first = &stored.samples.first().expect("samples").content;
    let start = (0..track.samples.len())
        .find(|index| fill(number, *index, track.samples[*index].bytes).eq(first.iter().copied()))
        .expect("a sample of the source");
    for (sample, index) in stored.samples.iter().zip(start..) {
        let expected: Vec<u8> = fill(number, index, track.samples[index].bytes).collect();
        assert_eq!(sample.content, expected, "sample {index} of track {number}");
    }
    start..start + stored.samples.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn window_has_what_its_interval_needs(shape in shape(), index_last in any::<bool>(), from: Index, to: Index) {
        let bytes = if index_last { shape.file_with_index_last() } else { shape.file() };
        let source = Counted::new(Bytes::from(bytes));
        let movie = block_on(Movie::read(&source)).expect("a source that can be cut");
        let index_read = source.bytes();
        prop_assert!(index_read <= movie.facts.index_bytes * 102 / 100 + (256 << 10));

        // An interval from the start of one picture to the start of another, or the end.
        let video = Presentation::of(&shape.tracks[0]);
        let mut boundaries: Vec<i64> = video.times.iter().copied().filter(|time| *time >= video.first).collect();
        boundaries.sort_unstable();
        let shown = boundaries.len();
        let sound = shape.tracks.get(1).map(Presentation::of);
        let sound_start = sound.as_ref().map_or(f64::INFINITY, |sound| sound.seconds(sound.first));
        let origin = video.seconds(video.first).min(sound_start);
        let first = from.index(shown);
        let last = first + to.index(shown - first);
        let start = boundaries[first];
        let end = boundaries.get(last + 1).copied();
        let end_seconds = end.map_or(movie.facts.video.start_seconds + movie.facts.video.duration_seconds, |end| video.seconds(end) - origin);
        let (window, file) = cut(&source, &movie, &(video.seconds(start) - origin..end_seconds));
        prop_assert_eq!(file.len() as u64, window.facts.output_bytes);
        prop_assert_eq!(window.facts.frames, (last + 1 - first) as u64);

        // The pictures: from a keyframe to the last one shown.
        let index = decode_index(&file);
        let pictures = StoredTrack::of(&file, index.mvhd.timescale, &index.trak[0]);
        let kept = numbers(&pictures, 0, &shape.tracks[0]);
        let is_shown = |time: i64| time >= start && end.is_none_or(|end| time < end);
        let shown: Vec<usize> = (0..video.times.len()).filter(|index| is_shown(video.times[*index])).collect();
        let (first_shown, last_shown) = (shown[0], shown[shown.len() - 1]);
        prop_assert_eq!(kept.end, last_shown + 1);
        let is_keyframe = |index: usize| shape.tracks[0].samples[index].sync && video.times[index] <= start;
        let keyframe = (0..=first_shown).rfind(|index| is_keyframe(*index));
        prop_assert_eq!(kept.start, keyframe.unwrap_or(0));
        for (stored, index) in pictures.samples.iter().zip(kept.clone()) {
            prop_assert_eq!(stored.time - pictures.shown.start, video.times[index] - start);
            prop_assert_eq!(stored.sync, shape.tracks[0].samples[index].sync);
            prop_assert!(stored.time >= stored.decode_time);
            prop_assert_eq!(pictures.shown.contains(&stored.time), is_shown(video.times[index]));
        }

        // The audio: all that is heard from start to end, and in sync even without the edit list.
        let Some(sound) = sound else { return Ok(()) };
        let audio = &shape.tracks[1];
        let sound_end = sound.seconds(i64::try_from(audio.samples.len()).expect("few samples") * 1024);
        let heard = (video.seconds(start)).max(sound_start)..(end_seconds + origin).min(sound_end);
        let tick = 1.0 / sound.timescale;
        prop_assert_eq!(window.facts.has_audio, index.trak.len() == 2);
        if heard.end - heard.start < 2.0 * tick {
            return Ok(());
        }
        prop_assert!(window.facts.has_audio);
        let stored = StoredTrack::of(&file, index.mvhd.timescale, &index.trak[1]);
        prop_assert_eq!(stored.timescale, audio.timescale);
        let kept = numbers(&stored, 1, audio);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let seconds = |ticks: i64| ticks as f64 / sound.timescale;
        let source_start = sound.seconds(i64::try_from(kept.start).expect("few samples") * 1024);
        let in_clip = |time: f64| time - video.seconds(start);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let empty = stored.empty as f64 / f64::from(index.mvhd.timescale);
        prop_assert!((in_clip(heard.start) - empty).abs() <= tick, "{} {empty}", in_clip(heard.start));
        prop_assert!((source_start + seconds(stored.shown.start) - heard.start).abs() <= tick);
        prop_assert!((source_start + seconds(stored.shown.end) - heard.end).abs() <= 2.0 * tick);
        prop_assert!(stored.shown.end <= i64::try_from(kept.len()).expect("few samples") * 1024 + 1);
        prop_assert!(kept.start == 0 || stored.shown.start >= 1024, "a sample of pre-roll");
        // Without edit lists, pictures begin after the keyframe's delay, and audio begins at once.
        let media_start = video.seconds(video.times[kept_keyframe(&pictures, &video, start)]) ;
        let keyframe_delay = pictures.samples[0].time;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let off = source_start - (media_start - keyframe_delay as f64 / video.timescale);
        prop_assert!(kept.start == 0 || (-2.0 * seconds(1024)..=seconds(512) + tick).contains(&off), "{off}");
    }
}

/// The number of the first stored picture.
fn kept_keyframe(pictures: &StoredTrack, video: &Presentation, start: i64) -> usize {
    let time = pictures.samples[0].time - pictures.shown.start + start;
    video
        .times
        .iter()
        .position(|candidate| *candidate == time)
        .expect("a picture of the source")
}

#[test]
fn interval_whose_keyframe_has_no_bytes_is_refused_by_name() {
    let sample = |index: u32| Sample {
        bytes: if index == 4 { 0 } else { 9 },
        duration: 1,
        offset: 0,
        sync: index.is_multiple_of(4),
    };
    let video = Track {
        is_video: true,
        timescale: 1,
        samples: (0..12).map(sample).collect(),
        samples_per_chunk: 2,
        edit: None,
    };
    let shape = Shape {
        tracks: vec![video],
        gap: 0,
        wide_offsets: false,
    };
    let movie = block_on(Movie::read(&Bytes::from(shape.file()))).expect("a source");
    for (start, end) in [(0.0, 6.0), (8.0, 12.0)] {
        movie.window(start, end).expect("a keyframe of some bytes");
    }
    for (start, end) in [(4.0, 6.0), (5.0, 10.0)] {
        let error = movie.window(start, end).expect_err("nothing decodes");
        let wanted = "the keyframe at 4.000 s, which decoding begins with, has no bytes";
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn sound_whose_samples_have_no_bytes_is_none() {
    let track = |is_video: bool, bytes: [u32; 5]| Track {
        is_video,
        timescale: 10,
        samples: bytes
            .map(|bytes| Sample {
                bytes,
                duration: 10,
                offset: 0,
                sync: true,
            })
            .into(),
        samples_per_chunk: 2,
        edit: None,
    };
    // A window includes one sample before it.
    for (bytes, has_audio) in [([0, 0, 0, 0, 9], false), ([0, 0, 9, 0, 9], true)] {
        let shape = Shape {
            tracks: vec![track(true, [9; 5]), track(false, bytes)],
            gap: 0,
            wide_offsets: false,
        };
        let movie = block_on(Movie::read(&Bytes::from(shape.file()))).expect("a source");
        let window = movie.window(1.0, 3.0).expect("an interval");
        assert_eq!(window.facts.has_audio, has_audio, "{bytes:?}");
    }
}

#[test]
fn window_of_what_is_shown_begins_with_the_frame_that_is_shown_then() {
    let durations = [2, 10, 1, 3];
    let samples = durations.iter().map(|duration| Sample {
        bytes: 9,
        duration: *duration,
        offset: 0,
        sync: true,
    });
    let video = Track {
        is_video: true,
        timescale: 1,
        samples: samples.collect(),
        samples_per_chunk: 2,
        edit: None,
    };
    let shape = Shape {
        tracks: vec![video],
        gap: 0,
        wide_offsets: false,
    };
    let movie = block_on(Movie::read(&Bytes::from(shape.file()))).expect("a source");
    for (from, to, start, end) in [
        (0.0, 0.0, 0.0, 2.0),
        (1.9, 1.9, 0.0, 2.0),
        (2.0, 2.0, 2.0, 12.0),
        (11.9, 12.0, 2.0, 12.0),
        (11.9, 12.1, 2.0, 13.0),
        (3.0, 20.0, 2.0, 16.0),
        (15.9, 15.9, 13.0, 16.0),
        (99.0, 99.0, 13.0, 16.0),
    ] {
        let facts = movie.window_shown(from, to).expect("a window").facts;
        assert_eq!(
            (facts.start_seconds, facts.end_seconds),
            (start, end),
            "{from} to {to}"
        );
    }
}
