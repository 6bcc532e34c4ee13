//! What breaks while requests are processed, and how it is repaired.

use crate::proxy::{Proxy, Trouble, Weather};
use fastrand::Rng;
use serde_json::json;
use std::{collections::BTreeSet, net::TcpStream, time::Duration};
use tests::{
    Before, Stack, eventually,
    parts::retriers,
    services::{order, processes},
};
use tokio::time::sleep;

/// The functions that read or write objects.
const WITH_S3: [&str; 7] = [
    "probe",
    "trim",
    "transcode",
    "verify",
    "thumbnail",
    "resume",
    "report",
];
/// The functions that queues invoke. They time out sooner than usual, so that their messages are redelivered sooner.
const CALLED_BY_QUEUES: [&str; 3] = ["start", "resume", "report"];
/// How long one of them may run: long enough for `report` to notice that `MongoDB` is down.
const QUEUED_TIMEOUT_SECONDS: u32 = 10;
/// After which time a message that they did not finish is redelivered.
const VISIBILITY_SECONDS: &str = "12";
/// The functions that publish to the topic.
const ANNOUNCING: [&str; 2] = ["notify", "report"];
/// At any time, one in this many requests to S3 is troubled.
const UNSETTLED: u32 = 25;
/// How long something is broken.
const BROKEN: Duration = Duration::from_secs(3);
/// How long everything works before the next thing breaks.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the topic is gone at most until somebody notices.
const UNNOTICED: Duration = Duration::from_secs(15);

/// What breaks.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    MongodKilled,
    MongodPaused,
    MongodRestarted,
    /// All function processes are killed, idle or busy.
    FunctionsKilled,
    TopicDeleted,
    Outage(Trouble),
}

impl Fault {
    /// What breaks in each round, in random order.
    const ALL: [Self; 9] = [
        Self::MongodKilled,
        Self::MongodPaused,
        Self::MongodRestarted,
        Self::FunctionsKilled,
        Self::FunctionsKilled,
        Self::TopicDeleted,
        Self::Outage(Trouble::ResetBefore),
        Self::Outage(Trouble::Refusal),
        Self::Outage(Trouble::Silence),
    ];
}

/// A deployment whose functions reach S3 through a proxy, and give up sooner than usual.
pub struct Storm<'a> {
    stack: &'a Stack,
    proxy: Proxy,
    releases: Vec<Before>,
    definition: String,
    visibilities: Vec<(String, String)>,
    /// How many function processes were killed.
    pub killed: usize,
}

