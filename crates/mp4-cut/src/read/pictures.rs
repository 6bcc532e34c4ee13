//! What only the pictures of a source tell, and cutting depends on. As few of them as possible are looked at.

use crate::{
    error::{Error, Result},
    h264::{self, picture::Picture, sps::Sps},
    io::{RangeRead, fetch},
    nal::LengthSize,
    read::samples::SampleTable,
    read::track::Track,
};
use futures_util::{StreamExt, TryStreamExt, stream};

/// Bytes of a sample that are read: more than its parameter sets and messages take.
const HEAD_BYTES: u64 = 16 << 10;
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
/// - keyframes, where all samples are said to be some, or where those that are said to be are no larger than others: what
///   none is does not count as one, and of intra refresh (a keyframe's parts spread over several pictures) it counts only
///   once all parts are there;
/// - the first picture of 4:4:4, for x264's version: decoders take it into account;
/// - pictures that may be fields.
///
/// # Errors
/// [`Error::Unsupported`] for a source whose samples are fields; and whatever the source raises.
pub(crate) async fn look(track: &mut Track, source: &impl RangeRead) -> Result<()> {
    if track.codec != "h264" || track.samples.count < 2 {
        return Ok(());
    }
    let Some((sps, length_size)) = h264::parameters(&track.samples.descriptions) else {
        return Ok(());
    };
    let look = Look {
        source,
        sps,
        length_size,
    };
    look.at_keyframes(&mut track.samples).await?;
    look.at_version(&mut track.samples).await?;
    look.at_fields(&track.samples).await
}

struct Look<'a, R> {
    source: &'a R,
    sps: Sps,
    length_size: LengthSize,
}

impl<R: RangeRead> Look<'_, R> {
    async fn at(&self, table: &SampleTable, sample: u32) -> Result<Option<Picture>> {
        let Some(run) = table.chunk_runs(sample..sample + 1).next() else {
            return Ok(None);
        };
        let head = run.offset..run.offset + run.bytes.min(HEAD_BYTES);
        let head = fetch::read_exact(self.source, head).await?;
        Ok(Picture::read(&head, &self.sps, self.length_size))
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

    async fn at_version(&self, table: &mut SampleTable) -> Result<()> {
        if self.sps.shape.chroma_format == YUV444
            && let Some(first) = self.at(table, 0).await?
        {
            table.preamble = first.version.unwrap_or_default().into();
        }
        Ok(())
    }

    async fn at_fields(&self, table: &SampleTable) -> Result<()> {
        if self.sps.shape.frame_mbs_only {
            return Ok(());
        }
        let looked_at = table.keyframes(KEYFRAMES).flat_map(|keyframe| {
            let end = keyframe.saturating_add(SAMPLES).min(table.count);
            keyframe..end
        });
        let pictures: Vec<_> = stream::iter(looked_at)
            .map(async |sample| Ok::<_, Error>((sample, self.at(table, sample).await?)))
            .buffered(SAMPLES_AT_ONCE)
            .try_collect()
            .await?;
        let field =
            |picture: &Option<Picture>| picture.as_ref().and_then(|found| found.is_bottom_field);
        for pair in pictures.windows(2) {
            let [(one, first), (other, second)] = pair else {
                continue;
            };
            if let (Some(first), Some(second)) = (field(first), field(second))
                && other - one == 1
                && first != second
            {
                return Err(Error::unsupported(
                    "the source is field-coded H.264 (PAFF) with a field in each sample, which is not supported",
                ));
            }
        }
        Ok(())
    }
}
