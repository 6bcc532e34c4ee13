//! Which deployment a command works on, and its clients.

use crate::{execution::Kept, failure::Failure};
use aws_config::{ConfigLoader, Region, SdkConfig};
use aws_sdk_sqs::types::QueueAttributeName;
use lambda::environment;
use model::execution::state_machine_arn;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// Which deployment.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Deployment")]
pub struct Target {
    /// Terraform folder whose outputs describe the deployment
    #[arg(long, global = true, value_name = "DIR")]
    terraform: Option<PathBuf>,
    /// Use this checkout's local stack (`make up`)
    #[arg(long, global = true, conflicts_with_all = ["terraform", "profile", "region"])]
    local: bool,
    /// AWS profile
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// AWS region [default: the state machine's]
    #[arg(long, global = true, value_name = "NAME")]
    region: Option<String>,
}

/// What is deployed: the outputs of `terraform/`, or the same names in the environment.
#[derive(Debug, Deserialize)]
pub struct Outputs {
    /// The state machine.
    pub state_machine_arn: String,
    /// The queue of requests.
    queue_url: Option<String>,
    /// The dead-letter queue of requests.
    dead_letter_queue_url: Option<String>,
    /// By function, the queue of its events.
    #[serde(default)]
    pub event_queue_urls: HashMap<String, String>,
    /// By function, the dead-letter queue of its events.
    #[serde(default)]
    pub event_dead_letter_queue_urls: HashMap<String, String>,
    /// The buckets that sources may be in.
    pub source_buckets: Option<Vec<String>>,
    /// The one to which files are uploaded; only the local stack sets it.
    pub source_bucket: Option<String>,
    /// The bucket of clips.
    pub bucket: Option<String>,
}

/// A deployment and its clients.
#[derive(Debug)]
pub struct Deployment {
    /// What it consists of.
    pub outputs: Outputs,
    /// Whether it is the local stack.
    pub is_local: bool,
    /// Step Functions.
    pub sfn: aws_sdk_sfn::Client,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// Cached executions that have ended.
    pub kept: Kept,
}

/// What the local stack provides besides the outputs.
#[derive(Debug, Deserialize)]
struct Stack {
    endpoint: String,
    access_key_id: String,
    secret_access_key: String,
}

impl Stack {
    fn configure(self, loader: ConfigLoader) -> ConfigLoader {
        let credentials = aws_sdk_sfn::config::Credentials::new(
            self.access_key_id,
            self.secret_access_key,
            None,
            None,
            "stack.json",
        );
        loader
            .endpoint_url(self.endpoint)
            .credentials_provider(credentials)
    }
}

impl Outputs {
    /// The region of the state machine.
    fn region(&self) -> Result<Region, Failure> {
        let region = self.state_machine_arn.split(':').nth(3);
        region
            .map(|region| Region::new(region.to_owned()))
            .ok_or_else(|| Failure::usage(format!("{:?} is no ARN", self.state_machine_arn)))
    }
}

impl Target {
    /// The configuration of a client without a deployment: that of AWS's own tools, or of the local stack.
    ///
    /// # Errors
    /// If the local stack is requested and not running.
    pub async fn sdk_config(&self) -> Result<SdkConfig, Failure> {
        let mut loader = self.loader();
        if self.local {
            let (stack, outputs) = local_stack()?;
            loader = stack.configure(loader).region(outputs.region()?);
        }
        Ok(loader.load().await)
    }

    /// The configuration, with the profile and the region that the command line names.
    fn loader(&self) -> ConfigLoader {
        let mut loader = aws::sdk::sdk_config_loader(aws::sdk::Waits::default());
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        loader
    }
}

impl Deployment {
    /// Finds the deployment and builds its clients. If nothing else names it, an execution's ARN does.
    ///
    /// # Errors
    /// Wrong usage if it is not named anywhere; otherwise what is wrong with the place that names it.
    pub async fn find(target: &Target, execution_arn: Option<&str>) -> Result<Self, Failure> {
        let mut loader = target.loader();
        let outputs = if target.local {
            let (stack, outputs) = local_stack()?;
            loader = stack.configure(loader);
            outputs
        } else if let Some(folder) = &target.terraform {
            terraform_outputs(folder)?
        } else {
            from_environment(execution_arn)?
        };
        // The configured region may differ from the state machine's, which would send commands to the wrong place.
        if target.region.is_none() {
            loader = loader.region(outputs.region()?);
        }
        let sdk_config = loader.load().await;
        Ok(Self {
            outputs,
            is_local: target.local,
            sfn: aws_sdk_sfn::Client::new(&sdk_config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&sdk_config),
            sqs: aws_sdk_sqs::Client::new(&sdk_config),
            s3: aws_sdk_s3::Client::new(&sdk_config),
            kept: Kept::default(),
        })
    }

    /// URL of the queue of requests.
    ///
    /// # Errors
    /// Wrong usage if it is not known.
    pub fn queue_url(&self) -> Result<&str, Failure> {
        known(self.outputs.queue_url.as_deref(), "CLIPFLOW_QUEUE_URL")
    }

