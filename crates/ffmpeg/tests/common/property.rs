//! Properties whose every case takes long.

use proptest::{prelude::*, test_runner::TestRunner};
use std::env;
use tokio::runtime::{Builder, Runtime};

/// What runs a test's futures.
pub fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// What `holds` asserts holds for `cases` of `values`, or as many as `PROPTEST_CASES` says: each takes seconds.
pub fn assert_for_any<S: Strategy>(cases: u32, values: &S, holds: impl AsyncFn(S::Value)) {
    let config = ProptestConfig {
        cases: cases_or(cases),
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runtime = runtime();
    let run = |value| {
        runtime.block_on(holds(value));
        Ok(())
    };
    TestRunner::new(config)
        .run(values, run)
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// As many cases as `PROPTEST_CASES` says, or this many.
fn cases_or(cases: u32) -> u32 {
    let wanted = env::var("PROPTEST_CASES").ok();
    wanted.and_then(|cases| cases.parse().ok()).unwrap_or(cases)
}
