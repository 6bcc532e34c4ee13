//! The codec-specific part of joining copied pictures with encoded ones.

use crate::{
    encode_target::EncodeTarget,
    h264::{self, Avc},
    hevc::{self, Hevc},
    read::track::Track,
};
use bytes::Bytes;

/// Pictures that may be joined with encoded ones, by their codec.
#[derive(Debug, Clone)]
pub(crate) enum Pictures {
    H264(Box<Avc>),
    Hevc(Box<Hevc>),
}

impl Pictures {
    /// Reads the description of a track. `samples` are the beginnings of samples that will be copied.
    ///
    /// # Errors
    /// Why its pictures cannot be joined with encoded ones.
    pub fn read(track: &Track, samples: &[Bytes]) -> Result<Self, String> {
        let stsd = &track.samples.descriptions;
        match track.codec.as_str() {
            "h264" => Avc::read(stsd, samples).map(|avc| Self::H264(avc.into())),
            "hevc" => Hevc::read(stsd, samples).map(|hevc| Self::Hevc(hevc.into())),
            codec => Err(format!("the source is {codec}, not H.264 or HEVC")),
        }
    }

    /// Whether a copy may begin with a keyframe that has leading pictures (decoded after it, shown before it), without
    /// them.
    pub fn leave_out_leading(&self) -> bool {
        matches!(self, Self::Hevc(_))
    }

    /// Why a copy cannot begin with the sample that begins with `head`; `None` if it can.
    pub fn cannot_begin_with(&self, head: &[u8]) -> Option<&'static str> {
        match self {
            Self::H264(avc) => h264::cannot_begin_with(head, avc.length_size()),
            Self::Hevc(hevc) => hevc::cannot_begin_with(head, hevc.length_size()),
        }
    }

    pub fn encode_target(&self) -> EncodeTarget {
        match self {
            Self::H264(avc) => avc.encode_target(),
            Self::Hevc(hevc) => hevc.encode_target(),
        }
    }

    /// What the source's description has and a joined clip's does not.
    pub fn dropped(&self) -> Option<&'static str> {
        match self {
            Self::H264(_) => None,
            Self::Hevc(hevc) => hevc.dropped(),
        }
    }
}
