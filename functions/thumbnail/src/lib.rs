//! Makes the thumbnails and the preview, from the pictures at a quarter of the delivered clip.
//!
//! Of an MP4 it reads only those pictures and what they depend on, of a `WebM` all.
//!
//! `fps=…:start_time=0:round=up` shows at each tick what is shown then, also of a frame that began
//! before second 0 and of a last one that is shorter than a tick.

mod webp;

use aws::{
    sdk,
    source::S3Source,
    upload::{self, Destination},
};
use bytes::Bytes;
use ffmpeg::{
    process::{Ffmpeg, Input as File, Limits},
    scratch::Scratch,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use lambda::environment;
use model::{
    ClipError, ErrorKind,
    outcome::{Delivered, Execution, Object, Thumbnail, thumbnail_name},
    request::{ClipRequest, Format, Preview, Source},
};
use mp4_cut::{Movie, Window, io::RangeRead};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ffi::OsString, time::Duration};

/// How long decoding one group of pictures may take.
const TIME: Duration = Duration::from_mins(4);
/// The largest thumbnail or preview, in bytes.
const MAX_PICTURE_BYTES: u64 = 32 * 1024 * 1024;
/// How long a preview plays, if the clip goes on for that long, in seconds.
const PREVIEW_SECONDS: f64 = 3.0;
/// Its pictures a second, as [`SHOWN`] has them.
const PREVIEW_RATE: u32 = 10;
/// Its width in pixels, never above the clip's own.
const PREVIEW_WIDTH: u32 = 480;
/// Ranged reads of the clip that are under way at once.
const CONNECTIONS: usize = 2;
/// Uploads that are under way at once.
const UPLOADS_AT_ONCE: usize = 4;

/// What the state hands over.
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
    /// The preview; null when none was asked for.
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
        Ok(Self {
            bucket: environment::required("CLIPFLOW_BUCKET")?,
            scratch_bytes: environment::parsed("CLIPFLOW_SCRATCH_BYTES")?,
            ffmpeg: Ffmpeg::find()?,
            s3: aws_sdk_s3::Client::new(&sdk::sdk_config().await),
        })
    }
}

/// Makes the thumbnails and the preview and puts them beside the clip.
///
/// # Errors
/// `DependencyUnavailable` when S3 does not answer; `Internal` when the clip cannot be decoded, or `UnsupportedMedia` where
/// `verify` has not decoded it either.
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
        Some(Preview::Webp) => {
            webp::assemble(&scratch, PREVIEW_RATE).await?;
            Some(put(webp::FILE.to_owned(), "image/webp").await?)
        }
    };
    Ok(Output {
        thumbnails,
        preview,
    })
}

/// The widths asked for, none above the clip's own: a wider one becomes that.
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
        Format::Mp4 | Format::Hevc => making.of_mp4().await,
    }
    .map_err(|error| match &delivered.undecoded {
        // It has not been seen to decode.
        Some(why) if error.kind == ErrorKind::UnsupportedMedia => ClipError::unsupported_media(
            format!("there is no picture for thumbnails and previews: {why}"),
        ),
        _ => own_fault(error),
    })
}

