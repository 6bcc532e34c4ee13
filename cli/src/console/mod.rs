//! `clipflow console`: a page on this machine where clips play, executions can be followed and reruns are a click.
//!
//! It shows what the commands print and does what they do, with the same functions. The command renders the pages; the
//! browser only polls the parts of them that may change.

mod actions;
mod answer;
mod charts;
mod clip;
mod clips;
mod cut;
mod graph;
mod guard;
mod html;
mod letters;
mod live;
mod media;
mod overview;
mod queues;
mod state;
mod waterfall;

use crate::{
    deployment::Deployment, executions::Status, failure::Failure, render, show::Shown, stop,
};
use answer::Answer;
use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use clip::View;
use graph::Graph;
use guard::Guard;
use live::Region;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use media::Media;
use serde_json::json;
use state::{Console, Shared};
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};
use time::OffsetDateTime;
use tokio::net::TcpListener;

const STYLE: &str = include_str!("assets/style.css");

/// What a page in a file may do: show the files next to it.
const FILE_POLICY: &str =
    "script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'";

/// Serve a page on this machine to play clips, follow executions and rerun them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  clipflow console --local
  clipflow console --terraform terraform --read-only --browser

It prints a URL that lets one browser in, and serves until it is interrupted. It listens on 127.0.0.1 only.")]
pub struct Args {
    /// The port; 0 picks a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Offer no actions, only views
    #[arg(long)]
    read_only: bool,
    /// Open the page in the browser
    #[arg(long)]
    browser: bool,
}

/// Serves the pages until interrupted.
pub async fn run(deployment: Deployment, args: Args, json: bool) -> Result<(), Failure> {
    let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await;
    let bound = listening.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
    let (port, listener) =
        bound.map_err(|error| Failure::new(format!("127.0.0.1:{}: {error}", args.port)))?;
    let arn = &deployment.outputs.state_machine_arn;
    let console = Console {
        guard: Guard::new(port, &media::origin(&deployment).await?)?,
        frame: html::Frame {
            deployment: arn.rsplit(':').next().unwrap_or(arn).to_owned(),
            is_local: deployment.is_local,
            is_read_only: args.read_only,
        },
        bulk: Mutex::default(),
        deployment,
    };
    let url = console.guard.url();
    if json {
        render::json(&json!({"url": url}));
    } else {
        render::say(format!(
            "{url}\nThis URL lets a browser in. Ctrl-C ends the console."
        ));
    }
    if args.browser {
        stop::open_in_browser(&url)?;
    }
    let served = axum::serve(listener, router(Arc::new(console))).await;
    served.map_err(|error| Failure::new(format!("127.0.0.1:{port}: {error}")))
}

fn router(console: Shared) -> Router {
    let pages = Router::new()
        .route("/", get(clips::show))
        .route("/overview", get(overview::show))
        .route("/dead-letters", get(letters::show))
        .route("/clips/{name}", get(show))
        .route("/clips/{name}/{file}", get(media::redirect))
        .route("/rerun", get(actions::plan))
        .route("/rerun/progress", get(actions::progress))
        .route("/assets/{file}", get(asset));
    let actions = Router::new()
        .route("/clips/{name}/rerun", post(actions::rerun))
        .route("/clips/{name}/stop", post(actions::stop))
        .route("/rerun", post(actions::bulk))
        .route("/dead-letters/replay", post(letters::replay));
    pages
        .merge(actions)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&console),
            only_reads,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&console),
            guarded,
        ))
        .with_state(console)
}

/// Lets only requests pass that the guard accepts.
async fn guarded(State(console): State<Shared>, request: Request, next: Next) -> Response {
    let guard = &console.guard;
    let mut response = match guard.answer(request.method(), request.uri(), request.headers()) {
        Some(answer) => answer,
        None => next.run(request).await,
    };
    guard.secure(response.headers_mut());
    response
}

