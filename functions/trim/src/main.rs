//! The Lambda `trim`.

use trim::{Deps, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::start_tracing();
    lambda::run_until(Deps::from_env().await?, handle).await
}
