//! Requests that arrive all at once: whether the definition's retriers wait until Lambda has
//! capacity, how long that takes and what it costs. This generates the table in
//! statemachine/README.md.

mod deployment;
mod simulation;

use deployment::{Deployment, Retrier, Terraform};
use serde_json::{Value, json};
use simulation::{Burst, EVENTS_PER_ATTEMPT, MAX_EVENTS, Outcome, play};
use std::{fmt::Write, path::PathBuf, sync::LazyLock, thread};

/// The price of a state transition; a retry counts as one (Step Functions pricing, "Standard
/// Workflows").
const USD_PER_TRANSITION: f64 = 0.000_025;
/// What the retries of a clip may cost.
const MAX_USD: f64 = 0.0006;
/// The file with the table, between two comments.
const README: &str = "statemachine/README.md";

/// Every burst of the table, simulated once for all tests.
static PLAYED: LazyLock<Vec<(Burst, Outcome)>> = LazyLock::new(|| {
    let deployment = deployment(&definition());
    thread::scope(|scope| {
        let play = |burst| (burst, play(&deployment, burst));
        let threads: Vec<_> = bursts()
            .into_iter()
            .map(|burst| scope.spawn(move || play(burst)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a burst ends"))
            .collect()
    })
});

/// Up to 20 hours of work with the quota of a new account, and up to 10,000 clips with the usual
/// one.
fn bursts() -> Vec<Burst> {
    let mut bursts = Vec::new();
    for (concurrency, clips) in [
        (10, [100, 500, 1000, 10_000].as_slice()),
        (1000, &[100, 1000, 10_000]),
    ] {
        for &clips in clips {
            for work_seconds in [2.0, 20.0, 60.0] {
                bursts.push(Burst {
                    clips,
                    concurrency,
                    work_seconds,
                });
            }
        }
    }
    bursts.push(Burst {
        clips: 12_000,
        concurrency: 10,
        work_seconds: 60.0,
    });
    bursts
}

/// The seconds that a burst takes if Lambda always runs at its quota.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "far below 2^52"
)]
fn shortest_seconds(burst: Burst) -> u64 {
    let Burst {
        clips,
        concurrency,
        work_seconds,
    } = burst;
    (clips as f64 * work_seconds / concurrency as f64).max(work_seconds) as u64
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn definition() -> Value {
    serde_json::from_str(&read("statemachine/clip.asl.json")).expect("JSON")
}

fn deployment(definition: &Value) -> Deployment {
    let terraform = Terraform::new(
        &read("terraform/variables.tf"),
        &read("terraform/locals.tf"),
    );
    Deployment::new(definition, &terraform)
}

/// The definition with `change` applied to each state.
fn changed(change: impl Fn(&mut Value)) -> Value {
    let mut definition = definition();
    definition["States"]
        .as_object_mut()
        .expect("states")
        .values_mut()
        .for_each(change);
    definition
}

/// The definition with other numbers in the retrier for refused invocations.
fn with_retrier(numbers: &Value) -> Value {
    changed(|state| {
        for retrier in state["Retry"].as_array_mut().into_iter().flatten() {
            if retrier["ErrorEquals"] == json!(["Lambda.TooManyRequestsException"]) {
                for (key, number) in numbers.as_object().expect("numbers") {
                    retrier[key] = number.clone();
                }
            }
        }
    })
}

fn timeout_seconds(deployment: &Deployment, state: &str) -> f64 {
    let step = deployment
        .steps
        .iter()
        .find(|step| step.state == state)
        .expect("a step");
    step.task.as_ref().expect("a task").timeout_seconds
}

fn retry_usd(burst: Burst, outcome: Outcome) -> f64 {
    retries_a_clip(burst, outcome) * USD_PER_TRANSITION
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn retries_a_clip(burst: Burst, outcome: Outcome) -> f64 {
    outcome.retries as f64 / burst.clips as f64
}

#[test]
fn burst_of_up_to_20_hours_of_work_fails_no_clip() {
    for (burst, outcome) in PLAYED.iter() {
        assert_eq!(outcome.failed, 0, "{burst:?}: {outcome:?}");
    }
}

#[test]
fn retries_of_a_burst_cost_at_most_0_0006_usd_a_clip() {
    for &(burst, outcome) in PLAYED.iter() {
        let usd = retry_usd(burst, outcome);
        assert!(usd <= MAX_USD, "{burst:?}: {usd} USD");
    }
}

#[test]
fn readme_has_the_table_of_bursts() {
    let text = read(README);
    let (before, rest) = text
        .split_once("<!-- bursts -->\n")
        .expect("the start of the table");
    let (written, after) = rest
        .split_once("<!-- /bursts -->\n")
        .expect("the end of the table");
    let table = table();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let text = format!("{before}<!-- bursts -->\n{table}<!-- /bursts -->\n{after}");
        std::fs::write(root().join(README), text).expect("the table can be written");
    } else {
        assert_eq!(
            written, table,
            "UPDATE_EXPECT=1 writes the new table into {README}"
        );
    }
}

fn table() -> String {
    let mut table = String::from(
        "| clips | concurrency | work a clip | at best | FAILED | last clip after | retries a clip \
         | USD a clip |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for &(burst, outcome) in PLAYED.iter() {
        let Burst {
            clips,
            concurrency,
            work_seconds,
        } = burst;
        let Outcome {
            failed, seconds, ..
        } = outcome;
        writeln!(
            table,
            "| {} | {} | {work_seconds} s | {} | {failed} | {} | {:.1} | {:.5} |",
            grouped(clips),
            grouped(concurrency),
            duration(shortest_seconds(burst)),
            duration(seconds),
            retries_a_clip(burst, outcome),
            retry_usd(burst, outcome),
        )
        .expect("a string takes everything");
    }
    table
}

fn grouped(number: usize) -> String {
    if number < 1000 {
        return number.to_string();
    }
    format!("{},{:03}", number / 1000, number % 1000)
}

fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[test]
fn six_retries_within_two_minutes_would_fail_most_clips() {
    let impatient = json!({
        "IntervalSeconds": 2, "BackoffRate": 2, "MaxAttempts": 6, "MaxDelaySeconds": 60,
    });
    let deployment = deployment(&with_retrier(&impatient));
    for (clips, concurrency, work_seconds) in [(10_000, 1000, 60.0), (500, 10, 20.0)] {
        let outcome = play(
            &deployment,
            Burst {
                clips,
                concurrency,
                work_seconds,
            },
        );
        assert!(
            outcome.failed * 4 > clips * 3,
            "{} of {clips} fail",
            outcome.failed
        );
    }
}

#[test]
fn refusal_that_nothing_retries_fails_the_clip() {
    let deployment = deployment(&changed(|state| {
        state.as_object_mut().expect("a state").remove("Retry");
    }));
    let outcome = play(
        &deployment,
        Burst {
            clips: 30,
            concurrency: 10,
            work_seconds: 2.0,
        },
    );
    assert_eq!((outcome.failed, outcome.retries), (20, 0));
}

#[test]
fn burst_that_outlasts_an_execution_fails_the_last_clips() {
    let mut short = definition();
    short["TimeoutSeconds"] = json!(3600);
    let burst = Burst {
        clips: 1000,
        concurrency: 10,
        work_seconds: 60.0,
    };
    let outcome = play(&deployment(&short), burst);
    assert!((300..700).contains(&outcome.failed), "{outcome:?}");
}

#[test]
fn work_that_outlasts_its_task_or_its_function_fails_the_clip() {
    let burst = Burst {
        clips: 10,
        concurrency: 10,
        work_seconds: 60.0,
    };
    let mut short = definition();
    short["States"]["Trim"]["TimeoutSeconds"] = json!(30);
    let outcome = play(&deployment(&short), burst);
    assert_eq!((outcome.failed, outcome.seconds), (10, 31));

    let deployment = deployment(&definition());
    assert!(
        timeout_seconds(&deployment, "Trim") <= 900.0,
        "the function ends before its task"
    );
    assert!(
        timeout_seconds(&deployment, "Validate") < 30.0,
        "so does one without a time-out"
    );
}

/// Retries end only with the execution: a sum of random waits is shorter than its mean minus five
/// standard deviations only once in three million cases.
#[test]
fn refused_invocation_is_retried_for_as_long_as_an_execution_lasts() {
    let definition = definition();
    let lasts = definition["TimeoutSeconds"].as_f64().expect("seconds");
    for (name, state) in tasks(&definition) {
        let retrier = Retrier::of_refusals(state).unwrap_or_else(|| panic!("{name} retries none"));
        assert!(
            retrier.full_jitter,
            "{name}: clips that are refused together come back together"
        );
        let delays = (0..retrier.max_attempts).map(|retries| retrier.delay_seconds(retries));
        let (mean, variance) = delays.fold((0.0, 0.0), |(mean, variance), delay| {
            (mean + delay / 2.0, variance + delay * delay / 12.0)
        });
        assert!(
            mean - 5.0 * variance.sqrt() > lasts,
            "{name} gives up after about {mean:.0} s"
        );
    }
}

#[test]
fn retries_of_refused_invocations_take_at_most_a_tenth_of_the_history() {
    let definition = definition();
    let retriers = tasks(&definition).filter_map(|(_, state)| Retrier::of_refusals(state));
    let attempts: u32 = retriers.map(|retrier| retrier.max_attempts).sum();
    assert!(
        attempts * EVENTS_PER_ATTEMPT <= MAX_EVENTS / 10,
        "{attempts} attempts"
    );
    let events = PLAYED
        .iter()
        .map(|(_, outcome)| outcome.events)
        .max()
        .expect("bursts");
    assert!(
        events <= MAX_EVENTS / 50,
        "a burst's longest history has {events} entries"
    );
}

fn tasks(definition: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let states = definition["States"].as_object().expect("states").iter();
    states.filter(|(_, state)| state["Type"] == "Task")
}
