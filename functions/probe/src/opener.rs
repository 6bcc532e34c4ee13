//! Opens sources and plans cuts of them, on their frames.

use aws::source::S3Source;
use ffmpeg::{
    process::{Ffmpeg, Limits},
    remux::{Media, RemuxedRange, Remuxer, Samples},
    scratch::Scratch,
    smart,
};
use model::{
    ClipError, ErrorKind,
    error::why_encoded_whole,
    plan::{PinnedObject, Plan, PlannedSegment, SourceFacts, remuxed_range_bytes},
    recordings::unless_empty,
    request::{ClipRequest, Cut, MAX_SEGMENTS, Source},
};
use mp4_cut::{Movie, SmartCut, SmartCutError};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// How long each excerpt may take; anything longer is not for a Lambda.
const REMUX_TIME: Duration = Duration::from_secs(40);

/// How many bytes of indexes are kept until all cuts are planned. Anything beyond that is read again, so that many
/// sources with long indexes fit into the function's memory.
const MAX_HELD_BYTES: u64 = 256 << 20;
/// Sources that are opened concurrently.
pub(crate) const SOURCES_AT_ONCE: usize = 8;

/// A source that was opened.
pub(crate) struct Opened {
    pub object: PinnedObject,
    pub facts: SourceFacts,
    /// `None` if the index was too long to be kept.
    media: Option<Media<S3Source>>,
}

/// Opens sources and plans cuts of them.
pub(crate) struct Opener<'a> {
    pub s3: &'a aws_sdk_s3::Client,
    request: &'a ClipRequest,
    ffmpeg: &'a Ffmpeg,
    scratch: Scratch,
    scratch_bytes: u64,
    max_whole_bytes: u64,
    /// How much of [`scratch_bytes`](Self::scratch_bytes) is reserved for excerpts.
    promised_bytes: AtomicU64,
    /// The indexes that are kept, in bytes.
    held_bytes: AtomicU64,
    /// What cuts are made from, by their numbers.
    cuts: Mutex<BTreeMap<usize, (Movie, Samples<S3Source>)>>,
}

/// Checks the number of cuts: a source may consist of pieces, each of which needs its own cut.
pub(crate) fn check_pieces(cuts: usize) -> Result<(), ClipError> {
    if cuts > MAX_SEGMENTS {
        return Err(ClipError::too_long(format!(
            "segments: the clip takes {cuts} cuts, as its sources consist of pieces; at most {MAX_SEGMENTS} are possible"
        )));
    }
    Ok(())
}

impl<'a> Opener<'a> {
    /// Opens what `request` is cut from, in a private folder with `scratch_bytes` bytes. Sources of up to
    /// `max_whole_bytes` may be read from their start.
    pub fn new(
        s3: &'a aws_sdk_s3::Client,
        request: &'a ClipRequest,
        ffmpeg: &'a Ffmpeg,
        scratch_bytes: u64,
        max_whole_bytes: u64,
    ) -> Result<Self, ClipError> {
        Ok(Self {
            s3,
            request,
            ffmpeg,
            scratch: Scratch::new(0, scratch_bytes)?,
            scratch_bytes,
            max_whole_bytes,
            promised_bytes: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            cuts: Mutex::default(),
        })
    }

