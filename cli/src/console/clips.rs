//! The page of clips: newest first, with the same filters as `clipflow list`.

use super::{
    answer::Answer,
    html::{ago, clip_path, encoded, head_of_table, page, status},
    live::Region,
    media::{self, Media},
    state::Shared,
};
use crate::{
    executions::{Execution, Status},
    failure::Failure,
    list::{self, Filter, Page, Query},
    render, when,
};
use axum::{
    extract::{self, State},
    http::HeaderMap,
};
use clap::ValueEnum;
use maud::{Markup, html};
use model::ErrorKind;
use serde::Deserialize;
use time::OffsetDateTime;

/// How many clips a page shows.
const PAGE: usize = 50;
/// How many executions are read to find them: the burst limit of `DescribeExecution`.
const MAX_READS: usize = 250;
/// Spans of time to choose from.
const SPANS: [(&str, &str); 6] = [
    ("", "any time"),
    ("1h", "the last hour"),
    ("1d", "the last day"),
    ("7d", "the last 7 days"),
    ("30d", "the last 30 days"),
    ("90d", "the last 90 days"),
];

/// What the table says of a clip.
const COLUMNS: [&str; 8] = [
    "", "Clip", "Status", "Camera", "Length", "Engine", "Cost", "Started",
];

/// Which clips to show, as in the page's form and its links.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct Params {
    status: String,
    pub error: String,
    pub camera: String,
    pub text: String,
    pub since: String,
    until: String,
}

impl Params {
    /// The filter, as in `list` and `rerun`.
    ///
    /// # Errors
    /// Wrong usage if a time is invalid.
    pub fn filter(&self) -> Result<Filter, Failure> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Filter {
            since: moment(&self.since)?,
            camera: given(&self.camera),
            error: given(&self.error),
            text: given(&self.text),
        })
    }

    fn query(&self) -> Result<Query, Failure> {
        let status = match self.status.as_str() {
            "" => None,
            name => Some(Status::from_str(name, true).map_err(Failure::usage)?),
        };
        Ok(Query {
            filter: self.filter()?,
            status,
            until: moment(&self.until)?,
            limit: PAGE,
            max_reads: MAX_READS,
        })
    }

    /// Executions of a time span that ended with an error.
    pub fn of(error: &str, since: &str) -> Self {
        Self {
            error: error.to_owned(),
            since: since.to_owned(),
            ..Self::default()
        }
    }

    /// The URL of the same choice under a path.
    pub fn url(&self, path: &str) -> String {
        let fields = [
            ("status", &self.status),
            ("error", &self.error),
            ("camera", &self.camera),
            ("text", &self.text),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let given = fields.iter().filter(|(_, value)| !value.is_empty());
        let given: Vec<_> = given
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        format!("{path}?{}", given.join("&"))
    }
}

fn moment(text: &str) -> Result<Option<OffsetDateTime>, Failure> {
    match text.trim() {
        "" => Ok(None),
        text => when::parse(text).map(Some).map_err(Failure::usage),
    }
}

/// Answers with the page, or with its clips if they differ from what the browser has.
pub async fn show(
    State(console): State<Shared>,
    headers: HeaderMap,
    extract::Query(params): extract::Query<Params>,
) -> Result<Answer, Failure> {
    let found = list::find(&console.deployment, &params.query()?).await?;
    let url = params.url("/");
    let clips = Region {
        id: "clips",
        url: params.until.is_empty().then_some(url.as_str()),
        content: section(
            &params,
            &found,
            OffsetDateTime::now_utc(),
            console.frame.is_read_only,
        ),
    };
    if let Some(answer) = clips.again(&headers, &console.deployment) {
        return Ok(answer);
    }
    let content = html! {
        h1 .hidden { "Clips" }
        (form(&params))
        (clips.markup(&console.deployment))
    };
    Ok(Answer::Page(page(&console.frame, "Clips", "/", &content)))
}

