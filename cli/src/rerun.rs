//! `clipflow rerun`: continues failed executions, or starts new ones.

use crate::{
    deployment::Deployment,
    executions::{Execution, Listed, Status},
    failure::Failure,
    list::Filter,
    render, show,
};
use aws_sdk_sfn::operation::{
    redrive_execution::RedriveExecutionError, start_execution::StartExecutionError,
};
use model::execution::{ExecutionName, execution_arn, state_machine_arn};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// Rerun executions that failed, were stopped or were rejected
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(after_help = "\
Examples:
  clipflow rerun dawn-patrol-0042
  clipflow rerun --failed --error DependencyUnavailable --since 2d --dry-run
  clipflow rerun --failed --since 12h --yes --rate 2

Fix the cause first. A failed execution is redriven: it continues at the state that failed. Step Functions redrives \
executions for 14 days; after that, and for requests rejected for a source, a recording or a limit, a new execution of \
the same request starts and reuses what is already done.")]
pub struct Args {
    /// clipIds (their newest executions), execution names or ARNs
    #[arg(
        value_name = "CLIP",
        required_unless_present = "failed",
        conflicts_with = "failed"
    )]
    pub clips: Vec<String>,
    /// All that failed or timed out, except clips that have a newer execution
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    filter: Filter,
    /// Print what would be rerun, by error, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Start new executions, which use the current definition; a redrive keeps the old one. Also restarts requests that
    /// were rejected as invalid
    #[arg(long)]
    new: bool,
    /// Rerun at most this many a second
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    rate: u64,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Follow the executions to their end
    #[arg(long, short)]
    wait: bool,
}

/// What was done with an execution.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase", tag = "action")]
pub enum Done {
    /// It was redriven and continues.
    Redriven { arn: String },
    /// A new one of the same request was started.
    Started { arn: String },
    /// Nothing.
    Skipped { why: String },
}

/// Reruns executions.
pub async fn run(deployment: &Deployment, args: Args, json: bool) -> Result<(), Failure> {
    let executions = if args.failed {
        failed(deployment, &args.filter).await?
    } else {
        named(deployment, &args.clips).await?
    };
    if !may_begin(&executions, &args, json)? {
        return Ok(());
    }
    let bar = render::bar(executions.len(), "rerun");
    let done = rerun_all(deployment, &executions, args.new, args.rate, |done| {
        if !json {
            bar.suspend(|| render::say(done));
        }
        bar.inc(1);
    })
    .await?;
    bar.finish_and_clear();
    if args.wait {
        return wait(deployment, &done, json).await;
    }
    if json {
        let reruns = executions.iter().zip(&done).map(|(execution, done)| {
            let mut value = serde_json::to_value(done).expect("it is plain data");
            value["clipId"] = execution.clip_id().into();
            value["execution"] = execution.arn.clone().into();
            value
        });
        render::json(&json!({"reruns": reruns.collect::<Vec<_>>()}));
    }
    match done
        .iter()
        .filter(|done| matches!(done, Done::Skipped { .. }))
        .count()
    {
        0 => Ok(()),
        skipped => Err(Failure::unsuccessful(format!(
            "{skipped} of {} executions were not rerun",
            done.len()
        ))),
    }
}

/// Whether to rerun these: not if there are none, in a dry run, or if the user says no.
fn may_begin(executions: &[Execution], args: &Args, json: bool) -> Result<bool, Failure> {
    let by_error = by_error(executions);
    if args.dry_run && json {
        let executions: Vec<_> = executions.iter().map(Execution::json).collect();
        render::json(&json!({"byError": by_error, "executions": executions}));
        return Ok(false);
    }
    if !args.failed && !args.dry_run {
        return Ok(true);
    }
    if executions.is_empty() {
        eprintln!("nothing to rerun");
    }
    let rows: Vec<_> = by_error
        .iter()
        .map(|(error, count)| vec![render::plain(error), count.to_string()])
        .collect();
    if !json && !rows.is_empty() {
        render::say(render::table(&["ERROR", "EXECUTIONS"], &rows));
    }
    if args.dry_run || executions.is_empty() {
        return Ok(false);
    }
    render::confirm(&format!("Rerun {} executions?", executions.len()), args.yes)?;
    Ok(true)
}

