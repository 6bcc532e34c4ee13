//! What can go wrong.

use std::fmt;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a source cannot be read, or an interval cannot be cut from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This crate cannot cut the source. The text says what it is or contains.
    #[error("{0}")]
    Unsupported(String),
    /// It has no video to cut.
    #[error("{}", no_video(*has_audio))]
    NoVideo {
        /// Whether it has audio.
        has_audio: bool,
    },
    /// It is a fragmented MP4 with many fragments and no complete index of them
    /// ([`Movie::open_whole`](crate::Movie::open_whole) reads all of it).
    #[error(
        "the source is a fragmented MP4 of many fragments without an index (sidx or mfra), or with one in too many parts"
    )]
    Unindexed,
    /// The index is inconsistent, in itself or with the file. The text says how.
    #[error("the source's MP4 index is damaged: {0}")]
    Damaged(String),
    /// One end of an interval is not a valid time, or there is no frame between the two.
    #[error("{bound}: {problem}")]
    Interval {
        /// The end at fault.
        bound: Bound,
        /// What is wrong with it.
        problem: String,
    },
    /// One end of an interval is beyond the source.
    #[error("{bound}: {problem}")]
    OutOfRange {
        /// The end at fault.
        bound: Bound,
        /// Where it is, and where the source ends.
        problem: String,
    },
    /// An interval cannot be joined to the first without encoding: their formats differ.
    #[error(
        "interval {index} cannot be joined to the first without encoding, because {difference}"
    )]
    Unlike {
        /// The interval's place in the list, from 0.
        index: usize,
        /// How its format differs.
        difference: String,
    },
    /// A bug in this crate, or in a [`RangeRead`](crate::io::RangeRead).
    #[error("{0}")]
    Internal(String),
    /// An error from reading a source.
    #[error(transparent)]
    Read(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// An end of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Where it starts.
    Start,
    /// Where it ends, exclusive.
    End,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::End => "end",
        })
    }
}

impl Error {
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }

    /// The error for an end of an interval that is not a valid time, or out of order.
    pub(crate) fn interval(bound: Bound, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::Interval { bound, problem }
    }

    /// The error for an end of an interval beyond the source.
    pub fn out_of_range(bound: Bound, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::OutOfRange { bound, problem }
    }

    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::Internal(what.into())
    }

    /// Wraps an error from reading a source.
    pub fn read(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Read(Box::new(cause))
    }
}

fn no_video(has_audio: bool) -> &'static str {
    if has_audio {
        "the source has no video: it is audio only"
    } else {
        "the source has no video track with frames"
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::read(error)
    }
}
