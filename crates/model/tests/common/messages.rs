//! Processes an untrusted queue message, for property tests and fuzzing.

use model::{
    ErrorKind,
    identity::Identity,
    request::{ClipRequest, Format, Limits, Request},
    sent,
};

/// The most characters of a refusal.
const MAX_MESSAGE_CHARACTERS: usize = 4000;

/// Takes a body through `start` and `validate`. A JSON body gets a name and can be passed on; a refusal names its error
/// and fits into a message; a valid request comes back unchanged from the next step.
pub fn hand_on(body: &str) -> Option<Result<ClipRequest, String>> {
    let request = sent::read(body).ok()?;
    let identity = Identity::of(&request);
    sent::check(&identity.canonical).expect("every step can pass it on");
    let name = identity.execution_name();
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    assert!(name.len() <= 80 && name.chars().all(is_plain), "{name}");
    let again = sent::read(&identity.canonical).expect("it is JSON");
    assert_eq!(Identity::of(&again).canonical, identity.canonical);

    let limits = Limits {
        source_buckets: vec!["archive".to_owned()],
        default_format: Format::Mp4,
    };
    Some(match Request::validate(request, &limits) {
        Ok(valid) => {
            let text = serde_json::to_string(&valid).expect("JSON");
            let read: ClipRequest = serde_json::from_str(&text).expect("what was written");
            assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
            Ok(valid)
        }
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::InvalidRequest, "{error}");
            let characters = error.message.chars().count();
            assert!(
                characters <= MAX_MESSAGE_CHARACTERS,
                "{characters} characters"
            );
            Err(error.message)
        }
    })
}
