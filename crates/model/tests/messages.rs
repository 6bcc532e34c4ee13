//! Untrusted messages on the queue.

#[path = "common/messages.rs"]
mod messages;

use messages::hand_on;
use proptest::{prelude::*, sample::Index};

/// Valid requests.
const VALID: [&str; 3] = [
    r#"{"clipId":"a","source":{"bucket":"archive","key":"k.mp4"},"start":72.5,"end":"1:30.25","cut":"copy","metadata":{"a":[1,{}]}}"#,
    r#"{"segments":[{"source":{"bucket":"archive","key":"k"},"start":"25%","end":"50%"}],"edits":{"speed":0.5,"mute":true,"resize":{"width":64,"height":64}},"output":{"thumbnails":[300],"preview":"gif"},"maxCostUsd":0.5}"#,
    r#"{"cameraId":"hi/pipeline","startTimestampInMs":"1533224400000","endTimestampInMs":1533224422000,"coverage":"partial"}"#,
];
/// Texts that replace some characters of a request.
const PARTS: [&str; 22] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    ":",
    ",",
    "\\",
    "\\ud800",
    "\\u0000",
    "1e400",
    "-1e-400",
    "9999999999999999999",
    "null",
    "true",
    "\u{202e}",
    "\u{feff}",
    "NaN",
    "\"clipId\":",
    "\"unreadable\":",
    "\"metadata\":{\"$a\":1},",
    "[[[[[[[[[[[[[[[[",
];

#[test]
fn valid_requests_are_handed_on() {
    for body in VALID {
        assert!(matches!(hand_on(body), Some(Ok(_))), "{body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn messages_that_anybody_wrote_are_handed_on_or_refused_by_name(
        body in prop::sample::select(&VALID[..]),
        changes in prop::collection::vec((any::<Index>(), 0..4_usize, prop::sample::select(&PARTS[..]), 0..40_usize), 0..5),
    ) {
        let mut characters: Vec<char> = body.chars().collect();
        for (at, removed, part, times) in changes {
            let at = at.index(characters.len() + 1);
            let end = characters.len().min(at + removed);
            characters.splice(at..end, part.repeat(times).chars());
        }
        hand_on(&characters.into_iter().collect::<String>());
    }

    #[test]
    fn members_of_any_type_are_refused_by_name(
        body in prop::sample::select(&VALID[..]), member: Index, value in prop::sample::select(&PARTS[..]),
    ) {
        let Ok(mut request) = serde_json::from_str::<serde_json::Value>(body) else { unreachable!("it is valid") };
        let members = request.as_object_mut().expect("an object");
        let name = members.keys().nth(member.index(members.len())).expect("a member").clone();
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        members.insert(name, value);
        prop_assert!(hand_on(&request.to_string()).is_some());
    }
}