impl<'a> Storm<'a> {
    pub async fn gather(stack: &'a Stack, random: Rng) -> Self {
        let s3 = stack.description.endpoint.trim_start_matches("http://");
        let proxy = Proxy::start(s3.parse().expect("an address"), random);
        let release = |name: &'static str| {
            stack.release(name, |settings| {
                if WITH_S3.contains(&name) {
                    settings["Environment"]["Variables"]["AWS_ENDPOINT_URL_S3"] = json!(proxy.url);
                }
                if CALLED_BY_QUEUES.contains(&name) {
                    settings["Timeout"] = json!(QUEUED_TIMEOUT_SECONDS);
                }
            })
        };
        let releases = ["start"].into_iter().chain(WITH_S3).map(release).collect();
        let mut visibilities = Vec::new();
        for queue in queues(stack) {
            let before = stack
                .set_visibility_timeout(&queue, VISIBILITY_SECONDS)
                .await;
            visibilities.push((queue, before));
        }
        Self {
            definition: make_impatient(stack).await,
            stack,
            releases,
            visibilities,
            proxy,
            killed: 0,
        }
    }

    /// Breaks everything once in each round, and repairs it.
    pub async fn rage(&mut self, random: &mut Rng, rounds: usize) {
        self.proxy.set(Weather::Unsettled(UNSETTLED));
        for _ in 0..rounds {
            let mut faults = Fault::ALL;
            random.shuffle(&mut faults);
            for fault in faults {
                println!("{fault:?}");
                self.strike(fault).await;
                sleep(PAUSE).await;
            }
        }
        self.proxy.set(Weather::Calm);
        println!("troubled requests to S3: {:?}", self.proxy.troubled());
    }

    async fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::MongodKilled => self.without_mongod("kill mongod").await,
            Fault::MongodRestarted => self.without_mongod("stop mongod").await,
            Fault::MongodPaused => {
                order("pause mongod");
                sleep(BROKEN).await;
                order("resume mongod");
            }
            Fault::FunctionsKilled => {
                let functions = processes().into_iter();
                let functions = functions.filter(|process| process.program == "bootstrap");
                self.killed += functions.filter(|process| process.kill()).count();
            }
            Fault::TopicDeleted => self.without_topic().await,
            Fault::Outage(trouble) => {
                self.proxy.set(Weather::Outage(trouble));
                sleep(BROKEN).await;
                self.proxy.set(Weather::Unsettled(UNSETTLED));
            }
        }
    }

    async fn without_mongod(&self, end: &str) {
        let uri = &self.stack.description.mongodb_uri;
        let address = uri.trim_start_matches("mongodb://").split('/').next();
        let is_up = || TcpStream::connect(address.expect("a host and a port")).is_ok();
        order(end);
        eventually("mongod to be down", async || (!is_up()).then_some(())).await;
        sleep(BROKEN).await;
        order("start mongod");
        eventually("mongod to answer", async || {
            self.stack.clips.estimated_document_count().await.ok()
        })
        .await;
    }

    /// Deletes the topic until an execution fails because of that, and creates it again.
    async fn without_topic(&self) {
        let before = failed(self.stack).await;
        self.stack.delete_topic().await;
        let noticed = async {
            while failed(self.stack).await == before {
                sleep(Duration::from_millis(200)).await;
            }
        };
        // If nobody does, nothing was announced in the meantime.
        let _ = tokio::time::timeout(UNNOTICED, noticed).await;
        // Messages published before somebody has subscribed are lost, on AWS as well.
        for function in ANNOUNCING {
            self.stack.reserve(function, Some(0));
        }
        sleep(PAUSE).await;
        self.stack.make_topic().await;
        for function in ANNOUNCING {
            self.stack.reserve(function, None);
        }
    }

    /// The paths of multipart uploads that were left behind because S3 could not be reached.
    pub fn lost_uploads(&self) -> BTreeSet<String> {
        self.proxy.lost_uploads()
    }

    /// Restores the deployment.
    pub async fn calm(self) {
        for function in ANNOUNCING {
            self.stack.reserve(function, None);
        }
        for before in &self.releases {
            self.stack.roll_back(before);
        }
        self.stack.define(&self.definition).await;
        for (queue, seconds) in &self.visibilities {
            self.stack.set_visibility_timeout(queue, seconds).await;
        }
    }
}

/// The queues that invoke functions.
pub fn queues(stack: &Stack) -> Vec<String> {
    let description = &stack.description;
    let events = description.event_queue_urls.values();
    events.chain([&description.queue_url]).cloned().collect()
}

/// Makes states give up at once on transient errors, so that there is something to rerun; returns the previous
/// definition. Functions that Lambda has no capacity for are still retried until it has, at shorter intervals than
/// usual.
async fn make_impatient(stack: &Stack) -> String {
    stack
        .redefine(|definition| {
            for retrier in retriers(definition) {
                let errors = retrier["ErrorEquals"].as_array().expect("errors");
                if errors.contains(&json!("Lambda.TooManyRequestsException")) {
                    retrier["IntervalSeconds"] = json!(1);
                    retrier["BackoffRate"] = json!(1.2);
                    retrier["MaxDelaySeconds"] = json!(4);
                    retrier["MaxAttempts"] = json!(1000);
                } else if errors.contains(&json!("DependencyUnavailable")) {
                    retrier["MaxAttempts"] = json!(0);
                }
            }
        })
        .await
}

/// How many executions have failed.
async fn failed(stack: &Stack) -> usize {
    let list = stack
        .sfn
        .list_executions()
        .state_machine_arn(&stack.description.state_machine_arn)
        .status_filter(aws_sdk_sfn::types::ExecutionStatus::Failed);
    let pages = list.into_paginator().items().send();
    pages
        .collect::<Result<Vec<_>, _>>()
        .await
        .expect("executions")
        .len()
}
