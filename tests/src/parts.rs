//! Changes the deployed state machine and topic, and restores them.

use crate::Stack;
use serde_json::Value;

impl Stack {
    /// Changes the definition of the state machine; returns the previous one.
    pub async fn redefine(&self, change: impl FnOnce(&mut Value)) -> String {
        let machine = &self.description.state_machine_arn;
        let described = self
            .sfn
            .describe_state_machine()
            .state_machine_arn(machine)
            .send()
            .await;
        let definition = described.expect("the state machine").definition;
        let mut changed = serde_json::from_str(&definition).expect("JSON");
        change(&mut changed);
        self.define(&changed.to_string()).await;
        definition
    }

    /// Sets the definition of the state machine.
    pub async fn define(&self, definition: &str) {
        let update = self
            .sfn
            .update_state_machine()
            .state_machine_arn(&self.description.state_machine_arn)
            .definition(definition);
        update.send().await.expect("the definition is updated");
    }

    /// Deletes the topic.
    pub async fn delete_topic(&self) {
        let delete = self
            .sns
            .delete_topic()
            .topic_arn(&self.description.topic_arn);
        delete.send().await.expect("the topic can be deleted");
    }

    /// Creates the topic again, with its subscriber.
    pub async fn make_topic(&self) {
        let topic = &self.description.topic_arn;
        let name = topic.rsplit(':').next().expect("a name");
        let create = self.sns.create_topic().name(name);
        create.send().await.expect("the topic");
        let queue = self.description.subscriber_queue_url.rsplit('/').next();
        let subscriber = topic
            .replace(":sns:", ":sqs:")
            .replace(name, queue.expect("a name"));
        let subscribe = self
            .sns
            .subscribe()
            .topic_arn(topic)
            .protocol("sqs")
            .endpoint(subscriber);
        subscribe.send().await.expect("the subscription");
    }
}

/// The retriers of all states of a definition.
pub fn retriers(definition: &mut Value) -> impl Iterator<Item = &mut Value> {
    let states = definition["States"].as_object_mut().expect("states");
    states
        .values_mut()
        .flat_map(|state| state["Retry"].as_array_mut().into_iter().flatten())
}
