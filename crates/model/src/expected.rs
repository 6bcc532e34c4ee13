//! What a clip must be when it is read back, depending on the engine that made it.

use crate::{
    ClipError,
    clip_spec::{ClipSpec, FrameRate, Size},
    damage::Damaged,
    frame_grid::FrameGrid,
    outcome::EngineName,
    plan::Plan,
    request::{ClipRequest, Cut},
};

/// What a clip must be when it is read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    pub size: Size,
    pub frames: u64,
    /// The tolerance for the number of frames, in both directions.
    pub frames_tolerance: u64,
    pub seconds: f64,
    /// How much shorter it may be.
    pub left_out_seconds: f64,
    pub frame_seconds: f64,
    /// `FFmpeg`'s names of the codecs that it may have.
    pub video_codecs: Vec<String>,
    pub has_audio: bool,
    /// Whether it may be silent all the same.
    pub may_lack_audio: bool,
    /// How segments were converted to the first one's format, for people: one line for each that differed.
    pub conformed: Vec<String>,
}

impl Expected {
    /// What the clip of `request` and `plan` must be if `engine` has made it: `trim` encodes an exact cut and copies
    /// the others, `MediaConvert` encodes all of them.
    ///
    /// # Errors
    /// As [`ClipSpec::of`].
    pub fn of(request: &ClipRequest, plan: &Plan, engine: EngineName) -> Result<Self, ClipError> {
        let spec = ClipSpec::of(request.look(), plan)?;
        let spec = match engine {
            EngineName::Trim => spec,
            EngineName::Transcode => spec.of_mediaconvert(plan),
        };
        let first = &plan.sources[plan.segments[0].source].facts.video;
        let mut expected = Self {
            size: spec.size,
            frames: spec.frames(),
            frames_tolerance: 0,
            seconds: spec.seconds(),
            left_out_seconds: 0.0,
            frame_seconds: 1.0
                / spec
                    .frame_rate
                    .map_or(first.frame_rate, FrameRate::hertz)
                    .max(1.0),
            video_codecs: names(request.format.codecs()),
            has_audio: spec.audio.is_some(),
            may_lack_audio: false,
            conformed: match (engine, request.cut) {
                (EngineName::Trim, Cut::Copy) => Vec::new(),
                _ => spec.conformed(),
            },
        };
        match (engine, request.cut) {
            (EngineName::Transcode, _) => {
                let rate = spec.clip_rate(first);
                (expected.frames, expected.frames_tolerance) = transcoded_frames(plan, rate);
                expected.video_codecs = names(request.format.encoded().codecs());
            }
            (EngineName::Trim, Cut::Copy) => {
                let windows = || plan.segments.iter().map(|segment| &segment.window);
                expected.size = Size::shown(first);
                expected.video_codecs = vec![first.codec.clone()];
                expected.frames = windows().map(|window| window.frames).sum();
                expected.seconds = windows().map(|window| window.duration_seconds).sum();
            }
            (EngineName::Trim, Cut::Exact) => {}
        }
        Ok(expected)
    }
}

impl Expected {
    /// The same for a clip that was made from damaged sources.
    #[must_use]
    pub fn of_damaged(self, damaged: &Damaged) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a clip has fewer frames")]
        let left_out = damaged.left_out as f64 * self.frame_seconds;
        // Nothing is shown in place of the last pictures, however long they last.
        let last = damaged.places.last();
        let last =
            last.filter(|last| left_out > 0.0 && last.end > self.seconds - self.frame_seconds);
        Self {
            frames: self.frames.saturating_sub(damaged.left_out),
            left_out_seconds: last.map_or(left_out, |last| left_out.max(last.end - last.start)),
            may_lack_audio: damaged.audio,
            ..self
        }
    }
}

fn names(codecs: &[&str]) -> Vec<String> {
    codecs.iter().map(|codec| (*codec).to_owned()).collect()
}

