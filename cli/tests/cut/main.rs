//! `clipflow cut` with `FFmpeg`: what it makes from all kinds of sources, what it prints, and what it leaves behind.

mod server;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use server::{SECRET, Server};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::OnceLock,
    time::Duration,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Frames per second of sources; every 50th is a keyframe.
const RATE: usize = 25;
/// From the 31st frame (inclusive) to the 106th (exclusive).
const INTERVAL: [&str; 4] = ["--start", "1.2", "--end", "00:00:04.200"];
const FRAMES: std::ops::Range<usize> = 30..105;
/// The first keyframe in the interval.
const KEYFRAME: usize = 50;

/// A private folder for one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.0.path()).expect("the folder");
        let name = |file: fs::DirEntry| file.file_name().into_string().expect("UTF-8");
        let mut names: Vec<_> = files.map(|file| name(file.expect("a file"))).collect();
        names.sort();
        names
    }
}

/// Runs `ffmpeg`, which must not fail, and returns its standard output.
fn ffmpeg(line: &str, file: &Path) -> Vec<u8> {
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]);
    for word in line.split_whitespace() {
        command.arg(if word == "FILE" {
            file.as_os_str()
        } else {
            OsStr::new(word)
        });
    }
    let output = command
        .output()
        .expect("ffmpeg on the PATH, which these tests need");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffmpeg {line}: {said}");
    output.stdout
}

/// Half a minute of H.264 and audio in an MP4.
fn source() -> &'static Path {
    static SOURCE: OnceLock<PathBuf> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cut-source.mp4");
        let part = path.with_extension(format!("{}.mp4", std::process::id()));
        let pictures = format!("-f lavfi -i testsrc2=size=320x180:rate={RATE}:duration=30");
        let sound = "-f lavfi -i sine=frequency=440:duration=30";
        let encode = "-c:v libx264 -g 50 -sc_threshold 0 -bf 2 -c:a aac FILE";
        ffmpeg(&format!("{pictures} {sound} {encode}"), &part);
        fs::rename(part, &path).expect("the source");
        path
    })
}

/// The hashes of the pictures that a file shows.
fn pictures(file: &Path) -> Vec<String> {
    let listed = ffmpeg("-i FILE -map 0:v -fps_mode passthrough -f framemd5 -", file);
    let listed = String::from_utf8(listed).expect("text");
    let hash = |line: &str| line.rsplit(' ').next().expect("a hash").to_owned();
    listed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(hash)
        .collect()
}

