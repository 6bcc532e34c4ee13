//! One test for each report, which also writes or compares its row on the page.

use crate::{
    common::ffmpeg::Folder,
    measure::Expected,
    page::{self, Page, Row},
    peer,
    report::Report,
};
use libtest_mimic::{Arguments, Failed, Trial};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

/// A clip and how it was made, or why there is none.
pub type Made = Result<(PathBuf, String), String>;

/// Measured rows, with the index of their report.
type Rows = Arc<Mutex<Vec<(usize, Row)>>>;

/// Runs the tests. `clipflow` makes clipflow's clip from a report's sources and returns it with how it was made, or why
/// there is none.
pub fn run<F>(page: Page, reports: Vec<Report>, clipflow: F) -> ExitCode
where
    F: Fn(&Report, &[PathBuf], &Folder) -> Made + Clone + Send + 'static,
{
    let rows = Rows::default();
    let titles: Vec<_> = reports.iter().map(Report::title).collect();
    let mut trials: Vec<_> = reports
        .into_iter()
        .enumerate()
        .map(|(place, report)| {
            let (rows, clipflow) = (rows.clone(), clipflow.clone());
            Trial::test(report.name, move || {
                let (row, faults) = compare(&report, &clipflow);
                if page::is_written() {
                    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                    rows.push((place, row));
                } else {
                    page.check(&row)?;
                }
                if faults.is_empty() {
                    return Ok(());
                }
                let faults = faults.join("; ");
                Err(Failed::from(format!("clipflow's clip {faults}")))
            })
        })
        .collect();
    let listed = titles.clone();
    trials.push(Trial::test("page_lists_the_reports_in_order", move || {
        let of_page = page.titles();
        if page::is_written() || of_page == listed {
            return Ok(());
        }
        Err(format!("the page lists {of_page:#?}").into())
    }));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    if page::is_written() {
        let measured = rows.lock().unwrap_or_else(PoisonError::into_inner);
        page.write(&titles, &measured);
    }
    conclusion.exit_code()
}

/// Makes a report's clip in both ways. Returns its row, and what is wrong with clipflow's clip.
fn compare(
    report: &Report,
    clipflow: &impl Fn(&Report, &[PathBuf], &Folder) -> Made,
) -> (Row, Vec<String>) {
    let folder = Folder::new();
    let sources = report.build(&folder);
    let expected = report.expected(&sources);
    let (clipflow, faults) = match clipflow(report, &sources, &folder) {
        Ok((clip, method)) => {
            let found = self::faults(report, &expected, &clip);
            (format!("{}; {method}", said(&found, &expected)), found)
        }
        Err(why) => {
            let fault = format!("is refused: {why}");
            (format!("**wrong**: {fault}"), vec![fault])
        }
    };
    let ffmpeg = match peer::clip(report, &sources, &folder) {
        Ok(clip) => said(&self::faults(report, &expected, &clip), &expected),
        Err(why) => format!("**wrong**: no clip ({why})"),
    };
    let row = Row {
        title: report.title(),
        said: report.said.to_owned(),
        clipflow,
        ffmpeg: format!("{}{ffmpeg}", report.command.said()),
    };
    (row, faults)
}

fn faults(report: &Report, expected: &Expected, clip: &Path) -> Vec<String> {
    let mut faults = expected.faults(clip);
    faults.extend(report.checks.iter().flat_map(|check| check(clip)));
    faults
}

/// The page's text about a clip.
fn said(faults: &[String], expected: &Expected) -> String {
    if faults.is_empty() {
        format!("right: {expected}")
    } else {
        format!("**wrong**: {}", faults.join("; "))
    }
}
