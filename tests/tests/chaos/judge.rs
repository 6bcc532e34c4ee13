//! What must be true once the storm is over.

use crate::{
    cases::{Case, Expected},
    storm::queues,
};
use aws_sdk_sfn::{
    operation::describe_execution::DescribeExecutionOutput,
    types::{ExecutionStatus, HistoryEvent, HistoryEventType as Type},
};
use aws_sdk_sqs::types::QueueAttributeName;
use mongodb::bson::doc;
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};
use tests::{
    Stack, eventually_within,
    services::{Process, processes, temporary_folder},
};
use tokio::time::{sleep, timeout};

/// After how many seconds a poison message is redelivered, once only those are left: it is delivered 20 times.
const SOON: &str = "1";
/// How long a failure's event may take to arrive, and how long leftovers may take to disappear.
const TOLD: Duration = Duration::from_secs(60);

/// How long an execution may take to end: behind hundreds of others, it waits for minutes until Lambda has room.
const PATIENCE: Duration = Duration::from_mins(20);

/// Faults found. All are reported together, since a run takes minutes.
#[derive(Debug, Default)]
pub struct Findings(RefCell<Vec<String>>);

impl Findings {
    fn check(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.borrow_mut().push(otherwise());
        }
    }

    /// # Panics
    /// If anything was found.
    pub fn are_none(self) {
        let found = self.0.into_inner();
        assert!(
            found.is_empty(),
            "{} findings:\n\n{}",
            found.len(),
            found.join("\n\n")
        );
    }
}

/// Checks the results of a run's requests.
pub struct Judge<'a> {
    pub stack: &'a Stack,
    /// The prefix of its clips' ids.
    pub run: &'a str,
    pub cases: &'a [Case],
    /// The announcements, by `clipId`.
    pub messages: RefCell<HashMap<String, Vec<Value>>>,
    pub findings: Findings,
}

/// An execution that has ended, and facts from its history.
struct Execution {
    described: DescribeExecutionOutput,
    /// How often it has failed.
    failures: usize,
    /// How often it attempted to announce its outcome.
    announcements: usize,
    /// The state that it was last in.
    state: String,
    /// Whether one of its functions was killed.
    was_killed: bool,
}

