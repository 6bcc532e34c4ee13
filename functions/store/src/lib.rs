//! Stores an outcome in `MongoDB`.
//!
//! Promises: storing the same outcome again changes nothing, and an older execution never overwrites a newer one.

use aws::sdk;
use clip_store::{LazyClipStore, Saved};
use lambda::environment;
use model::{
    ClipError,
    outcome::{
        Delivered, Engine, Execution, Object, Outcome, Status, Thumbnail, ThumbnailSizes,
        thumbnail_name,
    },
    parse,
    text::{MAX_MESSAGE, elide},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the states hand over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub execution: Execution,
    /// The execution's input.
    pub request: Value,
    /// What became of it.
    pub result: Made,
}

/// What became of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Whether there is a clip.
    pub status: Status,
    /// The name of the error that rejected the request.
    pub reason: Option<String>,
    /// That error's message.
    pub message: Option<String>,
    pub clip: Option<Object>,
    #[serde(default)]
    pub thumbnails: Vec<Thumbnail>,
    pub preview: Option<Object>,
    /// What `verify` found.
    pub delivered: Option<Delivered>,
    /// What made the clip.
    pub engine: Option<Engine>,
}

#[derive(Debug)]
pub struct Deps {
    pub clip_store: LazyClipStore,
    /// The bucket that clips are written to.
    pub bucket: String,
    /// Where the public finds that bucket's objects.
    pub public_base_url: Option<String>,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        Ok(Self {
            clip_store: LazyClipStore::new(
                &sdk::sdk_config().await,
                environment::required("CLIPFLOW_MONGODB_URI_SECRET")?,
                environment::required("CLIPFLOW_MONGODB_DATABASE")?,
                environment::optional("CLIPFLOW_MONGODB_CA_FILE").map(Into::into),
            ),
            bucket: environment::required("CLIPFLOW_BUCKET")?,
            public_base_url: environment::optional("CLIPFLOW_PUBLIC_BASE_URL"),
        })
    }
}

/// Stores the outcome and returns it; with `{"ensureIndexes": true}`, which a deployment sends, makes the indexes.
///
/// # Errors
/// `DependencyUnavailable` when `MongoDB` does not answer.
pub async fn handle(deps: &Deps, input: Value) -> Result<Value, ClipError> {
    if input.get("ensureIndexes").is_some() {
        deps.clip_store.get().await?.ensure_indexes().await?;
        return Ok(json!({}));
    }
    let outcome = outcome(deps, parse(input)?);
    if deps.clip_store.get().await?.save(&outcome).await? == Saved::Superseded {
        tracing::info!("a newer execution has stored this clip already");
    }
    Ok(serde_json::to_value(outcome).expect("an outcome is JSON"))
}

fn outcome(deps: &Deps, input: Input) -> Outcome {
    let result = input.result;
    let url = |key: &str| {
        deps.public_base_url
            .as_ref()
            .map(|base| format!("{}/{key}", base.trim_end_matches('/')))
    };
    let mut outcome = Outcome::new(result.status, &input.request, input.execution, &deps.bucket);
    outcome.reason = result.reason;
    let message = |message: String| elide(&message, MAX_MESSAGE).into_owned();
    outcome.message = result.message.map(message);
    let object = |object: Object| Object {
        url: url(&object.key),
        ..object
    };
    outcome.clip = result.clip.map(object);
    outcome.thumbnail = sizes(&result.thumbnails).map(|(key, sizes)| ThumbnailSizes {
        url: url(&key),
        key,
        sizes,
    });
    outcome.preview = result.preview.map(object);
    outcome.thumbnails = result
        .thumbnails
        .into_iter()
        .map(|thumbnail| Thumbnail {
            url: url(&thumbnail.key),
            ..thumbnail
        })
        .collect();
    outcome.delivered = result.delivered;
    outcome.engine = result.engine;
    outcome
}

/// The thumbnails' key with `{size}` for their sizes, and those; `None` when there are none.
fn sizes(thumbnails: &[Thumbnail]) -> Option<(String, Vec<u32>)> {
    let Thumbnail { key, size, .. } = thumbnails.first()?;
    let folder = key.strip_suffix(&thumbnail_name(size))?;
    Some((
        format!("{folder}{}", thumbnail_name("{size}")),
        thumbnails.iter().map(|one| one.size).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_are_one_key_and_their_sizes() {
        let thumbnail = |size: u32| Thumbnail {
            size,
            key: format!("clips/a/b/{}", thumbnail_name(size)),
            url: None,
        };
        assert_eq!(
            sizes(&[300, 1280].map(thumbnail)),
            Some(("clips/a/b/thumb-{size}.jpg".to_owned(), vec![300, 1280]))
        );
        assert_eq!(sizes(&[]), None);
    }
}
