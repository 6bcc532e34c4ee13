//! Finds a source's index, the `moov` box, and reads little else.

use crate::{
    boxes::parse::{Child, FourCC, Header, MAX_INDEX_BYTES, damaged, find, fourcc_name, require},
    boxes::reader::{BoxReader, ReadAhead},
    error::{Error, Result},
    io::RangeRead,
    read::defragment::Defragmenter,
    read::fragments::{self, Container, Fragments},
    read::parameter_sets::HEAD_BYTES,
    read::sniff,
};
use bytes::Bytes;
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
use std::{collections::BTreeMap, ops::Range};

/// The first read: enough for the boxes before an index, and for a short source's whole index.
const FIRST_READ_BYTES: u64 = 64 << 10;
/// The read after the first skipped box, where an index at the end usually begins.
const SKIP_READ_BYTES: u64 = 128 << 10;
/// All reads together, except that of a long index, stay below 256 KiB.
const READ_AHEAD: ReadAhead = ReadAhead {
    first_bytes: &[FIRST_READ_BYTES, SKIP_READ_BYTES],
    then_bytes: 4 << 10,
    max_reads: 16,
    too_many: || damaged("its boxes are too many to find the index (moov)"),
    near_bytes: 0,
};
/// How many boxes may precede the index.
const MAX_BOXES: u32 = 10_000;

/// What can be the first box of an MP4 or a MOV.
const FIRST_BOXES: &[&FourCC] = &[
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"styp", b"sidx",
    b"moof", b"emsg", b"prft", b"udta", b"meta", b"junk", b"pict",
];
/// Brands of still pictures, which have no `moov`.
const IMAGE_BRANDS: &[&FourCC] = &[b"heic", b"heix", b"mif1", b"avif", b"crx "];

/// The index of a source, as stored in the file.
#[derive(Debug, Clone)]
pub(crate) struct Moov {
    /// The `ftyp` box; old `QuickTime` files have none.
    pub ftyp: Option<Child>,
    /// The body of the `moov` box.
    pub body: Bytes,
    /// Where the `moov` box begins.
    pub start: u64,
    /// Length of `ftyp` and `moov`, including headers.
    pub bytes: u64,
    /// When each track's first sample is decoded, by track number, in an index made from fragments.
    pub first_decode_times: BTreeMap<u32, i64>,
    /// Whether the file ends before its last fragments' samples do.
    pub is_cut_short: bool,
}

/// What [`Moov::find`] finds.
#[derive(Debug)]
pub(crate) enum Found {
    Moov(Moov),
    Fragmented(Moov, Fragments),
    Other(Container),
}

impl Found {
    fn index(self) -> Result<Moov> {
        match self {
            Self::Moov(index) => Ok(index),
            Self::Fragmented(..) => Err(Error::unsupported(
                "the file is a fragmented MP4 of many fragments",
            )),
            Self::Other(container) => Err(Error::unsupported(format!(
                "the file is not an MP4 with an index: it is {}",
                container.name()
            ))),
        }
    }
}

impl Moov {
    /// Finds and reads the index of `source`.
    ///
    /// # Errors
    /// [`Error::Unsupported`], naming what was found instead; and any error from the source.
    pub async fn read(source: &impl RangeRead) -> Result<Self> {
        Self::find(source).await?.index()
    }

    /// Finds and reads the index of `source`, or identifies its container.
    ///
    /// # Errors
    /// [`Error::Unsupported`], naming what was found instead; and any error from the source.
    pub async fn find(source: &impl RangeRead) -> Result<Found> {
        Self::search(source, false).await
    }

