//! Sources that are damaged within the cut, and clips that do not decode where they should.

use crate::common::{
    boxes,
    conform::check,
    ffmpeg::{Folder, decode_pictures, load, pictures, probe, sound, words},
    smart::smart_cuts,
    source::{AAC, H264, HEVC, LIMITS, Source},
};
use bytes::Bytes;
use ffmpeg::{
    check::Checked,
    clip::{self, Content, Method},
    damage::Flaw,
    process::{Ffmpeg, Input},
    remux::{Media, Remuxer},
    scratch::Scratch,
};
use futures::TryStreamExt;
use model::{
    ClipError, ErrorKind,
    damage::{Damaged, DamagedPlace, OnDamage},
    plan::{PinnedObject, Plan, PlannedSegment, ProbedSource},
    request::ClipRequest,
};
use mp4_cut::{Join, Movie};
use serde_json::json;
use std::path::Path;

/// The kinds of damage to a sample of a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// The length of its first NAL unit exceeds the sample.
    NalLength,
    /// Some of its bits are flipped.
    Bits,
    /// Of its four slices, the second was lost.
    Slice,
}

/// A source of 5 s at 30 frames per second, with a keyframe every second, and what is needed to make clips of it.
struct Work {
    folder: Folder,
    ffmpeg: Ffmpeg,
    scratch: Scratch,
}

/// A clip that was made.
struct Made {
    bytes: Bytes,
    method: Method,
    damaged: Option<Damaged>,
}

impl Work {
    fn new() -> Self {
        Self {
            folder: Folder::new(),
            ffmpeg: Ffmpeg::find().expect("ffmpeg"),
            scratch: Scratch::new(0, 0).expect("a folder"),
        }
    }

    fn source(&self, name: &str, codec: &str) -> std::path::PathBuf {
        let parts = [pictures("30", 5), sound(5), words(codec), words(AAC)];
        self.folder.build(name, &parts)
    }

    /// A source in which the pictures shown at these seconds are damaged.
    fn damaged(&self, damage: Damage, seconds: &[f64]) -> Bytes {
        let codec = match damage {
            Damage::Slice => format!("{H264} -x264-params slices=4"),
            _ => H264.to_owned(),
        };
        let path = self.source("a.mp4", &codec);
        let mut file = load(&path).to_vec();
        for (at, bytes) in samples_at(&path, seconds) {
            match damage {
                Damage::NalLength => file[at..at + 4].fill(0xff),
                Damage::Bits => {
                    for byte in &mut file[at + bytes / 2..at + bytes / 2 + 8] {
                        *byte ^= 0x55;
                    }
                }
                Damage::Slice => lose_slice(&mut file[at..at + bytes]),
            }
        }
        file.into()
    }

    async fn cut(
        &self,
        source: Bytes,
        interval: (f64, f64),
        more: serde_json::Value,
    ) -> Result<Made, ClipError> {
        let mut request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact",
            "thumbnails": [], "metadata": {}});
        let fields = request.as_object_mut().expect("an object");
        fields.extend(more.as_object().cloned().expect("an object"));
        let request: ClipRequest = serde_json::from_value(request).expect("a request");
        let remuxer = Remuxer {
            ffmpeg: &self.ffmpeg,
            scratch: &self.scratch,
            limits: LIMITS,
            max_whole_bytes: 1 << 30,
        };
        let media = Media::open(source, remuxer).await?;
        let range = media
            .remuxed_range(interval, None, "excerpt.mp4", remuxer)
            .await?;
        let window = range.movie.window(interval.0, interval.1)?.facts;
        let object = PinnedObject {
            bucket: "b".into(),
            key: "k".into(),
            etag: "e".into(),
            bytes: 1,
        };
        let plan = Plan {
            sources: vec![ProbedSource {
                object,
                facts: media.facts,
            }],
            segments: vec![PlannedSegment {
                source: 0,
                window,
                smart_cut: None,
                lead_seconds: range.lead_seconds,
            }],
            coverage: None,
            watermark: None,
            encodes_hevc_whole: false,
        };
        let ranges = [range];
        let made = clip::make(request.look(), &plan, &ranges, None, remuxer).await?;
        let bytes = match made.content {
            Content::File(file) => load(&file),
            Content::Stream(stream) => stream
                .try_fold(Vec::new(), async |whole, part| {
                    Ok([whole, part.to_vec()].concat())
                })
                .await?
                .into(),
        };
        Ok(Made {
            bytes,
            method: made.method,
            damaged: made.damaged,
        })
    }

    async fn refusal(&self, source: Bytes, more: serde_json::Value) -> String {
        let error = self.cut(source, (1.1, 1.9), more).await.err();
        let error = error.expect("a source that is refused");
        assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
        error.message
    }

    fn shown(&self, clip: &Bytes) -> usize {
        let path = self.folder.path("clip.mp4");
        std::fs::write(&path, clip).expect("room for a clip");
        decode_pictures(&path).len()
    }
}

