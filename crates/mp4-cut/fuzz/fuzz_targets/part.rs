//! Cuts a file of which a part is what a fuzzer makes.

#[path = "bounded.rs"]
mod bounded;
#[path = "../../tests/common/boxes.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod boxes;
#[path = "../../tests/common/parts.rs"]
#[allow(dead_code, reason = "each target fuzzes one part")]
mod parts;
#[path = "../../tests/common/ways.rs"]
mod ways;

pub use parts::Part;

pub fn cut(part: Part, data: &[u8]) {
    bounded::bounded(data, 0, || {
        parts::cut(part, data, 0.1..0.9);
    });
}
