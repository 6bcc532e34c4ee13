//! Truncated, damaged or hostile sources are rejected with a named error, without a panic and within bounded memory.
//! Also checks the memory that a long source takes.

#[path = "../../../mp4-cut/tests/common/boxes.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod boxes;
#[path = "../common/ffmpeg.rs"]
#[allow(dead_code, reason = "its other half is for tests of what is decoded")]
mod ffmpeg;
#[path = "../common/property.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod property;
#[path = "../../../mp4-cut/tests/common/synthetic.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod synthetic;
#[path = "../../../mp4-cut/tests/common/ways.rs"]
mod ways;

use bytes::Bytes;
use ffmpeg::{Folder, load, pictures, sound, words};
use futures::{TryStreamExt, executor::block_on};
use model::{ClipError, ErrorKind};
use mp4_atom::{Encode, FourCC, Sbgp, SbgpEntry};
use mp4_cut::{Movie, io::RangeRead};
use peak_alloc::PeakAlloc;
use property::check;
use proptest::{prelude::*, sample::Index};
use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use synthetic::{Edit, Sample, Shape, Track, decode_index};
use ways::cut_in_every_way;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Allocations are counted for the whole process, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The peak of memory that `work` allocates in addition to what was allocated before.
fn peak_bytes(work: impl FnOnce()) -> usize {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    work();
    ALLOCATOR.peak_usage().saturating_sub(before)
}

/// A source of `seconds` with 30 frames per second, a keyframe every two seconds, and audio.
fn source(seconds: u32, frame_bytes: u32) -> Shape {
    let frames = (0..seconds * 30).map(|index| Sample {
        bytes: frame_bytes + index % 7,
        duration: 512,
        // Every third picture is decoded before the two that are shown before it.
        offset: [1024, 1536, 0][index as usize % 3],
        sync: index % 60 == 0,
    });
    let sounds = (0..seconds * 48_000 / 1024).map(|index| Sample {
        bytes: 300 + index % 5,
        duration: 1024,
        offset: 0,
        sync: true,
    });
    let video = Track {
        is_video: true,
        timescale: 15_360,
        samples: frames.collect(),
        samples_per_chunk: 1,
        edit: Some(Edit {
            empty: 0,
            media_time: 1024,
        }),
    };
    let audio = Track {
        is_video: false,
        timescale: 48_000,
        samples: sounds.collect(),
        samples_per_chunk: 2,
        edit: Some(Edit {
            empty: 10,
            media_time: 1024,
        }),
    };
    Shape {
        tracks: vec![video, audio],
        gap: 0,
        wide_offsets: true,
    }
}

/// Reads a source, cuts it, and reads the clip.
fn cut(source: &impl RangeRead, interval: Range<f64>) -> Result<(), ClipError> {
    block_on(async {
        let window = Movie::read(source)
            .await?
            .window(interval.start, interval.end)?;
        let mut bytes = 0;
        let mut stream = std::pin::pin!(window.stream(source, 4));
        while let Some(part) = stream.try_next().await? {
            bytes += part.len() as u64;
        }
        assert_eq!(bytes, window.facts.output_bytes);
        Ok(())
    })
}

#[test]
fn source_cut_short_anywhere_is_rejected() {
    let _alone = alone();
    let shape = source(4, 40);
    for file in [shape.file(), shape.file_with_index_last()] {
        assert_eq!(cut(&Bytes::from(file.clone()), 1.0..2.0), Ok(()));
        let mut boundaries = Vec::new();
        boxes::boundaries(&file, 0, &mut boundaries);
        assert!(boundaries.len() > 100);
        let near = boundaries
            .iter()
            .flat_map(|at| at.saturating_sub(1)..=at + 1)
            .filter(|at| *at < file.len());
        for length in near {
            let error = cut(&Bytes::copy_from_slice(&file[..length]), 1.0..2.0)
                .expect_err("a file that is cut short");
            assert_eq!(
                error.kind,
                ErrorKind::UnsupportedMedia,
                "{length} bytes: {error}"
            );
        }
    }
}

