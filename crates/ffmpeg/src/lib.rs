//! Everything that runs `FFmpeg`: the process and its limits, its inputs, and its arguments.

pub mod audio;
pub mod cage;
pub mod check;
pub mod clip;
pub mod damage;
pub mod decoded;
pub mod encode;
mod encrypted;
mod log;
pub mod memory;
pub mod pixels;
pub mod process;
pub mod range_server;
pub mod remux;
pub mod scratch;
pub mod smart;
mod survey;
