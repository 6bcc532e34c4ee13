//! Reports about sources in containers other than MP4 or codecs other than H.264.

use crate::{
    common::ffmpeg::{AAC, Folder, pictures, sound},
    footage::{encoded, footage, hevc},
    report::Report,
};
use std::path::PathBuf;

pub fn reports() -> Vec<Report> {
    let mut reports = transport_streams();
    reports.extend(matroska());
    reports.extend(others());
    reports
}

/// Their audio begins one packet before their pictures, and so does second 0.
fn transport_streams() -> Vec<Report> {
    vec![
        Report::new(
            "transport_stream_is_cut_to_the_picture",
            "https://github.com/mifi/lossless-cut/issues/1585",
            "smart cuts of a transport stream begin with other pictures and stutter for seconds",
            |folder| footage(folder, "a.ts", ("25", 8), "-g 50"),
        )
        .cut(2.62, 6.22, 65..155),
        Report::new(
            "mpeg2_of_television_is_in_step_and_in_shape",
            "https://github.com/mifi/lossless-cut/issues/533",
            "MPEG-2 in a transport stream: the first picture has a wrong time, the sound is late",
            |folder| {
                let codec =
                    "-c:v mpeg2video -q:v 3 -bf 2 -g 15 -aspect 16:9 -output_ts_offset 1000";
                let inputs = [pictures("30000/1001", 8), sound(8)];
                encoded(folder, "a.ts", inputs, &format!("{codec} {AAC}"))
            },
        )
        .cut(2.023, 5.026, 60..150),
        Report::new(
            "start_of_a_transport_stream_does_not_hang",
            "https://github.com/mifi/lossless-cut/issues/1833",
            "nearly all clips of transport streams hang at their start",
            |folder| footage(folder, "a.ts", ("50", 8), "-g 100 -bf 3"),
        )
        .cut(3.32, 6.02, 165..300),
        Report::new(
            "cut_of_a_recording_is_not_longer_than_wanted",
            "https://github.com/MythTV/mythtv/issues/600",
            "cuts of an H.264 recording are nearly all of it",
            |folder| footage(folder, "a.ts", ("25", 8), "-g 200 -output_ts_offset 7200"),
        )
        .cut(4.94, 6.94, 123..173),
    ]
}

fn matroska() -> Vec<Report> {
    vec![
        Report::new(
            "first_seconds_of_a_webm_are_cut_off",
            "https://github.com/mifi/lossless-cut/issues/120",
            "nothing before the second keyframe of a WebM, at 8.5 s, can be cut off",
            |folder| vp9(folder, "a.webm", 250),
        )
        .cut(4.0, 7.0, 100..175),
        Report::new(
            "webm_is_cut_at_its_start",
            "https://github.com/mifi/lossless-cut/issues/325",
            "only the end of a WebM is cut, its start stays",
            |folder| vp9(folder, "a.webm", 128),
        )
        .cut(2.0, 8.0, 50..200),
        Report::new(
            "recording_of_a_game_is_cut_at_all",
            "https://github.com/mifi/lossless-cut/issues/1262",
            "cut out of a Matroska recording, the clip is all of it",
            |folder| footage(folder, "a.mkv", ("60", 8), "-g 250 -bf 2"),
        )
        .cut(1.867, 6.0, 112..360),
        Report::new(
            "hevc_main_10_in_matroska_is_smart_cut",
            "https://github.com/mifi/lossless-cut/issues/2013",
            "smart cuts of H.265 in 10 bits out of Matroska are broken",
            |folder| {
                let groups = "keyint=60:min-keyint=60:bframes=3:open-gop=0";
                hevc(folder, "a.mkv", ("60", 8), groups, "-pix_fmt yuv420p10le")
            },
        )
        .cut(1.5, 6.0, 90..360)
        .in_its_codec(),
        Report::new(
            "interlaced_matroska_does_not_judder",
            "https://github.com/mifi/lossless-cut/issues/1273",
            "clips of interlaced Matroska judder",
            |folder| {
                let options = "-g 50 -flags +ildct+ilme -x264-params tff=1";
                footage(folder, "a.mkv", ("25", 8), options)
            },
        )
        .cut(2.0, 6.0, 50..150),
    ]
}

fn others() -> Vec<Report> {
    vec![
        // Its first picture is shown one picture late, because its decoder waits for another.
        Report::new(
            "avi_without_times_is_cut",
            "https://github.com/mifi/lossless-cut/issues/651",
            "an AVI cannot be cut, since its pictures have no times",
            |folder| {
                let codecs = "-c:v mpeg4 -vtag XVID -q:v 3 -bf 2 -g 48 -c:a libmp3lame -b:a 128k";
                let inputs = [pictures("24000/1001", 8), sound(8)];
                encoded(folder, "a.avi", inputs, codecs)
            },
        )
        .cut(2.044, 5.047, 48..120),
        Report::new(
            "program_stream_of_mpeg2_is_cut",
            "https://github.com/skeskinen/smartcut/issues/2",
            "players do not recognise what is cut out of an MPEG-2 program stream, and its times are wrong",
            |folder| {
                let codecs = "-c:v mpeg2video -q:v 3 -bf 2 -g 12 -c:a mp2 -b:a 192k";
                encoded(folder, "a.mpg", [pictures("25", 8), sound(8)], codecs)
            },
        )
        .cut(2.2, 5.2, 55..130),
        // Leading pictures refer to what precedes the cut.
        Report::new(
            "open_groups_of_hevc_leave_no_artefacts",
            "https://github.com/gkozlenko/node-video-lib/pull/53",
            "H.265 with open groups of pictures is broken where a cut begins",
            |folder| {
                let groups = "keyint=50:min-keyint=50:bframes=3:open-gop=1";
                hevc(folder, "a.mp4", ("25", 8), groups, "")
            },
        )
        .cut(2.0, 6.2, 50..155)
        .in_its_codec(),
        Report::new(
            "hevc_out_of_a_browser_recording_decodes",
            "https://github.com/mifi/lossless-cut/issues/126",
            "smart cuts of H.265 have glitches, and decoders skip units",
            |folder| {
                let groups = "keyint=120:min-keyint=120:bframes=4:ref=4:slices=2";
                hevc(folder, "a.mp4", ("60", 8), groups, "")
            },
        )
        .cut(1.0, 7.0, 60..420)
        .in_its_codec(),
    ]
}

fn vp9(folder: &Folder, name: &str, group: u32) -> PathBuf {
    let codec = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 600k -c:a libopus";
    let options = format!("{codec} -g {group} -keyint_min {group}");
    encoded(folder, name, [pictures("25", 8), sound(8)], &options)
}