#[test]
fn index_that_names_media_beyond_the_end_says_so() {
    let _alone = alone();
    let file = source(4, 40).file();
    let error = cut(&Bytes::copy_from_slice(&file[..file.len() - 1]), 0.0..1.0)
        .expect_err("a file that is cut short");
    assert!(error.message.contains("cut short"), "{error}");
}

/// An extreme value, a small one, or any.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(2),
        Just(u32::MAX),
        Just(i32::MAX.cast_unsigned()),
        0_u32..300,
        any::<u32>()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn damaged_index_neither_panics_nor_takes_memory(
        bytes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..6),
        numbers in prop::collection::vec((any::<Index>(), number()), 0..4),
        index_last: bool,
        start in 0.0..4.0,
        length in 0.0..4.0,
    ) {
        let _alone = alone();
        let shape = source(4, 40);
        let mut file = if index_last { shape.file_with_index_last() } else { shape.file() };
        let mut boundaries = Vec::new();
        boxes::boundaries(&file, 0, &mut boundaries);
        let index_bytes = shape.head().0.len();
        let index_start = if index_last { file.len() - index_bytes } else { 0 };
        for (at, value) in bytes {
            file[index_start + at.index(index_bytes)] = value;
        }
        for (at, value) in numbers {
            // Headers and the first fields of boxes decide most.
            let at = boundaries[at.index(boundaries.len())];
            if let Some(field) = file.get_mut(at..at + 4) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        }
        let file = Bytes::from(file);
        let peak = peak_bytes(|| {
            if let Err(error) = cut(&file, start..start + length) {
                assert_ne!(error.kind, ErrorKind::Internal, "{error}");
            }
        });
        prop_assert!(peak < 2 << 20, "{peak} bytes");
    }
}

/// A change to a file; places are fractions of its index.
#[derive(Debug, Clone)]
enum Mutation {
    Byte(Index, u8),
    Number(Index, u32),
    /// A field at the beginning of a box.
    Field(Index, u32),
    /// Some bytes are removed, or duplicated.
    Remove(Index, u8),
    Repeat(Index, u8),
    /// The file is truncated.
    End(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Mutation::Byte(at, value)),
        3 => (any::<Index>(), number()).prop_map(|(at, value)| Mutation::Number(at, value)),
        6 => (any::<Index>(), number()).prop_map(|(at, value)| Mutation::Field(at, value)),
        1 => (any::<Index>(), 1_u8..).prop_map(|(at, length)| Mutation::Remove(at, length)),
        1 => (any::<Index>(), 1_u8..).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        1 => any::<Index>().prop_map(Mutation::End),
    ]
}

