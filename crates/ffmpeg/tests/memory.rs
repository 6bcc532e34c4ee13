//! Programs stay within their memory limit, whatever a file claims.

use ffmpeg::{
    memory::Memory,
    process::{Ffmpeg, Input},
    range_server::RangeServer,
};
use model::{ClipError, ErrorKind};
use mp4_cut::io::LocalFile;
use std::time::{Duration, Instant};

/// A small MP4 whose index claims this many samples of one byte each. `FFmpeg` uses 24 bytes for each.
fn claiming_file(folder: &std::path::Path, samples: u32) -> std::path::PathBuf {
    let file = folder.join("source.mp4");
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i"])
        .args([
            "testsrc2=size=64x64:duration=1",
            "-c:v",
            "libx264",
            "-bf",
            "0",
        ])
        .arg(&file)
        .status();
    assert!(made.expect("ffmpeg").success());
    let mut bytes = std::fs::read(&file).expect("the source");
    // After a table's type, version and flags come the number of entries, or the size of all samples.
    for (name, fields) in [
        (b"stsz", vec![1, samples]),
        (b"stts", vec![1, samples]),
        (b"stsc", vec![1, 1, samples]),
    ] {
        let found = bytes.windows(4).rposition(|four| four == name);
        let mut at = found.expect("the table") + 8;
        for field in fields {
            bytes[at..at + 4].copy_from_slice(&field.to_be_bytes());
            at += 4;
        }
    }
    std::fs::write(&file, bytes).expect("the source");
    file
}

/// The result of `ffprobe`, within 300 MB, on an index that claims this many samples.
async fn described(samples: u32) -> Result<Vec<u8>, ClipError> {
    let folder = tempfile::tempdir().expect("a folder");
    let source = LocalFile::open(claiming_file(folder.path(), samples)).expect("the source");
    let served = RangeServer::serve(source, u64::MAX).expect("it is served");
    let input = Input::loopback("mov", Vec::new(), &served);
    let ffmpeg = Ffmpeg::find()
        .expect("ffmpeg")
        .within(Memory::of_bytes(300 << 20));
    let began = Instant::now();
    let time = Duration::from_mins(1);
    let described = ffmpeg.describe(&input, "stream=codec_name", 1, time).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    described
}

#[tokio::test]
async fn index_that_claims_millions_of_samples_ends_ffprobe_within_its_memory() {
    let error = described(10_000_000).await.expect_err("it is too much");
    assert_eq!(error.kind, ErrorKind::TrimBudgetExceeded, "{error}");
    assert!(error.message.contains("MB of memory"), "{error}");
    // The kernel refuses an allocation that is far too large, and ffprobe continues without the table.
    let facts = described(80_000_000)
        .await
        .expect("what else the file contains");
    assert!(String::from_utf8_lossy(&facts).contains("h264"));
}
