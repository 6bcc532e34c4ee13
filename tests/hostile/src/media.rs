//! Good files of every kind, from which the others are made.

use std::{path::Path, process::Command};

const PICTURES: &str = "-f lavfi -i testsrc2=size=128x72:rate=25:duration=2";
const SOUND: &str = "-f lavfi -i anoisesrc=r=48000:d=2:a=0.01:seed=7";
const H264: &str =
    "-c:v libx264 -preset ultrafast -tune zerolatency -threads 1 -pix_fmt yuv420p -g 10 -bf 2";
const HEVC: &str =
    "-c:v libx265 -preset ultrafast -x265-params log-level=error:info=0:pools=1 -tag:v hvc1 -g 10";
const MPEG4: &str = "-c:v mpeg4 -q:v 20 -g 10";

/// The files.
#[derive(Debug)]
pub struct Media {
    /// H.264 and AAC, with the index at the end.
    pub mp4: Vec<u8>,
    /// Without sound.
    pub silent: Vec<u8>,
    pub hevc: Vec<u8>,
    pub mov: Vec<u8>,
    pub fragmented: Vec<u8>,
    pub ts: Vec<u8>,
    pub mkv: Vec<u8>,
    /// Without cues.
    pub live_mkv: Vec<u8>,
    pub avi: Vec<u8>,
    pub flv: Vec<u8>,
    pub ps: Vec<u8>,
}

impl Media {
    /// Makes them with `FFmpeg`.
    ///
    /// # Panics
    /// If there is no `FFmpeg` on the `PATH`, or it fails.
    #[must_use]
    pub fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |name: &str, options: &str| make(folder.path(), name, options);
        let sound = format!("{PICTURES} {SOUND} {H264} -c:a aac -b:a 32k");
        Self {
            mp4: make("a.mp4", &sound),
            silent: make("b.mp4", &format!("{PICTURES} {H264}")),
            hevc: make("c.mp4", &format!("{PICTURES} {HEVC}")),
            mov: make(
                "d.mov",
                &format!("{PICTURES} {SOUND} {H264} -c:a pcm_s16le"),
            ),
            fragmented: make(
                "e.mp4",
                &format!("{sound} -movflags +frag_keyframe+empty_moov"),
            ),
            ts: make("f.ts", &sound),
            mkv: make("g.mkv", &sound),
            live_mkv: make("h.mkv", &format!("{sound} -f matroska -live 1")),
            avi: make("i.avi", &format!("{PICTURES} {SOUND} {MPEG4} -c:a mp2")),
            flv: make("j.flv", &format!("{PICTURES} {SOUND} {H264} -c:a aac")),
            ps: make(
                "k.mpg",
                &format!("{PICTURES} {SOUND} -c:v mpeg2video -c:a mp2"),
            ),
        }
    }

    /// All of them, by container.
    #[must_use]
    pub fn kinds(&self) -> [(&'static str, &[u8]); 11] {
        [
            ("mp4", &self.mp4),
            ("silent", &self.silent),
            ("hevc", &self.hevc),
            ("mov", &self.mov),
            ("fragmented", &self.fragmented),
            ("ts", &self.ts),
            ("mkv", &self.mkv),
            ("live-mkv", &self.live_mkv),
            ("avi", &self.avi),
            ("flv", &self.flv),
            ("ps", &self.ps),
        ]
    }
}

/// What `FFmpeg` makes with a line of options.
fn make(folder: &Path, name: &str, options: &str) -> Vec<u8> {
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(options.split_whitespace())
        .args(["-bitexact", name])
        .current_dir(folder)
        .output()
        .expect("ffmpeg on the PATH");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "ffmpeg {options}: {said}");
    std::fs::read(folder.join(name)).expect("the file")
}
