//! The smart cut: `FFmpeg` encodes the few frames that cannot be copied, and the sound.
//!
//! Sound is encoded whole: packets cannot be divided, so copied ones would hold sound from outside the clip, and
//! encoding it costs little beside pictures.

use crate::{
    error::{ClipError, ErrorKind},
    ffmpeg::{Ffmpeg, Input, Limits},
    mp4::{Encoded, Movie, Splice, SpliceFacts, Spliced, Unspliced, Window},
    quality::Quality,
    range::LocalFile,
    scratch::Scratch,
};
use std::ffi::OsString;

/// Cuts everything that is shown of the file `window` in `scratch`, which is where the encoded parts are written too.
///
/// # Errors
/// `Unfit` when all of it has to be encoded, saying why; otherwise what [`Ffmpeg::run`] raises when it runs out of
/// something.
pub async fn cut(
    ffmpeg: &Ffmpeg,
    scratch: &Scratch,
    window: &str,
    quality: Quality,
    limits: Limits,
) -> Result<(SpliceFacts, Spliced<LocalFile>), Unspliced> {
    let file = LocalFile::open(&scratch.file(window))?;
    let movie = Movie::read(&file).await?;
    let splice = movie.splice_all(&file).await?;
    let work = Work { ffmpeg, scratch, quality, limits, file: &file, splice: &splice };
    let (head, tail, sound) = tokio::try_join!(
        work.encode_pictures("head", splice.head(&movie)?),
        work.encode_pictures("tail", splice.tail(&movie)?),
        work.encode_sound(window, &movie),
    )
    .map_err(|error| match error.kind {
        ErrorKind::UnsupportedMedia => Unspliced::Unfit(error.message),
        _ => Unspliced::Failed(error),
    })?;
    let spliced = splice.join(&movie, file.clone(), Encoded { head, tail, sound }).await?;
    Ok((splice.facts, spliced))
}

struct Work<'a> {
    ffmpeg: &'a Ffmpeg,
    scratch: &'a Scratch,
    quality: Quality,
    limits: Limits,
    file: &'a LocalFile,
    splice: &'a Splice,
}

impl Work<'_> {
    async fn encode_pictures(&self, name: &str, window: Option<Window>) -> Result<Option<LocalFile>, ClipError> {
        let Some(window) = window else { return Ok(None) };
        let (input, output) = (format!("{name}-source.mp4"), format!("{name}.mp4"));
        self.scratch.save(&input, window.stream(self.file, 1)).await?;
        let quality = ["-preset", "veryfast", "-crf", &self.quality.crf().to_string()].map(str::to_owned);
        let arguments = self.splice.encode_arguments().into_iter().chain(quality).chain(window.encode_arguments());
        self.run(&input, &output, arguments).await.map(Some)
    }

    async fn encode_sound(&self, window: &str, movie: &Movie) -> Result<Option<LocalFile>, ClipError> {
        let Some(sound) = &movie.facts.audio else { return Ok(None) };
        let (timescale, length) = (sound.sample_rate, movie.facts.video.duration_seconds);
        let arguments = format!("-map 0:a:0 -c:a aac -movie_timescale {timescale} -t {length:.6}");
        self.run(window, "sound.mp4", arguments.split(' ').map(str::to_owned)).await.map(Some)
    }

    async fn run(
        &self,
        input: &str,
        output: &str,
        arguments: impl Iterator<Item = String>,
    ) -> Result<LocalFile, ClipError> {
        let arguments: Vec<OsString> = arguments.chain([output.to_owned()]).map(OsString::from).collect();
        self.ffmpeg.run(self.scratch.path(), &[Input::mp4(input)], &arguments, self.limits).await?;
        LocalFile::open(&self.scratch.file(output))
    }
}
