//! Output for people: tables, colours (only on a terminal), progress bars.

use crate::{executions::Status, failure::Failure};
use console::{StyledObject, Term, measure_text_width, style, truncate_str};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{fmt::Display, io::Write};

/// The minimum width of a column shrunk to fit a terminal, in characters.
const MIN_COLUMN: usize = 8;

/// Prints a line that contains no terminal control sequences except colours. If the reader has gone (`clipflow list |
/// head`), the command ends.
pub fn say(line: impl Display) {
    exactly(&harmless(&line.to_string(), console::colors_enabled()));
}

/// Prints JSON.
pub fn json(value: &impl Serialize) {
    exactly(&json_text(value));
}

/// Prints untrusted text: unchanged to a file or a pipe, sanitized on a terminal.
pub fn foreign(text: &str) {
    if Term::stdout().is_term() {
        say(text);
    } else {
        exactly(text);
    }
}

fn exactly(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(1);
    }
}

/// JSON with terminal control characters escaped. JSON itself escapes only those below U+0020.
pub fn json_text(value: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(value).expect("it has keys of text only");
    let escaped = |character: char| match character {
        '\n' => None,
        _ if steers(character) => Some(format!("\\u{:04x}", u32::from(character))),
        _ => None,
    };
    replaced(&json, escaped)
}

/// One line of untrusted text, with terminal control characters and line breaks escaped.
pub fn plain(text: &str) -> String {
    replaced(text, |character| {
        steers(character).then(|| character.escape_unicode().to_string())
    })
}

/// Lines with terminal control characters escaped, except for colours if `has_colours`.
pub fn harmless(text: &str, has_colours: bool) -> String {
    let mut rest = text;
    let mut harmless = String::new();
    while let Some(character) = rest.chars().next() {
        let colour = if has_colours { colour_length(rest) } else { 0 };
        let (taken, kept) = match character {
            _ if colour > 0 => (colour, rest[..colour].to_owned()),
            '\n' | '\t' => (1, character.to_string()),
            _ => (character.len_utf8(), plain(&rest[..character.len_utf8()])),
        };
        harmless += &kept;
        rest = &rest[taken..];
    }
    harmless
}

/// The length of the colour sequence at the start of `text`, in bytes: `ESC [`, numbers, `m`.
fn colour_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let end = parameters.find(|character: char| !character.is_ascii_digit() && character != ';');
    match end {
        Some(end) if parameters[end..].starts_with('m') => "\x1b[".len() + end + 1,
        _ => 0,
    }
}

/// Whether a terminal interprets a character, or changes the text direction at it, rather than showing it.
fn steers(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn replaced(text: &str, replacement: impl Fn(char) -> Option<String>) -> String {
    let mut replaced = String::with_capacity(text.len());
    for character in text.chars() {
        match replacement(character) {
            Some(other) => replaced += &other,
            None => replaced.push(character),
        }
    }
    replaced
}

/// A status in its colour.
pub fn status(status: Status) -> String {
    let text = style(status.name());
    match status {
        Status::Available => text.green(),
        Status::Rejected => text.yellow(),
        Status::Failed | Status::Aborted => text.red(),
        Status::Running => text.cyan(),
    }
    .to_string()
}

/// Dims what is less important.
pub fn dim<T>(value: T) -> StyledObject<T> {
    style(value).dim()
}

/// A table with headers. On a terminal, its widest columns are shortened so that it fits.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let terminal = Term::stdout();
    table_within(
        headers,
        rows,
        terminal.is_term().then(|| usize::from(terminal.size().1)),
    )
}

