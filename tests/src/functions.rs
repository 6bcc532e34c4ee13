//! The deployed functions: their configuration and releases.

use crate::Stack;
use serde_json::{Value, json};

/// The version that was live before a release.
#[derive(Debug)]
pub struct Before {
    name: &'static str,
    settings: Value,
    version: Value,
}

impl Stack {
    /// The configuration of a function's unpublished version, as far as tests change it: `Timeout` and `Environment`.
    #[must_use]
    pub fn settings(&self, name: &str) -> Value {
        let all = answer(ureq::get(self.function(name, "configuration")).call());
        json!({"Timeout": all["Timeout"], "Environment": {"Variables": all["Environment"]["Variables"]}})
    }

    /// Changes the configuration of a function's unpublished version.
    pub fn configure(&self, name: &str, settings: &Value) {
        answer(ureq::put(self.function(name, "configuration")).send(&settings.to_string()));
    }

    /// Publishes a version of a function with changed settings, and makes it live.
    #[must_use]
    pub fn release(&self, name: &'static str, change: impl FnOnce(&mut Value)) -> Before {
        let settings = self.settings(name);
        let version =
            answer(ureq::get(self.function(name, "aliases/live")).call())["FunctionVersion"]
                .clone();
        let mut changed = settings.clone();
        change(&mut changed);
        self.configure(name, &changed);
        let published = answer(ureq::post(self.function(name, "versions")).send("{}"));
        self.take_over(name, &published["Version"]);
        Before {
            name,
            settings,
            version,
        }
    }

    /// Makes the version live again that was live before a release.
    pub fn roll_back(&self, before: &Before) {
        self.configure(before.name, &before.settings);
        self.take_over(before.name, &before.version);
    }

    /// What a function's live version answers to a deployment's self-check: whether it has started, or the error.
    ///
    /// # Errors
    /// The function's error.
    pub fn self_check(&self, name: &str) -> Result<Value, Value> {
        let url = self.function(name, "invocations?Qualifier=live");
        let mut response = ureq::post(url)
            .send(&json!({"selfCheck": true}).to_string())
            .expect("Lambda's API answers");
        let is_error = response.headers().contains_key("X-Amz-Function-Error");
        let text = response.body_mut().read_to_string().expect("an answer");
        let answer = serde_json::from_str(&text).expect("JSON");
        if is_error { Err(answer) } else { Ok(answer) }
    }

    /// Limits how many instances of a function run at once; `None` removes the limit.
    pub fn reserve(&self, name: &str, concurrency: Option<u32>) {
        let url = self
            .function(name, "concurrency")
            .replace("2015-03-31", "2017-10-31");
        match concurrency {
            Some(most) => {
                let reserved = json!({"ReservedConcurrentExecutions": most}).to_string();
                answer(ureq::put(url).send(&reserved));
            }
            None => {
                ureq::delete(url).call().expect("Lambda's API answers");
            }
        }
    }

    fn take_over(&self, name: &str, version: &Value) {
        answer(
            ureq::put(self.function(name, "aliases/live"))
                .send(&json!({"FunctionVersion": version}).to_string()),
        );
    }

    fn function(&self, name: &str, part: &str) -> String {
        let Self { description, .. } = self;
        format!(
            "{}/2015-03-31/functions/{}-{name}/{part}",
            description.endpoint, description.name_prefix
        )
    }
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Value {
    let text = response
        .expect("Lambda's API answers")
        .body_mut()
        .read_to_string()
        .expect("an answer");
    serde_json::from_str(&text).expect("JSON")
}
