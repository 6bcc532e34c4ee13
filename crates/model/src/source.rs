//! Objects that requests name.

use crate::{
    error::{ClipError, invalid},
    text::shorten,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An S3 object to cut from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// A bucket that the deployment allows as a source.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,
    /// The object's key; 1 to 1,024 bytes.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
}

impl Source {
    /// Checks that an object may be read; `field` is where the request names it.
    pub(crate) fn check(&self, field: &str, source_buckets: &[String]) -> Result<(), ClipError> {
        if !source_buckets.contains(&self.bucket) {
            let (field, bucket) = (format!("{field}.bucket"), shorten(&self.bucket, 80));
            return invalid(
                &field,
                format_args!("{bucket:?} is not a source bucket of this deployment"),
            );
        }
        match self.key.len() {
            1..=1024 => Ok(()),
            bytes => invalid(
                &format!("{field}.key"),
                format_args!("has {bytes} bytes, not 1 to 1,024"),
            ),
        }
    }
}
