//! The contract between the parts, checked without a network: the definition, the functions, the error names and
//! Terraform.

use model::{ErrorKind, outcome::EngineName};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Error names for which `Trim` hands over to the other engine.
const SWITCH: [&str; 5] = [
    "TrimBudgetExceeded",
    "Sandbox.Timedout",
    KILLED,
    "Lambda.Unknown",
    "States.Timeout",
];
/// The error of a function whose process ended: it was killed, for example because of its memory, or could not start.
const KILLED: &str = "Runtime.ExitError";
/// Errors of Lambda itself that every task retries.
const LAMBDA: [&str; 5] = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
];
/// Errors that end the execution as failed, to be redriven.
const FAILURES: [ErrorKind; 3] = [
    ErrorKind::TranscodeFailed,
    ErrorKind::DeliveryMismatch,
    ErrorKind::Internal,
];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn definition() -> Value {
    serde_json::from_str(&read("statemachine/clip.asl.json"))
        .expect("the definition is JSON with its placeholders")
}

fn states() -> Map<String, Value> {
    definition()["States"].as_object().expect("states").clone()
}

fn tasks() -> impl Iterator<Item = (String, Value)> {
    states()
        .into_iter()
        .filter(|(_, state)| state["Type"] == "Task")
}

/// The function of a task, from its placeholder.
fn function(state: &Value) -> String {
    let name = state["Arguments"]["FunctionName"]
        .as_str()
        .expect("a function");
    let name = name
        .strip_prefix("${")
        .and_then(|name| name.strip_suffix("_arn}"));
    name.unwrap_or_else(|| panic!("{name:?} is no placeholder of an alias"))
        .to_owned()
}

fn names<'a>(state: &'a Value, list: &'a str) -> impl Iterator<Item = (&'a Value, &'a str)> {
    let entries = state[list].as_array().into_iter().flatten();
    entries.flat_map(|entry| {
        let names = entry["ErrorEquals"].as_array().expect("names");
        names
            .iter()
            .map(move |name| (entry, name.as_str().expect("a name")))
    })
}

#[test]
fn every_undotted_error_name_is_a_variant() {
    let known: BTreeSet<_> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
    for (state, task) in tasks() {
        for (_, name) in names(&task, "Retry").chain(names(&task, "Catch")) {
            assert!(
                name.contains('.') || known.contains(name),
                "{state}: {name} is raised by nobody"
            );
        }
    }
}

#[test]
fn every_variant_is_dealt_with() {
    let mut named = BTreeSet::new();
    for (_, task) in tasks() {
        named.extend(
            names(&task, "Retry")
                .chain(names(&task, "Catch"))
                .map(|(_, name)| name.to_owned()),
        );
    }
    for kind in ErrorKind::ALL {
        assert!(
            named.contains(kind.name()) != FAILURES.contains(kind),
            "{}",
            kind.name()
        );
    }
}

#[test]
fn nothing_but_rejections_the_end_of_a_wait_and_the_switch_of_engine_is_caught() {
    for (state, value) in states() {
        for (catcher, name) in names(&value, "Catch") {
            let rejection = ErrorKind::ALL
                .iter()
                .any(|kind| kind.name() == name && kind.is_rejection());
            let switch = state == "Trim" && SWITCH.contains(&name);
            let waited = name == ErrorKind::SourceNotReady.name();
            assert!(
                rejection || switch || waited,
                "{state} catches {name}: a state whose failure is caught cannot be redriven"
            );
            assert!(
                !rejection || catcher["Next"] == "Store",
                "{state}: {name} goes to {}",
                catcher["Next"]
            );
            assert!(
                !switch || catcher["Next"] == "Transcode",
                "{state}: {name} goes to {}",
                catcher["Next"]
            );
        }
        // A redrive begins at the failed state: it must be one that may succeed then, and not one of several parallel
        // ones.
        assert!(
            ["Task", "Choice"].contains(&value["Type"].as_str().expect("a type")),
            "{state} is a {}",
            value["Type"]
        );
    }
}

