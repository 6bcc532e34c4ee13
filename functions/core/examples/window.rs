//! Cuts an interval out of a local MP4: `window IN OUT START END`. Prints what a function would have fetched.

use bytes::Bytes;
use clipflow_core::{ClipError, mp4::Movie, range::RangeRead};
use futures::TryStreamExt;
use std::{
    fs::File,
    io::Write,
    ops::Range,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicU64, Ordering},
};

/// A file read by range, which counts what is read of it.
struct CountedFile {
    file: File,
    length: u64,
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl RangeRead for CountedFile {
    fn len(&self) -> u64 {
        self.length
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ClipError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes
            .fetch_add(range.end - range.start, Ordering::Relaxed);
        let mut part = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        self.file
            .read_exact_at(&mut part, range.start)
            .map_err(|error| ClipError::internal(format!("read of bytes {range:?}: {error}")))?;
        Ok(part.into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, start, end] = arguments.as_slice() else {
        return Err("usage: window IN OUT START END".into());
    };
    let file = File::open(input)?;
    let source = CountedFile {
        length: file.metadata()?.len(),
        file,
        reads: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    let fetched = || {
        (
            source.reads.load(Ordering::Relaxed),
            source.bytes.load(Ordering::Relaxed),
        )
    };

    let movie = Movie::read(&source).await?;
    let (index_reads, index_bytes) = fetched();
    let window = movie.window(start.parse()?, end.parse()?)?;
    let mut out = File::create(output)?;
    let mut stream = std::pin::pin!(window.stream(&source, 4));
    while let Some(part) = stream.try_next().await? {
        out.write_all(&part)?;
    }
    let (reads, bytes) = fetched();
    let report = serde_json::json!({
        "facts": movie.facts,
        "window": window.facts,
        "encodeArguments": window.encode_arguments(),
        "indexReads": index_reads,
        "indexBytesRead": index_bytes,
        "sampleReads": reads - index_reads,
        "sampleBytesRead": bytes - index_bytes,
    });
    println!("{report:#}");
    Ok(())
}
