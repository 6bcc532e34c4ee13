//! Joined cuts, edits and formats on the local stack, judged by what is decoded of the clips.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tests::{Ended, Stack};

/// Samples a second that sound is decoded to.
const SAMPLE_RATE: usize = 8000;

/// Eight seconds of pictures whose brightness tells their number, so that each differs from its neighbours.
fn pictures(size: &str, rate: u32) -> String {
    format!("color=black:size={size}:rate={rate}:duration=8,geq=lum='40+mod(N*7\\,140)':cb=128:cr=128")
}

/// The brightness of a picture of a source.
fn brightness_of(number: usize) -> u8 {
    u8::try_from(40 + number * 7 % 140).expect("below 180")
}

/// Makes a source of [`pictures`] and a tone and uploads it; returns the file.
async fn source(stack: &Stack, folder: &Path, name: &str, (size, rate): (&str, u32), options: &[&str]) -> PathBuf {
    let file = folder.join(name);
    let tone = "sine=frequency=440:duration=8:sample_rate=48000";
    let inputs = ["-f", "lavfi", "-i", &pictures(size, rate), "-f", "lavfi", "-i", tone];
    let codecs = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "10", "-g", "40", "-pix_fmt", "yuv420p"];
    stack.ffmpeg(&[&inputs[..], &codecs, options, &[file.to_str().expect("UTF-8")]].concat());
    stack.upload(name, &file).await;
    file
}

fn segment(stack: &Stack, key: &str, start: f64, end: f64) -> Value {
    json!({"source": {"bucket": stack.description.source_bucket, "key": key}, "start": start, "end": end})
}

fn request(clip_id: &str, segments: &[Value]) -> Value {
    json!({"clipId": clip_id, "segments": segments, "output": {"thumbnails": [64]}})
}

/// The clip of an outcome, downloaded.
async fn delivered(stack: &Stack, ended: &Ended, folder: &Path) -> PathBuf {
    assert_eq!((ended.status.as_str(), ended.output["status"].as_str()), ("SUCCEEDED", Some("available")), "{ended:?}");
    let key = ended.output["clip"]["key"].as_str().expect("a key");
    let file = folder.join(key.replace('/', "-"));
    stack.download(key, &file).await;
    file
}

fn rejection(ended: &Ended) -> (&str, &str) {
    let text = |field: &str| ended.output[field].as_str().unwrap_or_else(|| panic!("{field}: {ended:?}"));
    assert_eq!(text("status"), "rejected");
    (text("reason"), text("message"))
}

/// What a filter makes of a file's pictures, as raw bytes.
fn decoded(stack: &Stack, file: &Path, filter: &str, format: &str) -> Vec<u8> {
    let raw = file.with_extension("raw");
    let paths = [file.to_str().expect("UTF-8"), raw.to_str().expect("UTF-8")];
    let shape = ["-vf", filter, "-pix_fmt", format, "-fps_mode", "passthrough", "-f", "rawvideo"];
    stack.ffmpeg(&[&["-i", paths[0]], &shape[..], &[paths[1]]].concat());
    std::fs::read(raw).expect("frames")
}

/// The brightness of every frame at a place, in a square of two pixels.
fn brightness(stack: &Stack, file: &Path, x: u32, y: u32) -> Vec<u8> {
    decoded(stack, file, &format!("crop=2:2:{x}:{y}:exact=1,extractplanes=y"), "gray").into_iter().step_by(4).collect()
}

