//! The Lambda `store`.

use store::{Deps, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::start_tracing();
    lambda::run(Deps::from_env().await?, handle).await
}
