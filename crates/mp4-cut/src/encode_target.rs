//! What an encoder has to produce.

/// What encoded pictures must be like to share a stream with copied ones. They are shown in decode order, and every
/// part is one coded sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeTarget {
    /// H.264. Every picture begins with an access unit delimiter: if one encoded part follows another, it may be all
    /// that separates their IDR pictures (ITU-T H.264, 7.4.1.2.4).
    H264 {
        /// `profile_idc` (annex A.2).
        profile: u8,
        /// `level_idc` (annex A.3).
        level: u8,
        /// Whether that means level 1b.
        is_level_1b: bool,
        /// Whether pictures with the lowest quantizer (QP 0) are treated as lossless.
        may_be_lossless: bool,
        /// The id for the sequence and the picture parameter set, unused by the source.
        parameter_set_id: u32,
        /// Bits of a luma sample.
        bits: u8,
    },
    /// H.265, with what the source crops.
    Hevc {
        /// Bits of a sample.
        bits: u8,
    },
}
