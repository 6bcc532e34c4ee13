//! Simulates a burst of requests against the quotas of Lambda and Step Functions, event by event.
//!
//! All executions start at second 0, the worst case of a queue or a redrive. Then:
//! - Lambda runs at most `concurrency` invocations of all functions at a time, and refuses others.
//! - An execution environment serves at most ten requests per second, so a short invocation
//!   occupies it for a tenth of a second (Lambda developer guide, "Lambda quotas").
//! - Step Functions makes at most 800 state transitions per second, including retries, and delays
//!   the others (its developer guide, "Service quotas": the lowest of all regions).
//!
//! A function adds up to 1,000 environments in ten seconds, which is no limit as long as the
//! concurrency is at most 1,000. Cold starts are part of a clip's work.

use crate::deployment::{Deployment, Task};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Entries that one attempt of a task leaves in the history: scheduled, started, ended.
pub const EVENTS_PER_ATTEMPT: u32 = 3;
/// Entries of the history at which Step Functions fails an execution.
pub const MAX_EVENTS: u32 = 25_000;

/// Entries of a state that is entered and exited.
const EVENTS_PER_STATE: u32 = 2;
/// Entries of an execution that starts and ends.
const EVENTS_PER_EXECUTION: u32 = 2;

const MICROS: u64 = 1_000_000;
const MICROS_PER_TRANSITION: u64 = MICROS / 800;
/// Unused transitions are saved for one second.
const SAVED_TRANSITIONS_MICROS: u64 = MICROS;
const SHORTEST_INVOCATION_SECONDS: f64 = 0.1;

/// Requests that arrive together, and the quota that applies to them.
#[derive(Debug, Clone, Copy)]
pub struct Burst {
    pub clips: usize,
    /// The account's limit of concurrent invocations of all functions.
    pub concurrency: usize,
    /// Seconds that all functions together work for one clip.
    pub work_seconds: f64,
}

impl Burst {
    /// Seconds of work in a state: `Trim` does whatever the other functions do not.
    fn seconds_in(&self, state: &str) -> f64 {
        match state {
            "Trim" => self.work_seconds - 1.5,
            "Thumbnail" => 0.5,
            "Probe" => 0.4,
            "Verify" | "Store" => 0.2,
            _ => 0.1,
        }
    }
}

/// The result of a burst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    pub failed: usize,
    /// From the start to the end of the last execution.
    pub seconds: u64,
    /// Retries of all clips together.
    pub retries: u64,
    /// Entries of the longest history.
    pub events: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A state is to be entered, or its task to be retried.
    TransitionDue,
    /// The transition is made.
    Entered,
    /// The function has answered, or has timed out.
    Answered { in_time: bool },
}

#[derive(Debug, Clone, Copy, Default)]
struct Execution {
    step: usize,
    /// Retries of this step.
    retries: u32,
    events: u32,
}

#[derive(Debug)]
struct Simulation<'a> {
    deployment: &'a Deployment,
    burst: Burst,
    executions: Vec<Execution>,
    /// The microsecond of an event, a number to break ties, the clip, and the event.
    queue: BinaryHeap<Reverse<(u64, u64, usize, Event)>>,
    scheduled: u64,
    running: usize,
    /// The microsecond up to which transitions are used up.
    transitions_until: u64,
    random: fastrand::Rng,
    outcome: Outcome,
}

/// Simulates a burst. The simulation is deterministic.
pub fn play(deployment: &Deployment, burst: Burst) -> Outcome {
    let mut simulation = Simulation {
        deployment,
        burst,
        executions: vec![Execution::default(); burst.clips],
        queue: BinaryHeap::new(),
        scheduled: 0,
        running: 0,
        transitions_until: 0,
        random: fastrand::Rng::with_seed(1),
        outcome: Outcome::default(),
    };
    for clip in 0..burst.clips {
        simulation.executions[clip].events = EVENTS_PER_EXECUTION;
        simulation.schedule(0, clip, Event::TransitionDue);
    }
    while let Some(Reverse((now, _, clip, event))) = simulation.queue.pop() {
        simulation.handle(now, clip, event);
    }
    simulation.outcome
}

impl Simulation<'_> {
    fn schedule(&mut self, at: u64, clip: usize, event: Event) {
        self.queue.push(Reverse((at, self.scheduled, clip, event)));
        self.scheduled += 1;
    }

    fn handle(&mut self, now: u64, clip: usize, event: Event) {
        if let Event::Answered { .. } = event {
            self.running -= 1;
        }
        let timed_out = now >= self.deployment.timeout_seconds * MICROS;
        if timed_out || self.executions[clip].events >= MAX_EVENTS {
            return self.fail(now, clip);
        }
        match event {
            Event::TransitionDue => {
                let at = self.transition(now);
                self.schedule(at, clip, Event::Entered);
            }
            Event::Entered => self.enter(now, clip),
            Event::Answered { in_time } => {
                self.executions[clip].events += EVENTS_PER_ATTEMPT;
                if in_time {
                    self.exit(now, clip);
                } else {
                    self.fail(now, clip);
                }
            }
        }
    }

    /// When a transition that is due now will be made.
    fn transition(&mut self, now: u64) -> u64 {
        let at = now.max(
            self.transitions_until
                .saturating_sub(SAVED_TRANSITIONS_MICROS),
        );
        self.transitions_until = self.transitions_until.max(now) + MICROS_PER_TRANSITION;
        at
    }

    fn enter(&mut self, now: u64, clip: usize) {
        let step = &self.deployment.steps[self.executions[clip].step];
        match &step.task {
            None => self.exit(now, clip),
            Some(task) if self.running == self.burst.concurrency => self.retry(now, clip, task),
            Some(task) => {
                self.running += 1;
                let seconds = self.burst.seconds_in(&step.state);
                let in_time = seconds < task.timeout_seconds;
                let seconds = seconds.clamp(SHORTEST_INVOCATION_SECONDS, task.timeout_seconds);
                self.schedule(now + micros(seconds), clip, Event::Answered { in_time });
            }
        }
    }

    fn retry(&mut self, now: u64, clip: usize, task: &Task) {
        let execution = &mut self.executions[clip];
        execution.events += EVENTS_PER_ATTEMPT;
        match &task.retrier {
            Some(retrier) if execution.retries < retrier.max_attempts => {
                let longest = micros(retrier.delay_seconds(execution.retries));
                let delay = if retrier.full_jitter {
                    self.random.u64(0..=longest)
                } else {
                    longest
                };
                execution.retries += 1;
                self.outcome.retries += 1;
                self.schedule(now + delay, clip, Event::TransitionDue);
            }
            _ => self.fail(now, clip),
        }
    }

    fn exit(&mut self, now: u64, clip: usize) {
        let execution = &mut self.executions[clip];
        execution.events += EVENTS_PER_STATE;
        execution.step += 1;
        execution.retries = 0;
        if execution.step < self.deployment.steps.len() {
            self.schedule(now, clip, Event::TransitionDue);
        } else {
            self.end(now, clip);
        }
    }

    fn fail(&mut self, now: u64, clip: usize) {
        self.outcome.failed += 1;
        self.end(now, clip);
    }

    fn end(&mut self, now: u64, clip: usize) {
        self.outcome.events = self.outcome.events.max(self.executions[clip].events);
        self.outcome.seconds = now.div_ceil(MICROS);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within a year"
)]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}
