//! Text for people.

use std::borrow::Cow;

/// The most characters of a message: at most six bytes each as JSON, so that it fits into a cause, which Step Functions
/// limits to 32,768 characters (API reference, `SendTaskFailure`).
pub const MAX_MESSAGE: usize = 4_000;

/// `text`, cut after `most` characters, with an ellipsis if something was cut.
#[must_use]
pub fn shorten(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// `text`, with its middle replaced by an ellipsis if it is longer than `most` characters: a message names the field
/// first and often ends with what would be right.
#[must_use]
pub fn elide(text: &str, most: usize) -> Cow<'_, str> {
    let characters = text.chars().count();
    if characters <= most {
        return Cow::Borrowed(text);
    }
    let at = |character: usize| {
        let found = text.char_indices().nth(character);
        found.map_or(text.len(), |(at, _)| at)
    };
    let tail = most / 2;
    let (head, tail) = (at(most - tail), at(characters - tail));
    Cow::Owned(format!("{}…{}", &text[..head], &text[tail..]))
}

/// `text` with a question mark for each control character, which JSON would escape to six characters.
#[must_use]
pub fn visible(text: &str) -> String {
    let visible = |character: char| {
        if character.is_control() {
            '?'
        } else {
            character
        }
    };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn middle_of_a_long_text_is_left_out() {
        assert_eq!(elide("field: reason", 13), "field: reason");
        assert_eq!(elide("field: äöü reason", 7), "fiel…son");
    }

    proptest! {
        #[test]
        fn elided_text_has_a_bound_and_keeps_both_ends(text in ".{0,200}", most in 0..100_usize) {
            let short = elide(&text, most);
            prop_assert!(short.chars().count() <= most + 1);
            let (head, tail) = short.split_once('…').unwrap_or((&short, ""));
            prop_assert!(text.starts_with(head) || text.contains('…'));
            prop_assert!(text.ends_with(tail) || text.contains('…'));
        }
    }
}
