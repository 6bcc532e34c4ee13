//! Joined cuts, edits and formats on the local stack, checked by decoding the clips.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tests::{Ended, Stack};

/// The sample rate to which audio is decoded.
const SAMPLE_RATE: usize = 8000;

/// Eight seconds of pictures whose brightness encodes their number, so that each differs from its neighbours.
fn pictures(size: &str, rate: u32) -> String {
    format!(
        "color=black:size={size}:rate={rate}:duration=8,geq=lum='40+mod(N*7\\,140)':cb=128:cr=128"
    )
}

/// The brightness of a picture of a source.
fn brightness_of(number: usize) -> u8 {
    u8::try_from(40 + number * 7 % 140).expect("below 180")
}

/// Makes a source of [`pictures`] and a tone and uploads it; returns the file.
async fn source(
    stack: &Stack,
    folder: &Path,
    name: &str,
    (size, rate): (&str, u32),
    options: &[&str],
) -> PathBuf {
    let file = folder.join(name);
    let tone = "sine=frequency=440:duration=8:sample_rate=48000";
    let inputs = [
        "-f",
        "lavfi",
        "-i",
        &pictures(size, rate),
        "-f",
        "lavfi",
        "-i",
        tone,
    ];
    let codecs = [
        "-c:v", "libx264", "-preset", "veryfast", "-crf", "10", "-g", "40", "-pix_fmt", "yuv420p",
    ];
    stack.ffmpeg(
        &[
            &inputs[..],
            &codecs,
            options,
            &[file.to_str().expect("UTF-8")],
        ]
        .concat(),
    );
    stack.upload(name, &file).await;
    file
}

fn segment(stack: &Stack, key: &str, start: f64, end: f64) -> Value {
    json!({"source": {"bucket": stack.description.source_bucket, "key": key}, "start": start, "end": end})
}

fn request(clip_id: &str, segments: &[Value]) -> Value {
    json!({"clipId": clip_id, "segments": segments, "output": {"thumbnails": [64]}})
}

/// The clip of an outcome, downloaded.
async fn delivered(stack: &Stack, ended: &Ended, folder: &Path) -> PathBuf {
    assert_eq!(
        (ended.status.as_str(), ended.output["status"].as_str()),
        ("SUCCEEDED", Some("available")),
        "{ended:?}"
    );
    let key = ended.output["clip"]["key"].as_str().expect("a key");
    let file = folder.join(key.replace('/', "-"));
    stack.download(key, &file).await;
    file
}

fn rejection(ended: &Ended) -> (&str, &str) {
    let text = |field: &str| {
        ended.output[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field}: {ended:?}"))
    };
    assert_eq!(text("status"), "rejected");
    (text("reason"), text("message"))
}

/// A file's pictures after a filter, as raw bytes.
fn decoded(stack: &Stack, file: &Path, filter: &str, format: &str) -> Vec<u8> {
    let raw = file.with_extension("raw");
    let paths = [file.to_str().expect("UTF-8"), raw.to_str().expect("UTF-8")];
    let shape = [
        "-vf",
        filter,
        "-pix_fmt",
        format,
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
    ];
    stack.ffmpeg(&[&["-i", paths[0]], &shape[..], &[paths[1]]].concat());
    std::fs::read(raw).expect("frames")
}

/// The brightness of every frame in a 2x2 square at a place.
fn brightness(stack: &Stack, file: &Path, x: u32, y: u32) -> Vec<u8> {
    decoded(
        stack,
        file,
        &format!("crop=2:2:{x}:{y}:exact=1,extractplanes=y"),
        "gray",
    )
    .into_iter()
    .step_by(4)
    .collect()
}

