//! A request as it was sent: untrusted text.
//!
//! This module limits its size and depth. A request beyond the limits, or in JSON that no step could pass on, is
//! replaced by a small request that says so. `validate` rejects the replacement, so even such a request gets a
//! document.

use crate::{
    ClipError,
    identity::{Identity, is_clip_id},
    text::elide,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The largest request, in bytes of its canonical form. The state machine passes it up to twice in a payload, and Step
/// Functions allows 256 KiB (developer guide, "Service quotas").
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// How deep the arrays and objects of a request may be nested. `MongoDB` stores 100 levels (its reference, "Nested
/// Depth for BSON Documents"), `serde_json` reads 127, and the document has a few around the request.
pub const MAX_REQUEST_DEPTH: usize = 64;

/// The most characters of the reason why a request cannot be read.
const MAX_REASON: usize = 500;

/// The replacement for a request that cannot be passed on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StandIn {
    #[serde(rename = "clipId")]
    _clip_id: Option<String>,
    unreadable: Unreadable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unreadable {
    why: String,
    #[serde(rename = "bytes")]
    _bytes: usize,
    #[serde(rename = "sha256")]
    _sha256: String,
}

/// The request in a message's body, or the replacement for one that cannot be passed on.
///
/// # Errors
/// If the body is not JSON.
pub fn read(body: &str) -> Result<Value, serde_json::Error> {
    // Checks only the grammar: nesting, numbers and characters may be anything.
    serde_json::from_str::<IgnoredAny>(body)?;
    let read = check_depth(body).and_then(|()| {
        let read = serde_json::from_str(body);
        read.map_err(|error| ClipError::invalid_request(format!("it cannot be read: {error}")))
    });
    let fits = |request| check(&Identity::of(&request).canonical).map(|()| request);
    Ok(read
        .and_then(fits)
        .unwrap_or_else(|error| stand_in(body, &error.message)))
}

/// Checks the limits of a request, given in its canonical form.
///
/// # Errors
/// `InvalidRequest`, naming the limit.
pub fn check(canonical: &str) -> Result<(), ClipError> {
    let bytes = canonical.len();
    if bytes > MAX_REQUEST_BYTES {
        let message = format!("the request has {bytes} bytes, at most {MAX_REQUEST_BYTES}");
        return Err(ClipError::invalid_request(message));
    }
    check_depth(canonical)
}

/// Why the request that `sent` replaces cannot be read, if it is a replacement.
#[must_use]
pub fn why_unreadable(sent: &Value) -> Option<String> {
    sent.get("unreadable")?;
    let stand_in = StandIn::deserialize(sent).ok()?;
    Some(elide(&stand_in.unreadable.why, MAX_REASON).into_owned())
}

fn check_depth(json: &str) -> Result<(), ClipError> {
    let depth = depth(json);
    if depth > MAX_REQUEST_DEPTH {
        let message = format!("the request is nested {depth} deep, at most {MAX_REQUEST_DEPTH}");
        return Err(ClipError::invalid_request(message));
    }
    Ok(())
}

/// How deep JSON is nested: 0 for a number, 1 for `[]`.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The replacement has the body's `clipId`, if any, and the body's hash, so that the same body is the same request.
fn stand_in(body: &str, why: &str) -> Value {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "clipId")]
        clip_id: String,
    }
    let named = serde_json::from_str(body).ok();
    let clip_id = named
        .map(|Named { clip_id }| clip_id)
        .filter(|id| is_clip_id(id));
    let sha256 = hex::encode(Sha256::digest(body));
    let unreadable = json!({"why": elide(why, MAX_REASON), "bytes": body.len(), "sha256": sha256});
    match clip_id {
        Some(clip_id) => json!({"clipId": clip_id, "unreadable": unreadable}),
        None => json!({"unreadable": unreadable}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nested(depth: usize) -> String {
        format!(
            r#"{{"clipId":"a","x":{}{}}}"#,
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    }

    /// Why a body cannot be passed on, and the clip that it names.
    fn refusal(body: &str) -> (String, Option<String>) {
        let request = read(body).expect("it is JSON");
        check(&Identity::of(&request).canonical).expect("the replacement can be passed on");
        let clip_id = request["clipId"].as_str().map(str::to_owned);
        (
            why_unreadable(&request).expect("it cannot be passed on"),
            clip_id,
        )
    }

    #[test]
    fn request_within_the_limits_is_read_as_it_is() {
        for body in [nested(64), r#"{"a":"[[\"[{"}"#.to_owned(), "1".to_owned()] {
            let request = read(&body).expect("JSON");
            assert_eq!(
                (request.to_string(), why_unreadable(&request)),
                (body, None)
            );
        }
    }

    #[test]
    fn request_that_is_nested_too_deep_is_refused_by_its_clip_id() {
        for depth in [65, 125, 127, 128, 20_000] {
            let said = format!("the request is nested {depth} deep, at most 64");
            assert_eq!(refusal(&nested(depth)), (said, Some("a".to_owned())));
        }
    }

    #[test]
    fn request_of_a_mebibyte_is_refused_by_its_clip_id() {
        for bytes in [MAX_REQUEST_BYTES, 262_144, 1 << 20] {
            let body = json!({"clipId": "a", "metadata": {"x": "x".repeat(bytes)}}).to_string();
            let (why, clip_id) = refusal(&body);
            let said = format!("the request has {} bytes, at most 65536", body.len());
            assert_eq!((why, clip_id.as_deref()), (said, Some("a")));
        }
    }

    #[test]
    fn numbers_and_characters_that_rust_cannot_hold_are_refused_by_name() {
        for (value, said) in [
            ("1e400", "number out of range"),
            (r#""\ud800""#, "unexpected end of hex escape"),
            (r#""\udc00 ""#, "lone leading surrogate"),
        ] {
            let (why, clip_id) = refusal(&format!(r#"{{"clipId":"a","start":{value}}}"#));
            assert!(
                why.starts_with("it cannot be read: ") && why.contains(said),
                "{why}"
            );
            assert_eq!(clip_id.as_deref(), Some("a"));
        }
    }

    #[test]
    fn clip_that_cannot_be_told_is_named_by_the_hash() {
        for body in [
            r#"{"\ud800":1,"clipId":"a"}"#,
            r#"{"clipId":"a/b","x":1e400}"#,
            "[1e400]",
        ] {
            assert_eq!(refusal(body).1, None, "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for body in ["", "start: 1", "{\"start\": NaN}", "{} {}", "[1e400"] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_json_can_be_handed_on(
            key in r"[a-z\[{]{0,9}", value in r#"(\[|1e400|"\\ud[89]00|\{"k":|7|"\\"")*"#, end in r#"[\]}"]*"#,
        ) {
            if let Ok(request) = read(&format!(r#"{{"{key}":{value}{end}}}"#)) {
                prop_assert!(check(&Identity::of(&request).canonical).is_ok());
            }
        }
    }
}