/// How many frames a clip has if `MediaConvert` makes it, and the tolerance in both directions: it rounds each segment
/// that it converts to the clip's rate in its own way.
fn transcoded_frames(plan: &Plan, rate: FrameRate) -> (u64, u64) {
    let (mut frames, mut tolerance) = (0, 0);
    for segment in &plan.segments {
        let own = FrameGrid::of(&plan.sources[segment.source].facts.video);
        if FrameRate::nearest(own.rate) == rate {
            let numbers = own.frames(&segment.window);
            frames += numbers.end - numbers.start;
        } else {
            frames += rate.frames(segment.window.duration_seconds);
            tolerance += 1;
        }
    }
    (frames, tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Format;
    use serde_json::{Value, json};

    fn request(cut: Cut, format: Format) -> ClipRequest {
        let request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": cut,
            "format": format, "thumbnails": [], "metadata": {}});
        serde_json::from_value(request).expect("a request")
    }

    fn source(codec: &str, height: u32, frame_rate: f64) -> Value {
        let video = json!({"codec": codec, "codedWidth": 640, "codedHeight": height, "width": 640,
            "height": height, "rotationDegrees": 0, "frameRate": frame_rate, "constantFrameRate": true,
            "timescale": 30000, "frames": 300, "startSeconds": 0.0, "durationSeconds": 10.0,
            "bitRate": 1000});
        let facts = json!({"container": "isom", "bytes": 1, "indexStart": 0, "indexBytes": 1,
            "durationSeconds": 10.0, "video": video, "audio": null, "droppedTracks": []});
        json!({"object": {"bucket": "b", "key": "k", "etag": "e", "bytes": 1}, "facts": facts})
    }

    /// One second, of 25 frames, of each source.
    fn plan(sources: &[Value]) -> Plan {
        let window = json!({"startSeconds": 1.0, "endSeconds": 2.0, "durationSeconds": 1.0,
            "frames": 25, "prerollFrames": 0, "keyframeSeconds": 0.0, "nextKeyframeSeconds": null,
            "hasAudio": false, "timescale": 30000, "outputBytes": 1, "sourceBytes": 1});
        let segments: Vec<_> = (0..sources.len())
            .map(|source| json!({"source": source, "window": window}))
            .collect();
        serde_json::from_value(json!({"sources": sources, "segments": segments})).expect("a plan")
    }

    #[test]
    fn copy_is_what_its_source_is_unless_mediaconvert_makes_it() {
        let (request, plan) = (
            request(Cut::Copy, Format::Mp4),
            plan(&[source("hevc", 359, 25.0), source("hevc", 359, 25.0)]),
        );
        let expected = |engine| Expected::of(&request, &plan, engine).expect("a clip");
        let copied = expected(EngineName::Trim);
        assert_eq!(
            (
                copied.size.to_string().as_str(),
                copied.video_codecs[0].as_str()
            ),
            ("640x359", "hevc")
        );
        let encoded = expected(EngineName::Transcode);
        assert_eq!(
            (
                encoded.size.to_string().as_str(),
                encoded.video_codecs[0].as_str()
            ),
            ("640x358", "h264")
        );
        assert_eq!((copied.frames, encoded.frames), (50, 50));
    }

    #[test]
    fn clip_may_be_shorter_by_the_last_pictures_if_those_are_left_out() {
        let (request, plan) = (
            request(Cut::Exact, Format::Mp4),
            plan(&[source("h264", 360, 25.0)]),
        );
        let shorter_by = |left_out, start: f64, end: f64| {
            let mut damaged = Damaged::default();
            damaged.add(start..end);
            damaged.left_out = left_out;
            let expected = Expected::of(&request, &plan, EngineName::Trim).expect("a clip");
            expected.of_damaged(&damaged).left_out_seconds
        };
        assert!((shorter_by(1, 0.7, 1.0) - 0.3).abs() < 1e-9);
        assert!((shorter_by(1, 0.2, 0.5) - 0.04).abs() < 1e-9);
        assert!(shorter_by(0, 0.7, 1.0).abs() < 1e-9);
    }

    #[test]
    fn sound_is_said_to_be_conformed_as_its_engine_does_it() {
        let mut source = source("h264", 360, 25.0);
        source["facts"]["audio"] = json!({"codec": "aac", "channels": 8, "sampleRate": 48000,
            "bitRate": 1000, "tracks": 1});
        let mut plan = plan(&[source]);
        plan.segments[0].window.has_audio = true;
        let conformed = |cut, engine| {
            let expected = Expected::of(&request(cut, Format::Mp4), &plan, engine);
            expected.expect("a clip").conformed
        };
        for cut in [Cut::Exact, Cut::Copy] {
            assert!(conformed(cut, EngineName::Trim).is_empty());
            let stereo = ["segments[0]: channels 8 to 2"];
            assert_eq!(conformed(cut, EngineName::Transcode), stereo);
        }
    }

    #[test]
    fn clip_in_its_sources_codec_may_be_h264_as_well_and_is_when_mediaconvert_makes_it() {
        let (request, plan) = (
            request(Cut::Exact, Format::Source),
            plan(&[source("hevc", 360, 25.0)]),
        );
        let codecs = |engine| {
            let expected = Expected::of(&request, &plan, engine);
            expected.expect("a clip").video_codecs
        };
        assert_eq!(codecs(EngineName::Trim), ["h264", "hevc"]);
        assert_eq!(codecs(EngineName::Transcode), ["h264"]);
    }

    #[test]
    fn clip_has_the_rate_that_is_asked_for_whichever_engine_makes_it() {
        let mut request = request(Cut::Exact, Format::Mp4);
        request.frame_rate = Some(50.0);
        let plan = plan(&[source("h264", 360, 25.0)]);
        for (engine, tolerance) in [(EngineName::Trim, 0), (EngineName::Transcode, 1)] {
            let expected = Expected::of(&request, &plan, engine).expect("a clip");
            let frames = (expected.frames, expected.frames_tolerance);
            assert_eq!(frames, (50, tolerance));
            assert!((expected.frame_seconds - 0.02).abs() < 1e-9);
            let conformed = ["segments[0]: frame rate 25.000 to 50.000"];
            assert_eq!(expected.conformed, conformed);
        }
    }

    #[test]
    fn mediaconvert_may_round_each_segment_of_another_rate_by_a_frame() {
        let (request, plan) = (
            request(Cut::Exact, Format::Hevc),
            plan(&[source("h264", 360, 25.0), source("h264", 360, 30.0)]),
        );
        for (engine, tolerance) in [(EngineName::Trim, 0), (EngineName::Transcode, 1)] {
            let expected = Expected::of(&request, &plan, engine).expect("a clip");
            assert_eq!(
                (expected.frames, expected.frames_tolerance),
                (50, tolerance)
            );
            assert_eq!(expected.video_codecs, ["hevc"]);
            let conformed = ["segments[1]: frame rate 30.000 to 25.000"];
            assert_eq!(expected.conformed, conformed);
        }
    }
}
