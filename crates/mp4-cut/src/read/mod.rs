//! Reading: what a source is, from its boxes.

mod amr;
mod channels;
mod defragment;
pub(crate) mod edited;
mod edits;
pub(crate) mod fragmented;
pub(crate) mod fragments;
mod frame_grid;
mod language;
mod metadata;
pub(crate) mod moov;
pub(crate) mod movie;
pub(crate) mod open;
pub(crate) mod parameter_sets;
pub(crate) mod pictures;
pub(crate) mod pixel_format;
pub(crate) mod sample_entry;
pub(crate) mod samples;
pub(crate) mod selection;
mod sniff;
mod stream_aspect;
pub(crate) mod track;
