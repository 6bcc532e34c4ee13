//! Requests survive chaos: whatever breaks while they are processed, each ends exactly once, as it must.
//!
//! [`judge`] checks the promises:
//!
//! - Each request has one document and one execution, no matter how often its message is delivered. Only a request that
//!   was rejected for a fixable reason, and then sent again, is started again.
//! - An available clip is one complete object, with nothing next to it except its thumbnails.
//! - The final status is announced at least once, and at most as often as `Notify` was attempted: if a function is
//!   killed after publishing, the retry publishes again. A failure is announced at least once, unless it was redriven
//!   before; SQS delivers its event at least once, so it may be announced again. Nothing else is announced.
//! - Queues are empty, except for messages that are not requests, which become dead letters.
//! - No `FFmpeg` process and no working folder is left. An incomplete multipart upload is left only by a killed
//!   function, and where S3's answer to its creation, or the request to abort it, was lost. On AWS, the bucket's
//!   lifecycle rule removes it.
//! - `clipflow rerun --failed` fixes all failures with redrives.
//!
//! `CLIPFLOW_CHAOS_SEED` and `CLIPFLOW_CHAOS_REQUESTS` choose another run.

mod cases;
mod judge;
mod proxy;
mod storm;

use cases::Case;
use fastrand::Rng;
use futures::FutureExt;
use judge::{Findings, Judge};
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};
use storm::Storm;
use tests::Stack;
use tokio::time::sleep;

/// Messages that are not requests.
const POISON: usize = 2;
/// How many requests there are per round of faults.
const REQUESTS_A_ROUND: usize = 40;
/// The approximate length of a round.
const ROUND: Duration = Duration::from_secs(35);

#[tokio::test]
async fn every_request_ends_once_whatever_breaks() {
    let (seed, count) = (
        number("CLIPFLOW_CHAOS_SEED", 1),
        number("CLIPFLOW_CHAOS_REQUESTS", 40),
    );
    println!("seed {seed}, {count} requests");
    let count = usize::try_from(count).expect("a count");
    let stack = Stack::connect().await;
    let run = format!("chaos-{}-{seed}", std::process::id());
    let mut random = Rng::with_seed(seed);
    let cases = cases::make(&stack, &mut random, &run, count).await;
    let mut storm = Storm::gather(&stack, random.fork()).await;
    let survived = AssertUnwindSafe(survive(&mut storm, &mut random, &stack, &run, &cases));
    let survived = survived.catch_unwind().await;
    storm.calm().await;
    if let Err(panic) = survived {
        resume_unwind(panic);
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number"))
    })
}

async fn survive(
    storm: &mut Storm<'_>,
    random: &mut Rng,
    stack: &Stack,
    run: &str,
    cases: &[Case],
) {
    let rounds = cases.len().div_ceil(REQUESTS_A_ROUND);
    let messages = messages(random, run, cases);
    let gap =
        ROUND * u32::try_from(rounds).expect("few") / u32::try_from(messages.len()).expect("few");
    let send = async {
        for message in &messages {
            stack.send(message).await;
            sleep(gap).await;
        }
    };
    tokio::join!(send, storm.rage(random, rounds));
    println!("{} processes of functions were killed", storm.killed);

    let judge = Judge {
        stack,
        run,
        cases,
        messages: RefCell::default(),
        findings: Findings::default(),
    };
    judge.wait_for_ends().await;
    judge.wait_for_queues(POISON).await;
    let failed = judge.failures_are_known().await;
    judge.mend(failed).await;
    judge.every_request_ended_once().await;
    judge.nothing_is_left(&storm.lost_uploads()).await;
    judge.findings.are_none();
}

/// The messages, in random order: each request as often as it says, and messages that are not requests.
fn messages(random: &mut Rng, run: &str, cases: &[Case]) -> Vec<String> {
    let mut messages: Vec<_> = (0..POISON)
        .map(|number| format!("poison {run} {number}"))
        .collect();
    for case in cases {
        messages.extend((0..case.copies).map(|_| case.request.to_string()));
    }
    random.shuffle(&mut messages);
    messages
}
