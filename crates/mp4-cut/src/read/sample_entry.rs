//! What a sample description says about the stream: its codec's name, picture size, channels and sample rate.

use crate::{
    Error, Result,
    boxes::{Child, FourCC, VISUAL_ENTRY_BYTES, children, damaged, find, fourcc_name},
    h264 as avc,
    read::samples::Packet,
};
use bytes::{Buf, Bytes};
use mp4_atom::{Atom, Esds};

/// A video sample description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoEntry {
    pub codec: String,
    pub width: u16,
    pub height: u16,
    /// A pixel's width and height in relation to each other; `None` when the description does not say.
    pub pixel_aspect: Option<(u32, u32)>,
    /// The same as the stream itself has it, which counts where nothing else says otherwise.
    pub stream_aspect: Option<(u32, u32)>,
}

/// A sound sample description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioEntry {
    pub codec: String,
    pub channels: u32,
    /// In Hz; 0 when the description does not say.
    pub sample_rate: u32,
    /// What samples of a fixed length are; `None` when `stsz` is right about it.
    pub packet: Option<Packet>,
}

/// The bytes of a sound sample entry in front of its boxes, as MP4 has it.
const SOUND_ENTRY_BYTES: usize = 28;

/// The descriptions of an `stsd` body.
fn entries(stsd: &Bytes) -> impl Iterator<Item = Result<Child>> {
    children(
        stsd.get(8..)
            .map(|entries| stsd.slice_ref(entries))
            .unwrap_or_default(),
    )
}

/// The first description of an `stsd` body.
pub(crate) fn first_entry(stsd: &Bytes) -> Result<Child> {
    entries(stsd)
        .next()
        .unwrap_or_else(|| Err(damaged("a track has no sample description (stsd)")))
}

impl VideoEntry {
    /// Reads an `stsd` body, whose descriptions may differ in everything but what a clip has once.
    ///
    /// # Errors
    /// `UnsupportedMedia` for encrypted or damaged descriptions, and for pictures of several codecs or sizes.
    pub fn of(stsd: &Bytes) -> Result<Self> {
        let first = Self::read(&first_entry(stsd)?)?;
        for entry in entries(stsd).skip(1) {
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
        let boxes = entry.body.slice(VISUAL_ENTRY_BYTES..);
        let usable =
            |aspect: Option<(u32, u32)>| aspect.filter(|(width, height)| *width > 0 && *height > 0);
        Ok(Self {
            codec: codec_name(entry, VISUAL_ENTRY_BYTES)?,
            width: size.get_u16(),
            height: size.get_u16(),
            pixel_aspect: usable(pixel_aspect(&boxes)),
            stream_aspect: usable(avc::pixel_aspect(&boxes)),
        })
    }
}

impl AudioEntry {
    /// # Errors
    /// `UnsupportedMedia` for an encrypted or damaged description.
    pub fn read(entry: &Child) -> Result<Self> {
        if entry.body.len() < SOUND_ENTRY_BYTES {
            return Err(damaged("a sound sample description is too short"));
        }
        let mut fields = entry.body.slice(8..);
        let version = fields.get_u16();
        fields.advance(6);
        let (channels, bits) = (fields.get_u16(), fields.get_u16());
        fields.advance(4);
        let rate = fields.get_u32() >> 16;
        let raw = Packet {
            samples: 1,
            bytes: u32::from(channels) * u32::from(bits / 8),
        };
        let mut read = Self {
            codec: codec_name(entry, SOUND_ENTRY_BYTES + extension_bytes(version))?,
            channels: channels.into(),
            sample_rate: rate,
            packet: None,
        };
        // QuickTime's versions 1 and 2 put more fields behind those of MP4.
        match version {
            1 if fields.len() >= 16 => {
                let samples = fields.get_u32();
                fields.advance(4);
                read.packet = Some(Packet {
                    samples,
                    bytes: fields.get_u32(),
                });
            }
            2 if fields.len() >= 36 => {
                fields.advance(4);
                read.sample_rate = rate_of(fields.get_f64());
                read.channels = fields.get_u32();
                fields.advance(12);
                let bytes = fields.get_u32();
                read.packet = Some(Packet {
                    samples: fields.get_u32(),
                    bytes,
                });
            }
            _ if read.codec == "pcm" => read.packet = Some(raw),
            _ => {}
        }
        if let Some(config) = esds(&entry.body, SOUND_ENTRY_BYTES + extension_bytes(version))
            && read.codec == "aac"
            && let Some(specific) = config.es_desc.dec_config.dec_specific
            && let channels @ 1.. = u32::from(specific.chan_conf)
        {
            read.channels = if channels == 7 { 8 } else { channels };
        }
        Ok(read)
    }
}

fn pixel_aspect(boxes: &Bytes) -> Option<(u32, u32)> {
    let mut pasp = find(boxes, *b"pasp").ok()??.body;
    if pasp.len() < 8 {
        return None;
    }
    Some((pasp.get_u32(), pasp.get_u32()))
}

fn extension_bytes(version: u16) -> usize {
    match version {
        1 => 16,
        2 => 36,
        _ => 0,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "such a cast saturates"
)]
fn rate_of(rate: f64) -> u32 {
    rate.round() as u32
}

/// The name that people and `FFmpeg` use; for an unknown codec its four-character code.
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

/// The `esds` box of a sample entry, which `QuickTime` puts into a `wave` box; `None` when there is none to be read.
fn esds(body: &Bytes, boxes_at: usize) -> Option<Esds> {
    let boxes = body.slice_ref(body.get(boxes_at..)?);
    let esds = match find(&boxes, *b"esds").ok()? {
        Some(esds) => esds,
        None => find(&find(&boxes, *b"wave").ok()??.body, *b"esds").ok()??,
    };
    Esds::decode_body(&mut &esds.body[..]).ok()
}

/// What of a sample description decoding depends on: all of it but the bit rates, which differ from file to file of the
/// same encoder.
pub(crate) fn decoding(entry: &Child, is_sound: bool) -> Result<Vec<u8>> {
    let boxes_at = if is_sound {
        let version = entry
            .body
            .get(8..10)
            .map_or(0, |mut version| version.get_u16());
        SOUND_ENTRY_BYTES + extension_bytes(version)
    } else {
        VISUAL_ENTRY_BYTES
    };
    let head = entry
        .body
        .get(..boxes_at)
        .ok_or_else(|| damaged("a sample description is too short"))?;
    let mut kept = [&entry.kind[..], head].concat();
    for child in children(entry.body.slice(boxes_at..)) {
        let child = child?;
        match (&child.kind, Esds::decode_body(&mut &child.body[..])) {
            (b"btrt", _) => {}
            (b"esds", Ok(Esds { es_desc })) => {
                kept.push(es_desc.dec_config.object_type_indication);
                kept.extend(format!("{:?}", es_desc.dec_config.dec_specific).bytes());
            }
            _ => kept.extend_from_slice(&child.whole),
        }
    }
    Ok(kept)
}

/// Whether `kind` is a handler of tracks that this crate cuts, and what people call it.
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
