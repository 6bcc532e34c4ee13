//! Reports about what clips should keep of their sources: rotation, aspect ratio, colours, dates.

use crate::{
    common::ffmpeg::{ffmpeg, words},
    footage::{footage, hevc, rewritten, unless},
    report::Report,
};

pub fn reports() -> Vec<Report> {
    vec![
        Report::new(
            "clip_of_a_turned_phone_is_upright",
            "https://github.com/mifi/lossless-cut/issues/2020",
            "clips of a phone are turned on their side",
            |folder| {
                let whole = footage(folder, "whole.mov", ("30", 8), "-g 30");
                rewritten(folder, &whole, "a.mov", "-display_rotation -90", "")
            },
        )
        .cut(1.2, 4.2, 36..126),
        Report::new(
            "shape_of_pictures_is_kept",
            "https://github.com/mifi/lossless-cut/issues/1336",
            "4:3 becomes 16:9",
            |folder| footage(folder, "a.mp4", ("25", 8), "-g 25 -aspect 4:3"),
        )
        .cut(1.2, 4.2, 30..105)
        .check(|clip| unless(clip, "stream=display_aspect_ratio -select_streams V:0", "4:3")),
        Report::new(
            "date_of_the_recording_is_kept",
            "https://github.com/mifi/lossless-cut/issues/1699",
            "clips have a date of their own, years off",
            |folder| {
                let date = "-metadata creation_time=2021-03-03T12:32:36Z";
                footage(folder, "a.mp4", ("25", 8), date)
            },
        )
        .cut(1.2, 4.2, 30..105)
        .check(|clip| unless(clip, "format_tags=creation_time", "2021-03-03T12:32:36.000000Z")),
        Report::new(
            "hevc_is_marked_as_apple_wants_it",
            "https://github.com/Jellman86/YetAnother-WhosAtMyFeeder/issues/167",
            "clips of Frigate's H.265 do not play in Safari",
            |folder| {
                let groups = "keyint=25:min-keyint=25:repeat-headers=1";
                hevc(folder, "a.mp4", ("25", 8), groups, "-tag:v hev1")
            },
        )
        .cut(2.0, 5.0, 50..125)
        .in_its_codec()
        .check(|clip| unless(clip, "stream=codec_tag_string -select_streams V:0", "hvc1")),
        Report::new(
            "highlights_of_hdr_are_kept",
            "https://github.com/mifi/lossless-cut/issues/2248",
            "clips of a phone's HDR have darker highlights",
            |folder| {
                let colours = "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc";
                let groups = format!("keyint=30:min-keyint=30:{colours}");
                let options = "-pix_fmt yuv420p10le -color_primaries bt2020 -color_trc arib-std-b67 \
                               -colorspace bt2020nc";
                hevc(folder, "a.mov", ("30", 8), &groups, options)
            },
        )
        .cut(1.5, 4.5, 45..135)
        .in_its_codec()
        .check(|clip| {
            let colours = "stream=pix_fmt,color_transfer -select_streams V:0";
            unless(clip, colours, "yuv420p10le,arib-std-b67")
        }),
        Report::new(
            "time_code_of_an_action_camera_is_no_obstacle",
            "https://github.com/mifi/lossless-cut/issues/173",
            "files of an action camera, which have a track of time codes, cannot be cut",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 15 -timecode 10:23:45:12 -write_tmcd 1"),
        )
        .cut(1.2, 4.2, 36..126),
        Report::new(
            "cover_is_not_taken_for_the_film",
            "https://github.com/mifi/lossless-cut/issues/2212",
            "a file with a picture of its cover cannot be cut",
            |folder| {
                let whole = footage(folder, "whole.mp4", ("25", 8), "-g 50");
                let cover = folder.path("cover.jpg");
                let still = "-f lavfi -i color=red:size=120x180 -frames:v 1 -y";
                let to = vec![cover.display().to_string()];
                ffmpeg(&[words(still), to].concat());
                let with = format!("-i {}", cover.display());
                let maps = "-map 1 -map 0 -disposition:v:1 attached_pic";
                rewritten(folder, &whole, "a.mp4", &with, maps)
            },
        )
        .cut(1.2, 4.2, 30..105),
        Report::new(
            "camera_whose_edits_skip_pictures_is_cut",
            "https://github.com/mifi/lossless-cut/issues/522",
            "files of a camera whose edit list skips the first picture cannot be cut",
            |folder| {
                let options = "-g 25 -bf 2 -pix_fmt yuvj420p -c:a pcm_s16be";
                let whole = footage(folder, "whole.mov", ("50", 8), options);
                let camera = rewritten(folder, &whole, "a.mov", "-ss 0.02", "");
                let named = folder.path("a.mp4");
                std::fs::rename(camera, &named).expect("a file");
                named
            },
        )
        .cut(0.94, 4.0, 47..200),
    ]
}
