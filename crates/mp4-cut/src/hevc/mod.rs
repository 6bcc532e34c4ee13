//! H.265 (HEVC): encoded pictures in one stream with a source's.
//!
//! A smart cut copies from a random access point on and encodes the pictures before it. Both parts share one track and
//! one sample description. [`JoinableSource`] says whether a source allows that, gives encoded samples and parameter
//! sets ids that the source does not use, and writes the sample description of both. [`begin_copy`] changes a copied
//! random access point so that a stream can continue with it. Nothing here decodes pictures, and slice headers are not
//! parsed beyond the id that they begin with.
//!
//! x265 gives its parameter sets fixed ids, which sources use too. So encoded slices move to an id from 15 to 30, which
//! takes 9 bits where id 0 takes one: inserting exactly eight bits keeps the byte alignment of everything after them. A
//! copy begins at an IDR or CRA picture. A CRA becomes a BLA, and its leading pictures are left out of the copy and
//! encoded in the head. Later CRAs with leading pictures remain seek points and cut points; a sample group marks them.
//! The sample entry is `hvc1` and names both sets of parameters.
//!
//! Cameras repeat their parameter sets in samples. The sets of all keyframes of all cuts are compared with the sample
//! entry's; if two with the same id differ, nothing is joined. So a repeated set changes nothing wherever it ends up,
//! and stays in its sample. Encoded parts use ids that none of them has, and their sets are only in the sample entry,
//! so no repeated set replaces them.
//!
//! Names and layouts are those of ITU-T H.265 and of ISO/IEC 14496-15, clause 8.

mod configuration;
mod encoded;
mod ineligible;
mod joinable;
mod nal;
mod parameter_sets;
mod sample_entry;
mod slices;
mod sps;

pub use encoded::{Hevc, cannot_begin_with, encoded_sets};
pub use joinable::JoinableSource;
pub use nal::{Picture, picture};
pub use parameter_sets::ParameterSets;
pub(crate) use sample_entry::DOLBY_VISION;
pub use sample_entry::{
    has_sets, length_size, pixel_format, with_long_lengths, with_sets_of_samples,
};
pub use slices::begin_copy;
