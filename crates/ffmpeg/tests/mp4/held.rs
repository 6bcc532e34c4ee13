//! Pictures that stay on screen for longer than others, as in screen recordings and slide shows.

use crate::common::{
    conform::{Way, assert_conforms},
    ffmpeg::{Folder, pictures, sound, words},
    smart::smart_cut,
    source::{AAC, H264, Source, encode},
};

/// Pictures of a tenth of a second, two of which are held: the one at 2 s for 8.3 s, and the one at 10.3 s for 5.2 s.
const HELD: &str = "-vf select='lte(n\\,20)+eq(n\\,103)+gte(n\\,155)',settb=1/90000 -fps_mode passthrough \
     -enc_time_base:v filter -video_track_timescale 90000";
const CUTS: [(f64, f64, u64); 7] = [
    (0.0, 12.0, 22),
    (11.0, 12.0, 1),
    (3.0, 12.0, 2),
    (1.53, 2.97, 6),
    (11.0, 16.04, 6),
    (2.52, 17.0, 17),
    (15.41, 15.49, 1),
];

async fn source(folder: &Folder, options: &str) -> Source {
    let arguments = [
        pictures("10", 20),
        sound(20),
        words(HELD),
        words(H264),
        words(AAC),
        words(options),
    ];
    Source::decode(&folder.build("held.mp4", &arguments)).await
}

#[tokio::test]
async fn interval_within_a_held_picture_is_what_is_on_the_screen() {
    let folder = Folder::new();
    for options in ["-g 7", "-g 300", "-bf 0 -g 5", "-g 1"] {
        let source = source(&folder, options).await;
        for (start, end, frames) in CUTS {
            let (window, copy) = source.cut(start..end).await;
            let label = format!("{options} {start}..{end}: {:?}", window.facts);
            assert_eq!(window.facts.frames, frames, "{label}");
            let lasts = window.facts.duration_seconds;
            assert!((lasts - (end - start)).abs() <= 0.08, "{label}");
            assert_conforms(&source, &window, Way::Copy, &copy).await;
            let encoded = encode(&source, &window, &copy).await;
            assert_conforms(&source, &window, Way::Encode, &encoded).await;
            if let Ok((window, facts, clip)) = smart_cut(&source, start..end).await {
                assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
            }
        }
    }
}

#[tokio::test]
async fn times_near_a_boundary_of_a_held_picture_are_snapped_to_it() {
    let folder = Folder::new();
    let source = source(&folder, "-g 300").await;
    let (window, _) = source.cut(2.03..10.27).await;
    let [start, end] = [window.facts.start_seconds, window.facts.end_seconds];
    assert!(
        (start - 2.0).abs() < 0.001 && (end - 10.3).abs() < 0.001,
        "{start} {end}"
    );
}

#[tokio::test]
async fn cut_of_a_cut_within_a_held_picture_is_the_same() {
    let folder = Folder::new();
    let source = source(&folder, "-g 7").await;
    let (first, _) = source.cut(11.01234..13.5).await;
    let facts = &first.facts;
    let again = source
        .movie
        .window(facts.start_seconds, facts.end_seconds)
        .expect("a window");
    assert_eq!(again.facts, first.facts);
}
