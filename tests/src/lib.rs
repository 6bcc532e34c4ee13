//! Shared by the tests on the local stack: the stack's parts, sources made by `FFmpeg`, and waiting for conditions.

mod functions;
pub mod markdown;
pub mod parts;
pub mod services;

pub use functions::Before;

use aws_sdk_mediaconvert::types::Job;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sqs::types::QueueAttributeName;
use mongodb::bson::{Document, doc};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock},
    time::{Duration, Instant},
};

/// How long to wait for anything that the stack does.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often to poll.
const INTERVAL: Duration = Duration::from_millis(200);

/// A stack, as described by `local/` in `stack.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Description {
    /// URL of the AWS APIs.
    pub endpoint: String,
    /// URL of `MediaConvert`.
    pub mediaconvert_endpoint: String,
    /// Their region.
    pub region: String,
    /// The prefix of the names of the deployment's parts.
    pub name_prefix: String,
    /// The functions' names, by function.
    pub function_names: HashMap<String, String>,
    /// The queue of requests.
    pub queue_url: String,
    /// By function, the queue of its events.
    pub event_queue_urls: HashMap<String, String>,
    /// The queue for messages that cannot be handled.
    pub dead_letter_queue_url: String,
    /// The state machine.
    pub state_machine_arn: String,
    /// The topic that outcomes are announced on.
    pub topic_arn: String,
    /// The bucket that clips are written to.
    pub bucket: String,
    /// A bucket that sources may be in.
    pub source_bucket: String,
    /// A queue that is subscribed to the topic.
    pub subscriber_queue_url: String,
    /// The URI of `MongoDB`.
    pub mongodb_uri: String,
    /// The database.
    pub mongodb_database: String,
    /// A folder with `ffmpeg` and `ffprobe`.
    pub bin: PathBuf,
    /// The command `clipflow`.
    pub clipflow: PathBuf,
    /// A folder with real footage.
    pub footage: PathBuf,
}

/// The running stack and its clients.
#[derive(Debug, Clone)]
pub struct Stack {
    /// What it consists of.
    pub description: Description,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// `MediaConvert`.
    pub mediaconvert: aws_sdk_mediaconvert::Client,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// Step Functions.
    pub sfn: aws_sdk_sfn::Client,
    /// SNS.
    pub sns: aws_sdk_sns::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// The clips' documents.
    pub clips: mongodb::Collection<Document>,
}

/// An execution that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its ARN.
    pub arn: String,
    /// `SUCCEEDED`, `FAILED`, …
    pub status: String,
    /// Its output; null unless it succeeded.
    pub output: Value,
    /// The states that were entered, in order.
    pub states: Vec<String>,
    /// The error that it failed with, and its cause.
    pub failure: (String, String),
}

/// Received notifications, by `clipId`. The test that receives one stores it for the test that waits for it.
static RECEIVED: OnceLock<Mutex<HashMap<String, Vec<Value>>>> = OnceLock::new();

impl Stack {
    /// Connects as [`connect`](Self::connect), as the only test of its program until the guard is dropped.
    pub async fn connect_alone() -> (tokio::sync::MutexGuard<'static, ()>, Self) {
        static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        (ALONE.lock().await, Self::connect().await)
    }

