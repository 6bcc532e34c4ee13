//! Whole executions on the local stack: every path of the definition, checked by objects, documents and messages.

use clip_store::{ClipStore, Saved};
use futures::future::join_all;
use model::outcome::{Outcome, Status};
use mongodb::bson::Document;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tests::{Ended, Stack, eventually};

/// The states of a delivered clip.
const ACCEPTED: [&str; 8] = [
    "Validate",
    "Probe",
    "ChooseEngine",
    "Trim",
    "Verify",
    "Thumbnail",
    "Store",
    "Notify",
];
/// Colour bars with a running counter, 25 pictures per second, and a tone.
const PICTURES: &str = "testsrc2=size=640x360:rate=25:duration=6";
const SOUND: &str = "sine=frequency=440:duration=6:sample_rate=48000";

/// Makes a source with `FFmpeg` and uploads it under its name; the folder is removed after the test.
async fn source(stack: &Stack, name: &str, options: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    let inputs = ["-f", "lavfi", "-i", PICTURES, "-f", "lavfi", "-i", SOUND];
    stack.ffmpeg(&[&inputs, options, &[file.to_str().expect("UTF-8")]].concat());
    stack.upload(name, &file).await;
    folder
}

/// Checks what holds for every delivered clip: it is stored, announced, and exists. Returns the outcome.
async fn delivered(stack: &Stack, clip_id: &str, ended: &Ended, folder: &Path) -> (Value, PathBuf) {
    assert_eq!(
        (ended.status.as_str(), &ended.states[..]),
        ("SUCCEEDED", &ACCEPTED.map(str::to_owned)[..]),
        "{ended:?}"
    );
    let outcome = ended.output.clone();
    assert_eq!(outcome["status"], "available");
    assert_eq!(outcome["execution"]["arn"], ended.arn);
    let notification = stack.notification(clip_id).await;
    assert_eq!(
        notification["Message"], outcome,
        "the message is the outcome"
    );
    assert_eq!(
        notification["MessageAttributes"]["status"]["Value"],
        "available"
    );
    assert_eq!(
        notification["MessageAttributes"]["clipId"]["Value"],
        clip_id
    );
    let document = stack.document(clip_id).await.expect("there is a document");
    assert_document(&document, &outcome);
    let file = folder.join("clip.mp4");
    stack
        .download(outcome["clip"]["key"].as_str().expect("a key"), &file)
        .await;
    assert_eq!(
        outcome["clip"]["bytes"],
        std::fs::metadata(&file).expect("it is there").len()
    );
    (outcome, file)
}

fn assert_document(document: &Document, outcome: &Value) {
    assert_eq!(
        document.get_str("_id").expect("an id"),
        outcome["clipId"].as_str().expect("a clipId")
    );
    for field in ["clipId", "status", "reason", "message", "bucket"] {
        assert_eq!(
            document.get_str(field).ok(),
            outcome[field].as_str(),
            "{field}"
        );
    }
    let execution = document.get_document("execution").expect("an execution");
    assert_eq!(
        execution.get_str("arn").ok(),
        outcome["execution"]["arn"].as_str()
    );
    execution.get_datetime("startedAt").expect("a date");
    document.get_datetime("updatedAt").expect("a date");
}

fn stream<'a>(probe: &'a Value, kind: &str) -> Option<&'a Value> {
    probe["streams"]
        .as_array()?
        .iter()
        .find(|stream| stream["codec_type"] == kind)
}

fn frames(probe: &Value) -> u64 {
    let video = stream(probe, "video").expect("a video stream");
    video["nb_read_frames"]
        .as_str()
        .and_then(|frames| frames.parse().ok())
        .expect("frames were counted")
}

