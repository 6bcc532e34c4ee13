//! Clips that do not decode: whose fault it is, and what happens to the request.

use aws_sdk_s3::{Client, operation::get_object::GetObjectOutput, primitives::ByteStream};
use aws_smithy_mocks::{RuleMode, mock, mock_client};
use bytes::Bytes;
use ffmpeg::process::Ffmpeg;
use futures::TryStreamExt;
use model::{
    ClipError, ErrorKind,
    outcome::{Delivered, EngineName},
};
use mp4_cut::{Facts, Movie, WindowFacts};
use serde_json::{Value, json};
use std::process::Command;
use verify::{Deps, Input, handle};

const START: f64 = 1.1;
const END: f64 = 1.9;
/// The numbers, in the source, of the clip's first picture, of one that it is decoded from, and of one in its middle.
const FIRST: usize = 33;
const BEFORE: usize = 31;
const MIDDLE: usize = 45;

/// Three seconds of H.264 with a keyframe each.
fn source() -> Bytes {
    source_with("-bf 0")
}

fn source_with(more: &str) -> Bytes {
    let folder = tempfile::tempdir().expect("a folder");
    let options = format!(
        "-c:v libx264 -preset ultrafast -g 30 -pix_fmt yuv420p -x264-params slices=1 {more}"
    );
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"])
        .arg("testsrc2=size=160x90:rate=30:duration=3")
        .args(options.split(' '))
        .arg("source.mp4")
        .current_dir(folder.path())
        .status();
    assert!(made.expect("ffmpeg on the PATH").success());
    let source = std::fs::read(folder.path().join("source.mp4"));
    source.expect("a source").into()
}

/// The same with one picture damaged, given its number.
async fn damaged(source: &Bytes, number: usize) -> Bytes {
    let movie = Movie::read(source).await.expect("a source");
    // In the middle of the picture.
    let seconds = movie.shown_frames().expect("frames")[number].seconds + 0.5 / 30.0;
    // The bytes that are decoded up to and including a picture end with it.
    let end_of = async |seconds: f64| {
        let window = movie.window_shown(seconds, seconds).expect("a picture");
        usize::try_from(window.facts.source_span.expect("one range").end).expect("a place")
    };
    let at = end_of(seconds - 1.0 / 30.0).await;
    assert!(at < end_of(seconds).await);
    let mut file = source.to_vec();
    file[at..at + 4].fill(0xff);
    file.into()
}

/// The window cut from a source, and the copy.
async fn copy(source: &Bytes) -> (Facts, WindowFacts, Bytes) {
    let movie = Movie::read(source).await.expect("a source");
    let window = movie.window(START, END).expect("an interval");
    let copy = window
        .stream(source, 1)
        .try_fold(Vec::new(), async |whole, part| {
            Ok([whole, part.to_vec()].concat())
        });
    let copy = copy.await.expect("the source's bytes");
    (movie.facts, window.facts, copy.into())
}

/// A bucket for sources and one for clips, with one object each.
fn s3(archive: Bytes, clips: Bytes) -> Client {
    let get = mock!(Client::get_object).then_compute_output(move |get| {
        let object = match get.bucket() {
            Some("archive") => &archive,
            _ => &clips,
        };
        let range = get.range().expect("a range").trim_start_matches("bytes=");
        let (first, last) = range.split_once('-').expect("two ends");
        let place = |text: &str| text.parse::<usize>().expect("a place");
        let (first, end) = (place(first), object.len().min(place(last) + 1));
        GetObjectOutput::builder()
            .e_tag("\"e\"")
            .content_range(format!("bytes {first}-{}/{}", end - 1, object.len()))
            .body(ByteStream::from(object.slice(first..end)))
            .build()
    });
    mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&get])
}

/// The result of `verify` for a clip that was cut from a source; `more` are fields of the request.
async fn verify(
    source: &Bytes,
    clip: Bytes,
    engine: EngineName,
    more: Value,
) -> Result<Delivered, ClipError> {
    let (facts, window, _) = copy(source).await;
    let mut request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "copy",
        "thumbnails": [], "metadata": {}});
    let fields = request.as_object_mut().expect("an object");
    fields.extend(more.as_object().cloned().expect("an object"));
    let object =
        json!({"bucket": "archive", "key": "k.mp4", "etag": "\"e\"", "bytes": source.len()});
    let probe = json!({"sources": [{"object": object, "facts": facts}],
        "segments": [{"source": 0, "window": window}]});
    let input = json!({
        "execution": {"arn": "arn:e", "startedAt": "2026-01-01T00:00:00Z"},
        "request": request,
        "probe": probe,
        "clip": {"key": "clips/a/b/clip.mp4", "bytes": clip.len(), "etag": "e"},
        "engine": {"name": engine, "why": "short", "estimateUsd": 0.1},
    });
    let deps = Deps {
        s3: s3(source.clone(), clip),
        bucket: "clips".into(),
        scratch_bytes: 1 << 30,
        ffmpeg: Ffmpeg::find().expect("ffmpeg"),
    };
    let input: Input = serde_json::from_value(input).expect("an input");
    handle(&deps, input).await
}

