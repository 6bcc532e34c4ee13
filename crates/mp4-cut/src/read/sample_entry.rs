//! What a sample description says about the stream: its codec's name, picture size, channels and sample rate.

use crate::{
    boxes::parse::{Child, FourCC, children, damaged, find, fourcc_name},
    boxes::stsd::{
        AUDIO_ENTRY_BYTES, VISUAL_ENTRY_BYTES, audio_entry_bytes, entries, entry_boxes, first_entry,
    },
    error::{Error, Result},
    h264,
    read::channels::{Channels, decoder_config},
    read::samples::Packet,
    read::stream_aspect,
    time::whole,
};
use bytes::{Buf, Bytes};
use mp4_atom::{Atom, Esds};

/// A video sample description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoEntry {
    pub codec: String,
    pub width: u16,
    pub height: u16,
    /// The pixel aspect ratio; `None` if the description does not say.
    pub pixel_aspect: Option<(u32, u32)>,
    /// The pixel aspect ratio in the stream itself, used if nothing else says otherwise.
    pub stream_aspect: Option<(u32, u32)>,
}

/// An audio sample description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioEntry {
    pub codec: String,
    pub channels: Channels,
    /// In Hz; 0 if the description does not say.
    pub sample_rate: u32,
    /// The packets of fixed-length samples; `None` if `stsz` is right about them.
    pub packet: Option<Packet>,
}

impl VideoEntry {
    /// Reads a whole `stsd` box. Its entries may differ only in what a clip can have several of.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for encrypted entries, and for several codecs or sizes; [`Error::Damaged`].
    pub fn of(stsd: &Bytes) -> Result<Self> {
        let first = Self::read(&first_entry(stsd)?)?;
        for entry in entries(stsd)?.skip(1) {
            if Self::read(&entry?)? != first {
                return Err(Error::unsupported(
                    "the source's pictures change their codec or their size, which is not supported",
                ));
            }
        }
        Ok(first)
    }

    fn read(entry: &Child) -> Result<Self> {
        if entry.body.len() < VISUAL_ENTRY_BYTES {
            return Err(damaged("a video sample description is too short"));
        }
        let mut size = entry.body.slice(24..28);
        let boxes = entry_boxes(entry, VISUAL_ENTRY_BYTES)?;
        Ok(Self {
            codec: codec_name(entry, VISUAL_ENTRY_BYTES)?,
            width: size.get_u16(),
            height: size.get_u16(),
            pixel_aspect: pixel_aspect(&boxes),
            stream_aspect: match find(&boxes, *b"esds")? {
                Some(esds) => stream_aspect::of_configuration(&esds.body),
                None => h264::pixel_aspect(&boxes),
            },
        })
    }
}

impl AudioEntry {
    /// Reads the first entry of a whole `stsd` box.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an encrypted entry; [`Error::Damaged`].
    pub fn of(stsd: &Bytes) -> Result<Self> {
        let entry = first_entry(stsd)?;
        if entry.body.len() < AUDIO_ENTRY_BYTES {
            return Err(damaged("a sound sample description is too short"));
        }
        let mut fields = entry.body.slice(8..);
        let version = fields.get_u16();
        fields.advance(6);
        let (channels, bits) = (fields.get_u16(), fields.get_u16());
        fields.advance(4);
        let mut read = Self {
            codec: codec_name(&entry, audio_entry_bytes(&entry))?,
            channels: Channels::of_count("", channels.into()),
            sample_rate: fields.get_u32() >> 16,
            packet: None,
        };
        // QuickTime's versions 1 and 2 have more fields after those of MP4.
        match version {
            1 if fields.len() >= 16 => read.read_version_1(fields),
            2 if fields.len() >= 36 => read.read_version_2(fields),
            _ if read.codec == "pcm" => {
                read.packet = Some(Packet {
                    samples: 1,
                    bytes: u32::from(channels) * u32::from(bits / 8),
                });
            }
            _ => {}
        }
        read.channels = decoder_channels(&entry, &read.codec)
            .unwrap_or_else(|| Channels::of_count(&read.codec, read.channels.count));
        Ok(read)
    }

    fn read_version_1(&mut self, mut fields: Bytes) {
        let samples = fields.get_u32();
        fields.advance(4);
        let bytes = fields.get_u32();
        self.packet = Some(Packet { samples, bytes });
    }

    fn read_version_2(&mut self, mut fields: Bytes) {
        fields.advance(4);
        self.sample_rate = u32::try_from(whole(fields.get_f64())).unwrap_or(u32::MAX);
        self.channels = Channels::of_count("", fields.get_u32());
        fields.advance(12);
        let bytes = fields.get_u32();
        let samples = fields.get_u32();
        self.packet = Some(Packet { samples, bytes });
    }
}

/// The decoder's channels, if its configuration says more than the fields of the entry. In MP4 those often say two
/// regardless of the real number.
fn decoder_channels(entry: &Child, codec: &str) -> Option<Channels> {
    let boxes_at = audio_entry_bytes(entry);
    let in_box = |kind, channels: fn(&[u8]) -> Option<Channels>| {
        let boxes = entry_boxes(entry, boxes_at).ok()?;
        channels(&find(&boxes, kind).ok()??.body)
    };
    match codec {
        "aac" => Channels::of_aac(decoder_config(&esds_body(&entry.body, boxes_at)?)?),
        "ac3" => in_box(*b"dac3", Channels::of_ac3),
        "eac3" => in_box(*b"dec3", Channels::of_eac3),
        _ => None,
    }
}

