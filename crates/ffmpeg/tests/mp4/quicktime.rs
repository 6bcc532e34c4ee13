//! What hardly any program except `QuickTime` writes: compressed indexes, and tracks with several sample descriptions.

use crate::common::{
    boxes::{self, boxed},
    conform::{Traits, assert_all_cuts_conform},
    ffmpeg::{Folder, collect, load, pictures, read, sound, words},
    source::{AAC, H264},
    synthetic::decode_index,
};
use bytes::Bytes;
use miniz_oxide::deflate::compress_to_vec_zlib;
use model::{ClipError, ErrorKind};
use mp4_atom::{Edts, Elst, ElstEntry, Encode, StszSamples, Trak};
use mp4_cut::{MAX_INDEX_BYTES, Movie, Opened, WindowFacts};
use std::path::PathBuf;

/// A source whose index follows its media, so that compressing it moves nothing.
fn source(folder: &Folder) -> Bytes {
    load(&folder.build(
        "source.mov",
        &[pictures("30", 3), sound(3), words(H264), words(AAC)],
    ))
}

/// The file with another index box; `index` makes its body from the original index.
fn with_index(file: &Bytes, index: impl FnOnce(&[u8]) -> Vec<u8>) -> Bytes {
    let start = boxes::last(file, *b"moov");
    let moov = boxed(*b"moov", &index(&file[start..]));
    [&file[..start], &moov].concat().into()
}

fn compressed(method: [u8; 4], index_bytes: usize, stream: &[u8]) -> Vec<u8> {
    let length = u32::try_from(index_bytes)
        .expect("a short index")
        .to_be_bytes();
    let body = [
        boxed(*b"dcom", &method),
        boxed(*b"cmvd", &[&length, stream].concat()),
    ]
    .concat();
    boxed(*b"cmov", &body)
}

#[tokio::test]
async fn cuts_of_a_compressed_index_are_those_of_the_index() {
    let folder = Folder::new();
    let plain = source(&folder);
    let packed = with_index(&plain, |moov| {
        compressed(*b"zlib", moov.len(), &compress_to_vec_zlib(moov, 6))
    });
    assert!(packed.len() < plain.len());
    let (plain_movie, packed_movie) = (read(&plain).await, read(&packed).await);
    assert_eq!(
        packed_movie.facts.index_start,
        plain_movie.facts.index_start
    );
    assert!(packed_movie.facts.index_bytes < plain_movie.facts.index_bytes);
    assert_eq!(packed_movie.facts.video, plain_movie.facts.video);
    for (start, end) in [(0.0, 3.0), (0.5, 1.7), (2.9, 3.0)] {
        let cut = async |movie: &Movie, file: &Bytes| {
            let window = movie.window(start, end).expect("an interval of the source");
            collect(&window, file).await.expect("the source's bytes")
        };
        assert_eq!(
            cut(&packed_movie, &packed).await,
            cut(&plain_movie, &plain).await
        );
    }
}

#[tokio::test]
async fn compressed_index_that_cannot_be_read_is_refused_by_name() {
    let folder = Folder::new();
    let file = source(&folder);
    let refused = async |message: &str, method: &[u8; 4], stream: &dyn Fn(&[u8]) -> Vec<u8>| {
        let file = with_index(&file, |moov| compressed(*method, moov.len(), &stream(moov)));
        let error = ClipError::from(Movie::read(&file).await.expect_err("no index"));
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::UnsupportedMedia, message)
        );
    };
    let packed = |moov: &[u8]| compress_to_vec_zlib(moov, 6);
    let damaged = "the source's MP4 index is damaged: box cmvd cannot be inflated";
    refused(
        "the source's index is compressed by rle, which is not supported",
        b"rle ",
        &packed,
    )
    .await;
    refused(damaged, b"zlib", &|_| Vec::new()).await;
    refused(damaged, b"zlib", &|moov| moov.to_vec()).await;
    refused(damaged, b"zlib", &|moov| packed(moov)[..200].to_vec()).await;
    let huge = vec![0; usize::try_from(MAX_INDEX_BYTES).expect("a length") + 1];
    let too_long =
        "the source's index is over 32 MiB; sources with more than 32 MiB are not supported";
    refused(too_long, b"zlib", &|_| packed(&huge)).await;
    let without = "the source's MP4 index is damaged: it has no box moov";
    refused(without, b"zlib", &|moov| packed(&moov[8..])).await;
}