/// The peak of every tenth of a second, as a fraction of full scale; empty without audio.
fn loudness(stack: &Stack, file: &Path) -> Vec<f64> {
    if !stack.ffprobe(file)["streams"]
        .as_array()
        .expect("streams")
        .iter()
        .any(|one| one["codec_type"] == "audio")
    {
        return Vec::new();
    }
    let raw = file.with_extension("pcm");
    let paths = [file.to_str().expect("UTF-8"), raw.to_str().expect("UTF-8")];
    let rate = SAMPLE_RATE.to_string();
    let shape = [
        "-vn",
        "-af",
        "aresample=async=1:first_pts=0",
        "-ac",
        "1",
        "-ar",
        &rate,
        "-f",
        "s16le",
    ];
    stack.ffmpeg(&[&["-i", paths[0]], &shape[..], &[paths[1]]].concat());
    let bytes = std::fs::read(raw).expect("sound");
    let samples: Vec<_> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|sample| f64::from(i16::from_le_bytes(*sample)))
        .collect();
    samples
        .chunks(SAMPLE_RATE / 10)
        .map(|tenth| tenth.iter().fold(0.0, |a: f64, b| a.max(b.abs())) / 32768.0)
        .collect()
}

/// Asserts that pictures have these brightnesses; neighbours are 7 apart.
fn assert_brightness(found: &[u8], wanted: impl Iterator<Item = u8>, what: &str) {
    let wanted: Vec<_> = wanted.collect();
    let same = found.len() == wanted.len()
        && found
            .iter()
            .zip(&wanted)
            .all(|(one, other)| one.abs_diff(*other) < 4);
    assert!(
        same,
        "{what}: {} of {}: {found:?} {wanted:?}",
        found.len(),
        wanted.len()
    );
}

#[tokio::test]
async fn cuts_of_different_sources_are_joined_in_the_format_of_the_first() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(
        &stack,
        folder.path(),
        "join-a.mp4",
        ("160x90", 10),
        &["-c:a", "aac", "-ac", "2"],
    )
    .await;
    let other = [
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=none",
        "-tag:v",
        "hvc1",
        "-an",
    ];
    source(&stack, folder.path(), "join-b.mp4", ("90x160", 20), &other).await;
    let cuts = [
        ("join-a.mp4", 1.0, 2.5),
        ("join-b.mp4", 3.0, 4.0),
        ("join-a.mp4", 0.3, 0.8),
    ];
    let segments = cuts.map(|(key, start, end)| segment(&stack, key, start, end));
    let ended = stack.run(&request("join-exact", &segments)).await;
    let file = delivered(&stack, &ended, folder.path()).await;
    let outcome = &ended.output["delivered"];
    assert_eq!(
        [
            &outcome["width"],
            &outcome["height"],
            &outcome["frames"],
            &outcome["durationSeconds"]
        ],
        [&json!(160), &json!(90), &json!(30), &json!(3.0)]
    );
    assert_eq!(
        outcome["conformed"],
        json!(["segments[1]: size 90x160 to 160x90, frame rate 20.000 to 10.000, silence added"])
    );
    let wanted = (10..25)
        .chain((30..40).map(|frame| frame * 2))
        .chain(3..8)
        .map(brightness_of);
    assert_brightness(&brightness(&stack, &file, 80, 44), wanted, "the middle");
    let edge = brightness(&stack, &file, 4, 44);
    assert!(
        edge[15..25].iter().all(|black| *black < 20),
        "framed in black: {edge:?}"
    );
    let loud = loudness(&stack, &file);
    assert!(
        loud[..14].iter().all(|level| *level > 0.05)
            && loud[26..29].iter().all(|level| *level > 0.05),
        "{loud:?}"
    );
    assert!(loud[17..24].iter().all(|level| *level < 0.01), "{loud:?}");
}

