//! Snapshots of what the commands print.

use crate::{
    Cli, console,
    executions::Execution,
    history, list, render,
    show::{self, Shown},
};
use aws_sdk_sfn::{
    operation::describe_execution::DescribeExecutionOutput, primitives::DateTime,
    types::ExecutionStatus,
};
use clap::{Command, CommandFactory};
use expect_test::expect_file;
use serde_json::{Value, json};
use std::fmt::Write;
use time::macros::datetime;

/// An execution that took one minute.
fn execution(status: ExecutionStatus, input: &Value, output: Option<&Value>) -> Execution {
    const BEGUN: i64 = 1_790_000_000;
    let name = "dawn-patrol-0042-1f2e3d4c5b6a";
    let described = DescribeExecutionOutput::builder()
        .execution_arn(format!(
            "arn:aws:states:eu-west-1:123456789012:execution:surf-clip:{name}"
        ))
        .state_machine_arn("arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip")
        .name(name)
        .start_date(DateTime::from_secs(BEGUN))
        .stop_date(DateTime::from_secs(BEGUN + 60))
        .input(input.to_string())
        .set_output(output.map(Value::to_string));
    let described = match status {
        ExecutionStatus::Failed => described
            .error("DependencyUnavailable")
            .cause(json!({"errorMessage": "MongoDB has no primary"}).to_string())
            .redrive_count(2),
        _ => described,
    };
    described.status(status).build().expect("complete").into()
}

fn available() -> Execution {
    let source = json!({"bucket": "surf-archive", "key": "2018-08-02.mp4"});
    let input =
        json!({"clipId": "dawn-patrol-0042", "source": source, "start": 72.5, "end": "1:30"});
    let thumbnail = |size: u32| json!({"size": size, "key": format!("clips/a/b/thumb-{size}.jpg")});
    let output = json!({"clipId": "dawn-patrol-0042", "status": "available", "bucket": "surf-clips",
        "clip": {"key": "clips/a/b/clip.mp4", "bytes": 3_400_000, "url": "https://clips.example.com/clips/a/b/clip.mp4"},
        "thumbnails": [thumbnail(300), thumbnail(640)],
        "delivered": {"durationSeconds": 17.5, "frames": 525, "width": 1920, "height": 1080, "videoCodec": "h264",
            "audioCodec": "aac", "dropped": ["time code"]},
        "engine": {"name": "trim", "why": "it fits a Lambda", "estimateUsd": 0.00123,
            "cutting": {"method": "smartCut", "encoded": [{"startSeconds": 0, "endSeconds": 1.5}]}}});
    execution(ExecutionStatus::Succeeded, &input, Some(&output))
}

fn rejected() -> Execution {
    let input = json!({"clipId": "dawn-patrol-0042", "cameraId": "pipe", "startTimestampInMs": 0, "endTimestampInMs": "x"});
    let output = json!({"clipId": "dawn-patrol-0042", "status": "rejected", "reason": "InvalidRequest",
        "message": "endTimestampInMs: \"x\" is not a number"});
    execution(ExecutionStatus::Succeeded, &input, Some(&output))
}

fn failed() -> Execution {
    let cut = |start| json!({"source": {"bucket": "surf-archive", "key": "k.mp4"}, "start": start, "end": "50%"});
    let input = json!({"clipId": "dawn-patrol-0042", "segments": [cut(1), cut(2)], "cut": "copy"});
    execution(ExecutionStatus::Failed, &input, None)
}

/// The states of an execution that waits for `MongoDB`.
fn states() -> Vec<history::State> {
    let event = |second: u8, kind: &str, details: &Value| {
        let mut event =
            json!({"type": kind, "timestamp": format!("2026-11-24T06:00:{second:02}Z")});
        let fields = details.as_object().cloned().unwrap_or_default();
        event.as_object_mut().expect("an object").extend(fields);
        event
    };
    let entered = |name: &str| json!({"stateEnteredEventDetails": {"name": name}});
    let down = json!({"taskFailedEventDetails": {"error": "DependencyUnavailable", "cause": "no\nprimary"}});
    let events = [
        event(0, "TaskStateEntered", &entered("Trim")),
        event(0, "TaskScheduled", &Value::Null),
        event(
            9,
            "TaskStateExited",
            &json!({"stateExitedEventDetails": {"name": "Trim"}}),
        ),
        event(9, "TaskStateEntered", &entered("Store")),
        event(9, "TaskScheduled", &Value::Null),
        event(10, "TaskFailed", &down),
        event(12, "TaskScheduled", &Value::Null),
    ];
    history::states(&events, datetime!(2026-11-24 06:00:30 UTC))
}