/// The loudest sample of every tenth of a second, in parts of a full one; empty where there is no sound.
fn loudness(stack: &Stack, file: &Path) -> Vec<f64> {
    if !stack.ffprobe(file)["streams"].as_array().expect("streams").iter().any(|one| one["codec_type"] == "audio") {
        return Vec::new();
    }
    let raw = file.with_extension("pcm");
    let paths = [file.to_str().expect("UTF-8"), raw.to_str().expect("UTF-8")];
    let rate = SAMPLE_RATE.to_string();
    let shape = ["-vn", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", &rate, "-f", "s16le"];
    stack.ffmpeg(&[&["-i", paths[0]], &shape[..], &[paths[1]]].concat());
    let bytes = std::fs::read(raw).expect("sound");
    let samples: Vec<_> = bytes.as_chunks().0.iter().map(|sample| f64::from(i16::from_le_bytes(*sample))).collect();
    samples.chunks(SAMPLE_RATE / 10).map(|tenth| tenth.iter().fold(0.0, |a: f64, b| a.max(b.abs())) / 32768.0).collect()
}

/// Whether pictures are those of these brightnesses; neighbours are 7 apart.
fn assert_brightness(found: &[u8], wanted: impl Iterator<Item = u8>, what: &str) {
    let wanted: Vec<_> = wanted.collect();
    let same = found.len() == wanted.len() && found.iter().zip(&wanted).all(|(one, other)| one.abs_diff(*other) < 4);
    assert!(same, "{what}: {} of {}: {found:?} {wanted:?}", found.len(), wanted.len());
}

#[tokio::test]
async fn cuts_of_different_sources_are_joined_in_the_format_of_the_first() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "join-a.mp4", ("160x90", 10), &["-c:a", "aac", "-ac", "2"]).await;
    let other = ["-c:v", "libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1", "-an"];
    source(&stack, folder.path(), "join-b.mp4", ("90x160", 20), &other).await;
    let cuts = [("join-a.mp4", 1.0, 2.5), ("join-b.mp4", 3.0, 4.0), ("join-a.mp4", 0.3, 0.8)];
    let segments = cuts.map(|(key, start, end)| segment(&stack, key, start, end));
    let ended = stack.run(&request("join-exact", &segments)).await;
    let file = delivered(&stack, &ended, folder.path()).await;
    let outcome = &ended.output["delivered"];
    assert_eq!(
        [&outcome["width"], &outcome["height"], &outcome["frames"], &outcome["durationSeconds"]],
        [&json!(160), &json!(90), &json!(30), &json!(3.0)]
    );
    assert_eq!(
        outcome["conformed"],
        json!(["segments[1]: size 90x160 to 160x90, frame rate 20.000 to 10.000, silence added"])
    );
    let wanted = (10..25).chain((30..40).map(|frame| frame * 2)).chain(3..8).map(brightness_of);
    assert_brightness(&brightness(&stack, &file, 80, 44), wanted, "the middle");
    let edge = brightness(&stack, &file, 4, 44);
    assert!(edge[15..25].iter().all(|black| *black < 20), "framed in black: {edge:?}");
    let loud = loudness(&stack, &file);
    assert!(loud[..14].iter().all(|level| *level > 0.05) && loud[26..29].iter().all(|level| *level > 0.05), "{loud:?}");
    assert!(loud[17..24].iter().all(|level| *level < 0.01), "{loud:?}");
}

#[tokio::test]
async fn cuts_of_the_same_format_are_joined_without_encoding() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["-c:a", "aac", "-ac", "2"];
    source(&stack, folder.path(), "copy-a.mp4", ("160x90", 10), &options).await;
    source(&stack, folder.path(), "copy-b.mp4", ("160x90", 10), &options).await;
    source(&stack, folder.path(), "copy-small.mp4", ("80x46", 10), &options).await;
    let cuts = [("copy-a.mp4", 1.0, 2.5), ("copy-b.mp4", 4.1, 5.0)];
    let mut request = request("join-copy", &cuts.map(|(key, start, end)| segment(&stack, key, start, end)));
    request["cut"] = json!("copy");
    let ended = stack.run(&request).await;
    let file = delivered(&stack, &ended, folder.path()).await;
    assert_eq!(ended.output["delivered"]["frames"], 24);
    assert_brightness(&brightness(&stack, &file, 80, 44), (10..25).chain(41..50).map(brightness_of), "the middle");

    request["clipId"] = json!("join-copy-refused");
    request["segments"][1]["source"]["key"] = json!("copy-small.mp4");
    let ended = stack.run(&request).await;
    let (reason, message) = rejection(&ended);
    assert_eq!(reason, "InvalidRequest");
    assert!(message.starts_with("cut: segments[1] cannot be joined to segments[0] without encoding"), "{message}");
}
