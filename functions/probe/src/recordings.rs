//! Finds a camera's recordings, and plans which part of each an interval of clock time needs.
//!
//! One listing, from one key to another, finds them in an archive of any size. Then the recordings that the window
//! needs are opened. Clock times are as precise as the keys.
//!
//! A recording is opened only if the window needs it: the last one that began before the window, those that begin
//! within it, and earlier ones as long as they may contain something that is still missing. It starts at the time of
//! its key and ends with its pictures.

use crate::opener::{Opened, Opener, SOURCES_AT_ONCE, check_pieces};
use aws::s3_error::Call;
use futures::{StreamExt, stream};
use lambda::environment;
use model::{
    ClipError, ErrorKind,
    plan::{Plan, ProbedSource},
    recordings::{
        self, CameraWindow, Coverage, Gap, Interval, KeyTemplate, Recording, RequiredCoverage,
    },
    request::{MAX_SEGMENTS, Source},
    text::shorten,
    timestamp::{Timestamp, clock},
};

/// The longest reason why a recording cannot be read, in bytes.
const MAX_REASON_BYTES: usize = 300;
/// The most pages, of a thousand keys each, in a listing.
const MAX_PAGES: usize = 4;
/// By how much the key of a recording that began in a leap second sorts before its time, in milliseconds.
const LEAP_SECOND_MS: i64 = 1000;
/// A recording may be this late, in milliseconds; if it has not arrived by then, it will not arrive.
const MAX_DELAY_MS: i64 = 3_600_000;

