//! The command `clipflow` on the local stack: what people do with it, checked by its output and its effects.

use aws_sdk_mediaconvert::types::{Job, JobStatus};
use serde_json::{Value, json};
use std::path::Path;
use tests::{Stack, eventually};

/// Half a minute: above the local stack's limit for clips that a Lambda encodes.
const PICTURES: &str = "testsrc2=size=320x180:rate=25:duration=30";
const INTERVAL: [&str; 4] = ["--start", "1", "--end", "1.4"];

/// Makes a source without audio and uploads it under its name; returns its URI.
async fn source(stack: &Stack, folder: &Path, name: &str) -> String {
    let file = folder.join(name);
    // With one keyframe, so that exact cuts are encoded whole: by MediaConvert if they are long.
    let encode = ["-c:v", "libx264", "-g", "1000", "-sc_threshold", "0"];
    stack.ffmpeg(
        &[
            &["-f", "lavfi", "-i", PICTURES],
            &encode[..],
            &[file.to_str().expect("UTF-8")],
        ]
        .concat(),
    );
    stack.upload(name, &file).await;
    format!("s3://{}/{name}", stack.description.source_bucket)
}

/// Runs the command, which must succeed.
fn done(stack: &Stack, arguments: &[&str]) -> Value {
    let (said, code) = stack.clipflow(arguments);
    assert_eq!(code, 0, "clipflow {arguments:?}: {said}");
    said
}

#[tokio::test]
async fn clip_is_enqueued_followed_listed_and_counted() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let source = source(&stack, folder.path(), "cli.mp4").await;
    let enqueue = [
        "enqueue",
        "--source",
        &source,
        "--clip-id",
        "cli-one",
        "--metadata",
        "spot=Pipe",
        "--wait",
    ];
    let shown = done(&stack, &[&enqueue[..], &INTERVAL].concat());
    assert_eq!(
        (&shown["clipId"], &shown["status"]),
        (&json!("cli-one"), &json!("available"))
    );
    assert_eq!(shown["requested"]["metadata"], json!({"spot": "Pipe"}));
    assert_eq!(shown["outcome"]["delivered"]["frames"], 10);
    let states: Vec<_> = shown["states"].as_array().expect("states").iter().collect();
    assert!(
        states
            .iter()
            .all(|state| state["status"] == "exited" && state["retries"] == 0),
        "{states:?}"
    );
    assert_eq!(states[3]["name"], "Trim");
    assert!(states[3]["durationSeconds"].as_f64().expect("a number") > 0.0);

    let name = shown["execution"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let arn = shown["execution"]["arn"]
        .as_str()
        .expect("an ARN")
        .to_owned();
    for clip in ["cli-one", &name, &arn] {
        assert_eq!(
            done(&stack, &["show", clip, "--watch"])["execution"],
            shown["execution"]
        );
    }
    let events = done(&stack, &["show", "cli-one", "--history"]);
    let last = events
        .as_array()
        .and_then(|events| events.last())
        .expect("events");
    assert_eq!(last["type"], "ExecutionSucceeded");
    assert!(last["executionSucceededEventDetails"]["output"].is_string());
    let listed = done(
        &stack,
        &[
            "list",
            "--status",
            "available",
            "--since",
            "1h",
            "--limit",
            "0",
        ],
    );
    assert!(
        listed["executions"]
            .as_array()
            .expect("executions")
            .iter()
            .any(|one| one["execution"]["name"] == name)
    );
    let cost = done(&stack, &["cost", "--since", "1h"]);
    assert!(
        cost["engines"]["trim"]["estimateUsd"]
            .as_f64()
            .is_some_and(|usd| usd > 0.0),
        "{cost}"
    );

    assert_eq!(
        stack.clipflow(&["rerun", "cli-one"]).0["reruns"][0]["why"],
        "it is available"
    );
    assert_eq!(stack.clipflow(&["show", "cli-absent"]).1, 3);
    assert_eq!(
        stack.clipflow(&["open", "cli-one"]).1,
        1,
        "the local stack has no console"
    );
}

