//! A state machine whose executions end at once, as their input says, so that there can be a thousand of them.

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tests::Stack;

/// Executions that are started concurrently.
const AT_ONCE: usize = 8;

/// The state machine, and the `stack.json` that names it.
pub struct Toy<'a> {
    stack: &'a Stack,
    arn: String,
    pub stack_json: PathBuf,
}

impl<'a> Toy<'a> {
    /// Creates the state machine.
    pub async fn new(stack: &'a Stack, folder: &Path, name: &str) -> Self {
        let definition = json!({"QueryLanguage": "JSONata", "StartAt": "Choose", "States": {
            "Choose": {"Type": "Choice", "Default": "Done", "Choices": [
                {"Condition": "{% $exists($states.input.error) %}", "Next": "Broken"},
                {"Condition": "{% $exists($states.input.waits) %}", "Next": "Waits"}]},
            "Waits": {"Type": "Wait", "Seconds": 3600, "Next": "Done"},
            "Done": {"Type": "Pass", "Output": "{% $states.input.outcome %}", "End": true},
            "Broken": {"Type": "Fail", "Error": "{% $states.input.error %}", "Cause": "{% $states.input.cause %}"}}});
        let create = stack
            .sfn
            .create_state_machine()
            .name(format!("{name}-{}", std::process::id()))
            .definition(definition.to_string())
            .role_arn("arn:aws:iam::000000000000:role/toy");
        let arn = create
            .send()
            .await
            .expect("a state machine")
            .state_machine_arn;
        let path = std::env::var("CLIPFLOW_STACK").expect("the stack");
        let text = std::fs::read(path).expect("stack.json");
        let mut description: Value = serde_json::from_slice(&text).expect("JSON");
        description["state_machine_arn"] = arn.clone().into();
        let stack_json = folder.join("stack.json");
        std::fs::write(&stack_json, description.to_string()).expect("a file");
        Self {
            stack,
            arn,
            stack_json,
        }
    }

    /// Starts an execution with this name and input. Returns its ARN.
    pub async fn start(&self, (name, input): (String, Value)) -> String {
        let start = self.stack.sfn.start_execution();
        let start = start.state_machine_arn(&self.arn).name(name);
        let started = start.input(input.to_string()).send().await;
        started.expect("an execution").execution_arn
    }

    /// Starts executions with these names and inputs, and waits until the last one has ended.
    pub async fn run(&self, executions: Vec<(String, Value)>) {
        let arns: Vec<String> = stream::iter(executions)
            .map(|execution| self.start(execution))
            .buffered(AT_ONCE)
            .collect()
            .await;
        for arn in arns {
            self.stack.ended_execution(arn).await;
        }
    }
}

/// The name of an execution of a clip.
pub fn name(clip_id: &str) -> String {
    format!("{clip_id}-0123456789ab")
}

/// An input that makes an available clip.
pub fn available(clip_id: &str, camera: &str) -> Value {
    json!({"clipId": clip_id, "cameraId": camera, "outcome": {"clipId": clip_id, "status": "available",
        "delivered": {"durationSeconds": 2.5}, "engine": {"name": "trim", "why": "short", "estimateUsd": 0.001}}})
}

/// An input that fails with an error.
pub fn failing(clip_id: &str, error: &str, cause: &str) -> Value {
    json!({"clipId": clip_id, "error": error, "cause": cause})
}

/// An input that waits for an hour.
pub fn waiting(clip_id: &str) -> Value {
    json!({"clipId": clip_id, "waits": true})
}
