//! Facts that cutting depends on and that only a source's pictures reveal. We read as few pictures as possible.

use crate::{
    error::{Error, Result},
    h264::{
        self,
        picture::{Field, Picture},
        sps::Sps,
    },
    hevc,
    io::{RangeRead, fetch},
    nal::LengthSize,
    read::samples::SampleTable,
    read::track::Track,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use std::collections::BTreeMap;

/// Bytes of a sample that are read: more than its parameter sets and messages take.
const HEAD_BYTES: u64 = 16 << 10;
/// How many keyframes of H.265 are looked at in search of one that decoding can begin with.
const FIRST_KEYFRAMES: usize = 4;
/// How many samples behind the first, and behind keyframes, are looked at in search of fields.
const SAMPLES: u32 = 4;
/// How many keyframes those are.
const KEYFRAMES: usize = 4;
/// Samples that are read at once.
const SAMPLES_AT_ONCE: usize = 8;
/// `chroma_format_idc` of 4:4:4.
const YUV444: u32 = 3;

/// Looks at pictures of a source, where its index gives a reason to:
///
/// - keyframes, where all samples are said to be some, or where those that are said to be are no larger than others, and of
///   H.265 always: what none is does not count as one, and of intra refresh (a keyframe's parts spread over several
///   pictures) it counts only once all parts are there;
/// - the first picture of 4:4:4 and of what may be lossless, for x264's version: decoders take it into account.
///
/// Returns the sample that decoding begins with, where pictures that are shown before its own are in the source.
///
/// # Errors
/// [`Error::Unsupported`] where decoding can begin nowhere; and whatever the source raises.
pub(crate) async fn look(track: &mut Track, source: &impl RangeRead) -> Result<Option<u32>> {
    if track.codec == "hevc" && track.samples.count > 1 {
        return look_at_hevc(&mut track.samples, source).await;
    }
    let Some(look) = Look::of(track, source) else {
        return Ok(None);
    };
    let table = &mut track.samples;
    look.at_keyframes(table).await?;
    look.at_version(table).await?;
    look.at_start(table).await
}

async fn look_at_hevc(table: &mut SampleTable, source: &impl RangeRead) -> Result<Option<u32>> {
    let Some(size) = hevc::length_size(&table.descriptions) else {
        return Ok(None);
    };
    let picture = async |table: &SampleTable, sample| {
        let head = bytes_of(source, table, sample, HEAD_BYTES).await?;
        Ok::<_, Error>(hevc::picture(&head, size))
    };
    let is_none =
        |found: Option<hevc::Picture>| found.is_some_and(|found| !found.is_random_access());
    let second = table.second_keyframe();
    let (first, second, behind_first) = future::try_join3(
        picture(table, 0),
        picture(table, second.unwrap_or(0)),
        picture(table, 1),
    )
    .await?;
    if is_none(second) {
        table.only_first_is_keyframe();
    }
    let mut begins_with = None;
    for sample in table.first_keyframes().take(FIRST_KEYFRAMES) {
        let found = if sample == 0 {
            first
        } else {
            picture(table, sample).await?
        };
        if !is_none(found) {
            begins_with = Some(sample);
            break;
        }
    }
    let begins_with = begins_with.ok_or_else(|| {
        Error::unsupported("decoding cannot begin at any of the source's keyframes")
    })?;
    // Pictures behind the first may need what is in front of it.
    let is_whole = begins_with == 0 && behind_first != Some(hevc::Picture::Rasl);
    Ok((!is_whole).then_some(begins_with))
}

/// How long the field lasts that is the first of a frame, at the least, where fields have samples of their own. Pictures
/// are looked at in a few places; how long samples last tells the fields of all others, and where it does not, those of
/// these.
///
/// # Errors
/// [`Error::Unsupported`] where they cannot be told; and whatever the source raises.
pub(crate) async fn field_duration(track: &Track, source: &impl RangeRead) -> Result<Option<u32>> {
    let Some(look) = Look::of(track, source).filter(|look| !look.sps.shape.frame_mbs_only) else {
        return Ok(None);
    };
    let table = &track.samples;
    let looked_at = look.at_fields(table).await?;
    let at = |sample: u32| looked_at.get(&sample).copied();
    let is_frame = |one: Field, other: Field| {
        one.frame_num == other.frame_num && one.is_bottom != other.is_bottom
    };
    let mut durations = Vec::new();
    for frame in table.frames()? {
        if let (Some(Some(one)), Some(Some(other))) = (at(frame.index), at(frame.end))
            && is_frame(one, other)
        {
            durations.push(frame.duration);
        }
    }
    let Some(shortest) = durations.into_iter().min() else {
        return Ok(None);
    };
    let mut table = table.clone();
    table.field_duration = Some(shortest);
    for frame in table.frames()? {
        let is_right = match (at(frame.index), at(frame.end - 1)) {
            (Some(Some(one)), Some(Some(other))) => is_frame(one, other),
            (Some(one), Some(other)) => {
                one.is_none() && other.is_none() && frame.end - frame.index == 1
            }
            _ => true,
        };
        if !is_right {
            return Err(Error::unsupported(
                "the source is field-coded H.264 (PAFF) whose times do not tell its fields from its frames, which is \
                 not supported",
            ));
        }
    }
    Ok(Some(shortest))
}

struct Look<'a, R> {
    source: &'a R,
    sps: Sps,
    length_size: LengthSize,
}

