//! Makes the thumbnails and the preview, from the pictures at a quarter of the delivered clip.
//!
//! Of an MP4 it reads only those pictures and what they depend on, of a `WebM` all.

mod webp;

use aws::{
    sdk,
    source::S3Source,
    upload::{self, Destination},
};
use ffmpeg::{
    process::{Ffmpeg, Input as File, Limits},
    scratch::Scratch,
};
use futures::{StreamExt, TryStreamExt, stream};
use lambda::environment;
use model::{
    ClipError,
    outcome::{Delivered, Execution, Object, Thumbnail, thumbnail_name},
    request::{ClipRequest, Format, Preview, Source},
};
use mp4_cut::{Movie, Window};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ffi::OsString, time::Duration};

/// How long decoding one group of pictures may take.
const TIME: Duration = Duration::from_mins(4);
/// The largest thumbnail or preview, in bytes.
const MAX_PICTURE_BYTES: u64 = 32 * 1024 * 1024;
/// How long a preview plays, if the clip goes on for that long, in seconds.
const PREVIEW_SECONDS: f64 = 3.0;
/// Its pictures a second.
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
/// `DependencyUnavailable` when S3 does not answer; `Internal` when the clip cannot be decoded.
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
    let quarter = input.delivered.duration_seconds / 4.0;
    let seconds = if input.request.preview.is_some() {
        PREVIEW_SECONDS
    } else {
        0.0
    };
    let (scratch, file) = match input.request.format {
        Format::Webm => {
            let scratch =
                Scratch::new(clip.object().bytes + MAX_PICTURE_BYTES, deps.scratch_bytes)?;
            scratch.save("clip.webm", clip.stream()).await?;
            let mut file = File::webm("clip.webm");
            file.options = vec!["-ss".to_owned(), format!("{quarter:.6}")];
            (scratch, file)
        }
        Format::Mp4 | Format::Hevc => {
            let window = window(&clip, quarter, seconds).await.map_err(own_fault)?;
            let scratch = Scratch::new(
                window.facts.output_bytes + MAX_PICTURE_BYTES,
                deps.scratch_bytes,
            )?;
            scratch
                .save("window.mp4", window.stream(&clip, CONNECTIONS))
                .await?;
            (scratch, File::mp4("window.mp4"))
        }
    };
    let limits = Limits {
        time: TIME,
        file_bytes: MAX_PICTURE_BYTES,
    };
    let arguments = arguments(widths, input.request.preview);
    deps.ffmpeg
        .run(scratch.path(), &[file], &arguments, limits)
        .await
        .map_err(own_fault)?;
    Ok(scratch)
}

/// The pictures from `start_seconds` on for `seconds`, at least one of them, as far as they are of one piece.
async fn window(clip: &S3Source, start_seconds: f64, seconds: f64) -> Result<Window, ClipError> {
    let pieces = Movie::read_edits(clip).await?;
    let (movie, start) = piece_at(&pieces, start_seconds)
        .ok_or_else(|| ClipError::internal("the clip's edit list is not ours"))?;
    let video = &movie.facts.video;
    let least = 1.5 / video.frame_rate.max(1.0);
    let end = (start + seconds.max(least)).min(video.duration_seconds);
    Ok(movie.window(start, end)?)
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

/// The clip is ours, so that whatever is wrong with it is no fault of the request.
fn own_fault(error: ClipError) -> ClipError {
    if error.kind.is_rejection() {
        ClipError::internal(error.message)
    } else {
        error
    }
}

fn arguments(widths: &[u32], preview: Option<Preview>) -> Vec<OsString> {
    let each = |width: &u32| {
        let scale = format!("scale={width}:-2:flags=lanczos:out_range=full,format=yuvj420p");
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
        .chain(preview.into_iter().flat_map(preview_arguments))
        .map(OsString::from)
        .collect()
}

fn preview_arguments(preview: Preview) -> Vec<String> {
    let small = format!("fps={PREVIEW_RATE},scale='min({PREVIEW_WIDTH},iw)':-2:flags=lanczos");
    let length = PREVIEW_SECONDS.to_string();
    let (filter, rest) = match preview {
        // The colours of a GIF are chosen for this one.
        Preview::Gif => (
            format!(
                "{small},split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=bayer:bayer_scale=4"
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

    #[test]
    fn no_thumbnail_is_wider_than_the_clip() {
        assert_eq!(widths(&[300, 640, 1500, 3000], 1280), [300, 640, 1280]);
        assert_eq!(widths(&[300], 1280), [300]);
        assert_eq!(widths(&[], 1280), [0; 0]);
    }
}
