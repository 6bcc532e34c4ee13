//! Makes an excerpt of a local file of another container than MP4: `excerpt IN OUT START END`, with `ffmpeg` on the PATH.
//! Prints what the source is, and what the interval is in it.

use clipflow_core::{
    ffmpeg::{Ffmpeg, Limits},
    media::{Media, Remuxer},
    range::LocalFile,
    scratch::Scratch,
};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, start, end] = arguments.as_slice() else {
        return Err("usage: excerpt IN OUT START END".into());
    };
    let interval = (start.parse()?, end.parse()?);
    let (ffmpeg, scratch) = (Ffmpeg::find()?, Scratch::new(0, 0)?);
    let limits = Limits {
        time: Duration::from_mins(10),
        file_bytes: u64::MAX,
    };
    let remuxer = Remuxer {
        ffmpeg: &ffmpeg,
        scratch: &scratch,
        limits,
    };
    let media = Media::open(LocalFile::open(input.as_ref())?, remuxer).await?;
    let excerpt = media
        .excerpt(interval, None, "excerpt.mp4", remuxer)
        .await?;
    let window = excerpt.movie.window(interval.0, interval.1)?.facts;
    std::fs::copy(scratch.file("excerpt.mp4"), output)?;
    println!(
        "{:#}",
        serde_json::json!({"source": media.facts, "window": window, "lead": excerpt.lead_seconds})
    );
    Ok(())
}
