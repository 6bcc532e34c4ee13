//! Runs the commands in README, docs/ and the help texts on the local stack, exactly as written there.

use serde_json::json;
use std::{
    cell::Cell,
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};
use tests::{Stack, eventually, markdown::Page};

/// Commands mentioned in a sentence, without required arguments, or with a question that nobody answers here.
const MENTIONED: [&str; 8] = [
    "--help",
    "cut",
    "cut SOURCE",
    "dlq",
    "enqueue",
    "enqueue --source FILE",
    "enqueue --wait",
    "rerun --failed",
];
/// Commands that run until they are interrupted.
const ENDLESS: [&str; 4] = [
    "console",
    "console --local",
    "console --read-only",
    "list --status running --watch",
];
/// The only one that needs an AWS account: it prints a link to the AWS console.
const OPEN: &str = "open CLIP";
/// The clip of the examples.
const CLIP: &str = "dawn-patrol-0042";

#[tokio::test]
async fn documented_commands_do_what_they_say() {
    let stack = Stack::connect().await;
    let reader = Reader::new(&stack).await;
    let commands = commands();
    assert!(commands.len() > 50, "commands are found: {commands:?}");
    let mut failed = Vec::new();
    for command in &commands {
        let arguments = command.replace(" --terraform terraform", "");
        let arguments = arguments.replace(" --browser", "");
        let result = if MENTIONED.contains(&arguments.as_str()) {
            reader.is_known(&arguments)
        } else if ENDLESS.contains(&arguments.as_str()) {
            reader.begins(&arguments)
        } else {
            reader.succeeds(&arguments).await
        };
        if let Err(said) = result {
            failed.push(format!("clipflow {command}: {said}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What follows `clipflow` in all commands of the documents, up to a pipe, a redirection or a comment; each once.
fn commands() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: PathBuf| fs::read_to_string(path).expect("a document");
    let mut code = vec![read(root.join("cli/tests/snapshots/help.txt"))];
    let docs = fs::read_dir(root.join("docs")).expect("docs/");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    for path in docs.chain([root.join("README.md")]) {
        if path.extension().is_some_and(|extension| extension == "md") {
            code.extend(Page::parse(&read(path)).code);
        }
    }
    code.iter()
        .flat_map(|code| code.lines())
        .flat_map(|line| line.split('|'))
        .filter_map(|part| {
            let part = part.split(['>', '#']).next()?;
            let command = part.trim().trim_start_matches("$ ");
            command.strip_prefix("clipflow ").map(str::trim)
        })
        .filter(|command| *command == "--help" || !command.ends_with("--help"))
        .map(str::to_owned)
        .collect()
}

/// A reader who follows the documents: a folder with the files that they mention, and a stack with the clips.
struct Reader<'a> {
    stack: &'a Stack,
    folder: tempfile::TempDir,
    /// The name of the execution of the examples' clip.
    execution: String,
    /// A clip whose job never ends; it is listed, and then stopped.
    running: String,
    made: Cell<u32>,
}

impl<'a> Reader<'a> {
    async fn new(stack: &'a Stack) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (surf, phone) = (
            folder.path().join("surf.mp4"),
            folder.path().join("phone.mov"),
        );
        let picture = "testsrc2=size=320x180:rate=25:duration=92";
        let input = ["-f", "lavfi", "-i", picture];
        // With one keyframe, so that MediaConvert makes the clip that never ends.
        let outputs = [
            ["-c:v", "libx264", "-x264-params", "keyint=9999:scenecut=0"],
            ["-c:v", "libx265", "-t", "10"],
        ];
        for (file, output) in [&surf, &phone].into_iter().zip(&outputs) {
            let file = [file.to_str().expect("UTF-8")];
            stack.ffmpeg(&[&input[..], output, &file].concat());
        }
        for key in ["KEY", "2018-08-02.mp4", "hi-pipeline/2018-08-02.mp4"] {
            stack.upload(key, &surf).await;
        }
        let request = stack.request(CLIP, "KEY", &json!(2), &json!(4));
        let ended = stack.run(&request).await;
        let line =
            json!({"clipId": "documented-file", "source": request["source"], "start": 5, "end": 6});
        let table = format!(
            "clipId,source,start,end\ndocumented-table,s3://{}/KEY,5,6\n",
            stack.description.source_bucket
        );
        for (name, text) in [
            ("request.json", line.to_string()),
            ("requests.csv", table),
            ("stdin", line.to_string()),
        ] {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let mut reader = Self {
            stack,
            folder,
            execution: ended.arn.rsplit(':').next().expect("a name").to_owned(),
            running: String::new(),
            made: Cell::new(0),
        };
        reader.running = reader.running_clip().await;
        reader
    }

    fn clipflow(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.stack.description.clipflow);
        let input = fs::File::open(self.folder.path().join("stdin")).expect("a file");
        let ffmpeg = self.stack.description.bin.join("ffmpeg");
        command.current_dir(self.folder.path()).stdin(input);
        command.env("CLIPFLOW_FFMPEG", ffmpeg);
        if !arguments.iter().any(|argument| argument == "--local") {
            command.arg("--local");
        }
        command.args(arguments);
        command
    }

    /// After the other arguments, `--help` is printed only if they are right.
    fn is_known(&self, command: &str) -> Result<(), String> {
        ended(self.clipflow(&words(command)).arg("--help"), 0)
    }

    /// Checks that the command prints something before it ends.
    fn begins(&self, command: &str) -> Result<(), String> {
        let mut child = self
            .clipflow(&words(command))
            .stdout(Stdio::piped())
            .spawn()
            .expect("clipflow runs");
        // Open until the end: a command whose output nobody reads ends.
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("text");
        let status = child.try_wait().expect("its status");
        let page = line.starts_with("http://").then(|| {
            // It answers with a cookie, and leads to the page that the cookie opens.
            let get = ureq::get(line.trim()).config().max_redirects(0).build();
            get.call().map(|answer| answer.status().as_u16())
        });
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        match (line.as_str(), status, &page) {
            ("", ..) | (_, Some(_), _) | (.., Some(Err(_))) => {
                Err(format!("{line} {status:?} {page:?}"))
            }
            _ => Ok(()),
        }
    }

    async fn succeeds(&self, command: &str) -> Result<(), String> {
        let bucket = &self.stack.description.source_bucket;
        let object = format!("{}/{bucket}/KEY", self.stack.description.endpoint);
        let command_here = command
            .replace("s3://surf-archive/", &format!("s3://{bucket}/"))
            .replace("https://example.com/surf.mp4", &object)
            .replace('…', "");
        let mut arguments = words(&command_here);
        let subcommand = arguments[0].clone();
        for argument in &mut arguments {
            *argument = match (argument.as_str(), subcommand.as_str()) {
                ("CLIP" | CLIP, "rerun") => self.mended_clip().await,
                ("CLIP", "stop") => self.running.clone(),
                ("CLIP", _) => CLIP.to_owned(),
                ("dawn-patrol-0042-1f2e3d4c5b6a", _) => self.execution.clone(),
                ("ID" | "1c1f0a3e-6f0b-4b8e-9d0a-2b7a3f9f6a11", _) => self.dead_letter().await,
                ("NAME", _) => "TranscodeFailed".to_owned(),
                _ => continue,
            };
        }
        let asks = command.starts_with("dlq drop") || command.starts_with("rerun --failed");
        if asks
            && !["--yes", "--dry-run"]
                .iter()
                .any(|flag| command.contains(flag))
        {
            arguments.push("--yes".to_owned());
        }
        if subcommand == "cut" {
            arguments.push("--force".to_owned());
        }
        ended(&mut self.clipflow(&arguments), i32::from(command == OPEN))
    }

    fn name(&self) -> String {
        self.made.set(self.made.get() + 1);
        // A run on the same stack makes other clips.
        format!("documented-{}-{}", process::id(), self.made.get())
    }

    /// A clip that was rejected because of its source, which exists by now.
    async fn mended_clip(&self) -> String {
        let name = self.name();
        let request = self.stack.request(&name, &name, &json!(1), &json!(2));
        let ended = self.stack.run(&request).await;
        assert_eq!(ended.output["reason"], "SourceNotFound", "{ended:?}");
        let surf = self.folder.path().join("surf.mp4");
        self.stack.upload(&name, &surf).await;
        name
    }

    async fn running_clip(&self) -> String {
        let name = self.name();
        self.stack.behave(&name, json!({"stall": true}));
        let request = self.stack.request(&name, "KEY", &json!(1), &json!(31));
        self.stack.send(&request.to_string()).await;
        eventually("the execution to begin", async || {
            (self.stack.clipflow(&["show", &name]).1 == 0).then_some(())
        })
        .await;
        name
    }

    /// The identifier of a message in the dead-letter queue.
    async fn dead_letter(&self) -> String {
        let send = self.stack.sqs.send_message();
        let queue = &self.stack.description.dead_letter_queue_url;
        let sent = send.queue_url(queue).message_body(self.name()).send().await;
        let id = sent.expect("the message can be sent").message_id;
        id.expect("an identifier")
    }
}

fn words(command: &str) -> Vec<String> {
    shlex::split(command).unwrap_or_else(|| panic!("{command}: its quotes"))
}

/// Runs a command to its end. Returns its output as an error unless it ends with this code.
fn ended(command: &mut Command, code: i32) -> Result<(), String> {
    let output = command.output().expect("clipflow runs");
    if output.status.code() == Some(code) {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!(
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&said)
    ))
}