impl Mutation {
    fn apply(&self, file: &mut Vec<u8>, index: &Range<usize>, boundaries: &[usize]) {
        let place = |at: &Index| index.start + at.index(index.len());
        let span = |at: &Index, length: u8, file: &[u8]| {
            let start = place(at).min(file.len());
            start..(start + usize::from(length)).min(file.len())
        };
        let mut write = |at: usize, bytes: &[u8]| {
            if let Some(field) = file.get_mut(at..at + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        };
        match self {
            Self::Byte(at, value) => write(place(at), &[*value]),
            Self::Number(at, value) => write(place(at), &value.to_be_bytes()),
            Self::Field(at, value) => {
                write(boundaries[at.index(boundaries.len())], &value.to_be_bytes());
            }
            Self::Remove(at, length) => drop(file.drain(span(at, *length, file))),
            Self::Repeat(at, length) => {
                let span = span(at, *length, file);
                let again = file[span.clone()].to_vec();
                file.splice(span.start..span.start, again);
            }
            Self::End(at) => file.truncate(place(at)),
        }
    }
}

/// Files as encoders write them: index first or last, B-frames, edit lists, several sample tables.
fn seeds() -> Vec<Bytes> {
    let folder = Folder::new();
    let h264 = words("-c:v libx264 -preset ultrafast -crf 40 -g 10 -bf 2 -s 64x36");
    let variants = [
        ("seed.mp4", "-c:a aac -movflags +faststart"),
        ("seed.mov", "-c:a pcm_s16le -output_ts_offset 1"),
        (
            "seed.mp4",
            "-an -color_primaries bt709 -aspect 4:3 -movflags +negative_cts_offsets",
        ),
        (
            "seed.mp4",
            "-c:v libx265 -x265-params log-level=error -c:a libopus -timecode 01:00:00:00",
        ),
        (
            "seed.mp4",
            "-c:a aac -movflags +dash+delay_moov+skip_trailer",
        ),
        ("seed.mp4", "-c:a aac -movflags +frag_keyframe+delay_moov"),
    ];
    let build = |(name, options): (&str, &str)| {
        load(&folder.build(
            name,
            &[pictures("25", 1), sound(1), h264.clone(), words(options)],
        ))
    };
    variants.map(build).to_vec()
}

#[test]
fn mutated_files_are_cut_or_rejected_in_bounded_time_and_memory() {
    let _alone = alone();
    let seeds = seeds();
    let indexes: Vec<(Range<usize>, Vec<usize>)> = seeds
        .iter()
        .map(|seed| {
            let moov = boxes::first(seed, *b"moov");
            // Fragments have their own indexes.
            let end = if seed.windows(4).any(|bytes| bytes == b"moof") {
                seed.len()
            } else {
                moov + boxes::size(seed, moov)
            };
            let mut boundaries = Vec::new();
            boxes::boundaries(&seed[moov..end], moov, &mut boundaries);
            (moov..end, boundaries)
        })
        .collect();
    let case = |(seed, mutations, start, length): (Index, Vec<Mutation>, f64, f64)| {
        let seed = seed.index(seeds.len());
        let mut file = seeds[seed].to_vec();
        let (index, boundaries) = &indexes[seed];
        for mutation in &mutations {
            mutation.apply(&mut file, index, boundaries);
        }
        let file = Bytes::from(file);
        let begun = Instant::now();
        let peak = peak_bytes(|| drop(cut_in_every_way(&file, start..start + length)));
        prop_assert!(peak < 4 << 20, "{peak} bytes");
        prop_assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        Ok(())
    };
    let strategy = (
        any::<Index>(),
        prop::collection::vec(mutation(), 1..8),
        0.0..1.0,
        0.0..1.0,
    );
    check(&ProptestConfig::with_cases(500), &strategy, case);
}

/// A source whose samples are zeros, and so take no memory.
struct Hollow {
    head: Bytes,
    length: u64,
}

impl RangeRead for Hollow {
    fn len(&self) -> u64 {
        self.length
    }

