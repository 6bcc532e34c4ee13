//! Uploads a local file, once, to where the deployment can read it: its key is the hash of its content.

use crate::{deployment::Outputs, failure::Failure, render};
use aws::upload::{self, Destination};
use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use indicatif::ProgressBar;
use model::ClipError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::Metadata,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::{fs::File, io::AsyncReadExt, signal};

/// What the keys of uploaded files begin with.
const PREFIX: &str = "uploads/";
/// The longest file, in bytes: S3 allows 10,000 parts, and an upload has parts of 8 MiB.
const MAX_BYTES: u64 = 10_000 * 8 * 1024 * 1024;
/// How much of a file is read at once, in bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// The signal of Ctrl-C.
const INTERRUPT: u8 = 2;

/// A file, and where it goes.
#[derive(Debug)]
pub struct Upload {
    path: PathBuf,
    bytes: u64,
    /// The SHA-256 of its content.
    hash: String,
    bucket: String,
    key: String,
}

impl Upload {
    /// Reads the file to compute its key.
    ///
    /// # Errors
    /// Not found if there is no such file; wrong usage if it is not a regular file or too long, or there is no bucket
    /// for it.
    pub async fn of(
        path: &Path,
        outputs: &Outputs,
        wanted_bucket: Option<&str>,
    ) -> Result<Self, Failure> {
        let bucket = bucket(outputs, wanted_bucket)?.to_owned();
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::not_found(format!(
                "{}: there is no such file; an object is s3://BUCKET/KEY",
                path.display()
            )),
            _ => unreadable(path, &error).into(),
        })?;
        let bytes = usable(path, &metadata)?;
        let bar = render::byte_bar(bytes, "reading");
        let hash = hash_of(path, &bar).await?;
        bar.finish_and_clear();
        let key = key(path, &hash);
        Ok(Self {
            path: path.to_owned(),
            bytes,
            hash,
            bucket,
            key,
        })
    }

    /// The object, as written in a request.
    pub fn object(&self) -> Value {
        json!({"bucket": self.bucket, "key": self.key})
    }

    /// The object's URI.
    pub fn uri(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }

    /// Uploads the file, unless it already exists. Prints which.
    ///
    /// # Errors
    /// If it cannot be written, or changes while it is read; interrupted after Ctrl-C. No part of it is left in these
    /// cases.
    pub async fn send(&self, client: &aws_sdk_s3::Client) -> Result<(), Failure> {
        // Without the permission to look, it is uploaded.
        let found = upload::find(client, &self.bucket, &self.key).await;
        if let Ok(Some(found)) = found
            && found.object.bytes == self.bytes
        {
            eprintln!("{} is there already", self.uri());
            return Ok(());
        }
        let bar = render::byte_bar(self.bytes, "uploading");
        let interrupted = Arc::new(AtomicBool::new(false));
        let to = Destination {
            bucket: &self.bucket,
            key: &self.key,
            content_type: "application/octet-stream",
            metadata: HashMap::new(),
        };
        let content = self.content(bar.clone(), interrupted.clone()).await?;
        let put = upload::put(client, &to, content).await;
        bar.finish_and_clear();
        put.map_err(|error| {
            if interrupted.load(Relaxed) {
                Failure::interrupted(INTERRUPT)
            } else {
                self.failure(&error)
            }
        })?;
        eprintln!("uploaded {} to {}", render::bytes(self.bytes), self.uri());
        Ok(())
    }

    /// The file's content; fails if it differs from what was hashed, and after Ctrl-C.
    async fn content(
        &self,
        bar: ProgressBar,
        interrupted: Arc<AtomicBool>,
    ) -> Result<impl Stream<Item = Result<Bytes, ClipError>>, ClipError> {
        let file = File::open(&self.path).await;
        let reading = Reading {
            file: file.map_err(|error| unreadable(&self.path, &error))?,
            hasher: Sha256::new(),
            interrupt: Box::pin(signal::ctrl_c()),
        };
        let (path, hash) = (self.path.clone(), self.hash.clone());
        Ok(stream::try_unfold(reading, move |mut reading| {
            let (path, hash, bar) = (path.clone(), hash.clone(), bar.clone());
            let interrupted = interrupted.clone();
            async move {
                let mut piece = BytesMut::with_capacity(PIECE_BYTES);
                let read = tokio::select! {
                    read = reading.file.read_buf(&mut piece) => read,
                    _ = &mut reading.interrupt => {
                        interrupted.store(true, Relaxed);
                        return Err(ClipError::internal("interrupted"));
                    }
                };
                if read.map_err(|error| unreadable(&path, &error))? == 0 {
                    if hex::encode(reading.hasher.finalize()) == hash {
                        return Ok(None);
                    }
                    let changed = format!("{} changed while it was uploaded", path.display());
                    return Err(ClipError::internal(changed));
                }
                reading.hasher.update(&piece);
                bar.inc(piece.len() as u64);
                Ok(Some((piece.freeze(), reading)))
            }
        }))
    }

    fn failure(&self, error: &ClipError) -> Failure {
        let message = &error.message;
        if message.contains("s3:PutObject") {
            return Failure::new(format!(
                "{} may not be written: your policy needs s3:PutObject on arn:aws:s3:::{}/{PREFIX}*, as \
                 operator_policy has it. {message}",
                self.uri(),
                self.bucket
            ));
        }
        Failure::new(message)
    }
}

