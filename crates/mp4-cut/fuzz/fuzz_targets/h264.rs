//! Fuzzes H.264 parameter sets and samples in an otherwise valid file.

#![no_main]

mod part;

use libfuzzer_sys::fuzz_target;
use part::{Part, cut};

fuzz_target!(|data: &[u8]| cut(Part::H264, data));
