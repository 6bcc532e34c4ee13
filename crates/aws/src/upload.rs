//! Uploads objects to S3, and finds those that an earlier attempt uploaded.

use crate::s3_error::Call;
use aws_sdk_s3::{
    Client,
    operation::head_object::HeadObjectError,
    primitives::{ByteStream, SdkBody},
    types::{self, CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_checksums::ChecksumAlgorithm;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, pin_mut, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use model::{error::ClipError, outcome::Object};
use std::{collections::HashMap, convert::Infallible, path::Path};

/// Objects longer than this are uploaded in parts of this length, in bytes.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// How many parts are uploaded concurrently; with [`PART_BYTES`], this bounds the memory of an upload.
const PARTS_AT_ONCE: usize = 2;

/// Where an object goes and what it is.
#[derive(Debug, Clone)]
pub struct Destination<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub content_type: &'a str,
    /// The object's own metadata (`x-amz-meta-`).
    pub metadata: HashMap<String, String>,
}

/// An uploaded object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub bytes: u64,
    /// Its `ETag`, without quotes.
    pub etag: String,
}

/// Puts a stream: up to 8 MiB in one request, above that in parts, which are aborted on failure. S3 verifies a checksum
/// of every part; that and TLS protect the content, so it is not hashed again for the request's signature.
///
/// # Errors
/// The stream's own error, or the error of the failed call.
pub async fn put(
    client: &Client,
    to: &Destination<'_>,
    content: impl Stream<Item = Result<Bytes, impl Into<ClipError>>>,
) -> Result<Uploaded, ClipError> {
    let parts = parts(content.map_err(Into::into));
    pin_mut!(parts);
    let first = parts.try_next().await?.unwrap_or_default();
    if first.bytes < PART_BYTES {
        return put_at_once(client, to, first).await;
    }
    let upload_id = begin(client, to).await?;
    let result = put_parts(
        client,
        to,
        &upload_id,
        stream::once(async { Ok(first) }).chain(parts),
    )
    .await;
    if result.is_err() {
        let abort = client
            .abort_multipart_upload()
            .bucket(to.bucket)
            .key(to.key)
            .upload_id(&upload_id);
        if let Err(error) = abort.send().await {
            tracing::warn!(key = to.key, "the upload could not be aborted: {error:?}");
        }
    }
    result
}

/// Puts a file.
///
/// # Errors
/// As [`put`]; `Internal` if the file cannot be read.
pub async fn put_file(
    client: &Client,
    to: &Destination<'_>,
    path: &Path,
) -> Result<Uploaded, ClipError> {
    let unreadable =
        |error: std::io::Error| ClipError::internal(format!("reading {}: {error}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    put(
        client,
        to,
        tokio_util::io::ReaderStream::with_capacity(file, 256 * 1024).map_err(unreadable),
    )
    .await
}

/// An existing object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub object: Object,
    /// Its own metadata (`x-amz-meta-`).
    pub metadata: HashMap<String, String>,
}

/// The object with that key, if there is one.
///
/// # Errors
/// `DependencyUnavailable` when S3 does not answer.
pub async fn find(client: &Client, bucket: &str, key: &str) -> Result<Option<Found>, ClipError> {
    match client.head_object().bucket(bucket).key(key).send().await {
        Ok(head) => Ok(Some(Found {
            object: Object {
                key: key.to_owned(),
                url: None,
                bytes: head
                    .content_length()
                    .and_then(|bytes| bytes.try_into().ok())
                    .unwrap_or(0),
                etag: unquoted(head.e_tag),
            },
            metadata: head.metadata.unwrap_or_default(),
        })),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(HeadObjectError::is_not_found) =>
        {
            Ok(None)
        }
        Err(error) => {
            let call = Call {
                doing: "looking for",
                action: "s3:GetObject",
                bucket,
                key,
            };
            Err(call.failure(&error))
        }
    }
}

/// A part of an object, in the pieces in which it arrived.
#[derive(Debug, Default)]
struct UploadPart {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl UploadPart {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push(piece);
    }

