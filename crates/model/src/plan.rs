//! What `probe` finds out about a request's sources, for the later steps.

use crate::{
    recordings::Coverage,
    text::{shorten, visible},
};
use mp4_cut::{AudioFacts, Container, Facts, SmartCutFacts, VideoFacts, WindowFacts};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Deref;

/// The most tracks of one source that are named.
const MAX_SOURCE_NAMES: usize = 8;
/// The most tracks of all sources that an outcome names.
const MAX_NAMES: usize = 100;
/// The longest channel layout that is kept, in bytes: enough for the channels of any codec.
const MAX_LAYOUT: usize = 200;
/// The most characters of a language's name.
const MAX_LANGUAGE: usize = 12;
/// The most characters of a name from a file.
const MAX_NAME: usize = 40;

/// An S3 object as it was first seen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedObject {
    pub bucket: String,
    pub key: String,
    /// Its `ETag`, as S3 writes it. Every later read is conditional on it.
    pub etag: String,
    pub bytes: u64,
}

/// A source, pinned and described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbedSource<O = PinnedObject> {
    /// The object as it was seen, or what identifies a source elsewhere.
    pub object: O,
    /// What it contains.
    pub facts: SourceFacts,
}

impl ProbedSource {
    /// A source with bounded texts, whatever the file contains: a plan is passed from state to state, and Step
    /// Functions allows 256 KiB.
    #[must_use]
    pub fn new(object: PinnedObject, facts: SourceFacts) -> Self {
        let SourceFacts { mut facts, remuxed } = facts;
        facts.container = bounded_name(&facts.container);
        facts.video.codec = bounded_name(&facts.video.codec);
        if let Some(audio) = &mut facts.audio {
            audio.codec = bounded_name(&audio.codec);
            audio.layout = audio
                .layout
                .take()
                .filter(|layout| layout.len() <= MAX_LAYOUT);
            audio.languages.truncate(MAX_SOURCE_NAMES);
            for language in &mut audio.languages {
                *language = visible(&shorten(language, MAX_LANGUAGE));
            }
        }
        facts.dropped_tracks = bounded_list(&facts.dropped_tracks, MAX_SOURCE_NAMES);
        let facts = SourceFacts { facts, remuxed };
        Self { object, facts }
    }
}

/// A name from a file: short, and without characters that JSON escapes to six.
fn bounded_name(name: &str) -> String {
    visible(&shorten(name, MAX_NAME))
}

/// The first `most` names, and how many more there are.
fn bounded_list(names: &[String], most: usize) -> Vec<String> {
    let more = names.len().saturating_sub(most);
    let mut names: Vec<_> = names
        .iter()
        .take(most)
        .map(|name| bounded_name(name))
        .collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names
}

/// What a source is, and how it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// What it contains. If it is remuxed, there is no index and frames are estimated from the frame rate.
    #[serde(flatten)]
    pub facts: Facts,
    /// How `FFmpeg` remuxes it; `None` for an MP4 or MOV with an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remuxed: Option<Remuxed>,
}

impl From<Facts> for SourceFacts {
    fn from(facts: Facts) -> Self {
        Self {
            facts,
            remuxed: None,
        }
    }
}

impl Deref for SourceFacts {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

/// A source that `FFmpeg` remuxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remuxed {
    /// Its container.
    pub container: Container,
    /// How much of it `FFmpeg` analyses to identify its streams, in microseconds.
    pub look_microseconds: u32,
    /// The timestamp of its second 0, in microseconds.
    pub start_microseconds: i64,
    /// The numbers of the streams that are kept: the video, and the audio.
    pub streams: Vec<usize>,
}

impl Remuxed {
    /// The timestamp of its second 0 in a remuxed range, in microseconds. A transport stream that starts shortly before
    /// its clock wraps starts below zero, and an MP4 cannot hold such timestamps.
    #[must_use]
    pub fn remuxed_start_microseconds(&self) -> i64 {
        self.start_microseconds.max(0)
    }
}

/// A cut, on its source's frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedSegment {
    /// Index of its source.
    pub source: usize,
    /// What is cut.
    pub window: WindowFacts,
    /// How much of it is encoded and copied, in a smart cut; `None` otherwise.
    #[serde(default, rename = "splice", skip_serializing_if = "Option::is_none")]
    pub smart_cut: Option<SmartCutFacts>,
    /// How far before the cut reading its source begins, in seconds, if there is no index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_seconds: Option<f64>,
}

/// A picture to overlay on the clip, pinned and measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbedPicture {
    /// The object as it was seen.
    pub object: PinnedObject,
    pub width: u32,
    pub height: u32,
}

/// The plan of a cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan<O = PinnedObject> {
    pub sources: Vec<ProbedSource<O>>,
    /// The cuts, joined in this order.
    pub segments: Vec<PlannedSegment>,
    /// Which parts of a camera's window exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<ProbedPicture>,
    /// Whether exact HEVC clips are encoded whole, even if most of their pictures could be copied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encodes_hevc_whole: bool,
}

