//! Checks a request and fills in its defaults; the only step that sees a request as it was sent.
//!
//! Raises `InvalidRequest`, naming the field at fault. Makes no calls.

use lambda::environment;
use model::{
    ClipError,
    outcome::Execution,
    request::{ClipRequest, Limits, Request},
};
use serde::Deserialize;
use serde_json::Value;

/// The state's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub execution: Execution,
    /// The execution's input.
    pub request: Value,
}

#[derive(Debug)]
pub struct Deps {
    pub limits: Limits,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing.
    pub fn from_env() -> Result<Self, ClipError> {
        let buckets = environment::required("CLIPFLOW_SOURCE_BUCKETS")?;
        let source_buckets = buckets.split(',').map(str::to_owned).collect();
        Ok(Self {
            limits: Limits {
                source_buckets,
                default_format: environment::parsed("CLIPFLOW_DEFAULT_FORMAT")?,
            },
        })
    }
}

/// Checks the request.
///
/// # Errors
/// `InvalidRequest`, naming the field at fault.
#[expect(clippy::unused_async, reason = "every function's handle is async")]
pub async fn handle(deps: &Deps, input: Input) -> Result<ClipRequest, ClipError> {
    Request::validate(input.request, &deps.limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        ErrorKind,
        request::{Cut, Format},
    };
    use serde_json::json;

    async fn validate(request: Value) -> Result<ClipRequest, ClipError> {
        let execution = Execution {
            arn: "arn:e".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
        };
        let limits = Limits {
            source_buckets: vec!["archive".into()],
            default_format: Format::Source,
        };
        handle(&Deps { limits }, Input { execution, request }).await
    }

    #[tokio::test]
    async fn defaults_are_filled_in() {
        let request =
            json!({"source": {"bucket": "archive", "key": "k.mp4"}, "start": "0:01", "end": "50%"});
        let valid = validate(request).await.expect("the request is valid");
        assert_eq!(
            valid.prefix,
            format!(
                "clips/{}/{}/",
                valid.clip_id,
                valid.clip_id.trim_start_matches("clip-")
            )
        );
        assert_eq!(
            (valid.cut, valid.format, valid.thumbnails),
            (Cut::Exact, Format::Source, vec![300, 640, 1500, 3000])
        );
    }

    #[tokio::test]
    async fn window_of_a_camera_is_handed_on_with_its_edits() {
        let request = json!({"cameraId": "a", "startTimestampInMs": "1533224400000", "endTimestampInMs": 1_533_224_422_000_u64,
            "edits": {"watermark": {"key": "logo.png"}}});
        let valid = validate(request).await.expect("the request is valid");
        let camera = valid.camera.expect("a camera");
        assert_eq!(
            (camera.interval.duration_ms(), valid.segments.len()),
            (22_000, 0)
        );
        assert!(valid.edits.watermark.is_some());
    }

    #[tokio::test]
    async fn request_of_200_kb_is_invalid_request() {
        let error = validate(json!({"clipId": "x".repeat(200_000)}))
            .await
            .expect_err("it is too large");
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        assert_eq!(error.message, "the request has 200013 bytes, at most 65536");
    }

    #[tokio::test]
    async fn json_that_is_no_object_is_invalid_request() {
        let error = validate(json!([1])).await.expect_err("it is an array");
        assert_eq!(
            error,
            ClipError::invalid_request("the request is not a JSON object")
        );
    }
}
