//! An execution's events, and the states derived from them.
//!
//! `show --history` keeps the API's own JSON, taken from the response, because the SDK's types
//! cannot be serialized.

use crate::{deployment::Deployment, executions::message_in, failure::Failure, when};
use aws_sdk_sfn::config::{
    ConfigBag, Intercept, RuntimeComponents,
    interceptors::AfterDeserializationInterceptorContextRef,
};
use aws_sdk_sfn::error::BoxError;
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A state that an execution was in.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Its name.
    pub name: String,
    /// Whether it has ended, and how.
    pub status: Status,
    /// When it was entered.
    #[serde(with = "time::serde::rfc3339")]
    pub entered_at: OffsetDateTime,
    /// When it was left, or its execution ended within it.
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub ended_at: Option<OffsetDateTime>,
    /// How long it took, or has taken so far.
    pub duration_seconds: f64,
    /// How often its work was restarted after an error, by the definition or by a redrive.
    pub retries: usize,
    /// What went wrong in it, in order.
    pub errors: Vec<Error>,
}

/// Whether a state has ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It is under way.
    Running,
    /// It was exited, maybe by a catch.
    Exited,
    /// Its execution ended within it: a redrive continues here.
    Failed,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// The error's name.
    pub reason: String,
    /// What is wrong, for people.
    pub message: String,
}

/// The ARNs of invoked functions, by state.
pub fn functions(events: &[Value]) -> BTreeMap<&str, String> {
    let (mut functions, mut state) = (BTreeMap::new(), None);
    for event in events {
        if let Some(name) = event["stateEnteredEventDetails"]["name"].as_str() {
            state = Some(name);
        }
        let parameters = event["taskScheduledEventDetails"]["parameters"].as_str();
        let parameters = parameters.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let function =
            parameters.and_then(|parameters| Some(parameters["FunctionName"].as_str()?.to_owned()));
        if let (Some(state), Some(function)) = (state, function) {
            functions.insert(state, function);
        }
    }
    functions
}

/// Whether these events are of an execution that has ended.
pub fn has_ended(events: &[Value]) -> bool {
    let lives = |kind: &&str| kind.starts_with("Execution") && *kind != "ExecutionStarted";
    let last = events
        .iter()
        .rev()
        .filter_map(|event| event["type"].as_str())
        .find(lives);
    last.is_some_and(|kind| kind != "ExecutionRedriven")
}

/// The states in these events, in order of entry.
pub fn states(events: &[Value], now: OffsetDateTime) -> Vec<State> {
    let mut states: Vec<State> = Vec::new();
    let mut begun = 0;
    for event in events {
        let kind = event["type"].as_str().unwrap_or_default();
        let at = timestamp(event).unwrap_or(now);
        let open = states.last_mut().filter(|state| state.ended_at.is_none());
        if let Some(name) = event["stateEnteredEventDetails"]["name"].as_str() {
            // A redrive may re-enter the state that it continues with.
            if open.is_none_or(|open| open.name != name) {
                begun = 0;
                states.push(State::entered(name, at));
            }
        } else if event.get("stateExitedEventDetails").is_some() {
            change_last(&mut states, Status::Running, Status::Exited, Some(at));
        } else if kind == "ExecutionRedriven" {
            change_last(&mut states, Status::Failed, Status::Running, None);
        } else if let Some(state) = open {
            if kind.ends_with("Scheduled") {
                begun += 1;
                state.retries = begun - 1;
            }
            let error = error(kind, event);
            let ends = ["ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted"].contains(&kind);
            // The execution's error repeats the last attempt's.
            state
                .errors
                .extend(error.filter(|error| !ends || state.errors.last() != Some(error)));
            if ends {
                (state.status, state.ended_at) = (Status::Failed, Some(at));
            }
        }
    }
    for state in &mut states {
        state.duration_seconds = (state.ended_at.unwrap_or(now) - state.entered_at)
            .as_seconds_f64()
            .max(0.0);
    }
    states
}

/// Changes the status of the last state, where it is `from`.
fn change_last(states: &mut [State], from: Status, to: Status, ended_at: Option<OffsetDateTime>) {
    if let Some(last) = states.last_mut()
        && last.status == from
    {
        (last.status, last.ended_at) = (to, ended_at);
    }
}

