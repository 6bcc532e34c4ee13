//! Smart cuts of sources.

use super::source::{LIMITS, Source};
use ffmpeg::{
    process::Ffmpeg,
    scratch::Scratch,
    smart::{self, Made},
};
use futures::TryStreamExt;
use model::{clip_spec::AudioFormat, error::why_encoded_whole, quality::Quality, request::Format};
use mp4_cut::{SmartCutFacts, Window};
use std::{ops::Range, path::PathBuf};

/// A smart cut.
pub struct MadeCut {
    /// What is shown of each source.
    pub windows: Vec<Window>,
    pub facts: SmartCutFacts,
    pub path: PathBuf,
}

/// Makes the smart cut of an interval, or says why there is none.
pub async fn smart_cut(
    source: &Source,
    interval: Range<f64>,
) -> Result<(Window, SmartCutFacts, PathBuf), String> {
    let MadeCut {
        mut windows,
        facts,
        path,
    } = smart_cuts(&[(source, interval)], None).await?;
    Ok((windows.remove(0), facts, path))
}

/// Makes the smart cut of intervals, one after the other, or says why there is none.
pub async fn smart_cuts(
    cuts: &[(&Source, Range<f64>)],
    joined_sound: Option<AudioFormat>,
) -> Result<MadeCut, String> {
    let codec = &cuts[0].0.movie.facts.video.codec;
    let format = match codec.as_str() {
        "hevc" => Format::Hevc,
        _ => Format::Mp4,
    };
    smart_cuts_in(format, cuts, joined_sound).await
}

/// As [`smart_cuts`], in a format.
pub async fn smart_cuts_in(
    format: Format,
    cuts: &[(&Source, Range<f64>)],
    joined_sound: Option<AudioFormat>,
) -> Result<MadeCut, String> {
    let scratch = Scratch::new(1, 1).expect("a folder");
    let (mut windows, mut names) = (Vec::new(), Vec::new());
    for (index, (source, interval)) in cuts.iter().enumerate() {
        let (window, copy) = source.cut(interval.clone()).await;
        names.push(format!("window-{index}.mp4"));
        std::fs::rename(copy, scratch.file(&names[index])).expect("a copy");
        windows.push(window);
    }
    let ffmpeg = Ffmpeg::find().expect("ffmpeg");
    match smart::cut(
        &ffmpeg,
        &scratch,
        &names,
        joined_sound,
        (format, Quality::default()),
        LIMITS,
    )
    .await
    {
        Err(error) => Err(why_encoded_whole(error).expect("a reason")),
        Ok(Made {
            smart_cut,
            clip: smart_clip,
            leads,
        }) => {
            let mut leads = leads.iter().flatten().flatten();
            assert!(leads.all(|lead| !lead.is_damaged));
            let facts = smart_cut.facts();
            let path = cuts[0].0.folder.path("smart.mp4");
            let bytes = smart_clip.output_bytes;
            let clip: Vec<u8> = smart_clip
                .stream()
                .try_fold(Vec::new(), async |whole, part| {
                    Ok([whole, part.to_vec()].concat())
                })
                .await
                .expect("the clip's bytes");
            assert_eq!(clip.len() as u64, bytes);
            std::fs::write(&path, clip).expect("room for a clip");
            Ok(MadeCut {
                windows,
                facts,
                path,
            })
        }
    }
}
