//! Makes the thumbnails, from the picture at a quarter of the delivered clip.
//!
//! Reads only that picture and those that it depends on.

use clipflow_core::{
    ClipError, aws, config,
    ffmpeg::{Ffmpeg, Input as File, Limits},
    mp4::Movie,
    outcome::{Delivered, Execution, Object, Thumbnail},
    request::{ClipRequest, Source},
    scratch::Scratch,
    source::S3Source,
    upload::{self, Destination},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use std::{collections::HashMap, ffi::OsString, time::Duration};

/// How long decoding one group of pictures may take.
const TIME: Duration = Duration::from_mins(4);
/// The largest thumbnail, in bytes.
const MAX_THUMBNAIL_BYTES: u64 = 32 * 1024 * 1024;
/// Ranged reads of the clip that are under way at once.
const CONNECTIONS: usize = 2;
/// Uploads that are under way at once.
const UPLOADS_AT_ONCE: usize = 4;

/// What the state hands over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The execution.
    pub execution: Execution,
    /// The valid request.
    pub request: ClipRequest,
    /// The clip.
    pub clip: Object,
    /// What `verify` found.
    pub delivered: Delivered,
}

/// What the function works with.
#[derive(Debug)]
pub struct Deps {
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// The bucket that clips are written to.
    pub bucket: String,
    /// The function's space in `/tmp`, in bytes.
    pub scratch_bytes: u64,
    /// The decoder.
    pub ffmpeg: Ffmpeg,
}

impl Deps {
    /// Builds the client and reads the configuration.
    ///
    /// # Errors
    /// `Internal`, naming the variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        Ok(Self {
            bucket: config::required("CLIPFLOW_BUCKET")?,
            scratch_bytes: config::parsed("CLIPFLOW_SCRATCH_BYTES")?,
            ffmpeg: Ffmpeg::find()?,
            s3: aws_sdk_s3::Client::new(&aws::sdk_config().await),
        })
    }
}

/// Makes the thumbnails and puts them beside the clip.
///
/// # Errors
/// `DependencyUnavailable` when S3 does not answer; `Internal` when the clip cannot be decoded.
pub async fn handle(deps: &Deps, input: Input) -> Result<Vec<Thumbnail>, ClipError> {
    let widths = widths(&input.request.thumbnails, input.delivered.width);
    if widths.is_empty() {
        return Ok(Vec::new());
    }
    let scratch = decode(deps, &input, &widths).await?;
    let put = widths.iter().map(async |width| {
        let name = file_name(*width);
        let key = format!("{}{name}", input.request.prefix);
        let to = Destination { bucket: &deps.bucket, key: &key, content_type: "image/jpeg", metadata: HashMap::new() };
        upload::put_file(&deps.s3, &to, &scratch.file(&name)).await?;
        Ok(Thumbnail { size: *width, url: None, key })
    });
    stream::iter(put).buffered(UPLOADS_AT_ONCE).try_collect().await
}

/// The widths asked for, none above the clip's own: a wider one becomes that.
fn widths(asked: &[u32], own: u32) -> Vec<u32> {
    let mut widths: Vec<u32> = asked.iter().map(|width| *width.min(&own)).collect();
    widths.dedup();
    widths
}

fn file_name(width: u32) -> String {
    format!("thumb-{width}.jpg")
}

async fn decode(deps: &Deps, input: &Input, widths: &[u32]) -> Result<Scratch, ClipError> {
    let at = Source { bucket: deps.bucket.clone(), key: input.clip.key.clone() };
    let clip = S3Source::pin(deps.s3.clone(), &at).await.map_err(own_fault)?;
    let pieces = Movie::read_pieces(&clip).await.map_err(own_fault)?;
    let (movie, quarter) = piece_at(&pieces, input.delivered.duration_seconds / 4.0)
        .ok_or_else(|| ClipError::internal("the clip's edit list is not ours"))?;
    let frame_seconds = 1.0 / movie.facts.video.frame_rate.max(1.0);
    let window = movie.window(quarter, (quarter + 1.5 * frame_seconds).min(movie.facts.video.duration_seconds));
    let window = window.map_err(own_fault)?;
    let scratch = Scratch::new(window.facts.output_bytes + MAX_THUMBNAIL_BYTES, deps.scratch_bytes)?;
    scratch.save("window.mp4", window.stream(&clip, CONNECTIONS)).await?;
    let limits = Limits { time: TIME, file_bytes: MAX_THUMBNAIL_BYTES };
    deps.ffmpeg.run(scratch.path(), &[File::mp4("window.mp4")], &arguments(widths), limits).await.map_err(own_fault)?;
    Ok(scratch)
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
    if error.kind.is_rejection() { ClipError::internal(error.message) } else { error }
}

fn arguments(widths: &[u32]) -> Vec<OsString> {
    let each = |width: &u32| {
        let scale = format!("scale={width}:-2:flags=lanczos:out_range=full,format=yuvj420p");
        let (map, name) = (["-map", "0:v:0", "-frames:v", "1", "-q:v", "3", "-vf"], file_name(*width));
        map.map(str::to_owned).into_iter().chain([scale, "-update".into(), "1".into(), name]).map(OsString::from)
    };
    widths.iter().flat_map(each).collect()
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
