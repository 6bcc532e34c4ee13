//! Runs functions like Lambda: the program from the package in a separate process, with our own Runtime API.

use crate::{
    Outcome,
    http::{self, Connection, Request},
    usage,
};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
    time::{Duration, Instant, SystemTime},
};

/// How long a process may take to its first poll.
const START_LIMIT: Duration = Duration::from_secs(20);
/// The longest timeout that a Lambda can have.
const INVOCATION_LIMIT: Duration = Duration::from_mins(15);
/// The memory that two vCPUs come with, in MB.
const MEMORY_MB: &str = "3538";

/// A running function.
#[derive(Debug)]
pub struct Function {
    name: String,
    process: Child,
    /// The time from before the process was created to its first request for an event.
    pub start: Duration,
    events: Sender<Vec<u8>>,
    answers: Receiver<Result<Value, String>>,
}

/// Where the functions' programs are, and the functions' environment.
#[derive(Debug, Clone)]
pub struct Environment<'a> {
    /// The folder with the programs.
    pub programs: &'a Path,
    /// The folder that logs go to.
    pub logs: &'a Path,
    /// URL of S3.
    pub s3: String,
}

impl Environment<'_> {
    fn variables(&self) -> [(&str, &str); 28] {
        [
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MEMORY_MB),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "bench"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "bench"),
            ("AWS_SECRET_ACCESS_KEY", "bench"),
            ("AWS_ENDPOINT_URL", &self.s3),
            ("CLIPFLOW_BUCKET", crate::CLIPS),
            ("CLIPFLOW_DEFAULT_FORMAT", "mp4"),
            ("CLIPFLOW_SOURCE_BUCKETS", crate::ARCHIVE),
            ("CLIPFLOW_MAX_CLIP_SECONDS", "10800"),
            ("CLIPFLOW_MAX_COST_USD", "5"),
            ("CLIPFLOW_MAX_TRIM_SECONDS", "600"),
            ("CLIPFLOW_HEVC_SMART_CUTS", "true"),
            ("CLIPFLOW_TRIM_MEMORY_MB", MEMORY_MB),
            ("CLIPFLOW_TRIM_TIMEOUT_SECONDS", "900"),
            ("CLIPFLOW_SCRATCH_BYTES", "10737418240"),
            ("CLIPFLOW_MAX_WHOLE_SOURCE_BYTES", "524288000"),
            (
                "CLIPFLOW_STATE_MACHINE_ARN",
                "arn:aws:states:us-east-1:000000000000:stateMachine:clip",
            ),
            (
                "CLIPFLOW_TOPIC_ARN",
                "arn:aws:sns:us-east-1:000000000000:clips",
            ),
            ("CLIPFLOW_DEPLOYMENT", "clipflow"),
            ("CLIPFLOW_DESCRIBE_INTERVAL_MS", "1000"),
            ("CLIPFLOW_MONGODB_URI_SECRET", "clipflow/mongodb-uri"),
            ("CLIPFLOW_MONGODB_DATABASE", "clipflow"),
            (
                "CLIPFLOW_MEDIACONVERT_ROLE_ARN",
                "arn:aws:iam::000000000000:role/mediaconvert",
            ),
            (
                "CLIPFLOW_MEDIACONVERT_QUEUE_ARN",
                "arn:aws:mediaconvert:us-east-1:000000000000:queues/Default",
            ),
        ]
    }
}

impl Function {
    /// Starts a function and waits for its first request for an event.
    ///
    /// # Errors
    /// If the program does not exist, or does not ask within 20 s.
    pub fn start(name: &str, environment: &Environment) -> Outcome<Self> {
        let (polled, polls) = mpsc::channel();
        let (events, next) = mpsc::channel();
        let (answered, answers) = mpsc::channel();
        let api = RuntimeApi {
            polled,
            next: Mutex::new(next),
            answered,
        };
        let address = http::serve(move |connection, request| api.answer(connection, request))?;
        fs::create_dir_all(environment.logs)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(environment.logs.join(format!("{name}.log")))?;
        let program = environment.programs.join(name);
        let mut command = Command::new(&program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .envs(environment.variables())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let begun = Instant::now();
        let process = command
            .spawn()
            .map_err(|error| format!("starting {}: {error}", program.display()))?;
        let mut function = Self {
            name: name.to_owned(),
            process,
            start: Duration::ZERO,
            events,
            answers,
        };
        let first_poll: Instant = polls
            .recv_timeout(START_LIMIT)
            .map_err(|_| format!("{name} did not ask for an event; see its log"))?;
        function.start = first_poll - begun;
        Ok(function)
    }

    /// Lets the function handle an event; returns its answer, and the time from the event to the answer.
    ///
    /// # Errors
    /// The function's own, as text.
    pub fn invoke(&self, event: &Value) -> Outcome<(Value, Duration)> {
        let begun = Instant::now();
        self.events.send(serde_json::to_vec(event)?)?;
        let answer = self.answers.recv_timeout(INVOCATION_LIMIT)?;
        let took = begun.elapsed();
        Ok((
            answer.map_err(|error| format!("{}: {error}", self.name))?,
            took,
        ))
    }

    /// The CPU time of the process and its children so far.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn processor_time(&self) -> Outcome<Duration> {
        usage::processor_time(self.process.id())
    }

    /// The peak resident memory of the process so far, in bytes.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn peak_memory_bytes(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        Ok(peak.ok_or("the process has ended")?.parse::<u64>()? * 1024)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The Runtime API that a function talks to.
struct RuntimeApi {
    polled: Sender<Instant>,
    next: Mutex<Receiver<Vec<u8>>>,
    answered: Sender<Result<Value, String>>,
}

impl RuntimeApi {
    fn answer(&self, connection: &mut Connection, request: &Request) -> io::Result<()> {
        match request.path.rsplit('/').next() {
            Some("next") => {
                // Nobody waits for later polls.
                let _ = self.polled.send(Instant::now());
                let event = self
                    .next
                    .lock()
                    .expect("no thread panics")
                    .recv()
                    .map_err(io::Error::other)?;
                let deadline = SystemTime::now() + INVOCATION_LIMIT;
                let deadline = deadline
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_err(io::Error::other)?
                    .as_millis();
                let headers = [
                    ("Lambda-Runtime-Aws-Request-Id", "1"),
                    ("Lambda-Runtime-Deadline-Ms", &deadline.to_string()),
                    (
                        "Lambda-Runtime-Invoked-Function-Arn",
                        "arn:aws:lambda:us-east-1:000000000000:function:bench",
                    ),
                ];
                connection
                    .answer(200, &headers, event.len() as u64)?
                    .write_all(&event)
            }
            outcome => {
                let mut body = Vec::new();
                connection
                    .body(request.body_bytes())
                    .read_to_end(&mut body)?;
                self.answered
                    .send(match outcome {
                        Some("response") => {
                            serde_json::from_slice(&body).map_err(|error| error.to_string())
                        }
                        _ => Err(String::from_utf8_lossy(&body).into_owned()),
                    })
                    .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                connection.answer(202, &[], 0)?;
                Ok(())
            }
        }
    }
}
