//! The part of the deployment that matters in a burst: the path of a clip that `Trim` makes through
//! the definition, with Terraform's timeouts and defaults.

use hcl::{
    Body, Expression, Map,
    eval::{Context, Evaluate},
};
use serde_json::{Value, json};

/// Step Functions' error name for an invocation that Lambda refuses.
const THROTTLED: &str = "Lambda.TooManyRequestsException";

/// What runs the executions.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The timeout of an execution.
    pub timeout_seconds: u64,
    /// From the first state to the last.
    pub steps: Vec<Step>,
}

/// A state that a clip goes through.
#[derive(Debug, Clone)]
pub struct Step {
    pub state: String,
    /// `None` for a state that runs no function.
    pub task: Option<Task>,
}

/// The invocation of a function.
#[derive(Debug, Clone)]
pub struct Task {
    /// The timeout of the task or of its function, whichever is shorter.
    pub timeout_seconds: f64,
    /// The retrier for an invocation that Lambda refuses.
    pub retrier: Option<Retrier>,
}

/// A retrier of the definition.
#[derive(Debug, Clone)]
pub struct Retrier {
    pub max_attempts: u32,
    /// Whether a wait is a random fraction of the delay.
    pub full_jitter: bool,
    interval_seconds: f64,
    backoff_rate: f64,
    max_delay_seconds: f64,
}

impl Deployment {
    /// The deployment of a definition with Terraform's defaults.
    pub fn new(definition: &Value, terraform: &Terraform) -> Self {
        let mut steps = Vec::new();
        let mut name = definition["StartAt"].as_str();
        while let Some(state) = name {
            let value = &definition["States"][state];
            let task = (value["Type"] == "Task").then(|| Task::new(value, terraform));
            steps.push(Step {
                state: state.to_owned(),
                task,
            });
            // A choice leads other clips elsewhere.
            name = value["Next"].as_str().or(value["Default"].as_str());
        }
        let timeout_seconds = definition["TimeoutSeconds"].as_u64().expect("a time-out");
        Self {
            timeout_seconds,
            steps,
        }
    }
}

impl Task {
    fn new(state: &Value, terraform: &Terraform) -> Self {
        let function = state["Arguments"]["FunctionName"]
            .as_str()
            .expect("a function");
        let function = function.trim_start_matches("${").trim_end_matches("_arn}");
        let of_task = state["TimeoutSeconds"].as_f64().expect("a task's time-out");
        let of_function = terraform.function_timeout_seconds(function);
        let retrier = Retrier::of_refusals(state);
        Self {
            timeout_seconds: of_task.min(of_function),
            retrier,
        }
    }
}

impl Retrier {
    /// The first retrier of a state that handles a refused invocation.
    pub fn of_refusals(state: &Value) -> Option<Self> {
        let mut retriers = state["Retry"].as_array()?.iter();
        let retrier = retriers.find(|retrier| {
            let errors = retrier["ErrorEquals"].as_array();
            errors.is_some_and(|errors| errors.contains(&json!(THROTTLED)))
        });
        retrier.map(Self::new)
    }

    /// Omitted fields have the defaults of the Amazon States Language.
    fn new(retrier: &Value) -> Self {
        let number = |key: &str, default: f64| retrier[key].as_f64().unwrap_or(default);
        Self {
            max_attempts: retrier["MaxAttempts"].as_u64().map_or(3, |attempts| {
                u32::try_from(attempts).expect("at most 99,999,999")
            }),
            full_jitter: retrier["JitterStrategy"] == "FULL",
            interval_seconds: number("IntervalSeconds", 1.0),
            backoff_rate: number("BackoffRate", 2.0),
            max_delay_seconds: number("MaxDelaySeconds", f64::INFINITY),
        }
    }

    /// The delay after this many retries.
    pub fn delay_seconds(&self, retries: u32) -> f64 {
        let backoff = |delay: f64, _| (delay * self.backoff_rate).min(self.max_delay_seconds);
        (0..retries).fold(self.interval_seconds, backoff)
    }
}

/// The root module's variables and functions.
#[derive(Debug)]
pub struct Terraform {
    defaults: Map<String, hcl::Value>,
    functions: Expression,
}

impl Terraform {
    /// Reads the text of `variables.tf` and `locals.tf`.
    pub fn new(variables: &str, locals: &str) -> Self {
        let (variables, locals) = (parse(variables), parse(locals));
        let variables = variables
            .blocks()
            .filter(|block| block.identifier() == "variable");
        let defaults = variables.filter_map(|block| {
            let name = block
                .labels()
                .first()
                .expect("a variable's name")
                .as_str()
                .to_owned();
            let mut attributes = block.body().attributes();
            let default = attributes.find(|attribute| attribute.key() == "default")?;
            Some((
                name,
                default
                    .expr()
                    .evaluate(&Context::new())
                    .expect("a constant"),
            ))
        });
        let mut attributes = locals.blocks().flat_map(|block| block.body().attributes());
        let functions = attributes.find(|attribute| attribute.key() == "functions");
        let functions = functions.expect("a local named functions").expr().clone();
        Self {
            defaults: defaults.collect(),
            functions,
        }
    }

    /// The timeout of a function: its own, or the default.
    fn function_timeout_seconds(&self, function: &str) -> f64 {
        let Expression::ForExpr(each) = &self.functions else {
            panic!("functions is no for")
        };
        let Expression::FuncCall(merge) = &each.value_expr else {
            panic!("functions merges none")
        };
        let of_function = entry(&each.collection_expr, function).expect("a deployed function");
        let timeout = entry(of_function, "timeout_seconds");
        let timeout = timeout.or_else(|| entry(merge.args.first()?, "timeout_seconds"));
        let mut context = Context::new();
        context.declare_var("var", self.defaults.clone());
        let timeout = timeout
            .expect("a time-out")
            .evaluate(&context)
            .expect("a known time-out");
        timeout.as_f64().expect("seconds")
    }
}

fn parse(text: &str) -> Body {
    hcl::from_str(text).expect("HCL")
}

/// The value of an object's key.
fn entry<'a>(object: &'a Expression, key: &str) -> Option<&'a Expression> {
    let Expression::Object(entries) = object else {
        panic!("{key} is looked for in no object")
    };
    entries
        .iter()
        .find(|(name, _)| name.to_string() == key)
        .map(|(_, value)| value)
}
