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
    /// Started since this time: 30m, 12h, 7d, 2026-11-24 or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub since: Option<OffsetDateTime>,
    /// Of this camera
    #[arg(long, value_name = "ID")]
    pub camera: Option<String>,
    #[arg(
        long,
        value_name = "NAME",
        help = "Ended with this error, for example DependencyUnavailable"
    )]
    pub error: Option<String>,
    /// Have this text in their name, request or outcome
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
}

/// A page of executions.
#[derive(Debug, clap::Args)]
pub struct Query {
    #[command(flatten)]
    pub filter: Filter,
    /// Have this status
    #[arg(long)]
    pub status: Option<Status>,
    /// Started before this time; the last line of a page gives the value for the next
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub until: Option<OffsetDateTime>,
    /// Show at most this many; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 25)]
    pub limit: usize,
    /// After this many executions were read, the page ends with what was found.
    #[arg(skip = usize::MAX)]
    pub max_reads: usize,
}

/// Executions that were found, newest first.
#[derive(Debug, Default)]
pub struct Page {
    pub executions: Vec<Execution>,
    /// Executions started before this moment are on the next page; `None` if this is the last one.
    pub next: Option<OffsetDateTime>,
}

/// List executions, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  clipflow list
  clipflow list --status failed --since 2d
  clipflow list --camera hi-pipeline --limit 100
  clipflow list --error TooLong --json | jq -r '.executions[].clipId'
  clipflow list --status running --watch")]
pub struct Args {
    #[command(flatten)]
    query: Query,
    /// Print the list again whenever it changes, until interrupted
    #[arg(long, short)]
    watch: bool,
}

impl Filter {
    /// Whether an execution passes the parts of the filter that require its description.
    pub fn passes(&self, execution: &Execution) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
        };
        is(&self.camera, execution.input["cameraId"].as_str())
            && is(&self.error, execution.error())
            && self.text.as_deref().is_none_or(|text| execution.has(text))
    }

    /// Whether a list of executions suffices to evaluate it.
    fn is_told_by_list(&self, status: Option<Status>) -> bool {
        let is_told = !matches!(status, Some(Status::Available | Status::Rejected));
        is_told
            && [&self.camera, &self.error, &self.text]
                .iter()
                .all(|one| one.is_none())
    }

    /// The Step Functions statuses that can pass it; an empty list means all.
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

impl Query {
    fn passes(&self, execution: &Execution) -> bool {
        self.status.is_none_or(|status| execution.status == status) && self.filter.passes(execution)
    }
}

/// Lists executions.
pub async fn run(deployment: &Deployment, args: Args, json: bool) -> Result<(), Failure> {
    let mut shown = String::new();
    loop {
        let page = find(deployment, &args.query).await?;
        let next = page.next.map(when::rfc3339);
        let text = if json {
            let executions: Vec<_> = page.executions.iter().map(Execution::json).collect();
            render::json_text(&json!({"executions": executions, "next": next}))
        } else if page.executions.is_empty() {
            "no executions".to_owned()
        } else {
            let rows: Vec<_> = page.executions.iter().map(row).collect();
            render::table(&HEADERS, &rows)
        };
        if text != shown {
            if page.executions.is_empty() && !json {
                eprintln!("{text}");
            } else {
                render::say(&text);
            }
            if let Some(next) = next.filter(|_| !json && !args.watch) {
                let more = format!("There are more: add --until {next}");
                eprintln!("{}", render::dim(more).for_stderr());
            }
            shown = text;
        }
        if !args.watch {
            return Ok(());
        }
        tokio::time::sleep(deployment.pace()).await;
    }
}

/// The executions that pass, and where the next page begins.
pub async fn find(deployment: &Deployment, query: &Query) -> Result<Page, Failure> {
    let limit = match query.limit {
        0 => usize::MAX,
        limit => limit,
    };
    let statuses = query.filter.statuses(query.status);
    let in_time = |one: &Listed| query.until.is_none_or(|until| one.started_at < until);
    // One more than is shown reveals whether there are more. A filter that requires descriptions may need any number.
    let enough = if query.filter.is_told_by_list(query.status) {
        limit.saturating_add(1)
    } else {
        usize::MAX
    };
    let since = query.filter.since;
    let listed = deployment.list(&statuses, since, in_time, enough).await?;
    page(deployment, &listed, limit, query).await
}

/// The first `limit` executions that pass, and those that began in the same millisecond as the last one, since
/// `--until` is no more precise. Only as many as needed are described.
async fn page(
    deployment: &Deployment,
    listed: &[Listed],
    limit: usize,
    query: &Query,
) -> Result<Page, Failure> {
    let (mut page, mut reads, mut end) = (Page::default(), 0_usize, None);
    for chunk in listed.chunks(limit.clamp(CONCURRENCY, 100)) {
        reads = reads.saturating_add(deployment.kept.lacks(chunk));
        for execution in deployment.describe_all(chunk).await? {
            let began = when::to_millisecond(execution.started_at);
            if end.is_some_and(|end| began < end) {
                page.next = end;
                return Ok(page);
            }
            if query.passes(&execution) {
                page.executions.push(execution);
            }
            if page.executions.len() >= limit {
                end = end.or(Some(began));
            }
        }
        if reads >= query.max_reads {
            let last = chunk
                .last()
                .map(|last| when::to_millisecond(last.started_at));
            end = end.or(last);
        }
    }
    Ok(page)
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