#[test]
fn snapshot_of_show() {
    ::console::set_colors_enabled(false);
    let mut lines = show::states_in_lines(&states());
    for execution in [available(), rejected(), failed()] {
        let link = Some("https://console.example.com".to_owned());
        lines.extend(show::in_lines(&execution, link, " --local"));
        lines.push(String::new());
    }
    expect_file!["../tests/snapshots/show.txt"].assert_eq(&lines.join("\n"));
}

#[test]
fn snapshot_of_list() {
    ::console::set_colors_enabled(false);
    let rows = [available(), rejected(), failed()].map(|execution| list::row(&execution));
    let table = render::table_within(&list::HEADERS, &rows, None) + "\n";
    expect_file!["../tests/snapshots/list.txt"].assert_eq(&table);
}

#[test]
fn snapshot_of_executions_in_json() {
    let executions = [available(), rejected(), failed()].map(|execution| {
        let mut json = execution.json();
        json.sort_all_objects();
        json
    });
    let json = serde_json::to_string_pretty(&executions).expect("JSON") + "\n";
    expect_file!["../tests/snapshots/executions.json"].assert_eq(&json);
}

/// An execution of the current definition, with hostile request, outcome and errors.
fn hostile() -> Shown {
    let evil = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";
    let input = json!({"clipId": evil, "cameraId": evil, "metadata": {evil: evil}, "edits": {evil: 1},
        "source": {"bucket": evil, "key": evil}, "start": evil, "end": evil, "cut": evil});
    let output = json!({"clipId": evil, "status": "rejected", "reason": evil, "message": evil, "bucket": evil,
        "clip": {"key": format!("a/{evil}"), "url": "javascript:alert(3)"},
        "thumbnails": [{"size": evil, "key": evil}], "preview": {"key": evil},
        "delivered": {"durationSeconds": 2, "videoCodec": evil, "dropped": [evil], "conformed": [evil],
            "coverage": {"covered": [], "missing": [{"startTimestampInMs": 0, "endTimestampInMs": 9, "reason": evil}]}},
        "engine": {"name": evil, "why": evil, "cutting": {"method": evil, "encoded": []}}});
    let error = history::Error {
        reason: evil.to_owned(),
        message: evil.to_owned(),
    };
    let mut states = states();
    states[0].name = evil.to_owned();
    states[0].errors.push(error);
    Shown {
        execution: execution(ExecutionStatus::Succeeded, &input, Some(&output)),
        events: vec![json!({"type": evil, "stateEnteredEventDetails": {"name": evil}})],
        states,
    }
}

#[test]
fn text_of_a_stranger_is_text_on_every_page() {
    let shown = hostile();
    let pages = console::pages(&shown);
    assert!(pages.len() >= 2);
    for page in pages {
        assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
        for markup in ["<script>alert", "<img src=x", "\"javascript:"] {
            assert!(!page.contains(markup), "{markup} in {page}");
        }
    }
}

#[test]
fn snapshot_of_pages() {
    let shown = [available(), rejected(), failed()].map(|execution| Shown {
        execution,
        events: Vec::new(),
        states: states(),
    });
    let pages = shown.iter().flat_map(console::pages);
    let lines = pages.collect::<Vec<_>>().join("\n").replace("><", ">\n<") + "\n";
    expect_file!["../tests/snapshots/pages.html"].assert_eq(&lines);
}

#[test]
fn snapshot_of_help() {
    let mut help = String::new();
    let mut command = Cli::command();
    command.build();
    add_help(&mut help, &command);
    expect_file!["../tests/snapshots/help.txt"].assert_eq(&help);
}

/// Adds the help of a command and its subcommands.
fn add_help(help: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or("clipflow");
    let text = command.clone().term_width(100).render_long_help();
    writeln!(help, "$ {name} --help\n{text}").expect("a string");
    for command in command.get_subcommands() {
        if command.get_name() != "help" {
            add_help(help, command);
        }
    }
}

#[test]
fn nothing_that_a_stranger_wrote_steers_the_terminal() {
    ::console::set_colors_enabled(false);
    let hostile = "x\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}1m\u{202e}\r\nforged  available";
    let source = json!({"bucket": hostile, "key": hostile});
    let input = json!({"clipId": hostile, "source": source, "start": hostile, "end": hostile, "cut": hostile,
        "metadata": {(hostile): hostile}});
    let output = json!({"clipId": hostile, "status": "rejected", "reason": hostile, "message": hostile, "bucket": hostile,
        "clip": {"key": hostile, "bytes": 1, "url": hostile}, "delivered": {"videoCodec": hostile, "dropped": [hostile],
            "conformed": [hostile]},
        "thumbnails": [{"key": hostile}], "engine": {"name": hostile, "why": hostile}});
    let execution = execution(ExecutionStatus::Succeeded, &input, Some(&output));
    let mut lines = show::in_lines(&execution, None, "");
    lines.extend(list::row(&execution));
    for line in lines {
        let steers = |character: char| character.is_control() || character == '\u{202e}';
        assert!(!line.contains(steers), "{line:?}");
    }
}
