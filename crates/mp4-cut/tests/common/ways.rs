//! Does everything once that can be done with an untrusted file, for property tests and fuzzing.

use bytes::Bytes;
use futures_executor::block_on;
use futures_util::{Stream, TryStreamExt};
use mp4_cut::{Encoded, Error, Join, Movie, Opened, Result, SmartCut, SmartCutError, Window};
use std::ops::Range;

/// Reads `file` and cuts it in every way from one part of its length to another: 0 is its start, 1 its end. Returns the
/// errors; panics on a failure that is not the file's fault.
pub fn cut_in_every_way(file: &Bytes, part: Range<f64>) -> Vec<Error> {
    block_on(async {
        let mut raised = Vec::new();
        match Movie::open(file).await {
            Err(error) => raised.push(error),
            Ok(Opened::Other(_)) => {}
            Ok(Opened::Edited(movie)) => {
                let seconds = movie.facts.duration_seconds;
                for (start, end) in movie.parts(part.start * seconds, part.end * seconds) {
                    let piece = movie.piece(start, end);
                    raised.extend(cut(file, piece, start..end).await.err());
                    raised.extend(join(file, piece, start..end).await.err());
                }
            }
            Ok(Opened::Fragmented(movie)) => {
                let seconds = movie.facts.duration_seconds;
                let interval = part.start * seconds..part.end * seconds;
                match movie.part(file, interval.start, interval.end).await {
                    Ok(movie) => raised.extend(cut(file, &movie, interval).await.err()),
                    Err(error) => raised.push(error),
                }
            }
            Ok(Opened::Indexed(movie)) => {
                let movie = *movie;
                let seconds = movie.facts.duration_seconds;
                let interval = part.start * seconds..part.end * seconds;
                raised.extend(cut(file, &movie, interval.clone()).await.err());
                raised.extend(join(file, &movie, interval.clone()).await.err());
                let cuts = [
                    (&movie, file, interval.start, interval.end),
                    (&movie, file, 0.0, interval.end),
                ];
                raised.extend(
                    smart_cut(file, &movie, 2, SmartCut::of(&cuts).await)
                        .await
                        .err(),
                );
                let all = SmartCut::of_all(&[(movie.clone(), file.clone())]).await;
                raised.extend(smart_cut(file, &movie, 1, all).await.err());
            }
        }
        raised.extend(Movie::read_edits(file).await.err());
        for error in &raised {
            assert!(
                !matches!(error, Error::Internal(_) | Error::Read(_)),
                "{error}"
            );
        }
        raised
    })
}

async fn cut(file: &Bytes, movie: &Movie, interval: Range<f64>) -> Result<()> {
    let window = movie.window(interval.start, interval.end)?;
    let clip = collect(window.stream(file, 4), window.facts.output_bytes).await?;
    assert!(window.timing.last_frame_duration > 0);
    // Senseless times make an unreadable clip, so an error is fine here.
    Movie::read(&clip).await.map(drop)
}

async fn join(file: &Bytes, movie: &Movie, interval: Range<f64>) -> Result<()> {
    let join = Join::of(&[
        (movie, interval.start, interval.end),
        (movie, 0.0, interval.end),
    ])?;
    let clip = collect(join.stream(vec![file, file], 4), join.bytes).await?;
    Movie::read_edits(&clip).await.map(drop)
}

/// Makes a smart-cut clip of `count` cuts. In place of encoded parts it uses the source's own frames: they have the
/// right form and the wrong parameters.
async fn smart_cut(
    file: &Bytes,
    movie: &Movie,
    count: usize,
    smart_cut: Result<SmartCut, SmartCutError>,
) -> Result<()> {
    let smart_clip = match smart_cut {
        Ok(smart_cut) => {
            let mut encoded = Vec::new();
            for cut in &smart_cut.cuts {
                encoded.push(Encoded {
                    head: part(file, cut.head(movie)?).await?,
                    tail: part(file, cut.tail(movie)?).await?,
                });
            }
            let files = vec![(movie.clone(), file.clone()); count];
            smart_cut
                .join(
                    &files,
                    encoded,
                    vec![file.clone(); SmartCut::audio_tracks(&files)],
                )
                .await
        }
        Err(why) => Err(why),
    };
    match smart_clip {
        Ok(smart_clip) => {
            let bytes = smart_clip.output_bytes;
            collect(smart_clip.stream(), bytes).await.map(drop)
        }
        Err(SmartCutError::Ineligible(_)) => Ok(()),
        Err(SmartCutError::Failed(error)) => Err(error),
    }
}

async fn part(file: &Bytes, window: Option<Window>) -> Result<Option<Bytes>> {
    match window {
        Some(window) => collect(window.stream(file, 1), window.facts.output_bytes)
            .await
            .map(Some),
        None => Ok(None),
    }
}

/// The bytes of a clip that is to be `bytes` long.
async fn collect(stream: impl Stream<Item = Result<Bytes>>, bytes: u64) -> Result<Bytes> {
    let mut clip = Vec::new();
    let mut stream = std::pin::pin!(stream);
    while let Some(part) = stream.try_next().await? {
        clip.extend_from_slice(&part);
    }
    assert_eq!(clip.len() as u64, bytes);
    Ok(clip.into())
}
