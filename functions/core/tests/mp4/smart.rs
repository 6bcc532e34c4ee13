//! Smart cuts of sources as cameras and encoders write them, compared with what `FFmpeg` decodes of the source.

use super::{
    ffmpeg::{Folder, SIZE, decode_grey, decode_pictures, load, pictures, read, sound, words},
    footage::{AAC, H264, HEVC, Source, assert_copy_is_exact, microseconds, psnr, times},
};
use clipflow_core::{
    ClipError,
    ffmpeg::{Ffmpeg, Limits},
    mp4::{Splice, SpliceFacts, Unspliced, Window},
    quality::Quality,
    scratch::Scratch,
    smart,
};
use futures::TryStreamExt;
use proptest::{prelude::*, test_runner::TestRunner};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

const LIMITS: Limits = Limits { time: Duration::from_mins(1), file_bytes: 1 << 28 };
/// The worst that an encoded picture may look beside the source's, in dB.
const MIN_PSNR: f64 = 38.0;

/// Makes the smart cut of an interval; or why there is none.
pub async fn smart_cut(source: &Source, interval: Range<f64>) -> Result<(Window, SpliceFacts, PathBuf), String> {
    let (window, copy) = source.cut(interval).await;
    let scratch = Scratch::new(1, 1).expect("a folder");
    let windows = ["window.mp4".to_owned()];
    std::fs::rename(copy, scratch.file(&windows[0])).expect("a copy");
    let ffmpeg = Ffmpeg::find().expect("ffmpeg");
    match smart::cut(&ffmpeg, &scratch, &windows, None, Quality::default(), LIMITS).await {
        Err(Unspliced::Unfit(why)) => Err(why),
        Err(Unspliced::Failed(error)) => panic!("{error}"),
        Ok((facts, spliced)) => {
            let path = source.folder.path("smart.mp4");
            let bytes = spliced.output_bytes;
            let clip: Vec<u8> = spliced
                .stream()
                .try_fold(Vec::new(), async |whole, part| Ok::<_, ClipError>([whole, part.to_vec()].concat()))
                .await
                .expect("the clip's bytes");
            assert_eq!(clip.len() as u64, bytes);
            std::fs::write(&path, clip).expect("room for a clip");
            Ok((window, facts, path))
        }
    }
}

/// Cuts a source at the usual intervals. Returns how long was copied of all of them, in seconds.
async fn assert_smart_cuts_are_exact(path: &Path, size: (usize, usize)) -> f64 {
    let source = Source::decode(path).await;
    let grey = decode_grey(path, size.0 * size.1);
    let mut copied = 0.0;
    for interval in source.intervals() {
        match smart_cut(&source, interval.clone()).await {
            Ok((window, facts, clip)) => {
                assert_clip_is_exact(&source, &grey, &window, facts, &clip).await;
                copied += facts.copied_seconds;
            }
            Err(why) => assert!(why.contains("keyframe"), "{interval:?}: {why}"),
        }
    }
    copied
}

/// A clip shows the interval's pictures at their times: the copied ones unchanged, the encoded ones alike; nothing else
/// is in it, the sound is in place, and it decodes without a word.
async fn assert_clip_is_exact(source: &Source, grey: &[Vec<u8>], window: &Window, facts: SpliceFacts, clip: &Path) {
    let label = format!("{:?}", window.facts);
    let first =
        source.pictures.iter().position(|picture| picture.time + 20 >= microseconds(window.facts.start_seconds));
    let expected = source.pictures_in(window);
    let expected_grey = &grey[first.expect("a first picture")..][..expected.len()];
    let shown = decode_pictures(clip);
    assert_eq!(shown.len(), expected.len(), "{label}");
    for (time, expected) in times(&shown).into_iter().zip(&expected) {
        let expected = expected.time - microseconds(window.facts.start_seconds);
        assert!((time - expected).abs() <= 50, "{label}: shown at {time} µs, not {expected}");
    }
    let end = microseconds(window.facts.end_seconds);
    let ends = expected.iter().skip(1).map(|picture| picture.time).chain([end]);
    let mut unchanged = 0;
    let shown_grey = decode_grey(clip, grey[0].len());
    for (index, ((shown, expected), end)) in shown.iter().zip(&expected).zip(ends).enumerate() {
        if shown.hash == expected.hash {
            unchanged += end - expected.time;
        } else {
            let psnr = psnr(&shown_grey[index], &expected_grey[index]);
            assert!(psnr >= MIN_PSNR, "{label}: picture {index} has a PSNR of {psnr} dB");
        }
    }
    assert!(unchanged + 100 >= microseconds(facts.copied_seconds), "{label}: {unchanged} µs are unchanged: {facts:?}");
    let whole = facts.copied_seconds + facts.encoded_seconds;
    assert!((whole - window.facts.duration_seconds).abs() < 1e-6, "{label}: {facts:?}");

    source.assert_sound_is_in_place(window, clip);
    let delivered = read(&load(clip)).await;
    assert_eq!(delivered.facts.video.frames, window.facts.frames);
    assert!((delivered.facts.video.duration_seconds - window.facts.duration_seconds).abs() < 1e-4, "{label}");
    assert_eq!(delivered.facts.video.rotation_degrees, source.movie.facts.video.rotation_degrees);
    assert_stored_samples_are_shown(clip);
    let said = ffmpeg_says(clip);
    assert!(said.is_empty(), "{label}: {said}");
}

