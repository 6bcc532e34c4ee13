//! The metadata that a `MediaConvert` job carries for the functions that handle it.

use std::collections::HashMap;

/// The key of a job's user metadata that holds the deployment; the rule that invokes `resume` matches on it.
pub const DEPLOYMENT: &str = "clipflow";
/// The key of a job's user metadata that says which version of `transcode` made the clip from which sources.
pub const MADE_BY: &str = "madeBy";
/// The key of a job's user metadata that holds the execution's ARN.
pub const EXECUTION: &str = "execution";
/// Clips of at least this length, in seconds, are transcoded by several machines in parallel. That saves hours, and
/// costs more.
pub const ACCELERATED_SECONDS: f64 = 3600.0;

/// The most characters of a value in a job's user metadata (API reference, `CreateJob`).
const MAX_METADATA_CHARACTERS: usize = 256;
/// The entries of a job's user metadata that hold a task token, which is longer than one entry may be.
#[must_use]
pub fn token_entries(token: &str) -> Vec<(String, String)> {
    let characters: Vec<char> = token.chars().collect();
    let parts = characters.chunks(MAX_METADATA_CHARACTERS).enumerate();
    parts
        .map(|(index, part)| (token_key(index), part.iter().collect()))
        .collect()
}

/// The task token in a job's user metadata; `None` if the job has none.
#[must_use]
pub fn token<S: std::hash::BuildHasher>(metadata: &HashMap<String, String, S>) -> Option<String> {
    let token: String = (0..)
        .map_while(|index| metadata.get(&token_key(index)))
        .map(String::as_str)
        .collect();
    (!token.is_empty()).then_some(token)
}

fn token_key(index: usize) -> String {
    format!("taskToken{index}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn token_of_any_length_is_rejoined(token in "[!-~]{1,1024}") {
            let entries = token_entries(&token);
            prop_assert!(entries.iter().all(|(_, part)| part.len() <= MAX_METADATA_CHARACTERS));
            prop_assert_eq!(super::token(&entries.into_iter().collect::<HashMap<_, _>>()), Some(token));
        }
    }
}
