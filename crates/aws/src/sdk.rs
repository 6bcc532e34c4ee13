//! The SDK configuration, and how its errors map to a step's errors.

use aws_config::{
    BehaviorVersion, ConfigLoader, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use model::error::ClipError;
use std::{error::Error, time::Duration};

/// Codes of throttling and other transient errors that come with a status below 500.
const PASSING: [&str; 7] = [
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
];

/// How long a client waits for a service that is silent.
///
/// By default it waits 20 s for an answer, retries included: the shortest timeout of a function that calls a service is
/// 30 s. If Lambda kills the function first, the error is `Sandbox.Timedout`, which no state retries.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For a connection.
    pub connection: Duration,
    /// For the first byte of an answer, from the start of each attempt, including the time for sending an upload part.
    pub first_byte: Duration,
    /// For the first byte of an answer, over all attempts.
    pub answer: Duration,
    /// For the next bytes of a body, sent or received.
    pub body: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connection: Duration::from_secs(3),
            first_byte: Duration::from_secs(9),
            answer: Duration::from_secs(20),
            body: Duration::from_secs(10),
        }
    }
}

/// The start of the configuration that every client is built from.
#[must_use]
pub fn sdk_config_loader(waits: Waits) -> ConfigLoader {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls)
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(waits.connection)
        .read_timeout(waits.first_byte)
        .operation_timeout(waits.answer)
        .build();
    let stalls = StalledStreamProtectionConfig::enabled()
        .grace_period(waits.body)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .stalled_stream_protection(stalls)
}

/// The configuration that every client of a function is built from.
pub async fn sdk_config() -> aws_config::SdkConfig {
    sdk_config_loader(Waits::default()).load().await
}

/// The step's error for a failed call: `DependencyUnavailable` if a retry may help, otherwise `Internal`.
///
/// `doing` says what was tried, for example `publishing to the topic`.
pub fn failure<E: ProvideErrorMetadata + Error + 'static>(
    doing: &str,
    error: &SdkError<E, HttpResponse>,
) -> ClipError {
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    let message = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::message);
    let status = error
        .raw_response()
        .map(|response| response.status().as_u16());
    let said = match (code, message, status) {
        (Some(code), Some(message), _) => format!("{code}: {message}"),
        (Some(code), None, _) => code.to_owned(),
        (None, _, Some(status)) => format!("status {status}"),
        (None, _, None) => chain(error),
    };
    let passing = status.is_none_or(|status| status >= 500 || status == 429)
        || code.is_some_and(|code| PASSING.contains(&code));
    let message = format!("{doing}: {said}");
    if passing {
        ClipError::dependency_unavailable(message)
    } else {
        ClipError::internal(message)
    }
}

/// An error with its whole chain of causes: a call that got no answer says why only in the last one.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
