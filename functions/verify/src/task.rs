//! The function's input and dependencies.

use aws::sdk;
use ffmpeg::process::Ffmpeg;
use lambda::environment;
use model::{
    ClipError,
    outcome::{Engine, Execution, MadeClip},
    plan::Plan,
    request::ClipRequest,
};
use serde::Deserialize;

/// The state's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub execution: Execution,
    pub request: ClipRequest,
    /// What `probe` found.
    pub probe: Plan,
    pub clip: MadeClip,
    /// What made it.
    pub engine: Engine,
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
    /// `Internal`, naming the environment variable or the program that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        let bucket = environment::required("CLIPFLOW_BUCKET")?;
        ffmpeg::scratch::clean();
        let scratch_bytes = environment::parsed("CLIPFLOW_SCRATCH_BYTES")?;
        Ok(Self {
            bucket,
            scratch_bytes,
            ffmpeg: Ffmpeg::find()?,
            s3: aws_sdk_s3::Client::new(&sdk::sdk_config().await),
        })
    }
}
