//! Reports about audio: whether it is in sync, and whether it is there.

use crate::{
    common::ffmpeg::{AAC, Folder, H264, pictures, sound, words},
    footage::{encoded, footage, rewritten, unless},
    report::Report,
};
use std::path::PathBuf;

pub fn reports() -> Vec<Report> {
    let mut reports = in_step();
    reports.extend(there());
    reports
}

/// Audio in sync.
fn in_step() -> Vec<Report> {
    vec![
        Report::new(
            "sound_is_not_repeated_at_a_seam",
            "https://github.com/mifi/lossless-cut/issues/2912",
            "in a smart cut a bit of sound is heard twice where encoded and copied pictures meet",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 60"),
        )
        .cut(1.0, 5.0, 30..150),
        Report::new(
            "sound_is_not_stretched_at_a_seam",
            "https://github.com/mifi/lossless-cut/issues/2050",
            "in a smart cut of H.264 and AAC the sound around the seam is stretched",
            |folder| footage(folder, "a.mp4", ("60", 8), "-g 150 -ar 44100"),
        )
        .cut(1.3, 4.4, 78..264),
        Report::new(
            "sound_is_not_late_when_both_ends_are_cut_off",
            "https://github.com/mifi/lossless-cut/issues/1880",
            "cut at both ends, the sound is a little late",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 48 -ac 2"),
        )
        .cut(2.366_667, 5.9, 71..177),
        Report::new(
            "sound_is_in_step_when_cut_between_keyframes",
            "https://github.com/mifi/lossless-cut/issues/317",
            "a start between keyframes, and sound and pictures are no longer in step",
            |folder| {
                footage(
                    folder,
                    "a.mp4",
                    ("30", 8),
                    "-g 60 -video_track_timescale 16000",
                )
            },
        )
        .cut(3.0, 7.0, 90..210),
        Report::new(
            "sound_is_in_step_after_five_minutes",
            "https://github.com/mifi/lossless-cut/issues/75",
            "clips of five minutes and more are out of step at their end",
            |folder| footage(folder, "a.mp4", ("3", 330), "-g 12"),
        )
        .cut(10.0, 320.0, 30..960),
        Report::new(
            "sound_of_matroska_is_in_step",
            "https://github.com/mifi/lossless-cut/issues/964",
            "clips of Matroska have their sound 200 to 500 ms off",
            |folder| footage(folder, "a.mkv", ("25", 8), "-g 50"),
        )
        .cut(2.2, 6.2, 55..155),
    ]
}

/// Audio of other codecs, and several tracks.
fn there() -> Vec<Report> {
    vec![
        Report::new(
            "pcm_of_a_camera_is_heard",
            "https://github.com/mifi/lossless-cut/issues/948",
            "cameras write MP4 with PCM, of which clips fail or are silent",
            |folder| {
                let movie = footage(folder, "a.mov", ("25", 8), "-g 25 -c:a pcm_s16be");
                let camera = folder.path("camera.mp4");
                std::fs::rename(movie, &camera).expect("a file");
                camera
            },
        )
        .cut(1.2, 4.2, 30..105),
        Report::new(
            "every_track_of_sound_is_in_the_clip",
            "https://github.com/mifi/lossless-cut/issues/2693",
            "of five tracks of sound only the first reaches the clip",
            |folder| several_tracks(folder, "a.mp4", 5),
        )
        .cut(1.2, 4.2, 30..105)
        .check(|clip| unless(clip, AUDIO_TRACKS, "audio audio audio audio audio")),
        Report::new(
            "sound_of_matroska_with_several_tracks_is_there",
            "https://github.com/mifi/lossless-cut/issues/2748",
            "Matroska with several tracks of sound is silent once it is cut",
            |folder| several_tracks(folder, "a.mkv", 3),
        )
        .cut(1.2, 4.2, 30..105)
        .check(|clip| unless(clip, AUDIO_TRACKS, "audio audio audio")),
        Report::new(
            "ac3_of_interlaced_television_is_in_step",
            "https://github.com/anyc/avcut/issues/19",
            "1080i with AC-3 out of a transport stream: the sound falls seconds behind",
            |folder| {
                let options = "-g 15 -flags +ildct+ilme -x264-params tff=1 -c:a ac3 -b:a 192k";
                footage(folder, "a.ts", ("30000/1001", 8), options)
            },
        )
        .cut(2.002, 6.006, 60..180),
        Report::new(
            "movie_that_starts_late_is_in_step",
            "https://github.com/WyattBlue/auto-editor/issues/512",
            "a movie of Motion JPEG and PCM whose pictures start 0.53 s after its sound is cut out of step",
            |folder| {
                let inputs = [
                    [words("-itsoffset 0.529"), pictures("25", 8)].concat(),
                    sound(8),
                ];
                let options = "-c:v mjpeg -q:v 5 -pix_fmt yuvj420p -c:a pcm_s16le";
                encoded(folder, "a.mov", inputs, options)
            },
        )
        .cut(2.529, 4.529, 50..100),
        Report::new(
            "sound_of_opus_in_mp4_is_in_step",
            "https://github.com/mifi/lossless-cut/issues/1837",
            "a file plays in step, and what is cut out of it does not",
            |folder| {
                let whole = footage(folder, "whole.mp4", ("25", 8), "-g 50 -c:a libopus");
                rewritten(folder, &whole, "a.mp4", "-ss 0.72", "")
            },
        )
        .cut(2.0, 5.0, 50..125),
    ]
}

/// The audio tracks.
const AUDIO_TRACKS: &str = "stream=codec_type -select_streams a";

fn several_tracks(folder: &Folder, name: &str, tracks: usize) -> PathBuf {
    let maps = format!("-map 0:v {}", "-map 1:a ".repeat(tracks));
    let options = format!("{H264} {AAC} {maps}");
    encoded(folder, name, [pictures("25", 8), sound(8)], &options)
}
