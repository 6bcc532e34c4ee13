//! A source in S3, pinned to the version seen first and read by byte range.

use crate::s3_error::Call;
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object::{GetObjectError, GetObjectOutput},
    primitives::ByteStream,
};
use bytes::{Bytes, BytesMut};
use futures::{
    FutureExt, Stream, TryStreamExt,
    future::{self, BoxFuture, Shared},
};
use model::{ClipError, plan::PinnedObject, request::Source};
use mp4_cut::io::{self, RangeRead};
use std::{fmt::Display, ops::Range, slice, sync::Arc};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// How much of the object is read when pinning it, in bytes: enough for the boxes before most indexes.
const HEAD_BYTES: u64 = 64 * 1024;
/// The most that is read ahead, in bytes; for more than this, saving a wait is not worth it.
const MAX_AHEAD_BYTES: u64 = 16 << 20;
/// Into how many parts each range is divided that is read ahead: as many as its reader asks for at once.
const PARTS_AHEAD: usize = 4;
/// Concurrent ranged reads of such a part, so that the first one is soon complete.
const CONNECTIONS_PER_PART: usize = 2;
/// The most concurrent ranged reads when reading many short ranges ahead.
const CONNECTIONS_AHEAD: usize = 32;
/// Concurrent ranged reads when reading a whole object.
const CONNECTIONS: usize = 4;

/// Bytes that are being read, or have been.
type Reading = Shared<BoxFuture<'static, Result<Bytes, ClipError>>>;

/// Reads a [`PinnedObject`].
#[derive(Debug, Clone)]
pub struct S3Source {
    client: Client,
    object: PinnedObject,
    /// Ranges that are read ahead. They do not overlap.
    ahead: Vec<(Range<u64>, Reading)>,
}

impl S3Source {
    /// Pins the object's current version; errors name it as a request's `source`.
    ///
    /// # Errors
    /// As [`pin_field`](Self::pin_field).
    pub async fn pin(client: Client, source: &Source) -> Result<Self, ClipError> {
        Self::pin_field(client, source, "source").await
    }

    /// Pins the object's current version; `field` is where the request names it.
    ///
    /// # Errors
    /// `SourceNotFound` if the bucket or the object does not exist, `UnsupportedMedia` if it is empty,
    /// `DependencyUnavailable` if S3 does not answer.
    pub async fn pin_field(
        client: Client,
        source: &Source,
        field: &str,
    ) -> Result<Self, ClipError> {
        let mut object = PinnedObject {
            bucket: source.bucket.clone(),
            key: source.key.clone(),
            etag: String::new(),
            bytes: 0,
        };
        let got = get(&client, &object, 0..HEAD_BYTES).await;
        let got = got.map_err(|error| pin_failure(field, &object, &error))?;
        object.bytes = total_length(&got)
            .ok_or_else(|| ClipError::internal("S3 answered without Content-Range"))?;
        object.etag = got.e_tag.clone().unwrap_or_default();
        let head = receive(
            &object,
            got.body,
            BytesMut::with_capacity(length(&(0..HEAD_BYTES))),
        )
        .await?;
        let read = 0..head.len() as u64;
        let ahead = vec![(read, future::ready(Ok(head.freeze())).boxed().shared())];
        Ok(Self {
            client,
            object,
            ahead,
        })
    }

    /// How many bytes from the object's beginning were read when it was pinned. Reading them again costs nothing.
    #[must_use]
    pub fn head_bytes(&self) -> u64 {
        let head = self.ahead.iter().find(|(range, _)| range.start == 0);
        head.map_or(0, |(range, _)| range.end)
    }

    /// Reads an object that was pinned before.
    #[must_use]
    pub fn pinned(client: Client, object: PinnedObject) -> Self {
        Self {
            client,
            object,
            ahead: Vec::new(),
        }
    }

    /// Begins to read `ranges` in the background, so that later reads within one of them need not wait. Does nothing if
    /// they are longer than 16 MiB.
    pub fn read_ahead(&mut self, ranges: impl IntoIterator<Item = Range<u64>>) {
        let mut ranges: Vec<Range<u64>> = ranges.into_iter().collect();
        ranges.sort_by_key(|range| range.start);
        ranges.dedup_by(|next, last| {
            let is_one = next.start <= last.end;
            if is_one {
                last.end = last.end.max(next.end);
            }
            is_one
        });
        let lengths = ranges.iter().map(|range| range.end - range.start);
        if lengths.sum::<u64>() > MAX_AHEAD_BYTES {
            return;
        }
        let connections = Arc::new(Semaphore::new(CONNECTIONS_AHEAD));
        let parts = ranges
            .iter()
            .flat_map(|range| io::split_ranges(slice::from_ref(range), PARTS_AHEAD));
        let readings = parts.map(|part| (part.clone(), self.begin(part, connections.clone())));
        self.ahead = readings.collect();
    }

