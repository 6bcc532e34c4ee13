//! The way from a Lambda invocation to a function's `handle` and back.

use crate::error::ClipError;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::SystemTime;
use tracing::{Instrument, info_span};

/// Serves invocations with `handle` until Lambda ends the process.
///
/// The event is deserialized here, so that a malformed one is `InvalidRequest` with the field's path. Every invocation
/// has one span with `clip_id`, `execution` and `state`; a failure is logged once, here.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn run<D, I, O>(
    deps: D,
    handle: impl AsyncFn(&D, I) -> Result<O, ClipError>,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
{
    run_until(deps, async |deps: &D, input: I, _: SystemTime| handle(deps, input).await).await
}

/// As [`run`], for a function that must know when Lambda will end the invocation.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn run_until<D, I, O>(
    deps: D,
    handle: impl AsyncFn(&D, I, SystemTime) -> Result<O, ClipError>,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
{
    let (deps, handle) = (&deps, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let span = span(&event.payload);
        async {
            let deadline = event.context.deadline();
            let result = match parse(event.payload) {
                // Boxed, because the layout of the MongoDB driver's futures is too deep for the compiler otherwise.
                Ok(input) => Box::pin(handle(deps, input, deadline)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &result {
                tracing::error!(error = error.kind.name(), "{}", error.message);
            }
            result
        }
        .instrument(span)
        .await
    }))
    .await
}

/// Parses JSON into `T`; the error names the field at fault.
///
/// # Errors
/// `InvalidRequest`, with the path of the field.
pub fn parse<T: DeserializeOwned>(value: Value) -> Result<T, ClipError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner();
        ClipError::invalid_request(if path == "." { reason.to_string() } else { format!("{path}: {reason}") })
    })
}

fn span(payload: &Value) -> tracing::Span {
    let text = |pointer| payload.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let state = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let execution = text("/execution/arn").rsplit(':').next().unwrap_or_default();
    info_span!("invocation", clip_id = text("/request/clipId"), execution, state)
}

/// Sends `tracing` events to standard output as JSON lines, filtered by `CLIPFLOW_LOG` (default `info`).
pub fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CLIPFLOW_LOG");
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
        .init();
}
