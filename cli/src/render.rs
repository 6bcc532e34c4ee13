//! What a person sees: tables, colours on a terminal only, progress bars.

use crate::{executions::Status, failure::Failure};
use console::{StyledObject, Term, measure_text_width, style, truncate_str};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{fmt::Display, io::Write};

/// The narrowest that a column is made to fit a terminal, in characters.
const MIN_COLUMN: usize = 8;

/// Prints a line. When nobody reads any more (`clipflow list | head`), the command ends.
pub fn say(line: impl Display) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// Prints JSON.
pub fn json(value: &impl Serialize) {
    say(json_text(value));
}

/// JSON as it is printed.
pub fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("it has keys of text only")
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

/// What is less important.
pub fn dim<T>(value: T) -> StyledObject<T> {
    style(value).dim()
}

/// A table under headers. On a terminal its widest columns are cut so that it fits.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let terminal = Term::stdout();
    table_within(
        headers,
        rows,
        terminal.is_term().then(|| usize::from(terminal.size().1)),
    )
}

/// A table that is no wider than this, in characters, where that can be.
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

/// A progress bar on standard error, where that is a terminal.
pub fn bar(total: usize, title: &'static str) -> ProgressBar {
    let template = "{msg} {wide_bar} {human_pos}/{human_len} {eta}";
    let bar = ProgressBar::new(total as u64).with_message(title);
    bar.with_style(ProgressStyle::with_template(template).expect("the template is valid"))
}

/// A line on standard error that says what is under way, where that is a terminal.
pub fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    spinner
}

/// Asks before something is done to many, or cannot be undone.
///
/// # Errors
/// When the answer is no, or when there is nobody to ask.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let terminal = Term::stderr();
    if !terminal.is_term() || !Term::stdout().is_term() {
        return Err(Failure::usage(
            "nothing was done; say --yes where nobody can be asked",
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
