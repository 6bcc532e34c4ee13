//! Runs work whose memory must be proportional to its input.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory that a file of any length may take.
const BYTES: usize = 256 << 10;
/// Memory that it may take for each of its bytes. A sample takes half a byte in the most compact table, and its frame
/// takes 32 bytes of memory, more than once.
const BYTES_A_BYTE: usize = 256;

/// Works on `data`, which may be `inflated_bytes` longer than it is.
pub fn bounded(data: &[u8], inflated_bytes: usize, work: impl FnOnce()) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    work();
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    let limit = BYTES + BYTES_A_BYTE * data.len() + inflated_bytes;
    assert!(
        peak <= limit,
        "{} bytes take {peak} bytes of memory",
        data.len()
    );
}
