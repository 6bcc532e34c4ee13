//! Clips that `MediaConvert` makes, on the local stack: from its stand-in's jobs to the outcome, and failures.

use aws_sdk_mediaconvert::types::{InputClipping, Job, JobSettings, JobStatus};
use model::{clip_spec::ClipSpec, plan::Plan};
use serde_json::{Value, json};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tests::{Ended, Stack, eventually};

/// The states of a clip that `MediaConvert` makes.
const TRANSCODED: [&str; 8] = [
    "Validate",
    "Probe",
    "ChooseEngine",
    "Transcode",
    "Verify",
    "Thumbnail",
    "Store",
    "Notify",
];
/// Half a minute of pictures at ten per second, and a tone. A picture's brightness is its number times seven, so that
/// neighbours are distinguishable.
const PICTURES: &str =
    "color=black:size=160x90:rate=10:duration=30,geq=lum='16+mod(N*7\\,217)':cb=128:cr=128";
const SOUND: &str = "sine=frequency=440:duration=30:sample_rate=48000";
/// Above what the local deployment allows for `Trim`, which is 20 s.
const LONG: (f64, f64) = (2.0, 27.0);

/// Makes the source and uploads it; returns the file.
async fn source(stack: &Stack, folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let file = folder.join(name);
    let inputs = ["-f", "lavfi", "-i", PICTURES, "-f", "lavfi", "-i", SOUND];
    // One keyframe, so that an exact cut is encoded whole.
    let codecs = [
        "-c:v", "libx264", "-preset", "veryfast", "-crf", "10", "-pix_fmt", "yuv420p",
    ];
    let codecs = [&codecs[..], &["-g", "1000", "-sc_threshold", "0"]].concat();
    stack.ffmpeg(
        &[
            &inputs[..],
            &codecs,
            options,
            &[file.to_str().expect("UTF-8")],
        ]
        .concat(),
    );
    stack.upload(name, &file).await;
    file
}

fn request(stack: &Stack, clip_id: &str, key: &str, (start, end): (f64, f64)) -> Value {
    let mut request = stack.request(clip_id, key, &json!(start), &json!(end));
    request["output"] = json!({"thumbnails": [64]});
    request
}

/// Starts an execution of a changed definition and waits for its end.
async fn run_changed(stack: &Stack, request: &Value, change: impl Fn(&mut Value)) -> Ended {
    let name = request["clipId"].as_str().expect("a clipId");
    let machine = changed_machine(stack, name, change).await;
    run_again(stack, &machine, request, "changed").await
}

/// Makes a state machine of a changed definition; returns its ARN.
async fn changed_machine(stack: &Stack, name: &str, change: impl Fn(&mut Value)) -> String {
    let arn = &stack.description.state_machine_arn;
    let machine = stack
        .sfn
        .describe_state_machine()
        .state_machine_arn(arn)
        .send()
        .await
        .expect("a state machine");
    let mut definition: Value = serde_json::from_str(machine.definition()).expect("JSON");
    change(&mut definition);
    let create = stack
        .sfn
        .create_state_machine()
        .name(name)
        .role_arn(machine.role_arn());
    let created = create
        .definition(definition.to_string())
        .send()
        .await
        .expect("a changed state machine");
    created.state_machine_arn
}

/// Starts another execution of a request and waits for its end.
async fn run_again(stack: &Stack, machine: &str, request: &Value, suffix: &str) -> Ended {
    let execution = start_again(stack, machine, request, suffix).await;
    stack.ended_execution(execution).await
}

/// Starts another execution of a request; returns its ARN.
async fn start_again(stack: &Stack, machine: &str, request: &Value, suffix: &str) -> String {
    let name = model::identity::Identity::of(request).execution_name();
    let start = stack
        .sfn
        .start_execution()
        .state_machine_arn(machine)
        .name(format!("{name}-{suffix}"));
    let started = start
        .input(request.to_string())
        .send()
        .await
        .expect("an execution");
    started.execution_arn
}

