//! NAL units, as H.264 and H.265 both have them.

pub(crate) mod bits;
mod sei;
mod signal;
mod units;

pub(crate) use sei::{sei_messages, turns_pictures};
pub(crate) use signal::VideoSignal;
pub(crate) use units::{LengthSize, units};