    /// The index of `source`, with the samples of all its fragments, however many there are. Without an index of them,
    /// the whole source is read.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_whole(source: &impl RangeRead) -> Result<Self> {
        Self::search(source, true).await?.index()
    }

    async fn search(source: &impl RangeRead, reads_all: bool) -> Result<Found> {
        if source.is_empty() {
            return Err(Error::unsupported("the source is empty (0 bytes)"));
        }
        let mut reader = BoxReader::new(source, &READ_AHEAD);
        let mut ftyp: Option<Child> = None;
        let mut has_media = false;
        let mut at = 0;
        for _ in 0..MAX_BOXES {
            let Some(header) = reader.header(at).await? else {
                break;
            };
            if at == 0 && !FIRST_BOXES.contains(&&header.kind) {
                return other_container(&reader.buffered(0), source.len());
            }
            let end = end_in_file(at, header, source.len())?;
            match &header.kind {
                b"ftyp" if ftyp.is_none() => {
                    ftyp = Some(reader.child(at, header, FIRST_READ_BYTES).await?);
                }
                b"moov" => {
                    if end - at > MAX_INDEX_BYTES {
                        return Err(too_long((end - at) >> 20));
                    }
                    let moov = reader.child(at, header, MAX_INDEX_BYTES).await?;
                    return Self::of(source, ftyp, at, &moov, reads_all).await;
                }
                b"moof" => {
                    return Err(Error::unsupported(
                        "the source is a segment of a fragmented MP4 without its initialization segment (moov)",
                    ));
                }
                b"mdat" => has_media = true,
                _ => {}
            }
            at = end;
        }
        Err(match ftyp.as_ref().and_then(brand) {
            Some(brand) if IMAGE_BRANDS.contains(&&brand) => unsupported("a HEIF or AVIF image"),
            _ if has_media => cut_short("it has media but no index (moov)"),
            _ => Error::unsupported(
                "the source is not an MP4 that can be cut: it has no index (moov)",
            ),
        })
    }

    /// The major brand for people; `qt` without one.
    pub fn container(&self) -> String {
        match self.ftyp.as_ref().and_then(brand) {
            Some(brand) => fourcc_name(brand).trim_end().to_owned(),
            None => "qt".to_owned(),
        }
    }

    /// The index from the `moov` box at `at`. If it announces fragments and `reads_all` is set, it includes all of
    /// them.
    async fn of(
        source: &impl RangeRead,
        ftyp: Option<Child>,
        at: u64,
        moov: &Child,
        reads_all: bool,
    ) -> Result<Found> {
        let moov_bytes = moov.whole.len() as u64;
        let ftyp_bytes = ftyp.as_ref().map_or(0, |ftyp| ftyp.whole.len() as u64);
        let index = Self {
            ftyp,
            body: decompress(moov.body.clone())?,
            start: at,
            bytes: ftyp_bytes + moov_bytes,
            first_decode_times: BTreeMap::new(),
            is_cut_short: false,
        };
        if find(&index.body, *b"mvex")?.is_none() {
            return Ok(Found::Moov(index));
        }
        let head_end = at + moov_bytes;
        if reads_all {
            let samples = Fragments::all(source, &index.body, head_end).await?;
            return Ok(Found::Moov(index.of_samples(&samples)?));
        }
        let found = Fragments::find(source, &index.body, head_end).await?;
        Ok(match found {
            fragments::Found::None => Found::Moov(index),
            fragments::Found::All(samples) => Found::Moov(index.of_samples(&samples)?),
            fragments::Found::Indexed(fragments) => Found::Fragmented(index, fragments),
        })
    }

    /// The index of these samples of fragments.
    pub fn of_samples(&self, samples: &Defragmenter) -> Result<Self> {
        Ok(Self {
            body: samples.complete(&self.body)?,
            first_decode_times: samples.first_decode_times(),
            is_cut_short: samples.is_cut_short,
            ..self.clone()
        })
    }
}

/// Identifies a file that begins with `head`, which is not a box.
fn other_container(head: &[u8], file_bytes: u64) -> Result<Found> {
    match Container::of(head, file_bytes) {
        Some(container) => Ok(Found::Other(container)),
        None => Err(unsupported(
            sniff::describe(head).unwrap_or("of no known format"),
        )),
    }
}

/// Where the box at `at` ends, which must be within the file.
fn end_in_file(at: u64, header: Header, file_bytes: u64) -> Result<u64> {
    let end = match header.bytes {
        None => Some(file_bytes),
        Some(bytes) => at.checked_add(bytes),
    };
    match end {
        Some(end) if end <= file_bytes => Ok(end),
        _ => Err(cut_short(&format!(
            "its box {} goes beyond the end of the file",
            fourcc_name(header.kind)
        ))),
    }
}

/// The major brand of an `ftyp` box.
fn brand(ftyp: &Child) -> Option<FourCC> {
    ftyp.body.first_chunk().copied()
}

/// The body of a `moov` box, inflated if it is compressed (`cmov`, Apple's `QuickTime` File Format).
fn decompress(moov: Bytes) -> Result<Bytes> {
    let Some(cmov) = find(&moov, *b"cmov")? else {
        return Ok(moov);
    };
    let method: FourCC = require(&cmov.body, *b"dcom")?
        .body
        .first_chunk()
        .copied()
        .unwrap_or_default();
    if &method != b"zlib" {
        return Err(Error::unsupported(format!(
            "the source's index is compressed by {}, which is not supported",
            fourcc_name(method).trim_end()
        )));
    }
    // The uncompressed length, then the stream.
    let cmvd = require(&cmov.body, *b"cmvd")?.body;
    let stream = cmvd
        .get(4..)
        .ok_or_else(|| damaged("box cmvd is too short"))?;
    let inflated = decompress_to_vec_zlib_with_limit(stream, usize_of(MAX_INDEX_BYTES));
    let inflated = inflated.map_err(|error| match error.status {
        TINFLStatus::HasMoreOutput => too_long(format!("over {}", MAX_INDEX_BYTES >> 20)),
        _ => damaged("box cmvd cannot be inflated"),
    })?;
    Ok(require(&inflated.into(), *b"moov")?.body)
}

fn too_long(mebibytes: impl std::fmt::Display) -> Error {
    let limit = MAX_INDEX_BYTES >> 20;
    Error::unsupported(format!(
        "the source's index is {mebibytes} MiB; sources with more than {limit} MiB are not supported"
    ))
}

fn cut_short(how: &str) -> Error {
    Error::unsupported(format!(
        "the source is an MP4 that was cut short or never finished: {how}"
    ))
}

fn unsupported(what: &str) -> Error {
    let supported = "MP4, MOV, MPEG-TS, Matroska, WebM, AVI, FLV and MPEG-PS";
    Error::unsupported(format!("the source is {what}; supported are {supported}"))
}

/// The ranges that reading the `index` takes, of a source of `source_bytes`, and what the first sample begins with where
/// that lies directly behind.
pub(crate) fn reads(index: Range<u64>, source_bytes: u64) -> [Range<u64>; 2] {
    let up_to = |end: u64| end.min(source_bytes);
    [
        0..up_to(FIRST_READ_BYTES),
        index.start..up_to((index.end + HEAD_BYTES).max(index.start + SKIP_READ_BYTES)),
    ]
}

/// Cannot fail: reads are bounded by [`MAX_INDEX_BYTES`].
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
