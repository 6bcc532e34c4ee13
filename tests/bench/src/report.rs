//! Rows of numbers: as a table for people, as JSON for programs.

use crate::Outcome;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap, fs, path::Path};

/// A number and its limit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    name: String,
    value: f64,
    unit: Cow<'static, str>,
    limit: Option<f64>,
    ok: bool,
}

impl Row {
    /// A number that may be at most `limit`; `None` for one that is only for comparison.
    pub fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        limit: Option<f64>,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit: unit.into(),
            limit,
            ok: limit.is_none_or(|limit| value <= limit),
        }
    }
}

/// The rows of every measure ever taken, as stored in a file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Results(BTreeMap<String, Vec<Row>>);

impl Results {
    /// The results in a file; none if there is no such file.
    ///
    /// # Errors
    /// If it contains something else.
    pub fn read(file: &Path) -> Outcome<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        Ok(serde_json::from_slice(&fs::read(file)?)?)
    }

    /// Replaces the rows of a measure, and writes the file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keep(&mut self, measure: &str, rows: Vec<Row>, file: &Path) -> Outcome<()> {
        self.0.insert(measure.to_owned(), rows);
        fs::create_dir_all(file.parent().ok_or("the results have no folder")?)?;
        Ok(fs::write(file, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// The rows of these measures; `None` if one was never taken.
    pub fn of<'a>(&self, measures: impl IntoIterator<Item = &'a str>) -> Option<Vec<&Row>> {
        let mut all = Vec::new();
        for measure in measures {
            all.extend(self.0.get(measure)?);
        }
        Some(all)
    }
}

/// Prints the rows as a Markdown table. Returns whether all are within their limits.
#[must_use]
pub fn print(rows: &[&Row]) -> bool {
    print!("{}", table(rows));
    rows.iter().all(|row| row.ok)
}

/// Replaces the table between the two markers of a document with the rows.
///
/// # Errors
/// If the document has no markers, or cannot be read or written.
pub fn write_page(rows: &[&Row], page: &Path) -> Outcome<()> {
    let text = with_table(&fs::read_to_string(page)?, rows)?;
    Ok(fs::write(page, text)?)
}

fn with_table(text: &str, rows: &[&Row]) -> Outcome<String> {
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

fn table(rows: &[&Row]) -> String {
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
            .map_or_else(|| "–".to_owned(), |limit| amount(limit, &row.unit));
        let ok = if row.ok { "yes" } else { "NO" };
        lines.push(format!(
            "| {:<width$} | {:>16} | {limit:>16} | {ok:<3} |",
            row.name,
            amount(row.value, &row.unit)
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
    fn results_of_earlier_runs_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bench/results.json");
        let row = |value| vec![Row::new("memory", value, "MiB", None)];
        let mut results = Results::read(&file).expect("none");
        results.keep("memory", row(1.0), &file).expect("room");
        assert!(results.of(["memory", "copy"]).is_none());
        let mut results = Results::read(&file).expect("what was kept");
        results.keep("copy", row(2.0), &file).expect("room");
        results.keep("copy", row(3.0), &file).expect("room");
        let rows = results.of(["memory", "copy"]).expect("both");
        let values: Vec<_> = rows.iter().map(|row| row.value).collect();
        assert_eq!(values, [1.0, 3.0]);
    }

    #[test]
    fn table_takes_the_place_of_the_one_before() {
        let rows = [
            Row::new("memory", 30.0, "MiB", Some(64.0)),
            Row::new("read", 1_234_567.0, "bytes", None),
        ];
        let rows: Vec<_> = rows.iter().collect();
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
