//! The `FFmpeg` filters that convert pixels for encoding.

use model::ClipError;
use mp4_cut::PixelFormat;
use serde::Deserialize;
use std::path::Path;
use tokio::{fs::File, io::AsyncReadExt};

/// H.273 numbers by `FFmpeg`'s names.
const NUMBERS: [(&str, u8); 17] = [
    ("gbr", RGB),
    ("bt709", 1),
    ("bt470m", 4),
    ("gamma22", 4),
    ("fcc", 4),
    ("bt470bg", 5),
    ("gamma28", 5),
    ("smpte170m", 6),
    ("smpte240m", 7),
    ("bt2020", 9),
    ("bt2020nc", 9),
    ("bt2020c", 10),
    ("iec61966-2-4", 11),
    ("smpte432", 12),
    ("iec61966-2-1", 13),
    ("smpte2084", 16),
    ("arib-std-b67", 18),
];

/// What `ffprobe` says about a stream's pixels.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PixelNames {
    pix_fmt: Option<String>,
    color_range: Option<String>,
    color_primaries: Option<String>,
    color_transfer: Option<String>,
    color_space: Option<String>,
}

impl PixelNames {
    /// The same as numbers; `None` if the pixel format is unknown, or not stored as luma and chroma.
    pub fn format(&self) -> Option<PixelFormat> {
        let name = self.pix_fmt.as_deref()?;
        let chroma = match name.get(..6)? {
            "yuv420" | "yuvj42" if !name.contains("j422") => "4:2:0",
            "yuv422" | "yuvj42" => "4:2:2",
            "yuv444" | "yuvj44" => "4:4:4",
            _ => return None,
        };
        let depth = ["9", "10", "12", "14", "16"]
            .into_iter()
            .find(|depth| name.ends_with(&format!("p{depth}le")));
        let number = |name: &Option<String>| {
            let name = name.as_deref();
            let found = NUMBERS.iter().find(|(own, _)| Some(*own) == name);
            found.map_or(UNSPECIFIED, |(_, number)| *number)
        };
        Some(PixelFormat {
            bit_depth: depth.map_or(Some(8), |depth| depth.parse().ok())?,
            chroma: chroma.to_owned(),
            full_range: match self.color_range.as_deref() {
                Some("pc") => Some(true),
                Some("tv") => Some(false),
                _ => None,
            },
            primaries: number(&self.color_primaries),
            transfer: number(&self.color_transfer),
            matrix: number(&self.color_space),
            dolby_vision: false,
        })
    }
}

/// How an HDR10+ metadata message begins (SMPTE ST 2094-40, in an ITU-T T.35 message).
const HDR10_PLUS: [u8; 6] = [0xb5, 0, 0x3c, 0, 1, 4];
/// The first picture's message, if any, is within this many bytes of the window.
const HDR10_PLUS_WITHIN: u64 = 256 << 10;

/// Whether the pictures of a window file have HDR10+ metadata.
///
/// # Errors
/// `Internal` when the file cannot be read.
pub async fn has_hdr10_plus(window: &Path) -> Result<bool, ClipError> {
    let failed = |error: std::io::Error| ClipError::internal(format!("reading a window: {error}"));
    let file = File::open(window).await.map_err(failed)?;
    let mut head = Vec::new();
    let mut head_of_file = file.take(HDR10_PLUS_WITHIN);
    head_of_file.read_to_end(&mut head).await.map_err(failed)?;
    Ok(head
        .windows(HDR10_PLUS.len())
        .any(|bytes| bytes == HDR10_PLUS))
}

/// H.273's value for "unspecified".
const UNSPECIFIED: u8 = 2;
/// The matrix value of GBR pictures.
const RGB: u8 = 0;
/// Converts HDR pictures to BT.709 SDR and removes their light-level metadata. 100 cd/m² is white; brighter values are
/// compressed.
pub const TONE_MAP: &str = "zscale=transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=709,\
     tonemap=hable:desat=0,zscale=transfer=709:matrix=709:range=limited,format=yuv420p,\
     sidedata=delete:MASTERING_DISPLAY_METADATA,sidedata=delete:CONTENT_LIGHT_LEVEL,\
     sidedata=delete:DYNAMIC_HDR_PLUS";

/// Tags pictures with the source's range and colours. The container takes precedence over the stream; `None` if nothing
/// is known.
#[must_use]
pub fn tagged(pixels: Option<&PixelFormat>) -> Option<String> {
    let pixels = pixels.filter(|pixels| pixels.matrix != RGB)?;
    let range = pixels
        .full_range
        .map(|full| if full { "range=pc" } else { "range=tv" });
    let colours = [
        ("color_primaries", pixels.primaries),
        ("color_trc", pixels.transfer),
        ("colorspace", pixels.matrix),
    ];
    let colours = colours
        .into_iter()
        .filter(|(_, number)| *number != UNSPECIFIED);
    let colours = colours.map(|(name, number)| format!("{name}={number}"));
    let all: Vec<_> = range
        .map(str::to_owned)
        .into_iter()
        .chain(colours)
        .collect();
    (!all.is_empty()).then(|| format!("setparams={}", all.join(":")))
}

/// `FFmpeg`'s name of the pixel format to encode.
#[must_use]
pub fn encoded(bit_depth: u8) -> &'static str {
    if bit_depth > 8 {
        "yuv420p10le"
    } else {
        "yuv420p"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(of: &str) -> Option<PixelFormat> {
        serde_json::from_str::<PixelNames>(of)
            .expect("names")
            .format()
    }

    #[tokio::test]
    async fn metadata_of_hdr10_plus_is_found_in_the_first_picture() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (message, is_found) in [(HDR10_PLUS, true), ([0xb5, 0, 0x31, 0, 1, 4], false)] {
            let window = [&[0; 5000][..], &message, &[7; 20]].concat();
            std::fs::write(file.path(), window).expect("room");
            assert_eq!(has_hdr10_plus(file.path()).await, Ok(is_found));
        }
    }

    #[test]
    fn names_of_ffprobe_are_numbers_of_h_273() {
        let hlg = pixels(
            r#"{"pix_fmt": "yuv420p10le", "color_range": "tv", "color_primaries": "bt2020",
                "color_transfer": "arib-std-b67", "color_space": "bt2020nc"}"#,
        );
        let hlg = hlg.expect("it says");
        assert_eq!((hlg.bit_depth, hlg.chroma.as_str()), (10, "4:2:0"));
        assert!(hlg.is_hdr());
        let wanted = "setparams=range=tv:color_primaries=9:color_trc=18:colorspace=9";
        assert_eq!(tagged(Some(&hlg)).as_deref(), Some(wanted));
        let jpeg = pixels(r#"{"pix_fmt": "yuvj422p"}"#).expect("it says");
        assert_eq!((jpeg.bit_depth, jpeg.chroma.as_str()), (8, "4:2:2"));
        assert_eq!(tagged(Some(&jpeg)), None);
        assert_eq!(pixels(r#"{"pix_fmt": "gbrp"}"#), None);
    }
}
