//! Rows of numbers: as a table for people, as JSON for programs.

use crate::Outcome;
use serde::Serialize;
use std::{fs, path::Path};

/// A number, and how large it may be.
#[derive(Debug, Serialize)]
pub struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    limit: Option<f64>,
    ok: bool,
}

impl Row {
    /// A number that may be at most `limit`; `None` for one that is there to compare with.
    pub fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        limit: Option<f64>,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            limit,
            ok: limit.is_none_or(|limit| value <= limit),
        }
    }
}

/// Prints the rows as a table in Markdown and writes them to a file as JSON; whether all are within their limits.
///
/// # Errors
/// When the file cannot be written.
pub fn write(rows: &[Row], file: &Path) -> Outcome<bool> {
    fs::create_dir_all(file.parent().ok_or("the results have no folder")?)?;
    fs::write(file, serde_json::to_string_pretty(rows)? + "\n")?;
    print!("{}", table(rows));
    Ok(rows.iter().all(|row| row.ok))
}

/// Puts the rows into a document, in the place of the table between its two marks.
///
/// # Errors
/// When the document has no marks, or cannot be read or written.
pub fn write_page(rows: &[Row], page: &Path) -> Outcome<()> {
    let text = with_table(&fs::read_to_string(page)?, rows)?;
    Ok(fs::write(page, text)?)
}

fn with_table(text: &str, rows: &[Row]) -> Outcome<String> {
    const MARKS: (&str, &str) = ("<!-- bench -->\n", "<!-- /bench -->\n");
    let (before, rest) = text.split_once(MARKS.0).ok_or("the page has no mark")?;
    let (_, after) = rest.split_once(MARKS.1).ok_or("the page has no end mark")?;
    Ok(format!(
        "{before}{}{}{}{after}",
        MARKS.0,
        table(rows),
        MARKS.1
    ))
}

fn table(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut lines = vec![
        format!(
            "| {:<width$} | {:>16} | {:>16} | ok  |",
            "number", "measured", "limit"
        ),
        format!("| {:-<width$} | {:->15}: | {:->15}: | --- |", "", "", ""),
    ];
    for row in rows {
        let limit = row
            .limit
            .map_or_else(|| "–".to_owned(), |limit| amount(limit, row.unit));
        let ok = if row.ok { "yes" } else { "NO" };
        lines.push(format!(
            "| {:<width$} | {:>16} | {limit:>16} | {ok:<3} |",
            row.name,
            amount(row.value, row.unit)
        ));
    }
    lines.join("\n") + "\n"
}

fn amount(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => {
            let digits = format!("{value:.0}");
            let groups: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|group| str::from_utf8(group).expect("digits"))
                .collect();
            format!("{} bytes", groups.join(","))
        }
        "×" => format!("{value:.2} ×"),
        "frames" | "transitions" => format!("{value:.0} {unit}"),
        _ => format!("{value:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_takes_the_place_of_the_one_before() {
        let rows = [
            Row::new("memory", 30.0, "MiB", Some(64.0)),
            Row::new("read", 1_234_567.0, "bytes", None),
        ];
        let page = "# Numbers\n<!-- bench -->\n| old |\n<!-- /bench -->\nMore.\n";
        let text = with_table(page, &rows).expect("a page with marks");
        assert_eq!(
            text,
            "# Numbers\n<!-- bench -->\n\
             | number |         measured |            limit | ok  |\n\
             | ------ | ---------------: | ---------------: | --- |\n\
             | memory |         30.0 MiB |         64.0 MiB | yes |\n\
             | read   |  1,234,567 bytes |                – | yes |\n\
             <!-- /bench -->\nMore.\n"
        );
        assert_eq!(with_table(&text, &rows).expect("marks"), text);
        assert!(with_table("# Numbers\n", &rows).is_err());
    }
}
