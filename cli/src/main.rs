//! `clipflow`: enqueues requests, inspects executions, reruns failures, and cuts clips on this machine.
//!
//! Everything about executions is read from Step Functions and SQS: operators' machines rarely reach `MongoDB`, and its
//! documents are the executions' outputs anyway.

mod console;
mod cost;
mod cut;
mod deployment;
mod dlq;
mod enqueue;
mod execution;
mod executions;
mod failure;
mod history;
mod list;
mod render;
mod requests;
mod rerun;
mod show;
#[cfg(test)]
mod snapshots;
mod stop;
mod when;

use clap::{CommandFactory, Parser, Subcommand};
use deployment::{Deployment, Target};
use failure::Failure;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something failed; standard error says why
  2  wrong usage or an invalid request; nothing was done
  3  no such clip, execution, message or source
  4  done in part: a clip that --wait followed is not available, or some of many failed
  130  interrupted by Ctrl-C; 128 plus the number of any other signal";

const EXAMPLES: &str = "\
Examples:
  clipflow enqueue --source s3://surf-archive/2018-08-02.mp4 --start 1:12.5 --end 1:30 --wait
  clipflow list --status failed --since 2d
  clipflow show dawn-patrol-0042 --watch
  clipflow rerun --failed --error DependencyUnavailable --since 2d
  clipflow console --local
  clipflow cut surf.mp4 --start 1:12.5 --end 1:30 -o clip.mp4

Commands find the deployment by --terraform DIR (Terraform's outputs), by --local (this checkout's local stack), \
or by CLIPFLOW_STATE_MACHINE_ARN, CLIPFLOW_QUEUE_URL and CLIPFLOW_DEAD_LETTER_QUEUE_URL in the environment.";

/// Cut video clips, on this machine or on AWS.
#[derive(Debug, Parser)]
#[command(name = "clipflow", version, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"), after_help = EXAMPLES)]
#[command(max_term_width = 120, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    target: Target,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Enqueue(enqueue::Args),
    List(list::Args),
    Show(show::Args),
    Open(stop::OpenArgs),
    Rerun(rerun::Args),
    Stop(stop::StopArgs),
    Dlq(dlq::Args),
    Cost(cost::Args),
    Console(console::Args),
    Cut(cut::Args),
    /// Print a shell's completion script
    #[command(after_help = "Example: clipflow completions bash > /etc/bash_completion.d/clipflow")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// The first clip that it names.
    fn clip(&self) -> Option<&str> {
        match self {
            Self::Show(args) => Some(&args.clip),
            Self::Open(args) => Some(&args.clip),
            Self::Rerun(args) => args.clips.first().map(String::as_str),
            Self::Stop(args) => args.clips.first().map(String::as_str),
            _ => None,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!(
                "{}: {}",
                ::console::style("error").red().for_stderr(),
                render::harmless(&failure.message, false)
            );
            ExitCode::from(failure.code)
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "clipflow", &mut script);
        render::say(String::from_utf8_lossy(&script));
        return Ok(());
    }
    if let Command::Cut(args) = cli.command {
        return Box::pin(cut::run(&cli.target, args, cli.json)).await;
    }
    let deployment = Deployment::find(&cli.target, cli.command.clip()).await?;
    match cli.command {
        Command::Enqueue(args) => enqueue::run(&deployment, args, cli.json).await,
        Command::List(args) => list::run(&deployment, args, cli.json).await,
        Command::Show(args) => show::run(&deployment, args, cli.json, console::write).await,
        Command::Open(args) => stop::open(&deployment, args, cli.json).await,
        Command::Rerun(args) => rerun::run(&deployment, args, cli.json).await,
        Command::Stop(args) => stop::run(&deployment, args, cli.json).await,
        Command::Dlq(args) => dlq::run(&deployment, args, cli.json).await,
        Command::Cost(args) => cost::run(&deployment, args, cli.json).await,
        Command::Console(args) => Box::pin(console::run(deployment, args, cli.json)).await,
        Command::Cut(_) | Command::Completions { .. } => unreachable!("they need no deployment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