/// Upper bound, in bytes, on scratch space for remuxing `interval_bytes`.
#[must_use]
pub fn remuxed_range_bytes(interval_bytes: u64) -> u64 {
    interval_bytes.saturating_add(interval_bytes / 2)
}

impl<O> Plan<O> {
    /// The video of the first cut's source.
    #[must_use]
    pub fn first_video(&self) -> Option<&VideoFacts> {
        let source = &self.sources[self.segments.first()?.source];
        Some(&source.facts.video)
    }

    /// Upper bound, in bytes, on scratch space for remuxing what the cuts need of sources without an index.
    #[must_use]
    pub fn remuxed_bytes(&self) -> u64 {
        let is_whole = |facts: &SourceFacts| {
            let remuxed = facts.remuxed.as_ref();
            remuxed.map(|remuxed| remuxed.container.is_read_whole())
        };
        let whole = self.sources.iter().map(|source| &source.facts);
        let whole = whole.filter(|facts| is_whole(facts) == Some(true));
        let ranges = self
            .segments
            .iter()
            .filter(|segment| is_whole(&self.sources[segment.source].facts) == Some(false));
        whole
            .map(|facts| remuxed_range_bytes(facts.bytes))
            .sum::<u64>()
            + ranges
                .map(|segment| remuxed_range_bytes(segment.window.output_bytes))
                .sum::<u64>()
    }

    /// The tracks of the sources that a clip does not have if `audio_tracks` of each source are kept, for people.
    #[must_use]
    pub fn dropped(&self, audio_tracks: usize) -> Vec<String> {
        let mut dropped = Vec::new();
        for (index, ProbedSource { facts, .. }) in self.sources.iter().enumerate() {
            let audio = facts.audio.as_ref();
            let audio = audio.map_or_else(Vec::new, audio_tracks_named);
            let audio = audio.into_iter().skip(audio_tracks);
            let segment = self
                .segments
                .iter()
                .position(|segment| segment.source == index)
                .unwrap_or(0);
            let of = if self.sources.len() > 1 {
                format!("segments[{segment}]: ")
            } else {
                String::new()
            };
            dropped.extend(
                facts
                    .dropped_tracks
                    .iter()
                    .cloned()
                    .chain(audio)
                    .map(|name| format!("{of}{name}")),
            );
        }
        bounded_list(&dropped, MAX_NAMES)
    }
}

/// The audio tracks of a source, for people.
fn audio_tracks_named(audio: &AudioFacts) -> Vec<String> {
    let language = |index: usize| audio.languages.get(index).filter(|code| !code.is_empty());
    let named = (0..audio.tracks).map(|index| match language(index) {
        Some(code) => format!("audio track {} ({code})", index + 1),
        None => format!("audio track {}", index + 1),
    });
    named.collect()
}

impl Plan {
    /// All that a clip is made of.
    pub fn objects(&self) -> impl Iterator<Item = &PinnedObject> {
        let watermark = self.watermark.iter().map(|picture| &picture.object);
        self.sources
            .iter()
            .map(|source| &source.object)
            .chain(watermark)
    }

