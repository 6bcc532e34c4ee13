//! Finds a source's index, the `moov` box, and reads it and little else.

use crate::{
    Error, Result,
    boxes::{Child, FourCC, Header, MAX_INDEX_BYTES, damaged, find, fourcc_name, require},
    io::RangeRead,
    io::fetch,
    read::fragments::{Container, Fragments},
    read::sniff,
};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
use std::ops::Range;

/// The first read: enough for the boxes in front of an index, and for all of a short source's index.
const FIRST_READ_BYTES: u64 = 64 << 10;
/// The read behind the first box that was jumped over, where an index at the end usually begins.
const JUMP_READ_BYTES: u64 = 128 << 10;
/// Every further read in search of the index.
const SEARCH_READ_BYTES: u64 = 4 << 10;
/// How many reads the search may take; together they stay below 256 KiB.
const MAX_SEARCH_READS: u32 = 14;
/// How many boxes there may be in front of the index.
const MAX_BOXES: u32 = 10_000;
const CONNECTIONS: usize = 4;

/// What can be the first box of an MP4 or a MOV.
const FIRST_BOXES: &[&FourCC] = &[
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"styp", b"sidx",
    b"moof", b"emsg", b"prft", b"udta", b"meta", b"junk", b"pict",
];
/// Brands of still pictures, which have no `moov`.
const IMAGE_BRANDS: &[&FourCC] = &[b"heic", b"heix", b"mif1", b"avif", b"crx "];

/// The index of a source, as it stands in the file.
#[derive(Debug, Clone)]
pub(crate) struct Moov {
    /// The `ftyp` box; old `QuickTime` files have none.
    pub ftyp: Option<Child>,
    /// The body of the `moov` box.
    pub body: Bytes,
    /// Where the `moov` box begins.
    pub start: u64,
    /// Bytes of both with their headers.
    pub bytes: u64,
}

/// What [`Moov::find`] finds.
#[derive(Debug)]
pub(crate) enum Found {
    Moov(Moov),
    Other(Container, Option<Fragments>),
}

impl Moov {
    /// Finds and reads the index of `source`.
    ///
    /// # Errors
    /// `UnsupportedMedia`, naming what was found instead; and whatever the source raises.
    pub async fn read(source: &impl RangeRead) -> Result<Self> {
        match Self::find(source).await? {
            Found::Moov(index) => Ok(index),
            Found::Other(container, _) => Err(Error::unsupported(format!(
                "the file is no MP4 with an index: it is {}",
                container.name()
            ))),
        }
    }

