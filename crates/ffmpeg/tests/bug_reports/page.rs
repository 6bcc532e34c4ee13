//! docs/bug-reports.md: a table between two markers.

use std::{fs, path::PathBuf};

/// A report and its results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The report, with a link.
    pub title: String,
    /// What people saw.
    pub said: String,
    pub clipflow: String,
    pub ffmpeg: String,
}

impl Row {
    fn line(&self) -> String {
        let Self {
            title,
            said,
            clipflow,
            ffmpeg,
        } = self;
        format!("| {title}: {said} | {clipflow} | {ffmpeg} |")
    }
}

/// One of the page's tables.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    marks: [&'static str; 2],
}

/// Whether the page is rewritten.
pub fn is_written() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some()
}

fn path() -> PathBuf {
    let mut folders = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let with_page = folders.find(|folder| folder.join("docs/bug-reports.md").exists());
    with_page
        .expect("the repository has the page")
        .join("docs/bug-reports.md")
}

fn read() -> String {
    fs::read_to_string(path()).expect("the page")
}

impl Page {
    /// The table of cuts without the workflow.
    pub const fn commands() -> Self {
        Self {
            marks: ["<!-- commands -->\n", "<!-- /commands -->\n"],
        }
    }

    /// The table of clips that the workflow makes.
    pub const fn workflow() -> Self {
        Self {
            marks: ["<!-- workflow -->\n", "<!-- /workflow -->\n"],
        }
    }

    /// The page before the rows, the rows, and the page after them.
    fn parts(&self) -> [String; 3] {
        let page = read();
        let (before, rest) = page.split_once(self.marks[0]).expect("the table's mark");
        let (rows, after) = rest.split_once(self.marks[1]).expect("its end mark");
        [before, rows, after].map(str::to_owned)
    }

    /// The lines of reports, without the table's head.
    fn lines(&self) -> Vec<String> {
        let [_, rows, _] = self.parts();
        rows.lines().skip(2).map(str::to_owned).collect()
    }

    /// The reports that it lists.
    pub fn titles(&self) -> Vec<String> {
        let lines = self.lines();
        let title = |line: &String| {
            line[2..]
                .split_once("): ")
                .map(|(title, _)| format!("{title})"))
        };
        lines.iter().filter_map(title).collect()
    }

    /// Checks that its row for this report is the same.
    ///
    /// # Errors
    /// Both rows, if they differ.
    pub fn check(&self, row: &Row) -> Result<(), String> {
        let (lines, line) = (self.lines(), row.line());
        if lines.contains(&line) {
            return Ok(());
        }
        let of_page = lines
            .iter()
            .find(|line| line.starts_with(&format!("| {}: ", row.title)));
        Err(format!(
            "the page says\n{}\nand measured was\n{line}\nUPDATE_EXPECT=1 writes that",
            of_page.map_or("nothing", String::as_str)
        ))
    }

    /// Writes the rows that were measured; keeps the others of these reports.
    pub fn write(&self, titles: &[String], measured: &[(usize, Row)]) {
        let [before, rows, after] = self.parts();
        let head: String = rows.split_inclusive('\n').take(2).collect();
        let kept = self.lines();
        let mut written = String::new();
        for (place, title) in titles.iter().enumerate() {
            let new = measured.iter().find(|(of, _)| *of == place);
            let old = || {
                let start = format!("| {title}: ");
                kept.iter().find(|line| line.starts_with(&start)).cloned()
            };
            if let Some(line) = new.map(|(_, row)| row.line()).or_else(old) {
                written.push_str(&line);
                written.push('\n');
            }
        }
        let [begin, end] = self.marks;
        let page = format!("{before}{begin}{head}{written}{end}{after}");
        fs::write(path(), page).expect("the page can be written");
    }
}