#[test]
fn source_at_fault_is_rejected_by_whatever_state_finds_out() {
    let states = states();
    for state in ["Probe", "Trim", "Transcode", "Verify", "Thumbnail"] {
        let stored: BTreeSet<_> = names(&states[state], "Catch")
            .filter(|(catcher, _)| catcher["Next"] == "Store")
            .map(|(_, name)| name)
            .collect();
        for kind in ErrorKind::ALL.iter().filter(|kind| kind.is_rejection()) {
            let name = kind.name();
            assert!(stored.contains(name), "{state} does not reject {name}");
        }
    }
}

#[test]
fn report_knows_what_kind_of_cause_each_failure_has() {
    use model::outcome::FailureClass::{Bug, Dependency, Media};
    for (state, task) in tasks() {
        for (_, name) in
            names(&task, "Retry").filter(|(_, name)| *name != ErrorKind::SourceNotReady.name())
        {
            let class = if name == KILLED { Bug } else { Dependency };
            assert_eq!(report::history::class(name), class, "{state}: {name}");
        }
    }
    let classes = FAILURES.map(|kind| report::history::class(kind.name()));
    assert_eq!(classes, [Media, Media, Bug]);
}

#[test]
fn state_whose_job_report_cancels_is_the_one_that_waits_for_a_job() {
    let waits = |task: &Value| task["Resource"].to_string().contains("waitForTaskToken");
    let waiting: Vec<_> = tasks()
        .filter(|(_, task)| waits(task))
        .map(|(state, _)| state)
        .collect();
    assert_eq!(waiting, [report::TRANSCODE]);
}

#[test]
fn every_task_has_a_timeout_and_retries_what_passes() {
    for (state, task) in tasks() {
        assert!(!task["TimeoutSeconds"].is_null(), "{state} has no timeout");
        let retried: BTreeSet<_> = names(&task, "Retry")
            .map(|(_, name)| name.to_owned())
            .collect();
        for name in LAMBDA.into_iter().chain(["DependencyUnavailable"]) {
            assert!(retried.contains(name), "{state} does not retry {name}");
        }
        assert!(
            !retried.contains("States.ALL"),
            "{state} retries everything"
        );
        for entry in task["Retry"].as_array().expect("retries") {
            // Jitter would make the wait for a recording shorter than promised.
            let waits = entry["ErrorEquals"] == json!(["SourceNotReady"]);
            assert_eq!(entry["JitterStrategy"] == "FULL", !waits, "{state}");
        }
    }
}

#[test]
fn killed_function_is_tried_again_once_and_then_trim_hands_over() {
    for (state, task) in tasks() {
        let mut retriers = names(&task, "Retry").filter(|(_, name)| *name == KILLED);
        let (retrier, _) = retriers
            .next()
            .unwrap_or_else(|| panic!("{state} does not retry"));
        assert_eq!(retrier["MaxAttempts"], 1, "{state}");
        let caught = names(&task, "Catch").any(|(_, name)| name == KILLED);
        assert_eq!(caught, state == "Trim", "{state}");
    }
}

#[test]
fn no_two_retriers_of_a_state_say_the_same() {
    for (state, mut task) in tasks() {
        let mut numbers = BTreeSet::new();
        for retrier in task["Retry"].as_array_mut().expect("retries") {
            let retrier = retrier.as_object_mut().expect("a retrier");
            let errors = retrier.remove("ErrorEquals");
            let fresh = numbers.insert(json!(retrier).to_string());
            assert!(fresh, "{state} says the same of {errors:?} and of others");
        }
    }
}

#[test]
fn recording_that_is_waited_for_in_vain_is_left_to_the_last_attempt() {
    let states = states();
    assert_eq!(states["Validate"]["Assign"]["waited"], false);
    let catchers = states["Probe"]["Catch"].as_array().expect("catchers");
    let catcher = catchers
        .iter()
        .find(|catcher| catcher["ErrorEquals"] == json!(["SourceNotReady"]));
    let catcher = catcher.expect("its own catcher");
    assert_eq!(
        (&catcher["Next"], &catcher["Assign"]),
        (&json!("Probe"), &json!({"waited": true}))
    );
    let waits =
        tasks().filter(|(_, task)| names(task, "Retry").any(|(_, name)| name == "SourceNotReady"));
    assert_eq!(
        waits.map(|(state, _)| state).collect::<Vec<_>>(),
        ["Probe"],
        "nothing else looks for recordings"
    );
}