/// Reads and hashes a file; stops on Ctrl-C.
struct Reading {
    file: File,
    hasher: Sha256,
    interrupt: Pin<Box<dyn Future<Output = io::Result<()>> + Send>>,
}

/// The bucket that files go to.
fn bucket<'a>(outputs: &'a Outputs, wanted: Option<&'a str>) -> Result<&'a str, Failure> {
    let known = outputs.source_buckets.as_deref().unwrap_or_default();
    match (wanted, known) {
        (Some(wanted), known) if !known.is_empty() && !known.iter().any(|one| one == wanted) => {
            Err(Failure::usage(format!(
                "--bucket: {wanted} is no source bucket of this deployment; it has {}",
                known.join(", ")
            )))
        }
        (Some(wanted), _) => Ok(wanted),
        (None, known) => match (outputs.source_bucket.as_deref(), known) {
            (Some(own), _) => Ok(own),
            (None, [one]) => Ok(one),
            (None, []) => Err(Failure::usage(
                "nothing says which source buckets the deployment has, so a file cannot be uploaded; name one with \
                 --bucket",
            )),
            (None, several) => Err(Failure::usage(format!(
                "which source bucket is the file uploaded to? Say --bucket with one of {}",
                several.join(", ")
            ))),
        },
    }
}

/// The length of a file that can be uploaded, in bytes.
fn usable(path: &Path, metadata: &Metadata) -> Result<u64, Failure> {
    let refused = |why: &str| Err(Failure::usage(format!("{}: {why}", path.display())));
    match metadata.len() {
        _ if !metadata.is_file() => refused("is no file"),
        0 => refused("is empty"),
        MAX_BYTES.. => refused(
            "is longer than 83 GB; upload it with another program and name its s3://BUCKET/KEY",
        ),
        bytes => Ok(bytes),
    }
}