    /// The stack that `CLIPFLOW_STACK` names.
    ///
    /// # Panics
    /// If there is none: `make test` brings it up.
    pub async fn connect() -> Self {
        let path = std::env::var("CLIPFLOW_STACK")
            .expect("CLIPFLOW_STACK names a stack.json; `make test` sets it");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let description: Description = serde_json::from_str(&text).expect("stack.json is complete");
        let credentials =
            aws_sdk_s3::config::Credentials::new("test", "test", None, None, "stack.json");
        let config = aws::sdk::sdk_config_loader(aws::sdk::Waits::default())
            .endpoint_url(&description.endpoint)
            .region(aws_config::Region::new(description.region.clone()))
            .credentials_provider(credentials)
            .load()
            .await;
        let mongo = mongodb::Client::with_uri_str(&description.mongodb_uri)
            .await
            .expect("the URI can be used");
        let mediaconvert = aws_sdk_mediaconvert::config::Builder::from(&config);
        let mediaconvert = mediaconvert
            .endpoint_url(&description.mediaconvert_endpoint)
            .build();
        Self {
            cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
            mediaconvert: aws_sdk_mediaconvert::Client::from_conf(mediaconvert),
            s3: aws_sdk_s3::Client::new(&config),
            sfn: aws_sdk_sfn::Client::new(&config),
            sns: aws_sdk_sns::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            clips: mongo
                .database(&description.mongodb_database)
                .collection("clips"),
            description,
        }
    }

    /// Puts a file into the bucket of sources.
    pub async fn upload(&self, key: &str, file: &Path) {
        let body = ByteStream::from_path(file)
            .await
            .expect("the file can be read");
        let put = self
            .s3
            .put_object()
            .bucket(&self.description.source_bucket)
            .key(key)
            .body(body);
        put.send().await.expect("the source can be uploaded");
    }

    /// A request for a clip of `key`.
    #[must_use]
    pub fn request(&self, clip_id: &str, key: &str, start: &Value, end: &Value) -> Value {
        let source = json!({"bucket": self.description.source_bucket, "key": key});
        json!({"clipId": clip_id, "source": source, "start": start, "end": end})
    }

    /// Sends a message to the request queue.
    pub async fn send(&self, body: &str) {
        let send = self
            .sqs
            .send_message()
            .queue_url(&self.description.queue_url)
            .message_body(body);
        send.send().await.expect("the message can be sent");
    }

    /// Sets the visibility timeout of a queue, in seconds; returns what it was.
    pub async fn set_visibility_timeout(&self, queue: &str, seconds: &str) -> String {
        let name = QueueAttributeName::VisibilityTimeout;
        let get = self
            .sqs
            .get_queue_attributes()
            .queue_url(queue)
            .attribute_names(name.clone());
        let mut attributes = get
            .send()
            .await
            .expect("the queue answers")
            .attributes
            .expect("it has attributes");
        let set = self
            .sqs
            .set_queue_attributes()
            .queue_url(queue)
            .attributes(name.clone(), seconds);
        set.send().await.expect("the timeout can be set");
        attributes
            .remove(&name)
            .expect("it has a visibility timeout")
    }

    /// Sends a request and waits for the end of its execution.
    pub async fn run(&self, request: &Value) -> Ended {
        self.send(&request.to_string()).await;
        self.ended(request).await
    }

    /// The ARN of the execution of a request.
    #[must_use]
    pub fn execution_arn(&self, request: &Value) -> String {
        let sent = model::sent::read(&request.to_string()).expect("JSON");
        let name = model::identity::Identity::of(&sent).execution_name();
        format!(
            "{}:{name}",
            self.description
                .state_machine_arn
                .replace(":stateMachine:", ":execution:")
        )
    }

    /// The jobs that were submitted for a clip.
    pub async fn jobs(&self, clip_id: &str) -> Vec<Job> {
        let mark = format!("clips/{clip_id}/");
        let mut pages = self.mediaconvert.list_jobs().into_paginator().send();
        let mut jobs = Vec::new();
        while let Some(page) = pages.next().await {
            let of_clip = |job: &Job| {
                job.user_metadata()
                    .is_some_and(|all| all.values().any(|value| value.contains(&mark)))
            };
            jobs.extend(
                page.expect("jobs")
                    .jobs()
                    .iter()
                    .filter(|job| of_clip(job))
                    .cloned(),
            );
        }
        jobs
    }