    /// The CRC-32C in S3's notation.
    fn checksum(&self) -> String {
        let mut checksum = ChecksumAlgorithm::Crc32c.into_impl();
        self.pieces.iter().for_each(|piece| checksum.update(piece));
        checksum
            .header_value()
            .to_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// A body that can be sent again when a request is retried.
    fn body(self) -> ByteStream {
        ByteStream::new(SdkBody::retryable(move || {
            let frames = self
                .pieces
                .clone()
                .into_iter()
                .map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
            SdkBody::from_body_1_x(StreamBody::new(stream::iter(frames)))
        }))
    }
}

/// Regroups a stream into parts of [`PART_BYTES`], the last one shorter.
fn parts(
    content: impl Stream<Item = Result<Bytes, ClipError>>,
) -> impl Stream<Item = Result<UploadPart, ClipError>> {
    let state = (Box::pin(content), Bytes::new());
    stream::try_unfold(state, |(mut content, mut rest)| async move {
        let mut part = UploadPart::default();
        loop {
            part.push(rest.split_to(rest.len().min(PART_BYTES - part.bytes)));
            if part.bytes == PART_BYTES {
                break;
            }
            match content.try_next().await? {
                Some(bytes) => rest = bytes,
                None if part.bytes == 0 => return Ok(None),
                None => break,
            }
        }
        Ok(Some((part, (content, rest))))
    })
}

async fn put_at_once(
    client: &Client,
    to: &Destination<'_>,
    content: UploadPart,
) -> Result<Uploaded, ClipError> {
    let bytes = content.bytes;
    let put = client
        .put_object()
        .bucket(to.bucket)
        .key(to.key)
        .content_type(to.content_type)
        .set_metadata(Some(to.metadata.clone()))
        .content_length(length(bytes))
        .checksum_crc32_c(content.checksum())
        .body(content.body())
        .customize()
        .disable_payload_signing()
        .send()
        .await
        .map_err(|error| failure(to, &error))?;
    Ok(Uploaded {
        bytes: bytes as u64,
        etag: unquoted(put.e_tag),
    })
}

async fn begin(client: &Client, to: &Destination<'_>) -> Result<String, ClipError> {
    let begun = client
        .create_multipart_upload()
        .bucket(to.bucket)
        .key(to.key)
        .content_type(to.content_type)
        .set_metadata(Some(to.metadata.clone()))
        .checksum_algorithm(types::ChecksumAlgorithm::Crc32C)
        .send()
        .await
        .map_err(|error| failure(to, &error))?;
    begun
        .upload_id
        .ok_or_else(|| ClipError::internal("S3 began an upload without an upload id"))
}

async fn put_parts(
    client: &Client,
    to: &Destination<'_>,
    upload_id: &str,
    parts: impl Stream<Item = Result<UploadPart, ClipError>>,
) -> Result<Uploaded, ClipError> {
    let done: Vec<(u64, CompletedPart)> = parts
        .zip(stream::iter(1..))
        .map(|(part, number)| async move { put_part(client, to, upload_id, number, part?).await })
        .buffered(PARTS_AT_ONCE)
        .try_collect()
        .await?;
    let bytes = done.iter().map(|(bytes, _)| bytes).sum();
    let parts = done.into_iter().map(|(_, part)| part).collect();
    let completed = client
        .complete_multipart_upload()
        .bucket(to.bucket)
        .key(to.key)
        .upload_id(upload_id)
        .multipart_upload(
            CompletedMultipartUpload::builder()
                .set_parts(Some(parts))
                .build(),
        )
        .send()
        .await
        .map_err(|error| failure(to, &error))?;
    Ok(Uploaded {
        bytes,
        etag: unquoted(completed.e_tag),
    })
}

async fn put_part(
    client: &Client,
    to: &Destination<'_>,
    upload_id: &str,
    number: i32,
    content: UploadPart,
) -> Result<(u64, CompletedPart), ClipError> {
    let (bytes, checksum) = (content.bytes, content.checksum());
    let put = client
        .upload_part()
        .bucket(to.bucket)
        .key(to.key)
        .upload_id(upload_id)
        .part_number(number)
        .content_length(length(bytes))
        .checksum_crc32_c(&checksum)
        .body(content.body())
        .customize()
        .disable_payload_signing()
        .send()
        .await
        .map_err(|error| failure(to, &error))?;
    let part = CompletedPart::builder()
        .part_number(number)
        .set_e_tag(put.e_tag)
        .checksum_crc32_c(checksum)
        .build();
    Ok((bytes as u64, part))
}

fn failure<E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + 'static>(
    to: &Destination<'_>,
    error: &aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> ClipError {
    let call = Call {
        doing: "writing",
        action: "s3:PutObject",
        bucket: to.bucket,
        key: to.key,
    };
    call.failure(error)
}

/// A length in the SDK's type.
fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn unquoted(etag: Option<String>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::operation::{
        abort_multipart_upload::AbortMultipartUploadOutput,
        complete_multipart_upload::CompleteMultipartUploadOutput,
        create_multipart_upload::CreateMultipartUploadOutput, put_object::PutObjectOutput,
        upload_part::UploadPartOutput,
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use model::ErrorKind;
    use proptest::prelude::*;

    fn destination() -> Destination<'static> {
        Destination {
            bucket: "clips",
            key: "clips/a/b/clip.mp4",
            content_type: "video/mp4",
            metadata: HashMap::new(),
        }
    }

    fn chunks(lengths: &[usize]) -> impl Stream<Item = Result<Bytes, ClipError>> {
        stream::iter(
            lengths
                .iter()
                .map(|length| Ok(Bytes::from(vec![7; *length])))
                .collect::<Vec<_>>(),
        )
    }

    fn begun() -> Rule {
        mock!(Client::create_multipart_upload)
            .match_requests(|request| {
                request.checksum_algorithm() == Some(&types::ChecksumAlgorithm::Crc32C)
            })
            .then_output(|| {
                CreateMultipartUploadOutput::builder()
                    .upload_id("u")
                    .build()
            })
    }

    #[tokio::test]
    async fn short_content_is_put_at_once_with_a_checksum() {
        let put_object = mock!(Client::put_object)
            .match_requests(|request| {
                request.checksum_crc32_c() == Some("4waSgw==")
                    && request.content_length() == Some(9)
            })
            .then_output(|| PutObjectOutput::builder().e_tag("\"abc\"").build());
        let client = mock_client!(aws_sdk_s3, [&put_object]);
        let content =
            stream::iter(["1234", "56789"].map(|piece| Ok::<_, ClipError>(Bytes::from(piece))));
        let uploaded = put(&client, &destination(), content).await;
        assert_eq!(
            uploaded,
            Ok(Uploaded {
                bytes: 9,
                etag: "abc".into()
            })
        );
    }

    #[tokio::test]
    async fn part_can_be_sent_twice() {
        let mut part = UploadPart::default();
        for piece in ["1234", "56789"] {
            part.push(Bytes::from(piece));
        }
        let body = part.body().into_inner();
        let again = body.try_clone().expect("it can be sent again");
        for body in [body, again] {
            assert_eq!(
                ByteStream::new(body)
                    .collect()
                    .await
                    .expect("no error")
                    .to_vec(),
                b"123456789"
            );
        }
    }

    #[tokio::test]
    async fn long_content_is_put_in_parts_that_are_joined_in_order() {
        let part = mock!(Client::upload_part)
            .match_requests(|request| request.checksum_crc32_c().is_some())
            .sequence()
            .output(|| UploadPartOutput::builder().e_tag("p").build())
            .repeatedly()
            .build();
        let completed = mock!(Client::complete_multipart_upload)
            .match_requests(|request| {
                let parts = request
                    .multipart_upload()
                    .map(CompletedMultipartUpload::parts)
                    .unwrap_or_default();
                let numbers: Vec<_> = parts.iter().map(CompletedPart::part_number).collect();
                numbers == [Some(1), Some(2), Some(3)]
                    && parts.iter().all(|part| part.checksum_crc32_c().is_some())
            })
            .then_output(|| {
                CompleteMultipartUploadOutput::builder()
                    .e_tag("\"abc-3\"")
                    .build()
            });
        let client = mock_client!(
            aws_sdk_s3,
            RuleMode::MatchAny,
            [&begun(), &part, &completed]
        );
        let uploaded = put(
            &client,
            &destination(),
            chunks(&[PART_BYTES + 1, PART_BYTES, 5]),
        )
        .await;
        assert_eq!(
            uploaded,
            Ok(Uploaded {
                bytes: 2 * PART_BYTES as u64 + 6,
                etag: "abc-3".into()
            })
        );
        assert_eq!(part.num_calls(), 3);
    }

    #[tokio::test]
    async fn upload_is_aborted_when_its_content_fails() {
        let part = mock!(Client::upload_part)
            .then_output(|| UploadPartOutput::builder().e_tag("p").build());
        let aborted = mock!(Client::abort_multipart_upload)
            .match_requests(|request| request.upload_id() == Some("u"))
            .then_output(|| AbortMultipartUploadOutput::builder().build());
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&begun(), &part, &aborted]);
        let broken = stream::iter([Err(ClipError::source_not_found("changed"))]);
        let failed = put(&client, &destination(), chunks(&[PART_BYTES]).chain(broken)).await;
        assert_eq!(
            failed.expect_err("it fails").kind,
            ErrorKind::SourceNotFound
        );
        assert_eq!(aborted.num_calls(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn parts_are_full_but_the_last(lengths in proptest::collection::vec(0..PART_BYTES * 2, 0..6)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let parts: Vec<UploadPart> = runtime.block_on(parts(chunks(&lengths)).try_collect()).expect("no error");
            let total: usize = lengths.iter().sum();
            prop_assert_eq!(parts.iter().map(|part| part.bytes).sum::<usize>(), total);
            prop_assert_eq!(parts.len(), total.div_ceil(PART_BYTES));
            prop_assert!(parts.iter().rev().skip(1).all(|part| part.bytes == PART_BYTES));
        }
    }
}
