//! Putting what was made into S3, and finding it there.

use crate::{aws, error::ClipError, outcome::Object};
use aws_sdk_s3::{
    Client,
    operation::head_object::HeadObjectError,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt, pin_mut};
use std::{collections::HashMap, path::Path};

/// Objects above this length are uploaded in parts of this length, in bytes.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// How many parts are under way at once; with [`PART_BYTES`] this bounds the memory of an upload.
const PARTS_AT_ONCE: usize = 2;
const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc32C;

/// Where an object goes and what it is.
#[derive(Debug, Clone)]
pub struct Destination<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key.
    pub key: &'a str,
    /// The media type.
    pub content_type: &'a str,
    /// The object's own metadata (`x-amz-meta-`).
    pub metadata: HashMap<String, String>,
}

/// An object that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its length.
    pub bytes: u64,
    /// Its `ETag`, without quotes.
    pub etag: String,
}

/// Puts a stream: at once up to 8 MiB, above that in parts, which are aborted on failure. S3 checks a checksum of
/// every part; that and TLS protect the content, so it is not hashed a second time for the request's signature.
///
/// # Errors
/// The stream's own, or that of the call that failed.
pub async fn put(
    client: &Client,
    to: &Destination<'_>,
    content: impl Stream<Item = Result<Bytes, ClipError>>,
) -> Result<Uploaded, ClipError> {
    let parts = parts(content);
    pin_mut!(parts);
    let first = parts.try_next().await?.unwrap_or_default();
    if first.len() < PART_BYTES {
        return put_at_once(client, to, first).await;
    }
    let upload_id = begin(client, to).await?;
    let result = put_parts(client, to, &upload_id, futures::stream::once(async { Ok(first) }).chain(parts)).await;
    if result.is_err() {
        let abort = client.abort_multipart_upload().bucket(to.bucket).key(to.key).upload_id(&upload_id);
        if let Err(error) = abort.send().await {
            tracing::warn!(key = to.key, "the upload could not be aborted: {error:?}");
        }
    }
    result
}

