//! Actions on executions: the same functions as the commands, with the same confirmations.

use super::{
    answer::Answer,
    clips::Params,
    html::{clip_path, head_of_table, page, status},
    state::{Bulk, Shared},
};
use crate::{
    executions::Execution,
    failure::Failure,
    list::Filter,
    rerun::{self, Done},
    stop,
};
use axum::{
    Form,
    extract::{Path, Query, State},
};
use maud::{Markup, html};
use serde::Deserialize;
use std::sync::Arc;

/// The most executions that a bulk rerun starts per second.
const RATE: u64 = 5;
/// How many executions a plan names.
const NAMED: usize = 100;

/// How to rerun an execution.
#[derive(Debug, Deserialize)]
pub struct How {
    #[serde(default)]
    how: String,
}

/// Reruns an execution and redirects to its page, or to the new one's.
pub async fn rerun(
    State(console): State<Shared>,
    Path(name): Path<String>,
    Form(How { how }): Form<How>,
) -> Result<Answer, Failure> {
    let deployment = &console.deployment;
    let execution = deployment.resolve(&name).await?;
    match rerun::rerun(deployment, &execution, how == "new").await? {
        Done::Redriven { arn } | Done::Started { arn } => {
            Ok(Answer::To(clip_path(rerun::name_in(&arn))))
        }
        Done::Skipped { why } => Err(Failure::unsuccessful(format!(
            "{name} was not rerun: {why}"
        ))),
    }
}

/// Stops an execution and redirects to its page.
pub async fn stop(
    State(console): State<Shared>,
    Path(name): Path<String>,
) -> Result<Answer, Failure> {
    let execution = console.deployment.resolve(&name).await?;
    stop::stop(&console.deployment, &execution, "stopped by an operator").await?;
    Ok(Answer::To(clip_path(&execution.name)))
}

/// Says what a bulk rerun would do.
pub async fn plan(
    State(console): State<Shared>,
    Query(params): Query<Params>,
) -> Result<Answer, Failure> {
    let executions = rerun::failed(&console.deployment, &params.filter()?).await?;
    let content = planned(&params, &executions, console.frame.is_read_only);
    Ok(Answer::Page(page(&console.frame, "Rerun", "/", &content)))
}

fn planned(params: &Params, executions: &[Execution], is_read_only: bool) -> Markup {
    let chosen = [
        ("Error", &params.error),
        ("Camera", &params.camera),
        ("Text", &params.text),
        ("Started within", &params.since),
    ];
    html! {
        h1 { "Rerun what failed" }
        p .sub {
            "The newest executions of their clips, if they failed"
            @for (name, value) in chosen.iter().filter(|(_, value)| !value.is_empty()) {
                " · " (name) " " strong { (value) }
            }
        }
        @if executions.is_empty() { p .empty { "There is nothing to rerun." } } @else {
            table {
                (head_of_table(&["Error", "Executions"]))
                tbody {
                    @for (error, count) in rerun::by_error(executions) {
                        tr { th scope="row" { (error) } td .number { (count) } }
                    }
                }
            }
            details #named {
                summary { "Which" }
                ul {
                    @for one in executions.iter().take(NAMED) {
                        li { a href=(clip_path(&one.name)) { (one.name) } " " (status(one.status)) }
                    }
                    @if executions.len() > NAMED {
                        li { "and " (executions.len() - NAMED) " more" }
                    }
                }
            }
            @if !is_read_only {
                form method="post" action=(params.url("/rerun")) {
                    p { "Each continues where it failed, " (RATE) " a second." }
                    button { "Rerun " (executions.len()) " executions" }
                }
            }
        }
    }
}

/// Begins a bulk rerun, which continues even if nobody watches.
pub async fn bulk(
    State(console): State<Shared>,
    Query(params): Query<Params>,
) -> Result<Answer, Failure> {
    let filter: Filter = params.filter()?;
    let executions = rerun::failed(&console.deployment, &filter).await?;
    {
        let mut bulk = console.bulk();
        if bulk.total > 0 && !bulk.has_ended {
            return Err(Failure::unsuccessful(
                "a rerun is under way; wait for its end",
            ));
        }
        *bulk = Bulk {
            total: executions.len(),
            has_ended: executions.is_empty(),
            ..Bulk::default()
        };
    }
    let work = Arc::clone(&console);
    tokio::spawn(async move {
        let told = |line| work.bulk().told.push(line);
        let done = rerun::rerun_all(&work.deployment, &executions, false, RATE, told).await;
        let mut bulk = work.bulk();
        bulk.told.extend(done.err().map(|failure| failure.message));
        bulk.has_ended = true;
    });
    Ok(Answer::To("/rerun/progress".to_owned()))
}

/// Reports the progress of the bulk rerun.
pub async fn progress(
    State(console): State<Shared>,
    headers: axum::http::HeaderMap,
) -> Result<Answer, Failure> {
    let (content, has_ended) = {
        let bulk = console.bulk();
        (told(&bulk), bulk.has_ended || bulk.total == 0)
    };
    let region = super::live::Region {
        id: "progress",
        url: (!has_ended).then_some("/rerun/progress"),
        content,
    };
    if let Some(answer) = region.again(&headers, &console.deployment) {
        return Ok(answer);
    }
    let content = html! { h1 { "Rerun" } (region.markup(&console.deployment)) };
    Ok(Answer::Page(page(&console.frame, "Rerun", "/", &content)))
}

fn told(bulk: &Bulk) -> Markup {
    html! {
        p role="status" { (bulk.told.len()) " of " (bulk.total) @if bulk.has_ended { ", done" } }
        progress max=(bulk.total.max(1)) value=(bulk.told.len()) aria-label="Reruns begun" {}
        ul .mono { @for line in &bulk.told { li { (line) } } }
        p { a href="/" { "All clips" } }
    }
}