#[tokio::test]
async fn cuts_of_the_same_source_are_joined_as_smart_cuts() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    // A keyframe every four seconds, and pictures decoded in display order.
    source(
        &stack,
        folder.path(),
        "smart.mp4",
        ("160x90", 10),
        &["-bf", "0", "-sc_threshold", "0", "-c:a", "aac"],
    )
    .await;
    let cuts = [(1.0, 6.0), (2.0, 2.5), (3.5, 8.0)]
        .map(|(start, end)| segment(&stack, "smart.mp4", start, end));
    let ended = stack.run(&request("join-smart", &cuts)).await;
    let file = delivered(&stack, &ended, folder.path()).await;
    let outcome = &ended.output;
    let why = outcome["engine"]["why"].as_str().expect("a reason");
    assert!(
        why.ends_with("; smart cut: 4.00 s of 10.00 s are encoded"),
        "{why}"
    );
    assert_eq!(
        (
            &outcome["delivered"]["frames"],
            &outcome["delivered"]["conformed"]
        ),
        (&json!(100), &Value::Null)
    );
    let wanted = (10..60).chain(20..25).chain(35..80).map(brightness_of);
    assert_brightness(&brightness(&stack, &file, 80, 44), wanted, "the middle");
    let loud = loudness(&stack, &file);
    assert!(
        (100..=101).contains(&loud.len()) && loud[..100].iter().all(|level| *level > 0.05),
        "{loud:?}"
    );
}

#[tokio::test]
async fn cuts_of_the_same_format_are_joined_without_encoding() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["-c:a", "aac", "-ac", "2"];
    source(
        &stack,
        folder.path(),
        "copy-a.mp4",
        ("160x90", 10),
        &options,
    )
    .await;
    source(
        &stack,
        folder.path(),
        "copy-b.mp4",
        ("160x90", 10),
        &options,
    )
    .await;
    source(
        &stack,
        folder.path(),
        "copy-small.mp4",
        ("80x46", 10),
        &options,
    )
    .await;
    let cuts = [("copy-a.mp4", 1.0, 2.5), ("copy-b.mp4", 4.1, 5.0)];
    let mut request = request(
        "join-copy",
        &cuts.map(|(key, start, end)| segment(&stack, key, start, end)),
    );
    request["cut"] = json!("copy");
    let ended = stack.run(&request).await;
    let file = delivered(&stack, &ended, folder.path()).await;
    assert_eq!(ended.output["delivered"]["frames"], 24);
    assert_brightness(
        &brightness(&stack, &file, 80, 44),
        (10..25).chain(41..50).map(brightness_of),
        "the middle",
    );

    request["clipId"] = json!("join-copy-refused");
    request["segments"][1]["source"]["key"] = json!("copy-small.mp4");
    let ended = stack.run(&request).await;
    let (reason, message) = rejection(&ended);
    assert_eq!(reason, "InvalidRequest");
    assert!(
        message.starts_with("cut: segments[1] cannot be joined to segments[0] without encoding"),
        "{message}"
    );
}

/// Half a minute of red, green, blue and white quadrants of 160x90 pixels each, and a tone.
async fn quarters(stack: &Stack, folder: &Path) {
    let file = folder.join("quarters.mp4");
    let quarter = |colour: &str, x: u32, y: u32| {
        format!("drawbox=x={x}:y={y}:w=160:h=90:t=fill:color={colour}")
    };
    let boxes = [
        quarter("red", 0, 0),
        quarter("green", 160, 0),
        quarter("blue", 0, 90),
        quarter("white", 160, 90),
    ];
    let pictures = format!(
        "color=black:size=320x180:rate=10:duration=30,format=rgb24,{}",
        boxes.join(",")
    );
    let sound = "sine=frequency=440:duration=30:sample_rate=48000";
    let codecs = [
        "-c:v", "libx264", "-preset", "veryfast", "-crf", "10", "-pix_fmt", "yuv420p", "-c:a",
        "aac",
    ];
    let inputs = ["-f", "lavfi", "-i", &pictures, "-f", "lavfi", "-i", sound];
    stack.ffmpeg(&[&inputs[..], &codecs, &[file.to_str().expect("UTF-8")]].concat());
    stack.upload("quarters.mp4", &file).await;
}

