//! A file on a web server, read by ranges.
//!
//! Redirects are followed once, and all later reads go to the final URL, so they all see the same file. A query may
//! contain a signature, which is a secret, so messages omit queries.

use bytes::{Bytes, BytesMut};
use model::{ClipError, ErrorKind};
use mp4_cut::io::RangeRead;
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{
        ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
        IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
    },
};
use std::{error::Error, ops::Range, time::Duration};

/// The size of the first read, in bytes: in most sources, it shows where the index is.
const HEAD_BYTES: u64 = 64 << 10;
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a read is attempted.
const ATTEMPTS: u32 = 4;
/// How long to wait after the first attempt; doubled after each further one.
const PAUSE: Duration = Duration::from_millis(200);

/// A file on a web server, pinned to the version seen first.
#[derive(Debug, Clone)]
pub struct HttpSource {
    client: Client,
    /// The final URL after redirects.
    url: Url,
    /// The given URL, without potential secrets.
    name: String,
    version: Version,
    head: Bytes,
}

/// What distinguishes versions of a file.
#[derive(Debug, Clone)]
struct Version {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
    bytes: u64,
}

impl HttpSource {
    /// Pins the file's current version.
    ///
    /// # Errors
    /// `InvalidRequest` for an invalid URL, `SourceNotFound` if there is no such file, `UnsupportedMedia` if the server
    /// does not support ranges or the file is empty, `DependencyUnavailable` if it does not answer, and `Internal` if
    /// it refuses.
    pub async fn pin(url: &str) -> Result<Self, ClipError> {
        let url = Url::parse(url)
            .map_err(|error| ClipError::invalid_request(format!("SOURCE is no URL: {error}")))?;
        let name = without_secrets(&url);
        let client = client()?;
        let (response, head) = retried(|| first(&client, &url, &name)).await?;
        let version = Version::of(response.headers(), &name)?;
        let url = response.url().clone();
        Ok(Self {
            client,
            url,
            name,
            version,
            head,
        })
    }

    /// The URL, without potential secrets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes from its beginning were read when it was pinned. Reading them again costs nothing.
    #[must_use]
    pub fn head_bytes(&self) -> u64 {
        self.head.len() as u64
    }

    async fn fetch(&self, range: &Range<u64>) -> Result<Bytes, ClipError> {
        let mut request = self.client.get(self.url.clone());
        if let Some((name, value)) = self.version.condition() {
            request = request.header(name, value);
        }
        let mut response = get(request, range, &self.name).await?;
        let (sent, _) = content_range(response.headers(), &self.name)?;
        if !Version::of(response.headers(), &self.name)?.may_be(&self.version) {
            return Err(changed(&self.name));
        }
        if sent != *range {
            return Err(other_bytes(&self.name, &sent, range));
        }
        receive(&mut response, range, &self.name).await
    }
}

impl RangeRead for HttpSource {
    fn len(&self) -> u64 {
        self.version.bytes
    }

    async fn read(&self, range: Range<u64>) -> mp4_cut::Result<Bytes> {
        if range.end <= self.head_bytes() {
            return self.head.read(range).await;
        }
        Ok(retried(|| self.fetch(&range)).await?)
    }
}

impl Version {
    fn of(headers: &HeaderMap, name: &str) -> Result<Self, ClipError> {
        Ok(Self {
            etag: headers.get(ETAG).cloned(),
            last_modified: headers.get(LAST_MODIFIED).cloned(),
            bytes: content_range(headers, name)?.1,
        })
    }

    /// The header that lets a server refuse another version. A weak `ETag` matches nothing (RFC 9110, section 13.1.1).
    fn condition(&self) -> Option<(HeaderName, HeaderValue)> {
        let strong = self
            .etag
            .as_ref()
            .filter(|etag| etag.as_bytes().starts_with(b"\""));
        let etag = strong.map(|etag| (IF_MATCH, etag.clone()));
        etag.or_else(|| Some((IF_UNMODIFIED_SINCE, self.last_modified.clone()?)))
    }

    /// Whether two versions may be the same: not all servers honour the condition.
    fn may_be(&self, other: &Self) -> bool {
        let agree = |one: &Option<HeaderValue>, other: &Option<HeaderValue>| {
            one.is_none() || other.is_none() || one == other
        };
        self.bytes == other.bytes
            && agree(&self.etag, &other.etag)
            && agree(&self.last_modified, &other.last_modified)
    }
}

fn client() -> Result<Client, ClipError> {
    // It fails if one is already installed.
    _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("clipflow/", env!("CARGO_PKG_VERSION")))
        // It would reveal the query to the server that a redirect leads to.
        .referer(false)
        .connect_timeout(CONNECT_TIME)
        .read_timeout(SILENCE)
        .build()
        .map_err(|error| ClipError::internal(format!("the HTTP client: {}", causes(&error))))
}

/// The beginning of a file, and the response with its other properties.
async fn first(client: &Client, url: &Url, name: &str) -> Result<(Response, Bytes), ClipError> {
    let mut response = get(client.get(url.clone()), &(0..HEAD_BYTES), name).await?;
    let (range, _) = content_range(response.headers(), name)?;
    if range.start != 0 || range.end > HEAD_BYTES {
        return Err(other_bytes(name, &range, &(0..HEAD_BYTES)));
    }
    let head = receive(&mut response, &range, name).await?;
    Ok((response, head))
}

/// Retries, after a pause, what may work then.
async fn retried<T, A>(attempt: impl Fn() -> A) -> Result<T, ClipError>
where
    A: Future<Output = Result<T, ClipError>>,
{
    for attempts in 1.. {
        match attempt().await {
            Err(error) if error.kind == ErrorKind::DependencyUnavailable && attempts < ATTEMPTS => {
                tokio::time::sleep(PAUSE * 2_u32.pow(attempts - 1)).await;
            }
            result => return result,
        }
    }
    unreachable!("the last attempt returns")
}