/// Every stored picture is shown, also without the edit list: nothing from outside the interval is in the file.
fn assert_stored_samples_are_shown(clip: &Path) {
    assert_eq!(stored_samples(clip), decode_pictures(clip).len() as u64);
}

fn stored_samples(clip: &Path) -> u64 {
    let moov = super::synthetic::decode_index(&load(clip));
    moov.trak[0].mdia.minf.stbl.stts.entries.iter().map(|run| u64::from(run.sample_count)).sum()
}

fn ffmpeg_says(clip: &Path) -> String {
    let output = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-v", "warning", "-xerror", "-i"])
        .arg(clip)
        .args(["-fps_mode", "passthrough", "-enc_time_base:v", "demux", "-f", "null", "-"])
        .output()
        .expect("ffmpeg");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Builds a source and checks smart cuts of it, of which a good part must have been copied.
async fn assert_smart(arguments: &[Vec<String>]) {
    let folder = Folder::new();
    let path = folder.build("source.mp4", arguments);
    let copied = assert_smart_cuts_are_exact(&path, SIZE).await;
    assert!(copied > 1.0, "{copied} s were copied");
}

#[tokio::test]
async fn smart_cuts_of_thirty_frames_a_second_are_exact() {
    assert_smart(&[pictures("30", 4), sound(4), words(H264), words(AAC)]).await;
}

#[tokio::test]
async fn smart_cuts_of_ntsc_rates_are_exact() {
    for rate in ["24000/1001", "30000/1001", "60000/1001"] {
        assert_smart(&[pictures(rate, 3), sound(3), words(H264), words("-g 24"), words(AAC)]).await;
    }
}

#[tokio::test]
async fn smart_cuts_of_variable_frame_rate_are_exact() {
    let irregular = "-vf select='not(mod(n\\,7))+not(mod(n\\,3))',settb=1/90000,setpts=PTS+floor(1100*random(1)) \
                     -fps_mode passthrough -enc_time_base:v filter -video_track_timescale 90000";
    assert_smart(&[pictures("60", 4), sound(4), words(irregular), words(H264), words("-bf 3 -g 20"), words(AAC)]).await;
}

#[tokio::test]
async fn smart_cuts_of_every_profile_and_depth_are_exact() {
    for options in [
        "-profile:v baseline -bf 0",
        "-profile:v main",
        "-pix_fmt yuv420p10le -profile:v high10",
        "-pix_fmt yuv422p",
        "-pix_fmt yuvj420p -color_range pc",
        "-bf 8 -b_strategy 0 -x264-params b-pyramid=normal:ref=5",
        "-bf 0 -x264-params ref=4",
        "-intra-refresh 0 -g 1",
        "-x264-params nal-hrd=vbr -maxrate 1M -bufsize 1M",
    ] {
        assert_smart(&[pictures("30", 4), sound(4), words(H264), words(options), words(AAC)]).await;
    }
}

#[tokio::test]
async fn smart_cuts_of_a_silent_source_are_exact() {
    assert_smart(&[pictures("30", 3), words(H264)]).await;
}

#[tokio::test]
async fn smart_cuts_are_exact_where_sound_or_pictures_start_late() {
    let late = || words("-itsoffset 0.7");
    assert_smart(&[late(), pictures("30", 4), sound(4), words(H264), words(AAC)]).await;
    assert_smart(&[pictures("30", 4), late(), sound(3), words(H264), words(AAC)]).await;
}

#[tokio::test]
async fn smart_cuts_are_exact_of_every_way_to_write_the_same_video() {
    let folder = Folder::new();
    let base = folder.build("base.mp4", &[pictures("30", 4), sound(4), words(H264), words(AAC)]);
    for (input, output) in [
        ("", "-output_ts_offset 5 -avoid_negative_ts disabled"),
        ("", "-movflags +negative_cts_offsets"),
        ("-ss 1.3", ""),
        ("-display_rotation 90", ""),
        ("", "-use_editlist 0 -an"),
        ("", "-video_track_timescale 600 -brand qt"),
        ("", "-f mov"),
    ] {
        let input = [words(input), vec!["-i".to_owned(), base.display().to_string()]].concat();
        let path = folder.build("rewritten.mp4", &[input, words("-c copy"), words(output)]);
        let size = if output.is_empty() && input_rotates(&path).await { (SIZE.1, SIZE.0) } else { SIZE };
        assert!(assert_smart_cuts_are_exact(&path, size).await > 1.0, "{output}");
    }
}

async fn input_rotates(path: &Path) -> bool {
    read(&load(path)).await.facts.video.rotation_degrees % 180 != 0
}

#[tokio::test]
async fn smart_cut_of_a_smart_cut_is_exact() {
    let folder = Folder::new();
    let path = folder.build("source.mp4", &[pictures("30", 4), sound(4), words(H264), words(AAC)]);
    let source = Source::decode(&path).await;
    let (_, _, clip) = smart_cut(&source, 0.5..3.5).await.expect("a smart cut");
    assert!(assert_smart_cuts_are_exact(&clip, SIZE).await > 1.0);
}

#[tokio::test]
async fn source_that_cannot_be_spliced_says_why() {
    let folder = Folder::new();
    for (options, why) in [
        (format!("{HEVC} -x265-params log-level=error"), "the source is hevc, not H.264"),
        (
            "-c:v libx264 -preset veryfast -g 24 -keyint_min 24 -sc_threshold 0 -bf 3 -x264-params open-gop=1"
                .to_owned(),
            "the clip has no keyframe that a copy can begin with",
        ),
        ("-c:v libx264 -preset veryfast -flags +ildct+ilme".to_owned(), "the source may be interlaced"),
        (
            "-c:v libx264 -preset veryfast -g 30 -tag:v avc3".to_owned(),
            "the source's parameter sets lie among its pictures",
        ),
        ("-c:v libx264 -preset veryfast -g 300".to_owned(), "the clip has no keyframe that a copy can begin with"),
    ] {
        let path = folder.build("source.mp4", &[pictures("30", 4), words(&options)]);
        let said = smart_cut(&Source::decode(&path).await, 0.5..3.5).await.expect_err("no smart cut");
        assert_eq!(said, why, "{options}");
    }
}

#[tokio::test]
async fn keyframe_that_is_no_idr_picture_begins_no_copy() {
    let folder = Folder::new();
    let path = folder.build("source.mp4", &[pictures("30", 4), words(H264)]);
    let mut source = load(&path).to_vec();
    // The header of an IDR picture's NAL unit, and the beginning of its slice, become those of another picture.
    let slices: Vec<usize> =
        source.windows(2).enumerate().filter(|(_, bytes)| *bytes == [0x65, 0x88]).map(|(at, _)| at).collect();
    assert!(slices.len() >= 4);
    for at in slices {
        source[at] = 0x61;
    }
    let source = bytes::Bytes::from(source);
    let said = Splice::of(&[(&read(&source).await, &source, 0.5, 3.5)]).await.expect_err("no smart cut");
    assert!(matches!(said, Unspliced::Unfit(why) if why == "the clip's keyframes are no IDR pictures"));
}

/// How a source is made.
#[derive(Debug, Clone)]
struct Recipe {
    rate: &'static str,
    irregular: bool,
    group: u32,
    b_frames: u32,
    reference_frames: u32,
    /// By how much pictures, or where it is negative sound, start late, in milliseconds.
    late_ms: i32,
    sound: &'static str,
    options: &'static str,
}

fn recipes() -> impl Strategy<Value = Recipe> {
    let rates = prop::sample::select(vec!["24000/1001", "25", "30000/1001", "30", "50", "60000/1001", "15"]);
    let late = prop_oneof![Just(0), -400..400];
    let sounds = prop::sample::select(vec!["", "-c:a aac -ar 44100", "-c:a aac", "-c:a libopus", "-c:a pcm_s16le"]);
    let options = prop::sample::select(vec!["", "-output_ts_offset 7", "-movflags +negative_cts_offsets"]);
    (rates, any::<bool>(), 1_u32..80, 0_u32..5, 1_u32..5, late, sounds, options).prop_map(
        |(rate, irregular, group, b_frames, reference_frames, late_ms, sound, options)| Recipe {
            rate,
            irregular,
            group,
            b_frames,
            reference_frames,
            late_ms,
            sound,
            options,
        },
    )
}

impl Recipe {
    fn file(&self) -> &'static str {
        if self.sound.contains("pcm") { "source.mov" } else { "source.mp4" }
    }

    fn build(&self, folder: &Folder) -> PathBuf {
        let late = |late: bool| {
            let seconds = f64::from(self.late_ms.abs()) / 1000.0;
            words(&if late { format!("-itsoffset {seconds:.3}") } else { String::new() })
        };
        let mut arguments = vec![late(self.late_ms > 0), pictures(self.rate, 3)];
        if !self.sound.is_empty() {
            arguments.extend([late(self.late_ms < 0), sound(3), words(self.sound)]);
        }
        if self.irregular {
            arguments.push(words(
                "-vf select='not(mod(n\\,7))+not(mod(n\\,3))',settb=1/90000,setpts=PTS+floor(1100*random(1)) \
                 -fps_mode passthrough -enc_time_base:v filter -video_track_timescale 90000",
            ));
        }
        let Self { group, b_frames, reference_frames, .. } = self;
        let codec = format!(
            "-c:v libx264 -preset veryfast -crf 28 -pix_fmt yuv420p -g {group} -bf {b_frames} -refs {reference_frames}"
        );
        arguments.extend([words(&codec), words(self.options)]);
        folder.build(self.file(), &arguments)
    }
}