impl State {
    fn entered(name: &str, at: OffsetDateTime) -> Self {
        Self {
            name: name.to_owned(),
            status: Status::Running,
            entered_at: at,
            ended_at: None,
            duration_seconds: 0.0,
            retries: 0,
            errors: Vec::new(),
        }
    }
}

/// The error in an event. Errors of a timeout or a stop may have no name.
pub fn error(kind: &str, event: &Value) -> Option<Error> {
    let mut details = event
        .as_object()?
        .iter()
        .filter(|(name, _)| name.ends_with("EventDetails"));
    let details = details.next().map_or(&Value::Null, |(_, details)| details);
    let named = details["error"].as_str().filter(|error| !error.is_empty());
    let reason = named.or_else(|| {
        let unnamed = [
            ("TimedOut", "States.Timeout"),
            ("ExecutionAborted", "aborted"),
            ("Failed", "failed"),
        ];
        unnamed
            .iter()
            .find(|(end, _)| kind.ends_with(end))
            .map(|(_, reason)| *reason)
    })?;
    Some(Error {
        reason: reason.to_owned(),
        message: message_in(details["cause"].as_str().unwrap_or_default()),
    })
}

fn timestamp(event: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(event["timestamp"].as_str()?, &Rfc3339).ok()
}

impl Deployment {
    /// The definition that an execution runs; `None` if Step Functions does not return it.
    pub async fn definition(&self, arn: &str) -> Option<Value> {
        let describe = self.sfn.describe_state_machine_for_execution();
        let described = describe.execution_arn(arn).send().await.ok()?;
        serde_json::from_str(&described.definition).ok()
    }

    /// The events of an execution so far, as returned by the API, except that timestamps are RFC 3339.
    pub async fn history(&self, arn: &str) -> Result<Vec<Value>, Failure> {
        let bodies = Bodies::default();
        let mut events = Vec::new();
        let mut token = None;
        loop {
            let get = self
                .sfn
                .get_execution_history()
                .execution_arn(arn)
                .max_results(1000)
                .set_next_token(token);
            let page = get.customize().interceptor(bodies.clone()).send().await;
            token = page
                .map_err(Failure::of_call("reading the history"))?
                .next_token;
            events.extend(
                bodies
                    .events()
                    .map_err(|error| Failure::new(format!("reading the history: {error}")))?,
            );
            if token.is_none() {
                return Ok(events);
            }
        }
    }
}

/// Keeps a response as it was sent: the SDK's types cannot be turned back into JSON.
#[derive(Debug, Clone, Default)]
struct Bodies(Arc<Mutex<Vec<u8>>>);

impl Bodies {
    fn events(&self) -> Result<Vec<Value>, serde_json::Error> {
        let mut page: Value =
            serde_json::from_slice(&self.0.lock().expect("nothing panics meanwhile"))?;
        let mut events: Vec<Value> = serde_json::from_value(page["events"].take())?;
        for event in &mut events {
            if let Some(seconds) = event["timestamp"].as_f64() {
                let at = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds_f64(seconds);
                // The API has milliseconds; the floating-point number is slightly off.
                event["timestamp"] = when::rfc3339(at + time::Duration::microseconds(500)).into();
            }
        }
        Ok(events)
    }
}

impl Intercept for Bodies {
    fn name(&self) -> &'static str {
        "Bodies"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let bytes = context.response().body().bytes().unwrap_or_default();
        *self.0.lock().expect("nothing panics meanwhile") = bytes.to_vec();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Events, each with the second at which it happened.
    fn told(events: &[(u8, &str, Value)]) -> Vec<State> {
        let events: Vec<Value> = events
            .iter()
            .map(|(second, kind, details)| {
                let mut event =
                    json!({"type": kind, "timestamp": format!("2026-11-24T06:00:{second:02}Z")});
                event
                    .as_object_mut()
                    .expect("an object")
                    .extend(details.as_object().cloned().unwrap_or_default());
                event
            })
            .collect();
        states(
            &events,
            OffsetDateTime::parse("2026-11-24T06:00:30Z", &Rfc3339).expect("a time"),
        )
    }

    fn entered(name: &str) -> Value {
        json!({"stateEnteredEventDetails": {"name": name, "input": "{}"}})
    }

