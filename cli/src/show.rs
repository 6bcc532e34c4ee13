//! `clipflow show`: an execution, for people.

use crate::{
    deployment::Deployment,
    executions::{Execution, Status},
    failure::Failure,
    history::{self, State},
    render, when,
};
use model::{console::execution_url, damage::Damaged, text::shorten};
use serde::Deserialize;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use time::OffsetDateTime;

/// How long executions may take to start after the last one appeared.
const START_LIMIT: Duration = Duration::from_mins(10);

/// How much of a message is shown in a line about a state or event, in characters.
const MAX_MESSAGE: usize = 160;

/// Show an execution: states, request and result, engine, costs and links
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  clipflow show dawn-patrol-0042
  clipflow show dawn-patrol-0042-1f2e3d4c5b6a --watch
  clipflow show dawn-patrol-0042 --history --json > history.json
  clipflow show dawn-patrol-0042 --html dawn-patrol.html

--watch follows the execution to its end and exits with 4 if no clip came of it.")]
pub struct Args {
    /// A clipId (its newest execution), an execution name or an ARN
    pub clip: String,
    /// Follow the execution until it ends
    #[arg(long, short)]
    watch: bool,
    /// Show the raw events
    #[arg(long, conflicts_with = "html")]
    history: bool,
    /// Write an HTML page instead, with the clip and its thumbnails beside it
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
}

/// An execution and what happened in it.
#[derive(Debug)]
pub struct Shown {
    pub execution: Execution,
    /// The events as the API returned them.
    pub events: Vec<Value>,
    /// The states derived from the events.
    pub states: Vec<State>,
}

impl Shown {
    /// The execution, with its history up to now.
    pub async fn read(deployment: &Deployment, execution: Execution) -> Result<Self, Failure> {
        let events = deployment.history(&execution.arn).await?;
        Ok(Self {
            states: history::states(&events, OffsetDateTime::now_utc()),
            events,
            execution,
        })
    }
}

/// Shows an execution. `write` writes its page to a file.
pub async fn run(
    deployment: &Deployment,
    args: Args,
    json: bool,
    write: impl AsyncFn(&Deployment, &Shown, &Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let execution = deployment.resolve(&args.clip).await?;
    let is_quiet = json || args.history || args.html.is_some();
    let shown = if args.watch {
        follow(deployment, &execution.arn, is_quiet).await?
    } else {
        Shown::read(deployment, execution).await?
    };
    if let Some(file) = &args.html {
        write(deployment, &shown, file).await?;
    } else if args.history && json {
        render::json(&shown.events);
    } else if args.history {
        let lines = shown.events.iter().map(line_of_event);
        lines.for_each(|line| render::say(render::plain(&line)));
    } else {
        show(deployment, &shown, json, args.watch);
    }
    if args.watch {
        availability(&[shown.execution])
    } else {
        Ok(())
    }
}

/// Follows an execution to its end. Unless `quiet`, prints a line for each finished state and each error.
pub async fn follow(deployment: &Deployment, arn: &str, quiet: bool) -> Result<Shown, Failure> {
    let spinner = render::spinner();
    let mut lines = 0;
    loop {
        let events = deployment.history(arn).await?;
        let states = history::states(&events, OffsetDateTime::now_utc());
        if !quiet {
            let told = told(&states);
            spinner.suspend(|| told.iter().skip(lines).for_each(render::say));
            lines = told.len();
        }
        if let Some(state) = states
            .last()
            .filter(|state| state.status == history::Status::Running)
        {
            spinner.set_message(format!(
                "{} {}",
                state.name,
                when::span(state.duration_seconds)
            ));
        }
        // The history can be slightly ahead of the description.
        if history::has_ended(&events)
            && let Some(execution) = deployment.describe(arn).await?
            && execution.status != Status::Running
        {
            spinner.finish_and_clear();
            return Ok(Shown {
                execution,
                events,
                states,
            });
        }
        tokio::time::sleep(deployment.pace()).await;
    }
}

/// Waits for executions to end and shows it: a single one is followed; for several, prints one line each.
pub async fn wait(
    deployment: &Deployment,
    arns: &[String],
    json: bool,
) -> Result<Vec<Execution>, Failure> {
    if let [arn] = arns {
        wait_until_started(deployment, arn).await?;
        let shown = follow(deployment, arn, json).await?;
        show(deployment, &shown, json, true);
        return Ok(vec![shown.execution]);
    }
    let bar = render::bar(arns.len(), "wait");
    let mut heard = Instant::now();
    let mut ended: Vec<Option<Execution>> = vec![None; arns.len()];
    while ended.iter().any(Option::is_none) {
        for (arn, ended) in arns
            .iter()
            .zip(&mut ended)
            .filter(|(_, ended)| ended.is_none())
        {
            // DescribeExecution allows 15 calls per second in an account and region.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let execution = match deployment.describe(arn).await? {
                None if heard.elapsed() > START_LIMIT => return Err(not_started(arn)),
                None => continue,
                Some(execution) if execution.status == Status::Running => continue,
                Some(execution) => execution,
            };
            heard = Instant::now();
            if !json {
                bar.suspend(|| render::say(line(&execution)));
            }
            bar.inc(1);
            *ended = Some(execution);
        }
    }
    bar.finish_and_clear();
    let ended: Vec<_> = ended.into_iter().flatten().collect();
    if json {
        render::json(&ended.iter().map(Execution::json).collect::<Vec<_>>());
    }
    Ok(ended)
}

