//! Smart cuts of sources as cameras and encoders write them, compared with what `FFmpeg` decodes of the source.

use super::{
    ffmpeg::{Folder, SAMPLE_RATE, decode_grey, decode_pictures, decode_sound, load, pictures, read, sound, words},
    footage::{AAC, H264, HEVC, Source, assert_copy_is_exact, microseconds, psnr},
};
use clipflow_core::{
    ClipError,
    ffmpeg::{Ffmpeg, Limits},
    mp4::{Splice, SpliceFacts, Unspliced, Window},
    quality::Quality,
    rendition::Sound,
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

/// A smart cut.
pub struct SmartCut {
    /// What is shown of each source.
    pub windows: Vec<Window>,
    pub facts: SpliceFacts,
    pub path: PathBuf,
}

/// Makes the smart cut of an interval; or why there is none.
pub async fn smart_cut(source: &Source, interval: Range<f64>) -> Result<SmartCut, String> {
    smart_cuts(&[(source, interval)], None).await
}

/// Makes the smart cut of intervals, one behind the other; or why there is none.
pub async fn smart_cuts(cuts: &[(&Source, Range<f64>)], joined_sound: Option<Sound>) -> Result<SmartCut, String> {
    let scratch = Scratch::new(1, 1).expect("a folder");
    let (mut windows, mut names) = (Vec::new(), Vec::new());
    for (index, (source, interval)) in cuts.iter().enumerate() {
        let (window, copy) = source.cut(interval.clone()).await;
        names.push(format!("window-{index}.mp4"));
        std::fs::rename(copy, scratch.file(&names[index])).expect("a copy");
        windows.push(window);
    }
    let ffmpeg = Ffmpeg::find().expect("ffmpeg");
    match smart::cut(&ffmpeg, &scratch, &names, joined_sound, Quality::default(), LIMITS).await {
        Err(Unspliced::Unfit(why)) => Err(why),
        Err(Unspliced::Failed(error)) => panic!("{error}"),
        Ok((facts, spliced)) => {
            let path = cuts[0].0.folder.path("smart.mp4");
            let bytes = spliced.output_bytes;
            let clip: Vec<u8> = spliced
                .stream()
                .try_fold(Vec::new(), async |whole, part| Ok::<_, ClipError>([whole, part.to_vec()].concat()))
                .await
                .expect("the clip's bytes");
            assert_eq!(clip.len() as u64, bytes);
            std::fs::write(&path, clip).expect("room for a clip");
            Ok(SmartCut { windows, facts, path })
        }
    }
}

/// Cuts a source at the usual intervals. Returns how long was copied of all of them, in seconds.
async fn assert_smart_cuts_are_exact(path: &Path) -> f64 {
    let source = Source::decode(path).await;
    let grey = source.grey();
    let mut copied = 0.0;
    for interval in source.intervals() {
        match smart_cut(&source, interval.clone()).await {
            Ok(clip) => {
                assert_clip_is_exact(&[(&source, &grey)], &clip).await;
                copied += clip.facts.copied_seconds;
            }
            Err(why) => assert!(why.contains("keyframe"), "{interval:?}: {why}"),
        }
    }
    copied
}

/// A clip shows the pictures of its cuts' intervals at their times, one cut after the other: the copied ones unchanged, the
/// encoded ones alike; nothing else is in it, the sound is in place in each cut, and it decodes without a word. `sources`
/// are those of the cuts, each with the brightness of its pictures.
pub async fn assert_clip_is_exact(sources: &[(&Source, &Vec<Vec<u8>>)], clip: &SmartCut) {
    let SmartCut { windows, facts, path } = clip;
    let facts_of_windows: Vec<_> = windows.iter().map(|window| &window.facts).collect();
    let label = format!("{facts_of_windows:?}");
    let shown = decode_pictures(path);
    let shown_grey = decode_grey(path, sources[0].1[0].len());
    let sound = windows.iter().any(|window| window.facts.has_audio).then(|| decode_sound(path));
    let (mut first, mut begin, mut unchanged) = (0, 0, 0);
    for ((source, grey), window) in sources.iter().zip(windows) {
        let [start, end] = [window.facts.start_seconds, window.facts.end_seconds].map(microseconds);
        let before = source.pictures.iter().take_while(|picture| picture.time + 20 < start).count();
        let expected = source.pictures_in(window);
        let ends = expected.iter().skip(1).map(|picture| picture.time).chain([end]);
        for (index, (expected, end)) in expected.iter().zip(ends).enumerate() {
            let Some(shown) = shown.get(first + index) else { panic!("{label}: {} pictures are shown", shown.len()) };
            let time = expected.time - start + begin;
            assert!((shown.time - time).abs() <= 50, "{label}: shown at {} µs, not {time}", shown.time);
            if shown.hash == expected.hash {
                unchanged += end - expected.time;
            } else {
                let psnr = psnr(&shown_grey[first + index], &grey[before + index]);
                assert!(psnr >= MIN_PSNR, "{label}: picture {} has a PSNR of {psnr} dB", first + index);
            }
        }
        if let Some(sound) = sound.as_ref().filter(|_| window.facts.has_audio) {
            let at = usize::try_from(begin).expect("a time") * SAMPLE_RATE / 1_000_000;
            source.assert_sound_is_at_the_start(window, &sound[at..]);
        }
        first += expected.len();
        begin += end - start;
    }
    assert_eq!(shown.len(), first, "{label}");
    assert!(unchanged + 100 >= microseconds(facts.copied_seconds), "{label}: {unchanged} µs are unchanged: {facts:?}");
    let seconds: f64 = facts_of_windows.iter().map(|facts| facts.duration_seconds).sum();
    assert!((facts.copied_seconds + facts.encoded_seconds - seconds).abs() < 1e-6, "{label}: {facts:?}");

    let delivered = read(&load(path)).await.facts;
    assert_eq!(delivered.video.frames, facts_of_windows.iter().map(|facts| facts.frames).sum::<u64>());
    assert!((delivered.video.duration_seconds - seconds).abs() < 1e-4, "{label}");
    assert_eq!(delivered.video.rotation_degrees, sources[0].0.movie.facts.video.rotation_degrees);
    assert_stored_samples_are_shown(path);
    let said = ffmpeg_says(path);
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
    let copied = assert_smart_cuts_are_exact(&path).await;
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
        assert!(assert_smart_cuts_are_exact(&path).await > 1.0, "{output}");
    }
}

#[tokio::test]
async fn smart_cut_of_a_smart_cut_is_exact() {
    let folder = Folder::new();
    let path = folder.build("source.mp4", &[pictures("30", 4), sound(4), words(H264), words(AAC)]);
    let source = Source::decode(&path).await;
    let clip = smart_cut(&source, 0.5..3.5).await.expect("a smart cut");
    assert!(assert_smart_cuts_are_exact(&clip.path).await > 1.0);
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
        let said = smart_cut(&Source::decode(&path).await, 0.5..3.5).await.err();
        assert_eq!(said.as_deref(), Some(why), "{options}");
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
            if let Ok(clip) = smart_cut(&source, interval).await {
                assert_clip_is_exact(&[(&source, &source.grey())], &clip).await;
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
    for name in ["bikes.mp4", "bigbuckbunny.mp4"] {
        assert_smart_cuts_are_exact(&folder.join(name)).await;
    }
}
