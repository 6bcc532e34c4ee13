//! Reports about clips made of several cuts.

use crate::{
    footage::{footage, rewritten},
    report::Report,
};

pub fn reports() -> Vec<Report> {
    vec![
        Report::new(
            "what_is_cut_out_of_the_middle_is_not_shown",
            "https://github.com/mifi/lossless-cut/issues/281",
            "the middle is cut out, and some of its pictures are still there",
            |folder| footage(folder, "a.mp4", ("25", 8), "-g 50"),
        )
        .cut(0.6, 2.4, 15..60)
        .cut(4.2, 6.2, 105..155),
        Report::new(
            "later_cuts_keep_their_first_pictures",
            "https://github.com/mifi/lossless-cut/issues/376",
            "in joined clips the first pictures of each later cut are missing while its sound plays",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 60"),
        )
        .cut(1.0, 2.0, 30..60)
        .cut(3.5, 5.0, 105..150)
        .cut(6.5, 7.5, 195..225),
        Report::new(
            "joined_clip_is_as_long_as_its_cuts",
            "https://github.com/mifi/lossless-cut/issues/2479",
            "many short cuts become a clip that is a minute longer, with still pictures between them",
            |folder| footage(folder, "a.mp4", ("25", 8), "-g 125"),
        )
        .cut(0.52, 1.52, 13..38)
        .cut(2.0, 2.64, 50..66)
        .cut(3.72, 4.72, 93..118)
        .cut(6.0, 6.88, 150..172),
        Report::new(
            "joints_decode_without_a_complaint",
            "https://github.com/mifi/lossless-cut/issues/1202",
            "decoders complain at the joints of clips that end within a group of pictures",
            |folder| footage(folder, "a.mp4", ("30", 8), "-g 60 -bf 3 -refs 4"),
        )
        .cut(2.0, 3.3, 60..99)
        .cut(4.0, 6.7, 120..201),
        Report::new(
            "parts_that_are_turned_differently_are_all_upright",
            "https://github.com/mifi/lossless-cut/issues/481",
            "one file of a phone was turned around, and is upside down when it is joined to others",
            |folder| footage(folder, "a.mp4", ("30", 4), "-g 30"),
        )
        .and(|folder| {
            let turned = footage(folder, "upright.mp4", ("30", 4), "-g 30 -vf hue=h=120,vflip,hflip");
            rewritten(folder, &turned, "b.mp4", "-display_rotation 180", "")
        })
        .cut_of(0, 0.5, 2.0, 15..60)
        .cut_of(1, 1.5, 3.0, 45..90),
        Report::new(
            "smart_cut_is_not_followed_by_its_source",
            "https://github.com/mifi/lossless-cut/issues/1171",
            "a smart cut is the cut with all of the source behind it",
            |folder| footage(folder, "a.mp4", ("25", 8), "-g 50 -bf 2 -video_track_timescale 90000"),
        )
        .cut(0.6, 3.2, 15..80),
        Report::new(
            "smart_cut_does_not_jump_behind_its_seam",
            "https://github.com/ozmartian/vidcutter/issues/197",
            "a smart cut jumps ahead by seconds behind the first keyframe",
            |folder| footage(folder, "a.mp4", ("24000/1001", 8), "-g 48 -bf 2"),
        )
        .cut(1.501_5, 6.006, 36..144),
    ]
}
