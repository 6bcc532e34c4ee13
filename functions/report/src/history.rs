//! Determines from its history how an execution ended.

use aws_sdk_sfn::types::{HistoryEvent, HistoryEventType};
use model::{ErrorKind, outcome::FailureClass};
use serde_json::Value;

/// Lambda's own errors, which are transient (Step Functions developer guide, "Handle transient Lambda service
/// exceptions").
const PASSING: [&str; 5] = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
];
/// Errors of a state that took too long or missed its heartbeat.
const TIMEOUTS: [&str; 3] = [
    "States.Timeout",
    "States.HeartbeatTimeout",
    "Sandbox.Timedout",
];

/// The present state of an execution.
#[derive(Debug, PartialEq, Eq)]
pub enum Now {
    /// It has failed, timed out or was aborted.
    Failed(Ending),
    /// It was redriven: it is running, or has succeeded.
    Redriven,
    /// Its end is not in the history yet.
    Unknown,
}

/// How an execution failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Ending {
    /// What kind of cause it had.
    pub class: FailureClass,
    /// The state that was entered and not exited.
    pub state: Option<String>,
    /// The name of the error.
    pub error: String,
    /// What is wrong, for people.
    pub cause: String,
    /// Whether a function was invoked and, according to the history, has not answered yet.
    pub is_at_work: bool,
}

/// The present state of an execution that ended at `stop_date`, in milliseconds since 1970. `events` are its newest
/// ones, latest first.
#[must_use]
pub fn now(events: &[HistoryEvent], stop_date: i64) -> Now {
    let Some(newest) = events.first() else {
        return Now::Unknown;
    };
    let at = newest.timestamp().to_millis();
    match end(newest) {
        Some((class, error, cause)) => Now::Failed(Ending {
            class,
            state: unfinished_state(events),
            error,
            cause: cause
                .as_deref()
                .map_or_else(|| "no cause was given".to_owned(), message),
            is_at_work: is_at_work(events),
        }),
        None if at.is_ok_and(|at| at > stop_date) => Now::Redriven,
        None => Now::Unknown,
    }
}

/// The kind of cause, the error and the cause in an event that ends an execution without success.
fn end(event: &HistoryEvent) -> Option<(FailureClass, String, Option<String>)> {
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let (class_of, unnamed, error, cause): (fn(&str) -> FailureClass, _, _, _) =
        match event.r#type() {
            HistoryEventType::ExecutionFailed => {
                let details = event.execution_failed_event_details();
                let error = details.and_then(|details| details.error());
                (
                    class,
                    "States.Runtime",
                    error,
                    details.and_then(|details| details.cause()),
                )
            }
            HistoryEventType::ExecutionTimedOut => {
                let details = event.execution_timed_out_event_details();
                let error = details.and_then(|details| details.error());
                let cause = details.and_then(|details| details.cause());
                (|_| FailureClass::Timeout, "States.Timeout", error, cause)
            }
            HistoryEventType::ExecutionAborted => {
                let details = event.execution_aborted_event_details();
                let error = details.and_then(|details| details.error());
                let cause = details.and_then(|details| details.cause());
                (|_| FailureClass::Aborted, "ExecutionAborted", error, cause)
            }
            _ => return None,
        };
    let error = given(error).unwrap_or_else(|| unnamed.to_owned());
    Some((class_of(&error), error, given(cause)))
}

/// The kind of cause of a state's error.
#[must_use]
pub fn class(error: &str) -> FailureClass {
    match ErrorKind::of_name(error) {
        Some(ErrorKind::DependencyUnavailable) => FailureClass::Dependency,
        Some(ErrorKind::TranscodeFailed | ErrorKind::DeliveryMismatch) => FailureClass::Media,
        _ if PASSING.contains(&error) => FailureClass::Dependency,
        _ if TIMEOUTS.contains(&error) => FailureClass::Timeout,
        _ => FailureClass::Bug,
    }
}