/// A file that shows one file and then another; its tracks have the sample descriptions of both. Both files have the
/// same composition delay.
fn one_behind_the_other(folder: &Folder, one: &Bytes, other: &Bytes) -> PathBuf {
    let media = [&one[..], other].concat();
    let mut moov = decode_index(one);
    let others = decode_index(other).trak;
    assert_eq!(moov.trak.len(), others.len());
    for (track, other) in moov.trak.iter_mut().zip(others) {
        move_chunks(track, 8);
        append(track, other, 8 + one.len());
    }
    let mut file = boxed(*b"mdat", &media);
    moov.encode(&mut file).expect("an index");
    let path = folder.path("source.mp4");
    std::fs::write(&path, file).expect("room for a source");
    path
}

fn move_chunks(track: &mut Trak, by: usize) {
    let by = u32::try_from(by).expect("a short file");
    for offset in &mut track.mdia.minf.stbl.stco.as_mut().expect("chunks").entries {
        *offset += by;
    }
}

/// Appends the samples of `other`, with chunk offsets shifted by `by`, and its sample description.
fn append(track: &mut Trak, mut other: Trak, by: usize) {
    move_chunks(&mut other, by);
    let (stbl, more) = (&mut track.mdia.minf.stbl, other.mdia.minf.stbl);
    let count =
        |stts: &mp4_atom::Stts| stts.entries.iter().map(|run| run.sample_count).sum::<u32>();
    let samples = count(&stbl.stts);
    let chunks = stbl.stco.as_ref().expect("chunks").entries.len();
    assert_eq!(stbl.ctts.is_some(), more.ctts.is_some());
    stbl.stts.entries.extend(more.stts.entries);
    stbl.ctts.iter_mut().for_each(|ctts| {
        ctts.entries
            .extend(more.ctts.iter().flat_map(|ctts| ctts.entries.clone()));
    });
    if let (Some(sync), Some(more)) = (&mut stbl.stss, more.stss) {
        sync.entries
            .extend(more.entries.iter().map(|number| number + samples));
    }
    stbl.stsd.codecs.extend(more.stsd.codecs);
    stbl.stsc
        .entries
        .extend(more.stsc.entries.into_iter().map(|mut run| {
            run.first_chunk += u32::try_from(chunks).expect("few chunks");
            run.sample_description_index = 2;
            run
        }));
    stbl.stco
        .as_mut()
        .expect("chunks")
        .entries
        .extend(more.stco.expect("chunks").entries);
    let (StszSamples::Different { sizes }, StszSamples::Different { sizes: more }) =
        (&mut stbl.stsz.samples, more.stsz.samples)
    else {
        panic!("samples of one size");
    };
    sizes.extend(more);
    stbl.sbgp.clear();
    stbl.sgpd.clear();
    track.tkhd.duration += other.tkhd.duration;
    track.mdia.mdhd.duration += other.mdia.mdhd.duration;
    let edits = |edts: Option<Edts>| {
        edts.and_then(|edts| edts.elst)
            .expect("an edit list")
            .entries
    };
    let mut own = edits(track.edts.take());
    let others = edits(other.edts);
    own.last_mut().expect("an edit").segment_duration +=
        others.last().expect("an edit").segment_duration;
    track.edts = Some(Edts {
        elst: Some(Elst { entries: own }),
    });
}

fn build(folder: &Folder, name: &str, options: &str) -> Bytes {
    load(&folder.build(name, &[pictures("30", 2), words(H264), words(options)]))
}