#[tokio::test]
async fn local_file_is_uploaded_once_and_cut() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "local.mp4").await;
    let file = folder.path().join("local.mp4");
    let upload = [
        "enqueue",
        "--source",
        file.to_str().expect("UTF-8"),
        "--clip-id",
        "cli-local",
    ];
    let dry = done(&stack, &[&upload[..], &INTERVAL, &["--dry-run"]].concat());
    let uri = dry["upload"]
        .as_str()
        .expect("where it would be")
        .to_owned();
    let start = format!("s3://{}/uploads/", stack.description.source_bucket);
    let key = uri.strip_prefix(&start).expect("a key of a source bucket");
    let key = format!("uploads/{key}");
    let head = || {
        let head = stack
            .s3
            .head_object()
            .bucket(&stack.description.source_bucket);
        head.key(&key).send()
    };
    assert!(head().await.is_err(), "a dry run uploads nothing");

    let shown = done(&stack, &[&upload[..], &INTERVAL, &["--wait"]].concat());
    assert_eq!(shown["status"], "available", "{shown}");
    let requested = json!({"bucket": stack.description.source_bucket, "key": key});
    assert_eq!(shown["requested"]["source"], requested);
    assert_eq!(shown["outcome"]["delivered"]["frames"], 10);
    let first = head().await.expect("the object");
    let again = done(
        &stack,
        &[&upload[..], &["--start", "2", "--end", "3"]].concat(),
    );
    assert_eq!(again["sent"], 1);
    let second = head().await.expect("the object");
    assert_eq!(
        first.last_modified(),
        second.last_modified(),
        "it was sent once"
    );
}

#[tokio::test]
async fn rejection_that_is_asked_for_again_is_told_by_its_new_name() {
    let stack = Stack::connect().await;
    let missing = format!("s3://{}/cli-missing.mp4", stack.description.source_bucket);
    let enqueue = ["enqueue", "--source", &missing, "--clip-id", "cli-again"];
    let enqueue = [&enqueue[..], &INTERVAL].concat();
    let (shown, code) = stack.clipflow(&[&enqueue[..], &["--wait"]].concat());
    assert_eq!((code, &shown["reason"]), (4, &json!("SourceNotFound")));
    let first = shown["execution"]["name"].as_str().expect("a name");
    let sent = done(&stack, &enqueue);
    let told = sent["requests"][0]["execution"].as_str().expect("a name");
    assert_eq!(told, format!("{first}-r1"));
    eventually("the execution that was told", async || {
        (stack.clipflow(&["show", told]).1 == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn valid_lines_of_a_spreadsheet_are_sent_and_the_others_written_with_their_errors() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let source = source(&stack, folder.path(), "sheet.mp4").await;
    let rows = [
        "clipId;source;start;end;output.thumbnails".to_owned(),
        format!("cli-sheet;{source};1;1.4;64"),
        format!("cli-sheet;{source};2;2.4;64"),
        format!("cli-sheet-bad;{source};2;1;64"),
    ];
    let text = rows.join("\r\n");
    let utf_16 = text.encode_utf16().flat_map(u16::to_le_bytes);
    let file = folder.path().join("sheet.csv");
    let bytes: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf_16).collect();
    std::fs::write(&file, bytes).expect("a file");
    let path = file.to_str().expect("UTF-8");
    let dry = ["enqueue", path, "--skip-invalid", "--dry-run"];
    let dry = done(&stack, &dry);
    assert_eq!(
        (&dry["valid"], &dry["clashes"], &dry["invalid"]),
        (&json!(2), &json!(1), &json!(1))
    );
    let (said, code) = stack.clipflow(&["enqueue", path, "--skip-invalid"]);
    assert_eq!(code, 4, "{said}");
    let skipped = folder.path().join("sheet.csv.invalid.jsonl");
    let skipped = std::fs::read_to_string(skipped).expect("what was skipped");
    let skipped: Value = serde_json::from_str(&skipped).expect("one line of JSON");
    assert_eq!(
        (&skipped["line"], &skipped["request"]["clipId"]),
        (&json!(4), &json!("cli-sheet-bad"))
    );
    let requests = said["requests"].as_array().expect("requests");
    assert_eq!(requests.len(), 2);
    for request in requests {
        let name = request["execution"].as_str().expect("a name");
        eventually("an execution of the sheet", async || {
            (stack.clipflow(&["show", name]).1 == 0).then_some(())
        })
        .await;
    }
    assert_eq!(stack.clipflow(&["show", "cli-sheet-bad"]).1, 3);
}

#[tokio::test]
async fn file_with_an_invalid_line_sends_nothing() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("requests.jsonl");
    let bucket = &stack.description.source_bucket;
    let line = |bucket: &str, end| {
        json!({"clipId": "cli-bad", "source": {"bucket": bucket, "key": "k"}, "start": 1, "end": end}).to_string()
    };
    std::fs::write(
        &file,
        [line(bucket, 2), line(bucket, 1), line("elsewhere", 2)].join("\n"),
    )
    .expect("a file");
    let (said, code) = stack.clipflow(&["enqueue", file.to_str().expect("UTF-8")]);
    let said = said["stderr"].as_str().expect("it says what is wrong");
    assert_eq!(code, 2);
    assert!(
        said.contains("requests.jsonl:2: end: 1 s is not after start"),
        "{said}"
    );
    assert!(
        said.contains("requests.jsonl:3: source.bucket: \"elsewhere\" is not a source bucket"),
        "{said}"
    );
    assert_eq!(stack.clipflow(&["show", "cli-bad"]).1, 3);
}

#[tokio::test]
async fn interrupted_file_of_requests_goes_on_and_is_waited_for() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let source = source(&stack, folder.path(), "many.mp4").await;
    let rows: Vec<String> = (0..12)
        .map(|row| format!("cli-many-{row},{source},0.{row:02},1,copy,[64]"))
        .collect();
    let file = folder.path().join("requests.csv");
    let text = format!(
        "clipId,source,start,end,cut,output.thumbnails\n{}\n{}\n",
        rows.join("\n"),
        rows[0]
    );
    std::fs::write(&file, text).expect("a file");
    let path = file.to_str().expect("UTF-8");
    // The state that an interrupted run leaves: it had sent the first request.
    let first = done(
        &stack,
        &[
            "enqueue",
            "--source",
            &source,
            "--clip-id",
            "cli-many-0",
            "--start",
            "0",
            "--end",
            "1",
        ],
    );
    assert_eq!(first["sent"], 1);
    let request = json!({"clipId": "cli-many-0", "source": {"bucket": stack.description.source_bucket, "key": "many.mp4"},
        "start": 0.0, "end": 1, "cut": "copy", "output": {"thumbnails": [64]}});
    let hash = model::identity::Identity::of(&request).request_hash;
    let journal = folder.path().join("requests.csv.sent");
    std::fs::write(
        &journal,
        format!("{}\n{hash}\n", stack.description.queue_url),
    )
    .expect("a file");
    let sent = done(&stack, &["enqueue", path]);
    assert_eq!(
        (&sent["sent"], &sent["sentBefore"], &sent["duplicates"]),
        (&json!(11), &json!(1), &json!(1))
    );
    assert!(!journal.exists());
    // Sending them again starts nothing a second time, so this waits only for the first one.
    let waited = done(&stack, &["enqueue", path, "--wait"]);
    let waited = waited.as_array().expect("executions");
    assert_eq!(waited.len(), 12);
    assert!(
        waited.iter().all(|one| one["status"] == "available"),
        "{waited:?}"
    );
    let page = done(&stack, &["list", "--limit", "5"]);
    assert_eq!(page["executions"].as_array().map(Vec::len), Some(5));
    let next = done(
        &stack,
        &[
            "list",
            "--limit",
            "5",
            "--until",
            page["next"].as_str().expect("there are more"),
        ],
    );
    assert_ne!(next["executions"][0], page["executions"][0]);
}

