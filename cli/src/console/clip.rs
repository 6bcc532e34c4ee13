//! The page of one clip: the clip plays, and everything that its execution says stands beside it.

use super::{
    charts::{self, Part},
    graph::{self, Graph},
    html::{ago, clip_path, json, status},
    media::{self, Media},
};
use crate::{
    executions::{Execution, Status},
    history::{self, State},
    render,
    show::{self, Shown},
    when,
};
use maud::{Markup, html};
use model::{console, recordings::Coverage};
use serde_json::Value;
use std::path::Path;
use time::OffsetDateTime;

/// What a page of a clip is made of.
#[derive(Debug)]
pub struct View<'a> {
    pub shown: &'a Shown,
    pub graph: Option<&'a Graph>,
    pub media: &'a Media,
    /// Whether a rerun and a stop are offered.
    pub has_actions: bool,
    /// Whether there are links to the AWS console.
    pub has_links: bool,
    pub now: OffsetDateTime,
}

impl View<'_> {
    /// The whole page, without its frame.
    pub fn markup(&self) -> Markup {
        let execution = &self.shown.execution;
        html! {
            (self.heading())
            @if let Some(error) = execution.error() { (problem(execution, error)) }
            div .columns {
                div { (self.player()) (cutting(&execution.output)) (coverage(&execution.output)) }
                div { (facts(execution)) (self.links()) }
            }
            (self.states())
            (self.details())
        }
    }

    fn heading(&self) -> Markup {
        let execution = &self.shown.execution;
        html! {
            div .heading {
                div {
                    h1 { (execution.clip_id()) " " (status(execution.status)) }
                    p .sub {
                        span .mono { (execution.name) }
                        " · started " (ago(execution.started_at, self.now)) " ago · "
                        @if execution.status == Status::Running { "running for " } @else { "took " }
                        (when::span(execution.seconds()))
                        @if execution.redrive_count > 0 { " · redriven " (execution.redrive_count) "×" }
                    }
                }
                @if self.has_actions { (actions(execution, self.shown.states.last())) }
            }
        }
    }

    fn player(&self) -> Markup {
        let execution = &self.shown.execution;
        let output = &execution.output;
        let Some(clip) = output["clip"]["key"].as_str() else {
            let why = match execution.status {
                Status::Running => "The clip is being made.",
                _ => "There is no clip.",
            };
            return html! { div .player .empty { p { (why) } } };
        };
        let url = |key: &str| self.media.url(execution, key);
        let poster = media::thumbnail(execution, 640).map(url);
        let thumbnails = output["thumbnails"].as_array().into_iter().flatten();
        html! {
            div .player {
                video controls playsinline preload="metadata" src=(url(clip)) poster=[poster] {}
            }
            ul .pictures {
                @for thumbnail in thumbnails {
                    @if let Some(key) = thumbnail["key"].as_str() {
                        (picture(&url(key), &format!("{} px", thumbnail["size"])))
                    }
                }
                @if let Some(key) = output["preview"]["key"].as_str() { (picture(&url(key), "preview")) }
            }
        }
    }

    fn links(&self) -> Markup {
        let execution = &self.shown.execution;
        let links = if self.has_links {
            links(self.shown)
        } else {
            Vec::new()
        };
        let bucket = execution.output["bucket"].as_str().unwrap_or_default();
        let keys = media::keys(execution);
        html! {
            @if !links.is_empty() || !keys.is_empty() {
                section aria-label="Links" {
                    h2 { "Links" }
                    ul .links {
                        @for (name, url) in links { li { a href=(url) rel="noreferrer" { (name) } } }
                        @if let Some(url) = execution.output["clip"]["url"].as_str().filter(|url| url.starts_with("https://")) {
                            li { a href=(url) rel="noreferrer" { "Public URL" } }
                        }
                        @for key in keys { li .mono { "s3://" (bucket) "/" (key) } }
                    }
                }
            }
        }
    }

    fn states(&self) -> Markup {
        html! {
            section aria-label="States" {
                h2 { "States" }
                div .states {
                    @if let Some(graph) = self.graph { div .scroll { (graph.svg(&self.shown.states)) } }
                    (waterfall(&self.shown.states))
                }
            }
        }
    }

    fn details(&self) -> Markup {
        let Shown {
            execution, events, ..
        } = self.shown;
        html! {
            section aria-label="Details" {
                h2 { "Details" }
                (json("request", "The request", &execution.input))
                @if !execution.output.is_null() { (json("document", "The document", &execution.output)) }
                details #events {
                    summary { "The events (" (events.len()) ")" }
                    div .scroll tabindex="0" role="region" aria-label="The events" {
                        pre { @for event in events { (show::line_of_event(event)) "\n" } }
                    }
                }
            }
        }
    }
}