/// A yellow PNG of 60x60 pixels.
async fn watermark(stack: &Stack, folder: &Path) {
    let path = folder.join("yellow.png");
    let file = std::fs::File::create(&path).expect("a file");
    let mut encoder = png::Encoder::new(file, 60, 60);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a header");
    writer
        .write_image_data(&[255, 255, 0].repeat(3600))
        .expect("pixels");
    writer.finish().expect("an end");
    stack.upload("brand/yellow.png", &path).await;
}

/// The colour of the first picture at a place.
fn colour(stack: &Stack, file: &Path, x: u32, y: u32) -> [u8; 3] {
    let pixels = decoded(
        stack,
        file,
        &format!("format=rgb24,crop=2:2:{x}:{y}:exact=1"),
        "rgb24",
    );
    [pixels[0], pixels[1], pixels[2]]
}

fn assert_colour(stack: &Stack, file: &Path, (x, y): (u32, u32), wanted: [u8; 3], what: &str) {
    let found = colour(stack, file, x, y);
    let near = found
        .iter()
        .zip(wanted)
        .all(|(found, wanted)| found.abs_diff(wanted) < 40);
    assert!(near, "{what} at {x},{y}: {found:?}, not {wanted:?}");
}

fn size(stack: &Stack, file: &Path) -> (u64, u64) {
    let probed = stack.ffprobe(file);
    let video = probed["streams"]
        .as_array()
        .expect("streams")
        .iter()
        .find(|one| one["codec_type"] == "video");
    let side = |name: &str| video.expect("pictures")[name].as_u64().expect("a number");
    (side("width"), side("height"))
}

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 128, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255, 255, 255];
const BLACK: [u8; 3] = [0, 0, 0];
const YELLOW: [u8; 3] = [255, 255, 0];

/// Places of a picture, and the colours that are there.
type Colours = &'static [((u32, u32), [u8; 3])];

/// The picture is 160x142, with black above and below; the watermark 40x40 at 4,4 lies on black and on blue.
const TURNED: Colours = &[
    ((60, 60), BLUE),
    ((120, 60), RED),
    ((60, 140), WHITE),
    ((120, 140), GREEN),
    ((80, 190), BLACK),
    ((20, 12), [128, 128, 0]),
    ((20, 38), [128, 128, 128]),
    ((2, 2), BLACK),
];
const COVERED: Colours = &[
    ((20, 40), RED),
    ((80, 40), GREEN),
    ((20, 140), BLUE),
    ((60, 120), WHITE),
    ((86, 166), YELLOW),
];
const STRETCHED: Colours = &[
    ((20, 20), WHITE),
    ((80, 20), BLUE),
    ((20, 80), GREEN),
    ((80, 80), RED),
];

