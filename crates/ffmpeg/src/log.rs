//! How much is kept of what a program logs.

use model::text::shorten;
use std::fmt;

/// How many lines are kept, and how many characters of each.
pub(crate) const MAX_LINES: usize = 5;
pub(crate) const MAX_LINE: usize = 300;

/// The message in a line, without the component prefixes, which contain addresses.
pub(crate) fn said(line: &str) -> &str {
    line.rsplit_once("] ").map_or(line, |(_, said)| said)
}

/// What a program logged: the first lines, since the very first names the cause, and later telling ones.
#[derive(Debug, Default)]
pub(crate) struct Said {
    first: Vec<String>,
    /// Later lines that say what went wrong on their own.
    telling: Vec<String>,
}

/// Parts of lines that say what went wrong, wherever they appear.
const TELLING: [&str; 4] = [
    "No space left",
    "File too large",
    "Unknown encoder",
    "No such filter",
];

impl Said {
    pub fn hear(&mut self, line: &str) {
        let said = || shorten(said(line), MAX_LINE).into_owned();
        if self.first.len() < MAX_LINES {
            self.first.push(said());
        } else if self.telling.len() < MAX_LINES && TELLING.iter().any(|part| line.contains(part)) {
            self.telling.push(said());
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&str> = self
            .first
            .iter()
            .chain(&self.telling)
            .map(String::as_str)
            .collect();
        f.write_str(&lines.join("; "))
    }
}

/// The codec that a program says it has no decoder for. It decodes AV1 only in hardware, unless it was built with a
/// library for it.
pub(crate) fn undecodable_codec(said: &str) -> Option<&str> {
    const AROUND: [(&str, &str); 3] = [
        ("support hardware accelerated ", " decoding"),
        ("no decoder found for: ", ""),
        ("Decoder (codec ", ") not found"),
    ];
    AROUND.into_iter().find_map(|(before, behind)| {
        let (_, rest) = said.split_once(before)?;
        let end = if behind.is_empty() {
            rest.find(|character: char| !character.is_ascii_alphanumeric())
        } else {
            Some(rest.find(behind)?)
        };
        Some(&rest[..end.unwrap_or(rest.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_kept_and_those_that_tell_by_themselves() {
        let mut said = Said::default();
        for number in 0..9 {
            said.hear(&format!("[h264 @ 0x5581] error {number}"));
        }
        said.hear("[out#0/mp4 @ 0x1] Error writing trailer: No space left on device");
        let told = said.to_string();
        assert!(told.starts_with("error 0; error 1; "), "{told}");
        assert!(!told.contains("error 8"), "{told}");
        assert!(told.ends_with("No space left on device"), "{told}");
    }

    #[test]
    fn codec_that_is_not_decoded_is_named() {
        for said in [
            "Your platform doesn't support hardware accelerated AV1 decoding.; Failed to get pixel format.",
            "Decoding requested, but no decoder found for: AV1",
            "Decoder (codec AV1) not found for input stream #0:0",
        ] {
            assert_eq!(undecodable_codec(said), Some("AV1"), "{said}");
        }
        assert_eq!(undecodable_codec("Invalid data found"), None);
    }
}
