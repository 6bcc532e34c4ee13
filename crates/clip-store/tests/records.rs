//! Documents in a real `mongod`.

mod common;

use clip_store::{ClipStore, Saved};
use common::{Mongod, authority};
use model::outcome::{Execution, Outcome, Status};
use mongodb::bson::{Document, doc};
use serde_json::json;
use std::{
    fs,
    time::{Duration, Instant},
};

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
        // Its failure is reported again, after it has delivered after all; also with a less precise timestamp.
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
        None,
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

#[tokio::test]
async fn server_behind_a_private_ca_is_trusted_by_its_file_and_by_nothing_else() {
    let mongod = Mongod::start_with_tls();
    let ca_file = mongod.ca_file();
    // As the DocumentDB console shows it: the file does not exist where the function runs.
    let copied = format!("{}&tls=true&tlsCAFile=global-bundle.pem", mongod.uri());
    for uri in [&mongod.uri(), &copied] {
        let records = mongod.records_by(uri, Some(&ca_file)).await;
        assert_eq!(records.find("a").await, Ok(None));
    }
    let by_uri = format!("{}&tlsCAFile={}", mongod.uri(), ca_file.display());
    assert_eq!(
        mongod.records_by(&by_uri, None).await.find("a").await,
        Ok(None)
    );

    let other = mongod.data.path().join("other.pem");
    fs::write(&other, authority().pem()).expect("a file");
    let tls = format!("{}&tls=true", mongod.uri());
    for ca_file in [Some(other.as_path()), None] {
        let records = ClipStore::connect(&tls, "clipflow", ca_file).await;
        let found = records.expect("the URI can be used").find("a").await;
        let error = found.expect_err("nobody vouches for the server");
        assert!(error.message.contains("certificate"), "{error}");
    }
}

/// The number of connections to a server.
async fn connections(client: &mongodb::Client) -> i32 {
    let admin = client.database("admin");
    let status = admin.run_command(doc! {"serverStatus": 1}).await;
    let status: Document = status.expect("mongod answers");
    let connections = status.get_document("connections").expect("a count");
    connections.get_i32("current").expect("a number")
}

#[tokio::test]
async fn function_holds_two_connections_to_a_server_however_much_it_does() {
    const FUNCTIONS: i32 = 4;
    let mongod = Mongod::start();
    drop(mongod.records().await);
    let watcher = format!("{}&maxPoolSize=1&serverMonitoringMode=poll", mongod.uri());
    let watcher = mongodb::Client::with_uri_str(watcher)
        .await
        .expect("a client");
    let (mut stores, mut saves) = (Vec::new(), tokio::task::JoinSet::new());
    for _ in 0..FUNCTIONS {
        let store = ClipStore::connect(&mongod.uri(), "clipflow", None).await;
        stores.push(store.expect("the URI can be used"));
    }
    for store in &stores {
        for number in 0..16 {
            let mut outcome = outcome(Status::Failed, "first", "2026-01-01T00:00:00Z");
            outcome.clip_id = format!("clip-{number}");
            let store = store.clone();
            saves.spawn(async move { store.save(&outcome).await });
        }
    }
    while let Some(saved) = saves.join_next().await {
        saved.expect("no panic").expect("it is saved");
    }
    // The watcher's own connection, and the first client's until the server notices that it is gone.
    let begun = Instant::now();
    loop {
        let others = connections(&watcher).await - 2;
        if others == 2 * FUNCTIONS {
            break;
        }
        let patience = Duration::from_secs(5);
        assert!(
            begun.elapsed() < patience,
            "{others} for {FUNCTIONS} functions"
        );
        tokio::task::yield_now().await;
    }
}