fn clipflow(arguments: &[&str], output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipflow"));
    command
        .args(["cut", "--json"])
        .args(arguments)
        .arg("--output")
        .arg(output)
        .env_remove("CLIPFLOW_FFMPEG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Cuts the interval from a source, and returns the JSON output.
async fn cut(source: &str, options: &[&str], output: &Path) -> Value {
    let arguments = [&[source], &INTERVAL[..], options].concat();
    said(&finished(clipflow(&arguments, output)).await)
}

fn said(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

async fn finished(mut command: Command) -> Output {
    command.output().await.expect("clipflow runs")
}

/// The exit code and the message of a cut that must fail.
async fn failure(command: Command) -> (i32, String) {
    let output = finished(command).await;
    let error = String::from_utf8(output.stderr).expect("text");
    let code = output.status.code().expect("no signal ended it");
    assert!(code != 0 && output.stdout.is_empty(), "{error}");
    assert!(!error.contains("Signature"), "a secret is printed: {error}");
    (code, error)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Asserts that a clip has exactly the interval's frames, and that those from the keyframe on are unchanged.
fn assert_is_smart_cut(clip: &Path, source: &Path) {
    let (clip, source) = (pictures(clip), pictures(source));
    assert_eq!(clip.len(), FRAMES.len());
    assert_eq!(
        clip[KEYFRAME - FRAMES.start..],
        source[KEYFRAME..FRAMES.end]
    );
    assert_ne!(
        clip[0], source[FRAMES.start],
        "frames before the keyframe are encoded"
    );
}

#[tokio::test]
async fn file_is_cut_exactly_and_mostly_copied() {
    let folder = Folder::new();
    let clip = folder.path("clip.mp4");
    let report = cut(text(source()), &[], &clip).await;
    assert_is_smart_cut(&clip, source());
    assert_eq!(
        (
            &report["method"],
            &report["frames"],
            &report["startSeconds"],
            &report["endSeconds"]
        ),
        (&json!("smartCut"), &json!(75), &json!(1.2), &json!(4.2))
    );
    let seconds = |name: &str| report[name].as_f64().expect("a number");
    assert!((seconds("encodedSeconds") - 0.8).abs() < 0.001, "{report}");
    assert!((seconds("copiedSeconds") - 2.2).abs() < 0.001, "{report}");
    assert_eq!(
        report["bytes"],
        fs::metadata(&clip).expect("the clip").len()
    );
    assert_eq!(
        report["sourceBytes"],
        fs::metadata(source()).expect("the source").len()
    );
    assert_eq!(folder.names(), ["clip.mp4"]);
}

#[tokio::test]
async fn copy_of_an_mp4_takes_no_ffmpeg() {
    let folder = Folder::new();
    let clip = folder.path("clip.mp4");
    let mut command = clipflow(
        &[&[text(source()), "--copy"], &INTERVAL[..]].concat(),
        &clip,
    );
    let report = said(
        &finished({
            command.env("PATH", "");
            command
        })
        .await,
    );
    assert_eq!(pictures(&clip), pictures(source())[FRAMES]);
    assert_eq!(
        (
            &report["method"],
            &report["hiddenFrames"],
            &report["encodedSeconds"]
        ),
        (&json!("copy"), &json!(30), &json!(0.0))
    );
}

#[tokio::test]
async fn source_that_cannot_be_copied_is_encoded_whole_and_the_report_says_why() {
    let folder = Folder::new();
    let (source, clip) = (folder.path("source.mp4"), folder.path("clip.mp4"));
    let pictures_of = format!("-f lavfi -i testsrc2=size=320x180:rate={RATE}:duration=5");
    ffmpeg(&format!("{pictures_of} -c:v mpeg4 FILE"), &source);
    let report = cut(text(&source), &[], &clip).await;
    assert_eq!(pictures(&clip).len(), FRAMES.len());
    assert_eq!(report["method"], "encodedWhole");
    assert!(
        report["why"]
            .as_str()
            .is_some_and(|why| why.contains("mpeg4")),
        "{report}"
    );
}

/// The codec and the pixels of a clip.
fn coding(clip: &Path) -> String {
    let entries = "-v error -select_streams v -of csv=p=0 -show_entries stream=codec_name,pix_fmt";
    let said = std::process::Command::new("ffprobe")
        .args(entries.split(' '))
        .arg(clip)
        .output();
    let said = String::from_utf8(said.expect("ffprobe").stdout).expect("text");
    said.trim().to_owned()
}

#[tokio::test]
async fn hevc_keeps_its_pictures_in_the_formats_that_allow_it() {
    let folder = Folder::new();
    let (source, clip) = (folder.path("source.mp4"), folder.path("clip.mp4"));
    let pictures_of = format!("-f lavfi -i testsrc2=size=320x180:rate={RATE}:duration=5");
    let encode = "-pix_fmt yuv420p10le -c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params \
                  log-level=error:keyint=50:min-keyint=50:scenecut=0:bframes=0";
    ffmpeg(&format!("{pictures_of} {encode} FILE"), &source);
    for format in ["--format=hevc", "--format=source"] {
        let report = cut(text(&source), &[format, "--force"], &clip).await;
        assert_eq!(report["method"], "smartCut", "{report}");
        assert_is_smart_cut(&clip, &source);
        assert_eq!(coding(&clip), "hevc,yuv420p10le", "{format}");
    }
    let report = cut(text(&source), &["--force"], &clip).await;
    assert_eq!(report["method"], "encodedWhole", "{report}");
    assert_eq!(coding(&clip), "h264,yuv420p");
    assert_eq!(pictures(&clip).len(), FRAMES.len());
}

#[tokio::test]
async fn copy_has_no_format_of_its_own() {
    let folder = Folder::new();
    let arguments = [&[text(source()), "--copy", "--format=hevc"], &INTERVAL[..]].concat();
    let (code, error) = failure(clipflow(&arguments, &folder.path("clip.mp4"))).await;
    assert_eq!(code, 2);
    assert!(error.contains("--copy"), "{error}");
}

/// The source with the picture at a second damaged.
fn damaged(folder: &Folder, seconds: &str) -> PathBuf {
    let listing = std::process::Command::new("ffprobe")
        .args("-v error -select_streams v -of csv=p=0 -show_entries packet=pts_time,pos".split(' '))
        .arg(source())
        .output();
    let listing = String::from_utf8(listing.expect("ffprobe").stdout).expect("text");
    let place = listing
        .lines()
        .find_map(|line| line.strip_prefix(seconds)?.strip_prefix(','));
    let at: usize = place
        .expect("a picture")
        .trim_end_matches(',')
        .parse()
        .expect("a place");
    let mut file = fs::read(source()).expect("the source");
    file[at..at + 4].fill(0xff);
    let path = folder.path("damaged.mp4");
    fs::write(&path, file).expect("room for a source");
    path
}

#[tokio::test]
async fn damage_of_the_source_is_said_and_a_first_picture_that_does_not_decode_is_refused() {
    let folder = Folder::new();
    let clip = folder.path("clip.mp4");
    let cut = async |damaged: &str, options: &[&str]| {
        let source = self::damaged(&folder, damaged);
        let arguments = [
            &[text(&source), "--start=3", "--end=3.8", "--force"],
            options,
        ]
        .concat();
        clipflow(&arguments, &clip)
    };
    for (options, left_out) in [(&[][..], json!(1)), (&["--copy"], Value::Null)] {
        let report = said(&finished(cut("3.400000", options).await).await);
        let damaged = &report["damaged"];
        assert_eq!(
            (&damaged["pictures"], &damaged["leftOut"]),
            (&json!(1), &left_out)
        );
        assert_eq!(damaged["places"][0]["start"], 0.4);
        let (code, error) = failure(cut("3.000000", options).await).await;
        assert_eq!(code, 1, "{error}");
        assert!(
            error.contains("its first picture does not decode"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn matroska_is_cut_as_exactly() {
    let folder = Folder::new();
    let (matroska, clip) = (folder.path("source.mkv"), folder.path("clip.mp4"));
    // Without audio: in Matroska it begins earlier, and so would the source.
    let copy = format!("-i {} -an -c copy FILE", text(source()));
    ffmpeg(&copy, &matroska);
    let report = cut(text(&matroska), &[], &clip).await;
    assert_eq!(report["method"], "smartCut");
    assert_is_smart_cut(&clip, source());
}

#[tokio::test]
async fn of_a_url_only_what_the_clip_needs_is_read() {
    let server = Server::start(source()).await;
    let folder = Folder::new();
    let clip = folder.path("clip.mp4");
    let report = cut(&server.url("moved.mp4"), &[], &clip).await;
    assert_is_smart_cut(&clip, source());
    assert_eq!(
        report["source"],
        format!("http://127.0.0.1:{}/moved.mp4", server.port)
    );
    assert!(!report.to_string().contains(SECRET));
    let whole = report["sourceBytes"].as_u64().expect("a number");
    assert!(
        server.sent_bytes() < whole / 2,
        "{} of {whole}",
        server.sent_bytes()
    );
    assert_eq!(report["readBytes"], server.sent_bytes());
}

#[tokio::test]
async fn s3_object_is_cut_as_exactly() {
    let server = Server::start(source()).await;
    let folder = Folder::new();
    let clip = folder.path("clip.mp4");
    let arguments = [&["s3://archive/source.mp4"], &INTERVAL[..]].concat();
    let mut command = clipflow(&arguments, &clip);
    command
        .env(
            "AWS_ENDPOINT_URL",
            format!("http://127.0.0.1:{}", server.port),
        )
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "example")
        .env("AWS_REGION", "eu-west-1");
    let report = said(&finished(command).await);
    assert_eq!(report["source"], "s3://archive/source.mp4");
    assert_is_smart_cut(&clip, source());
}

#[tokio::test]
async fn server_that_fails_now_and_then_is_asked_again() {
    let server = Server::start(source()).await;
    let folder = Folder::new();
    let clip = folder.path("clip.mp4");
    cut(&server.url("now-and-then.mp4"), &["--copy"], &clip).await;
    assert_eq!(pictures(&clip), pictures(source())[FRAMES]);
}

#[tokio::test]
async fn url_that_cannot_be_cut_is_refused_by_name_and_leaves_nothing() {
    for (path, code, says) in [
        (
            "without-ranges.mp4",
            1,
            "the server does not serve byte ranges",
        ),
        ("changes.mp4", 3, "changed while it was read"),
        ("changes-unnoticed.mp4", 3, "changed while it was read"),
        ("absent.mp4", 3, "does not exist (404 Not Found)"),
        ("refused.mp4", 1, "the server refuses it (403 Forbidden)"),
        ("round.mp4", 1, "too many redirects"),
    ] {
        let server = Server::start(source()).await;
        let folder = Folder::new();
        let url = server.url(path);
        let arguments = [&[url.as_str(), "--copy"], &INTERVAL[..]].concat();
        let (exit, error) = failure(clipflow(&arguments, &folder.path("clip.mp4"))).await;
        let name = format!("http://127.0.0.1:{}/{path}", server.port);
        assert!(
            error.contains(&name) && error.contains(says),
            "{path}: {error}"
        );
        assert_eq!(
            (exit, folder.names()),
            (code, Vec::<String>::new()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn file_is_overwritten_only_by_force() {
    let folder = Folder::new();
    let clip = folder.path("clip.mp4");
    fs::write(&clip, "precious").expect("a file");
    let arguments = [&[text(source()), "--copy"], &INTERVAL[..]].concat();
    let (code, error) = failure(clipflow(&arguments, &clip)).await;
    assert!(
        error.ends_with("clip.mp4 exists; --force overwrites it\n"),
        "{error}"
    );
    assert_eq!(
        (code, fs::read_to_string(&clip).expect("a file")),
        (2, "precious".to_owned())
    );
    cut(text(source()), &["--copy", "--force"], &clip).await;
    assert_eq!(pictures(&clip).len(), FRAMES.len());
    assert_eq!(folder.names(), ["clip.mp4"]);
}

#[tokio::test]
async fn what_cannot_be_cut_is_told_by_the_exit_code_and_leaves_nothing() {
    let folder = Folder::new();
    let (source, absent) = (text(source()), folder.path("absent.mp4"));
    let here = folder.path("");
    for (arguments, name, code, says) in [
        (
            [source, "--start=31", "--end=32"],
            "clip.mp4",
            2,
            "start: 31 s is beyond",
        ),
        ([source, "--start=3", "--end=2"], "clip.mp4", 2, "end: "),
        (
            [source, "--start=x", "--end=2"],
            "clip.mp4",
            2,
            "is not a time",
        ),
        (
            [source, "--start=1", "--end=2"],
            "clip.mkv",
            2,
            "a clip is an MP4",
        ),
        (
            [source, "--start=1", "--end=2"],
            "a/clip.mp4",
            1,
            "making a folder in",
        ),
        (
            [text(&absent), "--start=1", "--end=2"],
            "clip.mp4",
            3,
            "there is no such file",
        ),
        (
            [text(&here), "--start=1", "--end=2"],
            "clip.mp4",
            2,
            "is no file",
        ),
        (
            ["s3://archive", "--start=1", "--end=2"],
            "clip.mp4",
            2,
            "is not s3://bucket/key",
        ),
        (
            ["http://", "--start=1", "--end=2"],
            "clip.mp4",
            2,
            "SOURCE is no URL",
        ),
        (
            [file!(), "--start=1", "--end=2"],
            "clip.mp4",
            1,
            "the source is a text file",
        ),
    ] {
        let mut command = clipflow(&arguments, &folder.path(name));
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let (exit, error) = failure(command).await;
        assert!(error.contains(says), "{arguments:?}: {error}");
        assert_eq!(
            (exit, folder.names()),
            (code, Vec::<String>::new()),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn without_ffmpeg_it_says_how_to_get_one() {
    let folder = Folder::new();
    let (matroska, clip) = (folder.path("source.mkv"), folder.path("clip.mp4"));
    ffmpeg(
        &format!("-i {} -t 5 -c copy FILE", text(source())),
        &matroska,
    );
    for arguments in [&[text(source())][..], &[text(&matroska), "--copy"]] {
        let mut command = clipflow(&[arguments, &INTERVAL[..]].concat(), &clip);
        command.env("PATH", "");
        let (code, error) = failure(command).await;
        assert_eq!(code, 1);
        assert!(
            error.contains("apt install ffmpeg") && error.contains("CLIPFLOW_FFMPEG"),
            "{error}"
        );
    }
    assert_eq!(folder.names(), ["source.mkv"]);
}

#[tokio::test]
async fn program_that_is_named_is_used_and_judged() {
    let folder = Folder::new();
    for (version, says) in [
        (
            "ffmpeg version 5.1.9-0+deb12u1",
            "FFmpeg 5.1 is too old; 7.0 or newer is needed",
        ),
        ("hello", "is no FFmpeg"),
    ] {
        let program = script(&folder, &format!("echo '{version}'"));
        let mut command = clipflow(
            &[&[text(source())], &INTERVAL[..]].concat(),
            &folder.path("c"),
        );
        command.env("CLIPFLOW_FFMPEG", program);
        let (code, error) = failure(command).await;
        assert!(code == 1 && error.contains(says), "{error}");
    }
}

/// A program that is not `FFmpeg`.
fn script(folder: &Folder, lines: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path("ffmpeg");
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    path
}

/// Sends a signal to the command and returns its exit code.
async fn ended_by(signal: Signal, mut child: Child) -> Option<i32> {
    let id = child
        .id()
        .and_then(|id| Pid::from_raw(id.cast_signed()))
        .expect("it runs");
    kill_process(id, signal).expect("it runs");
    child.wait().await.expect("it ends").code()
}

#[tokio::test]
async fn interrupted_read_leaves_nothing() {
    let server = Server::start(source()).await;
    let folder = Folder::new();
    let url = server.url("stalls.mp4");
    let arguments = [&[url.as_str(), "--copy"], &INTERVAL[..]].concat();
    let child = clipflow(&arguments, &folder.path("clip.mp4"))
        .spawn()
        .expect("clipflow runs");
    server.stalled().await;
    assert_eq!(folder.names().len(), 1, "it has a working folder");
    assert_eq!(ended_by(Signal::INT, child).await, Some(130));
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[tokio::test]
async fn interrupted_encode_leaves_nothing_and_ends_ffmpeg() {
    let (folder, programs) = (Folder::new(), Folder::new());
    let started = programs.path("started");
    let slow = format!(
        "[ \"$1\" = -version ] && echo 'ffmpeg version 8.0' && exit\necho $$ > {}\nexec /bin/sleep 600",
        text(&started)
    );
    let program = script(&programs, &slow);
    let arguments = [&[text(source())], &INTERVAL[..]].concat();
    let mut command = clipflow(&arguments, &folder.path("clip.mp4"));
    let child = command
        .env("CLIPFLOW_FFMPEG", program)
        .spawn()
        .expect("clipflow runs");
    let pid = eventually(|| {
        let pid = fs::read_to_string(&started).ok()?;
        pid.ends_with('\n').then(|| pid.trim().to_owned())
    })
    .await;
    assert_eq!(ended_by(Signal::TERM, child).await, Some(143));
    assert_eq!(folder.names(), Vec::<String>::new());
    // A process that has ended no longer has a command line.
    let line = format!("/proc/{pid}/cmdline");
    eventually(|| fs::read(&line).unwrap_or_default().is_empty().then_some(())).await;
}

/// Polls for something until it appears.
async fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), found)
        .await
        .expect("it comes")
}