    /// Begins to read `part` in the background.
    fn begin(&self, part: Range<u64>, connections: Arc<Semaphore>) -> Reading {
        let source = Self::pinned(self.client.clone(), self.object.clone());
        let reading = async move { source.gather(part, &connections).await };
        let reading = AbortOnDropHandle::new(tokio::spawn(reading));
        let ended = |error| ClipError::internal(format!("reading ahead ended: {error}"));
        reading
            .map(move |read| read.map_err(ended)?)
            .boxed()
            .shared()
    }

    /// Reads `range` by several requests into one buffer. Each of its parts is received directly into its place.
    async fn gather(&self, range: Range<u64>, connections: &Semaphore) -> Result<Bytes, ClipError> {
        let mut room = BytesMut::with_capacity(length(&range));
        let mut places = Vec::new();
        for part in io::split_ranges(slice::from_ref(&range), CONNECTIONS_PER_PART) {
            let rest = room.split_off(length(&part));
            places.push((part, std::mem::replace(&mut room, rest)));
        }
        let parts = places.into_iter().map(async |(part, place)| {
            let _permit = connections.acquire().await;
            self.receive(part, place).await
        });
        let mut gathered = BytesMut::new();
        for part in future::try_join_all(parts).await? {
            gathered.unsplit(part);
        }
        Ok(gathered.freeze())
    }

    /// What is read ahead of `range`, once it has arrived; `None` unless all of it is.
    async fn read_before(&self, range: &Range<u64>) -> Option<Result<Bytes, ClipError>> {
        let shared = |part: &Range<u64>| part.start.max(range.start)..part.end.min(range.end);
        let parts = self
            .ahead
            .iter()
            .map(|(part, reading)| (part, shared(part), reading));
        let parts: Vec<_> = parts.filter(|(_, shared, _)| !shared.is_empty()).collect();
        let covered = parts.iter().map(|(_, shared, _)| shared.end - shared.start);
        if covered.sum::<u64>() < range.end - range.start {
            return None;
        }
        let pieces = parts.into_iter().map(async |(part, shared, reading)| {
            let bytes = reading.clone().await?;
            let start = length(&(part.start..shared.start));
            Ok::<_, ClipError>(bytes.slice(start..start + length(&shared)))
        });
        Some(
            future::try_join_all(pieces)
                .await
                .map(|pieces| match pieces.as_slice() {
                    [piece] => piece.clone(),
                    pieces => pieces.concat().into(),
                }),
        )
    }

    /// Reads `range` into `place`, which has exactly enough room.
    async fn receive(&self, range: Range<u64>, place: BytesMut) -> Result<BytesMut, ClipError> {
        let wanted = length(&range);
        let got = get(&self.client, &self.object, range).await;
        let got = got.map_err(|error| read_failure(&self.object, &error))?;
        let bytes = receive(&self.object, got.body, place).await?;
        if bytes.len() == wanted {
            Ok(bytes)
        } else {
            Err(ClipError::dependency_unavailable(format!(
                "S3 sent {} bytes instead of {wanted}",
                bytes.len()
            )))
        }
    }

    /// All bytes of the object, in order.
    pub fn stream(&self) -> impl Stream<Item = mp4_cut::Result<Bytes>> {
        let whole = 0..self.object.bytes;
        io::read_ranges(self, std::slice::from_ref(&whole), CONNECTIONS).map_ok(|(_, part)| part)
    }

    /// What was pinned.
    #[must_use]
    pub fn object(&self) -> &PinnedObject {
        &self.object
    }
}

impl RangeRead for S3Source {
    fn len(&self) -> u64 {
        self.object.bytes
    }

    async fn read(&self, range: Range<u64>) -> mp4_cut::Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if let Some(read) = self.read_before(&range).await {
            return Ok(read?);
        }
        let place = BytesMut::with_capacity(length(&range));
        Ok(self.receive(range, place).await?.freeze())
    }
}

async fn get(
    client: &Client,
    object: &PinnedObject,
    range: Range<u64>,
) -> Result<GetObjectOutput, SdkError<GetObjectError, HttpResponse>> {
    client
        .get_object()
        .bucket(&object.bucket)
        .key(&object.key)
        .set_if_match(Some(object.etag.clone()).filter(|etag| !etag.is_empty()))
        .range(format!("bytes={}-{}", range.start, range.end - 1))
        .send()
        .await
}

