//! The error names that the state machine matches, and what media errors mean to users.

use crate::text::elide;
use mp4_cut::{Error as MediaError, SmartCutError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Arguments;

/// The most characters of a field's path in a message; an unknown field can have any name.
const MAX_FIELD: usize = 300;
/// The most characters of the description of what is wrong with a field: enough for the names of all existing fields.
const MAX_REASON: usize = 1_500;

/// The command that gives a source a complete index, for people.
pub const REMUX: &str = "remux it first: ffmpeg -i SOURCE -c copy -movflags +faststart SOURCE.mp4";

/// Why a step did not do its work.
///
/// The variant's name is the wire name: Lambda's `errorType`, what `ErrorEquals` matches in
/// `statemachine/clip.asl.json`, and `reason` in an outcome. No name has a dot, so that a dotted name is always AWS's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClipError {
    /// Which of the named errors this is.
    pub kind: ErrorKind,
    /// What is wrong, for people; names the field or the object at fault.
    pub message: String,
}

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $variant:ident => $constructor:ident,)*) => {
        /// The names of the errors that clipflow's functions raise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorKind {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the enum.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The wire name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }
        }

        impl ClipError {
            $(
                $(#[$doc])*
                pub fn $constructor(message: impl Into<String>) -> Self {
                    Self { kind: ErrorKind::$variant, message: message.into() }
                }
            )*
        }
    };
}

error_kinds! {
    /// Rejection: the request is malformed, or requests something that this deployment does not allow.
    InvalidRequest => invalid_request,
    /// Rejection: the source object does not exist, cannot be read, or changed while the clip was made.
    SourceNotFound => source_not_found,
    /// Rejection: the source is not something that clipflow can cut.
    UnsupportedMedia => unsupported_media,
    /// Rejection: the interval is outside the source.
    OutOfRange => out_of_range,
    /// Rejection: the clip is longer than this deployment makes.
    TooLong => too_long,
    /// Rejection: the estimate is above the request's or the deployment's ceiling.
    TooExpensive => too_expensive,
    /// Rejection: recordings are missing in the interval and the request requires all of it.
    IncompleteCoverage => incomplete_coverage,
    /// A live recording does not exist yet; a retry may find it. If no retry does, this is a rejection.
    SourceNotReady => source_not_ready,
    /// This clip is too much for `trim`'s time or disk; the other engine can make it.
    TrimBudgetExceeded => trim_budget_exceeded,
    /// An AWS service or `MongoDB` throttles or is down; a retry may help.
    DependencyUnavailable => dependency_unavailable,
    /// `MediaConvert` ended the job in `ERROR`.
    TranscodeFailed => transcode_failed,
    /// The delivered object is not what was requested.
    DeliveryMismatch => delivery_mismatch,
    /// A bug, or a misconfigured deployment.
    Internal => internal,
}

impl ErrorKind {
    /// The kind with this wire name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether a rejection can be fixed without changing the request: through a source, a recording or a limit of the
    /// deployment.
    #[must_use]
    pub fn is_mendable(self) -> bool {
        self.is_rejection() && self != Self::InvalidRequest
    }

    /// Whether the request is at fault, so that a rerun of the same request cannot help until something else changes.
    #[must_use]
    pub fn is_rejection(self) -> bool {
        use ErrorKind::{
            IncompleteCoverage, InvalidRequest, OutOfRange, SourceNotFound, TooExpensive, TooLong,
            UnsupportedMedia,
        };
        matches!(
            self,
            InvalidRequest
                | SourceNotFound
                | UnsupportedMedia
                | OutOfRange
                | TooLong
                | TooExpensive
                | IncompleteCoverage
        )
    }
}

impl From<MediaError> for ClipError {
    fn from(error: MediaError) -> Self {
        let said = error.to_string();
        match error {
            MediaError::Unsupported(_) | MediaError::Damaged(_) | MediaError::NoVideo { .. } => {
                Self::unsupported_media(said)
            }
            MediaError::Unindexed => Self::unsupported_media(format!("{said}: {REMUX}")),
            MediaError::Interval { .. } => Self::invalid_request(said),
            MediaError::OutOfRange { .. } => Self::out_of_range(said),
            MediaError::Unlike { index, difference } => {
                let why = unlike(index, &difference);
                Self::invalid_request(format!("cut: {why}; with \"exact\" they can be"))
            }
            MediaError::Read(cause) => match cause.downcast::<Self>() {
                Ok(error) => *error,
                Err(_) => Self::internal(said),
            },
            _ => Self::internal(said),
        }
    }
}

/// Lets a source's own error pass through the media reader unchanged.
impl From<ClipError> for MediaError {
    fn from(error: ClipError) -> Self {
        Self::read(error)
    }
}

impl From<ClipError> for SmartCutError {
    fn from(error: ClipError) -> Self {
        Self::Failed(error.into())
    }
}

/// Why a whole clip is encoded although a smart cut was tried.
///
/// # Errors
/// The error, if that is not the reason.
pub fn why_encoded_whole(error: SmartCutError) -> Result<String, ClipError> {
    match error {
        SmartCutError::Ineligible(why) => Ok(why),
        SmartCutError::Failed(MediaError::Unlike { index, difference }) => {
            Ok(unlike(index, &difference))
        }
        SmartCutError::Failed(error) => Err(error.into()),
    }
}

/// Says how a segment differs from the first.
fn unlike(index: usize, difference: &str) -> String {
    format!(
        "segments[{index}] cannot be joined to segments[0] without encoding, because {difference}"
    )
}

pub(crate) fn invalid<T>(field: &str, reason: Arguments) -> Result<T, ClipError> {
    Err(ClipError::invalid_request(format!("{field}: {reason}")))
}

/// Parses JSON into `T`; the error names the field at fault.
///
/// # Errors
/// `InvalidRequest`, with the path of the field.
pub fn parse<T: DeserializeOwned>(value: Value) -> Result<T, ClipError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        let (path, reason) = (elide(&path, MAX_FIELD), elide(&reason, MAX_REASON));
        ClipError::invalid_request(if path == "." {
            reason.into_owned()
        } else {
            format!("{path}: {reason}")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_a_source_comes_back_as_it_was() {
        let error = ClipError::dependency_unavailable("S3 is down");
        assert_eq!(ClipError::from(MediaError::from(error.clone())), error);
    }

    #[test]
    fn unknown_field_of_any_length_is_named_with_the_reason() {
        let name = "a".repeat(40_000);
        let request = serde_json::json!({"clipId": "a", (name.clone()): 1});
        let message = parse::<crate::request::Request>(request)
            .expect_err("there is no such field")
            .message;
        assert!(message.chars().count() < 2_000, "{message}");
        assert!(message.starts_with(&name[..100]), "{message}");
        assert!(message.contains("aaa: unknown field `aaa"), "{message}");
        assert!(message.contains("expected one of `clipId`"), "{message}");
    }

    #[test]
    fn names_have_no_dot_and_are_unique() {
        let names: std::collections::HashSet<_> =
            ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        assert!(names.iter().all(|name| !name.contains('.')));
    }
}
