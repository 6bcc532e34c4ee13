//! Whole command lines of runs.

use crate::{
    common::{
        ffmpeg::{Folder, load, pictures, sound, words},
        property::runtime,
        smart::smart_cuts,
        source::{AAC, H264, LIMITS, Source},
    },
    lines,
};
use ffmpeg::{
    process::Ffmpeg,
    remux::{Media, Remuxer},
    scratch::Scratch,
};
use model::clip_spec::AudioFormat;
use std::{
    env,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Environment variable with the file in which the program records runs when it runs itself again.
const LOG: &str = "CLIPFLOW_TEST_COMMANDS";

/// Does something, and returns the arguments of the `FFmpeg` runs.
type Run = fn() -> String;

/// Each with its name.
pub const ALL: [(&str, Run); 4] = [
    ("smart_cut", smart_cut),
    ("joined_smart_cuts", joined_smart_cuts),
    ("remux_of_a_transport_stream", || remux("a.ts")),
    ("remux_of_matroska", || remux("a.mkv")),
];

/// Runs the program again, recording the runs of `FFmpeg`; `None` if they are being recorded already.
pub fn record() -> Option<ExitCode> {
    if env::var_os(LOG).is_some() {
        return None;
    }
    let folder = Folder::new();
    let (log, script) = (folder.path("commands"), folder.path("ffmpeg"));
    let program = on_path("ffmpeg").expect("ffmpeg on the PATH");
    // Its environment is empty, so the script must contain everything.
    let note = format!(
        "#!/bin/sh\ncase \"$*\" in *-progress*) echo \"$*\" >> '{}';; esac\nexec '{}' \"$@\"\n",
        log.display(),
        program.display(),
    );
    std::fs::write(&script, note).expect("room for a script");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("a script");
    symlink(program.with_file_name("ffprobe"), folder.path("ffprobe")).expect("a link");
    let path = env::var_os("PATH").unwrap_or_default();
    let paths = [folder.path("")].into_iter().chain(env::split_paths(&path));
    let status = Command::new(env::current_exe().expect("a program"))
        .args(env::args_os().skip(1))
        .env("PATH", env::join_paths(paths).expect("folders"))
        .env(LOG, log)
        .status()
        .expect("a program");
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Some(ExitCode::from(code.unwrap_or(1)))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The arguments of the `FFmpeg` runs during `work`. The order of concurrent runs is not recorded.
fn noted(work: impl AsyncFnOnce()) -> String {
    let log = PathBuf::from(env::var_os(LOG).expect("it is set"));
    std::fs::write(&log, "").expect("room for a log");
    runtime().block_on(work());
    let log = std::fs::read_to_string(&log).expect("a log");
    let mut commands: Vec<_> = log
        .lines()
        .map(|line| lines(words(line).into_iter().map(anonymous)))
        .collect();
    commands.sort_unstable();
    commands.join("\n")
}

/// An argument without the port and the secret of a URL.
fn anonymous(word: String) -> String {
    if word.starts_with("http://127.0.0.1:") {
        "http://127.0.0.1:PORT/SECRET".to_owned()
    } else {
        word
    }
}

fn source(folder: &Folder, name: &str) -> PathBuf {
    let arguments = [pictures("30", 8), sound(8), words(H264), words(AAC)];
    folder.build(name, &arguments)
}

async fn decode(path: &Path) -> Source {
    Source::decode(path).await
}

fn smart_cut() -> String {
    let folder = Folder::new();
    let path = source(&folder, "source.mp4");
    noted(async || {
        let source = decode(&path).await;
        smart_cuts(&[(&source, 0.5..3.5)], None)
            .await
            .expect("a smart cut");
    })
}

fn joined_smart_cuts() -> String {
    let folder = Folder::new();
    let path = source(&folder, "source.mp4");
    let sound = AudioFormat {
        sample_rate: 48_000,
        channels: 1,
        layout: "mono",
    };
    noted(async || {
        let source = decode(&path).await;
        let cuts = [(&source, 0.5..2.5), (&source, 1.0..3.5)];
        smart_cuts(&cuts, Some(sound)).await.expect("a smart cut");
    })
}

fn remux(name: &str) -> String {
    let folder = Folder::new();
    let path = source(&folder, name);
    noted(async || {
        let (ffmpeg, scratch) = (
            Ffmpeg::find().expect("ffmpeg"),
            Scratch::new(0, 0).expect("a folder"),
        );
        let remuxer = || Remuxer {
            ffmpeg: &ffmpeg,
            scratch: &scratch,
            limits: LIMITS,
            max_whole_bytes: 1 << 24,
        };
        let media = Media::open(load(&path), remuxer()).await.expect("a source");
        let range = media.remuxed_range((5.0, 6.0), None, "range.mp4", remuxer());
        range.await.expect("a part of it");
    })
}