/// Appends a body to `place`, which does not grow for it.
async fn receive(
    object: &PinnedObject,
    mut body: ByteStream,
    mut place: BytesMut,
) -> Result<BytesMut, ClipError> {
    let failed = |why: &dyn Display| {
        ClipError::dependency_unavailable(format!(
            "reading s3://{}/{}: {why}",
            object.bucket, object.key
        ))
    };
    while let Some(bytes) = body.try_next().await.map_err(|error| failed(&error))? {
        if bytes.len() > place.capacity() - place.len() {
            return Err(failed(&"S3 sent more than it was asked for"));
        }
        place.extend_from_slice(&bytes);
    }
    Ok(place)
}

/// The length of a range in memory, in bytes.
fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

fn total_length(got: &GetObjectOutput) -> Option<u64> {
    got.content_range.as_ref()?.rsplit('/').next()?.parse().ok()
}

fn status(error: &SdkError<GetObjectError, HttpResponse>) -> Option<u16> {
    error
        .raw_response()
        .map(|response| response.status().as_u16())
}

/// Why an object that `field` names cannot be pinned.
fn pin_failure(
    field: &str,
    object: &PinnedObject,
    error: &SdkError<GetObjectError, HttpResponse>,
) -> ClipError {
    let PinnedObject { bucket, key, .. } = object;
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    match (code, status(error)) {
        (Some("NoSuchBucket"), _) => {
            ClipError::source_not_found(format!("{field}.bucket: {bucket} does not exist"))
        }
        (_, Some(404)) => {
            ClipError::source_not_found(format!("{field}.key: s3://{bucket}/{key} does not exist"))
        }
        _ => read_call(object)
            .rejection(field, error)
            .unwrap_or_else(|| read_failure(object, error)),
    }
}

/// Why an object that existed can no longer be read.
fn read_failure(
    object: &PinnedObject,
    error: &SdkError<GetObjectError, HttpResponse>,
) -> ClipError {
    let name = format!("s3://{}/{}", object.bucket, object.key);
    match status(error) {
        Some(412) => ClipError::source_not_found(format!("{name} changed while its clip was made")),
        Some(404) => {
            ClipError::source_not_found(format!("{name} was deleted while its clip was made"))
        }
        Some(416) => ClipError::unsupported_media(format!("{name} is empty: it has 0 bytes")),
        _ => {
            let call = read_call(object);
            call.rejection("source", error)
                .unwrap_or_else(|| call.failure(error))
        }
    }
}

