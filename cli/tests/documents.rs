//! The commands that documents and help texts show are commands that this program takes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn commands_in_documents_and_help_texts_are_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut places: Vec<PathBuf> = ["README.md", "cli/tests/snapshots/help.txt"]
        .map(|file| root.join(file))
        .into();
    for entry in fs::read_dir(root.join("docs")).expect("docs/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "md") {
            places.push(path);
        }
    }

    let mut count = 0;
    for place in places {
        let text = fs::read_to_string(&place).expect("a document");
        for command in commands(&text) {
            let arguments = shlex::split(&command)
                .unwrap_or_else(|| panic!("{}: {command}: its quotes", place.display()));
            // Behind the others, --help is printed only if they are right.
            let output = Command::new(env!("CARGO_BIN_EXE_clipflow"))
                .args(&arguments)
                .arg("--help")
                .output()
                .expect("clipflow runs");
            assert!(
                output.status.success(),
                "{}: clipflow {command}: {}",
                place.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            count += 1;
        }
    }
    assert!(count > 40, "commands are found: {count}");
}

/// What stands behind `clipflow` in each command, which begins a line or a code span and ends before a pipe, a redirection,
/// a comment or its code span.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let starts = text.match_indices("clipflow ").filter(|(at, _)| {
        let before = text[..*at].trim_end_matches(' ');
        before.ends_with(['\n', '`', '$', '|'])
    });
    starts
        .filter_map(|(at, word)| {
            text[at + word.len()..]
                .split(['\n', '`', '|', '>', '#'])
                .next()
        })
        .filter(|command| {
            command
                .chars()
                .next()
                .is_some_and(|first| first.is_ascii_lowercase() || first == '-')
        })
        .filter(|command| !command.starts_with("help"))
        .map(str::to_owned)
        .collect()
}