/// Where this deployment's recordings are.
#[derive(Debug, Clone)]
pub struct Recordings {
    /// Their bucket.
    pub bucket: String,
    /// Their keys.
    pub key_template: KeyTemplate,
    /// The longest recording, in milliseconds: how long before a window its first recording may begin.
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
        let Some(bucket) = environment::optional("CLIPFLOW_RECORDINGS_BUCKET") else {
            return Ok(None);
        };
        let key_template = environment::required(KEY_TEMPLATE)?.parse();
        Ok(Some(Self {
            bucket,
            key_template: key_template.map_err(|error| {
                ClipError::internal(format!("environment variable {KEY_TEMPLATE}: {error}"))
            })?,
            longest_ms: environment::parsed::<i64>("CLIPFLOW_RECORDINGS_LONGEST_SECONDS")? * 1000,
            retention_ms: environment::parsed::<i64>("CLIPFLOW_RECORDINGS_RETENTION_SECONDS")?
                * 1000,
        }))
    }

    /// Plans a window for an execution that was started at `started_at`. `waited` says whether it has already waited
    /// for recordings.
    ///
    /// # Errors
    /// `OutOfRange` for a window that is older than the retention; `SourceNotReady` if the recording of its end may
    /// still arrive, and `SourceNotFound` if it will not; `IncompleteCoverage` for a gap in a window that may have
    /// none; `TooLong` for a window with too many recordings; and any error from reading a recording.
    pub(crate) async fn plan(
        &self,
        opener: &Opener<'_>,
        camera: &CameraWindow,
        started_at: Timestamp,
        waited: bool,
    ) -> Result<Plan, ClipError> {
        let window = camera.interval;
        if window.start_ms < started_at.ms() - self.retention_ms {
            let (start, hours) = (clock(window.start_ms), self.retention_ms / 3_600_000);
            let message = format!(
                "startTimestampInMs: {start} is older than the {hours} h that recordings are kept"
            );
            return Err(ClipError::out_of_range(message));
        }
        let listing = self.list(opener.s3, camera).await?;
        let mut found = self.open(opener, camera, &listing.begun).await?;
        let may_come = !waited && started_at.ms() < window.end_ms + self.longest_ms + MAX_DELAY_MS;
        loop {
            let coverage = found.coverage(window, self.key_template.precision_ms());
            if let (true, Some(unreadable)) =
                (coverage.covered.is_empty(), found.unreadable.first())
            {
                return Err(unreadable.error.clone());
            }
            check_coverage(camera, &coverage, listing.is_newer, may_come)?;
            match plan_cuts(opener, window, &found.opened, coverage).await {
                Ok(plan) => return Ok(plan),
                // Damage may be noticed only when it is read.
                Err((Some(number), error)) if is_gap(camera, &error) => {
                    let (recording, _) = found.opened.remove(number);
                    let slot = slot(&listing.begun, recording.start_ms, self.longest_ms);
                    found.unreadable.push(Unreadable { slot, error });
                }
                Err((_, error)) => return Err(error),
            }
        }
    }

    /// The recordings that the window may need, in one listing between two keys.
    async fn list(
        &self,
        s3: &aws_sdk_s3::Client,
        camera: &CameraWindow,
    ) -> Result<Listing, ClipError> {
        let (window, camera) = (camera.interval, camera.camera_id.as_str());
        let first = self
            .key_template
            .key(camera, window.start_ms - self.longest_ms - LEAP_SECOND_MS);
        let last = self.key_template.key(camera, window.end_ms);
        let mut pages = s3
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.key_template.prefix(camera))
            .start_after(first)
            .into_paginator()
            .send();
        let call = Call {
            doing: "listing",
            action: "s3:ListBucket",
            bucket: &self.bucket,
            key: "",
        };
        let mut listing = Listing::default();
        for _ in 0..MAX_PAGES {
            let Some(page) = pages.next().await else {
                return Ok(listing);
            };
            let page = page.map_err(|error| call.failure(&error))?;
            for key in page.contents().iter().filter_map(|object| object.key()) {
                match self.key_template.start_ms(camera, key) {
                    Some(start_ms) if start_ms >= window.end_ms => {
                        listing.is_newer = true;
                        return Ok(listing);
                    }
                    Some(start_ms) => listing.begun.push(Key {
                        key: key.to_owned(),
                        start_ms,
                    }),
                    // Another camera's, whose name begins with this one's.
                    None if key > last.as_str() => return Ok(listing),
                    None => {}
                }
            }
        }
        let most = MAX_PAGES * 1000;
        Err(ClipError::too_long(format!(
            "cameraId: {camera} has more than {most} objects about the window"
        )))
    }

    /// Opens the recordings that the window needs: the last that began before it, those that begin in it, and earlier
    /// ones as long as they may contain something that is missing. If gaps are allowed, a recording that cannot be read
    /// is a gap.
    async fn open(
        &self,
        opener: &Opener<'_>,
        camera: &CameraWindow,
        begun: &[Key],
    ) -> Result<Found, ClipError> {
        let window = camera.interval;
        let within = begun.partition_point(|recording| recording.start_ms <= window.start_ms);
        let (earlier, needed) = begun.split_at(within.saturating_sub(1));
        if needed.len() > MAX_SEGMENTS {
            let message = format!(
                "endTimestampInMs: the window spans {} recordings; at most {MAX_SEGMENTS} are allowed",
                needed.len()
            );
            return Err(ClipError::too_long(message));
        }
        let mut found = Found::default();
        let keep = |found: &mut Found, recording: &Key, read: Result<_, ClipError>| {
            match read {
                Ok(one) => found.opened.push(one),
                Err(error) if is_gap(camera, &error) => {
                    let slot = slot(begun, recording.start_ms, self.longest_ms);
                    found.unreadable.push(Unreadable { slot, error });
                }
                Err(error) => return Err(error),
            }
            Ok(())
        };
        let mut reads = stream::iter(
            needed
                .iter()
                .map(async |recording| (recording, self.open_one(opener, recording).await)),
        )
        .buffered(SOURCES_AT_ONCE);
        while let Some((recording, read)) = reads.next().await {
            keep(&mut found, recording, read)?;
        }
        for earlier in earlier.iter().rev() {
            let coverage = found.coverage(window, self.key_template.precision_ms());
            match coverage.missing.first() {
                Some(gap) if earlier.start_ms + self.longest_ms > gap.interval.start_ms => {
                    let read = self.open_one(opener, earlier).await;
                    keep(&mut found, earlier, read)?;
                }
                _ => break,
            }
        }
        Ok(found)
    }

    async fn open_one(
        &self,
        opener: &Opener<'_>,
        Key { key, start_ms }: &Key,
    ) -> Result<(Recording, Opened), ClipError> {
        let at = Source {
            bucket: self.bucket.clone(),
            key: key.clone(),
        };
        let named = |error: ClipError| ClipError {
            message: format!("recording {key}: {}", error.message),
            ..error
        };
        let source = opener.open(&at).await.map_err(named)?;
        let recording = Recording {
            video: source.facts.video.clone(),
            start_ms: *start_ms,
        };
        Ok((recording, source))
    }
}

