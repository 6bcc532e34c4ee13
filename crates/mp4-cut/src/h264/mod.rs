//! H.264 (ITU-T H.264): checks whether encoded frames can share a stream with a source's, and makes them fit.

pub(crate) mod configuration;
pub(crate) mod idr;
mod parameter_sets;
pub(crate) mod picture;
pub(crate) mod sps;

pub(crate) use configuration::{
    Avc, has_sets, length_size, parameters, pixel_aspect, pixel_format, with_long_lengths,
    with_sets_of_samples,
};
pub(crate) use idr::{cannot_begin_with, is_idr};