#[tokio::test]
async fn cuts_of_several_sample_descriptions_are_exact() {
    let folder = Folder::new();
    let one = build(&folder, "one.mp4", "");
    let other = build(
        &folder,
        "other.mp4",
        "-vf negate -profile:v main -refs 4 -g 12",
    );
    let path = one_behind_the_other(&folder, &one, &other);
    assert_eq!(
        decode_index(&load(&path)).trak[0]
            .mdia
            .minf
            .stbl
            .stsd
            .codecs
            .len(),
        2
    );
    let traits = Traits {
        unfit: Some("the source has several sample descriptions"),
        ..Traits::default()
    };
    assert_all_cuts_conform("several descriptions", &path, traits).await;
}

#[tokio::test]
async fn pictures_that_change_their_size_are_refused() {
    let folder = Folder::new();
    let (one, other) = (
        build(&folder, "one.mp4", ""),
        build(&folder, "other.mp4", "-vf scale=160:90"),
    );
    let error = Movie::read(&load(&one_behind_the_other(&folder, &one, &other)))
        .await
        .expect_err("two sizes");
    let error = ClipError::from(error);
    let message = "the source's pictures change their codec or their size, which is not supported";
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::UnsupportedMedia, message)
    );
}

#[tokio::test]
async fn languages_of_sound_and_a_place_are_named() {
    let folder = Folder::new();
    let languages =
        "-map 0 -map 1 -map 1 -metadata:s:a:0 language=eng -metadata:s:a:1 language=ita";
    let spoken = ["eng", "ita"];
    let place = "-metadata location=+27.9881+086.9250/";
    for (name, options) in [
        ("a.mp4", ""),
        ("a.mov", ""),
        ("keys.mov", "-movflags +use_metadata_tags"),
    ] {
        let inputs = [pictures("30", 1), sound(1)];
        let encoders = [words(H264), words(AAC), words(languages)];
        let arguments = [&inputs[..], &encoders].concat();
        let plain = folder.build(name, &[&arguments[..], &[words(options)]].concat());
        let facts = read(&load(&plain)).await.facts;
        let audio = facts.audio.expect("sound");
        assert_eq!(audio.languages, spoken, "{name}");
        let file = load(&plain);
        let window = read(&file).await.window(0.2, 0.8).expect("an interval");
        let copy = collect(&window, &file).await.expect("the source's bytes");
        let tracks = decode_index(&copy).trak;
        let packed: Vec<_> = tracks.iter().map(|trak| &trak.mdia.mdhd.language).collect();
        assert_eq!(packed, ["und", "eng", "ita"], "{name}");
        assert_eq!(facts.dropped_tracks, Vec::<String>::new(), "{name}");
        let key = if options.is_empty() {
            place.to_owned()
        } else {
            place.replace("location", "com.apple.quicktime.location.ISO6709")
        };
        let named = folder.build(
            name,
            &[&arguments[..], &[words(options), words(&key)]].concat(),
        );
        let facts = read(&load(&named)).await.facts;
        assert_eq!(facts.dropped_tracks, ["place"], "{name}");
    }
}

/// Has the tracks of a file, whose index lies at its end, show pieces of their media: each an empty edit in front and what is
/// shown of the media, in milliseconds.
fn with_pieces(file: &Bytes, tracks: [(u64, &[(u64, u64)]); 2]) -> Bytes {
    let mut index = decode_index(file);
    for (trak, (empty, pieces)) in index.trak.iter_mut().zip(tracks) {
        let ticks = |ms: u64, timescale: u32| (ms * u64::from(timescale) + 500) / 1000;
        let entry = |ms: u64, media_time| ElstEntry {
            segment_duration: ticks(ms, index.mvhd.timescale),
            media_time,
            media_rate: 1.into(),
        };
        let lists = &mut trak.edts.as_mut().expect("an edit list").elst;
        let entries = &mut lists.as_mut().expect("an edit list").entries;
        let begins = entries[0].media_time.expect("media");
        let timescale = trak.mdia.mdhd.timescale;
        let shown = pieces
            .iter()
            .map(|(start, end)| entry(end - start, Some(begins + ticks(*start, timescale))));
        let empty = (empty > 0).then(|| entry(empty, None));
        *entries = empty.into_iter().chain(shown).collect();
    }
    let start = boxes::last(file, *b"moov");
    let mut changed = file[..start].to_vec();
    index.encode(&mut changed).expect("an index");
    changed.into()
}

