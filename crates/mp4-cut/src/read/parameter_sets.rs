//! Parameter sets that lie among the pictures of a source.

use crate::{
    error::Result,
    hevc,
    io::{RangeRead, fetch},
    read::track::Track,
};

/// Bytes of the first sample that are read: more than its parameter sets and messages take.
const HEAD_BYTES: u64 = 16 << 10;

/// Puts the parameter sets of H.265 that the first picture has into the track's sample description, which then says that
/// they are there: Apple's players show nothing of a clip that says otherwise. What cannot be read stays as it is.
///
/// # Errors
/// Whatever the source raises.
pub(crate) async fn describe(track: &mut Track, source: &impl RangeRead) -> Result<()> {
    let table = &mut track.samples;
    if track.codec != "hevc" || !hevc::needs_sets_of_samples(&table.descriptions) {
        return Ok(());
    }
    let Some(first) = table.chunk_runs(0..1).next() else {
        return Ok(());
    };
    let head = first.offset..first.offset + first.bytes.min(HEAD_BYTES);
    let head = fetch::read_exact(source, head).await?;
    if let Some(described) = hevc::with_sets_of_samples(&table.descriptions, &head) {
        table.descriptions = described;
    }
    Ok(())
}
