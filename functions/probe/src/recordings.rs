//! Finds a camera's recordings, and plans what of each a window of the clock needs.
//!
//! One listing, from a key to a key, whatever the archive's size; then the indexes of those recordings that the window
//! needs. The times of the clock are exact to the precision of the keys.

use crate::{SOURCES_AT_ONCE, pin};
use clipflow_core::{
    ClipError, ErrorKind, aws, config,
    mp4::Movie,
    plan::{Plan, PlannedSegment, ProbedSource},
    recordings::{CameraWindow, Coverage, Interval, KeyTemplate, Piece, RequiredCoverage, pieces},
    request::{MAX_SEGMENTS, Source},
    timestamp::{Timestamp, clock},
};
use futures::{StreamExt, TryStreamExt, stream};

/// Pages of a thousand keys that a listing has at the most.
const MAX_PAGES: usize = 4;
/// The key of a recording that began in a leap second sorts as much before its time, in milliseconds.
const LEAP_SECOND_MS: i64 = 1000;
/// A recording may be this late, in milliseconds; what is not there then will not come any more.
const MAX_DELAY_MS: i64 = 3_600_000;

/// Where this deployment's recordings are.
#[derive(Debug, Clone)]
pub struct Recordings {
    /// Their bucket.
    pub bucket: String,
    /// Their keys.
    pub key_template: KeyTemplate,
    /// The longest recording, in milliseconds: how long before a window the first recording that it needs can begin.
    pub longest_ms: i64,
    /// How long recordings are kept, in milliseconds.
    pub retention_ms: i64,
}

impl Recordings {
    /// Reads the configuration; `None` for a deployment without recordings.
    ///
    /// # Errors
    /// `Internal`, naming the variable that is missing or wrong.
    pub fn from_env() -> Result<Option<Self>, ClipError> {
        const KEY_TEMPLATE: &str = "CLIPFLOW_RECORDINGS_KEY_TEMPLATE";
        let Some(bucket) = config::optional("CLIPFLOW_RECORDINGS_BUCKET") else { return Ok(None) };
        let key_template = config::required(KEY_TEMPLATE)?.parse();
        Ok(Some(Self {
            bucket,
            key_template: key_template
                .map_err(|error| ClipError::internal(format!("environment variable {KEY_TEMPLATE}: {error}")))?,
            longest_ms: config::parsed::<i64>("CLIPFLOW_RECORDINGS_LONGEST_SECONDS")? * 1000,
            retention_ms: config::parsed::<i64>("CLIPFLOW_RECORDINGS_RETENTION_SECONDS")? * 1000,
        }))
    }

    /// Plans a window for an execution that was started at `started_at` and has `waited` for recordings, or has not.
    ///
    /// # Errors
    /// `OutOfRange` for a window that is older than what is kept; `SourceNotReady` when the recording of its end may yet
    /// come, and `SourceNotFound` when it will not; `IncompleteCoverage` for a gap in a window that may have none;
    /// `TooLong` for a window of too many recordings; and whatever reading a recording raises.
    pub async fn plan(
        &self,
        s3: &aws_sdk_s3::Client,
        camera: &CameraWindow,
        started_at: Timestamp,
        waited: bool,
    ) -> Result<Plan, ClipError> {
        let window = camera.interval;
        if window.start_ms < started_at.ms() - self.retention_ms {
            let (start, hours) = (clock(window.start_ms), self.retention_ms / 3_600_000);
            let message = format!("startTimestampInMs: {start} is older than the {hours} h that recordings are kept");
            return Err(ClipError::out_of_range(message));
        }
        let listing = self.list(s3, camera).await?;
        let recordings = self.read(s3, window, &listing.begun).await?;
        let coverage = self.coverage(window, &recordings);
        let may_come = !waited && started_at.ms() < window.end_ms + self.longest_ms + MAX_DELAY_MS;
        judge(camera, &coverage, listing.is_newer, may_come)?;
        cut(window, &recordings, coverage)
    }

