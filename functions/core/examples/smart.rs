//! Makes a smart cut of a local MP4: `smart IN OUT START END`, with `ffmpeg` on the PATH. Prints how much was encoded.

use clipflow_core::{
    ffmpeg::{Ffmpeg, Limits},
    mp4::{Movie, Unspliced},
    quality::Quality,
    range::LocalFile,
    scratch::Scratch,
    smart,
};
use futures::TryStreamExt;
use std::{fs::File, io::Write, path::Path, time::Duration};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, start, end] = arguments.as_slice() else {
        return Err("usage: smart IN OUT START END".into());
    };
    let source = LocalFile::open(Path::new(input))?;
    let window = Movie::read(&source)
        .await?
        .window(start.parse()?, end.parse()?)?;
    let scratch = Scratch::new(1, 1)?;
    let windows = ["window.mp4".to_owned()];
    scratch.save(&windows[0], window.stream(&source, 4)).await?;
    let ffmpeg = Ffmpeg::find()?;
    let limits = Limits {
        time: Duration::from_mins(10),
        file_bytes: 1 << 32,
    };
    let (facts, clip) = match smart::cut(
        &ffmpeg,
        &scratch,
        &windows,
        None,
        Quality::default(),
        limits,
    )
    .await
    {
        Ok(made) => made,
        Err(Unspliced::Unfit(why)) => return Err(why.into()),
        Err(Unspliced::Failed(error)) => return Err(error.into()),
    };
    let mut out = File::create(output)?;
    let mut stream = std::pin::pin!(clip.stream());
    while let Some(part) = stream.try_next().await? {
        out.write_all(&part)?;
    }
    println!(
        "{:#}",
        serde_json::json!({"window": window.facts, "splice": facts})
    );
    Ok(())
}