/// How an execution ended, in a line.
fn line(execution: &Execution) -> String {
    let error = execution.error();
    let error = error.map_or_else(String::new, |error| format!(": {error}"));
    let status = render::status(execution.status);
    format!("{}: {status}{error}", execution.clip_id())
}

async fn wait_until_started(deployment: &Deployment, arn: &str) -> Result<(), Failure> {
    let (begun, spinner) = (Instant::now(), render::spinner());
    spinner.set_message("waiting for the execution to start");
    while deployment.describe(arn).await?.is_none() {
        if begun.elapsed() > START_LIMIT {
            return Err(not_started(arn));
        }
        tokio::time::sleep(deployment.pace()).await;
    }
    spinner.finish_and_clear();
    Ok(())
}

fn not_started(arn: &str) -> Failure {
    let minutes = START_LIMIT.as_secs() / 60;
    Failure::new(format!(
        "{arn} has not started within {minutes} minutes; `clipflow dlq list` may tell why"
    ))
}

/// Success if all of these are available.
pub fn availability(executions: &[Execution]) -> Result<(), Failure> {
    let without: Vec<_> = executions
        .iter()
        .filter(|execution| execution.status != Status::Available)
        .collect();
    match without[..] {
        [] => Ok(()),
        [one] => Err(Failure::unsuccessful(format!(
            "{} is {}",
            one.clip_id(),
            one.status.name()
        ))),
        _ => Err(Failure::unsuccessful(format!(
            "{} of {} clips are not available",
            without.len(),
            executions.len()
        ))),
    }
}

/// Prints an execution; `following` if its states were already printed.
fn show(deployment: &Deployment, shown: &Shown, json: bool, following: bool) {
    let Shown {
        execution, states, ..
    } = shown;
    let link = execution_url(&execution.arn).filter(|_| !deployment.is_local);
    if json {
        let mut value = execution.json();
        value["requested"] = execution.input.clone();
        value["states"] = serde_json::to_value(states).expect("it is plain data");
        value["durationSeconds"] = execution.seconds().into();
        if !execution.output.is_null() {
            value["outcome"] = execution.output.clone();
        }
        if let Some(link) = link {
            value["consoleUrl"] = link.into();
        }
        return render::json(&value);
    }
    if !following {
        states_in_lines(states).iter().for_each(render::say);
    }
    in_lines(execution, link, deployment.options())
        .iter()
        .for_each(render::say);
}

/// The states of an execution, and an empty line.
pub fn states_in_lines(states: &[State]) -> Vec<String> {
    let mut lines = told(states);
    for state in states {
        if state.status == history::Status::Running {
            let took = when::span(state.duration_seconds);
            lines.push(format!("  … {:14} {took}", state.name));
        }
    }
    lines.push(String::new());
    lines
}

