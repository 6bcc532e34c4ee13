//! Makes the thumbnails and the preview from the pictures a quarter of the way into the delivered clip.
//!
//! From an MP4, it reads only those pictures and what they depend on; a `WebM` is read whole.
//!
//! `fps=…:start_time=0:round=up` gives, at each tick, the frame shown at that time. That includes a frame that began
//! before second 0, and a last frame that is shorter than a tick.

use aws::{
    sdk,
    source::S3Source,
    upload::{self, Destination},
};
use bytes::Bytes;
use ffmpeg::{
    pixels,
    process::{Ffmpeg, Input as File, Limits},
    scratch::{self, Scratch},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use lambda::environment;
use model::{
    ClipError, ErrorKind,
    outcome::{Delivered, Execution, Object, Thumbnail, thumbnail_name},
    request::{ClipRequest, Format, Preview, Source},
};
use mp4_cut::{Movie, PixelFormat, Window, io::RangeRead};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ffi::OsString, time::Duration};

/// How long decoding may take.
const TIME: Duration = Duration::from_mins(4);
/// The largest thumbnail or preview, in bytes.
const MAX_PICTURE_BYTES: u64 = 32 * 1024 * 1024;
/// How long a preview plays, if the clip is long enough, in seconds.
const PREVIEW_SECONDS: f64 = 3.0;
/// Its width in pixels, never above the clip's own.
const PREVIEW_WIDTH: u32 = 480;
/// Concurrent ranged reads of the clip.
const CONNECTIONS: usize = 2;
/// Concurrent uploads.
const UPLOADS_AT_ONCE: usize = 4;

/// The state's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub execution: Execution,
    pub request: ClipRequest,
    pub clip: Object,
    /// What `verify` found.
    pub delivered: Delivered,
}

/// What was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The thumbnails, from small to large.
    pub thumbnails: Vec<Thumbnail>,
    /// The preview; null if none was requested.
    pub preview: Option<Object>,
}

#[derive(Debug)]
pub struct Deps {
    pub s3: aws_sdk_s3::Client,
    /// The bucket that clips are written to.
    pub bucket: String,
    /// The function's space in `/tmp`, in bytes.
    pub scratch_bytes: u64,
    pub ffmpeg: Ffmpeg,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        scratch::clean();
        Ok(Self {
            bucket: environment::required("CLIPFLOW_BUCKET")?,
            scratch_bytes: environment::parsed("CLIPFLOW_SCRATCH_BYTES")?,
            ffmpeg: Ffmpeg::find()?,
            s3: aws_sdk_s3::Client::new(&sdk::sdk_config().await),
        })
    }
}

/// Makes the thumbnails and the preview and puts them next to the clip.
///
/// # Errors
/// `DependencyUnavailable` if S3 does not answer; `Internal` if the clip cannot be decoded, or `UnsupportedMedia` if
/// `verify` has not decoded it either, or found its sources damaged.
pub async fn handle(deps: &Deps, input: Input) -> Result<Output, ClipError> {
    let widths = widths(&input.request.thumbnails, input.delivered.width);
    let preview = input.request.preview;
    if widths.is_empty() && preview.is_none() {
        return Ok(Output {
            thumbnails: Vec::new(),
            preview: None,
        });
    }
    let scratch = decode(deps, &input, &widths).await?;
    let put = async |name: String, content_type: &str| {
        let key = format!("{}{name}", input.request.prefix);
        let to = Destination {
            bucket: &deps.bucket,
            key: &key,
            content_type,
            metadata: HashMap::new(),
        };
        let put = upload::put_file(&deps.s3, &to, &scratch.file(&name)).await?;
        Ok::<_, ClipError>(Object {
            key,
            url: None,
            bytes: put.bytes,
            etag: put.etag,
        })
    };
    let thumbnails = widths.iter().map(async |width| {
        let Object { key, url, .. } = put(thumbnail_name(width), "image/jpeg").await?;
        Ok::<_, ClipError>(Thumbnail {
            size: *width,
            key,
            url,
        })
    });
    let thumbnails = stream::iter(thumbnails)
        .buffered(UPLOADS_AT_ONCE)
        .try_collect()
        .await?;
    let preview = match preview {
        None => None,
        Some(Preview::Gif) => Some(put("preview.gif".to_owned(), "image/gif").await?),
        Some(Preview::Webp) => Some(put("preview.webp".to_owned(), "image/webp").await?),
    };
    Ok(Output {
        thumbnails,
        preview,
    })
}