#[tokio::test]
async fn exact_clip_of_real_footage_is_delivered_stored_and_announced() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    stack
        .upload(
            "e2e/bigbuckbunny.mp4",
            &stack.description.footage.join("bigbuckbunny.mp4"),
        )
        .await;
    let mut request = stack.request(
        "e2e-exact",
        "e2e/bigbuckbunny.mp4",
        &json!(1),
        &json!("00:00:03.0"),
    );
    request["output"] = json!({"thumbnails": [640, 200, 5000 - 1000]});
    request["metadata"] = json!({"spot": "Pipeline"});
    let ended = stack.run(&request).await;
    let (outcome, file) = delivered(&stack, "e2e-exact", &ended, folder.path()).await;

    let probe = stack.ffprobe(&file);
    assert_eq!(outcome["delivered"]["frames"], frames(&probe));
    assert_eq!(frames(&probe), 50, "two seconds at 25 frames a second");
    assert_eq!(outcome["delivered"]["videoCodec"], "h264");
    assert_eq!(outcome["delivered"]["audioCodec"], "aac");
    assert_eq!(outcome["metadata"]["spot"], "Pipeline");
    assert_eq!(outcome["requested"], request);
    assert_eq!(outcome["engine"]["name"], "trim");
    let thumbnails = outcome["thumbnails"].as_array().expect("thumbnails");
    assert_eq!(
        thumbnails
            .iter()
            .map(|one| one["size"].as_u64())
            .collect::<Vec<_>>(),
        [Some(200), Some(640), Some(1280)]
    );
    for thumbnail in thumbnails {
        let picture = folder.path().join("thumb.jpg");
        stack
            .download(thumbnail["key"].as_str().expect("a key"), &picture)
            .await;
        assert_eq!(
            stack.ffprobe(&picture)["streams"][0]["width"],
            thumbnail["size"]
        );
    }
}

#[tokio::test]
async fn copied_clip_shows_exactly_the_interval_and_encodes_nothing() {
    let stack = Stack::connect().await;
    let options = [
        "-c:v",
        "libx264",
        "-g",
        "50",
        "-c:a",
        "aac",
        "-shortest",
        "-timecode",
        "10:00:00:00",
    ];
    let folder = source(&stack, "copy.mp4", &options).await;
    let mut request = stack.request("e2e-copy", "copy.mp4", &json!(2.52), &json!("80%"));
    request["cut"] = json!("copy");
    let ended = stack.run(&request).await;
    let (outcome, file) = delivered(&stack, "e2e-copy", &ended, folder.path()).await;
    let probe = stack.ffprobe(&file);
    assert_eq!(
        frames(&probe),
        57,
        "from 2.52 s to 4.8 s at 25 frames a second"
    );
    assert_eq!(
        (
            &outcome["delivered"]["start"],
            &outcome["delivered"]["dropped"]
        ),
        (&json!(2.52), &json!(["time code"]))
    );
    let encoder =
        |probe: &Value| stream(probe, "video").expect("pictures")["extradata_size"].clone();
    assert_eq!(
        encoder(&probe),
        encoder(&stack.ffprobe(&folder.path().join("copy.mp4"))),
        "the source's own parameter sets"
    );
}

#[tokio::test]
async fn exact_clip_is_copied_from_its_first_keyframe_on() {
    let stack = Stack::connect().await;
    let folder = source(
        &stack,
        "smart.mp4",
        &["-c:v", "libx264", "-g", "25", "-c:a", "aac", "-shortest"],
    )
    .await;
    let (upright, rotated) = (
        folder.path().join("smart.mp4"),
        folder.path().join("smart-rotated.mp4"),
    );
    let path = |file: &Path| file.to_str().expect("UTF-8").to_owned();
    stack.ffmpeg(&[
        "-display_rotation",
        "90",
        "-i",
        &path(&upright),
        "-c",
        "copy",
        &path(&rotated),
    ]);
    stack.upload("smart-rotated.mp4", &rotated).await;
    let ended = stack
        .run(&stack.request("e2e-smart", "smart-rotated.mp4", &json!(1.6), &json!(4)))
        .await;
    let (outcome, file) = delivered(&stack, "e2e-smart", &ended, folder.path()).await;
    let why = outcome["engine"]["why"].as_str().expect("why");
    assert!(
        why.ends_with("; smart cut: 0.40 s of 2.40 s are encoded"),
        "{why}"
    );
    assert_eq!(
        (
            &outcome["delivered"]["width"],
            &outcome["delivered"]["height"]
        ),
        (&json!(360), &json!(640))
    );
    let probe = stack.ffprobe(&file);
    assert_eq!(
        frames(&probe),
        60,
        "from 1.6 s to 4 s at 25 frames a second"
    );
    assert_eq!(
        stream(&probe, "video").expect("pictures")["side_data_list"][0]["rotation"],
        90,
        "as in the source"
    );
}