/// Requests a range and checks the response's status.
async fn get(
    request: RequestBuilder,
    range: &Range<u64>,
    name: &str,
) -> Result<Response, ClipError> {
    let response = request
        .header(RANGE, format!("bytes={}-{}", range.start, range.end - 1))
        .header(ACCEPT_ENCODING, "identity")
        .send()
        .await
        .map_err(|error| failed(name, error))?;
    let status = response.status();
    match status {
        StatusCode::PARTIAL_CONTENT => Ok(response),
        StatusCode::OK => Err(ClipError::unsupported_media(format!(
            "{name}: the server does not serve byte ranges, so a clip would take the whole file; download it, and cut \
             it from there"
        ))),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(ClipError::source_not_found(format!(
            "{name} does not exist ({status})"
        ))),
        StatusCode::RANGE_NOT_SATISFIABLE if range.start == 0 => Err(ClipError::unsupported_media(
            format!("{name} is empty: it has 0 bytes"),
        )),
        StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => Err(changed(name)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ClipError::internal(format!(
            "{name}: the server refuses it ({status}); a signed URL may have expired"
        ))),
        StatusCode::TOO_MANY_REQUESTS => Err(unavailable(name, &status)),
        _ if status.is_server_error() => Err(unavailable(name, &status)),
        _ => Err(ClipError::internal(format!(
            "{name}: the server answers {status}"
        ))),
    }
}

/// Which bytes a response has, and the total length.
fn content_range(headers: &HeaderMap, name: &str) -> Result<(Range<u64>, u64), ClipError> {
    let parse = |text: &str| {
        let (range, bytes) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, bytes): (u64, u64, u64) =
            (first.parse().ok()?, last.parse().ok()?, bytes.parse().ok()?);
        (first <= last && last < bytes).then_some((first..last + 1, bytes))
    };
    let header = headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    header.and_then(parse).ok_or_else(|| {
        let said = header.unwrap_or("nothing");
        ClipError::unsupported_media(format!(
            "{name}: the server does not say which bytes it sends, and of how many: its Content-Range says {said}"
        ))
    })
}

/// Receives exactly the bytes of `range`.
async fn receive(
    response: &mut Response,
    range: &Range<u64>,
    name: &str,
) -> Result<Bytes, ClipError> {
    let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut body = BytesMut::with_capacity(wanted.min(4 << 20));
    while let Some(part) = response
        .chunk()
        .await
        .map_err(|error| failed(name, error))?
    {
        if part.len() > wanted - body.len() {
            return Err(unavailable(name, &"it sends more than it was asked for"));
        }
        body.extend_from_slice(&part);
    }
    if body.len() < wanted {
        return Err(unavailable(name, &"it sends less than it was asked for"));
    }
    Ok(body.freeze())
}

fn failed(name: &str, error: reqwest::Error) -> ClipError {
    let error = error.without_url();
    if error.is_redirect() || error.is_builder() {
        return ClipError::internal(format!("{name}: {}", causes(&error)));
    }
    unavailable(name, &causes(&error))
}

fn unavailable(name: &str, why: &dyn std::fmt::Display) -> ClipError {
    ClipError::dependency_unavailable(format!("{name}: the server fails: {why}"))
}

fn other_bytes(name: &str, sent: &Range<u64>, wanted: &Range<u64>) -> ClipError {
    ClipError::internal(format!(
        "{name}: the server sent bytes {sent:?} instead of {wanted:?}"
    ))
}

fn changed(name: &str) -> ClipError {
    ClipError::source_not_found(format!("{name} changed while it was read"))
}

/// An error with its causes.
fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// A URL without its query, fragment and password.
fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These fail for URLs that can have neither.
    _ = url.set_username("");
    _ = url.set_password(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = of
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn version(etag: &'static str, last_modified: &'static str) -> Version {
        let headers = headers(&[
            (CONTENT_RANGE, "bytes 0-0/9"),
            (ETAG, etag),
            (LAST_MODIFIED, last_modified),
        ]);
        Version::of(&headers, "x").expect("a version")
    }

    #[test]
    fn query_fragment_and_password_are_in_no_message() {
        let url = Url::parse("https://me:pw@host:8443/a/b.mp4?X-Amz-Signature=s#f").expect("a URL");
        assert_eq!(without_secrets(&url), "https://host:8443/a/b.mp4");
    }

    #[test]
    fn range_without_a_length_is_refused() {
        let range = |value| content_range(&headers(&[(CONTENT_RANGE, value)]), "https://host/a");
        assert_eq!(range("bytes 5-9/10"), Ok((5..10, 10)));
        for value in [
            "bytes 0-9/*",
            "bytes */10",
            "bytes 9-5/10",
            "bytes 0-10/10",
            "0-9/10",
        ] {
            let error = range(value).expect_err(value);
            assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
            assert!(error.message.starts_with("https://host/a: "), "{error}");
        }
    }

    #[test]
    fn weak_etag_is_compared_and_not_sent() {
        let date = "Thu, 02 Aug 2018 15:40:00 GMT";
        assert_eq!(
            version("\"e\"", date).condition().map(|(name, _)| name),
            Some(IF_MATCH)
        );
        let weak = version("W/\"e\"", date);
        assert_eq!(
            weak.condition().map(|(name, _)| name),
            Some(IF_UNMODIFIED_SINCE)
        );
        assert!(weak.may_be(&weak) && !weak.may_be(&version("W/\"f\"", date)));
    }
}
