//! NAL units with length fields of one or two bytes, as old muxers wrote them. Encoded units may be too long for those,
//! so a smart cut is made from a file with four-byte lengths.

use crate::{
    cut::media::{Media, Rewrite, RewrittenSamples},
    cut::smart::{SmartClip, SmartCutError},
    h264, hevc,
    io::RangeRead,
    mux::{Edit, Layout, OutputTrack, PlacedChunk, layout},
    nal::LengthSize,
    read::movie::Movie,
    read::samples::{ChunkRun, SampleList},
    read::track::Track,
    time::rescale,
};
use bytes::Bytes;

impl Movie {
    /// The file that this movie was read from, with four-byte NAL unit lengths; `None` if it has them already.
    ///
    /// # Errors
    /// [`SmartCutError::Ineligible`] for samples that do not consist of NAL units, and any error from the file.
    pub async fn with_long_lengths<R: RangeRead + Clone>(
        &self,
        file: &R,
    ) -> Result<Option<SmartClip<R>>, SmartCutError> {
        let table = &self.video.samples;
        let Some((size, descriptions)) = short_lengths(&self.video) else {
            return Ok(None);
        };
        let rewrite = Rewrite::LongLengths(size);
        let rewritten = RewrittenSamples::read(file, table, rewrite, |_| Ok(())).await??;
        let video = OutputTrack {
            descriptions,
            samples: SampleList {
                sizes: rewritten.sizes(),
                ..table.select(0..table.count)
            },
            chunks: rewritten_chunks(&rewritten, table.chunk_runs(0..table.count)),
            ..self.whole_track(&self.video)
        };
        let mut tracks = vec![video];
        tracks.extend(
            self.audio
                .iter()
                .chain(&self.more_audio)
                .map(|audio| self.whole_track(audio)),
        );
        let Layout {
            header,
            copies,
            bytes,
        } = layout(self, self.mvhd.timescale, &[tracks])?;
        Ok(Some(SmartClip {
            output_bytes: bytes,
            header,
            copies: copies.into_iter().flatten().collect(),
            files: [
                Media::rewritten(file.clone(), rewritten),
                Media::of(file.clone()),
            ]
            .into(),
        }))
    }

    /// A whole track, unchanged.
    fn whole_track<'a>(&self, track: &'a Track) -> OutputTrack<'a> {
        let (table, edit) = (&track.samples, track.edit_segment);
        let in_movie = |ticks: i64| {
            let ticks = rescale(ticks, edit.timescale, self.mvhd.timescale);
            ticks.max(0).cast_unsigned()
        };
        let chunks = table.chunk_runs(0..table.count).map(|run| PlacedChunk {
            file: 1,
            order: run.offset,
            run,
        });
        // The last picture may be shown later than the sum of all durations.
        let end = match edit.media_end {
            i64::MAX => table.duration,
            end => end,
        };
        OutputTrack {
            source: track,
            timescale: edit.timescale,
            descriptions: table.descriptions.clone(),
            group_descriptions: &table.group_descriptions,
            samples: table.select(0..table.count),
            chunks: chunks.collect(),
            edit: Edit {
                empty: in_movie(edit.shown_at),
                media_time: edit.media_start.max(0).cast_unsigned(),
                duration: in_movie(end - edit.media_start),
            },
        }
    }
}

/// The size of a track's NAL unit lengths if it is not four bytes, and its `stsd` box as if it were.
fn short_lengths(video: &Track) -> Option<(LengthSize, Bytes)> {
    let stsd = &video.samples.descriptions;
    let (size, long) = match video.codec.as_str() {
        "h264" => (h264::length_size(stsd)?, h264::with_long_lengths(stsd)),
        "hevc" => (hevc::length_size(stsd)?, hevc::with_long_lengths(stsd)),
        _ => return None,
    };
    if size == LengthSize::Four {
        return None;
    }
    Some((size, long?))
}

/// The chunks of rewritten samples, in the order of the original file.
fn rewritten_chunks(
    rewritten: &RewrittenSamples,
    runs: impl Iterator<Item = ChunkRun>,
) -> Vec<PlacedChunk> {
    let mut first = 0;
    let mut chunks = Vec::new();
    for run in runs {
        let samples = first..first + run.samples;
        first = samples.end;
        chunks.push(PlacedChunk {
            file: 0,
            order: run.offset,
            run: ChunkRun {
                description: run.description,
                ..rewritten.run(samples)
            },
        });
    }
    chunks
}
