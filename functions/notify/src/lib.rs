//! Announces an outcome on the topic.
//!
//! The message is the outcome as JSON; its attributes let subscribers filter. A redrive may announce it again.

use aws::{announcements::Topic, sdk};
use lambda::environment;
use model::{
    ClipError,
    outcome::{Execution, Outcome},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The state's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub execution: Execution,
    /// The outcome of the request.
    pub outcome: Outcome,
}

#[derive(Debug)]
pub struct Deps {
    /// Where outcomes are announced.
    pub topic: Topic,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        Ok(Self {
            topic: Topic::new(
                &sdk::sdk_config().await,
                environment::required("CLIPFLOW_TOPIC_ARN")?,
            ),
        })
    }
}

/// Publishes the outcome and returns the message's id.
///
/// # Errors
/// `DependencyUnavailable` when SNS does not answer.
pub async fn handle(deps: &Deps, input: Input) -> Result<Value, ClipError> {
    Ok(json!({"messageId": deps.topic.publish(&input.outcome).await?}))
}
