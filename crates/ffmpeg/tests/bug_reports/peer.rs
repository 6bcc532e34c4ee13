//! Clips as people make them with `FFmpeg`.

use crate::{
    common::ffmpeg::Folder,
    report::{Command, Report},
};
use std::path::{Path, PathBuf};

/// Cuts without encoding, as commonly recommended.
///
/// # Errors
/// What `FFmpeg` says when it fails.
pub fn clip(report: &Report, sources: &[PathBuf], folder: &Folder) -> Result<PathBuf, String> {
    let mut parts = Vec::new();
    for (index, segment) in report.segments.iter().enumerate() {
        let part = folder.path(&format!("ffmpeg-{index}.mp4"));
        let source = sources[segment.source].display().to_string();
        let (start, end) = (segment.start.to_string(), segment.end.to_string());
        let seek = ["-ss", &start, "-to", &end];
        let input = ["-i", &source];
        let order = match report.command {
            Command::SeeksOutput => [&input[..], &seek],
            Command::Usual | Command::Concatenates => [&seek[..], &input],
        };
        run(&order.concat(), &part)?;
        parts.push(part);
    }
    if report.command != Command::Concatenates {
        return Ok(parts.remove(0));
    }
    let list = folder.path("list.txt");
    let lines = parts
        .iter()
        .map(|part| format!("file '{}'\n", part.display()));
    std::fs::write(&list, lines.collect::<String>()).expect("room for a list");
    let clip = folder.path("ffmpeg.mp4");
    let list = list.display().to_string();
    run(&["-f", "concat", "-safe", "0", "-i", &list], &clip)?;
    Ok(clip)
}

fn run(input: &[&str], output: &Path) -> Result<(), String> {
    let ran = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-y", "-v", "error"])
        .args(input)
        .args(["-c", "copy"])
        .arg(output)
        .output()
        .expect("ffmpeg on the PATH");
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let first = said.lines().next().unwrap_or("it says nothing");
    // Without the component's name and address.
    Err(first.rsplit("] ").next().unwrap_or(first).to_owned())
}
