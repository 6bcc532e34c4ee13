//! What a clip is cut from: a local file, a file on a web server, or an object in S3.

use super::http::HttpSource;
use crate::{deployment::Target, failure::Failure, requests};
use aws::source::S3Source;
use bytes::Bytes;
use model::parse;
use mp4_cut::io::{LocalFile, RangeRead};
use std::{
    fs, io,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// A source that counts the bytes read from it.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, without potential secrets.
    pub name: String,
    at: At,
    /// Bytes from its beginning that were read when it was opened.
    head_bytes: u64,
    read_bytes: Arc<AtomicU64>,
}

#[derive(Debug, Clone)]
enum At {
    File(LocalFile),
    Http(Box<HttpSource>),
    S3(Box<S3Source>),
}

impl Source {
    /// Opens what `name` names. Adds the bytes read from it to `read_bytes`.
    ///
    /// # Errors
    /// Not found if there is nothing with that name; wrong usage if the name is invalid; otherwise why it cannot be
    /// read.
    pub async fn open(
        name: &str,
        target: &Target,
        read_bytes: Arc<AtomicU64>,
    ) -> Result<Self, Failure> {
        let at = match name.split_once("://") {
            Some(("http" | "https", _)) => At::Http(Box::new(HttpSource::pin(name).await?)),
            Some(("s3", _)) => At::S3(Box::new(object(name, target).await?)),
            _ => At::File(file(Path::new(name))?),
        };
        let (name, head_bytes) = match &at {
            At::File(_) => (name, 0),
            At::Http(source) => (source.name(), source.head_bytes()),
            At::S3(source) => (name, source.head_bytes()),
        };
        read_bytes.fetch_add(head_bytes, Relaxed);
        Ok(Self {
            name: name.to_owned(),
            at,
            head_bytes,
            read_bytes,
        })
    }
}

impl RangeRead for Source {
    fn len(&self) -> u64 {
        match &self.at {
            At::File(file) => file.len(),
            At::Http(source) => source.len(),
            At::S3(source) => source.len(),
        }
    }

    async fn read(&self, range: Range<u64>) -> mp4_cut::Result<Bytes> {
        let is_read_before = range.end <= self.head_bytes;
        let read = match &self.at {
            At::File(file) => file.read(range).await?,
            At::Http(source) => source.read(range).await?,
            At::S3(source) => source.read(range).await?,
        };
        if !is_read_before {
            self.read_bytes.fetch_add(read.len() as u64, Relaxed);
        }
        Ok(read)
    }
}

async fn object(uri: &str, target: &Target) -> Result<S3Source, Failure> {
    let source = requests::source(uri).map_err(Failure::usage)?;
    let client = aws_sdk_s3::Client::new(&target.sdk_config().await?);
    Ok(S3Source::pin(client, &parse(source)?).await?)
}

fn file(path: &Path) -> Result<LocalFile, Failure> {
    let named = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Failure::usage(named(
            &"is no file that can be read at any place",
        ))),
        Ok(_) => LocalFile::open(path).map_err(|error| Failure::new(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::not_found(named(&"there is no such file")))
        }
        Err(error) => Err(Failure::new(named(&error))),
    }
}