#[tokio::test]
async fn failed_execution_is_found_by_its_error_and_rerun() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let source = source(&stack, folder.path(), "failing.mp4").await;
    stack.behave(
        "cli-fail",
        json!({"fail": {"code": 1040, "message": "Example error message"}}),
    );
    let enqueue = [
        "enqueue",
        "--source",
        &source,
        "--clip-id",
        "cli-fail",
        "--start",
        "1",
        "--end",
        "26",
        "--wait",
    ];
    let (failed, code) = stack.clipflow(&enqueue);
    assert_eq!(
        (code, &failed["status"], &failed["reason"]),
        (4, &json!("failed"), &json!("TranscodeFailed"))
    );
    let last = failed["states"]
        .as_array()
        .and_then(|states| states.last())
        .expect("states");
    assert_eq!(
        (&last["name"], &last["status"]),
        (&json!("Transcode"), &json!("failed"))
    );
    assert!(
        last["errors"][0]["message"]
            .as_str()
            .is_some_and(|message| message.contains("Example error message"))
    );

    stack.behave("cli-fail", json!({}));
    let which = [
        "rerun",
        "--failed",
        "--error",
        "TranscodeFailed",
        "--since",
        "1h",
    ];
    let plan = done(&stack, &[&which[..], &["--dry-run"]].concat());
    assert!(
        plan["byError"]["TranscodeFailed"]
            .as_u64()
            .is_some_and(|count| count > 0),
        "{plan}"
    );
    assert_eq!(stack.clipflow(&which).1, 2, "there is nobody to ask");
    let name = failed["execution"]["name"].as_str().expect("a name");
    let made = done(&stack, &["rerun", "cli-fail", "--wait"]);
    assert_eq!(made["status"], "available");
    assert_eq!(made["execution"]["name"], name, "it continues");
    let (again, code) = stack.clipflow(&["rerun", name]);
    assert_eq!(code, 4, "{again}");
    assert!(
        again["reruns"][0]["why"]
            .as_str()
            .is_some_and(|why| why.ends_with("is available")),
        "{again}"
    );
    let plan = done(&stack, &[&which[..], &["--dry-run"]].concat());
    assert!(!plan.to_string().contains(name), "it made the clip: {plan}");
}