fn read_call(object: &PinnedObject) -> Call<'_> {
    Call {
        doing: "reading",
        action: "s3:GetObject",
        bucket: &object.bucket,
        key: &object.key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::primitives::SdkBody;
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use model::ErrorKind;
    use std::iter;

    fn object() -> PinnedObject {
        PinnedObject {
            bucket: "archive".into(),
            key: "k.mp4".into(),
            etag: "\"e\"".into(),
            bytes: 100,
        }
    }

    async fn read(rule: &Rule) -> Result<Bytes, ClipError> {
        let source = S3Source::pinned(mock_client!(aws_sdk_s3, [rule]), object());
        Ok(source.read(10..13).await?)
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_not_read_again() {
        let rule = mock!(Client::get_object)
            .match_requests(|request| request.range() == Some("bytes=10-29"))
            .then_output(|| {
                GetObjectOutput::builder()
                    .body(ByteStream::from_static(b"abcdefghijklmnopqrst"))
                    .build()
            });
        let mut source = S3Source::pinned(mock_client!(aws_sdk_s3, [&rule]), object());
        source.read_ahead([20..30, 10..25]);
        assert_eq!(source.read(19..21).await.expect("read"), b"jk"[..]);
        assert_eq!(rule.num_calls(), 1);
    }

    #[tokio::test]
    async fn read_across_parts_that_are_read_ahead_joins_them() {
        let rule = mock!(Client::get_object).then_compute_output(|request| {
            let range = request.range().unwrap_or_default().replace("bytes=", "");
            let (first, last) = range.split_once('-').expect("a range");
            let [first, last] = [first, last].map(|at| at.parse::<u32>().expect("a number"));
            let body: Vec<u8> = (first..=last).map(|at| at.to_be_bytes()[2]).collect();
            GetObjectOutput::builder().body(body.into()).build()
        });
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&rule]);
        let bytes = 2_000_000;
        let mut source = S3Source::pinned(client, PinnedObject { bytes, ..object() });
        source.read_ahead(iter::once(0..bytes));
        for range in [
            0..bytes,
            499_999..500_001,
            100_000..1_900_000,
            1_999_999..bytes,
        ] {
            let read = source.read(range.clone()).await.expect("read");
            let wanted = range.map(|at| at.to_be_bytes()[6]);
            assert!(read.iter().copied().eq(wanted));
        }
        assert_eq!(rule.num_calls(), PARTS_AHEAD * CONNECTIONS_PER_PART);
    }

    #[tokio::test]
    async fn failure_of_reading_ahead_is_the_error_of_the_read() {
        let client = mock_client!(aws_sdk_s3, [&answer(412, "")]);
        let mut source = S3Source::pinned(client, object());
        source.read_ahead(iter::once(0..100));
        let error = ClipError::from(source.read(1..2).await.expect_err("it changed"));
        assert_eq!(error.kind, ErrorKind::SourceNotFound);
    }

    fn answer(status: u16, body: &'static str) -> Rule {
        mock!(Client::get_object).then_http_response(move || {
            HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body))
        })
    }

    #[tokio::test]
    async fn read_names_the_range_and_the_version_that_was_pinned() {
        let rule = mock!(Client::get_object)
            .match_requests(|request| {
                request.range() == Some("bytes=10-12") && request.if_match() == Some("\"e\"")
            })
            .then_output(|| {
                GetObjectOutput::builder()
                    .body(ByteStream::from_static(b"abc"))
                    .build()
            });
        assert_eq!(read(&rule).await, Ok(Bytes::from_static(b"abc")));
    }

    #[tokio::test]
    async fn answer_of_another_length_is_worth_a_retry() {
        let rule = mock!(Client::get_object).then_output(|| {
            GetObjectOutput::builder()
                .body(ByteStream::from_static(b"ab"))
                .build()
        });
        assert_eq!(
            read(&rule).await.expect_err("too short").kind,
            ErrorKind::DependencyUnavailable
        );
    }

    #[tokio::test]
    async fn source_that_changed_is_not_mixed() {
        let error = read(&answer(412, "")).await.expect_err("it changed");
        assert_eq!(error.kind, ErrorKind::SourceNotFound);
        assert_eq!(
            error.message,
            "s3://archive/k.mp4 changed while its clip was made"
        );
    }

    #[tokio::test]
    async fn source_that_was_deleted_meanwhile_is_said_to_be() {
        let error = read(&answer(404, "")).await.expect_err("it is gone");
        assert_eq!(error.kind, ErrorKind::SourceNotFound);
        assert!(
            error
                .message
                .ends_with("was deleted while its clip was made"),
            "{}",
            error.message
        );
    }

    #[tokio::test]
    async fn refusal_by_s3_is_a_failure_and_no_rejection() {
        let denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        assert_eq!(
            read(&answer(403, denied)).await.expect_err("denied").kind,
            ErrorKind::DependencyUnavailable
        );
    }

    /// The error of pinning what a request names in `field` when S3 answers with this code.
    async fn unpinned(field: &str, body: &'static str) -> ClipError {
        let source = Source {
            bucket: "archive".into(),
            key: "k.mp4".into(),
        };
        S3Source::pin_field(
            mock_client!(aws_sdk_s3, [&answer(404, body)]),
            &source,
            field,
        )
        .await
        .expect_err("nothing to pin")
    }

    #[tokio::test]
    async fn object_or_bucket_that_is_not_there_names_the_field() {
        const NO_KEY: &str = "<Error><Code>NoSuchKey</Code></Error>";
        const NO_BUCKET: &str = "<Error><Code>NoSuchBucket</Code></Error>";
        for (field, body, message) in [
            (
                "source",
                NO_KEY,
                "source.key: s3://archive/k.mp4 does not exist",
            ),
            (
                "edits.watermark",
                NO_KEY,
                "edits.watermark.key: s3://archive/k.mp4 does not exist",
            ),
            (
                "edits.watermark",
                NO_BUCKET,
                "edits.watermark.bucket: archive does not exist",
            ),
        ] {
            let error = unpinned(field, body).await;
            assert_eq!(error, ClipError::source_not_found(message));
        }
    }

    #[tokio::test]
    async fn empty_object_is_unsupported_media() {
        let client = mock_client!(
            aws_sdk_s3,
            [&answer(416, "<Error><Code>InvalidRange</Code></Error>")]
        );
        let source = Source {
            bucket: "archive".into(),
            key: "k.mp4".into(),
        };
        let error = S3Source::pin(client, &source)
            .await
            .expect_err("nothing to pin");
        assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
    }
}
