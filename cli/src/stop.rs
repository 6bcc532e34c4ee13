//! `clipflow stop` and `clipflow open`.

use crate::{
    deployment::Deployment,
    executions::{Execution, Status},
    failure::Failure,
    render,
};
use model::console::execution_url;
use serde_json::json;

/// The exit code for an execution that is not running.
const NOT_RUNNING: u8 = 4;

/// Stop running executions
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: clipflow stop dawn-patrol-0042 --reason 'wrong beach'")]
pub struct StopArgs {
    /// clipIds (their newest executions), execution names or ARNs
    #[arg(value_name = "CLIP", required = true)]
    pub clips: Vec<String>,
    /// The reason, kept with the execution
    #[arg(long, value_name = "TEXT", default_value = "stopped by an operator")]
    reason: String,
}

/// Print the link to an execution in the Step Functions console
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: clipflow open dawn-patrol-0042 --browser")]
pub struct OpenArgs {
    /// A clipId (its newest execution), an execution's name or its ARN
    pub clip: String,
    /// Open it in the browser as well
    #[arg(long)]
    browser: bool,
}

/// Stops executions.
pub async fn run(deployment: &Deployment, args: StopArgs, json: bool) -> Result<(), Failure> {
    let (mut stopped, mut others) = (Vec::new(), Vec::new());
    for clip in &args.clips {
        let execution = deployment.resolve(clip).await?;
        if let Err(failure) = stop(deployment, &execution, &args.reason).await {
            if failure.code != NOT_RUNNING {
                return Err(failure);
            }
            others.push(failure.message);
            continue;
        }
        if !json {
            render::say(format!("{}: stopped", execution.name));
        }
        stopped.push(execution.arn);
    }
    if json {
        render::json(&json!({"stopped": stopped}));
    }
    if others.is_empty() {
        Ok(())
    } else {
        Err(Failure::unsuccessful(others.join("\n")))
    }
}

/// Stops an execution.
///
/// # Errors
/// [`NOT_RUNNING`] if it is not running; otherwise the error of Step Functions.
pub async fn stop(
    deployment: &Deployment,
    execution: &Execution,
    reason: &str,
) -> Result<(), Failure> {
    let (name, status) = (&execution.name, execution.status);
    if status != Status::Running {
        let status = status.name();
        return Err(Failure::unsuccessful(format!(
            "{name} is not running: it is {status}"
        )));
    }
    let stop = deployment
        .sfn
        .stop_execution()
        .execution_arn(&execution.arn)
        .error("Stopped")
        .cause(reason);
    let stopped = stop.send().await;
    stopped
        .map(drop)
        .map_err(Failure::of_call(format_args!("stopping {name}")))
}

/// Prints or opens the link.
pub async fn open(deployment: &Deployment, args: OpenArgs, json: bool) -> Result<(), Failure> {
    let execution = deployment.resolve(&args.clip).await?;
    if deployment.is_local {
        return Err(Failure::new(
            "the local stack has no console; `clipflow show --local` shows the execution",
        ));
    }
    let url = execution_url(&execution.arn).ok_or_else(|| {
        Failure::new(format!(
            "{}: the console of this partition is not known",
            execution.arn
        ))
    })?;
    if json {
        render::json(&json!({"consoleUrl": url}));
    } else {
        render::say(&url);
    }
    if args.browser {
        open_in_browser(&url)?;
    }
    Ok(())
}

/// Opens a URL in the user's browser.
pub fn open_in_browser(url: &str) -> Result<(), Failure> {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let opened = std::process::Command::new(program).arg(url).status();
    opened
        .map(drop)
        .map_err(|error| Failure::new(format!("{program}: {error}")))
}