/// Makes `MediaConvert` the engine of clips of any length.
fn always_transcode(definition: &mut Value) {
    definition["States"]["Probe"]["Assign"]["engine"] = json!({
        "name": "transcode",
        "why": "always",
        "estimateUsd": "{% $states.result.Payload.estimates.transcodeUsd %}",
    });
}

fn frames(probed: &Value) -> u64 {
    let streams = probed["streams"].as_array().expect("streams");
    let video = streams
        .iter()
        .find(|stream| stream["codec_type"] == "video")
        .expect("pictures");
    video["nb_read_frames"]
        .as_str()
        .expect("a count")
        .parse()
        .expect("a number")
}

/// The brightness of a frame of the source.
fn brightness_of(number: u32) -> u8 {
    u8::try_from(16 + number * 7 % 217).expect("below 233")
}

/// Whether two frames are the same; neighbours are 7 apart.
fn same(one: u8, other: u8) -> bool {
    one.abs_diff(other) < 3
}

/// The clip of an outcome, downloaded, after checking that the outcome is what it should be.
async fn delivered(stack: &Stack, ended: &Ended, folder: &Path) -> PathBuf {
    assert_eq!(
        (ended.status.as_str(), ended.output["status"].as_str()),
        ("SUCCEEDED", Some("available")),
        "{ended:?}"
    );
    let file = folder.join(format!(
        "{}.mp4",
        ended.output["clipId"].as_str().expect("a clipId")
    ));
    stack
        .download(ended.output["clip"]["key"].as_str().expect("a key"), &file)
        .await;
    let bytes = std::fs::metadata(&file).expect("the clip").len();
    assert_eq!(ended.output["clip"]["bytes"], bytes);
    assert_eq!(
        ended.output["delivered"]["frames"],
        frames(&stack.ffprobe(&file))
    );
    file
}

/// The paths of all fields of a value.
fn shape(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| shape(value, &format!("{path}.{key}")))
            .collect::<Vec<_>>(),
        Value::Array(items) => items
            .first()
            .map_or_else(Vec::new, |item| shape(item, &format!("{path}[]"))),
        _ => vec![path.to_owned()],
    }
}

#[tokio::test]
async fn long_clip_is_made_by_mediaconvert_and_its_outcome_is_like_any_other() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "long.mp4", &["-c:a", "aac"]).await;
    let ended = stack.run(&request(&stack, "long", "long.mp4", LONG)).await;
    assert_eq!(ended.states, TRANSCODED);
    delivered(&stack, &ended, folder.path()).await;
    let (outcome, delivered_) = (&ended.output, &ended.output["delivered"]);
    assert_eq!(outcome["engine"]["name"], "transcode");
    assert_eq!(outcome["engine"]["why"], "encoding 25 s > 20 s");
    assert!(
        outcome["engine"]["estimateUsd"]
            .as_f64()
            .is_some_and(|usd| (0.003..0.01).contains(&usd)),
        "{outcome}"
    );
    assert_eq!(
        (
            &delivered_["frames"],
            &delivered_["start"],
            &delivered_["end"]
        ),
        (&json!(250), &json!(2.0), &json!(27.0))
    );
    assert_eq!(
        (&delivered_["audioCodec"], &delivered_["videoCodec"]),
        (&json!("aac"), &json!("h264"))
    );
    assert_eq!(stack.notification("long").await["Message"], *outcome);

    let mut short = stack
        .run(&request(&stack, "long-short", "long.mp4", (2.0, 4.0)))
        .await;
    assert_eq!(short.output["engine"]["name"], "trim");
    // Only `trim` says where it cut.
    let engine = short.output["engine"].as_object_mut().expect("an engine");
    assert!(engine.remove("cutting").is_some());
    assert_eq!(shape(&short.output, ""), shape(outcome, ""));

    let job = &stack.jobs("long").await[0];
    assert_eq!(
        job.user_metadata().expect("metadata")["execution"],
        ended.arn
    );
    assert_eq!(job.client_request_token().expect("a token").len(), 64);
}

