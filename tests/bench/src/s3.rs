//! A server like S3, as far as the functions use it, with configurable network delay and bandwidth. Buckets are
//! folders. It stores no metadata, so `trim` never finds an already made clip.

use crate::{
    http::{self, Connection, Request},
    window::CONNECTIONS,
};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Bytes that are sent at once if the bandwidth is limited.
const PACE_BYTES: u64 = 64 * 1024;

/// The network between the server and its clients.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    pub name: &'static str,
    /// From the end of a request to the first byte of its answer.
    pub first_byte: Duration,
    /// Bandwidth of every connection, in each direction; `None` means unlimited.
    pub bytes_per_second: Option<f64>,
}

impl Network {
    /// As fast as the machine is.
    pub const LOOPBACK: Self = Self {
        name: "loopback",
        first_byte: Duration::ZERO,
        bytes_per_second: None,
    };
    /// As a Lambda sees S3 in its region.
    pub const S3_LIKE: Self = Self {
        name: "S3-like",
        first_byte: Duration::from_millis(30),
        bytes_per_second: Some(80e6),
    };

    /// The minimum time for making a clip over this network: the first byte of the source, the longer of reading and
    /// writing, and the answer to the upload. All connections read; one writes.
    pub fn least(&self, read_bytes: u64, written_bytes: u64) -> Duration {
        let rate = self.bytes_per_second.unwrap_or(f64::INFINITY);
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 bytes")]
        let seconds = |bytes: u64, connections: usize| bytes as f64 / (rate * connections as f64);
        let moving = seconds(read_bytes, CONNECTIONS).max(seconds(written_bytes, 1));
        2 * self.first_byte + Duration::from_secs_f64(moving)
    }

    fn copy(
        &self,
        from: &mut impl Read,
        to: &mut (impl Write + ?Sized),
        bytes: u64,
    ) -> io::Result<u64> {
        let Some(bytes_per_second) = self.bytes_per_second else {
            return io::copy(&mut from.take(bytes), to);
        };
        let begun = Instant::now();
        let mut done = 0;
        while done < bytes {
            let now = io::copy(&mut from.take(PACE_BYTES.min(bytes - done)), to)?;
            if now == 0 {
                break;
            }
            done += now;
            #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 bytes")]
            let due = Duration::from_secs_f64(done as f64 / bytes_per_second);
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        Ok(done)
    }
}

/// The server.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct Traffic {
    requests: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Server {
    /// Serves the folders in `root` as buckets until the process ends.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn start(root: &Path, network: Network) -> io::Result<Self> {
        let traffic = Arc::new(Traffic::default());
        let service = Service {
            root: root.to_owned(),
            network,
            traffic: traffic.clone(),
        };
        let address = http::serve(move |connection, request| {
            service.traffic.requests.fetch_add(1, Relaxed);
            service.answer(connection, request)
        })?;
        Ok(Self { address, traffic })
    }

    /// Requests, and object bytes sent, since the last call.
    pub fn traffic(&self) -> (u64, u64) {
        (
            self.traffic.requests.swap(0, Relaxed),
            self.traffic.sent_bytes.swap(0, Relaxed),
        )
    }
}

struct Service {
    root: PathBuf,
    network: Network,
    traffic: Arc<Traffic>,
}

