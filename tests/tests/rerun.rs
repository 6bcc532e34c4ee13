//! Failures that can be rerun: each state of the definition fails in turn, the cause is fixed, and its command reruns
//! it.
//!
//! What is broken here is broken for all tests, so only one runs at a time.

use aws_sdk_sfn::types::HistoryEvent;
use futures::FutureExt;
use mongodb::bson::Document;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    panic::{AssertUnwindSafe, resume_unwind},
};
use tests::{Ended, Stack, eventually, parts::retriers, services::order};

/// Longer than `report` waits for `MongoDB`.
const REPORT_AGAIN_SECONDS: &str = "10";

/// How a state fails.
struct Case {
    state: &'static str,
    class: &'static str,
    reason: &'static str,
    /// A part of the message.
    message: &'static str,
    end_seconds: u32,
}

impl Case {
    /// A state that fails with an error of a class.
    fn of(
        state: &'static str,
        class: &'static str,
        reason: &'static str,
        message: &'static str,
    ) -> Self {
        Self {
            state,
            class,
            reason,
            message,
            end_seconds: 2,
        }
    }

    fn clip_id(&self) -> String {
        format!("rerun-{}", self.state.to_lowercase())
    }
}

/// Runs a request while something is broken, and always repairs it. The states retry only once, after one second.
async fn run_broken(stack: &Stack, request: &Value, mend: impl AsyncFnOnce()) -> Ended {
    let definition = stack
        .redefine(|definition| {
            for retrier in retriers(definition) {
                retrier["MaxAttempts"] = json!(1);
                retrier["IntervalSeconds"] = json!(1);
            }
        })
        .await;
    let ended = AssertUnwindSafe(stack.run(request)).catch_unwind().await;
    stack.define(&definition).await;
    mend().await;
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Breaks something, runs a request, repairs it, reruns it, and checks every step by history, document, messages and
/// clip.
async fn fails_and_is_rerun(stack: &Stack, case: &Case, mend: impl AsyncFnOnce()) {
    let clip_id = case.clip_id();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rerun.mp4");
    // With one keyframe, so that exact cuts are encoded whole: by MediaConvert if they are long.
    let pictures = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=160x90:rate=10:duration=30",
    ];
    let encode = ["-c:v", "libx264", "-g", "1000", "-sc_threshold", "0"];
    stack.ffmpeg(&[&pictures[..], &encode, &[file.to_str().expect("UTF-8")]].concat());
    stack.upload("rerun.mp4", &file).await;
    let mut request = stack.request(&clip_id, "rerun.mp4", &json!(1), &json!(case.end_seconds));
    request["output"] = json!({"thumbnails": [100]});
    // A different request each time that the tests run on the same stack.
    request["metadata"] = json!({"run": std::process::id()});
    let queue = stack.description.event_queue_urls["report"].clone();
    let visibility = stack
        .set_visibility_timeout(&queue, REPORT_AGAIN_SECONDS)
        .await;
    let ended = run_broken(stack, &request, mend).await;

    assert_eq!(
        (ended.status.as_str(), ended.failure.0.as_str()),
        ("FAILED", case.reason),
        "{ended:?}"
    );
    let (entered, exited) = states(stack, &ended.arn).await;
    assert_eq!(entered.last().map(String::as_str), Some(case.state));
    assert_eq!(
        exited,
        entered[..entered.len() - 1],
        "the state that failed was not exited, the others were"
    );

    let announced = stack.notification(&clip_id).await;
    let (outcome, attributes) = (&announced["Message"], &announced["MessageAttributes"]);
    assert_eq!(
        (&outcome["status"], &outcome["reason"]),
        (&json!("failed"), &json!(case.reason))
    );
    assert_eq!(outcome["execution"]["arn"], ended.arn);
    assert_eq!(outcome["requested"], request);
    assert!(
        outcome["message"]
            .as_str()
            .is_some_and(|message| message.contains(case.message)),
        "{outcome}"
    );
    let failure = &outcome["failure"];
    assert_eq!(
        (&failure["class"], &failure["state"]),
        (&json!(case.class), &json!(case.state))
    );
    assert!(
        failure["consoleUrl"]
            .as_str()
            .is_some_and(|url| url.ends_with(&ended.arn)),
        "{failure}"
    );
    assert_eq!(
        (
            &attributes["status"]["Value"],
            &attributes["class"]["Value"]
        ),
        (&json!("failed"), &json!(case.class))
    );
    let document = stack.document(&clip_id).await.expect("a document");
    if case.state == "Notify" {
        assert_eq!(
            document.get_str("status").ok(),
            Some("available"),
            "the clip was there, and stored"
        );
    } else {
        assert_eq!(document.get_str("status").ok(), Some("failed"));
        let failure = document
            .get_document("failure")
            .and_then(|failure| failure.get_str("state"));
        assert_eq!(failure.ok(), Some(case.state));
    }

    let rerun = redrive(stack, failure["rerunCommand"].as_str().expect("a command")).await;
    assert_eq!(
        (rerun.status.as_str(), &rerun.output["status"]),
        ("SUCCEEDED", &json!("available")),
        "{rerun:?}"
    );
    assert_eq!(rerun.arn, ended.arn, "the same execution continues");
    let (entered, _) = states(stack, &rerun.arn).await;
    let entries = entered.iter().filter(|state| *state == case.state);
    assert_eq!(entries.count(), 1, "{entered:?}");
    assert_eq!(stack.notification(&clip_id).await["Message"], rerun.output);
    let document = stack.document_that_is(&clip_id, "available").await;
    assert_eq!(arn(&document), Some(rerun.arn.as_str()));
    let clip = rerun.output["clip"]["key"].as_str().expect("a key");
    assert_eq!(versions(stack, clip).await, 1, "the clip was made once");
    stack.set_visibility_timeout(&queue, &visibility).await;
}

