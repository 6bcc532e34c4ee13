//! Fuzzes HEVC parameter sets and samples in an otherwise valid file.

#![no_main]

mod part;

use libfuzzer_sys::fuzz_target;
use part::{Part, cut};

fuzz_target!(|data: &[u8]| cut(Part::Hevc, data));