#[test]
fn accepted_clip_takes_at_most_nine_transitions() {
    for engine in ["Trim", "Transcode"] {
        let path = path(engine);
        assert_eq!(path.last().map(String::as_str), Some("Notify"));
        assert!(
            path.len() < 9,
            "{path:?} and the start are more than nine transitions"
        );
    }
}

#[test]
fn task_that_waits_for_an_event_notices_when_none_comes() {
    for (state, task) in
        tasks().filter(|(_, task)| task["Resource"].to_string().contains("waitForTaskToken"))
    {
        assert!(
            !task["HeartbeatSeconds"].is_null(),
            "{state} has no heartbeat"
        );
    }
}

#[test]
fn engine_is_the_one_that_probe_chose() {
    let states = states();
    assert_eq!(
        states["Probe"]["Assign"]["engine"],
        "{% $states.result.Payload.engine %}"
    );
    let choice = &states["ChooseEngine"];
    let transcode = json!(EngineName::Transcode);
    let condition = format!(
        "{{% $engine.name = '{}' %}}",
        transcode.as_str().expect("a name")
    );
    assert_eq!(
        choice["Choices"],
        json!([{"Condition": condition, "Next": "Transcode"}])
    );
    assert_eq!(choice["Default"], "Trim");
}

#[test]
fn every_switch_of_the_engine_says_why() {
    let catchers = states()["Trim"]["Catch"]
        .as_array()
        .expect("catchers")
        .clone();
    for catcher in catchers
        .iter()
        .filter(|catcher| catcher["Next"] == "Transcode")
    {
        let engine = &catcher["Assign"]["engine"];
        assert_eq!(
            (&engine["name"], engine["why"].is_string()),
            (&json!(EngineName::Transcode), true),
            "{catcher}"
        );
    }
}

#[test]
fn state_is_named_like_its_function() {
    for (state, task) in tasks() {
        assert_eq!(state.to_lowercase(), function(&task));
    }
}

