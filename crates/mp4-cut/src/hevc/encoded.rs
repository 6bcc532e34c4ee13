//! The sample entry of copied and encoded pictures in one track.

use super::{
    configuration::Configuration,
    joinable::JoinableSource,
    nal::{Kind, Picture, picture, units},
    parameter_sets::ParameterSets,
    sample_entry::{configuration, dolby_vision, with_record},
};
use crate::{
    boxes::parse::Child,
    encode_target::EncodeTarget,
    nal::{self, LengthSize},
};
use bytes::Bytes;

const NO_RANDOM_ACCESS: &str = "decoding cannot start at the clip's keyframes";
/// A source of H.265 whose pictures may be joined with encoded ones.
#[derive(Debug, Clone)]
pub struct Hevc {
    entry: Child,
    source: JoinableSource,
    size: LengthSize,
}

impl Hevc {
    /// Reads an `stsd` box. `samples` are the beginnings of samples that will be copied; they may carry further
    /// parameter sets.
    ///
    /// # Errors
    /// Why pictures of this source cannot be joined with encoded ones.
    pub fn read(stsd: &Bytes, samples: &[Bytes]) -> Result<Self, String> {
        let (entry, configuration) = configuration(stsd)
            .ok_or("the source's HEVC configuration (hvcC) cannot be read, or it has several")?;
        if !matches!(&entry.kind, b"hvc1" | b"hev1" | b"dvh1" | b"dvhe") {
            return Err("the source has several layers (MV-HEVC or scalable)".to_owned());
        }
        if dolby_vision(&entry).is_some_and(|vision| !vision.is_compatible) {
            return Err(
                "the source is Dolby Vision that ordinary decoders show in wrong colours"
                    .to_owned(),
            );
        }
        let size = configuration.length_size();
        let sets = configuration
            .sets_with(samples)
            .map_err(|why| why.to_string())?;
        let source = JoinableSource::new(configuration, sets).map_err(|why| why.to_string())?;
        Ok(Self {
            entry,
            source,
            size,
        })
    }

    /// The size of NAL unit lengths in the source's samples.
    #[must_use]
    pub fn length_size(&self) -> LengthSize {
        self.size
    }

    /// The source, which changes encoded samples to fit its stream.
    #[must_use]
    pub fn source(&self) -> &JoinableSource {
        &self.source
    }

    pub fn encode_target(&self) -> EncodeTarget {
        EncodeTarget::Hevc {
            bits: self.source.format().luma_depth,
        }
    }

    /// What the source's description has and a joined clip's does not.
    #[must_use]
    pub fn dropped(&self) -> Option<&'static str> {
        dolby_vision(&self.entry).map(|_| "Dolby Vision metadata")
    }

    /// The `stsd` box of a track with pictures of the source and of encoded parts, which have the parameter sets
    /// `encoded`.
    ///
    /// # Errors
    /// Why the parts cannot be joined.
    pub fn join<'a>(
        &self,
        stsd: &Bytes,
        encoded: impl IntoIterator<Item = &'a ParameterSets>,
    ) -> Result<Bytes, String> {
        let record = self
            .source
            .configuration(encoded)
            .map_err(|why| why.to_string())?;
        let joined = with_record(stsd, &self.entry, *b"hvc1", &record, false);
        joined.map_err(|error| error.to_string())
    }
}

/// The parameter sets in an encoded part's `stsd` box, and the size of the lengths in its samples.
pub fn encoded_sets(stsd: &Bytes) -> Result<(ParameterSets, LengthSize), String> {
    let (_, configuration): (_, Configuration) =
        configuration(stsd).ok_or("the encoder's configuration (hvcC) cannot be read")?;
    let sets = configuration
        .parameter_sets()
        .map_err(|why| why.to_string())?;
    Ok((sets, configuration.length_size()))
}

/// Why a copy cannot begin with the sample that begins with `head`. `None` if it can: what is decoded and shown after
/// it refers to nothing before it.
#[must_use]
pub fn cannot_begin_with(head: &[u8], size: LengthSize) -> Option<&'static str> {
    if !picture(head, size).is_some_and(Picture::is_random_access) {
        return Some(NO_RANDOM_ACCESS);
    }
    let turns = units(head, size).map_while(|unit| unit).any(|unit| {
        let payload = unit.bytes.get(2..).unwrap_or_default();
        unit.kind == Kind::Sei && nal::turns_pictures(payload)
    });
    turns.then_some("the source's pictures say how to turn them")
}
