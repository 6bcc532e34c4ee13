//! What an encoder has to make.

/// What encoded pictures must be to stand beside the copied ones. They are shown in the order in which they are decoded,
/// and every part is one coded sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeTarget {
    /// H.264. Every picture begins with an access unit delimiter: where one encoded part follows another, nothing else
    /// may tell their IDR pictures apart (ITU-T H.264, 7.4.1.2.4).
    H264 {
        /// `profile_idc` (annex A.2).
        profile: u8,
        /// `level_idc` (annex A.3).
        level: u8,
        /// Whether that means level 1b.
        is_level_1b: bool,
        /// Whether pictures of the lowest quantizer (QP 0) are taken for lossless ones.
        may_be_lossless: bool,
        /// The id of the sequence and the picture parameter set, which the source does not use.
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
