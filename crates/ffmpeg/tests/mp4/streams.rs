//! Sources whose pictures alone reveal what cutting depends on.

use crate::common::{
    conform::{Way, assert_conforms},
    ffmpeg::{Folder, load, pictures, sound, words},
    smart::smart_cut,
    source::{AAC, H264, HEVC, Source, TIME_TOLERANCE, encode, microseconds},
};
use model::{ClipError, ErrorKind};
use mp4_cut::Movie;
use std::path::{Path, PathBuf};

fn build(folder: &Folder, options: &str) -> PathBuf {
    folder.build(
        "source.mp4",
        &[
            pictures("30", 4),
            sound(4),
            words(H264),
            words(AAC),
            words(options),
        ],
    )
}

/// Changes the bytes of a file.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut file = load(path).to_vec();
    change(&mut file);
    std::fs::write(path, file).expect("room");
}

fn position(file: &[u8], wanted: &[u8]) -> usize {
    file.windows(wanted.len())
        .position(|found| found == wanted)
        .expect("it is there")
}

/// Asserts that a copy and an encode of one second from within a GOP are exact.
async fn assert_cut_exactly(source: &Source) {
    let (window, copy) = source.cut(2.4..3.4).await;
    // FFmpeg complains that the pictures before the shown ones refer to missing ones.
    assert_conforms(source, &window, Way::OpenCopy, &copy).await;
    let encoded = encode(source, &window, &copy).await;
    assert_conforms(source, &window, Way::Encode, &encoded).await;
}

#[tokio::test]
async fn cut_of_intra_refresh_begins_where_its_pictures_are_complete() {
    // Pictures that no others refer to do not count, so with them more must be decoded.
    for (options, from_the_first) in [("-bf 0", false), ("-bf 2", true)] {
        let folder = Folder::new();
        let refresh = format!("{options} -g 40 -x264-params intra-refresh=1:keyint=40");
        let source = Source::decode(&build(&folder, &refresh)).await;
        let (window, _) = source.cut(2.4..3.4).await;
        let keyframe = window.facts.keyframe_seconds;
        assert_eq!(keyframe < 0.1, from_the_first, "{keyframe}");
        assert_cut_exactly(&source).await;
        let why = smart_cut(&source, 2.4..3.4).await.err().unwrap_or_default();
        assert_eq!(why, "the clip has no keyframe that a copy can begin with");
    }
}

#[tokio::test]
async fn picture_that_is_no_keyframe_is_not_believed_to_be_one() {
    // Keyframes: all, because there is no list; one of three, because the list is wrong; none.
    let no_list = |file: &mut Vec<u8>| {
        let at = position(file, b"stss");
        file[at..at + 4].copy_from_slice(b"free");
    };
    let wrong_list = |file: &mut Vec<u8>| {
        let second = position(file, b"stss") + 16;
        for number in [1, 2, 3] {
            let at = second + 4 * (number - 1) + 3;
            file[at] += 7;
        }
    };
    let empty_list = |file: &mut Vec<u8>| {
        let count = position(file, b"stss") + 8;
        file[count..count + 4].fill(0);
    };
    let hevc = format!("{HEVC} -x265-params log-level=error:keyint=30:min-keyint=30:scenecut=0");
    for options in ["", &hevc] {
        for make in [&no_list as &dyn Fn(&mut Vec<u8>), &wrong_list, &empty_list] {
            let folder = Folder::new();
            let path = build(&folder, options);
            change(&path, make);
            let source = Source::decode(&path).await;
            assert_cut_exactly(&source).await;
        }
    }
}

#[tokio::test]
async fn cut_of_intra_refresh_of_hevc_begins_with_the_last_true_keyframe() {
    let folder = Folder::new();
    let refresh =
        format!("{HEVC} -x265-params log-level=error:intra-refresh=1:keyint=30:bframes=0");
    let source = Source::decode(&build(&folder, &refresh)).await;
    let (window, _) = source.cut(2.4..3.4).await;
    assert!(window.facts.keyframe_seconds < 0.01, "{:?}", window.facts);
    assert_cut_exactly(&source).await;
}