/// An execution, the `link` to its console page, and what to do about it with a command that needs `options`.
pub fn in_lines(execution: &Execution, link: Option<String>, options: &str) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  {}",
        console::style(render::plain(execution.clip_id())).bold(),
        render::status(execution.status)
    )];
    for (name, text) in facts(execution, link) {
        let text = render::plain(&text);
        lines.push(format!("  {} {text}", render::dim(format!("{name:10}"))));
    }
    if execution.is_rerunnable() {
        let name = &execution.name;
        lines.push(format!(
            "\nOnce the cause is fixed: clipflow rerun {name}{options}"
        ));
    }
    lines
}

/// A line for each error, and for each state that has ended.
fn told(states: &[State]) -> Vec<String> {
    let lines = states.iter().flat_map(|state| {
        let errors = state.errors.iter().map(|error| {
            format!(
                "  {} {:14} {}: {}",
                console::style("!").yellow(),
                state.name,
                render::plain(&error.reason),
                render::plain(&one_line(&error.message))
            )
        });
        let took = when::span(state.duration_seconds);
        let retries = match state.retries {
            0 => String::new(),
            1 => ", 1 retry".to_owned(),
            retries => format!(", {retries} retries"),
        };
        let mark = match state.status {
            history::Status::Running => None,
            history::Status::Exited => Some(console::style("✓").green()),
            history::Status::Failed => Some(console::style("✗").red()),
        };
        errors.chain(mark.map(|mark| format!("  {mark} {:14} {took}{retries}", state.name)))
    });
    lines.collect()
}

/// Facts about an execution: names and values.
type Facts = Vec<(&'static str, String)>;

fn facts(execution: &Execution, link: Option<String>) -> Facts {
    let mut facts = vec![("execution", execution.name.clone())];
    let redriven = match execution.redrive_count {
        0 => String::new(),
        count => format!(", redriven {count} times"),
    };
    let (started, took) = (
        when::moment(execution.started_at),
        when::span(execution.seconds()),
    );
    facts.push(("started", format!("{started} UTC, {took}{redriven}")));
    if let Some(error) = execution.error() {
        let message = execution.message().filter(|message| !message.is_empty());
        facts.push((
            "reason",
            message.map_or_else(|| error.to_owned(), |message| format!("{error}: {message}")),
        ));
    }
    facts.extend(
        asked(&execution.input)
            .into_iter()
            .map(|asked| ("asked", asked)),
    );
    facts.extend(facts_delivered(&execution.output["delivered"]));
    facts.extend(facts_engine(&execution.output["engine"]));
    facts.extend(facts_objects(&execution.output));
    facts.extend(link.map(|link| ("console", link)));
    facts
}

fn facts_delivered(found: &Value) -> Facts {
    let mut facts: Facts = delivered(found)
        .into_iter()
        .map(|line| ("delivered", line))
        .collect();
    for field in ["conformed", "dropped"] {
        let lines = found[field].as_array().into_iter().flatten();
        facts.extend(lines.filter_map(|line| Some((field, line.as_str()?.to_owned()))));
    }
    if let Ok(damaged) = Damaged::deserialize(&found["damaged"]) {
        facts.push(("damaged", damaged.to_string()));
    }
    if let Some(why) = found["undecoded"].as_str() {
        facts.push(("undecoded", why.to_owned()));
    }
    facts
}

fn facts_engine(engine: &Value) -> Facts {
    let mut facts = Vec::new();
    if let Some(name) = engine["name"].as_str() {
        let why = engine["why"].as_str().unwrap_or_default();
        facts.push(("engine", format!("{name}: {why}")));
    }
    if let Some(usd) = engine["estimateUsd"].as_f64() {
        facts.push(("cost", format!("{}, estimated", render::usd(usd))));
    }
    facts
}

fn facts_objects(output: &Value) -> Facts {
    let mut facts = Vec::new();
    let clip = &output["clip"];
    if let (Some(bucket), Some(key)) = (output["bucket"].as_str(), clip["key"].as_str()) {
        let size = clip["bytes"].as_u64().map(render::bytes);
        let size = size.unwrap_or_default();
        facts.push(("clip", format!("s3://{bucket}/{key} ({size})")));
    }
    let thumbnails = output["thumbnails"].as_array().into_iter().flatten();
    let widths: Vec<_> = thumbnails
        .filter_map(|one| Some(one["size"].as_u64()?.to_string()))
        .collect();
    if !widths.is_empty() {
        facts.push(("thumbnails", format!("{} pixels wide", widths.join(", "))));
    }
    facts.extend(clip["url"].as_str().map(|url| ("url", url.to_owned())));
    facts
}

/// What a request asks for, one line per cut. Requests are shown as they were sent, valid or not.
pub fn asked(request: &Value) -> Vec<String> {
    let time = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| format!("{value} s"), str::to_owned)
    };
    let cut = |cut: &Value| {
        let source = &cut["source"];
        let (bucket, key) = (source["bucket"].as_str()?, source["key"].as_str()?);
        Some(format!(
            "s3://{bucket}/{key} from {} to {}",
            time(&cut["start"]),
            time(&cut["end"])
        ))
    };
    let segments = request["segments"]
        .as_array()
        .map_or(std::slice::from_ref(request), Vec::as_slice);
    let mut lines: Vec<String> = segments.iter().filter_map(cut).collect();
    if let Some(camera) = request["cameraId"].as_str() {
        let moment = |field: &str| {
            let value = &request[field];
            let milliseconds = value.as_i64().or_else(|| value.as_str()?.parse().ok());
            let at = milliseconds
                .map(|ms| OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000));
            at.and_then(Result::ok)
                .map_or_else(|| value.to_string(), when::rfc3339)
        };
        lines.push(format!(
            "camera {camera} from {} to {}",
            moment("startTimestampInMs"),
            moment("endTimestampInMs")
        ));
    }
    if let (Some(first), Some(how)) = (lines.first_mut(), request["cut"].as_str()) {
        first.extend([", ", how]);
    }
    lines
}