#[tokio::test]
async fn both_engines_turn_crop_resize_watermark_and_mute_the_same() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    quarters(&stack, folder.path()).await;
    watermark(&stack, folder.path()).await;
    // Rotated: 180x320, blue and red above white and green.
    let turned = json!({"rotate": 90, "crop": {"x": 0, "y": 80, "width": 180, "height": 160},
        "resize": {"width": 160, "height": 200}, "mute": true,
        "watermark": {"key": "brand/yellow.png", "position": "top-left", "scale": 0.25, "opacity": 0.5}});
    // The middle of the picture, in its full height, where the four quadrants meet.
    let covered = json!({"resize": {"width": 100, "height": 180, "fit": "cover"},
        "watermark": {"key": "brand/yellow.png", "scale": 0.2}});
    let stretched = json!({"resize": {"width": 100, "height": 100, "fit": "stretch", "upscale": true}, "rotate": 180});
    let edited = [
        ("turned", &turned, (160, 200), TURNED),
        ("covered", &covered, (100, 180), COVERED),
        ("stretched", &stretched, (100, 100), STRETCHED),
    ];
    // 22 s is more than the local deployment allows for Trim.
    for (engine, end) in [("trim", 2.0), ("transcode", 22.0)] {
        let requests = edited.map(|(name, edits, ..)| {
            let quarters = segment(&stack, "quarters.mp4", 0.0, end);
            let mut request = request(&format!("{name}-{engine}"), &[quarters]);
            request["edits"] = edits.clone();
            request
        });
        for request in &requests {
            stack.send(&request.to_string()).await;
        }
        for (request, (name, edits, wanted, colours)) in requests.iter().zip(edited) {
            let ended = stack.ended(request).await;
            let file = delivered(&stack, &ended, folder.path()).await;
            assert_eq!(ended.output["engine"]["name"], engine, "{}", ended.output);
            assert_eq!(size(&stack, &file), wanted, "{name}-{engine}");
            for (place, colour) in colours {
                assert_colour(&stack, &file, *place, *colour, &format!("{name}-{engine}"));
            }
            let levels = loudness(&stack, &file);
            if edits["mute"] == true {
                assert_eq!(levels, [0.0; 0]);
            } else {
                assert!(
                    levels[1..15].iter().all(|level| *level > 0.05),
                    "{name}: {levels:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn long_cuts_of_different_sources_are_joined_by_mediaconvert_too() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    quarters(&stack, folder.path()).await;
    source(&stack, folder.path(), "other.mp4", ("90x160", 20), &["-an"]).await;
    let cuts = [
        segment(&stack, "quarters.mp4", 1.0, 20.0),
        segment(&stack, "other.mp4", 2.0, 5.0),
    ];
    let ended = stack.run(&request("join-transcode", &cuts)).await;
    let file = delivered(&stack, &ended, folder.path()).await;
    let outcome = &ended.output;
    assert_eq!(
        (&outcome["engine"]["name"], size(&stack, &file)),
        (&json!("transcode"), (320, 180))
    );
    let frames = outcome["delivered"]["frames"].as_u64().expect("frames");
    assert!((219..=221).contains(&frames), "{frames}");
    assert_eq!(
        outcome["delivered"]["conformed"],
        json!(["segments[1]: size 90x160 to 320x180, frame rate 20.000 to 10.000, silence added"])
    );
    let middle = brightness(&stack, &file, 160, 90);
    let found = &middle[190..219];
    let near = |frame: usize| [2 * frame + 39, 2 * frame + 40, 2 * frame + 41].map(brightness_of);
    let same =
        |(frame, found): (usize, &u8)| near(frame).iter().any(|wanted| wanted.abs_diff(*found) < 4);
    assert!(found.iter().enumerate().all(same), "{found:?}");
    let loud = loudness(&stack, &file);
    assert!(
        loud[185] > 0.05 && loud[195..215].iter().all(|level| *level < 0.01),
        "{loud:?}"
    );
}

#[tokio::test]
async fn both_engines_give_the_frame_rate_that_is_asked_for() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    quarters(&stack, folder.path()).await;
    for (engine, end, frames) in [("trim", 2.0, 50), ("transcode", 22.0, 550)] {
        let cut = segment(&stack, "quarters.mp4", 0.0, end);
        let mut request = request(&format!("rate-{engine}"), &[cut]);
        request["output"]["frameRate"] = json!(25);
        let ended = stack.run(&request).await;
        delivered(&stack, &ended, folder.path()).await;
        let outcome = &ended.output;
        assert_eq!(outcome["engine"]["name"], engine, "{outcome}");
        let found = outcome["delivered"]["frames"].as_u64().expect("frames");
        assert!(found.abs_diff(frames) <= 1, "{outcome}");
        let said = json!(["segments[0]: frame rate 10.000 to 25.000"]);
        assert_eq!(outcome["delivered"]["conformed"], said);
    }
}

/// How many times per second the audio between two times crosses zero upwards.
fn pitch(stack: &Stack, file: &Path, from: usize, to: usize) -> usize {
    loudness(stack, file);
    let bytes = std::fs::read(file.with_extension("pcm")).expect("sound");
    let samples: Vec<_> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|sample| i16::from_le_bytes(*sample))
        .collect();
    let within = &samples[from * SAMPLE_RATE..to * SAMPLE_RATE];
    within
        .windows(2)
        .filter(|two| two[0] < 0 && two[1] >= 0)
        .count()
        / (to - from)
}

#[tokio::test]
async fn slow_motion_keeps_the_pitch_and_fades_go_to_black_and_silence() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(
        &stack,
        folder.path(),
        "speed.mp4",
        ("160x90", 10),
        &["-c:a", "aac"],
    )
    .await;
    let mut slow = request("slow", &[segment(&stack, "speed.mp4", 1.0, 3.0)]);
    slow["edits"] = json!({"speed": 0.5, "fade": {"in": 0.5, "out": 0.5}});
    let mut fast = request("fast", &[segment(&stack, "speed.mp4", 0.0, 8.0)]);
    fast["edits"] = json!({"speed": 4});
    for request in [&slow, &fast] {
        stack.send(&request.to_string()).await;
    }
    let ended = stack.ended(&slow).await;
    let file = delivered(&stack, &ended, folder.path()).await;
    assert_eq!(
        (
            &ended.output["delivered"]["frames"],
            &ended.output["delivered"]["durationSeconds"]
        ),
        (&json!(40), &json!(4.0))
    );
    let found = brightness(&stack, &file, 80, 44);
    assert_brightness(
        &found[6..34],
        (6..34).map(|frame| brightness_of(10 + frame / 2)),
        "each frame twice",
    );
    assert!(
        found[0] < 20 && found[2] > found[0] && found[39] < 60 && found[39] < found[35],
        "{found:?}"
    );
    let loud = loudness(&stack, &file);
    assert!((40..=41).contains(&loud.len()), "{loud:?}");
    assert!(
        loud[0] < loud[8] * 0.4 && loud[39] < loud[30] * 0.4 && loud[8] > 0.05,
        "{loud:?}"
    );
    assert!(
        (435..=445).contains(&pitch(&stack, &file, 1, 3)),
        "{}",
        pitch(&stack, &file, 1, 3)
    );

    let ended = stack.ended(&fast).await;
    let file = delivered(&stack, &ended, folder.path()).await;
    assert_brightness(
        &brightness(&stack, &file, 80, 44),
        (0..20).map(|frame| brightness_of(frame * 4)),
        "every fourth",
    );
    assert!(
        (435..=445).contains(&pitch(&stack, &file, 0, 2)),
        "{}",
        pitch(&stack, &file, 0, 2)
    );
}