#[tokio::test]
async fn silent_source_makes_a_silent_clip() {
    let stack = Stack::connect().await;
    let folder = source(&stack, "silent.mp4", &["-an", "-c:v", "libx264"]).await;
    let ended = stack
        .run(&stack.request("e2e-silent", "silent.mp4", &json!(1), &json!(2)))
        .await;
    let (outcome, file) = delivered(&stack, "e2e-silent", &ended, folder.path()).await;
    assert_eq!(outcome["delivered"].get("audioCodec"), None);
    let probe = stack.ffprobe(&file);
    assert_eq!((frames(&probe), stream(&probe, "audio")), (25, None));
}

#[tokio::test]
async fn rotated_phone_video_is_shown_upright() {
    let stack = Stack::connect().await;
    let folder = source(
        &stack,
        "upright.mp4",
        &["-c:v", "libx264", "-c:a", "aac", "-shortest"],
    )
    .await;
    let (upright, rotated) = (
        folder.path().join("upright.mp4"),
        folder.path().join("rotated.mp4"),
    );
    let path = |file: &Path| file.to_str().expect("UTF-8").to_owned();
    stack.ffmpeg(&[
        "-display_rotation",
        "90",
        "-i",
        &path(&upright),
        "-c",
        "copy",
        &path(&rotated),
    ]);
    stack.upload("rotated.mp4", &rotated).await;
    // There is no keyframe to begin a copy with, so the pictures are encoded, and rotated.
    let ended = stack
        .run(&stack.request("e2e-rotated", "rotated.mp4", &json!(1), &json!(2)))
        .await;
    let (outcome, file) = delivered(&stack, "e2e-rotated", &ended, folder.path()).await;
    assert_eq!(
        (
            &outcome["delivered"]["width"],
            &outcome["delivered"]["height"]
        ),
        (&json!(360), &json!(640))
    );
    let video = stack.ffprobe(&file);
    let video = stream(&video, "video").expect("pictures");
    assert_eq!(
        (&video["width"], &video["height"]),
        (&json!(360), &json!(640))
    );
    assert_eq!(
        video.get("side_data_list"),
        None,
        "the pictures themselves are upright"
    );
}

#[tokio::test]
async fn source_whose_timestamps_do_not_start_at_zero_is_timed_from_its_first_picture() {
    let stack = Stack::connect().await;
    let options = [
        "-c:v",
        "libx264",
        "-c:a",
        "aac",
        "-shortest",
        "-output_ts_offset",
        "5",
    ];
    let folder = source(&stack, "late.mp4", &options).await;
    let ended = stack
        .run(&stack.request("e2e-late", "late.mp4", &json!(1), &json!(2)))
        .await;
    let (_, file) = delivered(&stack, "e2e-late", &ended, folder.path()).await;
    assert_eq!(frames(&stack.ffprobe(&file)), 25);
}

