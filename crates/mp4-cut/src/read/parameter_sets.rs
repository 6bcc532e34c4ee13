//! Parameter sets in the samples of a source.

use crate::{
    error::Result,
    h264, hevc,
    io::{RangeRead, fetch},
    read::{samples::SampleTable, track::Track},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::iter;

/// Bytes of a sample that are read: more than its parameter sets and SEI messages need.
pub(crate) const HEAD_BYTES: u64 = 16 << 10;
/// Samples that are read at once.
const HEADS_AT_ONCE: usize = 8;
/// The most keyframes in which the parameter sets are looked for that hold at a later one.
const MAX_KEYFRAMES: usize = 256;

/// Puts the parameter sets that the first keyframe has into the track's sample description, which may lack them or have
/// others, and has it say that they are there: Apple's players show nothing of a clip that says otherwise, and a copy that
/// begins later may not have them. What cannot be read stays as it is. Returns whether something was changed.
///
/// # Errors
/// Any error from the source.
pub(crate) async fn describe(track: &mut Track, source: &impl RangeRead) -> Result<bool> {
    if !matches!(track.codec.as_str(), "h264" | "hevc") {
        return Ok(false);
    }
    let first = track.samples.first_keyframes().take(1).collect();
    let heads = heads(&track.samples, source, first).await?;
    track.samples.has_parameter_sets = heads.iter().any(|head| has_sets(track, head));
    Ok(add(track, &heads))
}

/// Has the sample description say which parameter sets hold at the keyframe `sample`, where samples have some: those of the
/// last keyframe up to there that has some.
///
/// # Errors
/// Any error from the source.
pub(crate) async fn describe_at(
    track: &mut Track,
    source: &impl RangeRead,
    sample: u32,
) -> Result<()> {
    let all = track.samples.first_keyframes();
    let mut keyframes: Vec<u32> = all.take_while(|keyframe| *keyframe <= sample).collect();
    keyframes.reverse();
    keyframes.truncate(MAX_KEYFRAMES);
    let (own, before) = keyframes.split_at(keyframes.len().min(1));
    for some in iter::once(own).chain(before.chunks(HEADS_AT_ONCE)) {
        let heads = heads(&track.samples, source, some.to_vec()).await?;
        if let Some(head) = heads.into_iter().find(|head| has_sets(track, head)) {
            add(track, &[head]);
            break;
        }
    }
    Ok(())
}

/// Whether parameter sets are in a sample that begins with `head`.
fn has_sets(track: &Track, head: &[u8]) -> bool {
    let stsd = &track.samples.descriptions;
    match track.codec.as_str() {
        "h264" => h264::has_sets(stsd, head),
        "hevc" => hevc::has_sets(stsd, head),
        _ => false,
    }
}

/// The beginnings of samples.
///
/// # Errors
/// Any error from the source.
pub(crate) async fn heads(
    table: &SampleTable,
    source: &impl RangeRead,
    samples: Vec<u32>,
) -> Result<Vec<Bytes>> {
    let runs = samples
        .into_iter()
        .filter_map(|sample| table.chunk_runs(sample..sample + 1).next());
    let reads = runs.map(|run| {
        let head = run.offset..run.offset + run.bytes.min(HEAD_BYTES);
        fetch::read_exact(source, head)
    });
    let reads: Vec<_> = reads.collect();
    stream::iter(reads)
        .buffered(HEADS_AT_ONCE)
        .try_collect()
        .await
}

/// Adds the parameter sets of samples that begin with `heads`, in order, to a track's sample description. Returns
/// whether it lacked some.
pub(crate) fn add(track: &mut Track, heads: &[Bytes]) -> bool {
    let stsd = &track.samples.descriptions;
    let described = match track.codec.as_str() {
        "h264" => h264::with_sets_of_samples(stsd, heads),
        "hevc" => hevc::with_sets_of_samples(stsd, heads),
        _ => None,
    };
    let is_changed = described.is_some();
    if let Some(described) = described {
        track.samples.descriptions = described;
    }
    is_changed
}
