//! Records which requests of a file have been sent, so that an interrupted run can continue.

use crate::failure::Failure;
use model::identity::Identity;
use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

/// A file next to the requests.
pub struct Journal {
    path: PathBuf,
    file: File,
    sent: HashSet<String>,
}

impl Journal {
    /// The journal of a file of requests; empty if it is for another queue.
    pub fn open(requests: &Path, queue_url: &str) -> Result<Self, Failure> {
        let mut name = requests.file_name().unwrap_or_default().to_owned();
        name.push(".sent");
        let path = requests.with_file_name(name);
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let mut lines = kept.lines();
        let is_same = lines.next() == Some(queue_url);
        let sent = if is_same {
            lines.map(str::to_owned).collect()
        } else {
            HashSet::new()
        };
        let mut options = OpenOptions::new();
        let options = options
            .create(true)
            .write(true)
            .append(is_same)
            .truncate(!is_same);
        let file = options
            .open(&path)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        let mut journal = Self { path, file, sent };
        if !is_same {
            journal.write(&format!("{queue_url}\n"))?;
        }
        Ok(journal)
    }

    pub fn add(&mut self, batch: &[&Identity]) -> Result<(), Failure> {
        let hashes: Vec<_> = batch
            .iter()
            .map(|request| request.request_hash.as_str())
            .collect();
        self.write(&(hashes.join("\n") + "\n"))
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| Failure::new(format!("{}: {error}", self.path.display())))
    }

    pub fn remove(self) -> Result<(), Failure> {
        std::fs::remove_file(&self.path)
            .map_err(|error| Failure::new(format!("{}: {error}", self.path.display())))
    }
}

pub fn is_sent(journal: Option<&Journal>, request: &Identity) -> bool {
    journal.is_some_and(|journal| journal.sent.contains(&request.request_hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn interrupted_run_knows_what_was_sent_to_this_queue() {
        let folder = std::env::temp_dir().join(format!("clipflow-journal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (file, one, other) = (
            folder.join("r.jsonl"),
            Identity::of(&json!(1)),
            Identity::of(&json!(2)),
        );
        let mut journal = Journal::open(&file, "https://q").expect("a journal");
        journal.add(&[&one]).expect("it is kept");
        drop(journal);
        let again = Journal::open(&file, "https://q").expect("the journal");
        assert!(is_sent(Some(&again), &one) && !is_sent(Some(&again), &other));
        let elsewhere = Journal::open(&file, "https://other").expect("a journal");
        assert!(!is_sent(Some(&elsewhere), &one));
        elsewhere.remove().expect("it is removed");
        std::fs::remove_dir(&folder).expect("nothing is left in it");
    }
}