#[tokio::test]
async fn copy_of_any_length_needs_no_mediaconvert() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "long-copy.mp4", &["-c:a", "aac"]).await;
    let mut request = request(&stack, "long-copy", "long-copy.mp4", LONG);
    request["cut"] = json!("copy");
    let ended = stack.run(&request).await;
    assert_eq!(
        (&ended.output["status"], &ended.output["engine"]["name"]),
        (&json!("available"), &json!("trim"))
    );
}

#[tokio::test]
async fn both_engines_deliver_the_same_frames() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let ntsc = [
        "-vf",
        "settb=1/30000,setpts=N*1001",
        "-r",
        "30000/1001",
        "-an",
    ];
    // Ten pictures per second, then five.
    let variable = [
        "-vf",
        "select='lt(n,150)+not(mod(n,2))'",
        "-fps_mode",
        "vfr",
        "-c:a",
        "aac",
    ];
    let aac = ["-c:a", "aac"];
    let sources: [(&str, &[&str]); 5] = [
        ("same-constant.mp4", &aac),
        ("same-ntsc.mp4", &ntsc),
        ("same-variable.mp4", &variable),
        ("same-stream.ts", &aac),
        ("same-matroska.mkv", &aac),
    ];
    for (name, options) in sources {
        source(&stack, folder.path(), name, options).await;
        for (index, range) in [(0.0, 0.3), (1.04, 3.0), (4.97, 8.031)]
            .into_iter()
            .enumerate()
        {
            let clip_id = format!("{}-{index}", name.split_once('.').expect("a suffix").0);
            let trimmed = stack.run(&request(&stack, &clip_id, name, range)).await;
            assert_eq!(trimmed.output["engine"]["name"], "trim", "{trimmed:?}");
            let transcoded = request(&stack, &format!("{clip_id}-mc"), name, range);
            let transcoded = run_changed(&stack, &transcoded, always_transcode).await;
            assert_eq!(
                transcoded.output["engine"]["name"], "transcode",
                "{transcoded:?}"
            );
            let one = stack.brightness(&delivered(&stack, &trimmed, folder.path()).await);
            let other = stack.brightness(&delivered(&stack, &transcoded, folder.path()).await);
            assert_eq!(one.len(), other.len(), "{clip_id}: {one:?} {other:?}");
            assert!(
                one.iter()
                    .zip(&other)
                    .all(|(one, other)| same(*one, *other)),
                "{clip_id}: {one:?} {other:?}"
            );
            let bounds = |ended: &Ended| {
                [
                    &ended.output["delivered"]["start"],
                    &ended.output["delivered"]["end"],
                ]
                .map(Clone::clone)
            };
            assert_eq!(bounds(&trimmed), bounds(&transcoded), "{clip_id}");
        }
    }
}

#[tokio::test]
async fn variable_frame_rate_becomes_the_next_higher_constant_one() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let variable = [
        "-vf",
        "select='lt(n,150)+not(mod(n,2))'",
        "-fps_mode",
        "vfr",
        "-c:a",
        "aac",
    ];
    source(&stack, folder.path(), "variable.mp4", &variable).await;
    let request = request(&stack, "variable", "variable.mp4", (13.0, 18.0));
    let ended = run_changed(&stack, &request, always_transcode).await;
    let frames = stack.brightness(&delivered(&stack, &ended, folder.path()).await);
    // Each of the last pictures is shown twice.
    let wanted: Vec<_> = (130..150)
        .chain((150..180).map(|number| number / 2 * 2))
        .map(brightness_of)
        .collect();
    assert_eq!(frames.len(), wanted.len());
    assert!(
        frames
            .iter()
            .zip(&wanted)
            .all(|(found, wanted)| same(*found, *wanted)),
        "{frames:?} {wanted:?}"
    );
}

