//! An S3 that accepts connections and sends nothing, or stops in the middle.

use aws::{
    sdk::{Waits, sdk_config_loader},
    source::S3Source,
};
use aws_sdk_s3::config::{Credentials, Region};
use model::{ClipError, ErrorKind, plan::PinnedObject};
use mp4_cut::io::RangeRead;
use std::time::{Duration, Instant};
use tokio::{io::AsyncWriteExt, net::TcpListener};

/// Far longer than every wait of these tests, and shorter than the SDK's own.
const PATIENCE: Duration = Duration::from_secs(4);

/// Reads 100 bytes from a server that sends `said` on every connection and then nothing.
async fn read(said: &'static [u8]) -> ClipError {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let mut connections = Vec::new();
        loop {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            connection.write_all(said).await.expect("it listens");
            connections.push(connection);
        }
    });
    let short = Duration::from_millis(100);
    let waits = Waits {
        connection: short,
        first_byte: short,
        answer: 4 * short,
        body: short,
    };
    let config = sdk_config_loader(waits)
        .endpoint_url(endpoint)
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"));
    let config = aws_sdk_s3::config::Builder::from(&config.load().await).force_path_style(true);
    let object = PinnedObject {
        bucket: "archive".into(),
        key: "k.mp4".into(),
        etag: "\"e\"".into(),
        bytes: 100,
    };
    let source = S3Source::pinned(aws_sdk_s3::Client::from_conf(config.build()), object);
    let begun = Instant::now();
    let read = source.read(0..100).await;
    server.abort();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    read.expect_err("it is silent").into()
}

#[tokio::test]
async fn service_that_never_answers_is_dependency_unavailable() {
    let error = read(b"").await;
    assert_eq!(error.kind, ErrorKind::DependencyUnavailable, "{error}");
    assert!(error.message.starts_with("reading s3://archive/k.mp4: "));
}

#[tokio::test]
async fn body_that_stalls_is_dependency_unavailable() {
    let answer = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 100\r\n\r\nabc";
    let error = read(answer).await;
    assert_eq!(error.kind, ErrorKind::DependencyUnavailable, "{error}");
}

#[test]
fn silence_ends_well_before_the_shortest_time_out_of_a_function() {
    let Waits {
        connection,
        first_byte,
        answer,
        body,
    } = Waits::default();
    // `terraform/locals.tf`: functions that call services have at least 30 s.
    assert!(answer <= Duration::from_secs(20) && connection + first_byte < answer);
    assert!(body < answer);
}
