//! Cuts an interval of a source into its own file, and checks what it contains and shows.

mod browser;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod common;
mod containers;
mod damaged;
mod dynamic_range;
mod edited;
mod fields;
mod footage;
mod generations;
mod held;
mod joined;
mod joined_smart;
mod judge;
mod own;
mod packets;
mod quicktime;
mod rates;
mod sets;
mod smart;
mod sound;
mod streams;