fn arn(document: &Document) -> Option<&str> {
    document
        .get_document("execution")
        .and_then(|execution| execution.get_str("arn"))
        .ok()
}

/// The states that an execution entered, and those that it exited.
async fn states(stack: &Stack, arn: &str) -> (Vec<String>, Vec<String>) {
    let history = stack
        .sfn
        .get_execution_history()
        .execution_arn(arn)
        .max_results(1000)
        .send()
        .await;
    let events = history.expect("the history can be read").events;
    let entered =
        |event: &HistoryEvent| Some(event.state_entered_event_details()?.name().to_owned());
    let exited = |event: &HistoryEvent| Some(event.state_exited_event_details()?.name().to_owned());
    (
        events.iter().filter_map(entered).collect(),
        events.iter().filter_map(exited).collect(),
    )
}

/// How many versions of a clip were written.
async fn versions(stack: &Stack, key: &str) -> usize {
    let list = stack
        .s3
        .list_object_versions()
        .bucket(&stack.description.bucket)
        .prefix(key);
    list.send().await.expect("the versions").versions().len()
}

/// Runs the command in a failure, which is a redrive; returns the ended execution.
async fn redrive(stack: &Stack, command: &str) -> Ended {
    let arguments: Vec<_> = command
        .strip_prefix("clipflow ")
        .expect("the command")
        .split(' ')
        .collect();
    let (said, code) = stack.clipflow(&arguments);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said["reruns"][0]["action"], "redriven", "{said}");
    let arn = said["reruns"][0]["arn"]
        .as_str()
        .unwrap_or_else(|| panic!("{said}"));
    stack.ended_execution(arn.to_owned()).await
}

/// The URL of an S3 that denies everything, for the duration of the test.
fn denying_s3() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
            let head = format!(
                "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            // The request's head; the rest does not matter.
            let _ = connection.read(&mut [0; 8192]);
            let _ = connection.write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("http://{address}")
}

/// Releases a state's function with another value of an environment variable, and another timeout.
async fn fails_by_release(
    case: &Case,
    function: &'static str,
    (variable, value): (&str, &str),
    timeout: Option<u32>,
) {
    let (_alone, stack) = Stack::connect_alone().await;
    let before = stack.release(function, |settings| {
        settings["Environment"]["Variables"][variable] = json!(value);
        if let Some(seconds) = timeout {
            settings["Timeout"] = json!(seconds);
        }
    });
    fails_and_is_rerun(&stack, case, async || stack.roll_back(&before)).await;
}

