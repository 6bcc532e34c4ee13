//! Parameter sets of HEVC, and samples that a fuzzer makes, in a file that is right otherwise.

#![no_main]

mod bounded;
#[path = "../../tests/common/boxes.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod boxes;
#[path = "../../tests/common/parts.rs"]
mod parts;
#[path = "../../tests/common/ways.rs"]
mod ways;

use libfuzzer_sys::fuzz_target;
use parts::{Part, cut};

fuzz_target!(|data: &[u8]| {
    bounded::bounded(data, 0, || {
        cut(Part::Hevc, data, 0.1..0.9);
    });
});