/// The content's hash with the file's extension, for people who look at the bucket.
fn key(path: &Path, hash: &str) -> String {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let is_plain = |ending: &&str| {
        ending.len() <= 5 && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    match ending.filter(is_plain) {
        Some(ending) => format!("{PREFIX}{hash}.{}", ending.to_ascii_lowercase()),
        None => format!("{PREFIX}{hash}"),
    }
}

async fn hash_of(path: &Path, bar: &ProgressBar) -> Result<String, ClipError> {
    let unreadable = |error| unreadable(path, &error);
    let mut file = File::open(path).await.map_err(unreadable)?;
    let (mut hasher, mut piece) = (Sha256::new(), BytesMut::with_capacity(PIECE_BYTES));
    while file.read_buf(&mut piece).await.map_err(unreadable)? > 0 {
        hasher.update(&piece);
        bar.inc(piece.len() as u64);
        piece.clear();
    }
    Ok(hex::encode(hasher.finalize()))
}

fn unreadable(path: &Path, error: &io::Error) -> ClipError {
    ClipError::internal(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::operation::head_object::HeadObjectError;
    use aws_sdk_s3::{
        Client,
        error::ErrorMetadata,
        operation::{
            head_object::HeadObjectOutput,
            put_object::{PutObjectError, PutObjectOutput},
        },
        types::error::NotFound,
    };
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    fn outputs(source_buckets: &[&str], source_bucket: Option<&str>) -> Outputs {
        let outputs = json!({"state_machine_arn": "arn:m", "source_buckets": source_buckets, "source_bucket": source_bucket});
        serde_json::from_value(outputs).expect("outputs")
    }

    #[test]
    fn file_goes_to_the_only_source_bucket_to_the_stack_s_own_or_to_the_one_that_is_named() {
        let one = outputs(&["archive"], None);
        assert_eq!(bucket(&one, None).expect("it has one"), "archive");
        let local = outputs(&["absent", "sources"], Some("sources"));
        assert_eq!(bucket(&local, None).expect("its own"), "sources");
        assert_eq!(bucket(&local, Some("absent")).expect("named"), "absent");
        let unknown = outputs(&[], None);
        assert_eq!(bucket(&unknown, Some("mine")).expect("named"), "mine");
        for (outputs, wanted, said) in [
            (&unknown, None, "name one with --bucket"),
            (
                &outputs(&["a1", "b1"], None),
                None,
                "Say --bucket with one of a1, b1",
            ),
            (
                &one,
                Some("mine"),
                "mine is no source bucket of this deployment; it has archive",
            ),
        ] {
            let failure = bucket(outputs, wanted).expect_err("it is refused");
            assert_eq!(failure.code, 2);
            assert!(failure.message.contains(said), "{}", failure.message);
        }
    }

    #[test]
    fn key_is_the_content_s_hash_with_a_plain_ending() {
        for (name, expected) in [
            ("a b/Née.MOV", "uploads/0a1b.mov"),
            ("a", "uploads/0a1b"),
            ("a.m?4", "uploads/0a1b"),
            ("a.toolong", "uploads/0a1b"),
        ] {
            assert_eq!(key(Path::new(name), "0a1b"), expected, "{name}");
        }
    }

    async fn upload_of(content: &[u8], folder: &Path) -> Upload {
        let path = folder.join("a.mp4");
        std::fs::write(&path, content).expect("a file");
        let upload = Upload::of(&path, &outputs(&["archive"], None), None).await;
        upload.expect("a file that can be uploaded")
    }

    #[tokio::test]
    async fn object_that_is_there_is_not_sent_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let upload = upload_of(b"film", folder.path()).await;
        let hash = hex::encode(Sha256::digest(b"film"));
        assert_eq!(
            upload.object(),
            json!({"bucket": "archive", "key": format!("uploads/{hash}.mp4")})
        );
        let found = mock!(Client::head_object)
            .then_output(|| HeadObjectOutput::builder().content_length(4).build());
        let put = mock!(Client::put_object).then_output(|| PutObjectOutput::builder().build());
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&found, &put]);
        upload.send(&client).await.expect("nothing to do");
        assert_eq!((found.num_calls(), put.num_calls()), (1, 0));
    }

    fn absent() -> aws_smithy_mocks::Rule {
        mock!(Client::head_object)
            .then_error(|| HeadObjectError::NotFound(NotFound::builder().build()))
    }

    #[tokio::test]
    async fn file_that_changes_while_it_is_uploaded_is_not_put() {
        let folder = tempfile::tempdir().expect("a folder");
        let upload = upload_of(b"film", folder.path()).await;
        std::fs::write(folder.path().join("a.mp4"), b"flim").expect("a file");
        let put = mock!(Client::put_object).then_output(|| PutObjectOutput::builder().build());
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&absent(), &put]);
        let failure = upload.send(&client).await.expect_err("it is another film");
        assert!(
            failure.message.ends_with("changed while it was uploaded"),
            "{}",
            failure.message
        );
        assert_eq!(put.num_calls(), 0);
    }

    #[tokio::test]
    async fn upload_that_is_denied_names_the_permission() {
        let folder = tempfile::tempdir().expect("a folder");
        let upload = upload_of(b"film", folder.path()).await;
        let put = mock!(Client::put_object).then_error(|| {
            PutObjectError::generic(ErrorMetadata::builder().code("AccessDenied").build())
        });
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&absent(), &put]);
        let failure = upload.send(&client).await.expect_err("it is denied");
        let needed = "your policy needs s3:PutObject on arn:aws:s3:::archive/uploads/*";
        assert!(failure.message.contains(needed), "{}", failure.message);
        let has_it = "as operator_policy has it";
        assert!(failure.message.contains(has_it), "{}", failure.message);
    }

    #[tokio::test]
    async fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let outputs = outputs(&["archive"], None);
        let code = async |path: &Path| {
            let upload = Upload::of(path, &outputs, None).await;
            upload.expect_err("nothing to upload").code
        };
        assert_eq!(code(&folder.path().join("absent.mp4")).await, 3);
        assert_eq!(code(folder.path()).await, 2);
        let empty = folder.path().join("empty.mp4");
        std::fs::write(&empty, b"").expect("a file");
        assert_eq!(code(&empty).await, 2);
    }
}
