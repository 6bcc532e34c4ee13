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

/// Bytes of a sample that are read: more than its parameter sets and SEI messages need.
const HEAD_BYTES: u64 = 16 << 10;
/// How many H.265 keyframes are inspected to find one that decoding can begin with.
const FIRST_KEYFRAMES: usize = 4;
/// How many samples after the first, and after keyframes, are inspected for fields.
const SAMPLES: u32 = 4;
/// How many keyframes are inspected for fields.
const KEYFRAMES: usize = 4;
/// Samples that are read at once.
const SAMPLES_AT_ONCE: usize = 8;
/// `chroma_format_idc` of 4:4:4.
const YUV444: u32 = 3;

/// Inspects pictures of a source, if its index gives a reason to:
///
/// - keyframes, if the index marks all samples, or if marked ones are no larger than others, and always for H.265.
///   False ones are unmarked. With intra refresh (a keyframe spread over several pictures), a keyframe counts only once
///   it is complete;
/// - the first picture of 4:4:4 or possibly lossless video, for x264's version, which decoders take into account.
///
/// Returns the sample that decoding begins with, if the source has pictures that are shown before it.
///
/// # Errors
/// [`Error::Unsupported`] if decoding can begin nowhere; and any error from the source.
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
    // Pictures after the first may need what precedes it.
    let is_whole = begins_with == 0 && behind_first != Some(hevc::Picture::Rasl);
    Ok((!is_whole).then_some(begins_with))
}

/// The minimum duration of the first field of a frame, if fields have separate samples. Pictures are inspected in a few
/// places; everywhere else, sample durations tell fields from frames.
///
/// # Errors
/// [`Error::Unsupported`] if they cannot be told apart; and any error from the source.
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
    /// `None` if pictures of this codec reveal nothing.
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

    /// Which of the inspected samples are a field; unreadable ones are omitted.
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

/// Up to this many bytes of a sample.
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
