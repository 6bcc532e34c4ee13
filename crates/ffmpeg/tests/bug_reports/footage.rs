//! What sources are made of.

use crate::common::ffmpeg::{AAC, Folder, H264, HEVC, ffmpeg, pictures, probe, sound, words};
use std::path::{Path, PathBuf};

/// H.264 and audio, at a frame rate, of a length.
pub fn footage(
    folder: &Folder,
    name: &str,
    (rate, seconds): (&str, u32),
    options: &str,
) -> PathBuf {
    let arguments = [pictures(rate, seconds), sound(seconds)];
    encoded(folder, name, arguments, &format!("{H264} {AAC} {options}"))
}

/// H.265, with parameters of its encoder.
pub fn hevc(
    folder: &Folder,
    name: &str,
    (rate, seconds): (&str, u32),
    parameters: &str,
    options: &str,
) -> PathBuf {
    let arguments = [pictures(rate, seconds), sound(seconds)];
    let parameters = format!("-x265-params log-level=error:scenecut=0:{parameters}");
    let options = format!("{HEVC} {AAC} {parameters} {options}");
    encoded(folder, name, arguments, &options)
}

/// Encodes inputs with options.
pub fn encoded(folder: &Folder, name: &str, inputs: [Vec<String>; 2], options: &str) -> PathBuf {
    let [pictures, sound] = inputs;
    folder.build(name, &[pictures, sound, words(options)])
}

/// Rewrites a file with the same streams, with options for input and output.
pub fn rewritten(folder: &Folder, file: &Path, name: &str, input: &str, output: &str) -> PathBuf {
    let path = folder.path(name);
    let file = vec!["-i".to_owned(), file.display().to_string()];
    let to = vec!["-y".to_owned(), path.display().to_string()];
    ffmpeg(&[words(input), file, words("-c copy"), words(output), to].concat());
    path
}

/// The faults of a clip: what `ffprobe` says, unless it is what is expected.
pub fn unless(clip: &Path, entries: &str, expected: &str) -> Vec<String> {
    let said = probe(clip, &format!("-show_entries {entries}"));
    let said: Vec<_> = said
        .lines()
        .map(|line| line.trim_end_matches(','))
        .collect();
    let said = said.join(" ");
    if said == expected {
        return Vec::new();
    }
    let entry = entries.split(' ').next().unwrap_or(entries);
    let what = entry.rsplit('=').next().unwrap_or(entry);
    let said = if said.is_empty() { "nothing" } else { &said };
    vec![format!("has {said} for `{what}`, not {expected}")]
}
