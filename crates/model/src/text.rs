//! Text for people.

use std::borrow::Cow;

/// `text`, cut after `most` characters, with an ellipsis where something was cut.
#[must_use]
pub fn shorten(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}
