//! Public bug reports about other workflows. For each, a source is built and sent through the local stack, as in
//! crates/ffmpeg/tests/bug_reports, whose page also has a table of these.

mod common;
#[path = "../../../crates/ffmpeg/tests/bug_reports/footage.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod footage;
#[path = "../../../crates/ffmpeg/tests/bug_reports/measure.rs"]
mod measure;
#[path = "../../../crates/ffmpeg/tests/bug_reports/page.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod page;
#[path = "../../../crates/ffmpeg/tests/bug_reports/peer.rs"]
mod peer;
#[path = "../../../crates/ffmpeg/tests/bug_reports/report.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod report;
#[path = "../../../crates/ffmpeg/tests/bug_reports/suite.rs"]
mod suite;

use crate::report::{Build, Report};
use common::ffmpeg::Folder;
use footage::{footage, rewritten};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};
use tests::Stack;

/// Where sources are.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// An object with this key.
    Key(&'static str),
    /// Recordings of this camera, which begin this many seconds after the first.
    Camera(&'static str, &'static [f64]),
}

/// The reports, and where their sources are.
fn reports() -> Vec<(Report, Place)> {
    let mut reports = objects();
    reports.extend(recordings());
    reports
}

fn objects() -> Vec<(Report, Place)> {
    vec![
        (
            Report::new(
                "object_with_spaces_and_accents_in_its_key_is_cut",
                "https://github.com/aws-solutions-library-samples/video-on-demand-on-aws/issues/104",
                "a file with spaces and accents in its name is not processed",
                |folder| footage(folder, "a.mp4", ("25", 6), "-g 50"),
            )
            .cut(1.2, 4.2, 30..105),
            Place::Key("bug-reports/née résumé fiancée sauté .mp4"),
        ),
        (
            Report::new(
                "movie_of_a_phone_in_capitals_is_cut_and_upright",
                "https://github.com/aws-solutions-library-samples/video-on-demand-on-aws/issues/93",
                "`.MOV` in capitals starts nothing; renamed, the clip lies on its side",
                |folder| {
                    let whole = footage(folder, "whole.mov", ("30", 6), "-g 30");
                    rewritten(folder, &whole, "a.mov", "-display_rotation -90", "")
                },
            )
            .cut(1.2, 4.2, 36..126),
            Place::Key("bug-reports/IMG_0042.MOV"),
        ),
        (
            Report::new(
                "source_without_sound_is_cut",
                "https://github.com/aws-solutions-library-samples/video-on-demand-on-aws/issues/75",
                "a file without sound fails",
                |folder| footage(folder, "a.mp4", ("25", 6), "-g 50 -an"),
            )
            .cut(1.2, 4.2, 30..105),
            Place::Key("bug-reports/silent.mp4"),
        ),
        // Long, and with one keyframe, so it is a clip for MediaConvert.
        (
            Report::new(
                "portrait_of_mediaconvert_stays_a_portrait",
                "https://github.com/aws-solutions-library-samples/video-on-demand-on-aws/issues/28",
                "portraits become landscapes",
                |folder| {
                    let whole = footage(folder, "whole.mp4", ("10", 26), "-g 1000 -sc_threshold 0");
                    rewritten(folder, &whole, "a.mp4", "-display_rotation 90", "")
                },
            )
            .cut(1.0, 25.0, 10..250),
            Place::Key("bug-reports/portrait.mp4"),
        ),
        (
            Report::new(
                "ampersand_in_a_key_is_no_obstacle",
                "https://github.com/aws-samples/aws-media-services-vod-automation/issues/5",
                "an ampersand in the file's name makes the job invalid",
                |folder| footage(folder, "a.mp4", ("25", 6), "-g 25"),
            )
            .cut(1.2, 4.2, 30..105),
            Place::Key("bug-reports/inputs/test&.mp4"),
        ),
        (
            Report::new(
                "brackets_and_pluses_in_a_key_are_no_obstacle",
                "https://github.com/aws-solutions/content-analysis-on-aws/issues/2",
                "files with brackets, pluses and dashes in their names are not found",
                |folder| footage(folder, "a.mp4", ("25", 6), "-g 100"),
            )
            .cut(1.2, 4.2, 30..105),
            Place::Key("bug-reports/[amazon]–{3 0}–(a+d)%20,o-n_proxy.mp4"),
        ),
    ]
}