fn picture(url: &str, title: &str) -> Markup {
    html! {
        li {
            figure {
                img src=(url) alt=(title) loading="lazy";
                figcaption { (title) }
            }
        }
    }
}

fn problem(execution: &Execution, error: &str) -> Markup {
    html! {
        div class={ "problem " (execution.status.name()) } role="note" {
            p { strong { (error) } }
            @if let Some(message) = execution.message() { p { (message) } }
        }
    }
}

/// What can be done about an execution, each with what it would do.
fn actions(execution: &Execution, last: Option<&State>) -> Markup {
    let path = clip_path(&execution.name);
    let goes_on = match last.map(|state| state.name.as_str()) {
        Some(state) => format!("The execution goes on with {state}. What was done before stays."),
        None => "The execution goes on.".to_owned(),
    };
    let anew = "A new execution of the same request starts, with the definition of today. It finds the clip, if one was made.";
    html! {
        div .actions {
            @if execution.is_rerunnable() {
                (action(&format!("{path}/rerun"), "Rerun", &[
                    ("redrive", "Rerun now", goes_on.as_str()),
                    ("new", "Start anew", anew),
                ]))
            }
            @if execution.status == Status::Running {
                (action(&format!("{path}/stop"), "Stop", &[
                    ("stop", "Stop now", "The execution ends as aborted. It can be rerun."),
                ]))
            }
        }
    }
}

/// An action that opens, says what it would do, and asks.
fn action(url: &str, name: &str, ways: &[(&str, &str, &str)]) -> Markup {
    html! {
        details #(name.to_lowercase()) .action {
            summary .button { (name) "…" }
            form method="post" action=(url) {
                @for (value, button, what) in ways {
                    p { (what) }
                    button name="how" value=(value) { (button) }
                }
            }
        }
    }
}

/// What was asked for beside what was delivered.
fn facts(execution: &Execution) -> Markup {
    let (input, output) = (&execution.input, &execution.output);
    let delivered = &output["delivered"];
    let seconds = |value: &Value| value.as_f64().map(|seconds| format!("{seconds:.3} s"));
    html! {
        section aria-label="Requested and delivered" {
            h2 { "Requested and delivered" }
            table .facts {
                thead { tr { th scope="col" { span .hidden { "What" } } th scope="col" { "Requested" } th scope="col" { "Delivered" } } }
                tbody {
                    @for line in show::asked(input) { (row("Source", Some(line), None)) }
                    @for field in ["start", "end"] {
                        @let (title, found) = (if field == "start" { "Start" } else { "End" }, seconds(&delivered[field]));
                        (row(title, requested(&input[field]), found.map(|found| found + &snapped(&input[field], &delivered[field]))))
                    }
                    (row("Length", None, seconds(&delivered["durationSeconds"])))
                    @if let Some(text) = show::delivered(delivered) { (row("Clip", requested(&input["output"]), Some(text))) }
                    (row("Size", None, output["clip"]["bytes"].as_u64().map(render::bytes)))
                    (row("Edits", requested(&input["edits"]), None))
                    (row("Engine", None, output["engine"]["name"].as_str().map(|name| {
                        format!("{name}: {}", output["engine"]["why"].as_str().unwrap_or_default())
                    })))
                    (row("Cost", requested(&input["maxCostUsd"]).map(|most| format!("at most {most} USD")),
                        output["engine"]["estimateUsd"].as_f64().map(|usd| format!("{}, estimated", render::usd(usd)))))
                    @for (field, title) in [("conformed", "Conformed"), ("dropped", "Dropped")] {
                        @for line in delivered[field].as_array().into_iter().flatten() {
                            (row(title, None, line.as_str().map(str::to_owned)))
                        }
                    }
                    @for (name, value) in input["metadata"].as_object().into_iter().flatten() {
                        (row(name, requested(value), None))
                    }
                }
            }
        }
    }
}

