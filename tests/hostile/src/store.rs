//! An in-memory object store, which the functions use like S3.

use aws_sdk_s3::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
    primitives::{ByteStream, SdkBody},
};
use aws_smithy_http_client::test_util::infallible_client_fn;
use bytes::Bytes;
use futures::executor::block_on;
use http::{Method, Request, Response};
use percent_encoding::percent_decode_str;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The objects, by bucket and key as `bucket/key`.
#[derive(Debug, Clone, Default)]
pub struct Store(Arc<Mutex<Objects>>);

type Objects = BTreeMap<String, Bytes>;

impl Store {
    /// Puts an object.
    pub fn put(&self, name: String, content: impl Into<Bytes>) {
        self.objects().insert(name, content.into());
    }

    /// All objects.
    pub fn content(&self) -> Objects {
        self.objects().clone()
    }

    /// A client that reads and writes the objects.
    pub fn client(&self) -> Client {
        let store = self.clone();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("a", "b", None, None, "hostile"))
            .endpoint_url("http://s3.invalid")
            .force_path_style(true)
            .http_client(infallible_client_fn(move |request| store.answer(request)));
        Client::from_conf(config.build())
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: Request<SdkBody>) -> Response<SdkBody> {
        let (parts, body) = request.into_parts();
        let path = percent_decode_str(parts.uri.path().trim_start_matches('/'));
        let name = path.decode_utf8_lossy().into_owned();
        let query = parts.uri.query().unwrap_or_default();
        let object = self.objects().get(&name).cloned();
        let tagged = Response::builder().header("ETag", "\"e\"");
        let answer = match (parts.method, object) {
            (Method::HEAD, Some(object)) => {
                let length = object.len().to_string();
                tagged
                    .header("Content-Length", length)
                    .body(SdkBody::empty())
            }
            (Method::GET, Some(object)) => {
                let range = parts
                    .headers
                    .get("Range")
                    .and_then(|range| range.to_str().ok());
                let (first, end) = place(range.expect("the functions read by ranges"));
                let end = end.min(object.len());
                if first >= end {
                    return status(416);
                }
                let place = format!("bytes {first}-{}/{}", end - 1, object.len());
                let tagged = tagged.status(206).header("Content-Range", place);
                tagged.body(SdkBody::from(object.slice(first..end)))
            }
            (Method::PUT, before) => {
                let sent = block_on(ByteStream::new(body).collect()).expect("all of it");
                // Parts arrive in order.
                let before = before
                    .filter(|_| query.contains("partNumber"))
                    .unwrap_or_default();
                self.put(name, [before, sent.into_bytes()].concat());
                tagged.body(SdkBody::empty())
            }
            (Method::POST, _) => {
                let xml = if query.contains("uploadId") {
                    "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>"
                } else {
                    "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                };
                tagged.body(SdkBody::from(xml))
            }
            _ => return status(404),
        };
        answer.expect("an answer")
    }
}

fn status(code: u16) -> Response<SdkBody> {
    let answer = Response::builder().status(code);
    answer.body(SdkBody::empty()).expect("an answer")
}

/// The range of a header, such as `bytes=0-9`; its end is exclusive.
fn place(range: &str) -> (usize, usize) {
    let ends = range
        .strip_prefix("bytes=")
        .and_then(|ends| ends.split_once('-'));
    let (first, last) = ends.expect("a first and a last byte");
    let [first, last]: [usize; 2] = [first, last].map(|at| at.parse().expect("a place"));
    (first, last + 1)
}