/// The filters. Without scripts, a button sends them.
pub fn form(params: &Params) -> Markup {
    let statuses = Status::value_variants().iter().map(|status| status.name());
    html! {
        form .filters action="/" method="get" role="search" aria-label="Filter clips"
            hx-get="/" hx-target="#clips" hx-select="#clips" hx-swap="outerHTML" hx-push-url="true"
            hx-trigger="submit, change, input changed delay:300ms from:#text" {
            fieldset .tabs {
                legend .hidden { "Status" }
                @for name in std::iter::once("").chain(statuses) {
                    label {
                        input type="radio" name="status" value=(name) checked[params.status == name];
                        span { @if name.is_empty() { "all" } @else { (name) } }
                    }
                }
            }
            input #text type="search" name="text" value=(params.text) placeholder="Search"
                aria-label="Text in name, request or outcome";
            input type="text" name="error" value=(params.error) placeholder="Error" list="errors"
                aria-label="Error";
            datalist #errors { @for kind in ErrorKind::ALL { option value=(kind.name()) {} } }
            input type="text" name="camera" value=(params.camera) placeholder="Camera"
                aria-label="Camera";
            select name="since" aria-label="Started within" {
                @for (value, name) in SPANS {
                    option value=(value) selected[params.since == value] { (name) }
                }
            }
            noscript { button { "Apply" } }
        }
    }
}

/// The clips that were found, and the link to the next page.
pub fn section(params: &Params, found: &Page, now: OffsetDateTime, is_read_only: bool) -> Markup {
    let failed = found
        .executions
        .iter()
        .filter(|one| one.status == Status::Failed)
        .count();
    let more = found.next.map(|next| Params {
        until: when::rfc3339(next),
        ..params.clone()
    });
    html! {
        @if found.executions.is_empty() {
            p .empty {
                @if more.is_some() { "None of the executions read so far match." }
                @else { "No executions." }
            }
        } @else {
            (table(&found.executions, now))
        }
        nav .pages aria-label="Pages of clips" {
            @if !params.until.is_empty() {
                a href=(Params { until: String::new(), ..params.clone() }.url("/")) { "Newest" }
            }
            @if let Some(more) = more { a rel="next" href=(more.url("/")) { "Older" } }
            @if failed > 0 && !is_read_only { a .apart href=(params.url("/rerun")) { "Rerun what failed…" } }
        }
    }
}

fn table(executions: &[Execution], now: OffsetDateTime) -> Markup {
    html! {
        table .clips {
            (head_of_table(&COLUMNS))
            tbody { @for execution in executions { (row(execution, now)) } }
        }
    }
}

fn row(execution: &Execution, now: OffsetDateTime) -> Markup {
    let output = &execution.output;
    let path = clip_path(&execution.name);
    let length = output["delivered"]["durationSeconds"].as_f64();
    let cost = output["engine"]["estimateUsd"].as_f64();
    let picture = media::thumbnail(execution, 300).map(|key| Media::Console.url(execution, key));
    html! {
        tr {
            td .thumb {
                a href=(path) tabindex="-1" aria-hidden="true" {
                    @if let Some(url) = picture {
                        img src=(url) alt="" loading="lazy" width="96" height="54";
                    }
                }
            }
            th .clip scope="row" {
                a href=(path) { (execution.clip_id()) }
                @if let Some(error) = execution.error() {
                    p class={ "why " (execution.status.name()) } {
                        (error)
                        @if let Some(message) = execution.message() { ": " (message) }
                    }
                }
            }
            td .state { (status(execution.status)) }
            td .camera { (execution.input["cameraId"].as_str().unwrap_or_default()) }
            td .number { (length.map(when::span).unwrap_or_default()) }
            td .engine { (output["engine"]["name"].as_str().unwrap_or_default()) }
            td .number { (cost.map(render::usd).unwrap_or_default()) }
            td .age { (ago(execution.started_at, now)) " ago" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choice_survives_its_url() {
        let params = Params {
            error: "a&b=c".into(),
            text: "\"é\" #1".into(),
            until: "2026-11-24T06:00:00.5Z".into(),
            ..Params::default()
        };
        let url = params.url("/");
        assert_eq!(
            url,
            "/?error=a%26b%3Dc&text=%22%C3%A9%22%20%231&until=2026-11-24T06%3A00%3A00.5Z"
        );
        let uri = url.parse().expect("a URL");
        let extract::Query(read) =
            extract::Query::<Params>::try_from_uri(&uri).expect("parameters");
        assert_eq!(read.url("/"), url);
    }

    #[test]
    fn what_is_no_time_or_status_is_wrong_usage() {
        let since = Params {
            since: "yesterday".into(),
            ..Params::default()
        };
        let status = Params {
            status: "<b>".into(),
            ..Params::default()
        };
        assert_eq!(
            [since, status].map(|params| params.query().map_err(|failure| failure.code).err()),
            [Some(2); 2]
        );
    }
}
