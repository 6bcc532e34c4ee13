//! Reports about the ends and durations of clips.

use crate::{
    common::ffmpeg::probe,
    footage::{footage, hevc, unless},
    report::Report,
};

use std::path::Path;

pub fn reports() -> Vec<Report> {
    vec![
        Report::new(
            "clip_ends_before_the_keyframe_at_its_end",
            "https://github.com/mifi/lossless-cut/issues/1786",
            "from keyframe to keyframe, and the clip has the last keyframe and more pictures behind it",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 30 -bf 3"),
        )
        .cut(2.0, 4.0, 60..120),
        Report::new(
            "both_ends_are_exact_to_the_picture",
            "https://github.com/mifi/lossless-cut/issues/1513",
            "both ends of a clip of 25 fps are one picture off",
            |folder| footage(folder, "a.mp4", ("25", 8), "-g 25"),
        )
        .cut(1.48, 3.52, 37..88),
        Report::new(
            "pictures_begin_and_sound_ends_with_the_clip",
            "https://github.com/mifi/lossless-cut/issues/348",
            "no picture at the start, no sound at the end",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 120"),
        )
        .cut(2.5, 7.1, 75..213),
        Report::new(
            "container_says_how_long_the_clip_is",
            "https://github.com/skeskinen/smartcut/issues/27",
            "all headers say one picture too little, so that other programs take the clip for one of variable rate",
            |folder| footage(folder, "a.mp4", ("30000/1001", 10), "-g 30"),
        )
        .cut(1.668_333, 8.341_667, 50..250)
        .check(|clip| unless(clip, RATES, "30000/1001,30000/1001,200")),
        Report::new(
            "pictures_at_a_seam_are_as_long_as_others",
            "https://github.com/skeskinen/smartcut/issues/28",
            "a few encoded pictures at the end of copied H.265 are shown for other times",
            |folder| {
                let groups = "keyint=60:min-keyint=60:bframes=4:open-gop=0";
                hevc(folder, "a.mp4", ("60000/1001", 10), groups, "-pix_fmt yuv420p10le")
            },
        )
        .cut(0.0, 8.024_683, 0..481)
        .in_its_codec()
        .check(|clip| unless(clip, RATES, "60000/1001,60000/1001,481")),
        Report::new(
            "hevc_main_10_without_its_last_pictures_decodes",
            "https://github.com/skeskinen/smartcut/issues/23",
            "the last two pictures of a camera's H.265 in 10 bits are cut off, and no decoder reads the rest",
            |folder| {
                let groups = "keyint=30:min-keyint=30:bframes=2";
                hevc(folder, "a.mov", ("60000/1001", 6), groups, "-pix_fmt yuv420p10le")
            },
        )
        .cut(0.0, 5.972_633, 0..358)
        .in_its_codec(),
        // The start time was added to the duration.
        Report::new(
            "start_of_the_source_does_not_lengthen_the_clip",
            "https://trac.ffmpeg.org/ticket/9141",
            "a source whose clock starts at 60 s gives clips that are too long",
            |folder| footage(folder, "a.ts", ("25", 8), "-g 25 -output_ts_offset 60"),
        )
        .cut(4.02, 6.02, 100..150),
        Report::new(
            "cut_shorter_than_a_group_has_pictures",
            "https://github.com/mifi/lossless-cut/issues/112",
            "a cut that lies within one group of pictures has sound and no pictures",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 250"),
        )
        .cut(2.0, 4.0, 60..120)
        .seeks_output(),
        Report::new(
            "replay_is_no_longer_than_what_was_cut",
            "https://github.com/mifi/lossless-cut/issues/2184",
            "clips of a replay buffer are longer than what was selected",
            |folder| {
                let options = "-g 250 -movflags +frag_keyframe+delay_moov -frag_duration 1000000";
                footage(folder, "a.mp4", ("30", 8), options)
            },
        )
        .cut(3.3, 6.1, 99..183),
    ]
}

/// What `ffprobe` derives from all of a track's times and its header.
const RATES: &str = "stream=r_frame_rate,avg_frame_rate,nb_frames -select_streams V:0";

/// Reports if a clip's rate differs from the source's.
pub fn rate_is(clip: &Path, rate: &str) -> Vec<String> {
    let said = probe(
        clip,
        "-select_streams V:0 -show_entries stream=avg_frame_rate",
    );
    let said = said.trim();
    let is_same = said == rate;
    (!is_same)
        .then(|| format!("has {said} pictures a second, not {rate}"))
        .into_iter()
        .collect()
}