/// The state that was entered last; `None` if it was exited, because then the execution ended between two states.
/// States never run in parallel here.
fn unfinished_state(events: &[HistoryEvent]) -> Option<String> {
    let moved = events.iter().find(|event| {
        event.state_entered_event_details().is_some()
            || event.state_exited_event_details().is_some()
    })?;
    moved
        .state_entered_event_details()
        .map(|entered| entered.name().to_owned())
}

/// Whether the last event of a task is that its function was invoked.
fn is_at_work(events: &[HistoryEvent]) -> bool {
    use HistoryEventType as Type;
    let over = [
        Type::TaskSubmitted,
        Type::TaskSubmitFailed,
        Type::TaskStartFailed,
        Type::TaskSucceeded,
        Type::TaskFailed,
        Type::TaskTimedOut,
    ];
    let last = events.iter().map(HistoryEvent::r#type);
    let mut last = last.filter(|kind| **kind == Type::TaskScheduled || over.contains(kind));
    last.next() == Some(&Type::TaskScheduled)
}

/// The message in a cause: a function's cause is JSON that contains its error, others are text.
fn message(cause: &str) -> String {
    let error: Option<Value> = serde_json::from_str(cause).ok();
    let message = error
        .as_ref()
        .and_then(|error| error.get("errorMessage")?.as_str());
    message.unwrap_or(cause).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use HistoryEventType as Type;
    use aws_sdk_sfn::{
        primitives::DateTime,
        types::{
            ExecutionAbortedEventDetails, ExecutionFailedEventDetails,
            ExecutionTimedOutEventDetails, StateEnteredEventDetails, StateExitedEventDetails,
            builders::HistoryEventBuilder,
        },
    };

    /// Turns events, given in order of occurrence, into a history with the latest first. They occur at milliseconds 1,
    /// 2, 3 and so on.
    fn history(events: Vec<HistoryEventBuilder>) -> Vec<HistoryEvent> {
        let numbered = (1..).zip(events);
        let built =
            numbered.map(|(id, event)| event.id(id).timestamp(DateTime::from_millis(id)).build());
        let mut events: Vec<_> = built.collect::<Result<_, _>>().expect("complete events");
        events.reverse();
        events
    }

    fn event(kind: Type) -> HistoryEventBuilder {
        HistoryEvent::builder().r#type(kind)
    }

    fn entered(state: &str) -> HistoryEventBuilder {
        let details = StateEnteredEventDetails::builder()
            .name(state)
            .build()
            .expect("a name");
        event(Type::TaskStateEntered).state_entered_event_details(details)
    }

    fn exited(state: &str) -> HistoryEventBuilder {
        let details = StateExitedEventDetails::builder()
            .name(state)
            .build()
            .expect("a name");
        event(Type::TaskStateExited).state_exited_event_details(details)
    }

    fn failed(error: &str, cause: &str) -> HistoryEventBuilder {
        let details = ExecutionFailedEventDetails::builder()
            .error(error)
            .cause(cause)
            .build();
        event(Type::ExecutionFailed).execution_failed_event_details(details)
    }

    fn aborted() -> HistoryEventBuilder {
        let details = ExecutionAbortedEventDetails::builder().error("").build();
        event(Type::ExecutionAborted).execution_aborted_event_details(details)
    }

    fn ending(events: Vec<HistoryEventBuilder>) -> Ending {
        match now(&history(events), 0) {
            Now::Failed(ending) => ending,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn failed_state_is_the_one_that_was_entered_and_not_exited() {
        let cause = r#"{"errorType":"DependencyUnavailable","errorMessage":"MongoDB is away"}"#;
        let ending = ending(vec![
            event(Type::ExecutionStarted),
            entered("Thumbnail"),
            exited("Thumbnail"),
            entered("Store"),
            event(Type::TaskScheduled),
            event(Type::TaskFailed),
            event(Type::TaskScheduled),
            event(Type::TaskFailed),
            failed("DependencyUnavailable", cause),
        ]);
        let wanted = Ending {
            class: FailureClass::Dependency,
            state: Some("Store".into()),
            error: "DependencyUnavailable".into(),
            cause: "MongoDB is away".into(),
            is_at_work: false,
        };
        assert_eq!(ending, wanted);
    }

    #[test]
    fn state_that_was_redriven_and_failed_again_is_found_before_the_redrive() {
        let ending = ending(vec![
            entered("Verify"),
            event(Type::TaskTimedOut),
            failed("States.Timeout", ""),
            event(Type::ExecutionRedriven),
            event(Type::TaskScheduled),
            event(Type::TaskFailed),
            failed("DeliveryMismatch", "49 frames"),
        ]);
        assert_eq!(
            (ending.state.as_deref(), ending.class),
            (Some("Verify"), FailureClass::Media)
        );
        assert_eq!(ending.cause, "49 frames");
    }

    #[test]
    fn execution_that_was_aborted_in_a_state_names_it() {
        let ending = ending(vec![
            entered("Transcode"),
            event(Type::TaskStateAborted),
            aborted(),
        ]);
        assert_eq!(
            (ending.state.as_deref(), ending.class),
            (Some("Transcode"), FailureClass::Aborted)
        );
        assert_eq!(
            (ending.error.as_str(), ending.cause.as_str()),
            ("ExecutionAborted", "no cause was given")
        );
    }

    #[test]
    fn function_is_at_work_until_its_answer_is_in_the_history() {
        let aborted_after = |events: &[Type]| {
            let before = [entered("Transcode")].into_iter();
            let events = events.iter().cloned().map(event);
            let after = [event(Type::TaskStateAborted), aborted()];
            ending(before.chain(events).chain(after).collect()).is_at_work
        };
        assert!(aborted_after(&[Type::TaskScheduled]));
        assert!(aborted_after(&[Type::TaskScheduled, Type::TaskStarted]));
        assert!(aborted_after(&[
            Type::TaskScheduled,
            Type::TaskFailed,
            Type::TaskScheduled
        ]));
        assert!(!aborted_after(&[Type::TaskScheduled, Type::TaskSubmitted]));
        assert!(!aborted_after(&[Type::TaskScheduled, Type::TaskFailed]));
        assert!(!aborted_after(&[]));
    }

    #[test]
    fn execution_that_ends_between_two_states_failed_in_none() {
        assert_eq!(
            ending(vec![entered("Probe"), exited("Probe"), aborted()]).state,
            None
        );
        assert_eq!(
            ending(vec![event(Type::ExecutionStarted), aborted()]).state,
            None
        );
    }

    #[test]
    fn execution_that_took_a_day_timed_out() {
        let details = ExecutionTimedOutEventDetails::builder().build();
        let ending = ending(vec![
            entered("Transcode"),
            event(Type::ExecutionTimedOut).execution_timed_out_event_details(details),
        ]);
        assert_eq!(
            (ending.error.as_str(), ending.class),
            ("States.Timeout", FailureClass::Timeout)
        );
    }

    #[test]
    fn execution_that_goes_on_or_succeeded_since_has_not_failed() {
        let redriven = vec![
            entered("Store"),
            failed("Internal", ""),
            event(Type::ExecutionRedriven),
        ];
        assert_eq!(now(&history(redriven), 2), Now::Redriven);
        let succeeded = vec![
            entered("Store"),
            failed("Internal", ""),
            event(Type::ExecutionRedriven),
            event(Type::ExecutionSucceeded),
        ];
        assert_eq!(now(&history(succeeded), 2), Now::Redriven);
    }

    #[test]
    fn history_that_lags_behind_its_event_is_unknown() {
        assert_eq!(
            now(&history(vec![entered("Store"), event(Type::TaskFailed)]), 3),
            Now::Unknown
        );
        assert_eq!(now(&[], 3), Now::Unknown);
    }

    #[test]
    fn errors_have_the_class_of_their_cause() {
        for (error, wanted) in [
            ("Internal", FailureClass::Bug),
            ("States.Runtime", FailureClass::Bug),
            ("States.QueryEvaluationError", FailureClass::Bug),
            ("Lambda.Unknown", FailureClass::Bug),
            ("Lambda.TooManyRequestsException", FailureClass::Dependency),
            ("TranscodeFailed", FailureClass::Media),
            ("States.HeartbeatTimeout", FailureClass::Timeout),
        ] {
            assert_eq!(class(error), wanted, "{error}");
        }
    }
}