#[tokio::test]
async fn clips_of_other_containers_are_as_exact_as_any() {
    let stack = Stack::connect().await;
    let h264 = ["-c:v", "libx264", "-g", "25", "-c:a", "aac", "-shortest"];
    let vp9 = [
        "-c:v",
        "libvpx-vp9",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
        "-g",
        "25",
        "-c:a",
        "libopus",
        "-shortest",
    ];
    let fragments = [&h264[..], &["-movflags", "+frag_keyframe+delay_moov"]].concat();
    let smart = "smart cut: 0.40 s of 2.40 s are encoded";
    for (clip_id, name, options, why) in [
        // Audio begins 21 ms before the pictures, so that frames are shown that much later.
        (
            "e2e-ts",
            "container.ts",
            &h264[..],
            "smart cut: 0.44 s of 2.40 s are encoded",
        ),
        ("e2e-mkv", "container.mkv", &h264, smart),
        (
            "e2e-webm",
            "container.webm",
            &vp9,
            "encoded whole: the source is vp9, not H.264",
        ),
        ("e2e-fragments", "fragments.mp4", &fragments, smart),
    ] {
        let folder = source(&stack, name, options).await;
        for cut in ["exact", "copy"] {
            let clip_id = format!("{clip_id}-{cut}");
            let mut request = stack.request(&clip_id, name, &json!(1.6), &json!(4));
            request["cut"] = json!(cut);
            let ended = stack.run(&request).await;
            let (outcome, file) = delivered(&stack, &clip_id, &ended, folder.path()).await;
            assert_eq!(
                frames(&stack.ffprobe(&file)),
                60,
                "{clip_id}: from 1.6 s to 4 s at 25 frames a second"
            );
            let said = outcome["engine"]["why"].as_str().expect("why");
            assert!(
                said.ends_with(if cut == "copy" { "; copied" } else { why }),
                "{clip_id}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn clip_in_its_sources_codec_is_smart_cut_or_else_h264() {
    let stack = Stack::connect().await;
    let encoded = "encoded whole: the source is mpeg4, not H.264 or HEVC, so the clip is H.264";
    for (name, options, codec, why) in [
        (
            "source-hevc.mp4",
            "-c:v libx265 -x265-params log-level=error:keyint=25:min-keyint=25 -tag:v hev1",
            "hevc",
            "smart cut: 0.44 s of 2.40 s are encoded",
        ),
        ("source-mpeg4.mp4", "-c:v mpeg4 -q:v 5", "h264", encoded),
    ] {
        let clip_id = format!("e2e-{}", name.replace('.', "-"));
        let folder = source(&stack, name, &options.split(' ').collect::<Vec<_>>()).await;
        let mut request = stack.request(&clip_id, name, &json!(1.6), &json!(4));
        request["output"]["format"] = json!("source");
        let ended = stack.run(&request).await;
        let (outcome, file) = delivered(&stack, &clip_id, &ended, folder.path()).await;
        assert_eq!(outcome["delivered"]["videoCodec"], codec, "{name}");
        assert_eq!(frames(&stack.ffprobe(&file)), 60, "{name}");
        let said = outcome["engine"]["why"].as_str().expect("why");
        assert!(said.ends_with(why), "{name}: {said}");
    }
}

/// Breaks the NAL unit length in the picture shown at `time`, in `ffprobe`'s notation.
async fn break_picture(stack: &Stack, name: &str, file: &Path, time: &str) {
    let mut command = std::process::Command::new(stack.description.bin.join("ffprobe"));
    let entries = "-v error -select_streams v:0 -show_entries packet=pts_time,pos -of csv=p=0";
    let output = command.args(entries.split(' ')).arg(file).output();
    let listing = String::from_utf8(output.expect("ffprobe runs").stdout).expect("text");
    let packet = listing.lines().find_map(|line| line.strip_prefix(time));
    let at = packet.and_then(|rest| rest.trim_matches(',').parse::<usize>().ok());
    let at = at.unwrap_or_else(|| panic!("no picture at {time} in {listing}"));
    let mut bytes = std::fs::read(file).expect("the source");
    bytes[at..at + 4].fill(0xff);
    std::fs::write(file, bytes).expect("room");
    stack.upload(name, file).await;
}

#[tokio::test]
async fn damaged_picture_is_named_or_rejects_the_request_that_wants_none() {
    let stack = Stack::connect().await;
    let name = "damaged.mp4";
    let options = ["-an", "-c:v", "libx264", "-g", "25", "-bf", "0"];
    let folder = source(&stack, name, &options).await;
    break_picture(&stack, name, &folder.path().join(name), "1.480000").await;
    for (cut, start, end) in [("exact", 1.2, 1.8), ("copy", 1.0, 2.0)] {
        let clip_id = format!("e2e-damaged-{cut}");
        let mut request = stack.request(&clip_id, name, &json!(start), &json!(end));
        request["cut"] = json!(cut);
        let ended = stack.run(&request).await;
        assert_eq!(
            ended.output["status"], "available",
            "{cut}: {}",
            ended.output
        );
        let damaged = &ended.output["delivered"]["damaged"];
        assert_eq!(damaged["pictures"], 1, "{cut}: {damaged}");

        request["clipId"] = json!(format!("{clip_id}-rejected"));
        request["damage"] = json!("reject");
        let ended = stack.run(&request).await;
        let outcome = &ended.output;
        assert_eq!(
            (&outcome["status"], &outcome["reason"]),
            (&json!("rejected"), &json!("UnsupportedMedia")),
            "{cut}: {outcome}"
        );
    }
}

#[tokio::test]
async fn same_request_sent_again_starts_nothing() {
    let stack = Stack::connect().await;
    let folder = source(&stack, "again.mp4", &["-an", "-c:v", "libx264"]).await;
    let request = stack.request("e2e-again", "again.mp4", &json!(0), &json!(0.4));
    let ended = stack.run(&request).await;
    delivered(&stack, "e2e-again", &ended, folder.path()).await;
    // The same request, with fields in another order and numbers written differently.
    let source = &request["source"];
    stack
        .send(&format!(
            r#"{{"end": 0.40, "start": 0.0, "source": {source}, "clipId": "e2e-again"}}"#
        ))
        .await;
    stack.send(&request.to_string()).await;
    // Once a later request has ended, the duplicates before it have been handled.
    stack
        .run(&stack.request("e2e-after-again", "again.mp4", &json!(0), &json!(0.4)))
        .await;
    eventually("the duplicates to be consumed", async || {
        let queue = stack
            .sqs
            .get_queue_attributes()
            .queue_url(&stack.description.queue_url);
        let names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
        ];
        let counted = queue
            .set_attribute_names(Some(names.map(Into::into).into()))
            .send()
            .await
            .ok()?;
        counted
            .attributes?
            .values()
            .all(|count| count == "0")
            .then_some(())
    })
    .await;
    let executions = stack
        .sfn
        .list_executions()
        .state_machine_arn(&stack.description.state_machine_arn);
    let executions = executions
        .max_results(1000)
        .send()
        .await
        .expect("executions")
        .executions;
    assert_eq!(
        executions
            .iter()
            .filter(|execution| execution.name.starts_with("e2e-again-"))
            .count(),
        1
    );
}

#[tokio::test]
async fn rejection_that_was_mended_can_be_asked_again() {
    let stack = Stack::connect().await;
    let key = format!("late-{}.mp4", std::process::id());
    let request = stack.request("e2e-late", &key, &json!(0), &json!(0.4));
    let ended = stack.run(&request).await;
    assert_eq!(ended.output["reason"], "SourceNotFound", "{ended:?}");
    assert_eq!(
        stack.notification("e2e-late").await["Message"],
        ended.output
    );
    let folder = source(&stack, &key, &["-an", "-c:v", "libx264"]).await;
    stack.send(&request.to_string()).await;
    let again = stack.ended_execution(format!("{}-r1", ended.arn)).await;
    delivered(&stack, "e2e-late", &again, folder.path()).await;
}

#[tokio::test]
async fn request_that_no_step_can_hand_on_has_a_document() {
    let stack = Stack::connect().await;
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (number, value) in [&deep, "1e400", r#""\ud800""#].into_iter().enumerate() {
        let clip_id = format!("e2e-unreadable-{number}");
        stack
            .send(&format!(
                r#"{{"clipId": "{clip_id}", "metadata": {{"x": {value}}}}}"#
            ))
            .await;
        let document = stack.document_that_is(&clip_id, "rejected").await;
        assert_eq!(document.get_str("reason").ok(), Some("InvalidRequest"));
    }
}

#[tokio::test]
async fn message_that_is_not_json_ends_in_the_dead_letter_queue() {
    let stack = Stack::connect().await;
    // It is delivered twenty times, each after the visibility timeout of minutes: too long for a test.
    let queue = &stack.description.queue_url;
    let before = stack.set_visibility_timeout(queue, "1").await;
    let body = "start: 1, end: 2 (e2e)";
    stack.send(body).await;
    eventually("the message in the dead-letter queue", async || {
        let queue = &stack.description.dead_letter_queue_url;
        let batch = stack
            .sqs
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10)
            .send()
            .await
            .ok()?;
        batch
            .messages?
            .into_iter()
            .find(|message| message.body() == Some(body))
    })
    .await;
    stack.set_visibility_timeout(queue, &before).await;
}

/// A request that must be rejected: what is wrong with it, the reason, what the message names, and the last state
/// entered.
struct Rejection {
    request: Value,
    reason: &'static str,
    message: &'static str,
    state: &'static str,
}

async fn rejected(stack: &Stack, case: &Rejection) {
    let ended = stack.ended(&case.request).await;
    let label = case
        .request
        .to_string()
        .chars()
        .take(200)
        .collect::<String>();
    assert_eq!(
        ended.status, "SUCCEEDED",
        "{label}: a rejection is no failure: {ended:?}"
    );
    let states: Vec<_> = ended.states.iter().map(String::as_str).collect();
    assert_eq!(
        states[states.len() - 3..],
        [case.state, "Store", "Notify"],
        "{label}: {}",
        ended.output
    );
    let outcome = &ended.output;
    assert_eq!(
        (&outcome["status"], &outcome["reason"]),
        (&json!("rejected"), &json!(case.reason)),
        "{label}: {outcome}"
    );
    let message = outcome["message"].as_str().expect("a message");
    assert!(
        message.contains(case.message),
        "{label}: {message:?} does not say {:?}",
        case.message
    );
    assert_eq!(outcome.get("clip"), None, "{label}");

    let clip_id = model::identity::Identity::of(&case.request).clip_id;
    assert_document(
        &stack.document(&clip_id).await.expect("there is a document"),
        outcome,
    );
    let notification = stack.notification(&clip_id).await;
    assert_eq!(notification["Message"], *outcome, "{label}");
    assert_eq!(
        notification["MessageAttributes"]["status"]["Value"], "rejected",
        "{label}"
    );
    assert_eq!(
        notification["MessageAttributes"]["reason"]["Value"], case.reason,
        "{label}"
    );
}

#[tokio::test]
async fn bad_requests_are_rejected_stored_and_announced() {
    let stack = Stack::connect().await;
    let with = |clip_id: &str, pointer: &str, value: Value| {
        let mut request = stack.request(clip_id, "bad/source.mp4", &json!(1), &json!(2));
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        request.pointer_mut(parent).expect("a parent")[key] = value;
        request
    };
    let invalid = |request: Value, message| Rejection {
        request,
        reason: "InvalidRequest",
        message,
        state: "Validate",
    };
    let absent = |request: Value, message| Rejection {
        request,
        reason: "SourceNotFound",
        message,
        state: "Probe",
    };
    let cases = [
        invalid(
            with("e2e-bad-1", "/end", json!(0.5)),
            "end: 0.5 s is not after start, 1 s",
        ),
        invalid(
            with("e2e-bad-2", "/start", json!(-1)),
            "start: -1 is negative",
        ),
        invalid(
            with("e2e-bad-3", "/start", json!("NaN")),
            "start: \"NaN\" is not a number",
        ),
        invalid(with("e2e-bad-4", "/crop", json!(1)), "unknown field `crop`"),
        invalid(
            with("e2e-bad-5", "/source/bucket", json!("elsewhere")),
            "source.bucket: \"elsewhere\" is not a source",
        ),
        invalid(
            with("e2e/bad/6", "/cut", json!("exact")),
            "clipId: \"e2e/bad/6\" is not",
        ),
        invalid(with("..", "/cut", json!("exact")), "clipId: \"..\" is not"),
        invalid(
            with("\u{6ce2}", "/cut", json!("exact")),
            "clipId: \"\u{6ce2}\" is not",
        ),
        invalid(
            with(&"x".repeat(300), "/cut", json!("exact")),
            "clipId: \"xxxx",
        ),
        invalid(
            with("e2e-bad-10", "/metadata", json!({"a": "x".repeat(200_000)})),
            "the request has 200",
        ),
        invalid(json!(["e2e-bad-11"]), "not a JSON object"),
        invalid(
            with("e2e-bad-12", "/metadata", json!({"$set": {"a.b": 1}})),
            "metadata: key \"$set\"",
        ),
        absent(
            with("e2e-bad-13", "/source/key", json!("absent.mp4")),
            "absent.mp4 does not exist",
        ),
        absent(
            with("e2e-bad-14", "/source/bucket", json!("clipflow-absent")),
            "source.bucket: clipflow-absent does not exist",
        ),
    ];
    join_all(
        cases
            .iter()
            .map(async |case| stack.send(&case.request.to_string()).await),
    )
    .await;
    join_all(cases.iter().map(async |case| rejected(&stack, case).await)).await;
}

#[tokio::test]
async fn sources_that_cannot_be_cut_are_rejected_stored_and_announced() {
    let stack = Stack::connect().await;
    let folder = source(
        &stack,
        "whole.mp4",
        &["-c:v", "libx264", "-c:a", "aac", "-shortest"],
    )
    .await;
    let whole = std::fs::read(folder.path().join("whole.mp4")).expect("the source");
    let put = async |name: &str, content: &[u8]| {
        std::fs::write(folder.path().join(name), content).expect("a file");
        stack.upload(name, &folder.path().join(name)).await;
    };
    put("text.mp4", b"#EXTM3U is not what this is, it is only text.").await;
    put("empty.mp4", b"").await;
    put("short.mp4", &whole[..whole.len() / 2]).await;
    // A valid index, followed by noise instead of pictures.
    let sound = folder.path().join("sound.mp4");
    stack.ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        SOUND,
        "-c:a",
        "aac",
        sound.to_str().expect("UTF-8"),
    ]);
    stack.upload("sound.mp4", &sound).await;
    let noise = folder.path().join("front.mp4");
    let input = folder.path().join("whole.mp4");
    let paths = [
        input.to_str().expect("UTF-8"),
        noise.to_str().expect("UTF-8"),
    ];
    stack.ffmpeg(&[
        "-i",
        paths[0],
        "-c",
        "copy",
        "-movflags",
        "+faststart",
        paths[1],
    ]);
    let mut damaged = std::fs::read(&noise).expect("the source");
    let media = damaged
        .windows(4)
        .position(|four| four == b"mdat")
        .expect("an mdat")
        + 4;
    damaged[media..].fill(0xff);
    put("noise.mp4", &damaged).await;

    let case = |clip_id: &str, key: &str, end: Value, reason, message, state| Rejection {
        request: stack.request(clip_id, key, &json!(1), &end),
        reason,
        message,
        state,
    };
    let unsupported = |clip_id: &str, key: &str, message| {
        case(clip_id, key, json!(2), "UnsupportedMedia", message, "Probe")
    };
    let mut beyond = case(
        "e2e-src-6",
        "whole.mp4",
        json!(101),
        "OutOfRange",
        "start",
        "Probe",
    );
    beyond.request["start"] = json!(100);
    let cases = [
        unsupported("e2e-src-1", "text.mp4", ""),
        unsupported("e2e-src-2", "empty.mp4", "0 bytes"),
        unsupported("e2e-src-3", "short.mp4", ""),
        unsupported("e2e-src-4", "sound.mp4", "audio only"),
        case(
            "e2e-src-5",
            "noise.mp4",
            json!(2),
            "UnsupportedMedia",
            "the source is damaged",
            "Trim",
        ),
        beyond,
        case(
            "e2e-src-7",
            "whole.mp4",
            json!(60),
            "OutOfRange",
            "end",
            "Probe",
        ),
    ];
    join_all(
        cases
            .iter()
            .map(async |case| stack.send(&case.request.to_string()).await),
    )
    .await;
    join_all(cases.iter().map(async |case| rejected(&stack, case).await)).await;
}