/// Puts a file.
///
/// # Errors
/// As [`put`]; `Internal` when the file cannot be read.
pub async fn put_file(client: &Client, to: &Destination<'_>, path: &Path) -> Result<Uploaded, ClipError> {
    let unreadable = |error: std::io::Error| ClipError::internal(format!("reading {}: {error}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    put(client, to, tokio_util::io::ReaderStream::with_capacity(file, 256 * 1024).map_err(unreadable)).await
}

/// The object of that key, if there is one.
///
/// # Errors
/// `DependencyUnavailable` when S3 does not answer.
pub async fn find(client: &Client, bucket: &str, key: &str) -> Result<Option<Object>, ClipError> {
    match client.head_object().bucket(bucket).key(key).send().await {
        Ok(head) => Ok(Some(Object {
            key: key.to_owned(),
            url: None,
            bytes: head.content_length().and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
            etag: unquoted(head.e_tag),
        })),
        Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(None),
        Err(error) => Err(aws::failure(&format!("looking for s3://{bucket}/{key}"), &error)),
    }
}

/// Regroups a stream into parts of [`PART_BYTES`], the last one shorter, each in memory of just that length.
fn parts(content: impl Stream<Item = Result<Bytes, ClipError>>) -> impl Stream<Item = Result<Bytes, ClipError>> {
    let state = (Box::pin(content), Bytes::new());
    futures::stream::try_unfold(state, |(mut content, mut rest)| async move {
        let mut part = BytesMut::with_capacity(PART_BYTES);
        loop {
            part.extend_from_slice(&rest.split_to(rest.len().min(PART_BYTES - part.len())));
            if part.len() == PART_BYTES {
                break;
            }
            match content.try_next().await? {
                Some(bytes) => rest = bytes,
                None if part.is_empty() => return Ok(None),
                None => break,
            }
        }
        Ok(Some((part.freeze(), (content, rest))))
    })
}

async fn put_at_once(client: &Client, to: &Destination<'_>, content: Bytes) -> Result<Uploaded, ClipError> {
    let bytes = content.len() as u64;
    let put = client
        .put_object()
        .bucket(to.bucket)
        .key(to.key)
        .content_type(to.content_type)
        .set_metadata(Some(to.metadata.clone()))
        .checksum_algorithm(CHECKSUM)
        .body(ByteStream::from(content))
        .customize()
        .disable_payload_signing()
        .send()
        .await
        .map_err(|error| failure(to, &error))?;
    Ok(Uploaded { bytes, etag: unquoted(put.e_tag) })
}

async fn begin(client: &Client, to: &Destination<'_>) -> Result<String, ClipError> {
    let begun = client
        .create_multipart_upload()
        .bucket(to.bucket)
        .key(to.key)
        .content_type(to.content_type)
        .set_metadata(Some(to.metadata.clone()))
        .checksum_algorithm(CHECKSUM)
        .send()
        .await
        .map_err(|error| failure(to, &error))?;
    begun.upload_id.ok_or_else(|| ClipError::internal("S3 began an upload without an upload id"))
}

async fn put_parts(
    client: &Client,
    to: &Destination<'_>,
    upload_id: &str,
    parts: impl Stream<Item = Result<Bytes, ClipError>>,
) -> Result<Uploaded, ClipError> {
    let done: Vec<(u64, CompletedPart)> = parts
        .zip(futures::stream::iter(1..))
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
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
        .send()
        .await
        .map_err(|error| failure(to, &error))?;
    Ok(Uploaded { bytes, etag: unquoted(completed.e_tag) })
}

async fn put_part(
    client: &Client,
    to: &Destination<'_>,
    upload_id: &str,
    number: i32,
    content: Bytes,
) -> Result<(u64, CompletedPart), ClipError> {
    let bytes = content.len() as u64;
    let put = client
        .upload_part()
        .bucket(to.bucket)
        .key(to.key)
        .upload_id(upload_id)
        .part_number(number)
        .checksum_algorithm(CHECKSUM)
        .body(ByteStream::from(content))
        .customize()
        .disable_payload_signing()
        .send()
        .await
        .map_err(|error| failure(to, &error))?;
    let part = CompletedPart::builder()
        .part_number(number)
        .set_e_tag(put.e_tag)
        .set_checksum_crc32_c(put.checksum_crc32_c)
        .build();
    Ok((bytes, part))
}

fn failure<E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + 'static>(
    to: &Destination<'_>,
    error: &aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> ClipError {
    aws::failure(&format!("writing s3://{}/{}", to.bucket, to.key), error)
}

fn unquoted(etag: Option<String>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use aws_sdk_s3::operation::{
        abort_multipart_upload::AbortMultipartUploadOutput, complete_multipart_upload::CompleteMultipartUploadOutput,
        create_multipart_upload::CreateMultipartUploadOutput, put_object::PutObjectOutput,
        upload_part::UploadPartOutput,
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use futures::stream;
    use proptest::prelude::*;

    fn destination() -> Destination<'static> {
        Destination { bucket: "clips", key: "clips/a/b/clip.mp4", content_type: "video/mp4", metadata: HashMap::new() }
    }

    fn chunks(lengths: &[usize]) -> impl Stream<Item = Result<Bytes, ClipError>> {
        stream::iter(lengths.iter().map(|length| Ok(Bytes::from(vec![7; *length]))).collect::<Vec<_>>())
    }

    fn begun() -> Rule {
        mock!(Client::create_multipart_upload)
            .match_requests(|request| request.checksum_algorithm() == Some(&CHECKSUM))
            .then_output(|| CreateMultipartUploadOutput::builder().upload_id("u").build())
    }

    #[tokio::test]
    async fn short_content_is_put_at_once_with_a_checksum() {
        let put_object = mock!(Client::put_object)
            .match_requests(|request| request.checksum_algorithm() == Some(&CHECKSUM))
            .then_output(|| PutObjectOutput::builder().e_tag("\"abc\"").build());
        let client = mock_client!(aws_sdk_s3, [&put_object]);
        let uploaded = put(&client, &destination(), chunks(&[3, 4])).await;
        assert_eq!(uploaded, Ok(Uploaded { bytes: 7, etag: "abc".into() }));
    }

    #[tokio::test]
    async fn long_content_is_put_in_parts_that_are_joined_in_order() {
        let part = mock!(Client::upload_part)
            .match_requests(|request| request.checksum_algorithm() == Some(&CHECKSUM))
            .sequence()
            .output(|| UploadPartOutput::builder().e_tag("p").checksum_crc32_c("c").build())
            .repeatedly()
            .build();
        let completed = mock!(Client::complete_multipart_upload)
            .match_requests(|request| {
                let parts = request.multipart_upload().map(CompletedMultipartUpload::parts).unwrap_or_default();
                let numbers: Vec<_> = parts.iter().map(CompletedPart::part_number).collect();
                numbers == [Some(1), Some(2), Some(3)] && parts.iter().all(|part| part.checksum_crc32_c() == Some("c"))
            })
            .then_output(|| CompleteMultipartUploadOutput::builder().e_tag("\"abc-3\"").build());
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&begun(), &part, &completed]);
        let uploaded = put(&client, &destination(), chunks(&[PART_BYTES + 1, PART_BYTES, 5])).await;
        assert_eq!(uploaded, Ok(Uploaded { bytes: 2 * PART_BYTES as u64 + 6, etag: "abc-3".into() }));
        assert_eq!(part.num_calls(), 3);
    }

    #[tokio::test]
    async fn upload_is_aborted_when_its_content_fails() {
        let part = mock!(Client::upload_part).then_output(|| UploadPartOutput::builder().e_tag("p").build());
        let aborted = mock!(Client::abort_multipart_upload)
            .match_requests(|request| request.upload_id() == Some("u"))
            .then_output(|| AbortMultipartUploadOutput::builder().build());
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&begun(), &part, &aborted]);
        let broken = stream::iter([Err(ClipError::source_not_found("changed"))]);
        let failed = put(&client, &destination(), chunks(&[PART_BYTES]).chain(broken)).await;
        assert_eq!(failed.expect_err("it fails").kind, ErrorKind::SourceNotFound);
        assert_eq!(aborted.num_calls(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn parts_are_full_but_the_last(lengths in proptest::collection::vec(0..PART_BYTES * 2, 0..6)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let parts: Vec<Bytes> = runtime.block_on(parts(chunks(&lengths)).try_collect()).expect("no error");
            let total: usize = lengths.iter().sum();
            prop_assert_eq!(parts.iter().map(Bytes::len).sum::<usize>(), total);
            prop_assert_eq!(parts.len(), total.div_ceil(PART_BYTES));
            prop_assert!(parts.iter().rev().skip(1).all(|part| part.len() == PART_BYTES));
        }
    }
}
