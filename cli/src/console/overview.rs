//! The overview: how the executions of a time span ended, and what waits in the queues.
//!
//! A list of executions says how each ended, but does not distinguish rejection from success, and has neither error nor
//! cost. So every refresh reads some more executions, no faster than the API's quotas allow, and the page shows how
//! many were read. They are cached.

use super::{
    answer::Answer,
    charts::{self, Column},
    clips::Params,
    html::{head_of_table, page},
    live::Region,
    queues::{self, Queue},
    state::Shared,
};
use crate::{
    deployment::Deployment,
    executions::{Execution, Listed, Status},
    failure::Failure,
    render, when,
};
use aws_sdk_sfn::types::ExecutionStatus;
use axum::{
    extract::{Query, State},
    http::HeaderMap,
};
use maud::{Markup, html};
use serde::Deserialize;
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime, macros::format_description};

/// How many executions of the span are counted at most, newest first.
const MAX_LISTED: usize = 10_000;
/// Time spans to choose from, with the hours per column.
const SPANS: [(&str, &str, i64); 4] = [
    ("1h", "last hour", 0),
    ("1d", "last day", 1),
    ("7d", "last 7 days", 24),
    ("30d", "last 30 days", 24),
];
const STATUSES: [(&str, &str); 6] = [
    ("available", "available"),
    ("rejected", "rejected"),
    ("failed", "failed"),
    ("aborted", "aborted"),
    ("running", "running"),
    ("unread", "succeeded, not read yet"),
];
const ENGINES: [(&str, &str); 2] = [("trim", "trim"), ("transcode", "transcode")];

#[derive(Debug, Deserialize)]
pub struct Span {
    #[serde(default = "Span::day")]
    since: String,
}

impl Span {
    fn day() -> String {
        "1d".to_owned()
    }
}

/// The totals of a span's executions.
#[derive(Debug, Default)]
pub struct Tally {
    pub listed: usize,
    pub read: usize,
    /// By the start of a column, the count for each of [`STATUSES`].
    statuses: BTreeMap<OffsetDateTime, [f64; STATUSES.len()]>,
    /// By the start of a day, US dollars for each of [`ENGINES`].
    costs: BTreeMap<OffsetDateTime, [f64; ENGINES.len()]>,
    errors: BTreeMap<String, (Status, usize)>,
}

/// Answers with the page, or with its numbers if they differ from what the browser has.
pub async fn show(
    State(console): State<Shared>,
    headers: HeaderMap,
    Query(span): Query<Span>,
) -> Result<Answer, Failure> {
    let deployment = &console.deployment;
    let now = OffsetDateTime::now_utc();
    let since = when::parse(&span.since).map_err(Failure::usage)?;
    let mut listed = deployment
        .list(&[], Some(since), |_| true, MAX_LISTED)
        .await?;
    listed.truncate(MAX_LISTED);
    read_some(deployment, &listed).await?;
    let tally = Tally::of(deployment, &listed, since, now);
    let queues = queues::all(deployment, now).await?;
    let url = format!("/overview?since={}", super::html::encoded(&span.since));
    let numbers = Region {
        id: "numbers",
        url: Some(&url),
        content: numbers(&tally, &queues, &span.since),
    };
    if let Some(answer) = numbers.again(&headers, deployment) {
        return Ok(answer);
    }
    let content = html! {
        div .heading {
            h1 { "Overview" }
            nav .tabs aria-label="Span of time" {
                @for (value, name, _) in SPANS {
                    a href=(format!("/overview?since={value}"))
                        aria-current=[(span.since == value).then_some("true")] { (name) }
                }
            }
        }
        (numbers.markup(deployment))
    };
    Ok(Answer::Page(page(
        &console.frame,
        "Overview",
        "/overview",
        &content,
    )))
}

/// Reads some of the unread executions, newest first. `DescribeExecution` allows 15 calls per second in an account and
/// region, and the page is polled every four seconds.
async fn read_some(deployment: &Deployment, listed: &[Listed]) -> Result<(), Failure> {
    let most = if deployment.is_local { 400 } else { 40 };
    let lacking = listed.iter().filter(|one| {
        one.status != ExecutionStatus::Running && deployment.kept.with(one, |_| ()).is_none()
    });
    let lacking: Vec<Listed> = lacking.take(most).cloned().collect();
    deployment.describe_all(&lacking).await.map(drop)
}