#[tokio::test]
async fn trim_that_runs_out_of_time_memory_or_space_hands_over_to_mediaconvert() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "hand-over.mp4", &["-c:a", "aac"]).await;
    // An encoder that ends as if the system had killed it for lack of memory.
    let encoder = folder.path().join("ffmpeg");
    std::fs::write(&encoder, "#!/bin/sh\nkill -KILL $$\n").expect("a program");
    std::fs::set_permissions(&encoder, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    // An S3 that accepts connections and never answers.
    let silence = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", silence.local_addr().expect("an address"));

    // The executions use trim's unpublished version, whose settings nobody else uses.
    let trim = format!("{}-trim", stack.description.name_prefix);
    let before = stack.settings("trim");
    let configure = |timeout: &Value, name: &str, value: &str| {
        let mut settings = before.clone();
        settings["Timeout"] = timeout.clone();
        settings["Environment"]["Variables"][name] = json!(value);
        stack.configure("trim", &settings);
    };
    let minutes = json!(300);
    for (clip_id, timeout, name, value, error) in [
        (
            "hand-over-space",
            &minutes,
            "CLIPFLOW_SCRATCH_BYTES",
            "1000",
            "TrimBudgetExceeded",
        ),
        (
            "hand-over-memory",
            &minutes,
            "PATH",
            &path,
            "TrimBudgetExceeded",
        ),
        // Too short for the encoder, which is killed before trim itself is.
        (
            "hand-over-time",
            &json!(5),
            "CLIPFLOW_LOG",
            "info",
            "TrimBudgetExceeded",
        ),
        (
            "hand-over-silence",
            &json!(2),
            "AWS_ENDPOINT_URL_S3",
            &silent,
            "Sandbox.Timedout",
        ),
    ] {
        configure(timeout, name, value);
        let ended = run_changed(
            &stack,
            &request(&stack, clip_id, "hand-over.mp4", (1.0, 16.0)),
            |definition| {
                definition["States"]["Trim"]["Arguments"]["FunctionName"] = json!(trim);
            },
        )
        .await;
        assert_eq!(ended.states[3..5], ["Trim", "Transcode"], "{ended:?}");
        delivered(&stack, &ended, folder.path()).await;
        let why = ended.output["engine"]["why"].as_str().expect("why");
        assert!(
            why.starts_with(&format!("trim gave up ({error}): exact clip of 15 s")),
            "{why}"
        );
        assert_eq!(ended.output["engine"]["name"], "transcode");
        assert_eq!(ended.output["delivered"]["frames"], 150);
    }
    stack.configure("trim", &before);
}

#[tokio::test]
async fn job_that_fails_fails_the_execution_with_its_code_and_a_rerun_makes_the_clip() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "error.mp4", &["-an"]).await;
    stack.behave(
        "error",
        json!({"fail": {"code": 1040, "message": "Example error message"}}),
    );
    let request = request(&stack, "error", "error.mp4", LONG);
    let ended = stack.run(&request).await;
    assert_eq!(
        (
            ended.status.as_str(),
            ended.states.last().map(String::as_str)
        ),
        ("FAILED", Some("Transcode"))
    );
    assert_eq!(ended.failure.0, "TranscodeFailed");
    assert!(
        ended
            .failure
            .1
            .contains("ended with error 1040: Example error message"),
        "{}",
        ended.failure.1
    );
    stack.behave("error", json!({}));
    let rerun = run_again(&stack, &stack.description.state_machine_arn, &request, "r1").await;
    assert_eq!(rerun.states, TRANSCODED);
    delivered(&stack, &rerun, folder.path()).await;
    assert_eq!(
        rerun.output["delivered"].get("audioCodec"),
        None,
        "a source without sound"
    );
}

#[tokio::test]
async fn job_whose_events_are_lost_times_out_and_a_rerun_takes_its_clip() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "lost.mp4", &["-c:a", "aac"]).await;
    stack.behave("lost", json!({"events": "lost"}));
    let request = request(&stack, "lost", "lost.mp4", LONG);
    let ended = run_changed(&stack, &request, |definition| {
        definition["States"]["Transcode"]["TimeoutSeconds"] = json!(3);
        definition["States"]["Transcode"]["HeartbeatSeconds"] = json!(2);
    })
    .await;
    assert_eq!(
        (ended.status.as_str(), ended.failure.0.as_str()),
        ("FAILED", "States.Timeout"),
        "{ended:?}"
    );
    eventually("the end of the job", async || {
        stack
            .jobs("lost")
            .await
            .first()
            .filter(|job| job.status() == Some(&JobStatus::Complete))
            .map(|_| ())
    })
    .await;
    let rerun = run_again(&stack, &stack.description.state_machine_arn, &request, "r1").await;
    assert_eq!(rerun.states, TRANSCODED);
    delivered(&stack, &rerun, folder.path()).await;
    assert_eq!(
        stack.jobs("lost").await.len(),
        1,
        "the clip was not made again"
    );
}

