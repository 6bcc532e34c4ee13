//! Executions as Step Functions returns them, and a cache of those that have ended.

use crate::when;
use aws_sdk_sfn::{
    operation::describe_execution::DescribeExecutionOutput,
    types::{ExecutionListItem, ExecutionRedriveStatus, ExecutionStatus},
};
use clap::ValueEnum;
use model::{ErrorKind, execution::ExecutionName};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};
use time::OffsetDateTime;

/// How many executions are cached at most: some tens of megabytes.
const MAX_KEPT: usize = 10_000;

/// What became of a clip, or is becoming of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// The execution is under way
    Running,
    /// There is a clip
    Available,
    /// The request, its source or a limit is at fault
    Rejected,
    /// Something else failed or timed out; rerun it once the cause is fixed
    Failed,
    /// Somebody stopped the execution
    Aborted,
}

impl Status {
    /// The name, for people and for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Available => "available",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }

    /// The Step Functions statuses that it may correspond to.
    pub fn of_step_functions(self) -> &'static [ExecutionStatus] {
        match self {
            Self::Running => &[ExecutionStatus::Running],
            Self::Available | Self::Rejected => &[ExecutionStatus::Succeeded],
            Self::Failed => &[ExecutionStatus::Failed, ExecutionStatus::TimedOut],
            Self::Aborted => &[ExecutionStatus::Aborted],
        }
    }

    fn of(status: &ExecutionStatus, output: &Value) -> Self {
        match status {
            ExecutionStatus::Succeeded if output["status"] == "rejected" => Self::Rejected,
            ExecutionStatus::Succeeded => Self::Available,
            ExecutionStatus::Failed | ExecutionStatus::TimedOut => Self::Failed,
            ExecutionStatus::Aborted => Self::Aborted,
            _ => Self::Running,
        }
    }
}

/// An execution in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its ARN.
    pub arn: String,
    /// Its parsed name; `None` if somebody started it by hand.
    pub name: Option<ExecutionName>,
    /// Its status in Step Functions.
    pub status: ExecutionStatus,
    /// When it was first started.
    pub started_at: OffsetDateTime,
    /// Its position in Step Functions' lists, which are newest first: when it ended or, while it runs, started.
    pub position: OffsetDateTime,
}

/// An execution with its input and output.
#[derive(Debug, Clone)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The status of the clip.
    pub status: Status,
    /// When it was first started.
    pub started_at: OffsetDateTime,
    /// When it ended, if it has.
    pub stopped_at: Option<OffsetDateTime>,
    /// How often it was redriven.
    pub redrive_count: i32,
    /// Whether Step Functions says that it cannot be redriven.
    pub not_redrivable: bool,
    /// The request.
    pub input: Value,
    /// The request, byte for byte.
    pub input_text: String,
    /// The outcome; null unless there is one.
    pub output: Value,
    error: Option<String>,
    cause: Option<String>,
}

impl Execution {
    /// The clip that it makes.
    pub fn clip_id(&self) -> &str {
        let sent = || {
            self.input["clipId"]
                .as_str()
                .filter(|id| self.name.starts_with(id))
        };
        self.output["clipId"]
            .as_str()
            .or_else(sent)
            .unwrap_or_else(|| clip_id_in(&self.name))
    }

    /// The name of the error, if there is no clip.
    pub fn error(&self) -> Option<&str> {
        match self.status {
            Status::Running | Status::Available => None,
            Status::Rejected => self.output["reason"].as_str(),
            Status::Failed => Some(self.error.as_deref().unwrap_or("States.Timeout")),
            Status::Aborted => self.error.as_deref(),
        }
    }

    /// What is wrong, for people, if there is no clip.
    pub fn message(&self) -> Option<String> {
        match self.status {
            Status::Rejected => self.output["message"].as_str().map(str::to_owned),
            _ => self.cause.as_deref().map(message_in),
        }
    }

    /// Whether its name, request, outcome or error contains a text, ignoring case.
    pub fn has(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let output = self.output.to_string();
        let cause = self.cause.as_deref().unwrap_or_default();
        let places = [&self.name, &self.input_text, &output, cause];
        places
            .iter()
            .any(|place| place.to_lowercase().contains(&text))
    }

    /// How long it has taken, in seconds.
    pub fn seconds(&self) -> f64 {
        (self.stopped_at.unwrap_or_else(OffsetDateTime::now_utc) - self.started_at).as_seconds_f64()
    }