/// The places and lengths of the video samples shown at these seconds.
fn samples_at(file: &Path, seconds: &[f64]) -> Vec<(usize, usize)> {
    let listing = probe(
        file,
        "-select_streams v -show_entries packet=pts_time,pos,size",
    );
    let mut samples = Vec::new();
    for line in listing.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let time: f64 = fields[0].parse().expect("a time");
        if seconds.iter().any(|asked| (asked - time).abs() < 0.01) {
            let [size, position] = [1, 2].map(|field| fields[field].parse().expect("a number"));
            samples.push((position, size));
        }
    }
    assert_eq!(samples.len(), seconds.len(), "{listing}");
    samples
}

/// Makes the second slice of an H.264 sample filler data (ITU-T H.264, table 7-1).
fn lose_slice(sample: &mut [u8]) {
    let (mut at, mut slices) = (0, 0);
    while slices < 2 {
        let length = u32::from_be_bytes(sample[at..at + 4].try_into().expect("a length"));
        slices += u32::from(matches!(sample[at + 4] & 31, 1 | 5));
        if slices == 2 {
            sample[at + 4] = 12;
        }
        at += 4 + length as usize;
    }
}

fn place(start: f64, end: f64, pictures: u64) -> DamagedPlace {
    DamagedPlace {
        start,
        end,
        pictures,
    }
}

#[tokio::test]
async fn picture_that_does_not_decode_is_left_out_and_said() {
    let work = Work::new();
    let source = work.damaged(Damage::NalLength, &[1.5]);
    let made = work
        .cut(source, (1.1, 1.9), json!({}))
        .await
        .expect("a clip");
    let damaged = Damaged {
        pictures: 1,
        left_out: 1,
        places: vec![place(0.4, 0.433_333, 1)],
        audio: false,
    };
    assert_eq!(made.damaged, Some(damaged));
    assert!(matches!(made.method, Method::EncodedWhole { .. }));
    assert_eq!(work.shown(&made.bytes), 23);
    assert_eq!(check(&made.bytes, &[]).await, Checked::default());
}

#[tokio::test]
async fn picture_that_decodes_in_part_is_shown_and_said() {
    let work = Work::new();
    let source = work.damaged(Damage::Bits, &[1.5]);
    let made = work
        .cut(source, (1.1, 1.9), json!({}))
        .await
        .expect("a clip");
    let damaged = Damaged {
        pictures: 1,
        left_out: 0,
        places: vec![place(0.4, 0.433_333, 1)],
        audio: false,
    };
    assert_eq!(made.damaged, Some(damaged));
    assert_eq!(work.shown(&made.bytes), 24);
}

#[tokio::test]
async fn clip_on_a_grid_of_frames_has_all_of_them() {
    let work = Work::new();
    let source = work.damaged(Damage::NalLength, &[1.5]);
    let edits = json!({"edits": {"speed": 0.5, "mute": true}});
    let made = work.cut(source, (1.1, 1.9), edits).await.expect("a clip");
    let damaged = made.damaged.expect("damage");
    assert_eq!(
        (damaged.left_out, damaged.places),
        (0, vec![place(0.8, 0.866_667, 1)])
    );
    assert_eq!(work.shown(&made.bytes), 48);
}

#[tokio::test]
async fn source_is_refused_whose_first_picture_or_all_do_not_decode() {
    let work = Work::new();
    let first = work.damaged(Damage::NalLength, &[1.1]);
    let said = work.refusal(first, json!({})).await;
    assert!(said.contains("its first picture does not decode"), "{said}");
    let frames: Vec<f64> = (30..60).map(|frame| f64::from(frame) / 30.0).collect();
    let said = work
        .refusal(work.damaged(Damage::NalLength, &frames), json!({}))
        .await;
    assert!(said.contains("does not decode"), "{said}");
}