/// How many of these can be rerun, by error.
pub fn by_error(executions: &[Execution]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for execution in executions.iter().filter(|one| one.is_rerunnable()) {
        let error = execution.error().unwrap_or("aborted");
        *counts.entry(error).or_default() += 1;
    }
    counts
}

async fn named(deployment: &Deployment, clips: &[String]) -> Result<Vec<Execution>, Failure> {
    let mut executions: Vec<Execution> = Vec::new();
    for clip in clips {
        let execution = deployment.resolve(clip).await?;
        if executions.iter().all(|other| other.arn != execution.arn) {
            executions.push(execution);
        }
    }
    Ok(executions)
}

/// The executions that failed and are the newest of their clips, oldest first: rerunning an older one would restore
/// what a newer request has replaced.
pub async fn failed(deployment: &Deployment, filter: &Filter) -> Result<Vec<Execution>, Failure> {
    let all = |_: &Listed| true;
    let failed = deployment
        .list(
            Status::Failed.of_step_functions(),
            filter.since,
            all,
            usize::MAX,
        )
        .await?;
    let Some(oldest) = failed.last() else {
        return Ok(Vec::new());
    };
    let mut seen = HashSet::new();
    let mut newest = deployment
        .list(&[], Some(oldest.started_at), all, usize::MAX)
        .await?;
    newest.retain(|one| {
        one.name
            .as_ref()
            .is_none_or(|name| seen.insert(name.clip_id.clone()))
    });
    let newest: HashSet<_> = newest.into_iter().map(|one| one.arn).collect();
    let mut candidates: Vec<_> = failed
        .into_iter()
        .filter(|one| newest.contains(&one.arn))
        .collect();
    candidates.reverse();
    let mut executions = deployment.describe_all(&candidates).await?;
    executions.retain(|execution| execution.is_rerunnable() && filter.passes(execution));
    Ok(executions)
}

/// Reruns executions, at most `rate` per second, and describes to `told` what happened to each. If one of several
/// cannot be rerun, the others still are.
pub async fn rerun_all(
    deployment: &Deployment,
    executions: &[Execution],
    anew: bool,
    rate: u64,
    mut told: impl FnMut(String),
) -> Result<Vec<Done>, Failure> {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1));
    let mut done = Vec::new();
    for execution in executions {
        pace.tick().await;
        let one = match rerun(deployment, execution, anew).await {
            Err(failure) if executions.len() > 1 => Done::Skipped {
                why: failure.message,
            },
            result => result?,
        };
        told(one.line(&execution.name));
        done.push(one);
    }
    Ok(done)
}

impl Done {
    /// What was done with the execution of this name.
    fn line(&self, name: &str) -> String {
        match self {
            Self::Redriven { .. } => format!("{name}: redriven"),
            Self::Started { arn } => format!("{name}: restarted as {}", name_in(arn)),
            Self::Skipped { why } => format!("{name}: not rerun: {why}"),
        }
    }
}

/// Redrives an execution, or starts it again if that is requested or it cannot be redriven.
pub async fn rerun(
    deployment: &Deployment,
    execution: &Execution,
    anew: bool,
) -> Result<Done, Failure> {
    if execution.status == Status::Rejected && !anew && !execution.is_mendable() {
        let why = "the request itself is at fault; send a corrected one, or use --new";
        return Ok(Done::Skipped { why: why.into() });
    }
    if !execution.may_be_followed() && execution.status != Status::Rejected {
        return Ok(Done::Skipped {
            why: format!("it is {}", execution.status.name()),
        });
    }
    if !anew && execution.is_rerunnable() && !execution.not_redrivable {
        let redriven = deployment
            .sfn
            .redrive_execution()
            .execution_arn(&execution.arn)
            .send()
            .await;
        let Err(error) = redriven else {
            return Ok(Done::Redriven {
                arn: execution.arn.clone(),
            });
        };
        if !matches!(
            error.as_service_error(),
            Some(RedriveExecutionError::ExecutionNotRedrivable(_))
        ) {
            return Err(Failure::of_call(format_args!(
                "redriving {}",
                execution.name
            ))(error));
        }
        // Somebody else may have redriven it in the meantime.
        let now = deployment.describe(&execution.arn).await?;
        if let Some(now) = now.filter(|now| !now.is_rerunnable()) {
            return Ok(Done::Skipped {
                why: format!("it is {}", now.status.name()),
            });
        }
    }
    start_anew(deployment, execution).await
}

