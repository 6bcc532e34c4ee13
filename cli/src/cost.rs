//! `clipflow cost`: what clips were estimated to cost, by engine.

use crate::{
    deployment::Deployment,
    executions::{Execution, Status},
    failure::Failure,
    render, when,
};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Count clips and add up their estimated cost, by engine
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: clipflow cost --since 7d

The figures are the estimates that choose an engine, at AWS list prices. Cost Explorer has the bill.")]
pub struct Args {
    /// Started since this time: 12h, 7d, 2026-11-24 or RFC 3339
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = when::parse)]
    since: OffsetDateTime,
}

/// The totals of one engine's executions.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sum {
    clips: usize,
    clip_seconds: f64,
    estimate_usd: f64,
}

/// Sums up executions.
pub async fn run(deployment: &Deployment, args: Args, json: bool) -> Result<(), Failure> {
    let listed = deployment
        .list(&[], Some(args.since), |_| true, usize::MAX)
        .await?;
    let bar = render::bar(listed.len(), "read");
    let mut sums = BTreeMap::new();
    for chunk in listed.chunks(100) {
        for execution in deployment.describe_all(chunk).await? {
            add(&mut sums, &execution);
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    let total = sums.values().fold(Sum::default(), |total, sum| Sum {
        clips: total.clips + sum.clips,
        clip_seconds: total.clip_seconds + sum.clip_seconds,
        estimate_usd: total.estimate_usd + sum.estimate_usd,
    });
    if json {
        render::json(&json!({"since": when::rfc3339(args.since), "engines": sums, "total": total}));
        return Ok(());
    }
    let row = |name: &str, sum: &Sum| {
        vec![
            name.to_owned(),
            sum.clips.to_string(),
            when::span(sum.clip_seconds),
            render::usd(sum.estimate_usd),
        ]
    };
    let mut rows: Vec<_> = sums.iter().map(|(name, sum)| row(name, sum)).collect();
    rows.push(row("total", &total));
    render::say(render::table(
        &["ENGINE", "CLIPS", "LENGTH", "ESTIMATE"],
        &rows,
    ));
    Ok(())
}

/// Adds an execution to its engine's sum or, if it made no clip, to its status's.
fn add(sums: &mut BTreeMap<String, Sum>, execution: &Execution) {
    let outcome = &execution.output;
    let engine = outcome["engine"]["name"]
        .as_str()
        .filter(|_| execution.status == Status::Available);
    let name = engine.map_or_else(
        || format!("none, {}", execution.status.name()),
        str::to_owned,
    );
    let sum = sums.entry(name).or_default();
    sum.clips += 1;
    sum.clip_seconds += outcome["delivered"]["durationSeconds"]
        .as_f64()
        .unwrap_or(0.0);
    sum.estimate_usd += outcome["engine"]["estimateUsd"].as_f64().unwrap_or(0.0);
}