impl Tally {
    fn of(
        deployment: &Deployment,
        listed: &[Listed],
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Self {
        let mut tally = Self::default();
        let step = step(now - since);
        let mut at = floor(since, step);
        while at <= now {
            tally.statuses.insert(at, [0.0; STATUSES.len()]);
            at += step;
        }
        for one in listed {
            let read = deployment
                .kept
                .with(one, |execution| tally.add(execution, step));
            if read.is_none() {
                tally.add_unread(one, step);
            }
        }
        tally
    }

    fn add(&mut self, execution: &Execution, step: Duration) {
        self.read += 1;
        self.count(execution.status.name(), execution.started_at, step);
        if let Some(error) = execution.error() {
            let count = self
                .errors
                .entry(error.to_owned())
                .or_insert((execution.status, 0));
            count.1 += 1;
        }
        let engine = &execution.output["engine"];
        let place = ENGINES.iter().position(|(name, _)| engine["name"] == *name);
        if let (Some(place), Some(usd)) = (place, engine["estimateUsd"].as_f64()) {
            let day = floor(execution.started_at, Duration::DAY);
            self.costs.entry(day).or_default()[place] += usd;
        }
    }

    fn add_unread(&mut self, listed: &Listed, step: Duration) {
        let name = match listed.status {
            ExecutionStatus::Succeeded => "unread",
            ExecutionStatus::Aborted => Status::Aborted.name(),
            ExecutionStatus::Failed | ExecutionStatus::TimedOut => Status::Failed.name(),
            _ => {
                // There is nothing more to read yet.
                self.read += 1;
                Status::Running.name()
            }
        };
        self.count(name, listed.started_at, step);
    }

    fn count(&mut self, status: &str, at: OffsetDateTime, step: Duration) {
        self.listed += 1;
        if let Some(place) = STATUSES.iter().position(|(name, _)| *name == status) {
            self.statuses.entry(floor(at, step)).or_default()[place] += 1.0;
        }
    }

    fn sum(&self, place: usize) -> f64 {
        self.statuses.values().map(|counts| counts[place]).sum()
    }
}

/// The length of a span's columns.
fn step(span: Duration) -> Duration {
    if span <= Duration::hours(2) {
        Duration::minutes(5)
    } else if span <= Duration::days(2) {
        Duration::HOUR
    } else {
        Duration::DAY
    }
}

fn floor(at: OffsetDateTime, step: Duration) -> OffsetDateTime {
    let seconds = at.unix_timestamp().div_euclid(step.whole_seconds()) * step.whole_seconds();
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(at)
}

/// The numbers, as cards, charts and tables.
fn numbers(tally: &Tally, queues: &[Queue], since: &str) -> Markup {
    html! {
        p .sub {
            (tally.listed) " executions, " (tally.read) " of them read."
            @if tally.read < tally.listed { " The others are being read." }
            @if tally.listed == MAX_LISTED { " Older ones are not counted." }
        }
        ul .cards {
            @for (place, (class, name)) in STATUSES.iter().enumerate() {
                @let count = tally.sum(place);
                @if count > 0.0 || *class != "unread" {
                    li class=(class) {
                        strong { (count) }
                        @if *class == "unread" { span { (name) } }
                        @else { a href=(format!("/?status={class}&since={since}")) { (name) } }
                    }
                }
            }
        }
        (charts::columns("Executions", &STATUSES, &columns(&tally.statuses), |n| n.to_string()))
        div .columns {
            (errors(tally, since))
            (waiting(queues))
        }
        (costs(tally))
    }
}

fn columns<const N: usize>(values: &BTreeMap<OffsetDateTime, [f64; N]>) -> Vec<Column> {
    let is_of_days = values.keys().all(|at| at.time() == time::Time::MIDNIGHT);
    let label = |at: &OffsetDateTime| {
        let of_day = format_description!("[month repr:short] [day padding:none]");
        let of_hour = format_description!("[hour]:[minute]");
        if is_of_days {
            at.format(of_day)
        } else {
            at.format(of_hour)
        }
    };
    let column = |(at, values): (&OffsetDateTime, &[f64; N])| Column {
        label: label(at).unwrap_or_default(),
        values: values.to_vec(),
    };
    values.iter().map(column).collect()
}

fn errors(tally: &Tally, since: &str) -> Markup {
    let mut errors: Vec<_> = tally.errors.iter().collect();
    errors.sort_by_key(|(_, (_, count))| std::cmp::Reverse(*count));
    html! {
        section aria-label="Errors" {
            h2 { "Errors" }
            @if errors.is_empty() { p .empty { "None." } } @else {
                table {
                    (head_of_table(&["Error", "Status", "Executions", ""]))
                    tbody {
                        @for (error, (status, count)) in errors {
                            @let params = Params::of(error, since);
                            tr {
                                th scope="row" { a href=(params.url("/")) { (error) } }
                                td { (super::html::status(*status)) }
                                td .number { (count) }
                                td {
                                    @if *status == Status::Failed {
                                        a href=(params.url("/rerun")) { "Rerun…" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn waiting(queues: &[Queue]) -> Markup {
    html! {
        section aria-label="Queues" {
            h2 { "Queues" }
            table {
                (head_of_table(&["Queue", "Waiting", "In flight", "Oldest message"]))
                tbody {
                    @for queue in queues {
                        tr .alarming[queue.is_dead_letters && queue.waiting > 0] {
                            th scope="row" { (queue.name) }
                            td .number { (queue.waiting) }
                            td .number { (queue.in_flight) }
                            td .number { (queue.oldest_seconds.map(when::age).unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    }
}

fn costs(tally: &Tally) -> Markup {
    let total: f64 = tally.costs.values().flatten().sum();
    html! {
        section aria-label="Cost" {
            h2 { "Cost, estimated: " (render::usd(total)) }
            (charts::columns("US dollars by day", &ENGINES, &columns(&tally.costs), render::usd))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_status_is_counted() {
        for status in Status::value_variants() {
            let names = STATUSES.iter().filter(|(name, _)| *name == status.name());
            assert_eq!(names.count(), 1, "{status:?}");
        }
    }

    #[test]
    fn columns_begin_at_whole_steps() {
        use time::macros::datetime;
        let at = datetime!(2026-11-24 06:07:08 UTC);
        assert_eq!(
            floor(at, Duration::minutes(5)),
            datetime!(2026-11-24 06:05 UTC)
        );
        assert_eq!(floor(at, Duration::DAY), datetime!(2026-11-24 00:00 UTC));
    }
}
