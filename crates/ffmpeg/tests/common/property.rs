//! Checks properties without `proptest!`, whose cases cannot be async.

use proptest::{
    prelude::*,
    test_runner::{TestCaseResult, TestRunner},
};
use std::env;
use tokio::runtime::{Builder, Runtime};

/// The runtime for a test's futures.
pub fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// Checks `holds` for `cases` of `values`, or as many as `PROPTEST_CASES` says: each takes seconds.
pub fn assert_for_any<S: Strategy>(cases: u32, values: &S, holds: impl AsyncFn(S::Value)) {
    let wanted = env::var("PROPTEST_CASES").ok();
    let config = ProptestConfig {
        cases: wanted.and_then(|cases| cases.parse().ok()).unwrap_or(cases),
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let runtime = runtime();
    check(&config, values, |value| {
        runtime.block_on(holds(value));
        Ok(())
    });
}

/// Checks a property without storing failures in a file.
pub fn check<S: Strategy>(
    config: &ProptestConfig,
    values: &S,
    holds: impl Fn(S::Value) -> TestCaseResult,
) {
    let config = ProptestConfig {
        failure_persistence: None,
        ..config.clone()
    };
    let checked = TestRunner::new(config).run(values, holds);
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}
