//! Everything that is done with a file that anybody may have made, once: for property tests, and for fuzzing.

use bytes::Bytes;
use clipflow_core::{
    ClipError, ErrorKind,
    mp4::{Encoded, Join, Movie, Splice, Unspliced},
};
use futures::{Stream, TryStreamExt, executor::block_on};
use std::ops::Range;

/// Reads `file` and cuts it in every way from one part of its length to another: 0 is its start, 1 its end. Returns
/// what was raised; a failure that is not the file's fault is a panic.
pub fn cut_in_every_way(file: &Bytes, part: Range<f64>) -> Vec<ClipError> {
    block_on(async {
        let mut raised = Vec::new();
        raised.extend(Movie::open(file).await.err());
        match Movie::read(file).await {
            Err(error) => raised.push(error),
            Ok(movie) => {
                let seconds = movie.facts.duration_seconds;
                let interval = part.start * seconds..part.end * seconds;
                raised.extend(cut(file, &movie, interval.clone()).await.err());
                raised.extend(join(file, &movie, interval.clone()).await.err());
                raised.extend(splice(file, &movie, Some(interval)).await.err());
                raised.extend(splice(file, &movie, None).await.err());
            }
        }
        raised.extend(Movie::read_pieces(file).await.err());
        for error in &raised {
            assert_ne!(error.kind, ErrorKind::Internal, "{error}");
        }
        raised
    })
}

async fn cut(file: &Bytes, movie: &Movie, interval: Range<f64>) -> Result<(), ClipError> {
    let window = movie.window(interval.start, interval.end)?;
    let clip = collect(window.stream(file, 4), window.facts.output_bytes).await?;
    assert!(!window.encode_arguments().is_empty());
    // Times that make no sense make a clip of none.
    Movie::read(&clip).await.map(drop)
}

async fn join(file: &Bytes, movie: &Movie, interval: Range<f64>) -> Result<(), ClipError> {
    let join = Join::of(&[(movie, interval.start, interval.end), (movie, 0.0, interval.end)])?;
    let clip = collect(join.stream(vec![file, file], 4), join.bytes).await?;
    Movie::read_pieces(&clip).await.map(drop)
}

/// Splices an interval, or everything. The parts that an encoder would make are the source's own frames: they have the
/// right form and the wrong parameters.
async fn splice(file: &Bytes, movie: &Movie, interval: Option<Range<f64>>) -> Result<(), ClipError> {
    let splice = match interval {
        Some(Range { start, end }) => movie.splice(file, start, end).await,
        None => movie.splice_all(file).await,
    };
    let spliced = match splice {
        Ok(splice) => {
            let mut parts = Vec::new();
            for window in [splice.head(movie)?, splice.tail(movie)?] {
                parts.push(match window {
                    Some(window) => Some(collect(window.stream(file, 1), window.facts.output_bytes).await?),
                    None => None,
                });
            }
            assert!(!splice.encode_arguments().is_empty());
            let sound = vec![file.clone(); Splice::sound_tracks(movie)];
            let encoded = Encoded { tail: parts.pop().flatten(), head: parts.pop().flatten(), sound };
            splice.join(movie, file.clone(), encoded).await
        }
        Err(why) => Err(why),
    };
    match spliced {
        Ok(spliced) => {
            let bytes = spliced.output_bytes;
            collect(spliced.stream(), bytes).await.map(drop)
        }
        Err(Unspliced::Unfit(_)) => Ok(()),
        Err(Unspliced::Failed(error)) => Err(error),
    }
}

/// The bytes of a clip that is to be `bytes` long.
async fn collect(stream: impl Stream<Item = Result<Bytes, ClipError>>, bytes: u64) -> Result<Bytes, ClipError> {
    let mut clip = Vec::new();
    let mut stream = std::pin::pin!(stream);
    while let Some(part) = stream.try_next().await? {
        clip.extend_from_slice(&part);
    }
    assert_eq!(clip.len() as u64, bytes);
    Ok(clip.into())
}
