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

/// The states' input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub execution: Execution,
    /// The execution's input.
    pub request: Value,
    /// The result of the request.
    pub result: Made,
}

/// The result of a request.
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
    /// The public base URL of that bucket's objects.
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

/// Stores the outcome and returns it. With `{"ensureIndexes": true}`, which a deployment sends, creates the indexes
/// instead.
///
/// # Errors
/// `DependencyUnavailable` if `MongoDB` does not answer.
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
    outcome.engine = result.engine.map(|engine| Engine {
        why: message(engine.why),
        ..engine
    });
    outcome
}

/// The thumbnails' key with `{size}` in place of their sizes, and the sizes; `None` if there are no thumbnails.
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
    use expect_test::expect_file;

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

    /// The document of a request with a result.
    async fn document(mut request: Value, result: Value) -> String {
        request.sort_all_objects();
        let execution = json!({"arn": "arn:aws:states:eu-west-1:123456789012:execution:surf-clip:a-0123456789ab",
            "startedAt": "2026-01-01T00:00:00Z"});
        let input = json!({"execution": execution, "request": request, "result": result});
        let deps = Deps {
            clip_store: LazyClipStore::new(
                &sdk::sdk_config().await,
                String::new(),
                String::new(),
                None,
            ),
            bucket: "clips".into(),
            public_base_url: Some("https://clips.example.com".into()),
        };
        let outcome = Outcome {
            updated_at: "2026-01-01T00:01:00Z".into(),
            ..outcome(&deps, parse(input).expect("a result"))
        };
        serde_json::to_string_pretty(&outcome).expect("an outcome is JSON") + "\n"
    }

    #[tokio::test]
    async fn snapshot_of_outcomes() {
        let request = json!({"clipId": "a", "source": {"bucket": "archive", "key": "k.mp4"}, "start": 1, "end": "0:02",
            "metadata": {"spot": "Pipeline"}});
        let thumbnail =
            |size: u32| json!({"size": size, "key": format!("clips/a/b/{}", thumbnail_name(size))});
        let available = json!({"status": "available",
            "clip": {"key": "clips/a/b/clip.mp4", "bytes": 1000, "etag": "e"},
            "thumbnails": [thumbnail(300), thumbnail(640)],
            "preview": {"key": "clips/a/b/preview.gif", "bytes": 100, "etag": "p"},
            "delivered": {"start": 1.0, "end": 2.0, "durationSeconds": 1.0, "frames": 30, "width": 640, "height": 360,
                "videoCodec": "h264", "audioCodec": "aac", "dropped": ["time code"]},
            "engine": {"name": "trim", "why": "short", "estimateUsd": 0.0001}});
        let available = document(request, available).await;
        expect_file!["../tests/snapshots/available.json"].assert_eq(&available);
        let request = json!({"cameraId": "pipe", "start": "2018-08-02T15:40:00Z", "endTimestampInMs": "1533224422000",
            "coverage": "all"});
        let rejected = json!({"status": "rejected", "reason": "InvalidRequest",
            "message": "coverage: unknown variant `all`"});
        let rejected = document(request, rejected).await;
        expect_file!["../tests/snapshots/rejected.json"].assert_eq(&rejected);
    }

    /// SNS and Step Functions allow 256 KiB. All lists and texts are as long as the previous steps can make them.
    #[tokio::test]
    async fn largest_outcome_fits_into_a_message() {
        let worst = |characters: usize| "\u{1}".repeat(characters);
        let wide = |characters: usize| "\u{6ce2}".repeat(characters);
        let place = json!({"start": 1_234.567_891, "end": 1_234.567_892, "pictures": u32::MAX});
        let interval = json!({"startSeconds": 1_234.567_891_234, "endSeconds": 1_234.567_891_235});
        let gap = json!({"startTimestampInMs": 1_533_224_400_000_u64,
            "endTimestampInMs": 1_533_224_400_001_u64, "reason": wide(300)});
        let metadata = json!({"x": "x".repeat(8_000)});
        let source = json!({"bucket": "b", "key": "k".repeat(1024)});
        let segment = json!({"source": source, "start": 1, "end": 2});
        let request = json!({"clipId": "a", "segments": vec![segment; 50], "metadata": metadata});
        let made = json!({"status": "available", "clip": {"key": "k", "bytes": 1, "etag": "e"},
            "delivered": {"start": 1.0, "end": 2.0, "durationSeconds": 1.0, "frames": 30, "width": 640, "height": 360,
                "videoCodec": "h264", "dropped": vec![wide(60); 101], "conformed": vec!["x".repeat(300); 50],
                "segments": vec![json!({"start": 1_000.123_456_7, "end": 2_000.123_456_7}); 50],
                "audioCodec": wide(40), "undecoded": worst(1600),
                "damaged": {"pictures": u32::MAX, "places": vec![place; 10], "audio": true},
                "coverage": {"covered": vec![gap.clone(); 50], "missing": vec![gap; 51]}},
            "message": worst(100_000), "engine": {"name": "trim", "why": worst(100_000), "estimateUsd": 1.0,
                "cutting": {"method": "smartCut", "encoded": vec![interval; 101]}}});
        let bytes = document(request, made).await.len();
        assert!(bytes < 256 * 1024, "{bytes}");
    }
}