    /// URL of the dead-letter queue of requests.
    ///
    /// # Errors
    /// Wrong usage if it is not known.
    pub fn dead_letter_queue_url(&self) -> Result<&str, Failure> {
        known(
            self.outputs.dead_letter_queue_url.as_deref(),
            "CLIPFLOW_DEAD_LETTER_QUEUE_URL",
        )
    }

    /// Attributes of a queue, empty where it has none of that name; `doing` says what for.
    pub async fn queue_attributes<const N: usize>(
        &self,
        url: &str,
        names: [QueueAttributeName; N],
        doing: &str,
    ) -> Result<[String; N], Failure> {
        let get = self.sqs.get_queue_attributes().queue_url(url);
        let read = get.set_attribute_names(Some(names.to_vec())).send().await;
        let read = read.map_err(Failure::of_call(doing))?;
        let attributes = read.attributes.unwrap_or_default();
        Ok(names.map(|name| attributes.get(&name).cloned().unwrap_or_default()))
    }

    /// How long to wait between polls. `GetExecutionHistory` allows 20 calls per second in an account and region, and
    /// `DescribeExecution` 15.
    pub fn pace(&self) -> Duration {
        Duration::from_millis(if self.is_local { 100 } else { 1000 })
    }

    /// Options that name the same deployment in another command, each after a space.
    pub fn options(&self) -> &'static str {
        if self.is_local { " --local" } else { "" }
    }
}

fn known<'a>(value: Option<&'a str>, variable: &str) -> Result<&'a str, Failure> {
    value.ok_or_else(|| {
        Failure::usage(format!(
            "{variable} is not set, and the deployment's outputs do not have its value"
        ))
    })
}

fn from_environment(execution_arn: Option<&str>) -> Result<Outputs, Failure> {
    let named = environment::optional("CLIPFLOW_STATE_MACHINE_ARN")
        .or_else(|| state_machine_arn(execution_arn?));
    let state_machine_arn = named.ok_or_else(|| {
        Failure::usage(
            "which deployment? Say --terraform DIR or --local, or set CLIPFLOW_STATE_MACHINE_ARN",
        )
    })?;
    Ok(Outputs {
        state_machine_arn,
        queue_url: environment::optional("CLIPFLOW_QUEUE_URL"),
        dead_letter_queue_url: environment::optional("CLIPFLOW_DEAD_LETTER_QUEUE_URL"),
        event_queue_urls: HashMap::new(),
        event_dead_letter_queue_urls: HashMap::new(),
        source_buckets: None,
        source_bucket: None,
        bucket: None,
    })
}

fn terraform_outputs(folder: &Path) -> Result<Outputs, Failure> {
    let mut command = std::process::Command::new("terraform");
    let command =
        command
            .arg(format!("-chdir={}", folder.display()))
            .args(["output", "-json", "-no-color"]);
    let output = command
        .output()
        .map_err(|error| Failure::new(format!("terraform: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "terraform output in {}: {}",
            folder.display(),
            said.trim()
        )));
    }
    parse_terraform(&output.stdout).map_err(|error| {
        Failure::usage(format!(
            "the Terraform outputs of {}: {error}",
            folder.display()
        ))
    })
}

/// The outputs of the module, or an output `deployment` that contains them, as in a configuration that calls the
/// module.
fn parse_terraform(json: &[u8]) -> Result<Outputs, serde_json::Error> {
    let outputs: HashMap<String, Value> = serde_json::from_slice(json)?;
    let mut values: serde_json::Map<_, _> = outputs
        .into_iter()
        .map(|(name, mut output)| (name, output["value"].take()))
        .collect();
    let own = values.get_mut("deployment").map(Value::take);
    serde_json::from_value(own.unwrap_or(Value::Object(values)))
}

fn local_stack() -> Result<(Stack, Outputs), Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let named = environment::optional("CLIPFLOW_STACK").map(PathBuf::from);
    let found = named.or_else(|| {
        here.ancestors()
            .map(|folder| folder.join("target/local/stack.json"))
            .find(|path| path.exists())
    });
    let path = found
        .ok_or_else(|| Failure::new("the local stack is not running; start it with `make up`"))?;
    let text = std::fs::read(&path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    let wrong = |error| Failure::new(format!("{}: {error}", path.display()));
    Ok((
        serde_json::from_slice(&text).map_err(wrong)?,
        serde_json::from_slice(&text).map_err(wrong)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn outputs_of_the_module_and_of_its_caller_are_understood() {
        let arn = "arn:aws:states:eu-west-1:1:stateMachine:clip";
        let own = json!({"state_machine_arn": {"value": arn, "type": "string"}, "queue_url": {"value": "https://q"}});
        let caller =
            json!({"deployment": {"value": {"state_machine_arn": arn, "queue_url": "https://q"}}});
        for outputs in [own, caller] {
            let outputs = parse_terraform(outputs.to_string().as_bytes()).expect("outputs");
            assert_eq!(
                (
                    outputs.state_machine_arn.as_str(),
                    outputs.queue_url.as_deref()
                ),
                (arn, Some("https://q"))
            );
        }
    }

    #[test]
    fn output_that_is_missing_is_named() {
        let error = parse_terraform(b"{}").expect_err("there are none");
        assert!(error.to_string().contains("state_machine_arn"), "{error}");
    }
}
