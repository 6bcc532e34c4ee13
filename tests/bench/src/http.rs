//! HTTP/1.1 on loopback: one thread per connection, bodies of known length, and as little CPU work as possible, because
//! what we measure runs on the same machine.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Take, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

const MAX_HEADERS: usize = 64;
/// Bytes that a connection reads ahead.
const BUFFER_BYTES: usize = 256 * 1024;

/// The head of a request.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// Without the leading slash and the query.
    pub path: String,
    query: HashMap<String, String>,
    headers: HashMap<String, String>,
}

impl Request {
    /// The value of a query parameter; empty for one without a value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// How long the body is.
    pub fn body_bytes(&self) -> u64 {
        self.header("content-length")
            .and_then(|bytes| bytes.parse().ok())
            .unwrap_or(0)
    }
}

/// A connection, on the server's or the client's side.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::of(TcpStream::connect(address)?)
    }

    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(BUFFER_BYTES, stream)))
    }

    /// The next request; `None` when the client has closed the connection.
    fn request(&mut self) -> io::Result<Option<Request>> {
        let head = self.head()?;
        if head.is_empty() {
            return Ok(None);
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        parsed.parse(&head).map_err(io::Error::other)?;
        let (path, query) = parsed
            .path
            .unwrap_or_default()
            .split_once('?')
            .unwrap_or((parsed.path.unwrap_or("/"), ""));
        let pair = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        Ok(Some(Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.trim_start_matches('/').to_owned(),
            query: query.split('&').map(pair).collect(),
            headers: lower(parsed.headers),
        }))
    }

    /// Sends a request and returns the length of the response body, which is read next.
    ///
    /// # Errors
    /// If the connection breaks, or the response is not a success.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &mut impl Read,
        body_bytes: u64,
    ) -> io::Result<u64> {
        write!(
            self.0.get_mut(),
            "{method} /{path} HTTP/1.1\r\nHost: s3\r\nContent-Length: {body_bytes}\r\n\r\n"
        )?;
        io::copy(body, self.0.get_mut())?;
        let head = self.head()?;
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        parsed.parse(&head).map_err(io::Error::other)?;
        match parsed.code {
            Some(200..300) => {}
            code => {
                return Err(io::Error::other(format!(
                    "{method} /{path}: status {code:?}"
                )));
            }
        }
        Ok(lower(parsed.headers)
            .get("content-length")
            .and_then(|bytes| bytes.parse().ok())
            .unwrap_or(0))
    }

    fn head(&mut self) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.0.read_until(b'\n', &mut head)? == 0 {
                return if head.is_empty() {
                    Ok(head)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
        Ok(head)
    }

    /// The next `bytes` of a body.
    pub fn body(&mut self, bytes: u64) -> Take<&mut BufReader<TcpStream>> {
        self.0.by_ref().take(bytes)
    }

    /// Writes the head of a response, and returns where to write its body of `bytes`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn answer(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        bytes: u64,
    ) -> io::Result<&mut TcpStream> {
        let mut head = format!("HTTP/1.1 {status} \r\nContent-Length: {bytes}\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }
}

fn lower(headers: &[httparse::Header]) -> HashMap<String, String> {
    let text = |value| String::from_utf8_lossy(value).into_owned();
    headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
        .collect()
}

/// Answers requests on a free port of loopback until the process ends. `answer` must read the body and answer.
///
/// # Errors
/// When there is no free port.
pub fn serve(
    answer: impl Fn(&mut Connection, &Request) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            // The client notices a broken connection.
            thread::spawn(move || -> io::Result<()> {
                let mut connection = Connection::of(stream)?;
                while let Some(request) = connection.request()? {
                    answer(&mut connection, &request)?;
                }
                Ok(())
            });
        }
    });
    Ok(address)
}
