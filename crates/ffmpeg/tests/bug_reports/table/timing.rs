//! Reports about sources with a variable frame rate.

use crate::{
    footage::{footage, rewritten},
    report::Report,
};

/// Options that keep the filter's timestamps.
const AS_FILTERED: &str =
    "-fps_mode passthrough -enc_time_base:v filter -video_track_timescale 90000";

pub fn reports() -> Vec<Report> {
    vec![
        Report::new(
            "stream_that_was_interrupted_stays_in_step",
            "https://github.com/mifi/lossless-cut/issues/1733",
            "a stream was interrupted, its pictures have gaps, and the sound drifts once it is converted",
            |folder| {
                let gaps = "-vf select='not(between(n\\,50\\,64))*not(between(n\\,120\\,131))'";
                footage(folder, "a.mp4", ("25", 8), &format!("{gaps} {AS_FILTERED} -g 25"))
            },
        )
        .cut(1.0, 7.0, 25..148),
        Report::new(
            "rate_of_a_clip_is_that_of_its_source",
            "https://github.com/mifi/lossless-cut/issues/1096",
            "a clip of 60 fps says a rate that is absurdly high, or variable",
            |folder| footage(folder, "a.mp4", ("60", 8), "-g 120 -bf 3"),
        )
        .cut(1.0, 5.0, 60..300)
        .check(|clip| super::ends::rate_is(clip, "60/1")),
        Report::new(
            "times_of_a_camera_stay_uneven",
            "https://github.com/reolink/reolink-cli/issues/105",
            "a camera shows pictures for 40 or for 80 ms; cuts at one rate lie beside them",
            |folder| {
                let uneven = "-vf settb=1/1000,setpts='N*53-mod(N\\,3)*13'";
                footage(folder, "a.mp4", ("25", 6), &format!("{uneven} {AS_FILTERED} -g 30 -bf 0"))
            },
        )
        .cut(1.59, 4.77, 30..90),
        // Ten pictures per second, the first of them at 0.1 s.
        Report::new(
            "screen_that_starts_late_is_cut_at_all",
            "https://github.com/mifi/lossless-cut/issues/1076",
            "a recording of a screen is cut, and the clip is as long as before",
            |folder| {
                let options = "-g 100 -profile:v baseline -bf 0 -video_track_timescale 10240";
                let whole = footage(folder, "whole.mp4", ("10", 8), options);
                let late = "-output_ts_offset 0.1 -avoid_negative_ts disabled -an";
                rewritten(folder, &whole, "a.mp4", "", late)
            },
        )
        .cut(3.0, 6.0, 30..60),
        // A screen recording in which nothing moves for five seconds is one picture.
        Report::new(
            "picture_that_stays_is_shown_from_the_cut_on",
            "https://github.com/mifi/lossless-cut/issues/1232",
            "a clip jumps from its tenth second to its fiftieth",
            |folder| {
                let still = "-vf select='lt(n\\,50)+gte(n\\,176)'";
                footage(folder, "a.mp4", ("25", 12), &format!("{still} {AS_FILTERED} -g 50"))
            },
        )
        .cut(3.0, 9.0, 49..99)
        .begins_at(3.0),
    ]
}