#[tokio::test]
async fn request_may_refuse_damage() {
    let work = Work::new();
    for damage in [Damage::NalLength, Damage::Bits] {
        let source = work.damaged(damage, &[1.5]);
        let said = work
            .refusal(source, json!({"damage": OnDamage::Reject}))
            .await;
        assert!(said.contains("1 picture from 0.400 s"), "{said}");
    }
}

#[tokio::test]
async fn damage_before_the_start_is_said_of_every_kind_of_clip() {
    let work = Work::new();
    for damage in [Damage::NalLength, Damage::Bits, Damage::Slice] {
        let source = work.damaged(damage, &[1.5]);
        let damaged = Some(Damaged {
            pictures: 1,
            places: vec![place(0.0, 0.033_333, 1)],
            ..Damaged::default()
        });
        let cut = async |more| work.cut(source.clone(), (1.7, 3.0), more).await;
        let smart = cut(json!({})).await.expect("a clip");
        assert!(matches!(smart.method, Method::SmartCut { .. }));
        assert_eq!(smart.damaged, damaged, "{damage:?}");
        let whole = cut(json!({"edits": {"rotate": 180}}))
            .await
            .expect("a clip");
        assert!(matches!(whole.method, Method::EncodedWhole { .. }));
        assert_eq!(whole.damaged, damaged, "{damage:?}");
        let copy = cut(json!({"cut": "copy"})).await.expect("a clip");
        let checked = check(&copy.bytes, &[]).await;
        assert_eq!(checked.after_damage, [0], "{damage:?}");
        assert_eq!(checked.flaws, []);
        let refused = cut(json!({"damage": OnDamage::Reject})).await.err();
        let message = refused.expect("the request refuses damage").message;
        assert!(message.contains("1 picture from 0.000 s"), "{message}");
    }
}

#[tokio::test]
async fn hidden_sound_that_is_damaged_is_not_said() {
    let work = Work::new();
    let path = work.source("a.mp4", &format!("{H264} -g 150 -keyint_min 150"));
    let mut file = load(&path).to_vec();
    let listing = probe(
        &path,
        "-select_streams a -show_entries packet=pts_time,pos,size",
    );
    let mut damaged = 0;
    for line in listing.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let time: f64 = fields[0].parse().expect("a time");
        let [size, at] = [1, 2].map(|field| fields[field].parse::<usize>().expect("a number"));
        if (1.0..1.2).contains(&time) {
            file[at..at + size].fill(0xff);
            damaged += 1;
        }
    }
    assert!(damaged > 5, "{listing}");
    let source = Bytes::from(file);
    let copy = async |start| {
        let made = work.cut(source.clone(), (start, 4.9), json!({"cut": "copy"}));
        check(&made.await.expect("a clip").bytes, &[]).await
    };
    assert!(copy(0.5).await.is_audio_damaged);
    assert_eq!(copy(3.5).await, Checked::default());
}

#[tokio::test]
async fn damage_before_an_interval_of_a_joined_copy_is_found() {
    let work = Work::new();
    let source = work.damaged(Damage::Slice, &[3.5]);
    let movie = Movie::read(&source).await.expect("a source");
    let join = Join::of(&[(&movie, 0.5, 2.0), (&movie, 3.7, 4.9)]).expect("alike");
    let clip = join
        .stream(vec![&source, &source], 1)
        .try_fold(Vec::new(), async |whole, part| {
            Ok([whole, part.to_vec()].concat())
        });
    let clip = clip.await.expect("the source's bytes").into();
    assert_eq!(check(&clip, &[1.5]).await.after_damage, [45]);
    assert!(check(&clip, &[]).await.after_damage.is_empty());
}

#[tokio::test]
async fn damage_that_the_encoded_end_of_a_clip_is_decoded_from_is_said() {
    let work = Work::new();
    let source = work.damaged(Damage::Slice, &[4.2]);
    let made = work.cut(source, (2.0, 4.7), json!({})).await;
    let made = made.expect("a clip");
    let Method::SmartCut { facts, .. } = made.method else {
        panic!("{:?}", made.method)
    };
    let end = 2.7 - facts.encoded_seconds;
    let places = made.damaged.expect("damage").places;
    assert!((places[0].start - end).abs() < 1e-6, "{places:?}");
}

