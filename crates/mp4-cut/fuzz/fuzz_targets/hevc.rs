//! Parameter sets of HEVC, and samples that a fuzzer makes, in a file that is right otherwise.

#![no_main]

mod part;

use libfuzzer_sys::fuzz_target;
use part::{Part, cut};

fuzz_target!(|data: &[u8]| cut(Part::Hevc, data));