/// An outcome of an execution that started at `started_at`.
fn outcome(clip_id: &str, status: &str, started_at: &str) -> Outcome {
    serde_json::from_value(json!({
        "clipId": clip_id,
        "status": status,
        "bucket": "clips",
        "execution": {"arn": format!("arn:{started_at}"), "startedAt": started_at},
        "updatedAt": "2026-01-01T00:00:00Z",
    }))
    .expect("an outcome")
}

#[tokio::test]
async fn older_execution_never_overwrites_a_newer_ones_document() {
    let stack = Stack::connect().await;
    let description = &stack.description;
    let records = ClipStore::connect(
        &description.mongodb_uri,
        &description.mongodb_database,
        None,
    )
    .await
    .expect("connected");
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.001Z");
    for (status, started_at, saved) in [
        ("available", new, Saved::Written),
        ("available", old, Saved::Superseded),
        ("rejected", old, Saved::Superseded),
        ("available", new, Saved::Written),
        ("failed", new, Saved::Superseded),
    ] {
        let written = records
            .save(&outcome("e2e-newer", status, started_at))
            .await;
        assert_eq!(written, Ok(saved), "{status} {started_at}");
    }
    let kept = records
        .find("e2e-newer")
        .await
        .expect("it can be read")
        .expect("it is there");
    assert_eq!(
        (kept.status, kept.execution.started_at.as_str()),
        (Status::Available, new)
    );
}