/// The making of pictures of a clip.
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
    /// Makes the pictures of a `WebM`, which is all of `content` and lasts `clip_seconds`. What is shown at the quarter may
    /// begin long before it, so reading begins at the keyframe before, and the quarter is second 0.
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
        self.run(&scratch, file, clip_seconds - self.quarter, &[])
            .await?;
        Ok(scratch)
    }

    /// Makes the pictures of an MP4: where the first of them is damaged, of the next one that is not, or else of any.
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
            made = self.of_window(&window, on_errors).await;
            match &made {
                Err(error) if error.kind.is_rejection() => {
                    tracing::warn!(error.message, "the pictures at a quarter do not decode");
                }
                _ => break,
            }
        }
        made
    }

    async fn of_window(&self, window: &Window, options: &[&str]) -> Result<Scratch, ClipError> {
        let bytes = window.facts.output_bytes + MAX_PICTURE_BYTES;
        let scratch = Scratch::new(bytes, self.scratch_bytes)?;
        scratch
            .save("window.mp4", window.stream(self.clip, CONNECTIONS))
            .await?;
        let file = File::mp4("window.mp4");
        self.run(&scratch, file, window.facts.duration_seconds, options)
            .await?;
        Ok(scratch)
    }

    /// Makes the pictures of a file of which `seconds` are shown from its second 0 on.
    async fn run(
        &self,
        scratch: &Scratch,
        file: File,
        seconds: f64,
        options: &[&str],
    ) -> Result<(), ClipError> {
        let limits = Limits {
            time: TIME,
            file_bytes: MAX_PICTURE_BYTES,
        };
        let arguments: Vec<OsString> = options
            .iter()
            .map(OsString::from)
            .chain(arguments(self.widths, self.preview, seconds))
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

/// The piece of a clip that is shown at `seconds`, and the time within it; the last one at the end.
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

/// The clip is ours, and `verify` has seen its pictures, so that whatever is wrong is no fault of the request.
fn own_fault(error: ClipError) -> ClipError {
    if error.kind.is_rejection() {
        ClipError::internal(error.message)
    } else {
        error
    }
}

/// Shows at each tick of [`PREVIEW_RATE`] what is shown then, from second 0 on: also of a picture that began before it,
/// and of one that is shown for less than a tick.
const SHOWN: &str = "fps=10:start_time=0:round=up";

/// The output options that make thumbnails, and a preview of the first `seconds`.
fn arguments(widths: &[u32], preview: Option<Preview>, seconds: f64) -> Vec<OsString> {
    let each = |width: &u32| {
        let scale = format!(
            "{SHOWN},\
             scale={width}:-2:flags=lanczos:out_range=full,format=yuvj420p"
        );
        let (map, name) = (
            ["-map", "0:v:0", "-frames:v", "1", "-q:v", "3", "-vf"],
            thumbnail_name(width),
        );
        map.map(str::to_owned)
            .into_iter()
            .chain([scale, "-update".into(), "1".into(), name])
    };
    let thumbnails = widths.iter().flat_map(each);
    thumbnails
        .chain(
            preview
                .into_iter()
                .flat_map(|preview| preview_arguments(preview, seconds)),
        )
        .map(OsString::from)
        .collect()
}

fn preview_arguments(preview: Preview, seconds: f64) -> Vec<String> {
    let small = format!(
        "{SHOWN},\
         scale='min({PREVIEW_WIDTH},iw)':-2:flags=lanczos"
    );
    let length = format!("{:.6}", seconds.clamp(0.001, PREVIEW_SECONDS));
    let (filter, rest) = match preview {
        // The colours of a GIF are chosen for this one, once its last picture is there.
        Preview::Gif => (
            format!(
                "{small},trim=duration={length},split[a][b];[a]palettegen=stats_mode=diff[p];\
                 [b][p]paletteuse=dither=bayer:bayer_scale=4"
            ),
            vec!["-loop", "0", "preview.gif"],
        ),
        Preview::Webp => (
            format!("{small},{}", webp::PIXELS),
            webp::ENCODER.split(' ').collect(),
        ),
    };
    ["-map", "0:v:0", "-t", &length, "-vf", &filter]
        .into_iter()
        .chain(rest)
        .map(str::to_owned)
        .collect()
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

    /// A clip of pictures that last `seconds_each`, as `FFmpeg` makes it with `options`.
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

    /// How many pictures the thumbnail and the preview of a clip have.
    async fn made(clip: &Bytes, seconds: f64, preview: Preview, format: Format) -> [usize; 2] {
        let making = Making {
            ffmpeg: &Ffmpeg::find().expect("ffmpeg"),
            scratch_bytes: 1 << 30,
            clip,
            quarter: seconds / 4.0,
            widths: &[64],
            preview: Some(preview),
        };
        let scratch = match format {
            Format::Webm => {
                let content = stream::iter([Ok::<_, ClipError>(clip.clone())]);
                making.of_webm(content, seconds).await
            }
            Format::Mp4 | Format::Hevc => making.of_mp4().await,
        };
        let scratch = scratch.expect("pictures");
        let name = match preview {
            Preview::Gif => "preview.gif",
            Preview::Webp => "preview.ivf",
        };
        ["thumb-64.jpg", name].map(|name| pictures(&scratch, name))
    }

    #[tokio::test]
    async fn picture_that_is_shown_at_a_quarter_is_taken_however_long_it_lasts() {
        for (frames, seconds_each, preview) in [(4, 2.5, 30), (1, 4.0, 30), (1, 0.04, 1)] {
            let seconds = f64::from(frames) * seconds_each;
            let mp4 = clip(frames, seconds_each, "clip.mp4", H264);
            let of_mp4 = made(&mp4, seconds, Preview::Gif, Format::Mp4).await;
            let webm = clip(frames, seconds_each, "clip.webm", VP9);
            let of_webm = made(&webm, seconds, Preview::Webp, Format::Webm).await;
            assert_eq!([of_mp4, of_webm], [[1, preview]; 2], "{seconds} s");
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
