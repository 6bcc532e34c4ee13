//! Which clip a request names, and which execution makes it.
//!
//! `bson` turns on `preserve_order` of `serde_json` for the whole workspace, so no JSON object's
//! keys are sorted unless they are put into canonical form.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The longest `clipId`, in characters. With the hash and a rerun's suffix, an execution's name stays within the 80
/// characters of Step Functions (API reference, `StartExecution`, `name`).
pub const MAX_CLIP_ID: usize = 60;

/// Everything that a request's canonical form determines, and that makes repeating it harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The request in the canonical form of RFC 8785: sorted keys, one way to write each number, no white space.
    pub canonical: String,
    /// SHA-256 of the canonical form, in hexadecimal.
    pub request_hash: String,
    /// The request's `clipId` if it has a valid one, otherwise `clip-` and the first 12 digits of the hash.
    pub clip_id: String,
}

impl Identity {
    /// The identity of a request as it was sent, valid or not.
    #[must_use]
    pub fn of(request: &Value) -> Self {
        let canonical = serde_json_canonicalizer::to_string(request)
            .expect("a JSON value has a canonical form");
        let request_hash = hex::encode(Sha256::digest(&canonical));
        let sent = request
            .get("clipId")
            .and_then(Value::as_str)
            .filter(|id| is_clip_id(id));
        let clip_id = sent.map_or_else(|| format!("clip-{}", &request_hash[..12]), str::to_owned);
        Self {
            canonical,
            request_hash,
            clip_id,
        }
    }

    /// The first 12 digits of the hash.
    #[must_use]
    pub fn hash12(&self) -> &str {
        &self.request_hash[..12]
    }

    /// The name of the execution: `{clipId}-{hash12}`.
    #[must_use]
    pub fn execution_name(&self) -> String {
        format!("{}-{}", self.clip_id, self.hash12())
    }

    /// The folder of the clip's objects: `clips/{clipId}/{hash12}/`.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("clips/{}/{}/", self.clip_id, self.hash12())
    }
}

/// Whether `text` can be a `clipId`: 1 to [`MAX_CLIP_ID`] of `A-Z a-z 0-9 _ -`, so that it needs no escaping in an S3
/// key, an execution's name or a log stream.
#[must_use]
pub fn is_clip_id(text: &str) -> bool {
    (1..=MAX_CLIP_ID).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn order_and_spelling_of_json_do_not_change_the_identity() {
        let one = serde_json::from_str(r#"{"clipId": "a", "start": 72.50, "end": 1e2}"#).unwrap();
        let other = serde_json::from_str(r#"{"end":100,"start":72.5,"clipId":"a"}"#).unwrap();
        assert_eq!(Identity::of(&one), Identity::of(&other));
        assert_eq!(
            Identity::of(&one).canonical,
            r#"{"clipId":"a","end":100,"start":72.5}"#
        );
    }

    #[test]
    fn other_cut_points_are_another_execution_of_the_same_clip() {
        let (one, other) = (
            Identity::of(&json!({"clipId": "a", "end": 1})),
            Identity::of(&json!({"clipId": "a", "end": 2})),
        );
        assert_eq!(one.clip_id, other.clip_id);
        assert_ne!(one.execution_name(), other.execution_name());
    }

    proptest! {
        #[test]
        fn execution_name_is_always_valid(clip_id in ".{0,300}") {
            let name = Identity::of(&json!({"clipId": clip_id})).execution_name();
            prop_assert!(name.len() <= 73 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
        }
    }
}