    /// Tells whether two plans read the same versions of the same sources: 12 hexadecimal digits.
    #[must_use]
    pub fn sources_digest(&self) -> String {
        let mut digest = Sha256::new();
        for object in self.objects() {
            digest.update(format!(
                "{}/{} {}\n",
                object.bucket, object.key, object.etag
            ));
        }
        hex::encode(digest.finalize())[..12].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recordings::Interval;
    use proptest::{collection::vec, prelude::*};
    use serde_json::{Value, json};

    fn source(audio_tracks: usize, dropped_tracks: &[&str]) -> Value {
        let video = json!({"codec": "h264", "codedWidth": 2, "codedHeight": 2, "width": 2, "height": 2, "rotationDegrees": 0,
            "frameRate": 25.0, "constantFrameRate": true, "timescale": 25, "frames": 25, "startSeconds": 0.0,
            "durationSeconds": 1.0, "bitRate": 1});
        let audio = json!({"codec": "aac", "channels": 1, "sampleRate": 48000, "bitRate": 1, "tracks": audio_tracks});
        let facts = json!({"container": "isom", "bytes": 1, "indexStart": 0, "indexBytes": 1, "durationSeconds": 1.0,
            "video": video, "audio": audio, "droppedTracks": dropped_tracks});
        json!({"object": {"bucket": "b", "key": "k", "etag": "e", "bytes": 1}, "facts": facts})
    }

    fn plan(sources: &[Value], segments: &[usize]) -> Plan {
        let window = json!({"startSeconds": 0.0, "endSeconds": 1.0, "durationSeconds": 1.0, "frames": 25, "prerollFrames": 0,
            "keyframeSeconds": 0.0, "nextKeyframeSeconds": null, "hasAudio": true, "timescale": 25, "outputBytes": 1,
            "sourceBytes": 1});
        let segments: Vec<_> = segments
            .iter()
            .map(|source| json!({"source": source, "window": window}))
            .collect();
        serde_json::from_value(json!({"sources": sources, "segments": segments})).expect("a plan")
    }

    #[test]
    fn how_a_source_is_remuxed_stands_among_its_facts() {
        let mut source = source(1, &[]);
        source["facts"]["remuxed"] = json!({"container": "mpegTs", "lookMicroseconds": 1_000_000,
            "startMicroseconds": -40_000, "streams": [0, 1]});
        let read: ProbedSource = serde_json::from_value(source.clone()).expect("a source");
        let remuxed = read.facts.remuxed.as_ref().expect("a remuxed source");
        assert_eq!(remuxed.container, Container::MpegTs);
        assert_eq!(remuxed.remuxed_start_microseconds(), 0);
        assert_eq!(serde_json::to_value(read).expect("JSON"), source);
    }

    #[test]
    fn tracks_that_a_clip_does_not_have_are_named() {
        let one = plan(&[source(3, &["time code"])], &[0, 0]);
        assert_eq!(one.dropped(3), ["time code"]);
        assert_eq!(
            one.dropped(1),
            ["time code", "audio track 2", "audio track 3"]
        );
        let mut spoken = source(3, &[]);
        spoken["facts"]["audio"]["languages"] = json!(["eng", "", "deu"]);
        let spoken = plan(&[spoken], &[0]).dropped(1);
        assert_eq!(spoken, ["audio track 2", "audio track 3 (deu)"]);
        let two = plan(&[source(1, &[]), source(2, &["text (deu)"])], &[0, 0, 1]);
        assert_eq!(
            two.dropped(1),
            ["segments[2]: text (deu)", "segments[2]: audio track 2"]
        );
    }

    /// A source with these names in its file, as stored in a plan.
    fn bounded(name: &str, dropped: Vec<String>, key: &str) -> ProbedSource {
        let read: ProbedSource = serde_json::from_value(source(1, &[])).expect("a source");
        let mut facts = read.facts;
        facts.facts.container = name.to_owned();
        facts.facts.video.codec = name.to_owned();
        facts.facts.dropped_tracks = dropped;
        if let Some(audio) = &mut facts.facts.audio {
            audio.layout = Some(name.repeat(20));
        }
        let object = PinnedObject {
            key: key.to_owned(),
            ..read.object
        };
        ProbedSource::new(object, facts)
    }

    /// The coverage of a window with the most recordings, of which `unreadable` cannot be read for the reason `why`.
    fn gaps(unreadable: usize, why: &str) -> Coverage {
        let minute = |number: usize| {
            let start_ms = 1_533_224_400_000 + 60_000 * i64::try_from(number).expect("a number");
            Interval {
                start_ms,
                end_ms: start_ms + 30_000,
            }
        };
        let mut coverage = Coverage {
            covered: (0..50).map(minute).collect(),
            missing: (0..51).map(|number| minute(number).into()).collect(),
        };
        // As `probe` shortens it; a recording is in at most two gaps.
        for number in 0..unreadable {
            for gap in [number, number + 1] {
                coverage.explain(minute(gap), &shorten(why, 300));
            }
        }
        coverage
    }

    #[test]
    fn tracks_by_the_ten_thousand_are_counted() {
        for tracks in [20_000, 150_000] {
            let source = bounded("isom", vec!["text (deu)".to_owned(); tracks], "k");
            let names = &source.facts.dropped_tracks;
            assert_eq!((names.len(), names[0].as_str()), (9, "text (deu)"));
            assert_eq!(names[8], format!("{} more", tracks - 8));
        }
        let mut many = plan(&[], &[]);
        let names = || vec!["text".to_owned(); 8];
        many.sources = (0..50).map(|_| bounded("isom", names(), "k")).collect();
        let dropped = many.dropped(1);
        assert_eq!((dropped.len(), dropped[100].as_str()), (101, "300 more"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// `Trim` gets the request, of at most 64 KiB, and the plan. For a camera's window, the request is short, but
        /// the plan also says what is missing and why.
        #[test]
        fn plan_fits_into_a_payload_beside_the_largest_request(
            name in "[\\PC\0-\x1f]{0,300}", tracks in vec("[\\PC\0-\x1f\"]{0,90}", 0..99), key in "[a-z/]{1024}",
            why in "[\\PC\0-\x1f\"]{0,900}", unreadable in 0..50_usize,
        ) {
            let mut plan = plan(&[source(1, &[])], &[0; 50]);
            plan.sources = vec![bounded(&name, tracks, &key); 50];
            let bytes = serde_json::to_vec(&plan).expect("JSON").len();
            prop_assert!(bytes + crate::sent::MAX_REQUEST_BYTES < 250_000, "{bytes}");
            plan.sources.truncate(50 - unreadable);
            plan.coverage = Some(gaps(unreadable, &why));
            let bytes = serde_json::to_vec(&plan).expect("JSON").len();
            prop_assert!(bytes + 10_000 < 250_000, "{bytes}");
            let dropped = serde_json::to_vec(&plan.dropped(0)).expect("JSON").len();
            prop_assert!(dropped < 30_000, "{dropped}");
        }
    }
}