#[tokio::test]
async fn damage_behind_the_end_that_the_last_pictures_are_decoded_from_is_said() {
    let work = Work::new();
    let codec = format!("{H264} -bf 3 -b_strategy 0 -x264-params b-pyramid=none");
    let path = work.source("a.mp4", &codec);
    let behind = (135..140).find_map(|frame| {
        let seconds = f64::from(frame) / 30.0;
        let [(at, _)] = samples_at(&path, &[seconds])[..] else {
            panic!("one sample")
        };
        // A picture that others refer to (nal_ref_idc, ITU-T H.264, 7.3.1).
        (load(&path)[at + 4] >> 5 != 0).then_some(at)
    });
    let at = behind.expect("a picture that others are decoded from");
    let mut file = load(&path).to_vec();
    file[at..at + 4].fill(0xff);
    let source = Bytes::from(file);
    let cut = async |more| work.cut(source.clone(), (1.0, 4.5), more).await;
    let exact = cut(json!({})).await.expect("a clip");
    assert!(matches!(exact.method, Method::EncodedWhole { .. }));
    let places = exact.damaged.expect("damage").places;
    assert!((places[0].end - 3.5).abs() < 1e-6, "{places:?}");
    let copy = cut(json!({"cut": "copy"})).await.expect("a clip");
    assert_eq!(check(&copy.bytes, &[]).await.after_damage, [104]);
}

/// A transport stream that lost some packets of one stream, beginning at a fraction `part` of them.
fn without_packets(stream: &[u8], pid: u16, part: f64, lost: usize) -> Bytes {
    let is_of = |packet: &&[u8]| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]) == pid;
    let all = stream.chunks(188).filter(is_of).count();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a short stream"
    )]
    let from = (all as f64 * part) as usize;
    let mut number = 0;
    let kept = stream.chunks(188).filter(|packet| {
        number += usize::from(is_of(packet));
        !is_of(packet) || !(from..from + lost).contains(&(number - 1))
    });
    kept.flatten().copied().collect::<Vec<u8>>().into()
}

const VIDEO_PID: u16 = 256;
const AUDIO_PID: u16 = 257;

#[tokio::test]
async fn transport_stream_that_lost_packets_is_cut() {
    let work = Work::new();
    let whole = load(&work.source("a.ts", H264));
    for (pid, part, lost) in [
        (VIDEO_PID, 0.5, 1),
        (VIDEO_PID, 0.5, 3),
        (VIDEO_PID, 0.45, 20),
        (AUDIO_PID, 0.5, 1),
        (AUDIO_PID, 0.5, 3),
        (AUDIO_PID, 0.45, 20),
    ] {
        let source = without_packets(&whole, pid, part, lost);
        for cut in ["exact", "copy"] {
            let case = format!("{cut}, {lost} packets of {pid}");
            let made = work
                .cut(source.clone(), (1.7, 3.4), json!({"cut": cut}))
                .await
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            let shown = work.shown(&made.bytes);
            assert!((40..=51).contains(&shown), "{case}: {shown} pictures");
        }
    }
}

#[tokio::test]
async fn transport_stream_that_lost_part_of_a_picture_says_so() {
    let work = Work::new();
    let whole = load(&work.source("a.ts", H264));
    let source = without_packets(&whole, VIDEO_PID, 0.5, 1);
    let made = work
        .cut(source, (1.7, 3.4), json!({"edits": {"mute": true}}))
        .await;
    let damaged = made.expect("a clip").damaged.expect("damage");
    assert_eq!((damaged.pictures, damaged.left_out), (1, 0));
}

#[tokio::test]
async fn transport_stream_that_lost_sound_says_so() {
    let work = Work::new();
    let whole = load(&work.source("a.ts", H264));
    let source = without_packets(&whole, AUDIO_PID, 0.5, 3);
    let made = work
        .cut(source, (1.7, 3.4), json!({}))
        .await
        .expect("a clip");
    let damaged = made.damaged.expect("damage");
    assert_eq!((damaged.pictures, damaged.audio), (0, true));
}