#[test]
fn readme_of_the_definition_names_every_state_and_function() {
    let readme = read("statemachine/README.md");
    for (state, value) in states() {
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{state}` |")));
        let row = row.unwrap_or_else(|| panic!("statemachine/README.md has no row for {state}"));
        if value["Type"] == "Task" {
            assert!(
                row.contains(&format!("functions/{}", function(&value))),
                "{row}"
            );
        }
    }
}

/// The functions of Terraform's map, and whether each is a state.
fn terraform_functions() -> BTreeMap<String, bool> {
    let body: hcl::Body = hcl::from_str(&read("terraform/locals.tf")).expect("locals.tf is HCL");
    let functions = body
        .blocks()
        .filter(|block| block.identifier() == "locals")
        .flat_map(|block| block.body().attributes())
        .find(|attribute| attribute.key() == "functions")
        .expect("a local named functions");
    let hcl::Expression::ForExpr(each) = functions.expr() else {
        panic!("local.functions is no for expression")
    };
    let hcl::Expression::Object(map) = &each.collection_expr else {
        panic!("local.functions is made of no object")
    };
    let entry = |(key, value): (&hcl::ObjectKey, &hcl::Expression)| {
        let hcl::Expression::Object(settings) = value else {
            panic!("{key} is no object")
        };
        let no_state = settings.iter().any(|(key, value)| {
            key.to_string() == "state" && *value == hcl::Expression::Bool(false)
        });
        (key.to_string(), !no_state)
    };
    map.iter().map(entry).collect()
}

#[test]
fn every_function_is_deployed_and_every_deployed_function_exists() {
    let folders = std::fs::read_dir(root().join("functions")).expect("functions/");
    let crates = folders.map(|folder| {
        folder
            .expect("a folder")
            .file_name()
            .into_string()
            .expect("UTF-8")
    });
    let crates: BTreeSet<_> = crates.filter(|name| name != "core").collect();
    assert_eq!(crates, terraform_functions().into_keys().collect());
}

#[test]
fn every_state_function_is_used_by_the_definition() {
    let used: BTreeSet<_> = tasks().map(|(_, task)| function(&task)).collect();
    let deployed = terraform_functions()
        .into_iter()
        .filter(|(_, state)| *state)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(used, deployed);
}

#[test]
fn every_placeholder_is_supplied() {
    let placeholder = regex::Regex::new(r"\$\{(\w+)\}").expect("a pattern");
    let (text, terraform) = (
        read("statemachine/clip.asl.json"),
        read("terraform/statemachine.tf"),
    );
    let functions = terraform_functions();
    for name in placeholder
        .captures_iter(&text)
        .map(|found| found[1].to_owned())
    {
        let of_function = name
            .strip_suffix("_arn")
            .is_some_and(|function| functions.contains_key(function));
        let assigned = regex::Regex::new(&format!(r"(?m)^\s+{name}\s+="))
            .expect("a pattern")
            .is_match(&terraform);
        assert!(
            of_function || assigned,
            "terraform/statemachine.tf does not supply {name}"
        );
    }
    assert!(
        !text.contains("%{"),
        "templatefile would read %{{ as a directive"
    );
}

/// Evaluates the part of `JSONata` that the definition uses to pass values on: a path from a variable.
fn evaluate(template: &Value, variables: &Map<String, Value>) -> Value {
    match template {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), evaluate(value, variables)))
            .collect(),
        Value::String(text) => match text
            .strip_prefix("{% $")
            .and_then(|text| text.strip_suffix(" %}"))
        {
            Some(path) => {
                let value = path
                    .split('.')
                    .try_fold(&Value::Object(variables.clone()), |at, key| at.get(key))
                    .cloned();
                value.unwrap_or_else(|| panic!("{path} is not there"))
            }
            None => Value::String(text.clone()),
        },
        other => other.clone(),
    }
}

/// What each function returns; fields that its own tests check have any valid value.
fn samples() -> Map<String, Value> {
    let window = json!({"startSeconds": 1.0, "endSeconds": 2.0, "durationSeconds": 1.0, "frames": 30, "prerollFrames": 0,
        "keyframeSeconds": 1.0, "nextKeyframeSeconds": null, "hasAudio": true, "timescale": 30000,
        "outputBytes": 1000, "sourceBytes": 900});
    let video = json!({"codec": "h264", "codedWidth": 640, "codedHeight": 360, "width": 640, "height": 360,
        "rotationDegrees": 0, "frameRate": 30.0, "constantFrameRate": true, "timescale": 30000, "frames": 300,
        "startSeconds": 0.0, "durationSeconds": 10.0, "bitRate": 1000});
    let facts = json!({"container": "isom", "bytes": 10000, "indexStart": 0, "indexBytes": 100, "durationSeconds": 10.0, "video": video,
        "audio": {"codec": "aac", "channels": 2, "sampleRate": 48000, "bitRate": 1000, "tracks": 1}, "droppedTracks": []});
    let interval = json!({"startTimestampInMs": 1_533_224_400_000_u64, "endTimestampInMs": 1_533_224_422_000_u64});
    let object = json!({"bucket": "archive", "key": "k.mp4", "etag": "\"e\"", "bytes": 10000});
    let clip = json!({"key": "clips/a/b/clip.mp4", "bytes": 1000, "etag": "e"});
    let mut damaged_clip = clip.clone();
    damaged_clip["damaged"] =
        json!({"pictures": 1, "places": [{"start": 0.5, "end": 0.6, "pictures": 1}]});
    let delivered = json!({"start": 1.0, "end": 2.0, "durationSeconds": 1.0, "frames": 30, "width": 640, "height": 360,
        "videoCodec": "h264", "audioCodec": "aac"});
    let estimates = probe::estimate::Estimates {
        trim_seconds: 3.0,
        trim_usd: 0.001,
        transcode_usd: 0.01,
        scratch_bytes: 2000,
    };
    let samples = json!({
        "validate": {"clipId": "a", "prefix": "clips/a/b/", "segments":
            [{"source": {"bucket": "archive", "key": "k.mp4"}, "start": 1, "end": 2}],
            "camera": {"cameraId": "hi-pipeline", "startTimestampInMs": 1_533_224_400_000_u64,
                "endTimestampInMs": 1_533_224_422_000_u64, "coverage": "complete"},
            "cut": "exact", "thumbnails": [300], "metadata": {}},
        "probe": {"sources": [{"object": object, "facts": facts}], "segments": [{"source": 0, "window": window}],
            "coverage": {"covered": [interval], "missing": []}, "clipSeconds": 1.0, "encodedSeconds": 0.5, "estimates": estimates,
            "engine": {"name": "trim", "why": "short", "estimateUsd": 0.1}},
        "trim": {"clip": damaged_clip, "engine": {"name": "trim", "why": "short; copied", "estimateUsd": 0.1}},
        "transcode": {"jobId": "1-a"},
        "verify": delivered,
        "thumbnail": {"thumbnails": [{"size": 300, "key": "clips/a/b/thumb-300.jpg"}], "preview": null},
        "store": {"clipId": "a", "status": "available", "bucket": "clips", "clip": clip,
            "execution": {"arn": "arn:e", "startedAt": "2026-01-01T00:00:00Z"}, "updatedAt": "2026-01-01T00:00:00Z"},
        "notify": {"messageId": "m"},
    });
    samples.as_object().expect("an object").clone()
}

fn accepts(function: &str, payload: Value) {
    use model::parse;
    let parsed = match function {
        "validate" => parse::<validate::Input>(payload).map(drop),
        "probe" => parse::<probe::Input>(payload).map(drop),
        "trim" => parse::<trim::Input>(payload).map(drop),
        "transcode" => parse::<transcode::Input>(payload).map(drop),
        "verify" => parse::<verify::Input>(payload).map(drop),
        "thumbnail" => parse::<thumbnail::Input>(payload).map(drop),
        "store" => parse::<store::Input>(payload).map(drop),
        "notify" => parse::<notify::Input>(payload).map(drop),
        other => panic!("{other} has no sample"),
    };
    parsed.unwrap_or_else(|error| {
        panic!("{function} does not understand what its state hands it: {error}")
    });
}

/// The states of a clip made by `engine`, from first to last.
fn path(engine: &str) -> Vec<String> {
    let states = states();
    let mut path = vec![
        definition()["StartAt"]
            .as_str()
            .expect("a start")
            .to_owned(),
    ];
    loop {
        let state = &states[path.last().expect("a state")];
        let next = if state["Type"] == "Choice" {
            Some(engine)
        } else {
            state["Next"].as_str()
        };
        match next {
            Some(next) => path.push(next.to_owned()),
            None => return path,
        }
    }
}

#[test]
fn each_function_understands_what_the_states_before_it_hand_on() {
    for engine in ["Trim", "Transcode"] {
        let (states, samples) = (states(), samples());
        let execution =
            json!({"Id": "arn:e", "StartTime": "2026-01-01T00:00:00Z", "Input": {"clipId": "a"}});
        let context = json!({"Execution": execution, "Task": {"Token": "t"}});
        let mut variables = Map::new();
        let mut input = json!({});
        for name in path(engine) {
            let state = &states[&name];
            if state["Type"] != "Task" {
                continue;
            }
            let function = function(state);
            variables.insert("states".into(), json!({"context": context, "input": input}));
            accepts(
                &function,
                evaluate(&state["Arguments"]["Payload"], &variables),
            );
            // What resume sends is the task's result itself; a function invoked synchronously returns it as the
            // payload.
            let waits = state["Resource"]
                .as_str()
                .is_some_and(|resource| resource.ends_with(".waitForTaskToken"));
            variables["states"]["result"] = if waits {
                samples["trim"].clone()
            } else {
                json!({"Payload": samples[&function]})
            };
            let assigned = evaluate(&state["Assign"], &variables);
            input = if state["Output"].is_null() {
                samples[&function].clone()
            } else {
                evaluate(&state["Output"], &variables)
            };
            variables.extend(assigned.as_object().cloned().unwrap_or_default());
        }
    }
}

#[test]
fn store_understands_a_rejection() {
    let rejected = json!({"status": "rejected", "reason": "TooLong", "message": "it is too long"});
    let execution = json!({"arn": "arn:e", "startedAt": "2026-01-01T00:00:00Z"});
    accepts(
        "store",
        json!({"execution": execution, "request": ["not", "even", "an", "object"], "result": rejected}),
    );
}