#[tokio::test]
async fn damage_of_the_source_is_delivered_and_said() {
    let source = damaged(&source(), MIDDLE).await;
    let (.., clip) = copy(&source).await;
    let delivered = verify(&source, clip.clone(), EngineName::Trim, json!({})).await;
    let damaged = delivered.expect("a clip").damaged;
    let said = serde_json::to_value(damaged).expect("JSON");
    let place = json!({"start": 0.4, "end": 0.433_333, "pictures": 1});
    assert_eq!(said, json!({"pictures": 1, "places": [place]}));
    let refuses = json!({"damage": "reject"});
    let error = verify(&source, clip, EngineName::Trim, refuses).await;
    let error = error.expect_err("the request refuses damage");
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia, "{error}");
}

#[tokio::test]
async fn damage_before_the_start_of_a_copy_is_said() {
    let source = damaged(&source(), BEFORE).await;
    let (.., clip) = copy(&source).await;
    let delivered = verify(&source, clip, EngineName::Trim, json!({})).await;
    let damaged = delivered.expect("a clip").damaged;
    let said = serde_json::to_value(damaged).expect("JSON");
    let place = json!({"start": 0.0, "end": 0.033_333, "pictures": 1});
    assert_eq!(said, json!({"pictures": 1, "places": [place]}));
}

#[tokio::test]
async fn source_whose_first_picture_does_not_decode_is_refused() {
    let source = damaged(&source(), FIRST).await;
    let (.., clip) = copy(&source).await;
    let error = verify(&source, clip, EngineName::Trim, json!({})).await;
    let error = error.expect_err("its first picture does not decode");
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia, "{error}");
}

#[tokio::test]
async fn damage_that_the_source_does_not_have_is_our_own_fault() {
    let source = source();
    for number in [BEFORE, FIRST, MIDDLE] {
        let (.., clip) = copy(&damaged(&source, number).await).await;
        let error = verify(&source, clip, EngineName::Trim, json!({})).await;
        let error = error.expect_err("the source is whole");
        assert_eq!(error.kind, ErrorKind::DeliveryMismatch, "{error}");
    }
}

#[tokio::test]
async fn source_whose_index_lies_about_the_order_of_its_pictures_is_at_fault() {
    let mut file = source_with("-bf 2 -b_strategy 0").to_vec();
    let named = file.windows(4).rposition(|bytes| bytes == b"ctts");
    let offsets = named.expect("pictures that are shown later than they are decoded");
    file[offsets..offsets + 4].copy_from_slice(b"free");
    let source = Bytes::from(file);
    let (.., clip) = copy(&source).await;
    let delivered = verify(&source, clip, EngineName::Trim, json!({})).await;
    // Whether its first picture is missing depends on how FFmpeg guesses its time.
    match delivered {
        Ok(delivered) => assert!(
            delivered
                .damaged
                .is_some_and(|damaged| damaged.pictures > 0)
        ),
        Err(error) => assert_eq!(error.kind, ErrorKind::UnsupportedMedia, "{error}"),
    }
}

#[tokio::test]
async fn pictures_that_were_encoded_decode_however_damaged_their_source_is() {
    let source = damaged(&source(), MIDDLE).await;
    let (.., clip) = copy(&source).await;
    for engine in [EngineName::Trim, EngineName::Transcode] {
        let encoded = json!({"cut": "exact"});
        let error = verify(&source, clip.clone(), engine, encoded).await;
        let error = error.expect_err("it was encoded");
        assert_eq!(error.kind, ErrorKind::DeliveryMismatch, "{error}");
    }
}

#[tokio::test]
async fn clip_that_decodes_is_delivered_without_a_word_of_damage() {
    let source = source();
    let (.., clip) = copy(&source).await;
    let delivered = verify(&source, clip, EngineName::Trim, json!({})).await;
    let delivered = delivered.expect("a clip");
    assert_eq!((delivered.damaged, delivered.undecoded), (None, None));
    assert_eq!(delivered.frames, 24);
}