    /// Whether it can be redriven or started again.
    pub fn is_rerunnable(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Aborted)
    }

    /// Whether it was rejected for something that may be fixed without changing the request.
    pub fn is_mendable(&self) -> bool {
        let kind = self.error().and_then(ErrorKind::of_name);
        self.status == Status::Rejected && kind.is_some_and(ErrorKind::is_mendable)
    }

    /// Whether a new execution of the same request may follow it.
    pub fn may_be_followed(&self) -> bool {
        self.is_rerunnable() || self.is_mendable()
    }

    /// The JSON that every command prints for an execution.
    pub fn json(&self) -> Value {
        let mut value = json!({
            "clipId": self.clip_id(),
            "status": self.status,
            "execution": {
                "name": self.name,
                "arn": self.arn,
                "startedAt": when::rfc3339(self.started_at),
                "redriveCount": self.redrive_count,
            },
        });
        if let Some(at) = self.stopped_at {
            value["execution"]["stoppedAt"] = when::rfc3339(at).into();
        }
        if let Some(error) = self.error() {
            value["reason"] = error.into();
        }
        if let Some(message) = self.message() {
            value["message"] = message.into();
        }
        for field in ["cameraId", "engine"] {
            let known = [&self.input[field], &self.output[field]]
                .into_iter()
                .find(|value| !value.is_null());
            if let Some(known) = known {
                value[field] = known.clone();
            }
        }
        value
    }
}

impl From<DescribeExecutionOutput> for Execution {
    fn from(described: DescribeExecutionOutput) -> Self {
        let parsed = |text: &Option<String>| {
            text.as_deref()
                .and_then(|text| serde_json::from_str(text).ok())
        };
        let output = parsed(&described.output).unwrap_or(Value::Null);
        Self {
            status: Status::of(&described.status, &output),
            name: described.name.unwrap_or_default(),
            arn: described.execution_arn,
            started_at: when::of_sdk(&described.start_date),
            stopped_at: described.stop_date.as_ref().map(when::of_sdk),
            redrive_count: described.redrive_count.unwrap_or(0),
            not_redrivable: described.redrive_status == Some(ExecutionRedriveStatus::NotRedrivable),
            input: parsed(&described.input).unwrap_or(Value::Null),
            input_text: described.input.unwrap_or_default(),
            output,
            error: described.error,
            cause: described.cause,
        }
    }
}

impl From<&ExecutionListItem> for Listed {
    fn from(item: &ExecutionListItem) -> Self {
        Self {
            arn: item.execution_arn.clone(),
            name: ExecutionName::parse(&item.name),
            status: item.status.clone(),
            started_at: when::of_sdk(&item.start_date),
            position: when::of_sdk(item.stop_date.as_ref().unwrap_or(&item.start_date)),
        }
    }
}

/// Cached executions that have ended, by when they started. A list shows whether a cached one is still valid.
#[derive(Debug, Default)]
pub struct Kept(Mutex<BTreeMap<(OffsetDateTime, String), Execution>>);

impl Kept {
    /// Passes the listed execution to `see`, unless it was never read or is running again.
    pub fn with<T>(&self, listed: &Listed, see: impl FnOnce(&Execution) -> T) -> Option<T> {
        let key = (listed.started_at, listed.arn.clone());
        let executions = self.executions();
        let kept = executions.get(&key)?;
        (kept.stopped_at == Some(listed.position)).then(|| see(kept))
    }

    /// The cached execution with this ARN, if it succeeded.
    pub fn succeeded(&self, arn: &str) -> Option<Execution> {
        let executions = self.executions();
        let mut kept = executions.values().filter(|one| one.arn == arn);
        kept.find(|one| matches!(one.status, Status::Available | Status::Rejected))
            .cloned()
    }

    /// How many of these are not cached.
    pub fn lacks(&self, listed: &[Listed]) -> usize {
        let is_lacking = |one: &&Listed| self.with(one, |_| ()).is_none();
        listed.iter().filter(is_lacking).count()
    }

    /// Caches an execution, evicting the oldest if necessary.
    pub fn keep(&self, execution: &Execution) {
        let key = (execution.started_at, execution.arn.clone());
        let mut executions = self.executions();
        executions.remove(&key);
        if execution.status != Status::Running {
            executions.insert(key, execution.clone());
        }
        while executions.len() > MAX_KEPT {
            executions.pop_first();
        }
    }

    fn executions(&self) -> MutexGuard<'_, BTreeMap<(OffsetDateTime, String), Execution>> {
        self.0.lock().expect("nothing panics meanwhile")
    }
}

/// The readable part of a cause: the message of a Lambda function's error, or the whole cause.
pub fn message_in(cause: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(cause).ok();
    let message = parsed
        .as_ref()
        .and_then(|error| error["errorMessage"].as_str());
    message.unwrap_or(cause).to_owned()
}

fn clip_id_in(name: &str) -> &str {
    ExecutionName::parse(name).map_or(name, |parsed| &name[..parsed.clip_id.len()])
}
