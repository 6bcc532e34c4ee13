//! Reports about the starts of clips.

use crate::{
    common::ffmpeg::{AAC, H264, pictures, sound, words},
    footage::{encoded, footage, hevc, rewritten},
    report::Report,
};

pub fn reports() -> Vec<Report> {
    let mut reports = at_keyframes();
    reports.extend(between_keyframes());
    reports.extend(at_odd_starts());
    reports
}

/// Cuts that begin where a copy could.
fn at_keyframes() -> Vec<Report> {
    vec![
        // Both cutting modes keep what is between the keyframe and the cut.
        Report::new(
            "clip_of_long_groups_starts_at_the_cut",
            "https://github.com/mifi/lossless-cut/issues/142",
            "clips of a recording with few keyframes start seconds before the cut",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 250"),
        )
        .cut(5.0, 7.0, 150..210),
        Report::new(
            "clip_that_starts_at_a_keyframe_starts_with_its_picture",
            "https://github.com/mifi/lossless-cut/issues/957",
            "cut at a keyframe, and yet the first picture is black",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 60 -bf 3"),
        )
        .cut(4.0, 6.0, 120..180),
        // The program shows times in whole milliseconds, just before the keyframe.
        Report::new(
            "time_just_before_a_keyframe_is_that_keyframe",
            "https://github.com/mifi/lossless-cut/issues/939",
            "the start is set to a keyframe of 60 fps, as the program shows its time (4.166 s), and the clip begins one \
             keyframe earlier",
            |folder| footage(folder, "a.mp4", ("60", 8), "-g 50"),
        )
        .cut(4.166, 6.0, 250..360),
        Report::new(
            "first_keyframe_is_in_the_clip",
            "https://github.com/mifi/lossless-cut/issues/742",
            "the keyframe at the start is not in the clip; players show black until the next one",
            |folder| {
                let options = "-g 15 -bf 3 -x264-params b-pyramid=normal";
                footage(folder, "a.mp4", ("30", 8), options)
            },
        )
        .cut(1.0, 6.0, 30..180),
    ]
}

/// Cuts that begin where no copy can.
fn between_keyframes() -> Vec<Report> {
    vec![
        Report::new(
            "clip_that_starts_between_keyframes_starts_with_its_picture",
            "https://github.com/mifi/lossless-cut/issues/330",
            "no setting gives a clip without blank or earlier pictures at its start",
            |folder| footage(folder, "a.mp4", ("25", 8), "-g 50"),
        )
        .cut(1.2, 4.2, 30..105),
        Report::new(
            "pictures_start_with_the_sound",
            "https://github.com/mifi/lossless-cut/issues/26",
            "sound plays at once, pictures come seconds later",
            |folder| footage(folder, "a.mp4", ("25", 8), "-g 100"),
        )
        .cut(1.0, 7.0, 25..175)
        .seeks_output(),
        // Chromium and Firefox honour edit lists, many editors do not.
        Report::new(
            "clip_of_a_phone_has_no_blank_start",
            "https://github.com/mifi/lossless-cut/issues/204",
            "clips of phones start with one or two seconds of nothing",
            |folder| {
                let groups = "keyint=60:min-keyint=60:bframes=3:open-gop=0";
                hevc(folder, "a.mov", ("30", 8), groups, "")
            },
        )
        .cut(1.2, 4.4, 36..132)
        .in_its_codec(),
        Report::new(
            "tenths_of_a_second_count",
            "https://github.com/arthenica/ffmpeg-kit/issues/102",
            "0.4 s are to be cut off, a second is",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 30"),
        )
        .cut(0.4, 5.0, 12..150)
        .seeks_output(),
        Report::new(
            "pictures_are_not_frozen_at_the_start",
            "https://github.com/arthenica/ffmpeg-kit/issues/815",
            "the first seconds show one and the same picture",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 90"),
        )
        .cut(2.0, 6.0, 60..180)
        .seeks_output(),
        Report::new(
            "fractions_of_seconds_freeze_nothing",
            "https://github.com/sbis04/video_trimmer/issues/22",
            "trimmed at a fraction of a second, the clip hangs at its start while sound goes on",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 60 -bf 0"),
        )
        .cut(1.5, 4.8, 45..144),
        Report::new(
            "hevc_has_no_black_pictures_at_its_start",
            "https://github.com/androidx/media/issues/829",
            "trimmed H.265 starts with black pictures in QuickTime and VLC",
            |folder| {
                let groups = "keyint=30:min-keyint=30:bframes=2:open-gop=0";
                hevc(folder, "a.mp4", ("30", 8), groups, "")
            },
        )
        .cut(1.5, 5.0, 45..150)
        .in_its_codec(),
    ]
}

/// Sources with unusual starts, and players that start elsewhere.
fn at_odd_starts() -> Vec<Report> {
    vec![
        // Its edit list begins within a group of pictures, as after a cut without encoding.
        Report::new(
            "source_whose_edits_begin_within_a_group_is_cut",
            "https://github.com/google/ExoPlayer/issues/3358",
            "players do nothing for three seconds, since the edit list clips the first keyframe",
            |folder| {
                let whole = footage(folder, "whole.mp4", ("25", 8), "-g 100");
                rewritten(folder, &whole, "a.mp4", "-ss 2.2", "")
            },
        )
        .cut(0.0, 3.0, 0..75),
        Report::new(
            "clip_of_a_source_with_late_pictures_has_no_empty_start",
            "https://github.com/getsentry/sentry/issues/82771",
            "Safari plays the empty second before the first picture, so clips in a row flicker",
            |folder| {
                let mut inputs = [pictures("25", 8), sound(8)];
                inputs[0].splice(0..0, words("-itsoffset 0.8"));
                let options = format!("{H264} {AAC}");
                encoded(folder, "a.mp4", inputs, &options)
            },
        )
        .cut(1.6, 3.6, 20..70),
        Report::new(
            "index_lies_in_front",
            "https://github.com/cladera/videojs-offset/issues/6",
            "a player shows other pictures first, since the file's index lies at its end",
            |folder| footage(folder, "a.mp4", ("25", 8), ""),
        )
        .cut(3.0, 5.0, 75..125)
        .check(|clip| {
            let file = std::fs::read(clip).expect("a clip");
            let at = |kind| crate::common::boxes::first(&file, kind);
            let is_behind = at(*b"moov") > at(*b"mdat");
            is_behind
                .then(|| "has its index at its end".to_owned())
                .into_iter()
                .collect()
        }),
    ]
}
