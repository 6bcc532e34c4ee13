//! Sources built by `FFmpeg`, and what `FFmpeg` decodes from a file.

use bytes::Bytes;
use futures::TryStreamExt;
use mp4_cut::{Movie, Window};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tempfile::TempDir;

/// The picture size of generated sources.
pub const SIZE: (usize, usize) = (320, 180);
/// Audio is decoded to this many samples per second, in one channel.
pub const SAMPLE_RATE: usize = 48_000;

pub const H264: &str = "-c:v libx264 -preset veryfast -crf 30 -pix_fmt yuv420p -bf 2 -g 30";
pub const HEVC: &str = "-c:v libx265 -preset ultrafast -crf 32 -pix_fmt yuv420p -tag:v hvc1";
pub const AAC: &str = "-c:a aac -b:a 96k";

/// How many bits of a picture's number are burned in, from left to right, lowest bit first.
pub const BITS: usize = 10;
/// The row of pixels in which the bits can be read.
pub const BITS_ROW: usize = 30;

/// Input options for `seconds` of distinct, numbered pictures.
pub fn pictures(rate: &str, seconds: u32) -> Vec<String> {
    let (width, height) = SIZE;
    let source = format!("testsrc2=size={width}x{height}:rate={rate}:duration={seconds}");
    words(&format!("-f lavfi -i {source},{}", numbered()))
}

/// A filter that burns a picture's number into its top: white for a one, black for a zero.
pub fn numbered() -> String {
    let (width, height) = (SIZE.0 / BITS, 2 * BITS_ROW);
    let bits = (0..BITS).map(|bit| {
        let (x, value) = (bit * width, 1 << bit);
        format!(
            ",drawbox=x={x}:y=0:w={width}:h={height}:c=white:t=fill:enable='bitand(n\\,{value})'"
        )
    });
    format!(
        "drawbox=x=0:y=0:w={}:h={height}:c=black:t=fill{}",
        SIZE.0,
        bits.collect::<String>()
    )
}

/// The number that is burned into a picture, given its pixels.
pub fn number_of(picture: &[u8]) -> usize {
    let is_set = |bit: &usize| picture[BITS_ROW * SIZE.0 + (2 * bit + 1) * SIZE.0 / BITS / 2] > 127;
    (0..BITS).filter(is_set).map(|bit| 1 << bit).sum()
}

/// Input options for `seconds` of audio that never repeats, even after lossy compression: low-frequency noise.
pub fn sound(seconds: u32) -> Vec<String> {
    words(&format!(
        "-f lavfi -i anoisesrc=r={SAMPLE_RATE}:d={seconds}:seed=7,lowpass=f=3000"
    ))
}

/// Splits a command line at spaces.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A folder for files of one test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `FFmpeg` with `arguments`, which write the file `name`. Files that depend on no other file are built only
    /// once.
    pub fn build(&self, name: &str, arguments: &[Vec<String>]) -> PathBuf {
        let path = self.path(name);
        let output = vec!["-y".to_owned(), path.display().to_string()];
        let run = || ffmpeg(&[&arguments.concat()[..], &output].concat());
        if arguments.iter().flatten().any(|word| word.starts_with('/')) {
            run();
            return path;
        }
        let built = built(name, arguments.concat());
        let mut is_new = false;
        let file = built.get_or_init(|| {
            is_new = true;
            run();
            load(&path)
        });
        if !is_new {
            std::fs::write(&path, file).expect("room for a source");
        }
        path
    }
}

/// The file that `FFmpeg` builds with these arguments. The name determines the container.
fn built(name: &str, arguments: Vec<String>) -> Arc<OnceLock<Bytes>> {
    static BUILT: Mutex<Files> = Mutex::new(Files::new());
    type Files = BTreeMap<(String, Vec<String>), Arc<OnceLock<Bytes>>>;
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built
        .entry((name.to_owned(), arguments))
        .or_default()
        .clone()
}

/// What `FFmpeg` writes to its standard output. It must not fail.
pub fn ffmpeg(arguments: &[String]) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-v", "error"])
        .args(arguments)
        .output()
        .expect("ffmpeg on the PATH, which these tests build their sources with");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ffmpeg {}: {complaint}",
        arguments.join(" ")
    );
    output.stdout
}

/// What `ffprobe` says about `path`, one line for each packet or stream.
pub fn probe(path: &Path, options: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(words(options))
        .arg(path)
        .output();
    String::from_utf8(output.expect("ffprobe").stdout).expect("text")
}

/// A decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// When it is shown, in microseconds from the start of the file.
    pub time: i64,
    /// The hash of its pixels.
    pub hash: String,
}