    fn exited(name: &str) -> Value {
        json!({"stateExitedEventDetails": {"name": name, "output": "{}"}})
    }

    fn down() -> Value {
        let cause =
            json!({"errorType": "DependencyUnavailable", "errorMessage": "no primary"}).to_string();
        json!({"error": "DependencyUnavailable", "cause": cause})
    }

    #[test]
    fn retried_state_has_its_retries_and_errors() {
        let states = told(&[
            (0, "ExecutionStarted", Value::Null),
            (0, "TaskStateEntered", entered("Store")),
            (
                0,
                "TaskScheduled",
                json!({"taskScheduledEventDetails": {"resource": "invoke"}}),
            ),
            (0, "TaskStarted", Value::Null),
            (1, "TaskFailed", json!({"taskFailedEventDetails": down()})),
            (3, "TaskScheduled", Value::Null),
            (4, "TaskSucceeded", Value::Null),
            (4, "TaskStateExited", exited("Store")),
            (5, "TaskStateEntered", entered("Notify")),
        ]);
        let (store, notify) = (&states[0], &states[1]);
        assert_eq!(
            (store.status, store.retries, store.duration_seconds),
            (Status::Exited, 1, 4.0)
        );
        assert_eq!(
            store.errors,
            [Error {
                reason: "DependencyUnavailable".into(),
                message: "no primary".into()
            }]
        );
        assert_eq!(
            (notify.status, notify.duration_seconds),
            (Status::Running, 25.0)
        );
    }

    #[test]
    fn failed_execution_ends_in_the_state_that_was_not_left() {
        let states = told(&[
            (0, "TaskStateEntered", entered("Store")),
            (0, "TaskScheduled", Value::Null),
            (1, "TaskFailed", json!({"taskFailedEventDetails": down()})),
            (
                1,
                "ExecutionFailed",
                json!({"executionFailedEventDetails": down()}),
            ),
        ]);
        assert_eq!(
            (states[0].status, states[0].retries, states[0].errors.len()),
            (Status::Failed, 0, 1)
        );
    }

    #[test]
    fn redrive_goes_on_in_the_same_state_whether_or_not_it_is_entered_again() {
        for again in [Value::Null, entered("Store")] {
            let states = told(&[
                (0, "TaskStateEntered", entered("Store")),
                (0, "TaskScheduled", Value::Null),
                (
                    1,
                    "ExecutionFailed",
                    json!({"executionFailedEventDetails": down()}),
                ),
                (
                    10,
                    "ExecutionRedriven",
                    json!({"executionRedrivenEventDetails": {"redriveCount": 1}}),
                ),
                (10, "TaskStateEntered", again),
                (10, "TaskScheduled", Value::Null),
                (12, "TaskStateExited", exited("Store")),
                (12, "ExecutionSucceeded", Value::Null),
            ]);
            assert_eq!(states.len(), 1);
            assert_eq!(
                (states[0].status, states[0].retries, states[0].errors.len()),
                (Status::Exited, 1, 1)
            );
        }
    }

    #[test]
    fn end_without_a_name_is_named() {
        let ends = [
            ("ExecutionTimedOut", "States.Timeout"),
            ("ExecutionAborted", "aborted"),
        ];
        for (kind, reason) in ends {
            let states = told(&[
                (0, "TaskStateEntered", entered("Trim")),
                (9, kind, Value::Null),
            ]);
            assert_eq!(
                (states[0].status, states[0].errors[0].reason.as_str()),
                (Status::Failed, reason)
            );
        }
    }

    #[test]
    fn execution_ends_once_and_lives_again_after_a_redrive() {
        let of = |kinds: &[&str]| {
            has_ended(
                &kinds
                    .iter()
                    .map(|kind| json!({"type": kind}))
                    .collect::<Vec<_>>(),
            )
        };
        assert!(!of(&[]) && !of(&["ExecutionStarted", "TaskStateEntered"]));
        assert!(of(&[
            "ExecutionStarted",
            "ExecutionAborted",
            "TaskSucceeded"
        ]));
        assert!(!of(&[
            "ExecutionFailed",
            "ExecutionRedriven",
            "TaskScheduled"
        ]));
    }
}
