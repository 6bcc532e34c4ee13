//! Many sources with long indexes are planned within the function's memory.

use aws_sdk_s3::{operation::get_object::GetObjectOutput, primitives::ByteStream};
use aws_smithy_mocks::{RuleMode, mock, mock_client};
use bytes::Bytes;
use ffmpeg::process::Ffmpeg;
use model::parse;
use peak_alloc::PeakAlloc;
use probe::{Deps, handle};
use serde_json::json;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The length of each index, in bytes: about as long as an index may be.
const INDEX_BYTES: usize = 30 << 20;

/// A one-second MP4 with an index as long as that of weeks of video.
fn source() -> Bytes {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("source.mp4");
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i"])
        .args(["testsrc2=size=64x64:duration=1", "-c:v", "libx264"])
        .arg(&file)
        .status();
    assert!(made.expect("ffmpeg").success());
    let mut bytes = std::fs::read(&file).expect("the source");
    let named = bytes.windows(4).rposition(|four| four == b"moov");
    let moov = named.expect("an index") - 4;
    let free = u32::try_from(INDEX_BYTES).expect("a length");
    let length = u32::try_from(bytes.len() - moov).expect("a length") + free;
    bytes[moov..moov + 4].copy_from_slice(&length.to_be_bytes());
    bytes.extend(free.to_be_bytes());
    bytes.extend(b"free");
    bytes.resize(bytes.len() + INDEX_BYTES - 8, 0);
    bytes.into()
}

#[tokio::test]
async fn fifty_sources_with_long_indexes_fit_into_the_memory() {
    let object = source();
    let get = mock!(aws_sdk_s3::Client::get_object).then_compute_output(move |request| {
        let range = request
            .range()
            .and_then(|range| range.strip_prefix("bytes="));
        let range = range.and_then(|range| range.split_once('-'));
        let (start, last) = range.expect("a range");
        let start: usize = start.parse().expect("a number");
        let end = object
            .len()
            .min(last.parse::<usize>().expect("a number") + 1);
        GetObjectOutput::builder()
            .content_range(format!("bytes {start}-{}/{}", end - 1, object.len()))
            .e_tag("\"e\"")
            .body(ByteStream::from(object.slice(start..end)))
            .build()
    });
    let deps = Deps {
        s3: mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&get]),
        max_clip_seconds: 60.0,
        max_cost_usd: 5.0,
        trim_memory_mb: 3008,
        max_trim_seconds: 600.0,
        trim_timeout_seconds: 900.0,
        hevc_smart_cuts: true,
        recordings: None,
        ffmpeg: Ffmpeg::find().expect("ffmpeg"),
        scratch_bytes: 1 << 30,
        max_whole_source_bytes: 1 << 20,
    };
    let segments: Vec<_> = (0..50)
        .map(|number| {
            let source = json!({"bucket": "b", "key": format!("{number}.mp4")});
            json!({"source": source, "start": 0.2, "end": 0.6})
        })
        .collect();
    let request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": segments,
        "cut": "exact", "thumbnails": [], "metadata": {}});
    let execution = json!({"arn": "arn:e", "startedAt": "2018-08-02T15:41:00Z"});
    let input = json!({"execution": execution, "request": request, "waited": false});
    MEMORY.reset_peak_usage();
    let planned = handle(&deps, parse(input).expect("an input")).await;
    assert_eq!(planned.expect("a plan").plan.segments.len(), 50);
    let peak_mb = MEMORY.peak_usage_as_mb();
    assert!(peak_mb < 900.0, "{peak_mb} MB of the function's 1,024");
}
