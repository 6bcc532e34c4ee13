//! The window alone: what `trim` does with a source before uploading, written to a local file.

use crate::Outcome;
use aws::{sdk, source::S3Source};
use aws_sdk_s3::{
    Client,
    config::{Credentials, Region},
};
use futures::TryStreamExt;
use model::plan::Plan;
use mp4_cut::Movie;
use serde_json::Value;
use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::Path,
    pin::pin,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// The same number as `trim` has.
pub const CONNECTIONS: usize = 4;

/// Reads windows from a server, like a warm function.
pub struct Reader {
    runtime: Runtime,
    s3: Client,
}

impl Reader {
    /// A reader of the S3 at `address`.
    ///
    /// # Errors
    /// If there is no runtime.
    pub fn of(address: SocketAddr) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let loader = sdk::sdk_config_loader(sdk::Waits::default())
            .endpoint_url(format!("http://{address}"))
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("bench", "bench", None, None, "bench"));
        let s3 = Client::new(&runtime.block_on(loader.load()));
        Ok(Self { runtime, s3 })
    }

    /// The time in which the window of an event for `trim` is read and written to a new file.
    ///
    /// # Errors
    /// If the window cannot be read or written.
    pub fn read(&self, event: &Value, file: &Path) -> Outcome<Duration> {
        let plan: Plan = serde_json::from_value(event["probe"].clone())?;
        let (probed, planned) = (&plan.sources[0], &plan.segments[0].window);
        if file.exists() {
            fs::remove_file(file)?;
        }
        let begun = Instant::now();
        self.runtime.block_on(async {
            let mut source = S3Source::pinned(self.s3.clone(), probed.object.clone());
            source.read_ahead(
                probed
                    .facts
                    .index_reads()
                    .into_iter()
                    .chain(planned.source_span.clone()),
            );
            let window = Movie::read(&source)
                .await?
                .window(planned.start_seconds, planned.end_seconds)?;
            let mut stream = pin!(window.stream(&source, CONNECTIONS));
            let mut file = File::create(file)?;
            while let Some(part) = stream.try_next().await? {
                file.write_all(&part)?;
            }
            Ok(begun.elapsed())
        })
    }
}
