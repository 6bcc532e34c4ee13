//! Decodes the watermark from a PNG in S3, once for all pictures of the clip.

use aws::source::S3Source;
use bytes::Bytes;
use ffmpeg::{
    process::{Ffmpeg, Input, Limits},
    scratch::Scratch,
};
use model::{ClipError, ErrorKind, plan::ProbedPicture};
use mp4_cut::io::RangeRead;
use std::ffi::OsString;

const PNG: &str = "watermark.png";
const PIXELS: &str = "watermark.rgba";

/// Fetches the picture and writes its pixels to a file in `scratch`, with their alpha multiplied by `opacity`.
///
/// # Errors
/// `SourceNotFound` if the object changed, `UnsupportedMedia` if it is not a PNG.
pub async fn fetch(
    s3: &aws_sdk_s3::Client,
    picture: &ProbedPicture,
    opacity: f64,
    scratch: &Scratch,
    (ffmpeg, limits): (&Ffmpeg, Limits),
) -> Result<Input, ClipError> {
    let source = S3Source::pinned(s3.clone(), picture.object.clone());
    let png = source.read(0..picture.object.bytes).await?;
    decode(png, opacity, scratch, (ffmpeg, limits)).await?;
    Ok(Input::pixels(PIXELS, picture.width, picture.height))
}

/// Writes a picture's pixels as RGBA.
async fn decode(
    png: Bytes,
    opacity: f64,
    scratch: &Scratch,
    (ffmpeg, limits): (&Ffmpeg, Limits),
) -> Result<(), ClipError> {
    let content = futures::stream::iter([Ok::<_, ClipError>(png)]);
    scratch.save(PNG, content).await?;
    let output = format!(
        "-map 0:v:0 -vf format=rgba,colorchannelmixer=aa={opacity} -frames:v 1 -f rawvideo {PIXELS}"
    );
    let output: Vec<_> = output.split(' ').map(OsString::from).collect();
    let decoded = ffmpeg
        .run(scratch.path(), &[Input::png(PNG)], &output, limits)
        .await;
    decoded.map_err(|error| match error.kind {
        ErrorKind::UnsupportedMedia => ClipError::unsupported_media(format!(
            "edits.watermark.key: the PNG cannot be decoded: {}",
            error.message
        )),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{process::Command, time::Duration};

    const LIMITS: Limits = Limits {
        time: Duration::from_mins(1),
        file_bytes: 1 << 20,
    };

    /// A PNG in a pixel format.
    fn png(pixels: &str, data: &[u8]) -> Bytes {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name| folder.path().join(name);
        std::fs::write(path("a.raw"), data).expect("room");
        let made = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-f", "rawvideo"])
            .args(["-video_size", "2x1", "-pixel_format", pixels])
            .args(["-i", "a.raw", "a.png"])
            .current_dir(folder.path())
            .status();
        assert!(made.expect("ffmpeg on the PATH").success());
        std::fs::read(path("a.png")).expect("a PNG").into()
    }

    async fn pixels(png: Bytes) -> Result<Vec<u8>, ClipError> {
        let scratch = Scratch::new(0, 0)?;
        decode(png, 0.5, &scratch, (&Ffmpeg::find()?, LIMITS)).await?;
        Ok(std::fs::read(scratch.file(PIXELS)).expect("pixels"))
    }

    #[tokio::test]
    async fn every_kind_of_png_becomes_the_same_pixels() {
        let grey = [7, 7, 7, 128, 9, 9, 9, 128];
        let pictures: [(&str, &[u8], [u8; 8]); 5] = [
            (
                "rgba",
                &[1, 2, 3, 200, 4, 5, 6, 0],
                [1, 2, 3, 100, 4, 5, 6, 0],
            ),
            ("rgb24", &[1, 2, 3, 4, 5, 6], [1, 2, 3, 128, 4, 5, 6, 128]),
            ("gray", &[7, 9], grey),
            ("gray16be", &[7, 0, 9, 0], grey),
            ("ya8", &[7, 255, 9, 255], grey),
        ];
        for (format, data, wanted) in pictures {
            let pixels = pixels(png(format, data)).await;
            assert_eq!(pixels.as_deref(), Ok(&wanted[..]), "{format}");
        }
    }

    #[tokio::test]
    async fn damaged_png_is_unsupported_media() {
        let whole = png("rgb24", &[0; 6]);
        let damaged = whole.slice(..whole.len() - 20);
        let error = pixels(damaged).await.expect_err("its end is missing");
        assert!(
            error
                .message
                .starts_with("edits.watermark.key: the PNG cannot be decoded"),
            "{}",
            error.message
        );
    }
}