#[tokio::test]
async fn damaged_picture_of_a_copy_is_found_where_it_is_looked_for() {
    let work = Work::new();
    for (damage, is_missing) in [(Damage::NalLength, true), (Damage::Bits, false)] {
        let source = work.damaged(damage, &[1.5, 2.5]);
        let copy = json!({"cut": "copy"});
        let made = work.cut(source, (1.1, 4.9), copy).await.expect("a clip");
        assert_eq!(made.damaged, None);
        // The one in the middle is not checked.
        let checked = check(&made.bytes, &[]).await;
        let index = 12;
        assert_eq!(checked.flaws, [Flaw { index, is_missing }]);
        assert!(!checked.complaints.is_empty());
        let checked = check(&made.bytes, &[1.3]).await;
        assert_eq!(checked.flaws.len(), 2);
    }
}

/// A smart cut of two intervals of a source, and where its joint is.
async fn smart_clip(codec: &str) -> Bytes {
    let folder = Folder::new();
    let path = folder.build("a.mp4", &[pictures("30", 5), words(codec)]);
    let source = Source::decode(&path).await;
    let made = smart_cuts(&[(&source, 0.5..2.5), (&source, 3.5..4.8)], None).await;
    load(&made.unwrap_or_else(|why| panic!("{why}")).path)
}

#[tokio::test]
async fn clip_whose_seams_do_not_decode_is_found() {
    for codec in [
        H264,
        &format!("{HEVC} -x265-params keyint=30:log-level=error:open-gop=0"),
    ] {
        let clip = smart_clip(codec).await;
        assert_eq!(check(&clip, &[2.0]).await, Checked::default(), "{codec}");
        // Destroy the encoder's picture parameter set, the last one.
        let (configuration, nal): (&[u8], &[u8]) = match codec {
            H264 => (b"avcC", &[0x68]),
            _ => (b"hvcC", &[0x44, 0x01]),
        };
        let at = clip.windows(4).position(|bytes| bytes == configuration);
        let at = at.expect("a configuration");
        let end = at - 4 + boxes::size(&clip, at - 4);
        let mut sets = clip[at..end].windows(nal.len());
        let last = at + sets.rposition(|bytes| bytes == nal).expect("a set");
        let mut sabotaged = clip.to_vec();
        sabotaged[last + nal.len()..last + nal.len() + 3].fill(0xff);
        let checked = check(&sabotaged.into(), &[2.0]).await;
        assert!(!checked.flaws.is_empty(), "{codec}");
    }
}

#[tokio::test]
async fn seam_that_loses_pictures_is_found() {
    let work = Work::new();
    let clip = smart_clip(H264).await;
    let path = work.folder.path("seam.mp4");
    std::fs::write(&path, &clip).expect("room for a clip");
    // The keyframe with which the copy begins.
    let [(at, bytes)] = samples_at(&path, &[0.5])[..] else {
        panic!("one sample")
    };
    let mut sabotaged = clip.to_vec();
    sabotaged[at + 4..at + bytes].fill(0);
    let checked = check(&sabotaged.into(), &[0.5, 2.0]).await;
    assert!(
        checked.flaws.iter().any(|flaw| flaw.index == 15),
        "{checked:?}"
    );
}

#[tokio::test]
async fn clip_without_a_decoder_is_not_checked_and_that_is_said() {
    let work = Work::new();
    let mut clip = load(&work.source("a.mp4", H264)).to_vec();
    while let Some(at) = clip.windows(4).position(|bytes| bytes == b"avc1") {
        clip[at..at + 4].copy_from_slice(b"none");
    }
    let checked = check(&clip.into(), &[]).await;
    let undecoded = checked.undecoded.expect("no decoder");
    assert!(
        undecoded.starts_with("this FFmpeg has no decoder for "),
        "{undecoded}"
    );
    assert_eq!(checked.flaws, []);
}

#[tokio::test]
async fn codec_without_a_decoder_is_named_where_it_is_encoded() {
    let work = Work::new();
    let path = work.source("a.mp4", H264);
    let mut source = load(&path).to_vec();
    while let Some(at) = source.windows(4).position(|bytes| bytes == b"avc1") {
        source[at..at + 4].copy_from_slice(b"none");
    }
    std::fs::write(work.folder.path("none.mp4"), source).expect("room");
    let ffmpeg = Ffmpeg::find().expect("ffmpeg");
    let output = ["-c:v", "libx264", "made.mp4"].map(Into::into);
    let input = [Input::mp4("none.mp4")];
    let folder = path.parent().expect("a folder");
    let error = ffmpeg.run(folder, &input, &output, LIMITS).await;
    let error = error.expect_err("nothing decodes it");
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
    assert_eq!(error.message, "this FFmpeg cannot decode none");
}