/// What `pasp` says (ISO/IEC 14496-12, 12.1.4).
fn pixel_aspect(boxes: &Bytes) -> Option<(u32, u32)> {
    let mut pasp = find(boxes, *b"pasp").ok()??.body;
    if pasp.len() < 8 {
        return None;
    }
    match (pasp.get_u32(), pasp.get_u32()) {
        (0, _) | (_, 0) => None,
        aspect => Some(aspect),
    }
}

/// The common name, as used by `FFmpeg`; for an unknown codec, its four-character code.
fn codec_name(entry: &Child, boxes_at: usize) -> Result<String> {
    Ok(match &entry.kind {
        b"encv" | b"enca" | b"drmi" | b"drms" | b"p608" => {
            return Err(Error::unsupported(
                "the source is encrypted, which is not supported",
            ));
        }
        b"avc1" | b"avc2" | b"avc3" | b"avc4" | b"dva1" | b"dvav" => "h264",
        b"hvc1" | b"hev1" | b"hvc2" | b"hev2" | b"dvh1" | b"dvhe" => "hevc",
        b"vvc1" | b"vvi1" => "vvc",
        b"av01" | b"dav1" => "av1",
        b"vp08" => "vp8",
        b"vp09" => "vp9",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" | b"aprn" => "prores",
        b"jpeg" | b"mjpa" | b"mjpb" | b"dmb1" => "mjpeg",
        b"mp4v" => match object_type(&entry.body, boxes_at) {
            Some(0x60..=0x65) => "mpeg2video",
            Some(0x6a) => "mpeg1video",
            Some(0x6c) => "mjpeg",
            _ => "mpeg4",
        },
        b"mp4a" => match object_type(&entry.body, boxes_at) {
            Some(0x69 | 0x6b) => "mp3",
            Some(0xa5) => "ac3",
            Some(0xa6) => "eac3",
            Some(0xa9) => "dts",
            Some(0xdd) => "vorbis",
            _ => "aac",
        },
        b".mp3" => "mp3",
        b"Opus" => "opus",
        b"fLaC" => "flac",
        b"alac" => "alac",
        b"ac-3" => "ac3",
        b"ec-3" => "eac3",
        b"samr" => "amr_nb",
        b"sawb" => "amr_wb",
        b"raw " | b"twos" | b"sowt" | b"in24" | b"in32" | b"fl32" | b"fl64" | b"lpcm" | b"ipcm"
        | b"fpcm" | b"NONE" => "pcm",
        other => return Ok(fourcc_name(*other).trim_end().to_owned()),
    }
    .to_owned())
}

fn object_type(body: &Bytes, boxes_at: usize) -> Option<u8> {
    Some(
        esds(body, boxes_at)?
            .es_desc
            .dec_config
            .object_type_indication,
    )
}

/// The `esds` box of a sample entry; `None` if there is none that can be read.
fn esds(body: &Bytes, boxes_at: usize) -> Option<Esds> {
    Esds::decode_body(&mut &esds_body(body, boxes_at)?[..]).ok()
}

/// The body of the `esds` box, which `QuickTime` puts into a `wave` box.
fn esds_body(body: &Bytes, boxes_at: usize) -> Option<Bytes> {
    let boxes = body.slice_ref(body.get(boxes_at..)?);
    let esds = match find(&boxes, *b"esds").ok()? {
        Some(esds) => esds,
        None => find(&find(&boxes, *b"wave").ok()??.body, *b"esds").ok()??,
    };
    Some(esds.body)
}

/// The fields of a whole `stsd` box's entries that decoding depends on.
///
/// # Errors
/// [`Error::Damaged`] for invalid entries.
pub(crate) fn decoding_parameters(stsd: &Bytes, is_audio: bool) -> Result<Vec<Vec<u8>>> {
    entries(stsd)?
        .map(|entry| entry_parameters(&entry?, is_audio))
        .collect()
}

/// An entry without its bit rates, which differ between files of the same encoder.
fn entry_parameters(entry: &Child, is_audio: bool) -> Result<Vec<u8>> {
    let boxes_at = if is_audio {
        audio_entry_bytes(entry)
    } else {
        VISUAL_ENTRY_BYTES
    };
    let boxes = entry_boxes(entry, boxes_at)?;
    let mut parameters = [&entry.kind[..], &entry.body[..boxes_at]].concat();
    for child in children(boxes) {
        let child = child?;
        match (&child.kind, Esds::decode_body(&mut &child.body[..])) {
            (b"btrt", _) => {}
            (b"esds", Ok(Esds { es_desc })) => {
                parameters.push(es_desc.dec_config.object_type_indication);
                parameters.extend(format!("{:?}", es_desc.dec_config.dec_specific).bytes());
            }
            _ => parameters.extend_from_slice(&child.whole),
        }
    }
    Ok(parameters)
}

/// The common name for tracks of a handler (ISO/IEC 14496-12, 8.4.3).
pub(crate) fn handler_name(kind: FourCC) -> String {
    match &kind {
        b"vide" => "video".to_owned(),
        b"soun" => "audio".to_owned(),
        b"text" | b"sbtl" | b"subt" | b"clcp" => "text".to_owned(),
        b"tmcd" => "time code".to_owned(),
        b"meta" => "metadata".to_owned(),
        other => fourcc_name(*other).trim_end().to_owned(),
    }
}