/// The requested widths, each limited to the clip's own.
fn widths(asked: &[u32], own: u32) -> Vec<u32> {
    let mut widths: Vec<u32> = asked.iter().map(|width| *width.min(&own)).collect();
    widths.dedup();
    widths
}

async fn decode(deps: &Deps, input: &Input, widths: &[u32]) -> Result<Scratch, ClipError> {
    let at = Source {
        bucket: deps.bucket.clone(),
        key: input.clip.key.clone(),
    };
    let clip = S3Source::pin(deps.s3.clone(), &at)
        .await
        .map_err(own_fault)?;
    let Input {
        request, delivered, ..
    } = input;
    let making = Making {
        ffmpeg: &deps.ffmpeg,
        scratch_bytes: deps.scratch_bytes,
        clip: &clip,
        quarter: delivered.duration_seconds / 4.0,
        widths,
        preview: request.preview,
    };
    match request.format {
        Format::Webm => {
            let seconds = delivered.duration_seconds;
            making.of_webm(clip.stream(), seconds).await
        }
        Format::Mp4 | Format::Hevc | Format::Source => making.of_mp4().await,
    }
    .map_err(|error| match why_undecodable(delivered) {
        Some(why) if error.kind == ErrorKind::UnsupportedMedia => ClipError::unsupported_media(
            format!("there is no picture for thumbnails and previews: {why}"),
        ),
        _ => own_fault(error),
    })
}

/// Why pictures of the clip may not decode: they were not checked, or some are damaged.
fn why_undecodable(delivered: &Delivered) -> Option<String> {
    let damaged = delivered.damaged.as_ref();
    let of_source = || damaged.map(|damaged| format!("the source is damaged ({damaged})"));
    delivered.undecoded.clone().or_else(of_source)
}

/// Makes pictures of a clip.
struct Making<'a, S> {
    ffmpeg: &'a Ffmpeg,
    scratch_bytes: u64,
    clip: &'a S,
    /// When the pictures begin, in seconds.
    quarter: f64,
    widths: &'a [u32],
    preview: Option<Preview>,
}

impl<S: RangeRead> Making<'_, S> {
    /// Makes the pictures of a `WebM`, which `content` contains whole and which lasts `clip_seconds`. The frame shown
    /// at the quarter may begin long before it, so reading starts at the previous keyframe, and the quarter is second
    /// 0.
    async fn of_webm(
        &self,
        content: impl Stream<Item = Result<Bytes, impl Into<ClipError>>>,
        clip_seconds: f64,
    ) -> Result<Scratch, ClipError> {
        let bytes = self.clip.len() + MAX_PICTURE_BYTES;
        let scratch = Scratch::new(bytes, self.scratch_bytes)?;
        scratch.save("clip.webm", content).await?;
        let mut file = File::webm("clip.webm");
        let quarter = format!("{:.6}", self.quarter);
        file.options = ["-noaccurate_seek", "-ss", &quarter]
            .map(str::to_owned)
            .into();
        self.run(&scratch, file, clip_seconds - self.quarter, &[], None)
            .await?;
        Ok(scratch)
    }

    /// Makes the pictures of an MP4. If the first picture is damaged, uses the next undamaged one, or else any.
    async fn of_mp4(&self) -> Result<Scratch, ClipError> {
        let pieces = Movie::read_edits(self.clip).await?;
        let (movie, start) = piece_at(&pieces, self.quarter)
            .ok_or_else(|| ClipError::internal("the clip's edit list is not ours"))?;
        let seconds = if self.preview.is_some() {
            PREVIEW_SECONDS
        } else {
            0.0
        };
        let end = movie.facts.video.duration_seconds;
        let windows = [(start, start + seconds), (start, end), (0.0, end)];
        let mut made = Err(ClipError::internal("the clip has no picture"));
        for (index, (start, end)) in windows.into_iter().enumerate() {
            let window = movie.window_shown(start, end)?;
            let on_errors: &[&str] = if index == 0 { &[] } else { &["-noxerror"] };
            let pixels = movie.facts.video.pixels.as_ref();
            made = self.of_window(&window, on_errors, pixels).await;
            match &made {
                Err(error) if error.kind.is_rejection() => {
                    tracing::warn!(error.message, "the pictures at a quarter do not decode");
                }
                _ => break,
            }
        }
        made
    }

    async fn of_window(
        &self,
        window: &Window,
        options: &[&str],
        pixels: Option<&PixelFormat>,
    ) -> Result<Scratch, ClipError> {
        let bytes = window.facts.output_bytes + MAX_PICTURE_BYTES;
        let scratch = Scratch::new(bytes, self.scratch_bytes)?;
        scratch
            .save("window.mp4", window.stream(self.clip, CONNECTIONS))
            .await?;
        let file = File::mp4("window.mp4");
        let seconds = window.facts.duration_seconds;
        self.run(&scratch, file, seconds, options, pixels).await?;
        Ok(scratch)
    }

    /// Makes the pictures of a file that shows `seconds` from its second 0 on.
    async fn run(
        &self,
        scratch: &Scratch,
        file: File,
        seconds: f64,
        options: &[&str],
        pixels: Option<&PixelFormat>,
    ) -> Result<(), ClipError> {
        let limits = Limits {
            time: TIME,
            file_bytes: MAX_PICTURE_BYTES,
        };
        let arguments: Vec<OsString> = options
            .iter()
            .map(OsString::from)
            .chain(arguments(self.widths, self.preview, seconds, pixels))
            .collect();
        self.ffmpeg
            .run(scratch.path(), &[file], &arguments, limits)
            .await?;
        let mut names = self.widths.iter().map(thumbnail_name);
        match names.find(|name| !scratch.file(name).exists()) {
            Some(name) => Err(ClipError::unsupported_media(format!(
                "no picture decodes for {name}"
            ))),
            None => Ok(()),
        }
    }
}