impl Judge<'_> {
    /// Waits until all requests have an execution, and all executions have ended.
    pub async fn wait_for_ends(&self) {
        for case in self.cases {
            self.executions(case).await;
        }
    }

    /// Waits until the queues are empty, and only poison messages are dead letters.
    pub async fn wait_for_queues(&self, poison: usize) {
        let stack = self.stack;
        let requests = &stack.description.queue_url;
        // Requests that wait for a busy machine are not to come again as soon as poison.
        at_most(poison, stack, requests).await;
        stack.set_visibility_timeout(requests, SOON).await;
        at_most(0, stack, requests).await;
        // Rejected requests may have been started again.
        self.wait_for_ends().await;
        for queue in queues(stack) {
            at_most(0, stack, &queue).await;
        }
        let letters = dead_letters(stack, self.run).await;
        let is_poison = letters.iter().all(|letter| letter.starts_with("poison "));
        self.findings
            .check(is_poison && letters.len() == poison, || {
                format!("dead letters: {letters:#?}")
            });
        for name in stack.description.event_queue_urls.keys() {
            let name = format!("{}-{name}-dead", stack.description.name_prefix);
            let url = stack.sqs.get_queue_url().queue_name(&name).send().await;
            let url = url.expect("the queue").queue_url.expect("a URL");
            let dead = waiting(stack, &url).await;
            self.findings
                .check(dead == 0, || format!("{name} has {dead} messages"));
        }
    }

    /// Checks that each failure was announced and stored; returns how many executions have failed.
    pub async fn failures_are_known(&self) -> usize {
        let mut errors: BTreeMap<String, usize> = BTreeMap::new();
        for case in self.cases {
            for execution in self.executions(case).await {
                if execution.described.status == ExecutionStatus::Failed {
                    let error = execution.described.error().unwrap_or_default();
                    let place = format!("{error} in {}", execution.state);
                    *errors.entry(place).or_default() += 1;
                    self.failure_is_known(case, &execution).await;
                }
            }
        }
        let failed = errors.values().sum();
        println!("{failed} executions failed: {errors:#?}");
        self.findings.check(failed > 0, || {
            "a storm that breaks nothing shows nothing".to_owned()
        });
        failed
    }

    async fn failure_is_known(&self, case: &Case, execution: &Execution) {
        let arn = execution.described.execution_arn();
        // Its event may not have arrived yet.
        let told = async {
            while self.count(case, arn, "failed") == 0 {
                self.listen().await;
                sleep(Duration::from_millis(200)).await;
            }
        };
        let is_told = timeout(TOLD, told).await.is_ok();
        self.findings
            .check(is_told, || format!("the failure of {arn} was not reported"));
        // A document that the execution itself stored stays, even if its function was killed before answering.
        let document = self.stack.document(&case.clip_id).await.unwrap_or_default();
        let is_stored = document.get_str("status").ok() == Some("failed");
        let may_be_its_own = ["Store", "Notify"].contains(&execution.state.as_str());
        self.findings.check(is_stored || may_be_its_own, || {
            format!("{arn} failed in {}; stored is {document}", execution.state)
        });
    }

    /// Reruns failures once, like an operator; they continue where they failed.
    pub async fn mend(&self, failed: usize) {
        let filter = ["--failed", "--since", "12h", "--text", self.run];
        let (said, code) = self
            .stack
            .clipflow(&[&["rerun"][..], &filter, &["--yes", "--rate", "20"]].concat());
        let reruns = said["reruns"].as_array().cloned().unwrap_or_default();
        let are_redriven = reruns.iter().all(|rerun| rerun["action"] == "redriven");
        self.findings
            .check(code == 0 && are_redriven && reruns.len() == failed, || {
                format!("the rerun of {failed} ended with {code}: {said:#}")
            });
    }

    /// Checks documents, executions, objects and announcements of all requests.
    pub async fn every_request_ended_once(&self) {
        let mut repeated = 0;
        for case in self.cases {
            let executions = self.executions(case).await;
            self.executions_are_right(case, &executions);
            let newest = &executions.last().expect("an execution").described;
            let outcome = output(newest);
            let document = self.stack.document(&case.clip_id).await.unwrap_or_default();
            let execution = document.get_document("execution");
            let stored = execution
                .and_then(|execution| execution.get_str("arn"))
                .ok();
            let is_newest = stored == Some(newest.execution_arn())
                && document.get_str("status").ok() == outcome["status"].as_str();
            self.findings.check(is_newest, || {
                format!("{} is stored as {document}", newest.execution_arn())
            });
            self.objects_are_whole(case, &outcome).await;
            self.listen().await;
            repeated += self.announcements_are_right(case, &executions);
        }
        println!("{repeated} final statuses were announced once more");
        let ids = doc! {"_id": {"$regex": format!("^{}-", self.run)}};
        let documents = self.stack.clips.count_documents(ids).await;
        let documents = documents.expect("MongoDB answers");
        self.findings
            .check(usize::try_from(documents) == Ok(self.cases.len()), || {
                format!("{documents} documents of {} requests", self.cases.len())
            });
    }

    fn executions_are_right(&self, case: &Case, executions: &[Execution]) {
        let is_anew = matches!(case.expected, Expected::Rejected(why) if why != "InvalidRequest");
        let most = if is_anew { case.copies } else { 1 };
        self.findings.check(executions.len() <= most, || {
            format!("{} executions of {case:?}", executions.len())
        });
        for execution in executions {
            let described = &execution.described;
            let outcome = output(described);
            let (status, reason) = (outcome["status"].as_str(), outcome["reason"].as_str());
            let is_expected = match case.expected {
                Expected::Available => (status, reason) == (Some("available"), None),
                Expected::Rejected(why) => (status, reason) == (Some("rejected"), Some(why)),
            };
            self.findings
                .check(is_expected && outcome["requested"] == case.request, || {
                    format!("{case:#?}\nended as {:?}: {outcome:#}", described.status)
                });
        }
    }

    /// Returns how often a final status was announced again.
    fn announcements_are_right(&self, case: &Case, executions: &[Execution]) -> usize {
        let (mut explained, mut repeated) = (0, 0);
        for execution in executions {
            let arn = execution.described.execution_arn();
            let outcome = output(&execution.described);
            let last = self.count(case, arn, outcome["status"].as_str().unwrap_or_default());
            let tries = execution.announcements;
            self.findings.check((1..=tries).contains(&last), || {
                format!("the end of {arn} was announced {last} times in {tries} tries")
            });
            let failed = self.count(case, arn, "failed");
            self.findings
                .check((execution.failures > 0) == (failed > 0), || {
                    let failures = execution.failures;
                    format!("{arn} failed {failures} times, but {failed} failures were announced")
                });
            explained += last + failed;
            repeated += last.saturating_sub(1);
        }
        let all = self.messages.borrow();
        let all = all.get(&case.clip_id).map_or(&[][..], Vec::as_slice);
        self.findings.check(explained == all.len(), || {
            format!("not all of this is about an execution: {all:#?}")
        });
        repeated
    }

    /// Checks that exactly the objects in an outcome exist, and are complete.
    async fn objects_are_whole(&self, case: &Case, outcome: &Value) {
        let (s3, bucket) = (&self.stack.s3, &self.stack.description.bucket);
        let list = s3.list_objects_v2().bucket(bucket);
        let list = list.prefix(format!("clips/{}/", case.clip_id));
        let objects = list.send().await.expect("a listing");
        let objects = objects.contents.unwrap_or_default();
        let found: BTreeSet<_> = objects.iter().filter_map(|object| object.key()).collect();
        let thumbnails = outcome["thumbnails"].as_array().into_iter().flatten();
        let named = thumbnails.chain([&outcome["clip"]]);
        let named: BTreeSet<_> = named.filter_map(|object| object["key"].as_str()).collect();
        self.findings.check(found == named, || {
            format!("{case:#?}\nleft {found:?} and names {named:?}")
        });
        if let Some(key) = outcome["clip"]["key"].as_str() {
            let head = s3.head_object().bucket(bucket).key(key).send().await;
            let head = head.expect("the clip");
            let etag = head.e_tag().expect("an ETag").trim_matches('"');
            let is_whole = outcome["clip"]["bytes"] == json!(head.content_length())
                && outcome["clip"]["etag"] == etag;
            self.findings
                .check(is_whole, || format!("{key} is another one: {head:?}"));
        }
    }

    /// Checks that no process, folder or upload is left after a function has restarted, which cleans up. `lost_uploads`
    /// are the paths of those that S3 could not be told to abort.
    pub async fn nothing_is_left(&self, lost_uploads: &BTreeSet<String>) {
        let stack = self.stack;
        let clip_id = format!("{}-last", self.run);
        let mut request = stack.request(&clip_id, "chaos.mp4", &json!(1), &json!(2));
        request["cut"] = json!("copy");
        let before = stack.release("trim", |_| ());
        let last = stack.run(&request).await;
        stack.roll_back(&before);
        assert_eq!(last.output["status"], "available", "{last:?}");
        let is_ffmpeg = |process: &Process| process.program.starts_with("ff");
        let gone = async {
            while processes().iter().any(is_ffmpeg) || !folders().is_empty() {
                sleep(Duration::from_millis(200)).await;
            }
        };
        let is_clean = timeout(TOLD, gone).await.is_ok();
        self.findings.check(is_clean, || {
            let programs: Vec<_> = processes().into_iter().filter(is_ffmpeg).collect();
            format!("still there: {programs:?} and {:?}", folders())
        });
        let killed = self.killed().await;
        for key in uploads(stack, self.run).await {
            let clip_id = key.split('/').nth(1).expect("clips/{clipId}/…");
            let is_lost = lost_uploads.iter().any(|path| path.ends_with(&key));
            self.findings
                .check(is_lost || killed.contains(clip_id), || {
                    format!("an upload is left: {key}")
                });
            println!("left to the bucket's lifecycle: {key}");
        }
    }

    /// The clips for which a function was killed.
    async fn killed(&self) -> BTreeSet<&str> {
        let mut killed = BTreeSet::new();
        for case in self.cases {
            if self.executions(case).await.iter().any(|one| one.was_killed) {
                killed.insert(case.clip_id.as_str());
            }
        }
        killed
    }

    /// The ended executions of a request, oldest first.
    async fn executions(&self, case: &Case) -> Vec<Execution> {
        let first = self.stack.execution_arn(&case.request);
        let mut executions = vec![ended(self.stack, first.clone()).await];
        loop {
            let rerun = format!("{first}-r{}", executions.len());
            let describe = self.stack.sfn.describe_execution().execution_arn(&rerun);
            if describe.send().await.is_err() {
                return executions;
            }
            executions.push(ended(self.stack, rerun).await);
        }
    }

    /// Collects new announcements.
    async fn listen(&self) {
        for (clip_id, messages) in self.stack.notifications().await {
            let mut all = self.messages.borrow_mut();
            all.entry(clip_id).or_default().extend(messages);
        }
    }

    /// How often a status of an execution was announced.
    fn count(&self, case: &Case, arn: &str, status: &str) -> usize {
        let is_it = |message: &&Value| {
            let outcome = &message["Message"];
            outcome["execution"]["arn"] == arn && outcome["status"] == status
        };
        let all = self.messages.borrow();
        let about = all.get(&case.clip_id).into_iter().flatten();
        about.filter(is_it).count()
    }
}

