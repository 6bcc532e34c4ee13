//! Parameter sets that lie among the pictures of a source.

use crate::{
    error::Result,
    h264, hevc,
    io::{RangeRead, fetch},
    read::{samples::SampleTable, track::Track},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

/// Bytes of a sample that are read: more than its parameter sets and messages take.
const HEAD_BYTES: u64 = 16 << 10;
/// Samples that are read at once.
const HEADS_AT_ONCE: usize = 8;

/// Puts the parameter sets that the first keyframe has into the track's sample description, where that may lack them, and
/// has it say that they are there: Apple's players show nothing of a clip that says otherwise, and a copy that begins
/// later may not have them. What cannot be read stays as it is. Returns whether something was changed.
///
/// # Errors
/// Whatever the source raises.
pub(crate) async fn describe(track: &mut Track, source: &impl RangeRead) -> Result<bool> {
    let stsd = &track.samples.descriptions;
    let may_lack_sets = match track.codec.as_str() {
        "h264" => h264::needs_sets_of_samples(stsd),
        "hevc" => hevc::needs_sets_of_samples(stsd),
        _ => false,
    };
    if !may_lack_sets {
        return Ok(false);
    }
    let first = track.samples.first_keyframes().take(1).collect();
    let heads = heads(&track.samples, source, first).await?;
    Ok(add(track, &heads))
}

/// The beginnings of samples.
///
/// # Errors
/// Whatever the source raises.
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

/// Puts the parameter sets of samples that begin with `heads`, in order, into a track's sample description. Returns whether
/// it lacked some.
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