/// A file without its first pictures, in decode order.
fn without_first(folder: &Folder, path: &Path, count: u32) -> PathBuf {
    let input = vec!["-i".to_owned(), path.display().to_string()];
    let options = format!("-c copy -copyinkf:v -bsf:v noise=drop=lt(n\\,{count})");
    folder.build("late.mp4", &[input, words(&options)])
}

#[tokio::test]
async fn source_that_begins_between_keyframes_shows_what_can_be_decoded() {
    let open = "keyint=24:min-keyint=24:scenecut=0:bframes=3:b-adapt=0:open-gop=1";
    let open = format!("{HEVC} -x265-params log-level=error:{open}");
    // Starting between keyframes; and starting with a keyframe whose leading pictures need what precedes it.
    for (options, dropped) in [("-g 24", 10), (&open, 10), (&open, 21)] {
        let folder = Folder::new();
        let late = without_first(&folder, &build(&folder, options), dropped);
        let mut source = Source::decode(&late).await;
        let first = source.movie.facts.video.start_seconds;
        assert!((first - 0.8).abs() < 0.001, "{options}: {first}");
        // FFmpeg shows some of what it cannot decode, too.
        source
            .pictures
            .retain(|picture| picture.time > microseconds(first) - TIME_TOLERANCE);
        assert_eq!(
            source.movie.facts.video.frames,
            source.pictures.len() as u64
        );
        for interval in [0.0..1.0, 0.5..1.7, 2.0..3.2] {
            let interval = first + interval.start..first + interval.end;
            let (window, copy) = source.cut(interval.clone()).await;
            assert_conforms(&source, &window, Way::OpenCopy, &copy).await;
            if let Ok((window, facts, clip)) = smart_cut(&source, interval).await {
                assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
            }
        }
    }
}

#[tokio::test]
async fn source_without_a_keyframe_that_decoding_can_begin_with_is_refused_by_name() {
    let folder = Folder::new();
    let one_group = format!("{HEVC} -x265-params log-level=error:keyint=-1");
    let late = without_first(&folder, &build(&folder, &one_group), 10);
    let error = ClipError::from(Movie::read(&load(&late)).await.expect_err("no keyframe"));
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
    assert!(error.message.contains("decoding cannot begin"), "{error}");
}

/// Options for streams that decode by the rules of the x264 version that wrote them.
const OF_A_VERSION: [&str; 2] = ["-pix_fmt yuv444p", "-crf 0"];

#[tokio::test]
async fn copy_names_the_version_of_its_encoder_in_front_where_decoding_depends_on_it() {
    for options in OF_A_VERSION {
        let folder = Folder::new();
        let source = Source::decode(&build(&folder, options)).await;
        for interval in [0.0..1.2, 2.4..3.4] {
            let (window, copy) = source.cut(interval.clone()).await;
            let file = load(&copy);
            let version = b"x264 - core ";
            let named = file
                .windows(version.len())
                .filter(|found| found == version)
                .count();
            assert_eq!(named, 1, "{options}");
            assert_conforms(&source, &window, Way::Copy, &copy).await;
            let (window, facts, clip) = smart_cut(&source, interval).await.expect("a smart cut");
            assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
        }
    }
}

#[tokio::test]
async fn pictures_of_an_old_version_of_x264_stay_behind_its_message() {
    for options in OF_A_VERSION {
        let folder = Folder::new();
        let path = build(&folder, options);
        let right = Source::decode(&path).await.pictures;
        change(&path, |file| {
            let version = position(file, b"x264 - core ") + 12;
            file[version..version + 3].copy_from_slice(b"142");
        });
        // FFmpeg decodes them by the rules of the old version, which are wrong for them.
        let source = Source::decode(&path).await;
        assert_ne!(source.pictures, right, "{options}");
        // It cannot decode 4:4:4 at all then.
        if source.pictures.len() == right.len() {
            let (window, copy) = source.cut(2.4..3.4).await;
            assert_conforms(&source, &window, Way::Copy, &copy).await;
        }
        let why = smart_cut(&source, 0.4..3.4).await.err().unwrap_or_default();
        assert_eq!(
            why,
            "how its pictures decode depends on the version of x264"
        );
    }
}