/// Waits for the end of an execution, and reads its history.
async fn ended(stack: &Stack, arn: String) -> Execution {
    let described = eventually_within(PATIENCE, &format!("the end of {arn}"), async || {
        let describe = stack.sfn.describe_execution().execution_arn(&arn);
        let described = describe.send().await.ok()?;
        (described.status != ExecutionStatus::Running).then_some(described)
    })
    .await;
    let history = stack.sfn.get_execution_history().execution_arn(&arn);
    let history = history.into_paginator().items().send();
    let events: Vec<HistoryEvent> = history.try_collect().await.expect("the history");
    let mut execution = Execution {
        described,
        failures: 0,
        announcements: 0,
        state: String::new(),
        was_killed: false,
    };
    for event in events {
        if let Some(entered) = event.state_entered_event_details() {
            entered.name().clone_into(&mut execution.state);
        }
        let error = event
            .task_failed_event_details()
            .and_then(|failed| failed.error());
        execution.was_killed |= error == Some("Runtime.ExitError");
        match event.r#type {
            Type::ExecutionFailed => execution.failures += 1,
            Type::TaskScheduled if execution.state == "Notify" => execution.announcements += 1,
            _ => {}
        }
    }
    execution
}

fn output(described: &DescribeExecutionOutput) -> Value {
    serde_json::from_str(described.output().unwrap_or_default()).unwrap_or_default()
}