#[tokio::test]
async fn job_that_waits_for_longer_than_two_reruns_completes_the_third() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "queued.mp4", &["-an"]).await;
    stack.behave("queued", json!({"wait": true}));
    let request = request(&stack, "queued", "queued.mp4", LONG);
    let impatient = |definition: &mut Value| {
        definition["States"]["Transcode"]["TimeoutSeconds"] = json!(3);
        definition["States"]["Transcode"]["HeartbeatSeconds"] = json!(2);
    };
    let machine = changed_machine(&stack, "queued", impatient).await;
    for suffix in ["changed", "r1", "r2"] {
        let ended = run_again(&stack, &machine, &request, suffix).await;
        let failure = (ended.status.as_str(), ended.failure.0.as_str());
        assert_eq!(failure, ("FAILED", "States.Timeout"), "{ended:?}");
        let job = &stack.jobs("queued").await[0];
        assert_eq!(job.status(), Some(&JobStatus::Submitted), "{suffix}");
    }
    let machine = &stack.description.state_machine_arn;
    let last = start_again(&stack, machine, &request, "r3").await;
    let job_id = stack.jobs("queued").await[0].id.clone().expect("an id");
    let task_key = format!("tasks/{job_id}.json");
    let file = folder.path().join("task.json");
    eventually("the last rerun to take the job over", async || {
        stack.download(&task_key, &file).await;
        let task = std::fs::read_to_string(&file).expect("a task");
        task.contains(&last).then_some(())
    })
    .await;
    stack.behave("queued", json!({}));
    let ended = stack.ended_execution(last).await;
    delivered(&stack, &ended, folder.path()).await;
    assert_eq!(stack.jobs("queued").await.len(), 1, "it is submitted once");
}

#[tokio::test]
async fn events_that_come_twice_or_in_the_wrong_order_change_nothing() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "events.mp4", &["-c:a", "aac"]).await;
    for way in ["duplicated", "reordered"] {
        stack.behave(way, json!({"events": way}));
        let ended = stack.run(&request(&stack, way, "events.mp4", LONG)).await;
        assert_eq!(ended.states, TRANSCODED, "{way}");
        delivered(&stack, &ended, folder.path()).await;
    }
}

#[tokio::test]
async fn job_that_somebody_cancels_fails_the_execution() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "cancelled.mp4", &["-an"]).await;
    stack.behave("cancelled", json!({"stall": true}));
    let request = request(&stack, "cancelled", "cancelled.mp4", LONG);
    stack.send(&request.to_string()).await;
    let job = eventually("a job", async || {
        let found = stack.jobs("cancelled").await;
        found
            .into_iter()
            .find(|job| job.status() == Some(&JobStatus::Progressing))
    })
    .await;
    let cancel = stack.mediaconvert.cancel_job().id(job.id().expect("an id"));
    cancel.send().await.expect("the job can be cancelled");
    let ended = stack.ended(&request).await;
    assert_eq!(
        (ended.status.as_str(), ended.failure.0.as_str()),
        ("FAILED", "TranscodeFailed")
    );
    assert!(
        ended.failure.1.contains("was cancelled"),
        "{}",
        ended.failure.1
    );
}