    /// Tells the stand-in for `MediaConvert` how to run a clip's jobs.
    pub fn behave(&self, clip_id: &str, mut behaviour: Value) {
        behaviour["destination"] = format!("clips/{clip_id}/").into();
        let url = format!("{}/_behaviour", self.description.mediaconvert_endpoint);
        ureq::put(&url)
            .send(&behaviour.to_string())
            .expect("the stand-in understands the behaviour");
    }

    /// Waits for the end of a request's execution.
    pub async fn ended(&self, request: &Value) -> Ended {
        self.ended_execution(self.execution_arn(request)).await
    }

    /// Waits for the end of an execution.
    pub async fn ended_execution(&self, arn: String) -> Ended {
        let what = format!("the end of {arn}");
        let described = eventually(&what, async || {
            let described = self
                .sfn
                .describe_execution()
                .execution_arn(&arn)
                .send()
                .await
                .ok()?;
            (described.status().as_str() != "RUNNING").then_some(described)
        })
        .await;
        Ended {
            states: self.states(&arn).await,
            status: described.status().as_str().to_owned(),
            failure: (
                described.error().unwrap_or_default().to_owned(),
                described.cause().unwrap_or_default().to_owned(),
            ),
            output: described.output().map_or(Value::Null, |output| {
                serde_json::from_str(output).expect("JSON")
            }),
            arn,
        }
    }

    /// The states that an execution entered, in order.
    pub async fn states(&self, arn: &str) -> Vec<String> {
        let history = self
            .sfn
            .get_execution_history()
            .execution_arn(arn)
            .max_results(1000)
            .send()
            .await;
        let events = history.expect("the history can be read").events;
        events
            .into_iter()
            .filter_map(|event| Some(event.state_entered_event_details?.name))
            .collect()
    }

    /// The document of a clip, without the fields that only `MongoDB` has.
    pub async fn document(&self, clip_id: &str) -> Option<Document> {
        self.clips
            .find_one(doc! {"_id": clip_id})
            .await
            .expect("MongoDB answers")
    }

    /// Waits until the document of a clip has a status.
    pub async fn document_that_is(&self, clip_id: &str, status: &str) -> Document {
        eventually(
            &format!("a document of {clip_id} that is {status}"),
            async || {
                self.document(clip_id)
                    .await
                    .filter(|document| document.get_str("status").ok() == Some(status))
            },
        )
        .await
    }

    /// Waits for a notification about a clip: the SNS envelope with its `Message` parsed.
    pub async fn notification(&self, clip_id: &str) -> Value {
        eventually(&format!("a notification about {clip_id}"), async || {
            self.receive().await;
            received()
                .get_mut(clip_id)
                .filter(|messages| !messages.is_empty())
                .map(|messages| messages.remove(0))
        })
        .await
    }

    /// All notifications that have arrived, by `clipId`, except those that a test has waited for.
    pub async fn notifications(&self) -> HashMap<String, Vec<Value>> {
        while self.receive().await > 0 {}
        std::mem::take(&mut received())
    }

