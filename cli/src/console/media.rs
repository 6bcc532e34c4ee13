//! Where a page gets the objects of a clip.
//!
//! The console's pages name objects by execution. When a browser asks for one, the console redirects it to S3 with a
//! presigned URL, so no page contains such a URL. The page that `show --html` writes has its media in files next to it.

use super::{html, state::Shared};
use crate::{
    deployment::Deployment,
    executions::{Execution, Status},
    failure::Failure,
};
use aws_sdk_s3::presigning::PresigningConfig;
use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use futures::TryFutureExt;
use model::execution::execution_arn;
use std::{path::PathBuf, time::Duration};

/// How long a presigned URL works.
const EXPIRY: Duration = Duration::from_mins(15);
/// How long a browser may keep using the same one.
const REUSE: &str = "private, max-age=600";

/// Where a page's media are.
#[derive(Debug)]
pub enum Media {
    /// On the console.
    Console,
    /// In the page's folder, under names with this prefix.
    Beside { folder: PathBuf, prefix: String },
}

impl Media {
    /// The URL of a delivered object, in the page of its execution.
    pub fn url(&self, execution: &Execution, key: &str) -> String {
        let name = html::encoded(file_name(key));
        match self {
            Self::Console => format!("{}/{name}", html::clip_path(&execution.name)),
            Self::Beside { prefix, .. } => format!("{}{name}", html::encoded(prefix)),
        }
    }
}

/// The keys of what an execution delivered: its clip, thumbnails and preview.
pub fn keys(execution: &Execution) -> Vec<&str> {
    let output = &execution.output;
    let thumbnails = output["thumbnails"].as_array().into_iter().flatten();
    [&output["clip"], &output["preview"]]
        .into_iter()
        .chain(thumbnails)
        .filter_map(|object| object["key"].as_str())
        .collect()
}

/// The smallest thumbnail that is at least this wide, or else the widest.
pub fn thumbnail(execution: &Execution, width: u64) -> Option<&str> {
    let thumbnails = execution.output["thumbnails"].as_array()?;
    let size = |thumbnail: &&serde_json::Value| thumbnail["size"].as_u64().unwrap_or(0);
    let wide = thumbnails
        .iter()
        .filter(|one| size(one) >= width)
        .min_by_key(size);
    wide.or_else(|| thumbnails.iter().max_by_key(size))?["key"].as_str()
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Redirects the browser to an object of an execution.
pub async fn redirect(
    State(console): State<Shared>,
    Path((execution, file)): Path<(String, String)>,
) -> Response {
    match url(&console.deployment, &execution, &file).await {
        Ok(Some(url)) => {
            ([(header::CACHE_CONTROL, REUSE)], Redirect::temporary(&url)).into_response()
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(failure) => (StatusCode::BAD_GATEWAY, failure.message).into_response(),
    }
}

async fn url(
    deployment: &Deployment,
    execution: &str,
    file: &str,
) -> Result<Option<String>, Failure> {
    let Some(execution) = deployment.ended(execution).await? else {
        return Ok(None);
    };
    let key = keys(&execution)
        .into_iter()
        .find(|key| file_name(key) == file);
    match (bucket(deployment, &execution), key) {
        (Some(bucket), Some(key)) => presigned(deployment, bucket, key).await.map(Some),
        _ => Ok(None),
    }
}

/// The bucket of what an execution delivered, if it is the deployment's.
fn bucket<'a>(deployment: &Deployment, execution: &'a Execution) -> Option<&'a str> {
    let own = deployment.outputs.bucket.as_deref();
    let bucket = execution.output["bucket"].as_str()?;
    own.is_none_or(|own| own == bucket).then_some(bucket)
}

async fn presigned(deployment: &Deployment, bucket: &str, key: &str) -> Result<String, Failure> {
    let config = PresigningConfig::expires_in(EXPIRY)
        .map_err(|error| Failure::new(format!("presigning: {error}")))?;
    let get = deployment.s3.get_object().bucket(bucket).key(key);
    let presigned = get.presigned(config).await;
    let presigned = presigned.map_err(Failure::of_call("presigning"))?;
    Ok(presigned.uri().to_owned())
}

/// The origin of the deployment's media, with `*` for the bucket if that is unknown.
pub async fn origin(deployment: &Deployment) -> Result<String, Failure> {
    const ANY: &str = "any-bucket";
    let bucket = deployment.outputs.bucket.as_deref().unwrap_or(ANY);
    let url = presigned(deployment, bucket, "clip.mp4").await?;
    let origin = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    Ok(origin.replace(ANY, "*"))
}

/// Writes what an execution delivered into the folder of its page.
pub async fn download(
    deployment: &Deployment,
    execution: &Execution,
    media: &Media,
) -> Result<(), Failure> {
    let (Media::Beside { folder, prefix }, Some(bucket)) = (media, bucket(deployment, execution))
    else {
        return Ok(());
    };
    for key in keys(execution) {
        let file = folder.join(format!("{prefix}{}", file_name(key)));
        let get = deployment.s3.get_object().bucket(bucket).key(key).send();
        let doing = format!("reading s3://{bucket}/{key}");
        let object = get.await.map_err(Failure::of_call(&doing))?;
        let mut body = object.body.into_async_read();
        let written = tokio::fs::File::create(&file)
            .and_then(async |mut to| tokio::io::copy(&mut body, &mut to).await)
            .await;
        written.map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    }
    Ok(())
}

impl Deployment {
    /// An execution with this name that has ended; from the cache if it succeeded, because then it never changes.
    async fn ended(&self, name: &str) -> Result<Option<Execution>, Failure> {
        let arn = execution_arn(&self.outputs.state_machine_arn, name);
        if let Some(kept) = self.kept.succeeded(&arn) {
            return Ok(Some(kept));
        }
        let found = self.describe(&arn).await?;
        Ok(found.filter(|one| one.status != Status::Running))
    }
}
