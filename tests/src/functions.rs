//! The deployed functions: how they are set up, and releases of them.

use crate::Stack;
use serde_json::{Value, json};

/// The functions of Lambda's API, by its version.
const API: &str = "2015-03-31/functions";

/// What was live before a release.
#[derive(Debug)]
pub struct Before {
    name: String,
    variables: Value,
    version: Value,
}

impl Stack {
    /// How a function's unpublished version is set up.
    #[must_use]
    pub fn settings(&self, name: &str) -> Value {
        let text = ureq::get(self.function(name, "configuration")).call().expect("the function");
        serde_json::from_str(&text.into_body().read_to_string().expect("its settings")).expect("JSON")
    }

    /// Sets a function's unpublished version up anew.
    pub fn configure(&self, name: &str, settings: &Value) {
        ureq::put(self.function(name, "configuration")).send(&settings.to_string()).expect("the function is set up");
    }

    /// Publishes a version of a function with another value of an environment variable, and lets it take over.
    #[must_use]
    pub fn release(&self, name: &str, variable: &str, value: &str) -> Before {
        let variables = self.settings(name)["Environment"]["Variables"].clone();
        let version = self.alias(name, None)["FunctionVersion"].clone();
        let mut changed = variables.clone();
        changed[variable] = json!(value);
        self.configure(name, &json!({"Environment": {"Variables": changed}}));
        let published = ureq::post(self.function(name, "versions")).send("{}").expect("a version");
        let published = published.into_body().read_to_string().expect("the version");
        let published: Value = serde_json::from_str(&published).expect("JSON");
        self.alias(name, Some(&published["Version"]));
        Before { name: name.to_owned(), variables, version }
    }

    /// Lets the version take over again that was live before a release.
    pub fn roll_back(&self, before: &Before) {
        self.configure(&before.name, &json!({"Environment": {"Variables": before.variables}}));
        self.alias(&before.name, Some(&before.version));
    }

    /// Limits how often a function may be at work at the same time; `None` lifts the limit.
    pub fn limit_concurrency(&self, name: &str, most: Option<u32>) {
        // The one operation of another API version.
        let url = self.function(name, "concurrency").replace(API, "2017-10-31/functions");
        match most {
            Some(most) => ureq::put(url).send(&json!({"ReservedConcurrentExecutions": most}).to_string()),
            None => ureq::delete(url).call(),
        }
        .expect("the limit is set");
    }

    /// The alias that is invoked, after letting it name another version.
    fn alias(&self, name: &str, version: Option<&Value>) -> Value {
        let url = self.function(name, "aliases/live");
        let answer = match version {
            Some(version) => ureq::put(url).send(&json!({"FunctionVersion": version}).to_string()),
            None => ureq::get(url).call(),
        };
        let answer = answer.expect("the alias").into_body().read_to_string().expect("its version");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn function(&self, name: &str, part: &str) -> String {
        let Self { description, .. } = self;
        format!("{}/{API}/{}-{name}/{part}", description.endpoint, description.name_prefix)
    }
}