#[tokio::test]
async fn clips_come_in_other_formats_and_with_previews() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    source(
        &stack,
        folder.path(),
        "formats.mp4",
        ("640x360", 10),
        &["-c:a", "aac"],
    )
    .await;
    let formats = [
        ("webm", "webp", "vp9", "opus"),
        ("hevc", "gif", "hevc", "aac"),
    ];
    let asked = formats.map(|(format, preview, ..)| {
        let mut request = request(&format!("format-{format}"), &[segment(&stack, "formats.mp4", 1.0, 6.0)]);
        request["output"] = json!({"thumbnails": [64, 1000], "preview": preview, "format": format, "quality": "low"});
        request
    });
    for request in &asked {
        stack.send(&request.to_string()).await;
    }
    for (request, (format, preview, video, audio)) in asked.iter().zip(formats) {
        let ended = stack.ended(request).await;
        let file = delivered(&stack, &ended, folder.path()).await;
        let outcome = &ended.output;
        assert_eq!(
            (
                &outcome["delivered"]["videoCodec"],
                &outcome["delivered"]["audioCodec"]
            ),
            (&json!(video), &json!(audio))
        );
        assert_eq!(outcome["delivered"]["frames"], 50);
        let extension = if format == "webm" { "webm" } else { "mp4" };
        let key = outcome["clip"]["key"].as_str().expect("a key");
        assert!(key.ends_with(&format!("/clip.{extension}")), "{key}");
        let head = stack
            .s3
            .head_object()
            .bucket(&stack.description.bucket)
            .key(key)
            .send()
            .await
            .expect("the clip");
        assert_eq!(
            head.content_type(),
            Some(format!("video/{extension}").as_str())
        );
        assert_brightness(
            &brightness(&stack, &file, 320, 180),
            (10..60).map(brightness_of),
            format,
        );
        let probed = stack.ffprobe(&file);
        let codecs: Vec<_> = probed["streams"]
            .as_array()
            .expect("streams")
            .iter()
            .map(|one| &one["codec_name"])
            .collect();
        assert_eq!(codecs, [video, audio]);
        assert_eq!(
            outcome["thumbnails"].as_array().expect("thumbnails").len(),
            2
        );
        assert_eq!(outcome["thumbnails"][1]["size"], 640);

        let key = outcome["preview"]["key"].as_str().expect("a preview");
        assert!(key.ends_with(&format!("/preview.{preview}")), "{key}");
        let animation = folder.path().join(format!("preview.{preview}"));
        stack.download(key, &animation).await;
        let bytes = std::fs::read(&animation).expect("the preview");
        if preview == "gif" {
            let probed = stack.ffprobe(&animation);
            let pictures = &probed["streams"][0];
            assert_eq!(
                (&pictures["width"], &pictures["nb_read_frames"]),
                (&json!(480), &json!("30"))
            );
        } else {
            let frames = bytes.windows(4).filter(|four| *four == b"ANMF").count();
            assert_eq!((&bytes[8..16], frames), (&b"WEBPVP8X"[..], 30));
        }
    }
}

