//! The error names that the state machine matches, and their one conversion into a Lambda error.

use lambda_runtime::Diagnostic;

/// Why a step did not do its work.
///
/// The variant's name is the wire name: Lambda's `errorType`, what `ErrorEquals` matches in
/// `statemachine/clip.asl.json`, and `reason` in an outcome. No name has a dot, so that a dotted name is always AWS's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClipError {
    /// Which of the named errors this is.
    pub kind: ErrorKind,
    /// What is wrong, for a person; names the field or the object at fault.
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
    /// Rejection: the request is malformed, or asks for what this deployment does not allow.
    InvalidRequest => invalid_request,
    /// Rejection: the source object does not exist, cannot be read, or changed while the clip was made.
    SourceNotFound => source_not_found,
    /// Rejection: the source is not something that clipflow can cut.
    UnsupportedMedia => unsupported_media,
    /// Rejection: the interval lies outside what the source holds.
    OutOfRange => out_of_range,
    /// Rejection: the clip is longer than this deployment makes.
    TooLong => too_long,
    /// Rejection: the estimate is above the request's or the deployment's ceiling.
    TooExpensive => too_expensive,
    /// Rejection: recordings are missing in the interval and the request wants all of it.
    IncompleteCoverage => incomplete_coverage,
    /// A live recording is not there yet; a retry may find it, and when none did, it is a rejection.
    SourceNotReady => source_not_ready,
    /// This clip is too much for `trim`'s time or disk; the other engine can make it.
    TrimBudgetExceeded => trim_budget_exceeded,
    /// An AWS service or `MongoDB` throttles or is down; a retry may help.
    DependencyUnavailable => dependency_unavailable,
    /// `MediaConvert` ended the job in `ERROR`.
    TranscodeFailed => transcode_failed,
    /// The object made is not what was asked for.
    DeliveryMismatch => delivery_mismatch,
    /// A bug, or a deployment that is set up wrongly.
    Internal => internal,
}

impl ErrorKind {
    /// Whether the request is at fault, so that a rerun of the same request cannot help.
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

impl From<ClipError> for Diagnostic {
    fn from(error: ClipError) -> Self {
        Self {
            error_type: error.kind.name().into(),
            error_message: error.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_name_is_the_variant_name() {
        let diagnostic = Diagnostic::from(ClipError::too_long("9 s"));
        assert_eq!(
            (
                diagnostic.error_type.as_str(),
                diagnostic.error_message.as_str()
            ),
            ("TooLong", "9 s")
        );
    }

    #[test]
    fn names_have_no_dot_and_are_unique() {
        let names: std::collections::HashSet<_> =
            ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        assert!(names.iter().all(|name| !name.contains('.')));
    }
}
