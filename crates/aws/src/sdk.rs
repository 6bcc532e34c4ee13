//! The SDK's configuration, and what its errors mean to a step.

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use model::error::ClipError;
use std::error::Error;

/// Codes of throttling and passing trouble that come with a status below 500.
const PASSING: [&str; 7] = [
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
];

/// What the configuration that every client is built from begins with.
#[must_use]
pub fn sdk_config_loader() -> ConfigLoader {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls)
        .build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http)
}

/// The configuration that every client of a function is built from.
pub async fn sdk_config() -> aws_config::SdkConfig {
    sdk_config_loader().load().await
}

/// The step's error for a failed call: `DependencyUnavailable` where a retry may help, else `Internal`.
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

/// An error and what caused it, down to the first cause: a call that got no answer says why only there.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