/// A copy of each part of an interval of a source that shows several pieces, and what it is.
async fn cut_pieces(
    file: &Bytes,
    interval: (f64, f64),
) -> Result<Vec<(WindowFacts, Vec<u8>)>, String> {
    let Opened::Edited(movie) = Movie::open(file).await.map_err(|error| error.to_string())? else {
        return Err("one piece".to_owned());
    };
    let mut copies = Vec::new();
    for (start, end) in movie.parts(interval.0, interval.1) {
        let window = movie.piece(start, end).window(start, end);
        let window = window.map_err(|error| error.to_string())?;
        let copy = collect(&window, file).await.expect("the source's bytes");
        copies.push((window.facts, copy));
    }
    Ok(copies)
}

#[tokio::test]
async fn pieces_of_sound_that_are_those_of_the_video_are_read() {
    const PIECES: [(u64, u64); 2] = [(0, 1200), (2000, 3000)];
    let folder = Folder::new();
    let file = source(&folder);
    let plain = with_pieces(&file, [(0, &PIECES), (0, &PIECES)]);
    let intervals = [(0.0, 2.2), (0.2, 0.9), (1.0, 1.5), (1.3, 2.0)];
    let halves: &[_] = &[(0, 500), (500, 1200), (2000, 3000)];
    let with_a_shred: &[_] = &[(0, 1200), (2000, 3000), (500, 504)];
    for (video, audio) in [
        (&PIECES[..], halves),
        (halves, &PIECES),
        (&PIECES, with_a_shred),
        (&[(0, 1200), (2000, 2600), (2600, 3000)], halves),
    ] {
        let other = with_pieces(&file, [(0, video), (0, audio)]);
        for interval in intervals {
            let copies = cut_pieces(&plain, interval).await.expect("pieces");
            assert_eq!(cut_pieces(&other, interval).await, Ok(copies), "{audio:?}");
        }
    }
    // Sound that begins later, ends earlier, or changes over a little later.
    for (empty, audio) in [
        (100, [(100, 1200), (2000, 3000)]),
        (0, [(0, 1200), (2000, 2990)]),
        (0, [(0, 1210), (2010, 3000)]),
    ] {
        let other = with_pieces(&file, [(0, &PIECES), (empty, &audio)]);
        for interval in intervals {
            let facts = |copies: Vec<(WindowFacts, Vec<u8>)>| {
                let facts = copies.into_iter().map(|(facts, _)| facts.start_seconds);
                facts.collect::<Vec<_>>()
            };
            let expected = facts(cut_pieces(&plain, interval).await.expect("pieces"));
            let found = cut_pieces(&other, interval).await.map(facts);
            assert_eq!(found, Ok(expected), "{audio:?}");
        }
    }
}

#[tokio::test]
async fn pieces_of_sound_that_are_others_than_the_videos_are_refused_by_name() {
    let folder = Folder::new();
    let file = source(&folder);
    let video: &[_] = &[(0, 1200), (2000, 3000)];
    for (video, audio) in [
        (video, &[(0, 1500), (2300, 3000)][..]),
        (video, &[(0, 900), (1700, 3000)]),
        (video, &[(0, 2200)]),
        (video, &[(0, 500), (600, 1300), (2000, 3000)]),
        (&[(0, 3000)], video),
    ] {
        let file = with_pieces(&file, [(0, video), (0, audio)]);
        let refused = cut_pieces(&file, (0.0, 1.0)).await.expect_err("others");
        let why = "edit list of several pieces that are not the same in all tracks";
        assert!(refused.contains(why), "{audio:?}: {refused}");
    }
}