/// A table at most this wide, in characters, if possible.
pub fn table_within(headers: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let mut widths: Vec<usize> = headers.iter().map(|header| header.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = measure_text_width(cell).max(*width);
        }
    }
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
    while let Some(most) = width
        && total(&widths) > most
        && let Some(widest) = widths.iter_mut().filter(|width| **width > MIN_COLUMN).max()
    {
        *widest -= 1;
    }
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let padded = cells.zip(&widths).map(|(cell, width)| {
            let cut = truncate_str(&cell, *width, "…").into_owned();
            let padding = width - measure_text_width(&cut);
            cut + &" ".repeat(padding)
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(&mut headers.iter().map(|header| dim(*header).to_string()));
    let body = rows.iter().map(|row| line(&mut row.iter().cloned()));
    std::iter::once(head)
        .chain(body)
        .collect::<Vec<_>>()
        .join("\n")
}

/// `3.4 MB`.
pub fn bytes(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

/// `0.0012 USD`.
pub fn usd(usd: f64) -> String {
    format!("{usd:.4} USD")
}

/// A progress bar on standard error, if that is a terminal.
pub fn bar(total: usize, title: &'static str) -> ProgressBar {
    let template = "{msg} {wide_bar} {human_pos}/{human_len} {eta}";
    let bar = ProgressBar::new(total as u64).with_message(title);
    bar.with_style(ProgressStyle::with_template(template).expect("the template is valid"))
}

/// As [`bar`], for bytes.
pub fn byte_bar(total: u64, title: &'static str) -> ProgressBar {
    let template = "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}";
    let bar = ProgressBar::new(total).with_message(title);
    bar.with_style(ProgressStyle::with_template(template).expect("the template is valid"))
}

/// A line on standard error that says what is in progress, if that is a terminal.
pub fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    spinner
}

/// Asks for confirmation before something is done to many, or cannot be undone.
///
/// # Errors
/// If the answer is no, or there is nobody to ask.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let terminal = Term::stderr();
    if !terminal.is_term() || !Term::stdout().is_term() {
        return Err(Failure::usage(
            "nothing was done; without a terminal to ask on, use --yes",
        ));
    }
    let asked = terminal
        .write_str(&format!("{question} [y/N] "))
        .and_then(|()| terminal.read_line());
    match asked
        .map_err(|error| Failure::new(format!("asking: {error}")))?
        .trim()
    {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new("nothing was done")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        vec![
            vec!["dawn-patrol-0042".into(), "failed".into()],
            vec!["a".into(), "\u{6ce2}\u{6ce2}".into()],
        ]
    }

    const HOSTILE: &str = "a\x1b]0;title\x07\x1b[2J\x1b[31mb\u{9b}1m\u{202e}c\r\nd\u{7f}";

    #[test]
    fn what_steers_a_terminal_is_escaped_in_a_stranger_s_text() {
        let said = r"a\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[31mb\u{9b}1m\u{202e}c\u{d}\u{a}d\u{7f}";
        assert_eq!(plain(HOSTILE), said);
    }

    #[test]
    fn lines_keep_colours_and_nothing_else() {
        let said = "a\\u{1b}]0;title\\u{7}\\u{1b}[2J\x1b[31mb\\u{9b}1m\\u{202e}c\\u{d}\nd\\u{7f}";
        assert_eq!(harmless(HOSTILE, true), said);
        assert_eq!(
            harmless("\x1b[1;31mx\x1b[0m\t\x1b[", true),
            "\x1b[1;31mx\x1b[0m\t\\u{1b}["
        );
        assert!(!harmless(HOSTILE, false).contains('\x1b'));
    }

    #[test]
    fn json_is_exact_and_steers_no_terminal() {
        let value = serde_json::json!({(HOSTILE): [HOSTILE]});
        let text = json_text(&value);
        assert!(
            text.chars()
                .all(|character| character == '\n' || !steers(character)),
            "{text:?}"
        );
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, value);
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let table = table_within(&["CLIP", "STATUS"], &rows(), None);
        assert_eq!(
            table,
            "CLIP              STATUS\ndawn-patrol-0042  failed\na                 \u{6ce2}\u{6ce2}"
        );
    }

    #[test]
    fn widest_column_is_cut_so_that_the_table_fits() {
        let table = table_within(&["CLIP", "STATUS"], &rows(), Some(20));
        assert_eq!(table.lines().nth(1), Some("dawn-patrol…  failed"));
        assert!(
            table.lines().all(|line| measure_text_width(line) <= 20),
            "{table}"
        );
    }

    #[test]
    fn table_that_cannot_fit_keeps_something_of_each_column() {
        let table = table_within(&["CLIP", "STATUS"], &rows(), Some(1));
        assert_eq!(table.lines().nth(1), Some("dawn-pa…  failed"));
    }
}