    /// Receives notifications; returns how many.
    async fn receive(&self) -> usize {
        let queue = &self.description.subscriber_queue_url;
        let batch = self
            .sqs
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10)
            .send()
            .await;
        let messages = batch.expect("the subscriber's queue answers").messages;
        let messages = messages.unwrap_or_default();
        let count = messages.len();
        for message in messages {
            let mut envelope: Value =
                serde_json::from_str(message.body().unwrap_or_default()).expect("an envelope");
            let text = envelope["Message"].as_str().expect("a message").to_owned();
            envelope["Message"] = serde_json::from_str(&text).expect("an outcome");
            let clip_id = envelope["Message"]["clipId"]
                .as_str()
                .expect("a clipId")
                .to_owned();
            received().entry(clip_id).or_default().push(envelope);
            let delete = self
                .sqs
                .delete_message()
                .queue_url(queue)
                .set_receipt_handle(message.receipt_handle);
            delete.send().await.expect("the message can be deleted");
        }
        count
    }

    /// Downloads an object from the clips bucket.
    pub async fn download(&self, key: &str, to: &Path) {
        let got = self
            .s3
            .get_object()
            .bucket(&self.description.bucket)
            .key(key)
            .send()
            .await;
        let body = got
            .unwrap_or_else(|error| panic!("{key}: {error:?}"))
            .body
            .collect()
            .await
            .expect("a body");
        std::fs::write(to, body.into_bytes()).expect("the file can be written");
    }

    /// Runs `clipflow --local --json` with more arguments. Returns the parsed output and the exit code.
    #[must_use]
    pub fn clipflow(&self, arguments: &[&str]) -> (Value, i32) {
        let output = run_to_end(
            Command::new(&self.description.clipflow)
                .args(["--local", "--json"])
                .args(arguments),
        );
        let code = output.status.code().expect("no signal ended it");
        let said = String::from_utf8_lossy(&output.stderr);
        let value = serde_json::from_slice(&output.stdout);
        (value.unwrap_or_else(|_| json!({"stderr": said})), code)
    }

    /// Runs `ffmpeg` with a line of arguments.
    ///
    /// # Panics
    /// If it fails, with its output.
    pub fn ffmpeg(&self, arguments: &[&str]) {
        let mut command = Command::new(self.description.bin.join("ffmpeg"));
        let output = run_to_end(
            command
                .args(["-v", "error", "-y", "-nostdin"])
                .args(arguments),
        );
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The brightness of the upper left corner of every frame of a file.
    ///
    /// # Panics
    /// If the file cannot be decoded.
    #[must_use]
    pub fn brightness(&self, file: &Path) -> Vec<u8> {
        let raw = file.with_extension("raw");
        let paths = [file.to_str().expect("UTF-8"), raw.to_str().expect("UTF-8")];
        let shape = [
            "-vf",
            "crop=2:2:0:0,extractplanes=y",
            "-fps_mode",
            "passthrough",
            "-f",
            "rawvideo",
        ];
        self.ffmpeg(&[&["-i", paths[0]], &shape[..], &[paths[1]]].concat());
        std::fs::read(raw)
            .expect("frames")
            .into_iter()
            .step_by(4)
            .collect()
    }

    /// What `ffprobe` says about a file, with all frames counted.
    #[must_use]
    pub fn ffprobe(&self, file: &Path) -> Value {
        let mut command = Command::new(self.description.bin.join("ffprobe"));
        let options = [
            "-v",
            "error",
            "-of",
            "json",
            "-count_frames",
            "-show_streams",
            "-show_format",
        ];
        let output = run_to_end(command.args(options).arg(file));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

fn run_to_end(command: &mut Command) -> std::process::Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()))
}

fn received() -> MutexGuard<'static, HashMap<String, Vec<Value>>> {
    let received = RECEIVED.get_or_init(Mutex::default);
    received.lock().expect("no test panicked meanwhile")
}

/// The key of a recording in the deployment's template.
///
/// # Panics
/// Never: the template is valid.
#[must_use]
pub fn recording_key(camera: &str, start_ms: i64) -> String {
    let template = "recordings/{camera}/{start:%Y/%m/%d}/{camera}.{start:%Y%m%dT%H%M%S%3f}.mp4";
    template
        .parse::<model::recordings::KeyTemplate>()
        .expect("a template")
        .key(camera, start_ms)
}

/// Waits until `condition` returns something.
///
/// # Panics
/// If it does not within two minutes; the message says `what` was waited for.
pub async fn eventually<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, condition).await
}

/// Waits until `condition` returns something.
///
/// # Panics
/// When it does not within `patience`, naming `what` was waited for.
pub async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    condition: impl AsyncFn() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(
            begun.elapsed() < patience,
            "waited {} s for {what}",
            patience.as_secs()
        );
        tokio::time::sleep(INTERVAL).await;
    }
}