/// Refuses changes in a read-only console.
async fn only_reads(State(console): State<Shared>, request: Request, next: Next) -> Response {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if console.frame.is_read_only && !reads {
        return (StatusCode::FORBIDDEN, "This console is read-only.").into_response();
    }
    next.run(request).await
}

async fn asset(Path(file): Path<String>) -> Response {
    let (kind, content) = match file.as_str() {
        "style.css" => ("text/css", STYLE),
        "console.js" => ("text/javascript", include_str!("assets/console.js")),
        "htmx.min.js" => ("text/javascript", include_str!("assets/htmx.min.js")),
        "icon.svg" => ("image/svg+xml", include_str!("assets/icon.svg")),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(header::CONTENT_TYPE, kind)], content).into_response()
}

/// Answers with the page of a clip, or with its content if it differs from what the browser has.
async fn show(
    State(console): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Answer, Failure> {
    let deployment = &console.deployment;
    let shown = Shown::read(deployment, deployment.resolve(&name).await?).await?;
    let graph = deployment.definition(&shown.execution.arn).await;
    let graph = graph.as_ref().and_then(Graph::of);
    let view = View {
        shown: &shown,
        graph: graph.as_ref(),
        media: &Media::Console,
        has_actions: !console.frame.is_read_only,
        has_links: !deployment.is_local,
        now: OffsetDateTime::now_utc(),
    };
    let (execution, url) = (&shown.execution, html::clip_path(&shown.execution.name));
    // A success never changes; everything else may continue.
    let lives = !matches!(execution.status, Status::Available | Status::Rejected);
    let region = Region {
        id: "clip",
        url: lives.then_some(&url),
        content: view.markup(),
    };
    if let Some(answer) = region.again(&headers, deployment) {
        return Ok(answer);
    }
    let content = region.markup(deployment);
    Ok(Answer::Page(html::page(
        &console.frame,
        execution.clip_id(),
        "/",
        &content,
    )))
}

/// A clip's row in the list, and its page.
#[cfg(test)]
pub fn pages(shown: &Shown) -> [String; 2] {
    let definition = include_str!("../../../statemachine/clip.asl.json");
    let graph = Graph::of(&serde_json::from_str(definition).expect("JSON"));
    let now = time::macros::datetime!(2026-11-24 06:00 UTC);
    let view = View {
        shown,
        graph: graph.as_ref(),
        media: &Media::Console,
        has_actions: true,
        has_links: true,
        now,
    };
    let found = crate::list::Page {
        executions: vec![shown.execution.clone()],
        next: Some(now),
    };
    let clips = clips::section(&clips::Params::default(), &found, now, false);
    [clips, view.markup()].map(Markup::into_string)
}

/// Writes the page of a clip to a file, with the delivered objects next to it.
pub async fn write(
    deployment: &Deployment,
    shown: &Shown,
    file: &std::path::Path,
) -> Result<(), Failure> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let media = Media::Beside {
        folder: file.parent().unwrap_or(std::path::Path::new("")).to_owned(),
        prefix: format!("{stem}-"),
    };
    media::download(deployment, &shown.execution, &media).await?;
    let graph = deployment.definition(&shown.execution.arn).await;
    let graph = graph.as_ref().and_then(Graph::of);
    let view = View {
        shown,
        graph: graph.as_ref(),
        media: &media,
        has_actions: false,
        has_links: !deployment.is_local,
        now: OffsetDateTime::now_utc(),
    };
    let page = document(shown.execution.clip_id(), &view.markup());
    std::fs::write(file, page.into_string())
        .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    render::say(file.display());
    Ok(())
}

/// A page in a file: it contains its style and runs no scripts.
fn document(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta http-equiv="Content-Security-Policy" content=(FILE_POLICY);
                (html::head(title))
                // Our own file; it contains no closing tag.
                style { (PreEscaped(STYLE)) }
            }
            body { main { (content) } }
        }
    }
}