/// Starts a new execution of the same request, under the next free name.
async fn start_anew(deployment: &Deployment, execution: &Execution) -> Result<Done, Failure> {
    let why = || {
        Failure::new(format!(
            "{}: clipflow did not name it, so it has no next name",
            execution.name
        ))
    };
    let machine = state_machine_arn(&execution.arn).ok_or_else(why)?;
    let mut name = ExecutionName::parse(&execution.name).ok_or_else(why)?;
    loop {
        name = name
            .next()
            .ok_or_else(|| Failure::new(format!("{name}: there is no name left")))?;
        let start = deployment
            .sfn
            .start_execution()
            .state_machine_arn(&machine)
            .name(name.to_string());
        match start.input(&execution.input_text).send().await {
            Ok(started) => {
                return Ok(Done::Started {
                    arn: started.execution_arn,
                });
            }
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(StartExecutionError::ExecutionAlreadyExists(_))
                ) =>
            {
                // A rerun that is newer than the named execution. Only one without a clip can be followed by another.
                let arn = execution_arn(&machine, &name.to_string());
                if let Some(newer) = deployment
                    .describe(&arn)
                    .await?
                    .filter(|newer| !newer.may_be_followed())
                {
                    return Ok(Done::Skipped {
                        why: format!("{name}, of the same request, is {}", newer.status.name()),
                    });
                }
            }
            Err(error) => return Err(Failure::of_call(format_args!("starting {name}"))(error)),
        }
    }
}

async fn wait(deployment: &Deployment, done: &[Done], json: bool) -> Result<(), Failure> {
    let arns = done.iter().filter_map(|done| match done {
        Done::Redriven { arn } | Done::Started { arn } => Some(arn.clone()),
        Done::Skipped { .. } => None,
    });
    let ended = show::wait(deployment, &arns.collect::<Vec<_>>(), json).await?;
    if ended.len() < done.len() {
        return Err(Failure::unsuccessful(format!(
            "{} executions were not rerun",
            done.len() - ended.len()
        )));
    }
    show::availability(&ended)
}

/// The execution's name in an ARN.
pub fn name_in(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executions::deployment_with;
    use aws_sdk_sfn::{
        operation::{
            describe_execution::DescribeExecutionOutput, start_execution::StartExecutionOutput,
        },
        primitives::DateTime,
        types::ExecutionStatus,
    };
    use aws_smithy_mocks::{mock, mock_client};

    /// What a rerun does with a rejected execution.
    async fn rerun_of(reason: &str, anew: bool) -> Done {
        let started = mock!(aws_sdk_sfn::Client::start_execution)
            .match_requests(|request| request.name() == Some("a-0123456789ab-r1"))
            .then_output(|| {
                let started = StartExecutionOutput::builder().execution_arn("arn:new");
                let started = started.start_date(DateTime::from_secs(0)).build();
                started.expect("complete")
            });
        let deployment = deployment_with(mock_client!(aws_sdk_sfn, [&started]));
        let rejected = DescribeExecutionOutput::builder()
            .execution_arn("arn:aws:states:eu-west-1:1:execution:clip:a-0123456789ab")
            .state_machine_arn("arn:aws:states:eu-west-1:1:stateMachine:clip")
            .name("a-0123456789ab")
            .status(ExecutionStatus::Succeeded)
            .start_date(DateTime::from_secs(0))
            .output(json!({"status": "rejected", "reason": reason}).to_string())
            .build()
            .expect("complete");
        rerun(&deployment, &rejected.into(), anew)
            .await
            .expect("it can be asked")
    }

    #[tokio::test]
    async fn rejection_that_may_be_mended_is_started_anew() {
        let done = rerun_of("SourceNotFound", false).await;
        assert!(matches!(done, Done::Started { arn } if arn == "arn:new"));
    }

    #[tokio::test]
    async fn invalid_request_is_started_anew_only_when_that_is_said() {
        let done = rerun_of("InvalidRequest", false).await;
        assert!(matches!(done, Done::Skipped { why } if why.contains("--new")));
        let done = rerun_of("InvalidRequest", true).await;
        assert!(matches!(done, Done::Started { .. }));
    }
}