#[tokio::test]
async fn job_of_an_execution_that_is_aborted_is_cancelled() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "aborted.mp4", &["-an"]).await;
    // MiniStack lets an aborted execution's task keep waiting, and would still fail the execution when told that the
    // job was cancelled.
    stack.behave("aborted", json!({"stall": true, "events": "lost"}));
    let request = request(&stack, "aborted", "aborted.mp4", LONG);
    stack.send(&request.to_string()).await;
    let in_status = async |status: JobStatus| {
        eventually(&format!("a job that is {status}"), async || {
            stack
                .jobs("aborted")
                .await
                .into_iter()
                .find(|job| job.status() == Some(&status))
        })
        .await
    };
    in_status(JobStatus::Progressing).await;
    let stop = stack
        .sfn
        .stop_execution()
        .execution_arn(stack.execution_arn(&request))
        .cause("the wrong wave");
    stop.send().await.expect("the execution can be stopped");
    in_status(JobStatus::Canceled).await;
    let document = stack.document_that_is("aborted", "failed").await;
    let failure = document.get_document("failure").expect("a failure");
    let told = ["class", "state"].map(|field| failure.get_str(field).ok());
    assert_eq!(told, [Some("aborted"), Some("Transcode")]);
    let notification = stack.notification("aborted").await;
    assert_eq!(notification["Message"]["message"], "the wrong wave");
    assert_eq!(
        notification["MessageAttributes"]["class"]["Value"],
        "aborted"
    );
}

#[tokio::test]
async fn clip_above_its_ceiling_is_rejected_before_anything_is_encoded() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "dear.mp4", &["-an"]).await;
    let mut request = request(&stack, "dear", "dear.mp4", LONG);
    request["maxCostUsd"] = json!(0.000_001);
    let ended = stack.run(&request).await;
    assert_eq!(
        (&ended.output["status"], &ended.output["reason"]),
        (&json!("rejected"), &json!("TooExpensive"))
    );
    let message = ended.output["message"].as_str().expect("a message");
    assert!(
        message.contains("is estimated at 0.00")
            && message.contains("the request allows 0.000001 USD"),
        "{message}"
    );
    assert_eq!(ended.states, ["Validate", "Probe", "Store", "Notify"]);
}

/// Submits a job and waits for its end.
async fn submit(stack: &Stack, settings: JobSettings, role: &str) -> Result<Job, String> {
    let create = stack
        .mediaconvert
        .create_job()
        .role(role)
        .settings(settings)
        .send()
        .await;
    let created = create.map_err(|error| format!("{:?}", error.into_service_error()))?;
    let id = created.job.and_then(|job| job.id).expect("an id");
    Ok(eventually("the end of a job", async || {
        let job = stack
            .mediaconvert
            .get_job()
            .id(&id)
            .send()
            .await
            .expect("the job")
            .job
            .expect("the job");
        let status = job.status().map_or("", JobStatus::as_str);
        (!["SUBMITTED", "PROGRESSING"].contains(&status)).then_some(job)
    })
    .await)
}

/// A job for frames 10 to 29 of the first source and 50 to 54 of the second.
fn job_of_two(stack: &Stack, first: &str, second: &str, key: &str) -> JobSettings {
    let video = json!({"codec": "h264", "codedWidth": 160, "codedHeight": 90, "width": 160, "height": 90,
        "rotationDegrees": 0, "frameRate": 10.0, "constantFrameRate": true, "timescale": 10240, "frames": 300,
        "startSeconds": 0.0, "durationSeconds": 30.0, "bitRate": 1000});
    let source = |key: &str, audio: &Value| {
        let facts = json!({"container": "isom", "bytes": 1, "indexStart": 0, "indexBytes": 1, "durationSeconds": 30.0, "video": video,
            "audio": audio, "droppedTracks": []});
        json!({"object": {"bucket": stack.description.source_bucket, "key": key, "etag": "\"e\"", "bytes": 1}, "facts": facts})
    };
    let segment = |source: usize, start: f64, end: f64| {
        json!({"source": source, "window": {"startSeconds": start, "endSeconds": end, "durationSeconds": end - start,
            "frames": 0, "prerollFrames": 0, "keyframeSeconds": 0.0, "nextKeyframeSeconds": null,
            "hasAudio": source == 0, "timescale": 10240, "outputBytes": 0, "sourceBytes": 0}})
    };
    let audio =
        json!({"codec": "aac", "channels": 1, "sampleRate": 48000, "bitRate": 64000, "tracks": 1});
    let plan = json!({"sources": [source(first, &audio), source(second, &Value::Null)],
        "segments": [segment(0, 1.0, 3.0), segment(1, 5.0, 5.5)]});
    let plan: Plan = serde_json::from_value(plan).expect("a plan");
    let request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact", "thumbnails": [],
        "metadata": {}});
    let request: model::request::ClipRequest = serde_json::from_value(request).expect("a request");
    let spec = ClipSpec::of(request.look(), &plan).expect("a clip");
    let destination = format!("s3://{}/{key}", stack.description.bucket);
    transcode::job::settings(&request, &plan, &spec, &destination).expect("a job")
}

