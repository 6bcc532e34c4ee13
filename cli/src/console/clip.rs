//! The page of one clip: a player, and everything that is known about its execution.

use super::{
    cut,
    graph::Graph,
    html::{self, ago, clip_path, json, status},
    media::{self, Media},
    waterfall,
};
use crate::{
    executions::{Execution, Status},
    history::{self, State},
    render,
    show::{self, Shown},
    when,
};
use maud::{Markup, html};
use model::console;
use serde_json::Value;
use std::path::Path;
use time::OffsetDateTime;

/// What a clip's page is made from.
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
                div {
                    (self.player())
                    (cut::cutting(&execution.output))
                    (cut::coverage(&execution.output))
                }
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
                        " · started " (self.started()) " · "
                        @if execution.status == Status::Running { "running for " } @else { "took " }
                        (when::span(execution.seconds()))
                        @if execution.redrive_count > 0 {
                            " · redriven " (execution.redrive_count) "×"
                        }
                    }
                }
                @if self.has_actions { (actions(execution, self.shown.states.last())) }
            }
        }
    }

    /// When it started, as an absolute time: a page in a file may be read at any time.
    fn started(&self) -> Markup {
        let at = self.shown.execution.started_at;
        match self.media {
            Media::Console => html! { (ago(at, self.now)) " ago" },
            Media::Beside { .. } => html! { (when::moment(at)) " UTC" },
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
                        @let title = format!("{} px", thumbnail["size"]);
                        (picture(&url(key), &title))
                    }
                }
                @if let Some(key) = output["preview"]["key"].as_str() {
                    (picture(&url(key), "preview"))
                }
            }
        }
    }

    fn links(&self) -> Markup {
        let execution = &self.shown.execution;
        let mut links = Vec::new();
        if self.has_links {
            links = links_to_aws(self.shown);
        }
        let public = execution.output["clip"]["url"].as_str();
        let public = public.filter(|url| url.starts_with("https://"));
        links.extend(public.map(|url| ("Public URL".to_owned(), url.to_owned())));
        let bucket = execution.output["bucket"].as_str().unwrap_or_default();
        let keys = media::keys(execution);
        html! {
            @if !links.is_empty() || !keys.is_empty() {
                section aria-label="Links" {
                    h2 { "Links" }
                    ul .links {
                        @for (name, url) in links {
                            li { a href=(url) rel="noreferrer" { (name) } }
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
                    @if let Some(graph) = self.graph {
                        div .scroll tabindex="0" role="region" aria-label="Graph" { (graph.svg(&self.shown.states)) }
                    }
                    (waterfall::table(&self.shown.states))
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
                @if !execution.output.is_null() {
                    (json("document", "The document", &execution.output))
                }
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

/// The possible actions on an execution, each with its effects.
fn actions(execution: &Execution, last: Option<&State>) -> Markup {
    let path = clip_path(&execution.name);
    let goes_on = match last.map(|state| state.name.as_str()) {
        Some(state) => format!("The execution continues at {state} and keeps its finished work."),
        None => "The execution continues.".to_owned(),
    };
    let anew = "A new execution of the same request starts, with the current definition. It reuses \
                the clip, if one was made.";
    let rerun = [
        ("redrive", "Rerun now", goes_on.as_str()),
        ("new", "Start again", anew),
    ];
    let stop = [(
        "stop",
        "Stop now",
        "The execution ends as aborted. It can be rerun.",
    )];
    html! {
        @if execution.is_rerunnable() {
            (action(&format!("{path}/rerun"), "Rerun", &rerun))
        } @else if execution.is_mendable() {
            (action(&format!("{path}/rerun"), "Rerun", &rerun[1..]))
        }
        @if execution.status == Status::Running { (action(&format!("{path}/stop"), "Stop", &stop)) }
    }
}

/// An action that expands, says what it would do, and asks for confirmation.
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

/// What was requested, next to what was delivered.
fn facts(execution: &Execution) -> Markup {
    let rows = facts_of(execution);
    let given = rows
        .iter()
        .filter(|(_, asked, found)| asked.is_some() || found.is_some());
    html! {
        section aria-label="Requested and delivered" {
            h2 { "Requested and delivered" }
            table .facts {
                (html::head_of_table(&["", "Requested", "Delivered"]))
                tbody {
                    @for line in show::asked(&execution.input) {
                        tr { th scope="row" { "Source" } td colspan="2" { (line) } }
                    }
                    @for (title, requested, delivered) in given {
                        tr {
                            th scope="row" { (title) }
                            td { @if let Some(text) = requested { (text) } }
                            td { @if let Some(text) = delivered { (text) } }
                        }
                    }
                }
            }
        }
    }
}

/// The name of a fact, what was requested, and what was delivered.
type Fact = (String, Option<String>, Option<String>);

fn facts_of(execution: &Execution) -> Vec<Fact> {
    let (input, output) = (&execution.input, &execution.output);
    let (delivered, engine) = (&output["delivered"], &output["engine"]);
    let fact = |title: &str, asked, found| (title.to_owned(), asked, found);
    let mut facts: Vec<Fact> = [("Start", "start"), ("End", "end")]
        .map(|(title, field)| {
            let found = seconds(&delivered[field]);
            let snapped = snapped(&input[field], &delivered[field]);
            fact(
                title,
                moment(&input[field]),
                found.map(|found| found + &snapped),
            )
        })
        .into();
    let why = engine["why"].as_str().unwrap_or_default();
    let name = engine["name"].as_str().map(|name| format!("{name}: {why}"));
    let cost = engine["estimateUsd"].as_f64();
    let cost = cost.map(|usd| format!("{}, estimated", render::usd(usd)));
    let most = requested(&input["maxCostUsd"]).map(|most| format!("at most {most} USD"));
    let size = output["clip"]["bytes"].as_u64().map(render::bytes);
    facts.extend([
        fact("Length", None, seconds(&delivered["durationSeconds"])),
        fact(
            "Clip",
            requested(&input["output"]),
            show::delivered(delivered),
        ),
        fact("Size", None, size),
        fact("Edits", requested(&input["edits"]), None),
        fact("Engine", None, name),
        fact("Cost", most, cost),
    ]);
    for (field, title) in [("conformed", "Conformed"), ("dropped", "Dropped")] {
        let lines = delivered[field].as_array().into_iter().flatten();
        facts.extend(lines.map(|line| fact(title, None, requested(line))));
    }
    let metadata = input["metadata"].as_object().into_iter().flatten();
    facts.extend(metadata.map(|(name, value)| fact(name, requested(value), None)));
    facts
}

fn seconds(value: &Value) -> Option<String> {
    value.as_f64().map(|seconds| format!("{seconds:.3} s"))
}

/// A field of a request as a person wrote it.
fn requested(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().filter_map(requested).collect();
            Some(values.join(", "))
        }
        Value::Object(fields) => {
            let field = |(name, value)| Some(format!("{name}: {}", requested(value)?));
            let fields: Vec<_> = fields.iter().filter_map(field).collect();
            Some(fields.join("; "))
        }
        value => Some(value.to_string()),
    }
}

/// A moment of a request, for people.
fn moment(value: &Value) -> Option<String> {
    match value {
        Value::Number(seconds) => Some(format!("{seconds} s")),
        value => requested(value),
    }
}

/// How far a moment was moved to snap to the source's frames, if both are known.
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

/// Links to the AWS console: the execution, its states' logs and its objects.
fn links_to_aws(shown: &Shown) -> Vec<(String, String)> {
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
