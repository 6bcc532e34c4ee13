//! Runs files through the functions, and finds faults.

use crate::{
    Case, canary,
    worker::{Job, Said, Step},
};
use model::ErrorKind;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a rejection may take.
pub const REJECTION_TIME: Duration = Duration::from_secs(10);
/// How long a clip of one second may take, with any pictures.
const CLIP_TIME: Duration = Duration::from_secs(90);
/// How often memory is polled.
const INTERVAL: Duration = Duration::from_millis(10);

/// The result for a file, cut in one way.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The case's name and how it was cut.
    pub name: String,
    /// The worker's last message; `None` if it ended or was killed.
    pub said: Option<Said>,
    pub took: Duration,
    /// Peak resident memory of the function and its programs, in bytes, by step.
    pub peaks: BTreeMap<String, u64>,
    /// What is wrong with the result.
    pub faults: Vec<String>,
}

/// Runs cases in `processes` concurrent workers, each case cut in both ways, and passes on each verdict. `program` is
/// run as a worker with the argument `work`.
///
/// # Panics
/// If the program cannot be started.
#[must_use]
pub fn run(
    program: &Path,
    cases: &[Case],
    processes: usize,
    heard: impl Fn(&Verdict) + Sync,
) -> Vec<Verdict> {
    let next = Mutex::new(cases.iter());
    let verdicts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..processes {
            scope.spawn(|| {
                let mut worker = Worker::start(program);
                loop {
                    let Some(case) = next.lock().expect("no worker panicked").next() else {
                        break;
                    };
                    for cut in ["copy", "exact"] {
                        let verdict = worker.judge(case, cut);
                        heard(&verdict);
                        verdicts.lock().expect("no worker panicked").push(verdict);
                    }
                }
            });
        }
    });
    verdicts.into_inner().expect("no worker panicked")
}

/// A worker process.
struct Worker {
    program: PathBuf,
    folder: TempDir,
    process: Child,
    orders: ChildStdin,
    said: Receiver<Said>,
}

impl Worker {
    fn start(program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let errors = fs::File::create(folder.path().join("stderr")).expect("a file");
        let scratch = folder.path().join("tmp");
        fs::create_dir_all(&scratch).expect("a folder");
        let mut process = Command::new(program)
            .arg("work")
            .env("TMPDIR", scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the program that works");
        let orders = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let (sender, said) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let said = serde_json::from_str(&line).expect("what a worker says");
                if sender.send(said).is_err() {
                    return;
                }
            }
        });
        Self {
            program: program.to_owned(),
            folder,
            process,
            orders,
            said,
        }
    }

    /// Cuts a case, and starts another process if this one did not finish it.
    fn judge(&mut self, case: &Case, cut: &str) -> Verdict {
        let file = self.folder.path().join("source");
        fs::write(&file, &case.file).expect("room for the file");
        let [start, end] = &case.interval;
        let request = json!({"clipId": "hostile", "start": start, "end": end, "cut": cut,
            "output": {"thumbnails": [64], "preview": "gif"}});
        let key = case.key.clone();
        let job = serde_json::to_string(&Job { file, key, request }).expect("JSON");
        let begun = Instant::now();
        writeln!(self.orders, "{job}").expect("it listens");
        let mut peaks = BTreeMap::new();
        let said = self.listen(begun, &mut peaks);
        let mut verdict = Verdict {
            name: format!("{}, {cut}", case.name),
            took: begun.elapsed(),
            faults: Vec::new(),
            said,
            peaks,
        };
        verdict.faults = self.faults(&verdict);
        if verdict.said.is_none() {
            *self = Self::start(&self.program.clone());
        }
        verdict
    }

    /// The worker's last message about a case; `None` if it ends or takes too long.
    fn listen(&mut self, begun: Instant, peaks: &mut BTreeMap<String, u64>) -> Option<Said> {
        let mut step = Step::Validate;
        while begun.elapsed() < CLIP_TIME {
            match self.said.recv_timeout(INTERVAL) {
                Ok(Said::Begun(next)) => step = next,
                Ok(ended) => return Some(ended),
                Err(RecvTimeoutError::Timeout) => {
                    let bytes = resident_bytes(self.process.id());
                    let peak = peaks.entry(format!("{step:?}")).or_default();
                    *peak = bytes.max(*peak);
                    if bytes > step.memory_bytes() {
                        return None;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    fn faults(&mut self, verdict: &Verdict) -> Vec<String> {
        let mut faults = Vec::new();
        match &verdict.said {
            None => faults.push(self.why_none(verdict)),
            Some(Said::Raised { error, message }) => {
                let is_rejection = ErrorKind::of_name(error).is_some_and(ErrorKind::is_rejection);
                if !is_rejection {
                    faults.push(format!("{error}: {message}"));
                }
                if verdict.took > REJECTION_TIME {
                    faults.push(format!(
                        "it took {:.1} s to say {error}: {message}",
                        verdict.took.as_secs_f64()
                    ));
                }
                if canary::is_told(message.as_bytes()) {
                    faults.push(format!("the message has the canary's text: {message}"));
                }
            }
            Some(Said::Delivered { told }) => {
                faults.extend(
                    told.iter()
                        .map(|key| format!("{key} contains the canary's text")),
                );
            }
            Some(Said::HandedOver(_) | Said::Begun(_)) => {}
        }
        faults
    }

    /// Why a case did not finish.
    fn why_none(&mut self, verdict: &Verdict) -> String {
        let ended = self.process.try_wait().expect("its state");
        let errors = fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
        let last: Vec<_> = errors.lines().rev().take(6).collect();
        match ended {
            Some(status) => format!("the function ended ({status}): {last:?}"),
            None if verdict.took >= CLIP_TIME => "it hangs".to_owned(),
            None => format!("it takes too much memory: {:?}", verdict.peaks),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Its programs end with it: they are killed when their output pipe closes, or when their time is up.
        for process in children(self.process.id()) {
            let _ = Command::new("kill")
                .args(["-KILL", &process.to_string()])
                .status();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The resident memory of a process and its children, in bytes (proc(5)).
fn resident_bytes(process: u32) -> u64 {
    let own = |process: u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes =
            line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.unwrap_or(0) << 10
    };
    own(process) + children(process).map(own).sum::<u64>()
}

/// The child processes of a process (proc(5), `stat`: the fourth field).
fn children(parent: u32) -> impl Iterator<Item = u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(move |process| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let behind_name = stat.rsplit_once(") ").map(|(_, fields)| fields);
        let its_parent = behind_name.and_then(|fields| fields.split(' ').nth(1)?.parse().ok());
        its_parent == Some(parent)
    })
}