/// How many sources are made. Each takes seconds; `PROPTEST_CASES` overrides it.
const RECIPES: u32 = 12;

#[test]
fn cuts_of_any_source_and_any_interval_are_exact() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(RECIPES);
    let config = ProptestConfig { cases, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let run = |(recipe, start, length): (Recipe, f64, f64)| {
        runtime.block_on(async {
            let folder = Folder::new();
            let source = Source::decode(&recipe.build(&folder)).await;
            let video = source.movie.facts.video.clone();
            let at = |part: f64| video.start_seconds + part * video.duration_seconds;
            let interval = at(start)..at(start + (1.0 - start) * length);
            if source.movie.window(interval.start, interval.end).is_err() {
                // The interval is shorter than half a frame.
                return;
            }
            let (window, copy) = assert_copy_is_exact(&source, interval.clone()).await;
            // Behind the keyframe's group, a copy has the frames that the last of it refer to, and no more.
            let hidden = stored_samples(&copy) - window.facts.frames;
            assert!(hidden <= window.facts.preroll_frames + u64::from(recipe.b_frames), "{recipe:?} {window:?}");
            assert!(window.facts.preroll_frames <= u64::from(recipe.group) + u64::from(recipe.b_frames));
            if let Ok((window, facts, clip)) = smart_cut(&source, interval).await {
                let grey = decode_grey(&folder.path(recipe.file()), SIZE.0 * SIZE.1);
                assert_clip_is_exact(&source, &grey, &window, facts, &clip).await;
            }
        });
        Ok(())
    };
    let mut runner = TestRunner::new(config);
    runner.run(&(recipes(), 0.0..0.9, 0.05..1.0), run).unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test]
async fn smart_cuts_of_real_footage_are_exact() {
    let Some(folder) = std::env::var_os("CLIPFLOW_FOOTAGE").map(PathBuf::from) else {
        eprintln!("CLIPFLOW_FOOTAGE is not set: real footage is not tested");
        return;
    };
    for (name, size) in [("bikes.mp4", (640, 272)), ("bigbuckbunny.mp4", (1280, 720))] {
        assert_smart_cuts_are_exact(&folder.join(name), size).await;
    }
}
