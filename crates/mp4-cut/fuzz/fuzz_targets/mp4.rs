//! Reads and cuts files that a fuzzer makes: no panic, no sum that overflows, no memory out of proportion, no end of
//! the time that libFuzzer gives it.

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
    // Where the cut begins and ends is up to the fuzzer as well.
    let [.., start, end] = data else { return };
    let [start, end] = [start, end].map(|byte| f64::from(*byte) / 255.0);
    bounded(data, inflated_bytes(data), || {
        ways::cut_in_every_way(&file, start..end);
    });
});

/// What a compressed index may be inflated to, on its way to the limit's double.
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