    /// Finds the index of `source` and reads it, or tells what container it is.
    ///
    /// # Errors
    /// `UnsupportedMedia`, naming what was found instead; and whatever the source raises.
    pub async fn find(source: &impl RangeRead) -> Result<Found> {
        if source.is_empty() {
            return Err(Error::unsupported("the source is empty (0 bytes)"));
        }
        let mut search = Search {
            source,
            buffer: Bytes::new(),
            buffer_start: 0,
            reads: 0,
        };
        let mut ftyp: Option<Child> = None;
        let mut has_media = false;
        let mut at = 0;
        for _ in 0..MAX_BOXES {
            let Some(header) = search.header(at).await? else {
                break;
            };
            if at == 0 && !FIRST_BOXES.contains(&&header.kind) {
                let container = Container::of(&search.buffer)?;
                let found = container.map(|container| Found::Other(container, None));
                return found.ok_or_else(|| {
                    unsupported(sniff::describe(&search.buffer).unwrap_or("of no known format"))
                });
            }
            let end = header
                .bytes
                .map_or(Some(source.len()), |bytes| at.checked_add(bytes));
            let Some(end) = end.filter(|end| *end <= source.len()) else {
                return Err(cut_short(&format!(
                    "its box {} goes beyond the end of the file",
                    fourcc_name(header.kind)
                )));
            };
            match &header.kind {
                b"ftyp" if ftyp.is_none() => ftyp = Some(search.small_box(at, end, header).await?),
                b"moov" => {
                    let moov = search.moov(at, end).await?.slice(usize_of(header.length)..);
                    let bytes = end - at + ftyp.as_ref().map_or(0, |ftyp| ftyp.whole.len() as u64);
                    if find(&moov, *b"mvex")?.is_some() {
                        let fragments = Fragments::find(source, &moov, end).await?;
                        return Ok(Found::Other(Container::FragmentedMp4, Some(fragments)));
                    }
                    let moov = decompress(moov)?;
                    return Ok(Found::Moov(Self {
                        ftyp,
                        body: moov,
                        start: at,
                        bytes,
                    }));
                }
                b"moof" => {
                    let segment = "the source is a segment of a fragmented MP4, without what all of them begin with (moov)";
                    return Err(Error::unsupported(segment));
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
}

/// The major brand of an `ftyp` box.
pub(crate) fn brand(ftyp: &Child) -> Option<FourCC> {
    ftyp.body.first_chunk().copied()
}

/// The body of a `moov` box that `QuickTime` compressed, as it was before.
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
    // Its length as it was before, then the stream.
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

/// Refuses a file, which is `what`.
fn unsupported(what: &str) -> Error {
    let supported = "MP4, MOV, MPEG-TS, Matroska and WebM";
    Error::unsupported(format!("the source is {what}; supported are {supported}"))
}

/// What reading the index of a source of `source_bytes` takes, when its `index` is known to lie there.
pub(crate) fn reads(index: Range<u64>, source_bytes: u64) -> [Range<u64>; 2] {
    let up_to = |end: u64| end.min(source_bytes);
    [
        0..up_to(FIRST_READ_BYTES),
        index.start..up_to(index.end.max(index.start + JUMP_READ_BYTES)),
    ]
}

/// Lengths in memory fit: what is read is bounded by [`MAX_INDEX_BYTES`].
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A walk over the boxes of a file through a buffer that follows it.
struct Search<'a, R> {
    source: &'a R,
    buffer: Bytes,
    buffer_start: u64,
    reads: u32,
}

impl<R: RangeRead> Search<'_, R> {
    /// The header of the box at `at`; `None` at the end of the file.
    async fn header(&mut self, at: u64) -> Result<Option<Header>> {
        let rest = self.source.len() - at;
        if rest < 8 {
            return Ok(None);
        }
        let needed = usize_of(rest.min(16));
        if self.buffered(at).len() < needed {
            let bytes = match self.reads {
                0 => FIRST_READ_BYTES,
                1 => JUMP_READ_BYTES,
                reads if reads < MAX_SEARCH_READS => SEARCH_READ_BYTES,
                _ => return Err(damaged("its boxes are too many to find the index (moov)")),
            };
            self.reads += 1;
            self.buffer = fetch::read_exact(self.source, at..at + rest.min(bytes)).await?;
            self.buffer_start = at;
        }
        Header::read(&self.buffered(at))
    }

    /// What the buffer holds from `at` on.
    fn buffered(&self, at: u64) -> Bytes {
        match at.checked_sub(self.buffer_start).map(usize_of) {
            Some(skip) if skip < self.buffer.len() => self.buffer.slice(skip..),
            _ => Bytes::new(),
        }
    }

    /// A box that is expected to lie in the buffer, as `ftyp` does.
    async fn small_box(&self, at: u64, end: u64, header: Header) -> Result<Child> {
        if end - at > FIRST_READ_BYTES {
            return Err(damaged(format!(
                "box {} is too long",
                fourcc_name(header.kind)
            )));
        }
        let whole = self.bytes(at, end).await?;
        Ok(Child {
            kind: header.kind,
            body: whole.slice(usize_of(header.length)..),
            whole,
        })
    }

    async fn moov(&self, at: u64, end: u64) -> Result<Bytes> {
        if end - at > MAX_INDEX_BYTES {
            return Err(too_long((end - at) >> 20));
        }
        self.bytes(at, end).await
    }

    /// The bytes of the file from `at` to `end`: what the buffer has, and the rest in parallel.
    async fn bytes(&self, at: u64, end: u64) -> Result<Bytes> {
        let mut front = self.buffered(at);
        let length = usize_of(end - at);
        if front.len() >= length {
            front.truncate(length);
            return Ok(front);
        }
        let mut whole = BytesMut::with_capacity(length);
        whole.extend_from_slice(&front);
        let rest = at + front.len() as u64..end;
        let parts = fetch::parts(std::slice::from_ref(&rest), CONNECTIONS);
        let mut parts = std::pin::pin!(fetch::read_parts(self.source, parts, CONNECTIONS));
        while let Some((_, part)) = parts.try_next().await? {
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    }
}