    /// The recordings that the window may need, in one listing from a key to a key.
    async fn list(&self, s3: &aws_sdk_s3::Client, camera: &CameraWindow) -> Result<Listing, ClipError> {
        let (window, camera) = (camera.interval, camera.camera_id.as_str());
        let first = self.key_template.key(camera, window.start_ms - self.longest_ms - LEAP_SECOND_MS);
        let last = self.key_template.key(camera, window.end_ms);
        let list = s3.list_objects_v2().bucket(&self.bucket).prefix(self.key_template.prefix(camera));
        let mut pages = list.start_after(first).into_paginator().send();
        let mut begun = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = match pages.next().await {
                Some(page) => page.map_err(|error| aws::failure(&format!("listing s3://{}", self.bucket), &error))?,
                None => return Ok(Listing { begun, is_newer: false }),
            };
            for key in page.contents().iter().filter_map(|object| object.key()) {
                match self.key_template.start_ms(camera, key) {
                    Some(start_ms) if start_ms >= window.end_ms => return Ok(Listing { begun, is_newer: true }),
                    Some(start_ms) => begun.push(Key { key: key.to_owned(), start_ms }),
                    // Another camera's, whose name begins like this one's.
                    None if key > last.as_str() => return Ok(Listing { begun, is_newer: false }),
                    None => {}
                }
            }
        }
        let most = MAX_PAGES * 1000;
        Err(ClipError::too_long(format!("cameraId: {camera} has more than {most} objects about the window")))
    }

    /// Reads the indexes of those recordings that the window needs: the last that began before it, those that begin in
    /// it, and earlier ones for as long as something is missing that they may hold.
    async fn read(
        &self,
        s3: &aws_sdk_s3::Client,
        window: Interval,
        begun: &[Key],
    ) -> Result<Vec<Recording>, ClipError> {
        let within = begun.partition_point(|recording| recording.start_ms <= window.start_ms);
        let (earlier, needed) = begun.split_at(within.saturating_sub(1));
        if needed.len() > MAX_SEGMENTS {
            let message =
                format!("endTimestampInMs: the window has {} recordings, at most {MAX_SEGMENTS}", needed.len());
            return Err(ClipError::too_long(message));
        }
        let reads = needed.iter().map(|recording| self.read_one(s3, recording));
        let mut recordings: Vec<_> = stream::iter(reads).buffered(SOURCES_AT_ONCE).try_collect().await?;
        for recording in earlier.iter().rev() {
            match self.coverage(window, &recordings).missing.first() {
                Some(missing) if recording.start_ms + self.longest_ms > missing.start_ms => {
                    recordings.push(self.read_one(s3, recording).await?);
                }
                _ => break,
            }
        }
        Ok(recordings)
    }

    async fn read_one(&self, s3: &aws_sdk_s3::Client, Key { key, start_ms }: &Key) -> Result<Recording, ClipError> {
        let at = Source { bucket: self.bucket.clone(), key: key.clone() };
        let (source, movie) = pin(s3, &at)
            .await
            .map_err(|error| ClipError { message: format!("recording {key}: {}", error.message), ..error })?;
        let video = &movie.facts.video;
        let shown_at = |seconds: f64| start_ms + milliseconds(seconds);
        let interval = Interval {
            start_ms: shown_at(video.start_seconds),
            end_ms: shown_at(video.start_seconds + video.duration_seconds),
        };
        Ok(Recording { start_ms: *start_ms, interval, source, movie })
    }

    /// What recordings cover of a window. A gap that is shorter than a frame, or that may be but the inexactness of
    /// keys, is none.
    fn coverage(&self, window: Interval, recordings: &[Recording]) -> Coverage {
        let frames = recordings.iter().map(|recording| milliseconds(1.0 / recording.movie.facts.video.frame_rate));
        let tolerance_ms = self.key_template.precision_ms() + frames.max().unwrap_or(0);
        Coverage::of(window, &pieces(window, &intervals(recordings)), tolerance_ms)
    }
}

/// The camera's recordings that began before a window's end, in order, the first as much before it as a recording can
/// be long.
#[derive(Debug)]
struct Listing {
    begun: Vec<Key>,
    /// Whether there is a recording that began later.
    is_newer: bool,
}

#[derive(Debug)]
struct Key {
    key: String,
    start_ms: i64,
}

/// A recording whose index was read.
#[derive(Debug)]
struct Recording {
    /// When its second 0 was.
    start_ms: i64,
    /// When its pictures are shown.
    interval: Interval,
    source: ProbedSource,
    movie: Movie,
}

fn intervals(recordings: &[Recording]) -> Vec<Interval> {
    recordings.iter().map(|recording| recording.interval).collect()
}

/// Whether as much of the window is there as must be.
fn judge(camera: &CameraWindow, coverage: &Coverage, is_newer: bool, may_come: bool) -> Result<(), ClipError> {
    let Some(last) = coverage.missing.last() else { return Ok(()) };
    let must_be_complete = camera.coverage == RequiredCoverage::Complete;
    // What no recording has shown by the time that a newer one is there is a gap.
    let end_is_missing = last.end_ms == camera.interval.end_ms && !is_newer;
    let gaps = coverage.missing.len() - usize::from(end_is_missing);
    let missing = format!("cameraId: {} has no recording of {}", camera.camera_id, list(&coverage.missing));
    if must_be_complete && gaps > 0 {
        Err(ClipError::incomplete_coverage(missing))
    } else if end_is_missing && may_come {
        Err(ClipError::source_not_ready(format!("{missing} yet")))
    } else if must_be_complete || coverage.covered.is_empty() {
        Err(ClipError::source_not_found(missing))
    } else {
        Ok(())
    }
}

/// Intervals for a person; the first few of many.
fn list(intervals: &[Interval]) -> String {
    const MOST: usize = 5;
    let each = intervals.iter().take(MOST).map(|one| format!("{} to {}", clock(one.start_ms), clock(one.end_ms)));
    let more = intervals.len().saturating_sub(MOST);
    each.chain((more > 0).then(|| format!("{more} more"))).collect::<Vec<_>>().join(", ")
}

/// Cuts what the window needs of each recording, on its frames.
fn cut(window: Interval, recordings: &[Recording], coverage: Coverage) -> Result<Plan, ClipError> {
    let mut plan = Plan { sources: Vec::new(), segments: Vec::new(), coverage: Some(coverage) };
    let mut without_frame = None;
    for Piece { recording, interval } in pieces(window, &intervals(recordings)) {
        let Recording { start_ms, source, movie, .. } = &recordings[recording];
        match movie.window(seconds(interval.start_ms - start_ms), seconds(interval.end_ms - start_ms)) {
            Ok(window) => {
                plan.segments.push(PlannedSegment { source: plan.sources.len(), window: window.facts });
                plan.sources.push(source.clone());
            }
            // A piece that is shorter than a frame may hold none.
            Err(error) if error.kind == ErrorKind::InvalidRequest => without_frame = Some(error),
            Err(error) => return Err(error),
        }
    }
    match without_frame {
        Some(error) if plan.segments.is_empty() => Err(error),
        _ => Ok(plan),
    }
}

#[expect(clippy::cast_precision_loss, reason = "within a recording")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}
