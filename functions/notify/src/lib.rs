//! Announces an outcome on the topic.
//!
//! The message is the outcome as JSON; its attributes let subscribers filter. A redrive may announce it again.

use aws_sdk_sns::types::MessageAttributeValue;
use clipflow_core::{
    ClipError, aws, config,
    outcome::{Execution, Outcome},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the state hands over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The execution.
    pub execution: Execution,
    /// What became of the request.
    pub outcome: Outcome,
}

/// What the function works with.
#[derive(Debug)]
pub struct Deps {
    /// SNS.
    pub sns: aws_sdk_sns::Client,
    /// The topic.
    pub topic_arn: String,
}

impl Deps {
    /// Builds the client and reads the configuration.
    ///
    /// # Errors
    /// `Internal`, naming the variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        let topic_arn = config::required("CLIPFLOW_TOPIC_ARN")?;
        Ok(Self { sns: aws_sdk_sns::Client::new(&aws::sdk_config().await), topic_arn })
    }
}

/// Publishes the outcome and returns the message's id.
///
/// # Errors
/// `DependencyUnavailable` when SNS does not answer.
pub async fn handle(deps: &Deps, input: Input) -> Result<Value, ClipError> {
    let outcome = &input.outcome;
    let attributes = [
        ("status", Some(outcome.status.name())),
        ("clipId", Some(&outcome.clip_id)),
        ("cameraId", outcome.camera_id.as_deref()),
        ("reason", outcome.reason.as_deref()),
    ];
    let mut publish = deps
        .sns
        .publish()
        .topic_arn(&deps.topic_arn)
        .message(serde_json::to_string(outcome).expect("an outcome is JSON"));
    for (name, value) in attributes {
        if let Some(value) = value {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            publish = publish.message_attributes(name, value.expect("it has a type"));
        }
    }
    let published = publish.send().await.map_err(|error| aws::failure("publishing the outcome", &error))?;
    Ok(json!({"messageId": published.message_id}))
}