/// The piece of a clip that is shown at `seconds`, and the time within it; beyond the end, the last piece.
fn piece_at(pieces: &[Movie], mut seconds: f64) -> Option<(&Movie, f64)> {
    let (last, others) = pieces.split_last()?;
    for piece in others {
        let duration = piece.facts.video.duration_seconds;
        if seconds < duration {
            return Some((piece, seconds));
        }
        seconds -= duration;
    }
    Some((last, seconds))
}

/// The clip is ours, and `verify` has checked its pictures, so an error is not the request's fault.
fn own_fault(error: ClipError) -> ClipError {
    if error.kind.is_rejection() {
        ClipError::internal(error.message)
    } else {
        error
    }
}

/// At each tick of a tenth of a second, from second 0 on, the picture shown at that time, even if it began earlier or
/// lasts less than a tick.
const SHOWN: &str = "fps=10:start_time=0:round=up";
/// The height of a picture scaled to a width: even, and at least 2 even for a very wide picture.
const HEIGHT: &str = "'max(2,2*round(ow*ih/iw/2))'";
/// The pixel format of a lossy `WebP` (RFC 9649, section 2.5).
const WEBP_PIXELS: &str = "scale=out_color_matrix=bt601:out_range=limited,format=yuv420p";

/// The output options that make thumbnails, and a preview of the first `seconds`. All are made from the same decoded
/// pictures, which are converted to SDR if `pixels` are HDR.
fn arguments(
    widths: &[u32],
    preview: Option<Preview>,
    seconds: f64,
    pixels: Option<&PixelFormat>,
) -> Vec<OsString> {
    let mut filters: Vec<_> = pixels::tagged(pixels).into_iter().collect();
    filters.push(SHOWN.to_owned());
    if pixels.is_some_and(PixelFormat::is_hdr) {
        filters.push(pixels::TONE_MAP.to_owned());
    }
    let (mut chains, mut outputs) = (Vec::new(), Vec::new());
    for width in widths {
        chains.push(format!(
            "scale={width}:{HEIGHT}:flags=lanczos:out_range=full,format=yuvj420p"
        ));
        let name = thumbnail_name(width);
        outputs.push(format!("-frames:v 1 -q:v 3 -update 1 {name}"));
    }
    if let Some(preview) = preview {
        let (chain, output) = preview_arguments(preview, seconds);
        chains.push(chain);
        outputs.push(output.to_owned());
    }
    let count = chains.len();
    let labels: Vec<_> = (0..count).map(|index| format!("[shown{index}]")).collect();
    let mut graph = format!(
        "[0:v:0]{},split={count}{}",
        filters.join(","),
        labels.concat()
    );
    for (index, chain) in chains.iter().enumerate() {
        graph = format!("{graph};[shown{index}]{chain}[made{index}]");
        outputs[index].insert_str(0, &format!("-map [made{index}] "));
    }
    let outputs = outputs.join(" ");
    ["-filter_complex", &graph]
        .into_iter()
        .chain(outputs.split_whitespace())
        .map(OsString::from)
        .collect()
}

