//! Smart cuts of HEVC that are cut again, and played from anywhere.

use crate::common::{
    conform::{Way, assert_conforms},
    ffmpeg::{Folder, decode, ffmpeg, pictures, words},
    smart::smart_cut,
    source::{HEVC, Source},
};
use std::path::{Path, PathBuf};

const GROUPS: &str = "log-level=error:keyint=24:min-keyint=24:scenecut=0:bframes=3";

fn build(folder: &Folder, parameters: &str, pixels: &str) -> PathBuf {
    let options = format!("{HEVC} -pix_fmt {pixels} -x265-params {GROUPS}:{parameters}");
    folder.build("source.mp4", &[pictures("30", 5), words(&options)])
}

#[tokio::test]
async fn smart_cuts_of_smart_cuts_of_hevc_are_exact() {
    let folder = Folder::new();
    for (parameters, pixels) in [("open-gop=0", "yuv420p"), ("open-gop=0", "yuv420p10le")] {
        let mut source = Source::decode(&build(&folder, parameters, pixels)).await;
        for end in [4.5, 3.8, 3.1] {
            let cut = smart_cut(&source, 0.3..end).await;
            let (window, facts, clip) = cut.expect("a smart cut");
            assert!(facts.copied_seconds > 1.0, "{parameters}: {facts:?}");
            assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
            // A source's folder goes with it.
            let kept = folder.path("cut.mp4");
            std::fs::copy(&clip, &kept).expect("room");
            source = Source::decode(&kept).await;
        }
    }
}

/// The hash of the picture that is shown when playing starts at a time, in microseconds.
fn shown_from(clip: &Path, time: i64) -> String {
    let seconds = format!("{}us", (time - 5000).max(0));
    let input = ["-ss", &seconds, "-i", &clip.display().to_string()].map(str::to_owned);
    let output = words("-map 0:v:0 -frames:v 1 -f framemd5 -");
    let listing = ffmpeg(&[input.to_vec(), output].concat());
    let listing = String::from_utf8(listing).expect("text");
    let hash = listing
        .lines()
        .last()
        .and_then(|line| line.split(',').nth(5));
    hash.expect("a picture").trim().to_owned()
}

#[tokio::test]
async fn every_picture_of_a_smart_cut_of_hevc_can_be_sought() {
    let folder = Folder::new();
    for parameters in ["open-gop=0", "open-gop=1"] {
        let source = Source::decode(&build(&folder, parameters, "yuv420p")).await;
        let (.., clip) = smart_cut(&source, 0.5..2.5).await.expect("a smart cut");
        for picture in decode(&clip, false).pictures {
            let shown = shown_from(&clip, picture.time);
            assert_eq!(shown, picture.hash, "{parameters}: at {} µs", picture.time);
        }
    }
}
