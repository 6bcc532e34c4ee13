//! An animated `WebP`, of pictures that `FFmpeg` encodes: it has no encoder for `WebP`, but a lossy picture in a `WebP` is
//! a keyframe of VP8 (RFC 9649, section 2.5), for which it has one.

use ffmpeg::scratch::Scratch;
use model::ClipError;

/// The file that is made.
pub const FILE: &str = "preview.webp";
/// What `FFmpeg` writes the keyframes to.
const KEYFRAMES: &str = "preview.ivf";
/// The pixels that a `WebP` has.
pub const PIXELS: &str = "scale=out_color_matrix=bt601:out_range=limited,format=yuv420p";
/// The options that make keyframes of all pictures.
pub const ENCODER: &str = "-c:v libvpx -g 1 -auto-alt-ref 0 -lag-in-frames 0 -deadline good -cpu-used 4 -crf 20 -b:v 4M \
                           -f ivf preview.ivf";

/// Makes the `WebP` out of the keyframes, `rate` pictures a second.
///
/// # Errors
/// `Internal` when the keyframes cannot be read or the file cannot be written.
pub async fn assemble(scratch: &Scratch, rate: u32) -> Result<(), ClipError> {
    let failed =
        |error: std::io::Error| ClipError::internal(format!("reading {KEYFRAMES}: {error}"));
    let keyframes = tokio::fs::read(scratch.file(KEYFRAMES))
        .await
        .map_err(failed)?;
    let webp = animation(&keyframes, 1000 / rate)
        .ok_or_else(|| ClipError::internal(format!("{KEYFRAMES} is damaged")))?;
    scratch
        .save(
            FILE,
            futures::stream::iter([Ok::<_, ClipError>(webp.into())]),
        )
        .await
}

/// The animation of the pictures of an IVF file, each shown for `milliseconds`; `None` when it is damaged.
fn animation(ivf: &[u8], milliseconds: u32) -> Option<Vec<u8>> {
    const ANIMATED: u32 = 2;
    let (header, mut rest) = ivf.split_at_checked(32)?;
    let side = |at: usize| {
        Some(u32::from(u16::from_le_bytes(
            header.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    let (width, height) = (side(12)?.checked_sub(1)?, side(14)?.checked_sub(1)?);
    let extent = [u24(width), u24(height)].concat();
    let mut chunks = b"WEBP".to_vec();
    chunk(
        &mut chunks,
        *b"VP8X",
        &[&ANIMATED.to_le_bytes()[..], &extent].concat(),
    );
    // A transparent background, and shown again and again.
    chunk(&mut chunks, *b"ANIM", &[0; 6]);
    while let Some((head, behind)) = rest.split_at_checked(12) {
        let bytes = u32::from_le_bytes(head.get(..4)?.try_into().ok()?);
        let (picture, behind) = behind.split_at_checked(bytes as usize)?;
        // At the corner; neither blended with the picture before nor cleared away.
        let mut frame = [&[0; 6][..], &extent, &u24(milliseconds), &[2]].concat();
        chunk(&mut frame, *b"VP8 ", picture);
        chunk(&mut chunks, *b"ANMF", &frame);
        rest = behind;
    }
    let mut file = Vec::new();
    chunk(&mut file, *b"RIFF", &chunks);
    Some(file)
}

fn u24(value: u32) -> [u8; 3] {
    let [low, middle, high, _] = value.to_le_bytes();
    [low, middle, high]
}

fn chunk(file: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    file.extend_from_slice(&name);
    file.extend_from_slice(
        &u32::try_from(content.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    file.extend_from_slice(content);
    if !content.len().is_multiple_of(2) {
        file.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image_webp::WebPDecoder;
    use std::{io::Cursor, process::Command};

    #[test]
    fn animation_shows_every_picture_in_its_colour() {
        let folder = tempfile::tempdir().expect("a folder");
        // Red, then blue.
        let source =
            "color=red:size=65x33:rate=10:duration=0.5,drawbox=c=blue:t=fill:enable='gte(n,3)'";
        let filter = format!("format=rgb24,{PIXELS}");
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", source, "-vf", &filter])
            .args(ENCODER.split(' '))
            .current_dir(folder.path())
            .status();
        assert!(made.expect("ffmpeg on the PATH").success());
        let ivf = std::fs::read(folder.path().join(KEYFRAMES)).expect("keyframes");
        let webp = animation(&ivf, 100).expect("an animation");
        let mut decoder = WebPDecoder::new(Cursor::new(webp)).expect("a WebP");
        assert_eq!(
            (
                decoder.dimensions(),
                decoder.num_frames(),
                decoder.is_animated()
            ),
            ((65, 33), 5, true)
        );
        let mut pixels = vec![0; decoder.output_buffer_size().expect("a size")];
        for number in 0..5 {
            assert_eq!(decoder.read_frame(&mut pixels).expect("a frame"), 100);
            let [red, _, blue] = [pixels[30], pixels[31], pixels[32]];
            assert!(
                if number < 3 {
                    red > 200 && blue < 50
                } else {
                    blue > 200 && red < 50
                },
                "{number}: {red} {blue}"
            );
        }
    }

    #[test]
    fn damaged_keyframes_are_no_animation() {
        assert_eq!(animation(b"DKIF", 100), None);
        assert_eq!(
            animation(&[&[1; 32][..], &[9, 0, 0, 0], &[0; 8]].concat(), 100),
            None
        );
    }
}
