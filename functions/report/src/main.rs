//! The Lambda `report`.

use report::{Deps, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    clipflow_core::run::start_tracing();
    clipflow_core::run::run_queued(Deps::from_env().await?, handle).await
}
