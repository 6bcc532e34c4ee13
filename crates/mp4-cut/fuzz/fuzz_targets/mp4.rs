//! Reads and cuts files that a fuzzer makes: no panic, no sum that overflows, no memory out of proportion, no end of
//! the time that libFuzzer gives it.

#![no_main]

mod boxes;
#[path = "../../tests/common/ways.rs"]
mod ways;

use bytes::Bytes;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mp4_cut::MAX_INDEX_BYTES;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What a file may take whatever its length.
const BYTES: usize = 256 << 10;
/// What it may take for each of its bytes. A sample takes half a byte of the most compact table, and the frame that is
/// made of it 32 bytes of memory, more than once.
const BYTES_A_BYTE: usize = 256;

fuzz_target!(|data: &[u8]| {
    let file = Bytes::copy_from_slice(data);
    // Where the cut begins and ends is up to the fuzzer as well.
    let [.., start, end] = data else { return };
    let [start, end] = [start, end].map(|byte| f64::from(*byte) / 255.0);
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    ways::cut_in_every_way(&file, start..end);
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    let limit = BYTES + BYTES_A_BYTE * data.len() + inflated_bytes(data);
    assert!(
        peak <= limit,
        "{} bytes take {peak} bytes of memory",
        data.len()
    );
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
