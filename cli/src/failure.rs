//! Why a command failed, and its exit code.

use aws::sdk;
use aws_sdk_sfn::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use model::{ClipError, ErrorKind};
use std::fmt::Display;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// The message for people.
    pub message: String,
}

impl Failure {
    /// Something failed.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    /// The arguments cannot be used.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    /// What was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            code: 3,
            message: message.into(),
        }
    }

    /// A signal ended it; the code is the one that shells report.
    pub fn interrupted(signal: u8) -> Self {
        Self {
            code: 128 + signal,
            message: "interrupted".to_owned(),
        }
    }

    /// The command worked, but its result is a failure.
    pub fn unsuccessful(message: impl Into<String>) -> Self {
        Self {
            code: 4,
            message: message.into(),
        }
    }

    /// The failure of a call; `doing` says what was tried, for example `listing executions`.
    pub fn of_call<E>(doing: impl Display) -> impl FnOnce(SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        move |error| sdk::failure(&doing.to_string(), &error).into()
    }
}

impl From<ClipError> for Failure {
    fn from(error: ClipError) -> Self {
        match error.kind {
            ErrorKind::InvalidRequest | ErrorKind::OutOfRange => Self::usage(error.message),
            ErrorKind::SourceNotFound => Self::not_found(error.message),
            _ => Self::new(error.message),
        }
    }
}
