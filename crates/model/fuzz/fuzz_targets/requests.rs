//! Messages of the queue that a fuzzer makes.

#![no_main]

#[path = "../../tests/common/messages.rs"]
mod messages;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &str| {
    messages::hand_on(body);
});