fn row(title: &str, requested: Option<String>, delivered: Option<String>) -> Markup {
    html! {
        @if requested.is_some() || delivered.is_some() {
            tr {
                th scope="row" { (title) }
                td { (requested.unwrap_or_default()) }
                td { (delivered.unwrap_or_default()) }
            }
        }
    }
}

/// A field of a request as a person wrote it.
fn requested(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}

/// How far a moment was moved to the source's frames, where both are known.
fn snapped(requested: &Value, delivered: &Value) -> String {
    let requested = match requested {
        Value::String(text) => match text.parse() {
            Ok(model::time::Time::Seconds(seconds)) => Some(seconds),
            _ => None,
        },
        value => value.as_f64(),
    };
    match (requested, delivered.as_f64()) {
        (Some(requested), Some(delivered)) if (delivered - requested).abs() >= 0.000_5 => {
            format!(" (snapped by {:+.3} s)", delivered - requested)
        }
        _ => String::new(),
    }
}

/// What of the clip was copied and what encoded, on a line and in a table.
fn cutting(output: &Value) -> Markup {
    let Some(all) = output["delivered"]["durationSeconds"]
        .as_f64()
        .filter(|all| *all > 0.0)
    else {
        return html! {};
    };
    let Some(spans) = spans(&output["engine"], all) else {
        return html! {};
    };
    let parts: Vec<Part> = spans
        .iter()
        .map(|(is_encoded, start, end)| Part {
            class: if *is_encoded { "encoded" } else { "copied" },
            title: format!(
                "{}: {start:.2} s to {end:.2} s",
                if *is_encoded { "encoded" } else { "copied" }
            ),
            start: start / all,
            end: end / all,
            seek: Some(*start),
        })
        .collect();
    let sum = |wanted: bool| {
        spans
            .iter()
            .filter(|span| span.0 == wanted)
            .map(|(_, start, end)| end - start)
            .sum::<f64>()
    };
    let (copied, encoded) = (sum(false), sum(true));
    html! {
        section .cutting aria-label="How it was cut" {
            h2 { "How it was cut" }
            (charts::line(&format!("{copied:.2} s copied, {encoded:.2} s encoded"), &parts))
            ul .legend {
                li { span .swatch .copied aria-hidden="true" {} "copied " (format!("{copied:.2} s ({:.0} %)", copied / all * 100.0)) }
                li { span .swatch .encoded aria-hidden="true" {} "encoded " (format!("{encoded:.2} s ({:.0} %)", encoded / all * 100.0)) }
            }
            details #parts {
                summary { "As a table" }
                table {
                    thead { tr { th scope="col" { "From" } th scope="col" { "To" } th scope="col" { "Pictures" } } }
                    tbody {
                        @for (is_encoded, start, end) in &spans {
                            tr { td { (format!("{start:.3} s")) } td { (format!("{end:.3} s")) } td { @if *is_encoded { "encoded" } @else { "copied" } } }
                        }
                    }
                }
            }
        }
    }
}

/// The parts of a clip of `all` seconds, in order: whether each is encoded, and from when to when. None when the outcome
/// does not tell.
fn spans(engine: &Value, all: f64) -> Option<Vec<(bool, f64, f64)>> {
    let whole = |is_encoded| Some(vec![(is_encoded, 0.0, all)]);
    if engine["name"] == "transcode" {
        return whole(true);
    }
    match engine["cutting"]["method"].as_str()? {
        "copy" => whole(false),
        "encodedWhole" => whole(true),
        _ => {
            let (mut spans, mut time) = (Vec::new(), 0.0);
            for interval in engine["cutting"]["encoded"].as_array()? {
                let start = interval["startSeconds"].as_f64()?.clamp(time, all);
                let end = interval["endSeconds"].as_f64()?.clamp(start, all);
                spans.extend([(false, time, start), (true, start, end)]);
                time = end;
            }
            spans.push((false, time, all));
            spans.retain(|(_, start, end)| end - start > 1e-6);
            Some(spans)
        }
    }
}

