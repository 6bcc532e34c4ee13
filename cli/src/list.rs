//! `clipflow list`: executions, newest first.

use crate::{
    deployment::Deployment,
    executions::{CONCURRENCY, Execution, Listed, Status},
    failure::Failure,
    render, when,
};
use aws_sdk_sfn::types::ExecutionStatus;
use model::ErrorKind;
use serde_json::json;
use time::OffsetDateTime;

/// The headers of [`row`]s.
pub const HEADERS: [&str; 7] = [
    "CLIP",
    "STATUS",
    "STARTED (UTC)",
    "TOOK",
    "ENGINE",
    "ERROR",
    "EXECUTION",
];

/// Which executions.
#[derive(Debug, Default, clap::Args)]
pub struct Filter {
    /// Those started since then: 30m, 12h, 7d, 2026-11-24 or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub since: Option<OffsetDateTime>,
    /// Those of this camera
    #[arg(long, value_name = "ID")]
    camera: Option<String>,
    #[arg(
        long,
        value_name = "NAME",
        help = "Those that ended with this error, for example DependencyUnavailable"
    )]
    error: Option<String>,
}

/// List executions, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  clipflow list
  clipflow list --status failed --since 2d
  clipflow list --camera hi-pipeline --limit 100
  clipflow list --error TooLong --json | jq -r '.executions[].clipId'")]
pub struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Those with this status
    #[arg(long)]
    status: Option<Status>,
    /// Those started before then: the next page, as the last line says
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<OffsetDateTime>,
    /// The most to show; 0 for all
    #[arg(long, value_name = "N", default_value_t = 25)]
    limit: usize,
}

impl Filter {
    /// Whether an execution passes the parts of the filter that only its description tells.
    pub fn passes(&self, execution: &Execution) -> bool {
        let camera = execution.input["cameraId"].as_str();
        self.camera
            .as_deref()
            .is_none_or(|wanted| camera == Some(wanted))
            && self
                .error
                .as_deref()
                .is_none_or(|wanted| execution.error() == Some(wanted))
    }

    /// Whether a list of executions tells all that it asks for.
    fn is_told_by_list(&self, status: Option<Status>) -> bool {
        let has_codec_parameters = !matches!(status, Some(Status::Available | Status::Rejected));
        has_codec_parameters && self.camera.is_none() && self.error.is_none()
    }

    /// The statuses of Step Functions that can pass it; all of them, when there are none.
    fn statuses(&self, status: Option<Status>) -> Vec<ExecutionStatus> {
        let rejection = |name: &str| {
            ErrorKind::ALL
                .iter()
                .any(|kind| kind.is_rejection() && kind.name() == name)
        };
        let wanted = match (status, self.error.as_deref()) {
            (Some(status), _) => vec![status],
            (None, Some(error)) if rejection(error) => vec![Status::Rejected],
            (None, Some(_)) => vec![Status::Failed, Status::Aborted, Status::Rejected],
            (None, None) => Vec::new(),
        };
        wanted
            .into_iter()
            .flat_map(Status::of_step_functions)
            .cloned()
            .collect()
    }
}

/// Lists executions.
pub async fn run(deployment: &Deployment, args: Args, json: bool) -> Result<(), Failure> {
    let limit = if args.limit == 0 {
        usize::MAX
    } else {
        args.limit
    };
    let statuses = args.filter.statuses(args.status);
    let in_time = |one: &Listed| args.until.is_none_or(|until| one.started_at < until);
    // One more than is shown says whether there are more. What only a description tells may need any number of them.
    let enough = if args.filter.is_told_by_list(args.status) {
        limit.saturating_add(1)
    } else {
        usize::MAX
    };
    let listed = deployment
        .list(&statuses, args.filter.since, in_time, enough)
        .await?;
    let (found, next) = page(deployment, &listed, limit, |execution| {
        args.status.is_none_or(|status| execution.status == status) && args.filter.passes(execution)
    })
    .await?;
    let next = next.map(when::rfc3339);
    if json {
        let executions: Vec<_> = found.iter().map(Execution::json).collect();
        render::json(&json!({"executions": executions, "next": next}));
        return Ok(());
    }
    if found.is_empty() {
        eprintln!("no executions");
    } else {
        let rows: Vec<_> = found.iter().map(row).collect();
        render::say(render::table(&HEADERS, &rows));
    }
    if let Some(next) = next {
        eprintln!(
            "{}",
            render::dim(format!("There are more: add --until {next}")).for_stderr()
        );
    }
    Ok(())
}

/// The first `limit` executions that pass, and where the next page begins. No more are described than that takes.
async fn page(
    deployment: &Deployment,
    listed: &[Listed],
    limit: usize,
    passes: impl Fn(&Execution) -> bool,
) -> Result<(Vec<Execution>, Option<OffsetDateTime>), Failure> {
    let mut found: Vec<Execution> = Vec::new();
    for chunk in listed.chunks(limit.clamp(CONCURRENCY, 100)) {
        found.extend(
            deployment
                .describe_all(chunk)
                .await?
                .into_iter()
                .filter(&passes),
        );
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    let last = found
        .last()
        .filter(|_| found.len() == limit)
        .map(|last| last.started_at);
    let more = last.filter(|last| {
        listed
            .last()
            .is_some_and(|oldest| oldest.started_at < *last)
    });
    Ok((found, more))
}

/// An execution in a table.
pub fn row(execution: &Execution) -> Vec<String> {
    vec![
        render::plain(execution.clip_id()),
        render::status(execution.status),
        when::moment(execution.started_at),
        when::span(execution.seconds()),
        render::plain(
            execution.output["engine"]["name"]
                .as_str()
                .unwrap_or_default(),
        ),
        render::plain(execution.error().unwrap_or_default()),
        execution.name.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executions_that_can_pass_are_listed() {
        let by_error = |error: &str| {
            Filter {
                error: Some(error.into()),
                ..Filter::default()
            }
            .statuses(None)
        };
        assert_eq!(by_error("TooLong"), [ExecutionStatus::Succeeded]);
        assert!(by_error("DependencyUnavailable").contains(&ExecutionStatus::TimedOut));
        assert_eq!(Filter::default().statuses(None), []);
        assert_eq!(
            Filter::default().statuses(Some(Status::Running)),
            [ExecutionStatus::Running]
        );
    }
}