/// Plans the cuts that a window needs from recordings. An error also says which recording it is about, if any.
async fn plan_cuts(
    opener: &Opener<'_>,
    window: Interval,
    sources: &[(Recording, Opened)],
    coverage: Coverage,
) -> Result<Plan, (Option<usize>, ClipError)> {
    let recordings: Vec<_> = sources
        .iter()
        .map(|(recording, _)| recording.clone())
        .collect();
    let mut plan = Plan {
        sources: Vec::new(),
        segments: Vec::new(),
        coverage: Some(coverage),
        watermark: None,
        encodes_hevc_whole: false,
    };
    for (number, cut) in recordings::cuts(window, &recordings)
        .into_iter()
        .enumerate()
    {
        let (_, recording) = &sources[cut.recording];
        let object = &recording.object;
        let planned = opener
            .plan(recording, plan.sources.len(), cut.interval_seconds, number)
            .await;
        let planned = recordings::unless_empty(planned).map_err(|error| {
            let message = format!("recording {}: {}", object.key, error.message);
            (Some(cut.recording), ClipError { message, ..error })
        })?;
        if let Some(segments) = planned {
            plan.segments.extend(segments);
            let source = ProbedSource::new(object.clone(), recording.facts.clone());
            plan.sources.push(source);
        }
    }
    if plan.segments.is_empty() {
        return Err((None, recordings::no_frame(window)));
    }
    check_pieces(plan.segments.len()).map_err(|error| (None, error))?;
    Ok(plan)
}

/// Whether a recording with this error is a gap. A camera that loses power leaves an empty or truncated file.
fn is_gap(camera: &CameraWindow, error: &ClipError) -> bool {
    camera.coverage == RequiredCoverage::Partial && error.kind == ErrorKind::UnsupportedMedia
}

/// The longest time in which a recording that began at `start_ms` is shown: until the next one began.
fn slot(begun: &[Key], start_ms: i64, longest_ms: i64) -> Interval {
    let next = begun.iter().find(|next| next.start_ms > start_ms);
    let end_ms = next.map_or(i64::MAX, |next| next.start_ms);
    Interval {
        start_ms,
        end_ms: end_ms.min(start_ms + longest_ms),
    }
}

/// The recordings that a window needs.
#[derive(Default)]
struct Found {
    opened: Vec<(Recording, Opened)>,
    unreadable: Vec<Unreadable>,
}

/// A recording that cannot be read.
struct Unreadable {
    slot: Interval,
    error: ClipError,
}

impl Found {
    fn coverage(&self, window: Interval, precision_ms: i64) -> Coverage {
        let recordings: Vec<_> = self
            .opened
            .iter()
            .map(|(recording, _)| recording.clone())
            .collect();
        let mut coverage = recordings::coverage(window, &recordings, precision_ms);
        for Unreadable { slot, error } in &self.unreadable {
            coverage.explain(*slot, &shorten(&error.message, MAX_REASON_BYTES));
        }
        coverage
    }
}

/// The camera's recordings that began before a window's end, in order. The first may precede the window by the longest
/// recording.
#[derive(Debug, Default)]
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