impl Service {
    fn answer(&self, connection: &mut Connection, request: &Request) -> io::Result<()> {
        let object = self.root.join(&request.path);
        let upload = request.parameter("uploadId").map(|id| self.root.join(id));
        match (request.method.as_str(), upload) {
            ("GET" | "HEAD", _) => self.get(connection, request, &object),
            ("PUT", None) => self.put(connection, request, &object),
            ("PUT", Some(upload)) => {
                let number = request.parameter("partNumber").unwrap_or_default();
                self.put(connection, request, &upload.with_extension(number))
            }
            ("POST", None) => {
                let id = format!("upload-{}", request.path.replace(['/', '.'], "-"));
                self.xml(
                    connection,
                    request,
                    &format!(
                        "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                    ),
                )
            }
            ("POST", Some(upload)) => {
                complete(&upload, &object)?;
                self.xml(
                    connection,
                    request,
                    &format!(
                        "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
                        etag(&object)?
                    ),
                )
            }
            _ => self.refuse(connection, request, 501),
        }
    }

    fn get(&self, connection: &mut Connection, request: &Request, object: &Path) -> io::Result<()> {
        let Ok(mut file) = File::open(object) else {
            return self.refuse(connection, request, 404);
        };
        let (bytes, etag) = (file.metadata()?.len(), etag(object)?);
        if request
            .header("if-match")
            .is_some_and(|wanted| wanted != etag)
        {
            return self.refuse(connection, request, 412);
        }
        let range = request
            .header("range")
            .and_then(|range| parse_range(range, bytes));
        let (status, range) = range.map_or((200, 0..bytes), |range| (206, range));
        let content_range = format!(
            "bytes {}-{}/{bytes}",
            range.start,
            range.end.saturating_sub(1)
        );
        thread::sleep(self.network.first_byte);
        let headers = [("ETag", etag.as_str()), ("Content-Range", &content_range)];
        let bytes = range.end - range.start;
        let to = connection.answer(status, &headers[..if status == 206 { 2 } else { 1 }], bytes)?;
        if request.method == "GET" {
            file.seek(SeekFrom::Start(range.start))?;
            self.traffic
                .sent_bytes
                .fetch_add(self.network.copy(&mut file, to, bytes)?, Relaxed);
        }
        Ok(())
    }

    fn put(&self, connection: &mut Connection, request: &Request, object: &Path) -> io::Result<()> {
        fs::create_dir_all(object.parent().unwrap_or(&self.root))?;
        let bytes = request.body_bytes();
        self.network
            .copy(&mut connection.body(bytes), &mut create(object)?, bytes)?;
        thread::sleep(self.network.first_byte);
        let checksum = request.header("x-amz-checksum-crc32c").unwrap_or_default();
        let headers = [
            ("ETag", etag(object)?),
            ("x-amz-checksum-crc32c", checksum.to_owned()),
        ];
        connection.answer(
            200,
            &headers
                .each_ref()
                .map(|(name, value)| (*name, value.as_str())),
            0,
        )?;
        Ok(())
    }

    fn xml(&self, connection: &mut Connection, request: &Request, text: &str) -> io::Result<()> {
        io::copy(&mut connection.body(request.body_bytes()), &mut io::sink())?;
        thread::sleep(self.network.first_byte);
        connection
            .answer(
                200,
                &[("Content-Type", "application/xml")],
                text.len() as u64,
            )?
            .write_all(text.as_bytes())
    }

    fn refuse(
        &self,
        connection: &mut Connection,
        request: &Request,
        status: u16,
    ) -> io::Result<()> {
        io::copy(&mut connection.body(request.body_bytes()), &mut io::sink())?;
        thread::sleep(self.network.first_byte);
        connection.answer(status, &[], 0)?;
        Ok(())
    }
}

/// Creates an object. An existing one is removed rather than overwritten: the file system would wait until its old
/// content is on disk.
fn create(object: &Path) -> io::Result<File> {
    let _ = fs::remove_file(object);
    File::create(object)
}

/// Joins the parts of an upload, which are files named by number.
fn complete(upload: &Path, object: &Path) -> io::Result<()> {
    let parts = (1..)
        .map(|number| upload.with_extension(number.to_string()))
        .take_while(|part| part.exists());
    let mut parts = parts.collect::<Vec<_>>().into_iter();
    fs::create_dir_all(object.parent().unwrap_or(upload))?;
    let _ = fs::remove_file(object);
    fs::rename(parts.next().ok_or(io::ErrorKind::NotFound)?, object)?;
    let mut joined = File::options().append(true).open(object)?;
    for part in parts {
        io::copy(&mut File::open(&part)?, &mut joined)?;
        fs::remove_file(part)?;
    }
    Ok(())
}

fn etag(object: &Path) -> io::Result<String> {
    let metadata = fs::metadata(object)?;
    let modified = metadata
        .modified()?
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(format!(
        "\"{:x}-{:x}\"",
        metadata.len(),
        modified.as_nanos()
    ))
}

/// The range in a `Range` header that has a first byte; `None` for other headers.
fn parse_range(header: &str, bytes: u64) -> Option<Range<u64>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let end = last.parse().map_or(bytes, |last: u64| bytes.min(last + 1));
    Some(first.parse().ok()?..end).filter(|range| range.start < range.end)
}
