//! Requests given as command-line flags.

use crate::{failure::Failure, requests};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// One request, or one for each camera.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A request")]
pub struct Flags {
    /// What to cut from: an object, or a file of this machine, which is uploaded first
    #[arg(long, value_name = "s3://BUCKET/KEY or FILE", value_parser = source, requires_all = ["start", "end"])]
    pub source: Option<Source>,
    /// The source bucket that a file is uploaded to; default: the deployment's, if it has one
    #[arg(long, value_name = "NAME", conflicts_with_all = ["file", "camera"])]
    pub bucket: Option<String>,
    /// The camera whose recordings to cut; several make one request each
    #[arg(long, value_name = "ID,…", value_delimiter = ',', conflicts_with = "source", requires_all = ["start", "end"])]
    camera: Vec<String>,
    /// Where the clip starts: 72.5, 1:12.5, 25%; with --camera RFC 3339
    #[arg(long, value_name = "TIME", conflicts_with = "file")]
    start: Option<String>,
    /// Where it ends
    #[arg(long, value_name = "TIME", conflicts_with = "file")]
    end: Option<String>,
    /// The clip's name; default: derived from the request
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    clip_id: Option<String>,
    /// exact or copy
    #[arg(long, conflicts_with = "file")]
    cut: Option<String>,
    /// What becomes of a damaged source: accept or reject
    #[arg(long, conflicts_with = "file")]
    damage: Option<String>,
    /// Kept with the clip's document; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "file")]
    metadata: Vec<(String, String)>,
}

/// What a clip is cut from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// An object, as a request names it.
    Object(Value),
    /// A local file.
    File(PathBuf),
}

impl Flags {
    /// The requests; `object` is where a local file will be uploaded.
    ///
    /// # Errors
    /// Wrong usage if several requests would have the same `clipId`.
    pub fn requests(self, object: Option<Value>) -> Result<Vec<Value>, Failure> {
        if self.camera.len() > 1 && self.clip_id.is_some() {
            return Err(Failure::usage(
                "--clip-id names one clip, and several cameras make several; leave it out",
            ));
        }
        if self.bucket.is_some() && matches!(self.source, Some(Source::Object(_))) {
            return Err(Failure::usage(
                "--bucket says where a file is uploaded to, and --source names an object",
            ));
        }
        let text = |text: Option<String>| text.map(Value::from);
        let metadata: Map<_, _> = self
            .metadata
            .into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect();
        let source = match self.source {
            Some(Source::Object(source)) => Some(source),
            Some(Source::File(_)) => object,
            None => None,
        };
        let fields = [
            ("clipId", text(self.clip_id)),
            ("source", source),
            ("start", text(self.start)),
            ("end", text(self.end)),
            ("cut", text(self.cut)),
            ("damage", text(self.damage)),
            ("metadata", (!metadata.is_empty()).then(|| metadata.into())),
        ];
        let request: Map<_, _> = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        if self.camera.is_empty() {
            return Ok(vec![request.into()]);
        }
        let of_camera = |camera: String| {
            let mut request = request.clone();
            request.insert("cameraId".to_owned(), camera.into());
            request.into()
        };
        Ok(self.camera.into_iter().map(of_camera).collect())
    }
}

/// An object's URI, or a file.
fn source(text: &str) -> Result<Source, String> {
    match text.split_once("://") {
        Some(("s3", _)) => requests::source(text).map(Source::Object),
        Some(_) => Err("is neither s3://BUCKET/KEY nor a file; download it first".to_owned()),
        None => Ok(Source::File(text.into())),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}
