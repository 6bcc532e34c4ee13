//! Boxes, and the tables in them (ISO/IEC 14496-12, 4.2 and 8.6).

pub(crate) mod parse;
pub(crate) mod reader;
pub(crate) mod stsd;
pub(crate) mod table;