impl<'a, R: RangeRead> Look<'a, R> {
    /// `None` for what pictures tell nothing of.
    fn of(track: &Track, source: &'a R) -> Option<Self> {
        if track.codec != "h264" || track.samples.count < 2 {
            return None;
        }
        let (sps, length_size) = h264::parameters(&track.samples.descriptions)?;
        Some(Self {
            source,
            sps,
            length_size,
        })
    }

    async fn at(&self, table: &SampleTable, sample: u32) -> Result<Option<Picture>> {
        let head = bytes_of(self.source, table, sample, HEAD_BYTES).await?;
        Ok(Picture::read(&head, &self.sps, self.length_size))
    }

    /// Which of some samples are a field; those that cannot be read are none of them.
    async fn at_fields(&self, table: &SampleTable) -> Result<BTreeMap<u32, Option<Field>>> {
        let samples = table.keyframes(KEYFRAMES).flat_map(|keyframe| {
            let end = keyframe.saturating_add(SAMPLES).min(table.count);
            keyframe..end
        });
        let field = async |sample| {
            let picture = self.at(table, sample).await?;
            let field = match picture.as_ref().map(|picture| picture.field) {
                Some(Some(_)) => {
                    let whole = bytes_of(self.source, table, sample, u64::MAX).await?;
                    Picture::lone_field(&whole, &self.sps, self.length_size)
                }
                _ => None,
            };
            Ok::<_, Error>(picture.map(|_| (sample, field)))
        };
        let looked_at = stream::iter(samples).map(field).buffered(SAMPLES_AT_ONCE);
        looked_at
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await
    }

    async fn at_keyframes(&self, table: &mut SampleTable) -> Result<()> {
        let Some(second) = table.doubtful_keyframe() else {
            return Ok(());
        };
        let Some(picture) = self.at(table, second).await? else {
            return Ok(());
        };
        match picture.recovery_frames {
            _ if picture.is_idr || picture.is_intra => {}
            Some(0) => {}
            Some(frames) => table.recovery_frames = frames,
            None => table.only_first_is_keyframe(),
        }
        Ok(())
    }

    /// A recording may begin between keyframes.
    async fn at_start(&self, table: &SampleTable) -> Result<Option<u32>> {
        let first = table.first_keyframes().next().filter(|first| *first > 0);
        if first.is_none() {
            return Ok(None);
        }
        let picture = self.at(table, 0).await?;
        let is_start = |picture: Picture| {
            picture.is_idr || picture.is_intra || picture.recovery_frames.is_some()
        };
        Ok(first.filter(|_| picture.is_some_and(|picture| !is_start(picture))))
    }

    async fn at_version(&self, table: &mut SampleTable) -> Result<()> {
        let shape = &self.sps.shape;
        if (shape.chroma_format == YUV444 || shape.may_be_lossless)
            && let Some(first) = self.at(table, 0).await?
        {
            table.preamble = first.version.unwrap_or_default().into();
        }
        Ok(())
    }
}

/// Up to so many bytes of a sample.
async fn bytes_of(
    source: &impl RangeRead,
    table: &SampleTable,
    sample: u32,
    most: u64,
) -> Result<Bytes> {
    let Some(run) = table.chunk_runs(sample..sample + 1).next() else {
        return Ok(Bytes::new());
    };
    fetch::read_exact(source, run.offset..run.offset + run.bytes.min(most)).await
}
