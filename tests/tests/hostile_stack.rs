//! The worst files and requests of `make hostile` through the whole stack: nothing fails, and every outcome is
//! reported.
//!
//! Runs some of them, or all if `CLIPFLOW_HOSTILE` is set. One test runs at a time: they share the account's
//! concurrency.

use futures::{StreamExt, stream};
use hostile::{Case, canary::Canary, media::Media, requests, worst};
use model::identity::Identity;
use serde_json::json;
use std::{collections::BTreeSet, env, io::Write};
use tests::{Stack, eventually};

/// How many of the worst files are tried, and the step between tried requests.
const FILES: usize = 25;
const EACH_REQUEST: usize = 5;
const ALL_FILES: usize = 100;
/// How many clips are requested concurrently: so few that no state is throttled, which would wait before its retry.
const AT_ONCE: usize = 3;
/// How long a rejection may take, in seconds from the start of its execution to its end, although the stack's functions
/// are not optimized.
const REJECTION_SECONDS: f64 = 10.0;
/// The longest message that `MiniStack` accepts, in bytes. SQS accepts 1 MiB.
const MAX_MESSAGE_BYTES: usize = 262_143;

/// Whether a body has a valid length and valid characters for a message (SQS API reference, `SendMessage`).
fn is_taken_by_sqs(body: &str) -> bool {
    let is_allowed = |one| matches!(one, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    body.len() <= MAX_MESSAGE_BYTES && body.chars().all(is_allowed)
}

fn is_all() -> bool {
    env::var_os("CLIPFLOW_HOSTILE").is_some()
}

/// What is wrong with the result of a request, if anything.
async fn fault(stack: &Stack, name: &str, body: &str) -> Option<String> {
    let request = model::sent::read(body).expect("JSON");
    let clip_id = Identity::of(&request).clip_id;
    stack.send(body).await;
    let ended = stack.ended(&request).await;
    let described = stack
        .sfn
        .describe_execution()
        .execution_arn(&ended.arn)
        .send()
        .await;
    let described = described.expect("Step Functions answers");
    let stopped = described.stop_date().expect("it has ended").as_secs_f64();
    let seconds = stopped - described.start_date().as_secs_f64();
    let outcome = &ended.output;
    println!(
        "{seconds:.1} s: {name}: {} {} {}",
        ended.status, outcome["status"], outcome["reason"]
    );
    let fault = if ended.status != "SUCCEEDED" {
        format!(
            "{} in {:?}: {:?}",
            ended.status,
            ended.states.last(),
            ended.failure
        )
    } else if outcome["status"] == "available" {
        return None;
    } else if seconds > REJECTION_SECONDS {
        format!("it took {seconds:.1} s to say {}", outcome["message"])
    } else {
        let document = stack.document(&clip_id).await;
        let document = document
            .as_ref()
            .and_then(|document| document.get_str("message").ok());
        let notification = stack.notification(&clip_id).await;
        let said = outcome["message"].as_str();
        if said.is_some_and(|said| !said.is_empty())
            && document == said
            && notification["Message"] == *outcome
        {
            return None;
        }
        format!("document: {document:?}; message: {notification}; outcome: {outcome}")
    };
    Some(format!("{name}: {fault}"))
}

/// What is wrong with the results of all requests.
async fn faults(stack: &Stack, requests: Vec<(String, String)>) -> Vec<String> {
    let faults = stream::iter(&requests).map(|(name, body)| fault(stack, name, body));
    faults
        .buffer_unordered(AT_ONCE)
        .filter_map(async |fault| fault)
        .collect()
        .await
}

/// Uploads a file under a unique name. Returns a request for a clip of it.
async fn upload(stack: &Stack, number: usize, case: &Case) -> (String, String) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&case.file).expect("room for it");
    let key = format!("hostile/{number}.mp4");
    stack.upload(&key, file.path()).await;
    let [start, end] = &case.interval;
    let mut request = stack.request(&format!("hostile-{number}"), &key, start, end);
    request["cut"] = json!(if number.is_multiple_of(2) {
        "exact"
    } else {
        "copy"
    });
    request["output"] = json!({"thumbnails": [64]});
    (case.name.clone(), request.to_string())
}

#[tokio::test]
async fn worst_files_fail_nothing_and_reach_nothing() {
    let (_alone, stack) = Stack::connect_alone().await;
    let media = Media::make();
    let canary = Canary::new(&media.silent);
    let count = if is_all() { ALL_FILES } else { FILES };
    let mut requests = Vec::new();
    for (number, case) in worst(&media, &canary.bait, count).iter().enumerate() {
        requests.push(upload(&stack, number, case).await);
    }
    assert_eq!(requests.len(), count);
    let faults = faults(&stack, requests).await;
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(canary.visits(), 0);
}

#[tokio::test]
async fn hostile_requests_fail_nothing_and_are_told() {
    let (_alone, stack) = Stack::connect_alone().await;
    let (bucket, key) = (&stack.description.source_bucket, "hostile/good.mp4");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&Media::make().silent).expect("room for it");
    stack.upload(key, file.path()).await;
    let all = requests::all("hostile-request", bucket, key).into_iter();
    let can_be_sent = all.filter(|request| is_taken_by_sqs(&request.body));
    let (json, others): (Vec<_>, Vec<_>) = can_be_sent.partition(|request| request.is_json);
    let each = if is_all() { 1 } else { EACH_REQUEST };
    let json = json
        .into_iter()
        .step_by(each)
        .map(|request| (request.name, request.body));
    let others: BTreeSet<_> = others.into_iter().map(|request| request.body).collect();
    let faults = faults(&stack, json.collect()).await;
    assert!(faults.is_empty(), "{faults:#?}");
    dead_letters(&stack, &others).await;
}

/// Sends bodies that are not JSON, and waits until all of them are in the dead-letter queue.
async fn dead_letters(stack: &Stack, bodies: &BTreeSet<String>) {
    let queue = &stack.description.queue_url;
    let before = stack.set_visibility_timeout(queue, "1").await;
    for body in bodies {
        stack.send(body).await;
    }
    let dead = &stack.description.dead_letter_queue_url;
    let mut missing = bodies.clone();
    while !missing.is_empty() {
        let found = eventually("a dead letter", async || {
            let receive = stack.sqs.receive_message().queue_url(dead);
            let batch = receive.max_number_of_messages(10).send().await.ok()?;
            batch.messages.filter(|messages| !messages.is_empty())
        })
        .await;
        for message in found {
            if missing.remove(message.body().unwrap_or_default()) {
                let delete = stack.sqs.delete_message().queue_url(dead);
                let deleted = delete
                    .set_receipt_handle(message.receipt_handle)
                    .send()
                    .await;
                deleted.expect("the message can be deleted");
            }
        }
    }
    stack.set_visibility_timeout(queue, &before).await;
}
