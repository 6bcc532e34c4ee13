//! Why encoded pictures cannot share a stream with a source's.

use std::{borrow::Cow, fmt};

/// Why pictures cannot be joined, in words that complete a sentence such as "encoded whole: …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ineligible(Cow<'static, str>);

impl fmt::Display for Ineligible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Ineligible {}

impl From<&'static str> for Ineligible {
    fn from(why: &'static str) -> Self {
        Self(why.into())
    }
}

impl From<String> for Ineligible {
    fn from(why: String) -> Self {
        Self(why.into())
    }
}
