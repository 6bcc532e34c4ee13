//! Clips that are given a frame rate.

use crate::common::{
    ffmpeg::{Folder, decode, load, pictures, read, sound, words},
    kinds::IRREGULAR,
    source::{AAC, H264, Source, encode_as, microseconds},
};
use serde_json::json;

#[tokio::test]
async fn clip_has_the_constant_rate_that_is_asked_for() {
    for (options, rate, frames) in [
        ("", 25.0, 30),
        ("", 59.94, 72),
        ("", 30.0, 36),
        (IRREGULAR, 25.0, 30),
    ] {
        let folder = Folder::new();
        let encoders = [words(H264), words(AAC), words(options)];
        let inputs = [pictures("30", 3), sound(3)];
        let path = folder.build("source.mp4", &[&inputs[..], &encoders].concat());
        let source = Source::decode(&path).await;
        let (window, copy) = source.cut(0.8..2.0).await;
        let asked = json!({"frameRate": rate});
        let (clip, spec) = encode_as(&source, &window, &copy, &asked).await;
        let made = read(&load(&clip)).await.facts;
        let label = format!("{options} at {rate}: {made:?}");
        assert_eq!(made.video.frames, spec.frames(), "{label}");
        assert!(made.video.frames.abs_diff(frames) <= 1, "{label}");
        assert!(made.video.constant_frame_rate, "{label}");
        assert!((made.video.frame_rate - rate).abs() < 0.001, "{label}");
        let shown = decode(&clip, true).pictures;
        for (number, picture) in shown.iter().enumerate() {
            let number = u32::try_from(number).expect("few pictures");
            let due =
                microseconds(f64::from(number) / spec.clip_rate(&source.movie.facts.video).hertz());
            assert!((picture.time - due).abs() <= 50, "{label}: {picture:?}");
        }
    }
}