pub fn delivered(delivered: &Value) -> Option<String> {
    let seconds = delivered["durationSeconds"].as_f64()?;
    let number = |field: &str| delivered[field].as_u64().unwrap_or(0);
    let codecs: Vec<_> = ["videoCodec", "audioCodec"]
        .iter()
        .filter_map(|field| delivered[*field].as_str())
        .collect();
    let size = format!("{}×{}", number("width"), number("height"));
    Some(format!(
        "{seconds:.3} s, {} frames, {size}, {}",
        number("frames"),
        codecs.join(" and ")
    ))
}

pub fn line_of_event(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap_or_default();
    let details = ["stateEnteredEventDetails", "stateExitedEventDetails"];
    let state = details
        .iter()
        .find_map(|details| event[*details]["name"].as_str())
        .unwrap_or_default();
    let error = history::error(kind, event)
        .map(|error| format!("{}: {}", error.reason, one_line(&error.message)));
    let at = event["timestamp"].as_str().unwrap_or_default();
    format!(
        "{at:24} {:>4} {kind:24} {state}{}",
        event["id"].to_string(),
        error.unwrap_or_default()
    )
    .trim_end()
    .to_owned()
}

fn one_line(text: &str) -> String {
    shorten(
        &text.split_whitespace().collect::<Vec<_>>().join(" "),
        MAX_MESSAGE,
    )
    .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_request_says_what_it_asks_for() {
        let source = json!({"bucket": "archive", "key": "k.mp4"});
        let one = json!({"source": source, "start": 72.5, "end": "1:30", "cut": "copy"});
        assert_eq!(
            asked(&one),
            ["s3://archive/k.mp4 from 72.5 s to 1:30, copy"]
        );
        let cut = json!({"source": source, "start": 1, "end": 2});
        assert_eq!(asked(&json!({"segments": [cut, cut]})).len(), 2);
        let camera =
            json!({"cameraId": "pipe", "startTimestampInMs": "0", "endTimestampInMs": 22_500});
        assert_eq!(
            asked(&camera),
            ["camera pipe from 1970-01-01T00:00:00Z to 1970-01-01T00:00:22.5Z"]
        );
        assert_eq!(asked(&json!(["no request"])), Vec::<String>::new());
    }

    #[test]
    fn event_is_one_line() {
        let cause = "no\nprimary";
        let event = json!({"id": 7, "type": "TaskFailed", "timestamp": "2026-11-24T06:00:00Z",
            "taskFailedEventDetails": {"error": "DependencyUnavailable", "cause": cause}});
        let line = line_of_event(&event);
        assert!(
            line.ends_with("   7 TaskFailed               DependencyUnavailable: no primary"),
            "{line}"
        );
    }
}