/// What of a camera's window recordings cover, on a line and in a table.
fn coverage(output: &Value) -> Markup {
    let parsed = serde_json::from_value::<Coverage>(output["delivered"]["coverage"].clone());
    let Ok(Coverage { covered, missing }) = parsed else {
        return html! {};
    };
    let mut parts: Vec<(i64, i64, Option<String>)> = covered
        .iter()
        .map(|one| (one.start_ms, one.end_ms, None))
        .collect();
    parts.extend(missing.into_iter().map(|gap| {
        (
            gap.interval.start_ms,
            gap.interval.end_ms,
            Some(gap.reason.unwrap_or_else(|| "no recording".to_owned())),
        )
    }));
    parts.sort_by_key(|part| part.0);
    let (Some(begin), Some(end)) = (
        parts.first().map(|part| part.0),
        parts.last().map(|part| part.1),
    ) else {
        return html! {};
    };
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of hours at most")]
    let place = |ms: i64| (ms - begin) as f64 / (end - begin).max(1) as f64;
    let clock = model::timestamp::clock;
    let line: Vec<Part> = parts
        .iter()
        .map(|(start, end, why)| Part {
            class: if why.is_some() { "missing" } else { "covered" },
            title: format!(
                "{} to {}: {}",
                clock(*start),
                clock(*end),
                why.as_deref().unwrap_or("covered")
            ),
            start: place(*start),
            end: place(*end),
            seek: None,
        })
        .collect();
    html! {
        section aria-label="Coverage" {
            h2 { "Coverage of the camera's window" }
            (charts::line("What recordings cover of the window", &line))
            table {
                thead { tr { th scope="col" { "From (UTC)" } th scope="col" { "To" } th scope="col" { "Recordings" } } }
                tbody {
                    @for (start, end, why) in &parts {
                        tr { td { (clock(*start)) } td { (clock(*end)) } td { (why.as_deref().unwrap_or("covered")) } }
                    }
                }
            }
        }
    }
}

/// The states in order, each as long as it took.
fn waterfall(states: &[State]) -> Markup {
    let begin = states.first().map(|state| state.entered_at);
    let offset =
        |state: &State| begin.map_or(0.0, |begin| (state.entered_at - begin).as_seconds_f64());
    let all = states
        .iter()
        .map(|state| offset(state) + state.duration_seconds)
        .fold(0.001, f64::max);
    html! {
        div .scroll {
            table .waterfall {
                thead { tr { th scope="col" { "State" } th scope="col" { "When" } th scope="col" { "Took" } } }
                tbody {
                    @for state in states {
                        @let (class, mark, became) = graph::fate(state);
                        tr {
                            th scope="row" { span class={ "mark " (class) } aria-hidden="true" { (mark) } " " (state.name) }
                            td .bar { (bar(state, class, offset(state) / all, all)) }
                            td .number { (when::span(state.duration_seconds)) }
                        }
                        (attempts(state, became))
                    }
                }
            }
        }
    }
}

fn bar(state: &State, class: &str, start: f64, all: f64) -> Markup {
    let width = (state.duration_seconds / all * 1000.0).max(3.0);
    html! {
        svg class=(class) viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true" {
            rect x=(format!("{:.1}", (start * 1000.0).min(997.0))) width=(format!("{width:.1}")) height="12" rx="2" {}
        }
    }
}

/// How often a state tried again, and what went wrong.
fn attempts(state: &State, became: &str) -> Markup {
    let retries = match state.retries {
        0 => None,
        1 => Some("1 retry".to_owned()),
        retries => Some(format!("{retries} retries")),
    };
    html! {
        @if retries.is_some() || !state.errors.is_empty() || state.status == history::Status::Failed {
            tr .attempts {
                td colspan="3" {
                    @if let Some(retries) = retries { p { (retries) } }
                    @for error in &state.errors { p .error { strong { (error.reason) } ": " (error.message) } }
                    @if state.status != history::Status::Exited || !state.errors.is_empty() { p .sub { (became) } }
                }
            }
        }
    }
}

/// Links to the AWS console: the execution, its states' logs and its objects.
fn links(shown: &Shown) -> Vec<(String, String)> {
    let execution = &shown.execution;
    let mut links: Vec<(String, Option<String>)> = vec![(
        "Execution in Step Functions".into(),
        console::execution_url(&execution.arn),
    )];
    links.extend(
        history::functions(&shown.events)
            .into_iter()
            .map(|(state, arn)| (format!("Logs of {state}"), console::logs_url(&arn))),
    );
    if let Some(bucket) = execution.output["bucket"].as_str() {
        links.extend(media::keys(execution).into_iter().map(|key| {
            let name = Path::new(key)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (
                format!("{name} in S3"),
                console::object_url(&execution.arn, bucket, key),
            )
        }));
    }
    links
        .into_iter()
        .filter_map(|(name, url)| Some((name, url?)))
        .collect()
}
