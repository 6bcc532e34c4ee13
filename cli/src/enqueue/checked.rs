//! All requests of a run are checked before the first is sent.

use crate::{
    failure::Failure,
    requests::{self, Line},
};
use model::identity::Identity;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// How many invalid requests, and how many with a duplicate `clipId`, are printed.
const MAX_TOLD: usize = 20;

/// The contents of a file of requests.
#[derive(Debug, Default)]
pub struct Checked {
    /// Valid ones, each once.
    pub requests: Vec<Identity>,
    /// How many were duplicates.
    pub duplicates: usize,
    /// Different requests with the same `clipId`, for people.
    pub clashes: Vec<String>,
    /// Requests that cannot be sent.
    pub invalid: Vec<Invalid>,
}

/// A request that cannot be sent.
#[derive(Debug)]
pub struct Invalid {
    /// The line where it begins; 0 for one from the command line.
    line: usize,
    /// `None` if it could not be read.
    request: Option<Value>,
    error: String,
}

impl Checked {
    /// Checks requests like the deployment will. If its source buckets are unknown, any bucket passes.
    pub fn of(lines: Vec<Line>, buckets: Option<&[String]>) -> Self {
        let mut checked = Self::default();
        let mut seen = HashSet::new();
        let mut clips = HashMap::<_, usize>::new();
        for (line, value) in lines {
            let invalid = |request, error| Invalid {
                line,
                request,
                error,
            };
            let value = match value {
                Ok(value) => value,
                Err(error) => {
                    checked.invalid.push(invalid(None, error));
                    continue;
                }
            };
            let identity = match requests::check(&value, buckets) {
                Ok(identity) => identity,
                Err(error) => {
                    checked.invalid.push(invalid(Some(value), error.message));
                    continue;
                }
            };
            if !seen.insert(identity.request_hash.clone()) {
                checked.duplicates += 1;
                continue;
            }
            if let Some(first) = clips.get(&identity.clip_id) {
                checked.clashes.push(format!(
                    "line {line}: clipId {} is also that of line {first}, and asks for another clip: the one that is \
                     started last keeps the document",
                    identity.clip_id
                ));
            }
            clips.entry(identity.clip_id.clone()).or_insert(line);
            checked.requests.push(identity);
        }
        checked
    }

    /// Checks that nothing is invalid, or that invalid requests may be skipped and others remain.
    ///
    /// # Errors
    /// Wrong usage, naming the lines and fields at fault.
    pub fn accept(&self, name: &str, skip_invalid: bool) -> Result<(), Failure> {
        if self.invalid.is_empty() && self.requests.is_empty() {
            return Err(Failure::usage(format!("{name} holds no request")));
        }
        if self.invalid.is_empty() || skip_invalid && !self.requests.is_empty() {
            return Ok(());
        }
        let errors = self.invalid.iter().map(|Invalid { line, error, .. }| {
            if *line == 0 {
                error.clone()
            } else {
                format!("{name}:{line}: {error}")
            }
        });
        Err(Failure::usage(format!(
            "{}\nnothing was sent",
            first_of(errors.collect())
        )))
    }

    /// Prints which requests share a `clipId`.
    pub fn tell_clashes(&self, name: &str) {
        if !self.clashes.is_empty() {
            let told = first_of(self.clashes.clone());
            let told = crate::render::harmless(&told, false);
            eprintln!("{name}: {}", told.replace('\n', &format!("\n{name}: ")));
        }
    }

    /// Writes skipped requests to a file next to the requests, one object per line. Returns its path.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_invalid(&self, requests: &Path) -> Result<PathBuf, Failure> {
        let mut name = match requests.to_str() {
            Some("-") => "requests".into(),
            _ => requests.file_name().unwrap_or_default().to_owned(),
        };
        name.push(".invalid.jsonl");
        let path = match requests.to_str() {
            Some("-") => PathBuf::from(name),
            _ => requests.with_file_name(name),
        };
        let mut text = String::new();
        for Invalid {
            line,
            request,
            error,
        } in &self.invalid
        {
            let one = match request {
                Some(request) => json!({"line": line, "error": error, "request": request}),
                None => json!({"line": line, "error": error}),
            };
            text += &one.to_string();
            text.push('\n');
        }
        fs::write(&path, text)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        Ok(path)
    }
}