/// The filters and the output options of a preview.
fn preview_arguments(preview: Preview, seconds: f64) -> (String, &'static str) {
    let length = seconds.clamp(0.001, PREVIEW_SECONDS);
    let small =
        format!("trim=duration={length:.6},scale='min({PREVIEW_WIDTH},iw)':{HEIGHT}:flags=lanczos");
    match preview {
        // The palette is computed for this GIF after its last picture.
        Preview::Gif => (
            format!(
                "{small},split[a][b];[a]palettegen=stats_mode=diff[p];\
                 [b][p]paletteuse=dither=bayer:bayer_scale=4"
            ),
            "-loop 0 preview.gif",
        ),
        Preview::Webp => (
            format!("{small},{WEBP_PIXELS}"),
            "-c:v libwebp_anim -quality 80 -compression_level 2 -loop 0 preview.webp",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn no_thumbnail_is_wider_than_the_clip() {
        assert_eq!(widths(&[300, 640, 1500, 3000], 1280), [300, 640, 1280]);
        assert_eq!(widths(&[300], 1280), [300]);
        assert_eq!(widths(&[], 1280), [0; 0]);
    }

    /// A clip of pictures that last `seconds_each`, made by `FFmpeg` with `options`.
    fn clip(frames: u32, seconds_each: f64, name: &str, options: &str) -> Bytes {
        let folder = tempfile::tempdir().expect("a folder");
        let rate = 1.0 / seconds_each;
        let source = format!("testsrc2=size=160x90:rate={rate}");
        let made = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", &source])
            .args(["-frames:v", &frames.to_string(), "-pix_fmt", "yuv420p"])
            .args(options.split(' '))
            .arg(name)
            .current_dir(folder.path())
            .status();
        assert!(made.expect("ffmpeg on the PATH").success());
        std::fs::read(folder.path().join(name))
            .expect("a clip")
            .into()
    }

    /// How many pictures of a file decode.
    fn pictures(scratch: &Scratch, name: &str) -> usize {
        let decoded = Command::new("ffmpeg")
            .args([
                "-nostdin",
                "-v",
                "error",
                "-i",
                name,
                "-fps_mode",
                "passthrough",
            ])
            .args(["-s", "8x8", "-pix_fmt", "gray", "-f", "rawvideo", "-"])
            .current_dir(scratch.path())
            .output();
        decoded.expect("ffmpeg on the PATH").stdout.len() / 64
    }

    const H264: &str = "-c:v libx264 -preset ultrafast";
    const VP9: &str = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8";

    /// The thumbnail and the preview of a clip.
    async fn made(clip: &Bytes, seconds: f64, preview: Preview, format: Format) -> Scratch {
        let making = Making {
            ffmpeg: &Ffmpeg::find().expect("ffmpeg"),
            scratch_bytes: 1 << 30,
            clip,
            quarter: seconds / 4.0,
            widths: &[64],
            preview: Some(preview),
        };
        let made = match format {
            Format::Webm => {
                let content = stream::iter([Ok::<_, ClipError>(clip.clone())]);
                making.of_webm(content, seconds).await
            }
            Format::Mp4 | Format::Hevc | Format::Source => making.of_mp4().await,
        };
        made.expect("pictures")
    }

    #[tokio::test]
    async fn picture_that_is_shown_at_a_quarter_is_taken_however_long_it_lasts() {
        // A WebP stores repeated pictures only once.
        for (frames, seconds_each, gif, webp) in [(4, 2.5, 30, 2), (1, 4.0, 30, 1), (1, 0.04, 1, 1)]
        {
            let seconds = f64::from(frames) * seconds_each;
            let mp4 = clip(frames, seconds_each, "clip.mp4", H264);
            let of_mp4 = made(&mp4, seconds, Preview::Gif, Format::Mp4).await;
            let of_mp4 = ["thumb-64.jpg", "preview.gif"].map(|name| pictures(&of_mp4, name));
            let webm = clip(frames, seconds_each, "clip.webm", VP9);
            let of_webm = made(&webm, seconds, Preview::Webp, Format::Webm).await;
            let of_webm = ["thumb-64.jpg", "preview.webp"].map(|name| pictures(&of_webm, name));
            assert_eq!([of_mp4, of_webm], [[1, gif], [1, webp]], "{seconds} s");
        }
    }

    #[tokio::test]
    async fn preview_as_webp_shows_every_picture_in_its_colour_for_its_time() {
        // Red for a second, then blue.
        let colours =
            format!("{H264} -vf drawbox=c=red:t=fill,drawbox=c=blue:t=fill:enable='gte(n,10)'");
        let mp4 = clip(20, 0.1, "clip.mp4", &colours);
        let scratch = made(&mp4, 0.0, Preview::Webp, Format::Mp4).await;
        let decoded = Command::new("ffmpeg")
            .args([
                "-nostdin",
                "-v",
                "error",
                "-i",
                "preview.webp",
                "-vf",
                "fps=10",
            ])
            .args(["-s", "1x1", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"])
            .current_dir(scratch.path())
            .output();
        let decoded = decoded.expect("ffmpeg on the PATH").stdout;
        let colours = decoded
            .as_chunks()
            .0
            .iter()
            .map(|[r, g, b]| [r, g, b].map(|c| *c > 128));
        let (red, blue) = ([true, false, false], [false, false, true]);
        assert_eq!(
            colours.collect::<Vec<_>>(),
            [[red; 10], [blue; 10]].concat()
        );
    }

    /// The brightness of a file's first picture, up to 255.
    fn brightness(scratch: &Scratch, name: &str) -> u8 {
        let decoded = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-i", name, "-frames:v", "1"])
            .args(["-s", "1x1", "-pix_fmt", "gray", "-f", "rawvideo", "-"])
            .current_dir(scratch.path())
            .output();
        decoded.expect("ffmpeg on the PATH").stdout[0]
    }

    #[tokio::test]
    async fn pictures_of_hdr_are_toned_to_sdr() {
        let grey = |transfer: &str, primaries: &str, matrix: &str| {
            let colours = format!("colorprim={primaries}:transfer={transfer}:colormatrix={matrix}");
            format!(
                "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -tag:v hvc1 -vf drawbox=c=0xbfbfbf:t=fill \
                 -x265-params log-level=error:{colours}"
            )
        };
        // Three quarters of PQ are 980 cd/m², far brighter than SDR's white.
        for (options, expected) in [
            (grey("bt709", "bt709", "bt709"), 185..=197),
            (grey("smpte2084", "bt2020", "bt2020nc"), 240..=255),
        ] {
            let mp4 = clip(20, 0.1, "clip.mp4", &options);
            for (preview, name) in [
                (Preview::Gif, "preview.gif"),
                (Preview::Webp, "preview.webp"),
            ] {
                let scratch = made(&mp4, 2.0, preview, Format::Hevc).await;
                for name in ["thumb-64.jpg", name] {
                    let found = brightness(&scratch, name);
                    assert!(expected.contains(&found), "{options}: {name} has {found}");
                }
            }
        }
    }

    #[tokio::test]
    async fn picture_of_any_shape_has_a_thumbnail_and_a_preview() {
        for shape in ["2000:2", "2:2000", "2:2"] {
            let options = format!("{H264} -vf scale={shape}");
            let mp4 = clip(2, 0.5, "clip.mp4", &options);
            for preview in [Preview::Gif, Preview::Webp] {
                let scratch = made(&mp4, 0.0, preview, Format::Mp4).await;
                assert_eq!(pictures(&scratch, "thumb-64.jpg"), 1, "{shape}");
            }
        }
    }

    #[tokio::test]
    async fn next_good_picture_is_taken_where_the_one_at_a_quarter_is_damaged() {
        let whole = clip(40, 0.1, "clip.mp4", &format!("{H264} -g 1"));
        let movie = Movie::read(&whole).await.expect("a clip");
        let damaged = movie.window_shown(1.0, 1.0).expect("a picture");
        let at = damaged.facts.source_span.expect("one sample");
        let mut file = whole.to_vec();
        file[usize::try_from(at.start).expect("an offset")..][..4].fill(0xff);
        let thumbnail = Making {
            ffmpeg: &Ffmpeg::find().expect("ffmpeg"),
            scratch_bytes: 1 << 30,
            clip: &Bytes::from(file),
            quarter: 1.0,
            widths: &[64],
            preview: None,
        };
        let scratch = thumbnail.of_mp4().await.expect("a thumbnail");
        assert_eq!(pictures(&scratch, "thumb-64.jpg"), 1);
    }
}