#[tokio::test]
async fn stopped_execution_is_aborted_and_can_be_rerun() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let source = source(&stack, folder.path(), "stopped.mp4").await;
    stack.behave("cli-stop", json!({"stall": true}));
    let enqueue = [
        "enqueue",
        "--source",
        &source,
        "--clip-id",
        "cli-stop",
        "--start",
        "1",
        "--end",
        "26",
    ];
    done(&stack, &enqueue);
    eventually("the execution to run", async || {
        let (shown, code) = stack.clipflow(&["show", "cli-stop"]);
        (code == 0 && shown["status"] == "running").then_some(())
    })
    .await;
    eventually("its job", async || {
        (!stack.jobs("cli-stop").await.is_empty()).then_some(())
    })
    .await;
    let stopped = done(&stack, &["stop", "cli-stop", "--reason", "wrong beach"]);
    assert_eq!(stopped["stopped"].as_array().map(Vec::len), Some(1));
    let shown = done(&stack, &["show", "cli-stop"]);
    assert_eq!(
        (&shown["status"], &shown["message"]),
        (&json!("aborted"), &json!("wrong beach"))
    );
    assert_eq!(stack.clipflow(&["stop", "cli-stop"]).1, 4);
    // A rerun takes over a job that still runs, but this one is stalled: `report` cancels it before it writes the
    // document.
    stack.document_that_is("cli-stop", "failed").await;
    let jobs = stack.jobs("cli-stop").await;
    let mut states = jobs.iter().filter_map(Job::status);
    assert!(states.all(|status| *status == JobStatus::Canceled));
    stack.behave("cli-stop", json!({}));
    assert_eq!(
        done(&stack, &["rerun", "cli-stop", "--wait"])["status"],
        "available"
    );
}

#[tokio::test]
async fn object_of_the_stack_is_cut_without_an_execution() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let source = source(&stack, folder.path(), "cut.mp4").await;
    let clip = folder.path().join("clip.mp4");
    let cut = [
        "cut",
        &source,
        "--copy",
        "-o",
        clip.to_str().expect("UTF-8"),
    ];
    let report = done(&stack, &[&cut[..], &INTERVAL].concat());
    assert_eq!(
        (&report["method"], &report["frames"]),
        (&json!("copy"), &json!(10))
    );
    assert_eq!(report["bytes"], clip.metadata().expect("the clip").len());
    assert_eq!(
        stack.clipflow(&[&cut[..], &INTERVAL].concat()).1,
        2,
        "it exists"
    );
}

#[tokio::test]
async fn dead_letters_are_seen_replayed_and_dropped() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "dead.mp4").await;
    let request = stack
        .request("cli-dead", "dead.mp4", &json!(0), &json!(0.4))
        .to_string();
    for body in ["start: 1 (cli)", &request] {
        let send = stack
            .sqs
            .send_message()
            .queue_url(&stack.description.dead_letter_queue_url)
            .message_body(body);
        send.send().await.expect("the message can be sent");
    }
    let listed = done(&stack, &["dlq", "list"]);
    let find = |body: &str| {
        let messages = listed["messages"].as_array().expect("messages");
        messages
            .iter()
            .find(|message| message["body"] == body)
            .unwrap_or_else(|| panic!("{body}: {listed}"))
    };
    let (broken, valid) = (find("start: 1 (cli)"), find(&request));
    assert!(
        broken["problem"]
            .as_str()
            .is_some_and(|problem| problem.starts_with("not JSON")),
        "{broken}"
    );
    let id = |message: &Value| message["messageId"].as_str().expect("an id").to_owned();
    assert_eq!(done(&stack, &["dlq", "show", &id(valid)])["body"], request);
    assert_eq!(
        done(&stack, &["dlq", "replay", &id(valid)]),
        json!({"replayed": 1})
    );
    assert_eq!(
        stack.clipflow(&["dlq", "drop", &id(broken)]).1,
        2,
        "there is nobody to ask"
    );
    assert_eq!(
        done(&stack, &["dlq", "drop", &id(broken), "--yes"]),
        json!({"dropped": 1})
    );
    assert_eq!(stack.clipflow(&["dlq", "show", &id(broken)]).1, 3);
    eventually("the replayed request to run", async || {
        (stack.clipflow(&["show", "cli-dead"]).1 == 0).then_some(())
    })
    .await;
    assert_eq!(
        done(&stack, &["show", "cli-dead", "--watch"])["status"],
        "available"
    );
}