fn recordings() -> Vec<(Report, Place)> {
    // Three recordings of one view; the second may be missing.
    let recordings: [Build; 3] = [
        |folder| footage(folder, "0.mp4", ("25", 15), "-g 25 -t 5"),
        |folder| footage(folder, "1.mp4", ("25", 15), "-g 25 -ss 5 -t 5"),
        |folder| footage(folder, "2.mp4", ("25", 15), "-g 25 -ss 10 -t 5"),
    ];
    let [first, second, third] = recordings;
    vec![
        (
            Report::new(
                "all_recordings_of_a_window_are_in_the_clip",
                "https://github.com/blakeblackshear/frigate/issues/7845",
                "an export of days has one of dozens of recordings, or none",
                first,
            )
            .and(third)
            .cut_of(0, 2.0, 5.0, 50..125)
            .cut_of(1, 0.0, 3.0, 0..75),
            Place::Camera("bug-reports/gap", &[0.0, 10.0]),
        ),
        (
            Report::new(
                "sound_of_recordings_in_a_row_stays_in_step",
                "https://github.com/blakeblackshear/frigate/issues/8288",
                "after minutes of recordings in a row the sound is early or late",
                first,
            )
            .and(second)
            .and(third)
            .cut_of(0, 2.0, 5.0, 50..125)
            .cut_of(1, 0.0, 5.0, 0..125)
            .cut_of(2, 0.0, 3.0, 0..75),
            Place::Camera("bug-reports/row", &[0.0, 5.0, 10.0]),
        ),
    ]
}

fn main() -> ExitCode {
    let (reports, places): (Vec<_>, Vec<_>) = reports().into_iter().unzip();
    let names = reports.iter().map(|report| report.name);
    let places: Vec<_> = names.zip(places).collect();
    let clipflow = move |report: &Report, sources: &[PathBuf], folder: &Folder| {
        let place = places.iter().find(|(name, _)| *name == report.name);
        let (_, place) = place.expect("every report has a place");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(made(report, *place, sources, folder))
    };
    suite::run(page::Page::workflow(), reports, clipflow)
}

/// Makes the clip with the workflow. Returns it and how it was made, or why there is none.
async fn made(
    report: &Report,
    place: Place,
    sources: &[PathBuf],
    folder: &Folder,
) -> Result<(PathBuf, String), String> {
    let stack = Stack::connect().await;
    let mut request = match place {
        Place::Key(key) => {
            stack.upload(key, &sources[0]).await;
            let segment = &report.segments[0];
            let source = json!({"bucket": stack.description.source_bucket, "key": key});
            json!({"source": source, "start": segment.start, "end": segment.end})
        }
        Place::Camera(camera, offsets) => {
            recorded(&stack, report, (camera, offsets), sources).await
        }
    };
    request["clipId"] = report.name.into();
    request["output"] = json!({"thumbnails": [64]});
    let ended = stack.run(&request).await;
    let outcome = &ended.output;
    if outcome["status"] != "available" {
        return Err(format!("{}: {}", outcome["reason"], outcome["message"]));
    }
    let clip = folder.path("clipflow.mp4");
    let key = outcome["clip"]["key"].as_str().expect("a key");
    stack.download(key, &clip).await;
    let engine = &outcome["engine"];
    let how = match engine["cutting"]["method"].as_str() {
        Some("smartCut") => "smart cut",
        Some("copy") => "copied",
        _ => "encoded whole",
    };
    let name = engine["name"].as_str().expect("a name");
    Ok((clip, format!("{how} by `{name}`")))
}

/// Uploads recordings; returns a request for what the report's cuts show.
async fn recorded(
    stack: &Stack,
    report: &Report,
    (camera, offsets): (&str, &[f64]),
    sources: &[PathBuf],
) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.expect("after 1970").as_millis()).expect("this century");
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a test")]
    let at = |seconds: f64| now - 120_000 + (seconds * 1000.0) as i64;
    let template = "recordings/{camera}/{start:%Y/%m/%d}/{camera}.{start:%Y%m%dT%H%M%S%3f}.mp4";
    let template: model::recordings::KeyTemplate = template.parse().expect("a template");
    for (source, offset) in sources.iter().zip(offsets) {
        let key = template.key(camera, at(*offset));
        stack.upload(&key, source).await;
    }
    let (first, last) = (
        &report.segments[0],
        &report.segments[report.segments.len() - 1],
    );
    let moment = |source: usize, seconds: f64| at(offsets[source] + seconds);
    json!({"cameraId": camera, "coverage": "partial",
        "startTimestampInMs": moment(first.source, first.start),
        "endTimestampInMs": moment(last.source, last.end)})
}