/// Waits until a queue holds no more than so many messages.
async fn at_most(count: usize, stack: &Stack, queue: &str) {
    let what = format!("{queue} to hold {count} messages");
    eventually_within(PATIENCE, &what, async || {
        (waiting(stack, queue).await <= count).then_some(())
    })
    .await;
}

/// How many messages are in a queue.
async fn waiting(stack: &Stack, queue: &str) -> usize {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let get = stack.sqs.get_queue_attributes().queue_url(queue);
    let got = get.set_attribute_names(Some(names.to_vec())).send().await;
    let attributes = got
        .expect("the queue answers")
        .attributes
        .unwrap_or_default();
    attributes
        .values()
        .filter_map(|count| count.parse::<usize>().ok())
        .sum()
}

/// Removes a run's dead letters from their queue.
async fn dead_letters(stack: &Stack, run: &str) -> Vec<String> {
    let queue = &stack.description.dead_letter_queue_url;
    let mut letters = Vec::new();
    loop {
        let receive = stack
            .sqs
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10);
        let batch = receive.send().await.expect("the queue answers");
        let messages = batch.messages.unwrap_or_default();
        if messages.is_empty() {
            return letters;
        }
        for message in messages {
            let body = message.body.unwrap_or_default();
            if body.contains(run) {
                letters.push(body);
                let delete = stack.sqs.delete_message().queue_url(queue);
                let delete = delete.set_receipt_handle(message.receipt_handle);
                delete.send().await.expect("the message can be deleted");
            }
        }
    }
}

/// The functions' working folders.
fn folders() -> Vec<String> {
    let entries = std::fs::read_dir(temporary_folder())
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with(".clipflow-"))
        .collect()
}

/// The keys of clips with incomplete multipart uploads.
async fn uploads(stack: &Stack, run: &str) -> Vec<String> {
    let list = stack
        .s3
        .list_multipart_uploads()
        .bucket(&stack.description.bucket);
    let listed = list.prefix(format!("clips/{run}-")).send().await;
    let uploads = listed.expect("a listing").uploads.unwrap_or_default();
    uploads
        .into_iter()
        .filter_map(|upload| upload.key)
        .collect()
}
