//! The watermark, from a PNG in S3 to the pixels that `FFmpeg` takes, which has no decoder for PNG.

use aws::source::S3Source;
use ffmpeg::{process::Input, scratch::Scratch};
use model::{ClipError, plan::ProbedPicture};
use mp4_cut::io::RangeRead;
use std::io::Cursor;

/// The most bytes that decoding may take besides the pixels.
const DECODER_BYTES: usize = 64 * 1024 * 1024;

/// Fetches the picture and writes its pixels to a file in `scratch`, `opacity` as opaque as they are.
///
/// # Errors
/// `SourceNotFound` when the object changed, `UnsupportedMedia` when it is no PNG.
pub async fn fetch(
    s3: &aws_sdk_s3::Client,
    picture: &ProbedPicture,
    opacity: f64,
    scratch: &Scratch,
) -> Result<Input, ClipError> {
    const FILE: &str = "watermark.rgba";
    let source = S3Source::pinned(s3.clone(), picture.object.clone());
    let pixels = pixels(&source.read(0..picture.object.bytes).await?, opacity)?;
    scratch
        .save(
            FILE,
            futures::stream::iter([Ok::<_, ClipError>(pixels.into())]),
        )
        .await?;
    Ok(Input::pixels(FILE, picture.width, picture.height))
}

/// The picture's pixels, each as red, green, blue and alpha.
fn pixels(png: &[u8], opacity: f64) -> Result<Vec<u8>, ClipError> {
    let damaged = |error: png::DecodingError| {
        ClipError::unsupported_media(format!(
            "edits.watermark.key: the PNG cannot be decoded: {error}"
        ))
    };
    let mut decoder = png::Decoder::new_with_limits(
        Cursor::new(png),
        png::Limits {
            bytes: DECODER_BYTES,
        },
    );
    decoder.set_transformations(
        png::Transformations::normalize_to_color8() | png::Transformations::ALPHA,
    );
    let mut reader = decoder.read_info().map_err(damaged)?;
    let mut raw = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let info = reader.next_frame(&mut raw).map_err(damaged)?;
    raw.truncate(info.buffer_size());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most the alpha itself"
    )]
    let faded = |alpha: u8| (f64::from(alpha) * opacity).round() as u8;
    Ok(match info.color_type {
        png::ColorType::GrayscaleAlpha => raw
            .as_chunks()
            .0
            .iter()
            .flat_map(|[grey, alpha]| [*grey, *grey, *grey, faded(*alpha)])
            .collect(),
        _ => raw
            .as_chunks()
            .0
            .iter()
            .flat_map(|[r, g, b, alpha]| [*r, *g, *b, faded(*alpha)])
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 2, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette(vec![255, 0, 0, 0, 0, 255]);
            encoder.set_trns(vec![255, 100]);
        }
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(data).expect("pixels");
        writer.finish().expect("an end");
        file
    }

    #[test]
    fn every_kind_of_png_becomes_the_same_pixels() {
        use png::{BitDepth, ColorType};
        let pictures: [(ColorType, BitDepth, &[u8], [u8; 8]); 4] = [
            (
                ColorType::Rgba,
                BitDepth::Eight,
                &[1, 2, 3, 200, 4, 5, 6, 0],
                [1, 2, 3, 100, 4, 5, 6, 0],
            ),
            (
                ColorType::Rgb,
                BitDepth::Eight,
                &[1, 2, 3, 4, 5, 6],
                [1, 2, 3, 128, 4, 5, 6, 128],
            ),
            (
                ColorType::Grayscale,
                BitDepth::Sixteen,
                &[7, 0, 9, 0],
                [7, 7, 7, 128, 9, 9, 9, 128],
            ),
            (
                ColorType::Indexed,
                BitDepth::One,
                &[0b0100_0000],
                [255, 0, 0, 128, 0, 0, 255, 50],
            ),
        ];
        for (color, depth, data, wanted) in pictures {
            assert_eq!(
                pixels(&png(color, depth, data), 0.5).as_deref(),
                Ok(&wanted[..]),
                "{color:?}"
            );
        }
    }

    #[test]
    fn damaged_png_is_unsupported_media() {
        let whole = png(png::ColorType::Rgb, png::BitDepth::Eight, &[0; 6]);
        let error = pixels(&whole[..whole.len() - 20], 1.0).expect_err("its end is missing");
        assert!(
            error
                .message
                .starts_with("edits.watermark.key: the PNG cannot be decoded"),
            "{}",
            error.message
        );
    }
}