fn role(stack: &Stack) -> String {
    let name = format!(
        "{}-mediaconvert-{}",
        stack.description.name_prefix, stack.description.region
    );
    format!("arn:aws:iam::000000000000:role/{name}")
}

#[tokio::test]
async fn inputs_are_joined_in_order_also_when_one_has_no_sound() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "join-1.mp4", &["-c:a", "aac"]).await;
    source(&stack, folder.path(), "join-2.mp4", &["-an"]).await;
    let settings = job_of_two(&stack, "join-1.mp4", "join-2.mp4", "clips/join/clip");
    let job = submit(&stack, settings, &role(&stack))
        .await
        .expect("a job");
    assert_eq!(job.status(), Some(&JobStatus::Complete), "{job:?}");
    let file = folder.path().join("joined.mp4");
    stack.download("clips/join/clip.mp4", &file).await;
    let frames = stack.brightness(&file);
    let wanted: Vec<_> = (10..30).chain(50..55).map(brightness_of).collect();
    assert_eq!(frames.len(), wanted.len());
    assert!(
        frames
            .iter()
            .zip(&wanted)
            .all(|(found, wanted)| same(*found, *wanted)),
        "{frames:?} {wanted:?}"
    );
    assert_eq!(
        stack.ffprobe(&file)["streams"].as_array().map(Vec::len),
        Some(2)
    );
}

#[tokio::test]
async fn job_that_the_service_would_refuse_is_refused() {
    let stack = Stack::connect().await;
    let settings = || job_of_two(&stack, "a.mp4", "b.mp4", "clips/refused/clip");
    let clipped = |start: &str, end: &str| {
        let mut settings = settings();
        let clipping = InputClipping::builder()
            .start_timecode(start)
            .end_timecode(end)
            .build();
        settings.inputs.as_mut().expect("inputs")[0].input_clippings = Some(vec![clipping]);
        settings
    };
    let mut soundless = settings();
    soundless.inputs.as_mut().expect("inputs")[0].audio_selectors = None;
    let cases = [
        (
            settings(),
            "arn:aws:iam::000000000000:role/absent",
            "does not exist",
        ),
        (settings(), "clipflow-mediaconvert", "/role"),
        (
            clipped("00:00:03:00", "00:00:02:09"),
            "",
            "is before the start",
        ),
        (clipped("00:00:60:00", "00:01:00:00"), "", "startTimecode"),
        (soundless, "", "refers to no audio selector"),
    ];
    for (settings, role_arn, message) in cases {
        let role = if role_arn.is_empty() {
            role(&stack)
        } else {
            role_arn.to_owned()
        };
        let refusal = submit(&stack, settings, &role).await.expect_err(message);
        assert!(
            refusal.contains("BadRequestException") && refusal.contains(message),
            "{refusal}"
        );
    }
}

#[tokio::test]
async fn time_code_that_no_frame_has_fails_the_job() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(&stack, folder.path(), "timecode.mp4", &["-c:a", "aac"]).await;
    let mut settings = job_of_two(
        &stack,
        "timecode.mp4",
        "timecode.mp4",
        "clips/timecode/clip",
    );
    // At ten frames per second, they are numbered 0 to 9.
    let clipping = InputClipping::builder()
        .start_timecode("00:00:01:10")
        .end_timecode("00:00:02:00")
        .build();
    settings.inputs.as_mut().expect("inputs")[0].input_clippings = Some(vec![clipping]);
    let job = submit(&stack, settings, &role(&stack))
        .await
        .expect("a job");
    assert_eq!(
        (job.status(), job.error_code()),
        (Some(&JobStatus::Error), Some(1010)),
        "{job:?}"
    );
}