#[tokio::test]
async fn edits_that_do_not_fit_are_rejected_and_what_only_trim_can_do_stays_with_it() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = source(
        &stack,
        folder.path(),
        "fits.mp4",
        ("160x90", 10),
        &["-c:a", "aac"],
    )
    .await;
    stack.upload("brand/film.png", &file).await;
    let with = |name: &str, edits: Value| {
        let mut request = request(name, &[segment(&stack, "fits.mp4", 1.0, 2.0)]);
        request["edits"] = edits;
        request
    };
    let mut copied = with("bad-copy", json!({"mute": true}));
    copied["cut"] = json!("copy");
    let crop = json!({"crop": {"x": 0, "y": 60, "width": 64, "height": 32}});
    let cases = [
        (
            with("bad-crop", crop),
            "InvalidRequest",
            "edits.crop: 64x32 at 0,60 goes beyond the picture, which is 160x90",
        ),
        (
            with("bad-fade", json!({"fade": {"in": 0.6, "out": 0.6}})),
            "InvalidRequest",
            "edits.fade: takes 1.200 s in all",
        ),
        (
            with("bad-png", json!({"watermark": {"key": "brand/film.png"}})),
            "InvalidRequest",
            "edits.watermark.key: s3://",
        ),
        (
            with("no-png", json!({"watermark": {"key": "brand/none.png"}})),
            "SourceNotFound",
            "edits.watermark.key: s3://",
        ),
        (
            copied,
            "InvalidRequest",
            "edits.mute: is not possible with the cut \"copy\"",
        ),
    ];
    let mut long = request("long-slow", &[segment(&stack, "fits.mp4", 0.0, 6.0)]);
    long["edits"] = json!({"speed": 0.25});
    stack.send(&long.to_string()).await;
    for (request, ..) in &cases {
        stack.send(&request.to_string()).await;
    }
    for (request, reason, message) in &cases {
        let ended = stack.ended(request).await;
        let (found, said) = rejection(&ended);
        assert!(
            found == *reason && said.starts_with(message),
            "{found}: {said}"
        );
    }
    let ended = stack.ended(&long).await;
    delivered(&stack, &ended, folder.path()).await;
    assert_eq!(
        (
            &ended.output["engine"]["name"],
            &ended.output["delivered"]["durationSeconds"]
        ),
        (&json!("trim"), &json!(24.0))
    );
}
