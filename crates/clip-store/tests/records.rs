//! Documents in a real `mongod`.

use clip_store::{ClipStore, Saved};
use model::outcome::{Execution, Outcome, Status};
use serde_json::json;
use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of its own; it ends with the test.
struct Mongod {
    process: Child,
    port: u16,
    _data: tempfile::TempDir,
}

impl Mongod {
    fn start() -> Self {
        let program = std::env::var("CLIPFLOW_TEST_MONGOD")
            .expect("CLIPFLOW_TEST_MONGOD names a mongod; `make unit` sets it");
        let data = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let process = Command::new(program)
            .args([
                "--bind_ip",
                "127.0.0.1",
                "--nounixsocket",
                "--wiredTigerCacheSizeGB",
                "0.25",
            ])
            .args(["--port", &port.to_string(), "--dbpath"])
            .arg(data.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("mongod starts");
        Self {
            process,
            port,
            _data: data,
        }
    }

    /// The records of a server that answers.
    async fn records(&self) -> ClipStore {
        let uri = format!(
            "mongodb://127.0.0.1:{}/?serverSelectionTimeoutMS=500",
            self.port
        );
        let begun = Instant::now();
        loop {
            let records = ClipStore::connect(&uri, "clipflow")
                .await
                .expect("the URI can be used");
            if records.ensure_indexes().await.is_ok() {
                return records;
            }
            assert!(begun.elapsed() < PATIENCE, "mongod does not answer");
        }
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        self.process
            .kill()
            .and_then(|()| self.process.wait())
            .expect("mongod ends");
    }
}

fn outcome(status: Status, execution: &str, started_at: &str) -> Outcome {
    let execution = Execution {
        arn: format!("arn:{execution}"),
        started_at: started_at.into(),
    };
    Outcome::new(status, &json!({"clipId": "a"}), execution, "clips")
}

#[tokio::test]
async fn newest_execution_has_the_document_and_a_late_failure_replaces_nothing_better() {
    let mongod = Mongod::start();
    let records = mongod.records().await;
    let (early, late) = ("2026-01-01T00:00:00.001Z", "2026-01-01T00:00:00.002Z");
    let steps = [
        (outcome(Status::Failed, "first", early), Saved::Written),
        // The same event again, and a failure after a redrive.
        (outcome(Status::Failed, "first", early), Saved::Written),
        (outcome(Status::Available, "first", early), Saved::Written),
        // Its failure is heard of again, when it has delivered after all; also by a clock that was read less exactly.
        (outcome(Status::Failed, "first", early), Saved::Superseded),
        (outcome(Status::Failed, "first", late), Saved::Superseded),
        (outcome(Status::Available, "first", early), Saved::Written),
        (outcome(Status::Failed, "second", late), Saved::Written),
        (
            outcome(Status::Available, "first", early),
            Saved::Superseded,
        ),
        (outcome(Status::Failed, "first", early), Saved::Superseded),
        (outcome(Status::Rejected, "second", late), Saved::Written),
    ];
    let mut current = None;
    for (number, (outcome, wanted)) in steps.into_iter().enumerate() {
        assert_eq!(records.save(&outcome).await, Ok(wanted), "step {number}");
        if wanted == Saved::Written {
            current = Some((outcome.status, outcome.execution.arn));
        }
        let found = records
            .find("a")
            .await
            .expect("mongod answers")
            .expect("a document");
        assert_eq!(
            Some((found.status, found.execution.arn)),
            current,
            "step {number}"
        );
    }
}

#[tokio::test]
async fn server_that_is_away_is_dependency_unavailable() {
    let records = ClipStore::connect(
        "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200",
        "clipflow",
    )
    .await;
    let saved = records
        .expect("the URI can be used")
        .save(&outcome(Status::Failed, "first", "2026-01-01T00:00:00Z"))
        .await;
    assert_eq!(
        saved.expect_err("nobody answers").kind,
        model::ErrorKind::DependencyUnavailable
    );
}