#[tokio::test]
async fn release_that_does_not_start() {
    let case = Case::of(
        "Validate",
        "bug",
        "Runtime.ExitError",
        "CLIPFLOW_SOURCE_BUCKETS is not set",
    );
    fails_by_release(&case, "validate", ("CLIPFLOW_SOURCE_BUCKETS", ""), None).await;
}

#[tokio::test]
async fn self_check_tells_a_release_that_does_not_start() {
    let (_alone, stack) = Stack::connect_alone().await;
    for name in stack.description.function_names.keys() {
        assert_eq!(
            stack.self_check(name),
            Ok(json!({"started": true})),
            "{name}"
        );
    }
    let before = stack.release("notify", |settings| {
        settings["Environment"]["Variables"]["CLIPFLOW_TOPIC_ARN"] = json!("");
    });
    let error = stack.self_check("notify").expect_err("it does not start");
    stack.roll_back(&before);
    assert_eq!(error["errorType"], "Runtime.ExitError", "{error}");
}

#[tokio::test]
async fn s3_that_is_silent() {
    let silence = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", silence.local_addr().expect("an address"));
    let case = Case::of("Probe", "timeout", "Sandbox.Timedout", "");
    fails_by_release(&case, "probe", ("AWS_ENDPOINT_URL_S3", &silent), Some(2)).await;
}

#[tokio::test]
async fn s3_that_is_down() {
    let case = Case::of("Trim", "dependency", "DependencyUnavailable", "clip.mp4");
    fails_by_release(
        &case,
        "trim",
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        None,
    )
    .await;
}

#[tokio::test]
async fn job_that_fails() {
    let (_alone, stack) = Stack::connect_alone().await;
    let case = Case {
        end_seconds: 23,
        ..Case::of(
            "Transcode",
            "media",
            "TranscodeFailed",
            "ended with error 1040: Example",
        )
    };
    let fail = json!({"fail": {"code": 1040, "message": "Example"}});
    stack.behave(&case.clip_id(), fail);
    fails_and_is_rerun(&stack, &case, async || {
        stack.behave(&case.clip_id(), json!({}));
    })
    .await;
}

#[tokio::test]
async fn bucket_that_is_missing() {
    let case = Case::of(
        "Verify",
        "media",
        "DeliveryMismatch",
        "clipflow-gone does not exist",
    );
    fails_by_release(&case, "verify", ("CLIPFLOW_BUCKET", "clipflow-gone"), None).await;
}

#[tokio::test]
async fn s3_that_denies_access() {
    let case = Case::of(
        "Thumbnail",
        "dependency",
        "DependencyUnavailable",
        "clip.mp4",
    );
    fails_by_release(
        &case,
        "thumbnail",
        ("AWS_ENDPOINT_URL_S3", &denying_s3()),
        None,
    )
    .await;
}

#[tokio::test]
async fn mongodb_that_is_down() {
    let (_alone, stack) = Stack::connect_alone().await;
    order("stop mongod");
    let uri = &stack.description.mongodb_uri;
    let address = uri
        .trim_start_matches("mongodb://")
        .split('/')
        .next()
        .expect("a host and a port");
    eventually("mongod to be down", async || {
        TcpStream::connect(address).is_err().then_some(())
    })
    .await;
    let case = Case::of(
        "Store",
        "dependency",
        "DependencyUnavailable",
        "saving the document",
    );
    fails_and_is_rerun(&stack, &case, async || {
        order("start mongod");
        eventually("mongod to answer", async || {
            stack.clips.estimated_document_count().await.ok()
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn topic_that_was_deleted() {
    let (_alone, stack) = Stack::connect_alone().await;
    stack.delete_topic().await;
    let case = Case::of("Notify", "bug", "Internal", "publishing the outcome");
    fails_and_is_rerun(&stack, &case, async || stack.make_topic().await).await;
}
