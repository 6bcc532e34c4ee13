//! Reads and cuts fuzzed files. There must be no panic, no overflow, no disproportionate memory and no timeout.

#![no_main]

mod bounded;
mod boxes;
#[path = "../../tests/common/ways.rs"]
mod ways;

use bounded::bounded;
use bytes::Bytes;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mp4_cut::MAX_INDEX_BYTES;

fuzz_target!(|data: &[u8]| {
    let file = Bytes::copy_from_slice(data);
    // The fuzzer also chooses where the cut begins and ends.
    let [.., start, end] = data else { return };
    let [start, end] = [start, end].map(|byte| f64::from(*byte) / 255.0);
    bounded(data, inflated_bytes(data), || {
        ways::cut_in_every_way(&file, start..end);
    });
});

/// The length that a compressed index may be inflated to, up to twice the limit.
fn inflated_bytes(data: &[u8]) -> usize {
    let limit = usize::try_from(MAX_INDEX_BYTES).unwrap_or(usize::MAX);
    if data.windows(4).any(|bytes| bytes == b"cmvd") {
        2 * limit
    } else {
        0
    }
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    boxes::mutate(data, size, max_size, seed)
});
