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
    let width = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or(0);
    println!(
        "| {:<width$} | {:>16} | {:>16} | ok  |",
        "number", "measured", "limit"
    );
    println!("| {:-<width$} | {:->15}: | {:->15}: | --- |", "", "", "");
    for row in rows {
        let limit = row
            .limit
            .map_or_else(|| "–".to_owned(), |limit| amount(limit, row.unit));
        let ok = if row.ok { "yes" } else { "NO" };
        println!(
            "| {:<width$} | {:>16} | {limit:>16} | {ok:<3} |",
            row.name,
            amount(row.value, row.unit)
        );
    }
    Ok(rows.iter().all(|row| row.ok))
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
