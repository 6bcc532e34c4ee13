//! H.264 (ITU-T H.264): whether encoded frames can stand in one stream with a source's, and making them do so.

pub(crate) mod configuration;
pub(crate) mod idr;
pub(crate) mod picture;
pub(crate) mod sps;

pub(crate) use configuration::{Avc, length_size, parameters, pixel_aspect, pixel_format};
pub(crate) use idr::{cannot_begin_with, is_idr};