/// What `FFmpeg` decodes from a file.
pub struct Decoded {
    /// Every picture that is shown.
    pub pictures: Vec<Picture>,
    /// The audio from the start of the file; empty for a silent one.
    pub sound: Vec<f64>,
    /// Its complaints; empty if all is well.
    pub remarks: String,
}

/// Decodes `path`, as strictly as `FFmpeg` can.
pub fn decode(path: &Path, has_sound: bool) -> Decoded {
    let folder = Folder::new();
    let sound = folder.path("sound");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-hide_banner", "-v", "warning", "-xerror", "-i"])
        .arg(path)
        .args(words(PICTURES));
    if has_sound {
        command.args(words(SOUND)).arg(&sound);
    }
    let output = command.output().expect("ffmpeg on the PATH");
    let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() || !remarks.is_empty(),
        "ffmpeg fails without a word"
    );
    let sound = if has_sound {
        read_sound(&std::fs::read(sound).expect("sound"))
    } else {
        Vec::new()
    };
    Decoded {
        pictures: read_pictures(&output.stdout),
        sound,
        remarks,
    }
}

/// Output options for a listing of pictures.
const PICTURES: &str = "-map 0:v:0 -fps_mode passthrough -enc_time_base:v demux -f framemd5 -";
/// Output options for audio samples, [`SAMPLE_RATE`] per second.
const SOUND: &str =
    "-map 0:a:0 -af aresample=async=1:min_hard_comp=0.002:first_pts=0 -ac 1 -ar 48000 -f s16le";

/// Every picture that `path` shows.
pub fn decode_pictures(path: &Path) -> Vec<Picture> {
    read_pictures(&ffmpeg(
        &[
            words("-i"),
            vec![path.display().to_string()],
            words(PICTURES),
        ]
        .concat(),
    ))
}

pub fn read_pictures(listing: &[u8]) -> Vec<Picture> {
    let listing = std::str::from_utf8(listing).expect("a listing of frames");
    let mut unit = None;
    let mut pictures = Vec::new();
    for line in listing.lines() {
        if let Some(base) = line.strip_prefix("#tb 0: ") {
            let (numerator, denominator) = base.split_once('/').expect("a time base");
            unit = Some((number(numerator), number(denominator)));
        } else if !line.starts_with('#') {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let (numerator, denominator) = unit.expect("a time base before the first frame");
            let time = number(fields[2]) * 1_000_000 * numerator / denominator;
            pictures.push(Picture {
                time,
                hash: fields[5].to_owned(),
            });
        }
    }
    pictures
}

fn number(text: &str) -> i64 {
    text.parse().expect("a number")
}

fn read_sound(samples: &[u8]) -> Vec<f64> {
    samples
        .as_chunks()
        .0
        .iter()
        .map(|sample| f64::from(i16::from_le_bytes(*sample)))
        .collect()
}

/// The pixels of every picture that `path` shows, in `width` by `height`: luma, then both chroma planes at a quarter of
/// the size.
pub fn decode_pixels(path: &Path, [width, height]: [usize; 2]) -> Vec<Vec<u8>> {
    let options = "-map 0:v:0 -fps_mode passthrough -pix_fmt yuv420p -f rawvideo -";
    let pixels = ffmpeg(
        &[
            words("-i"),
            vec![path.display().to_string()],
            words(options),
        ]
        .concat(),
    );
    let picture_bytes = width * height + 2 * width.div_ceil(2) * height.div_ceil(2);
    pixels.chunks(picture_bytes).map(<[u8]>::to_vec).collect()
}

/// The bytes of a file, as a source.
pub fn load(path: &Path) -> Bytes {
    std::fs::read(path)
        .expect("a file that a test has built")
        .into()
}

pub async fn read(source: &Bytes) -> Movie {
    Movie::read(source).await.expect("a source that can be cut")
}

/// All bytes of a window.
pub async fn collect(window: &Window, source: &Bytes) -> mp4_cut::Result<Vec<u8>> {
    window
        .stream(source, 3)
        .try_fold(Vec::new(), async |whole, part| {
            Ok([whole, part.to_vec()].concat())
        })
        .await
}

/// The index of the audio sample at `seconds`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small"
)]
pub fn sample_at(seconds: f64) -> usize {
    (seconds * SAMPLE_RATE as f64) as usize
}

/// The peak level of audio between two seconds.
pub fn level(sound: &[f64], from: f64, to: f64) -> f64 {
    let part = &sound[sample_at(from)..sample_at(to)];
    part.iter().map(|sample| sample.abs()).fold(0.0, f64::max)
}