    fn remuxer(&self) -> Remuxer<'_> {
        let limits = Limits {
            time: REMUX_TIME,
            file_bytes: self.scratch_bytes,
        };
        Remuxer {
            ffmpeg: self.ffmpeg,
            scratch: &self.scratch,
            limits,
            max_whole_bytes: self.max_whole_bytes.min(self.scratch_bytes / 2),
        }
    }

    /// Pins an object and opens it.
    pub async fn open(&self, at: &Source) -> Result<Opened, ClipError> {
        let source = S3Source::pin(self.s3.clone(), at).await?;
        let object = source.object().clone();
        let media = Media::open(source, self.remuxer()).await?;
        let (facts, bytes) = (media.facts.clone(), media.facts.index_bytes);
        let is_held = self.held_bytes.fetch_add(bytes, Relaxed) + bytes <= MAX_HELD_BYTES;
        if !is_held {
            self.held_bytes.fetch_sub(bytes, Relaxed);
        }
        Ok(Opened {
            object,
            facts,
            media: is_held.then_some(media),
        })
    }

    /// Plans the cut `number` of the clip from `opened`, which will be the plan's source number `source`. For a source
    /// that consists of pieces, plans one cut for each that the interval shows.
    pub async fn plan(
        &self,
        opened: &Opened,
        source: usize,
        interval: (f64, f64),
        number: usize,
    ) -> Result<Vec<PlannedSegment>, ClipError> {
        if let Some(media) = &opened.media {
            return self.plan_parts(media, source, interval, number, true).await;
        }
        let again = S3Source::pinned(self.s3.clone(), opened.object.clone());
        let media = Media::reopen(again, opened.facts.clone(), self.remuxer()).await?;
        self.plan_parts(&media, source, interval, number, false)
            .await
    }

    async fn plan_parts(
        &self,
        media: &Media<S3Source>,
        source: usize,
        interval: (f64, f64),
        number: usize,
        is_held: bool,
    ) -> Result<Vec<PlannedSegment>, ClipError> {
        let parts = media.parts(interval);
        let first = number * MAX_SEGMENTS;
        if let [part] = parts.as_slice() {
            let segment = self.plan_of(media, source, *part, first, is_held).await?;
            return Ok(vec![segment]);
        }
        let mut segments = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            let planned = self
                .plan_of(media, source, part, first + index, is_held)
                .await;
            // The interval may begin or end less than half a frame from a piece's boundary.
            segments.extend(unless_empty(planned)?);
        }
        if segments.is_empty() {
            let (start, end) = interval;
            return Err(ClipError::invalid_request(format!(
                "end: no frame lies between {start} s and {end} s"
            )));
        }
        Ok(segments)
    }

    async fn plan_of(
        &self,
        media: &Media<S3Source>,
        source: usize,
        interval: (f64, f64),
        number: usize,
        is_held: bool,
    ) -> Result<PlannedSegment, ClipError> {
        if media.is_remuxed() {
            let bytes = remuxed_range_bytes(media.bytes_of(interval.1 - interval.0));
            let promised_bytes = self.promised_bytes.fetch_add(bytes, Relaxed);
            if promised_bytes.saturating_add(bytes) > self.scratch_bytes {
                return self.estimate(media, source, interval);
            }
        }
        let name = format!("excerpt-{number}.mp4");
        let remuxed_range = match media
            .remuxed_range(interval, None, &name, self.remuxer())
            .await
        {
            Err(error) if error.kind == ErrorKind::TrimBudgetExceeded => {
                return self.estimate(media, source, interval);
            }
            remuxed_range => remuxed_range?,
        };
        let RemuxedRange {
            movie,
            samples,
            lead_seconds,
        } = remuxed_range;
        let window = movie.window(interval.0, interval.1)?.facts;
        if is_held {
            let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
            cuts.insert(number, (movie, samples));
        }
        Ok(PlannedSegment {
            source,
            window,
            smart_cut: None,
            lead_seconds,
        })
    }

    /// Plans a cut that is too long to remux, so that only `MediaConvert` can make it.
    fn estimate(
        &self,
        media: &Media<S3Source>,
        source: usize,
        interval: (f64, f64),
    ) -> Result<PlannedSegment, ClipError> {
        if self.request.cut == Cut::Copy {
            let (container, bytes) = (&media.facts.container, self.scratch_bytes);
            return Err(ClipError::too_long(format!(
                "end: a copy out of {container} needs more working space than the {bytes} bytes available"
            )));
        }
        let window = media.estimate(interval)?;
        Ok(PlannedSegment {
            source,
            window,
            smart_cut: None,
            lead_seconds: None,
        })
    }

    /// Determines how little of the planned cuts has to be encoded, if the indexes of all are kept.
    pub async fn smart_cut(&self, plan: &mut Plan) -> Result<(), ClipError> {
        let cuts = std::mem::take(&mut *self.cuts.lock().unwrap_or_else(PoisonError::into_inner));
        if cuts.len() != plan.segments.len() {
            return Ok(());
        }
        let cuts = cuts.values().zip(&plan.segments).map(
            |((movie, samples), PlannedSegment { window, .. })| {
                (movie, samples, window.start_seconds, window.end_seconds)
            },
        );
        let cuts: Vec<_> = cuts.collect();
        match self.choose(&cuts).await {
            Ok(smart_cut) => {
                for (segment, cut) in plan.segments.iter_mut().zip(smart_cut.cuts) {
                    segment.smart_cut = Some(cut.facts);
                }
                Ok(())
            }
            Err(error) => why_encoded_whole(error).map(|_| ()),
        }
    }

    async fn choose(
        &self,
        cuts: &[(&Movie, &Samples<S3Source>, f64, f64)],
    ) -> Result<SmartCut, SmartCutError> {
        if let Some((movie, ..)) = cuts.first() {
            self.request.format.check_pictures(&movie.facts.video)?;
        }
        let smart_cut = SmartCut::of(cuts).await?;
        smart::check_encoder(self.ffmpeg, &smart_cut).await?;
        Ok(smart_cut)
    }
}
