//! Fuzzes messages on the queue.

#![no_main]

#[path = "../../tests/common/messages.rs"]
mod messages;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &str| {
    messages::hand_on(body);
});