/// The first lines, and how many more there are.
fn first_of(mut lines: Vec<String>) -> String {
    let more = lines.len().saturating_sub(MAX_TOLD);
    lines.truncate(MAX_TOLD);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// The text of a file, or of standard input for `-`.
///
/// # Errors
/// Wrong usage if it does not exist or is not text.
pub fn read(file: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        fs::read(file).map(|read| bytes = read)
    };
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    read.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::usage(named(&"there is no such file")),
        _ => Failure::usage(named(&error)),
    })?;
    requests::decode(&bytes).map_err(|error| Failure::usage(named(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: usize, end: i32) -> Line {
        (
            line,
            Ok(json!({"source": {"bucket": "archive", "key": "k"}, "start": 1, "end": end})),
        )
    }

    fn refused(name: &str, lines: Vec<Line>, skip_invalid: bool) -> Failure {
        let checked = Checked::of(lines, None);
        checked
            .accept(name, skip_invalid)
            .expect_err("it is refused")
    }

    #[test]
    fn invalid_lines_are_named_and_duplicates_counted() {
        let checked = Checked::of(vec![line(1, 2), line(2, 3), line(3, 2)], None);
        checked.accept("r", false).expect("they are valid");
        assert_eq!((checked.requests.len(), checked.duplicates), (2, 1));
        assert!(checked.clashes.is_empty(), "{:?}", checked.clashes);

        let lines = || vec![line(1, 2), line(2, 0), (3, Err("no".into()))];
        let failure = refused("r.jsonl", lines(), false);
        let said = "r.jsonl:2: end: 0 s is not after start, 1 s\nr.jsonl:3: no\nnothing was sent";
        assert_eq!((failure.code, failure.message.as_str()), (2, said));
        let many = (1..=30).map(|number| line(number, 0)).collect();
        let failure = refused("r", many, false);
        assert!(
            failure.message.contains("\nand 10 more\n"),
            "{}",
            failure.message
        );
        assert_eq!(refused("r", Vec::new(), true).message, "r holds no request");
    }

    #[test]
    fn invalid_lines_are_skipped_and_written_with_their_errors() {
        let lines = vec![line(1, 2), line(2, 0), (3, Err("no".into()))];
        let checked = Checked::of(lines, None);
        checked.accept("r", true).expect("one is valid");
        let folder = tempfile::tempdir().expect("a folder");
        let written = checked.write_invalid(&folder.path().join("r.csv"));
        let path = written.expect("room for a file");
        assert_eq!(path, folder.path().join("r.csv.invalid.jsonl"));
        let text = fs::read_to_string(path).expect("the file");
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let request = json!({"source": {"bucket": "archive", "key": "k"}, "start": 1, "end": 0});
        let error = "end: 0 s is not after start, 1 s";
        assert_eq!(
            lines,
            [
                json!({"line": 2, "error": error, "request": request}),
                json!({"line": 3, "error": "no"})
            ]
        );
        let none = refused("r", vec![line(1, 0)], true);
        assert!(
            none.message.ends_with("nothing was sent"),
            "{}",
            none.message
        );
    }

    #[test]
    fn clip_id_of_two_different_requests_is_pointed_out() {
        let named = |number, end| {
            let (_, request) = line(number, end);
            let mut request = request.expect("a request");
            request["clipId"] = "dawn".into();
            (number, Ok(request))
        };
        // The third is a repetition of the first.
        let checked = Checked::of(vec![named(1, 2), named(2, 3), named(3, 2)], None);
        assert_eq!((checked.requests.len(), checked.duplicates), (2, 1));
        let said = "line 2: clipId dawn is also that of line 1, and asks for another clip: the one that is started last \
                    keeps the document";
        assert_eq!(checked.clashes, [said]);
    }
}