    async fn read(&self, range: Range<u64>) -> mp4_cut::Result<Bytes> {
        let head = Bytes::len(&self.head) as u64;
        if range.end <= head {
            return self.head.read(range).await;
        }
        let length = |range: Range<u64>| {
            usize::try_from(range.end.saturating_sub(range.start)).expect("a short part")
        };
        let mut part = vec![0; length(range.clone())];
        let known = self.head.read(range.start.min(head)..head).await?;
        part[..known.len()].copy_from_slice(&known);
        Ok(part.into())
    }
}

/// An hour of more than 4 GiB.
fn hour() -> Hollow {
    let (head, media) = source(3600, 45_000).head();
    let hour = Hollow {
        length: head.len() as u64 + media,
        head: head.into(),
    };
    assert!(hour.length > 4 << 30);
    hour
}

#[test]
fn clip_of_more_than_four_gibibytes_has_wide_offsets() {
    let _alone = alone();
    let hour = hour();
    let first_bytes = |interval: Range<f64>| {
        block_on(async {
            let window = Movie::read(&hour)
                .await?
                .window(interval.start, interval.end)?;
            let mut stream = std::pin::pin!(window.stream(&hour, 1));
            Ok::<_, ClipError>((
                stream.try_next().await?.expect("an index"),
                window.facts.output_bytes,
            ))
        })
    };
    for (interval, wide) in [(0.0..3590.0, true), (0.0..10.0, false)] {
        let (head, length) = first_bytes(interval).expect("an interval of the source");
        let stbl = &decode_index(&head).trak[0].mdia.minf.stbl;
        assert_eq!((stbl.co64.is_some(), stbl.stco.is_some()), (wide, !wide));
        let first_sample = match (&stbl.co64, &stbl.stco) {
            (Some(co64), _) => co64.entries[0],
            (_, stco) => stco.as_ref().expect("chunk offsets").entries[0].into(),
        };
        assert_eq!(first_sample, head.len() as u64);
        let media_header = if wide { 16 } else { 8 };
        let size = &head[head.len() - media_header..];
        if wide {
            assert_eq!(
                (&size[..8], &size[8..]),
                (
                    &b"\0\0\0\x01mdat"[..],
                    &(length - first_sample + 16).to_be_bytes()[..]
                )
            );
        } else {
            let size = u32::from_be_bytes(*size.first_chunk().expect("a box"));
            assert_eq!(u64::from(size), length - first_sample + 8);
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_clip() {
    let _alone = alone();
    let hour = hour();
    for interval in [1800.0..1810.0, 0.0..3599.0] {
        let peak = peak_bytes(|| assert_eq!(cut(&hour, interval.clone()), Ok(())));
        // The tables of one hour: as read, as chosen and as written.
        assert!(peak < 40 << 20, "{interval:?} takes {peak} bytes");
    }
}

#[test]
fn groups_of_samples_take_no_more_memory_for_being_repeated() {
    let _alone = alone();
    let file = source(60, 40).file_with_index_last();
    let mut index = decode_index(&file);
    let start = boxes::last(&file, *b"moov");
    let entries = vec![SbgpEntry {
        sample_count: u32::MAX,
        group_description_index: 1,
    }];
    let group = Sbgp {
        grouping_type: FourCC::new(b"rap "),
        grouping_type_parameter: None,
        entries,
    };
    index.trak[0].mdia.minf.stbl.sbgp = vec![group; 2000];
    let mut file = file[..start].to_vec();
    index.encode(&mut file).expect("an index");
    let file = Bytes::from(file);
    let peak = peak_bytes(|| assert_eq!(cut(&file, 1.0..2.0), Ok(())));
    assert!(peak < 2 << 20, "{peak} bytes");
}

#[test]
fn late_sound_that_begins_with_samples_of_no_duration_is_cut() {
    let _alone = alone();
    let mut shape = source(4, 40);
    let sound = &mut shape.tracks[1];
    sound.edit = Some(Edit {
        empty: 500,
        media_time: 0,
    });
    for sample in &mut sound.samples[..2] {
        sample.duration = 0;
    }
    assert_eq!(cut(&Bytes::from(shape.file()), 0.0..2.0), Ok(()));
}

#[test]
fn index_longer_than_the_limit_is_refused_unread() {
    let _alone = alone();
    let claimed = mp4_cut::MAX_INDEX_BYTES + 8;
    let mut head = b"\0\0\0\x10ftypisom\0\0\0\0".to_vec();
    head.extend(u32::try_from(claimed).expect("a short box").to_be_bytes());
    head.extend(b"moov");
    let source = Hollow {
        length: 16 + claimed,
        head: head.into(),
    };
    let mut result = Ok(());
    let peak = peak_bytes(|| result = cut(&source, 0.0..1.0));
    let error = result.expect_err("a long index");
    assert_eq!(
        error.message,
        "the source's index is 32 MiB; sources with more than 32 MiB are not supported"
    );
    assert!(peak < 1 << 20, "{peak} bytes");
}

#[test]
fn edit_list_of_several_pieces_is_refused() {
    let _alone = alone();
    let shape = source(4, 40);
    let mut file = shape.file();
    assert_eq!(decode_index(&file).trak.len(), 2);
    // The audio's empty edit becomes an edit of media.
    let media_time = boxes::last(&file, *b"elst") + 8 + 8 + 4;
    file[media_time..media_time + 4].copy_from_slice(&[0; 4]);
    let error = cut(&Bytes::from(file), 0.0..1.0).expect_err("several edits");
    assert!(
        error.message.contains("edit list of several pieces"),
        "{error}"
    );
}