/// Checks that as much of the window exists as is required.
fn check_coverage(
    camera: &CameraWindow,
    coverage: &Coverage,
    is_newer: bool,
    may_come: bool,
) -> Result<(), ClipError> {
    let Some(last) = coverage.missing.last() else {
        return Ok(());
    };
    let must_be_complete = camera.coverage == RequiredCoverage::Complete;
    // If a newer recording exists, whatever no recording shows is a gap.
    let end_is_missing = last.interval.end_ms == camera.interval.end_ms && !is_newer;
    let gaps = coverage.missing.len() - usize::from(end_is_missing);
    let missing = format!(
        "cameraId: {} has no recording of {}",
        camera.camera_id,
        list(&coverage.missing)
    );
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

/// Gaps, for people; only the first few of many.
fn list(gaps: &[Gap]) -> String {
    const MAX_LISTED: usize = 5;
    let each = gaps
        .iter()
        .take(MAX_LISTED)
        .map(|Gap { interval, reason }| {
            let (start, end) = (clock(interval.start_ms), clock(interval.end_ms));
            match reason {
                None => format!("{start} to {end}"),
                Some(reason) => format!("{start} to {end} ({reason})"),
            }
        });
    let more = gaps.len().saturating_sub(MAX_LISTED);
    let mut listed: Vec<_> = each.collect();
    if more > 0 {
        listed.push(format!("{more} more"));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::{
        config::http::HttpResponse,
        operation::{get_object::GetObjectOutput, list_objects_v2::ListObjectsV2Output},
        primitives::{ByteStream, SdkBody},
        types::Object,
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use ffmpeg::process::Ffmpeg;
    use model::parse;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const START_MS: i64 = 1_533_224_400_000;

    fn interval(start_ms: i64, end_ms: i64) -> Interval {
        Interval {
            start_ms: START_MS + start_ms,
            end_ms: START_MS + end_ms,
        }
    }

    fn camera(coverage: RequiredCoverage) -> CameraWindow {
        CameraWindow {
            camera_id: "hi-pipeline".into(),
            interval: interval(0, 60_000),
            coverage,
        }
    }

    fn recordings() -> Recordings {
        Recordings {
            bucket: "archive".into(),
            key_template: "{camera}/{start:%Y%m%dT%H%M%S%3f}.mp4"
                .parse()
                .expect("a template"),
            longest_ms: 600_000,
            retention_ms: 3 * 86_400_000,
        }
    }

    /// The verdict on a one-minute window with these gaps, depending on whether it must be complete, whether a newer
    /// recording exists and whether more may arrive.
    fn judged(
        missing: &[Interval],
        required: RequiredCoverage,
        is_newer: bool,
        may_come: bool,
    ) -> Option<ErrorKind> {
        let covered = if missing == [interval(0, 60_000)] {
            Vec::new()
        } else {
            vec![interval(10_000, 20_000)]
        };
        let coverage = Coverage {
            covered,
            missing: missing.iter().copied().map(Gap::from).collect(),
        };
        check_coverage(&camera(required), &coverage, is_newer, may_come)
            .err()
            .map(|error| error.kind)
    }

    #[test]
    fn missing_end_is_waited_for_and_a_gap_is_not() {
        use ErrorKind::{IncompleteCoverage, SourceNotFound, SourceNotReady};
        use RequiredCoverage::{Complete, Partial};
        let (start, end, all) = (
            interval(0, 10_000),
            interval(20_000, 60_000),
            interval(0, 60_000),
        );
        for (missing, is_newer, may_come, complete, partial) in [
            (vec![], false, true, None, None),
            (
                vec![end],
                false,
                true,
                Some(SourceNotReady),
                Some(SourceNotReady),
            ),
            (vec![end], false, false, Some(SourceNotFound), None),
            (vec![end], true, true, Some(IncompleteCoverage), None),
            (vec![start], false, true, Some(IncompleteCoverage), None),
            (
                vec![start, end],
                false,
                true,
                Some(IncompleteCoverage),
                Some(SourceNotReady),
            ),
            (
                vec![all],
                false,
                true,
                Some(SourceNotReady),
                Some(SourceNotReady),
            ),
            (
                vec![all],
                false,
                false,
                Some(SourceNotFound),
                Some(SourceNotFound),
            ),
            (
                vec![all],
                true,
                true,
                Some(IncompleteCoverage),
                Some(SourceNotFound),
            ),
        ] {
            assert_eq!(
                judged(&missing, Complete, is_newer, may_come),
                complete,
                "complete {missing:?}"
            );
            assert_eq!(
                judged(&missing, Partial, is_newer, may_come),
                partial,
                "partial {missing:?}"
            );
        }
    }

    #[test]
    fn message_says_what_is_missing() {
        let coverage = Coverage {
            covered: vec![],
            missing: vec![interval(0, 500).into(); 7],
        };
        let error = check_coverage(&camera(RequiredCoverage::Complete), &coverage, true, false)
            .expect_err("it is missing");
        let start = "cameraId: hi-pipeline has no recording of 2018-08-02T15:40:00.000Z to 2018-08-02T15:40:00.500Z, ";
        assert!(
            error.message.starts_with(start) && error.message.ends_with(", 2 more"),
            "{}",
            error.message
        );
    }

    fn page(keys: &[&str], next: Option<&str>) -> ListObjectsV2Output {
        let objects = keys
            .iter()
            .map(|key| Object::builder().key(*key).build())
            .collect();
        ListObjectsV2Output::builder()
            .set_contents(Some(objects))
            .is_truncated(next.is_some())
            .set_next_continuation_token(next.map(str::to_owned))
            .build()
    }

    async fn list(rule: &Rule) -> Result<Listing, ClipError> {
        let s3 = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [rule]);
        recordings()
            .list(&s3, &camera(RequiredCoverage::Complete))
            .await
    }

    #[tokio::test]
    async fn one_listing_begins_the_longest_recording_before_the_window_and_ends_behind_it() {
        let rule = mock!(aws_sdk_s3::Client::list_objects_v2)
            .match_requests(|list| {
                list.bucket() == Some("archive")
                    && list.prefix() == Some("hi-pipeline/")
                    && list.start_after() == Some("hi-pipeline/20180802T152959000.mp4")
            })
            .then_output(|| {
                let keys = [
                    "hi-pipeline/20180802T153000000.mp4",
                    "hi-pipeline/20180802T153000000.mp4.json",
                    "hi-pipeline/20180802T154059999.mp4",
                    "hi-pipeline/20180802T154100000.mp4",
                    "hi-pipeline/20180802T160000000.mp4",
                ];
                page(&keys, Some("next"))
            });
        let Listing { begun, is_newer } = list(&rule).await.expect("a listing");
        let starts: Vec<_> = begun.iter().map(|key| key.start_ms - START_MS).collect();
        assert_eq!((starts, is_newer), (vec![-600_000, 59_999], true));
        assert_eq!(rule.num_calls(), 1, "one request, whatever comes later");
    }

    #[tokio::test]
    async fn recordings_of_a_camera_whose_name_begins_alike_are_no_newer_ones() {
        let rule = mock!(aws_sdk_s3::Client::list_objects_v2)
            .then_output(|| page(&["hi-pipeline/north/20180802T154100000.mp4"], Some("next")));
        let Listing { begun, is_newer } = list(&rule).await.expect("a listing");
        assert_eq!((begun.len(), is_newer, rule.num_calls()), (0, false, 1));
    }

    #[tokio::test]
    async fn endless_listing_is_given_up() {
        let pages = AtomicUsize::new(0);
        let rule = mock!(aws_sdk_s3::Client::list_objects_v2).then_compute_output(move |_| {
            page(
                &["hi-pipeline/20180802T154000000.mp4"],
                Some(&pages.fetch_add(1, Ordering::Relaxed).to_string()),
            )
        });
        assert_eq!(
            list(&rule).await.expect_err("it is too much").kind,
            ErrorKind::TooLong
        );
        assert_eq!(rule.num_calls(), MAX_PAGES);
    }

    /// The error for a window without any recording, in an execution started this long after its end.
    async fn absent(since_end_ms: i64, waited: bool) -> ErrorKind {
        let rule = mock!(aws_sdk_s3::Client::list_objects_v2).then_output(|| page(&[], None));
        let s3 = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&rule]);
        let started_at = Timestamp::from_ms(START_MS + 60_000 + since_end_ms).expect("a time");
        let request = parse(
            json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact",
            "thumbnails": [], "metadata": {}}),
        );
        let (request, ffmpeg) = (request.expect("a request"), Ffmpeg::find().expect("ffmpeg"));
        let opener = Opener::new(&s3, &request, &ffmpeg, 0, 0).expect("a folder");
        let planned = recordings()
            .plan(
                &opener,
                &camera(RequiredCoverage::Partial),
                started_at,
                waited,
            )
            .await;
        planned.expect_err("nothing is there").kind
    }

    #[tokio::test]
    async fn recording_is_waited_for_until_it_will_not_come_any_more() {
        assert_eq!(absent(-90_000, false).await, ErrorKind::SourceNotReady);
        assert_eq!(
            absent(600_000 + MAX_DELAY_MS - 1, false).await,
            ErrorKind::SourceNotReady
        );
        assert_eq!(
            absent(600_000 + MAX_DELAY_MS, false).await,
            ErrorKind::SourceNotFound
        );
        assert_eq!(absent(-90_000, true).await, ErrorKind::SourceNotFound);
    }

    #[tokio::test]
    async fn window_older_than_the_retention_is_out_of_range() {
        assert_eq!(
            absent(3 * 86_400_000 - 60_000, false).await,
            ErrorKind::SourceNotFound
        );
        assert_eq!(
            absent(3 * 86_400_000 - 59_999, false).await,
            ErrorKind::OutOfRange
        );
    }

    /// A recording of 24 seconds.
    const WHOLE: &[u8] = include_bytes!("../../../crates/mp4-cut/tests/data/colour-bars.mp4");

    /// Plans a minute whose recordings are one of 24 seconds, a truncated one, and an empty one.
    async fn planned_with_broken_recordings(coverage: RequiredCoverage) -> Result<Plan, ClipError> {
        const KEYS: [&str; 3] = [
            "hi-pipeline/20180802T154000000.mp4",
            "hi-pipeline/20180802T154024000.mp4",
            "hi-pipeline/20180802T154040000.mp4",
        ];
        let listing = mock!(aws_sdk_s3::Client::list_objects_v2).then_output(|| page(&KEYS, None));
        let object = |key: &'static str, file: &'static [u8]| {
            mock!(aws_sdk_s3::Client::get_object)
                .match_requests(move |get| get.key() == Some(key))
                .then_compute_output(move |get| part_of(file, get.range().expect("a range")))
        };
        let empty = mock!(aws_sdk_s3::Client::get_object)
            .match_requests(|get| get.key() == Some(KEYS[2]))
            .then_http_response(|| {
                let error = "<Error><Code>InvalidRange</Code></Error>";
                HttpResponse::new(416.try_into().expect("a status"), SdkBody::from(error))
            });
        let (whole, short) = (object(KEYS[0], WHOLE), object(KEYS[1], &WHOLE[..600]));
        let rules = [&listing, &whole, &short, &empty];
        let s3 = mock_client!(aws_sdk_s3, RuleMode::MatchAny, rules);
        let request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact",
            "thumbnails": [], "metadata": {}});
        let request = parse(request).expect("a request");
        let ffmpeg = Ffmpeg::find().expect("ffmpeg");
        let opener = Opener::new(&s3, &request, &ffmpeg, 1 << 20, 1 << 20).expect("a folder");
        let started_at = Timestamp::from_ms(START_MS + 86_400_000).expect("a time");
        recordings()
            .plan(&opener, &camera(coverage), started_at, false)
            .await
    }

    fn part_of(file: &'static [u8], range: &str) -> GetObjectOutput {
        let (first, last) = range["bytes=".len()..].split_once('-').expect("a range");
        let [first, last]: [usize; 2] = [first, last].map(|at| at.parse().expect("an offset"));
        let part = &file[first..file.len().min(last + 1)];
        GetObjectOutput::builder()
            .content_range(format!("bytes {first}-{last}/{}", file.len()))
            .e_tag("one")
            .body(ByteStream::from_static(part))
            .build()
    }

    #[tokio::test]
    async fn broken_recording_is_a_gap_with_its_reason_where_there_may_be_gaps() {
        let planned = planned_with_broken_recordings(RequiredCoverage::Partial).await;
        let plan = planned.expect("what is there");
        assert_eq!((plan.segments.len(), plan.sources.len()), (1, 1));
        let coverage = plan.coverage.expect("a coverage");
        assert_eq!(coverage.covered, [interval(0, 24_000)]);
        let [gap] = &coverage.missing[..] else {
            panic!("{coverage:?}");
        };
        assert_eq!(gap.interval, interval(24_000, 60_000));
        let reason = gap.reason.as_deref().expect("a reason");
        let (short, empty) = reason.split_once("; ").expect("two reasons");
        let start = "recording hi-pipeline/20180802T154024000.mp4: ";
        assert!(short.starts_with(start), "{reason}");
        let start = "recording hi-pipeline/20180802T154040000.mp4: ";
        assert!(
            empty.starts_with(start) && empty.contains("is empty"),
            "{reason}"
        );
    }

    #[tokio::test]
    async fn broken_recording_refuses_a_window_that_may_have_no_gap() {
        let planned = planned_with_broken_recordings(RequiredCoverage::Complete).await;
        let error = planned.expect_err("a recording is broken");
        assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
        assert!(
            error
                .message
                .starts_with("recording hi-pipeline/20180802T154024000.mp4: "),
            "{}",
            error.message
        );
    }
}
