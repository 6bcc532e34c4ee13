//! The topic that outcomes are announced on.

use crate::sdk;
use aws_sdk_sns::types::MessageAttributeValue;
use model::{error::ClipError, outcome::Outcome};

/// The topic that outcomes are announced on.
#[derive(Debug, Clone)]
pub struct Topic {
    pub sns: aws_sdk_sns::Client,
    pub arn: String,
}

impl Topic {
    /// The topic with that ARN.
    #[must_use]
    pub fn new(sdk_config: &aws_config::SdkConfig, arn: String) -> Self {
        Self {
            sns: aws_sdk_sns::Client::new(sdk_config),
            arn,
        }
    }

    /// Publishes an outcome as JSON and returns the message's id. The attributes `status`, `clipId`, `cameraId`, `reason`
    /// and `class` let subscribers filter.
    ///
    /// # Errors
    /// `DependencyUnavailable` if SNS does not answer, `Internal` if the topic does not exist.
    pub async fn publish(&self, outcome: &Outcome) -> Result<String, ClipError> {
        let attributes = [
            ("status", Some(outcome.status.name())),
            ("clipId", Some(&outcome.clip_id)),
            ("cameraId", outcome.camera_id.as_deref()),
            ("reason", outcome.reason.as_deref()),
            (
                "class",
                outcome.failure.as_ref().map(|failure| failure.class.name()),
            ),
        ];
        let message = serde_json::to_string(outcome).expect("an outcome is JSON");
        let mut publish = self.sns.publish().topic_arn(&self.arn).message(message);
        for (name, value) in attributes {
            if let Some(value) = value {
                let value = MessageAttributeValue::builder()
                    .data_type("String")
                    .string_value(value)
                    .build();
                publish = publish.message_attributes(name, value.expect("it has a type"));
            }
        }
        let published = publish
            .send()
            .await
            .map_err(|error| sdk::failure("publishing the outcome", &error))?;
        Ok(published.message_id.unwrap_or_default())
    }
}
