//! Makes an excerpt of a file of another container than MP4: `excerpt FILE START END OUTPUT`, in seconds.

use clipflow_core::{
    ffmpeg::{Ffmpeg, Limits},
    media::{Media, Remuxer},
    range::LocalFile,
    scratch::Scratch,
};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, start, end, output] = arguments.as_slice() else { return Err("FILE START END OUTPUT".into()) };
    let (ffmpeg, scratch) = (Ffmpeg::find()?, Scratch::new(0, 0)?);
    let limits = Limits { time: Duration::from_mins(10), file_bytes: u64::MAX };
    let remuxer = Remuxer { ffmpeg: &ffmpeg, scratch: &scratch, limits };
    let media = Media::open(LocalFile::open(file.as_ref())?, remuxer).await?;
    eprintln!("{:#?}", media.facts);
    let excerpt = media.excerpt((start.parse()?, end.parse()?), None, "excerpt.mp4", remuxer).await?;
    eprintln!("lead: {:?}; {:?}", excerpt.lead_seconds, excerpt.movie.window(start.parse()?, end.parse()?)?.facts);
    std::fs::copy(scratch.file("excerpt.mp4"), output)?;
    Ok(())
}
