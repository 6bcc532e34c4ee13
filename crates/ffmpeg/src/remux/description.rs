//! What `ffprobe` tells of a source, and what that makes of it.

use super::{
    arguments::{demuxer, look},
    remuxer::Remuxer,
};
use crate::{encrypted, pixels::PixelNames, process::Input, range_server::RangeServer};
use model::{ClipError, clip_spec, number, plan::Remuxed};
use mp4_cut::{
    AudioFacts, Container, Error, Facts, VideoFacts,
    io::{CachedSource, RangeRead},
};
use serde::Deserialize;
use std::{collections::BTreeMap, iter};

/// How much of a source `FFmpeg` analyses to describe it, in microseconds: the second value if the first does not
/// suffice.
const ANALYZE_DURATIONS: [u32; 2] = [1_000_000, 3_000_000];
/// Bytes at a source's beginning that tell whether it is encrypted.
const HEAD_BYTES: u64 = 256 << 10;
/// How many packets at a source's start are searched for its first keyframe.
const FIRST_PACKETS: u32 = 64;
/// The same for a source that begins without one, such as a recording started between two keyframes.
const LATE_KEYFRAME_PACKETS: u32 = 1000;
/// What describing a source may read, in bytes. It takes 1 to 3 MB, and up to 16 MB more for a transport stream that
/// ends without timestamps.
const DESCRIPTION_BYTES: u64 = 24 << 20;
/// The highest rate of interlaced frames, in Hz.
const MAX_INTERLACED_RATE: f64 = 40.0;

/// The codecs that `FFmpeg` puts into an MP4, by its names.
const PICTURES: &str =
    "av1 dirac evc ffv1 h264 hevc jpeg2000 mjpeg mpeg1video mpeg2video mpeg4 png vc1 vp9 vvc";
const SOUND: &str = "aac ac3 alac dts eac3 flac mp1 mp2 mp3 opus vorbis pcm_s16be pcm_s16le pcm_s24be pcm_s24le \
                     pcm_s32be pcm_s32le pcm_f32be pcm_f32le pcm_f64le";

/// The output of `ffprobe`.
#[derive(Debug, Deserialize)]
struct Description {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    packets: Vec<Packet>,
    format: Format,
}

#[derive(Debug, Deserialize)]
struct Packet {
    stream_index: usize,
    pts_time: Option<String>,
    flags: String,
}

#[derive(Debug, Deserialize)]
struct Format {
    duration: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

impl Format {
    /// Whether it says where the source was recorded.
    fn names_place(&self) -> bool {
        self.tags
            .keys()
            .any(|tag| tag.eq_ignore_ascii_case("location"))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stream {
    id: Option<String>,
    codec_type: Option<String>,
    codec_name: Option<String>,
    codec_tag: Option<String>,
    field_order: Option<String>,
    width: u32,
    height: u32,
    sample_aspect_ratio: Option<String>,
    avg_frame_rate: String,
    r_frame_rate: String,
    time_base: String,
    start_time: Option<String>,
    sample_rate: Option<String>,
    channels: u32,
    channel_layout: Option<String>,
    bit_rate: Option<String>,
    disposition: Disposition,
    tags: Tags,
    side_data_list: Vec<SideData>,
    #[serde(flatten)]
    pixels: PixelNames,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Disposition {
    attached_pic: u8,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tags {
    language: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

const ENTRIES: &str = "format=duration:format_tags:stream=id,codec_type,codec_name,codec_tag,field_order,width,height,\
     sample_aspect_ratio,\
     avg_frame_rate,r_frame_rate,time_base,start_time,sample_rate,channels,channel_layout,bit_rate,\
     pix_fmt,color_range,color_primaries,color_transfer,color_space:stream_disposition=attached_pic:\
     stream_tags=language:stream_side_data=rotation:packet=stream_index,pts_time,flags";

/// What is kept of a source, and how it is remuxed.
pub(super) async fn describe<S: RangeRead + Clone + 'static>(
    container: Container,
    source: &CachedSource<S>,
    remuxer: Remuxer<'_>,
) -> Result<(Facts, Remuxed), ClipError> {
    let look = async |microseconds, read| {
        let server = RangeServer::serve(source.clone(), DESCRIPTION_BYTES)?;
        let input = Input::loopback(demuxer(container), look(microseconds), &server);
        let time = remuxer.limits.time;
        let described = remuxer.ffmpeg.describe(&input, ENTRIES, read, time).await;
        let described = server.classify_exit(described)?;
        // The source controls its length and numbers, so parsing may fail.
        serde_json::from_slice::<Description>(&described).map_err(|error| {
            ClipError::unsupported_media(format!(
                "the source cannot be described: ffprobe's answer: {error}"
            ))
        })
    };
    let [mut looked, long] = ANALYZE_DURATIONS;
    let mut described = look(looked, FIRST_PACKETS).await?;
    let head = source.read(0..source.len().min(HEAD_BYTES)).await?;
    if described.is_encrypted(container, &head) {
        return Err(ClipError::unsupported_media(
            "the source is encrypted, which is not supported",
        ));
    }
    if !described.streams.iter().all(Stream::has_codec_parameters) {
        (looked, described) = (long, look(long, FIRST_PACKETS).await?);
    }
    if described.first_keyframe_seconds().is_none() {
        described.packets = look(looked, LATE_KEYFRAME_PACKETS).await?.packets;
    }
    described.facts(container, looked, source.len())
}

impl Description {
    /// The number of the first stream of pictures that is no cover.
    fn video_index(&self) -> Option<usize> {
        let is_video = |stream: &Stream| stream.is("video") && stream.disposition.attached_pic == 0;
        self.streams.iter().position(is_video)
    }

    /// The packets of the video, in decode order.
    fn video_packets(&self) -> impl Iterator<Item = &Packet> {
        let video = self.video_index();
        self.packets
            .iter()
            .filter(move |packet| Some(packet.stream_index) == video)
    }

    /// Whether the pictures or all of the audio are encrypted.
    fn is_encrypted(&self, container: Container, head: &[u8]) -> bool {
        let is_stream_encrypted = |stream: &Stream| match container {
            Container::MpegTs => stream.is_scrambled(head),
            Container::Matroska | Container::MatroskaWithoutCues => {
                encrypted::has_encrypted_track(head)
            }
            Container::Avi | Container::Flv | Container::MpegPs => false,
        };
        ["video", "audio"].into_iter().any(|kind| {
            let streams = self.streams.iter();
            let mut of_kind = streams.filter(|stream| stream.is(kind)).peekable();
            of_kind.peek().is_some() && of_kind.all(is_stream_encrypted)
        })
    }

    fn first_keyframe_seconds(&self) -> Option<f64> {
        let keyframe = self
            .video_packets()
            .find(|packet| packet.flags.starts_with('K'))?;
        seconds(keyframe.pts_time.as_deref())
    }

    /// When the first decodable picture is shown, if others precede it: a recording may begin between keyframes, for
    /// example if it was cut from a broadcast.
    fn late_start_seconds(&self) -> Option<f64> {
        let first = self.video_packets().next()?;
        if first.flags.starts_with('K') {
            return None;
        }
        self.first_keyframe_seconds()
    }

    /// How long the source is from second `start` of `FFmpeg`'s on, where its earliest stream begins at `all_start`.
    fn duration_seconds(
        &self,
        container: Container,
        start: f64,
        all_start: f64,
    ) -> Result<f64, ClipError> {
        let told = seconds(self.format.duration.as_deref()).map(|told| told - (start - all_start));
        let duration = match container {
            Container::MpegTs => told,
            // Matroska counts from zero, no matter when the first picture is shown.
            Container::Matroska => told.map(|end| end - all_start.max(0.0)),
            // Unknown until remuxed; then its own index says.
            _ => Some(1.0),
        };
        duration
            .filter(|duration| *duration > 0.0)
            .ok_or_else(|| ClipError::unsupported_media("the source does not tell how long it is"))
    }

    fn facts(
        self,
        container: Container,
        look_microseconds: u32,
        bytes: u64,
    ) -> Result<(Facts, Remuxed), ClipError> {
        let has_audio = self.streams.iter().any(|stream| stream.is("audio"));
        let video_index = self.video_index().ok_or(Error::NoVideo { has_audio })?;
        let video = &self.streams[video_index];
        let (audio, others): (Vec<_>, Vec<_>) = self
            .streams
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != video_index)
            .partition(|(_, stream)| stream.is_sound());
        let first_audio = audio.first().map(|(_, first)| *first);
        let all_start = iter::once(video)
            .chain(first_audio)
            .filter_map(Stream::start_seconds)
            .min_by(f64::total_cmp)
            .unwrap_or(0.0);
        let start = self.late_start_seconds().unwrap_or(all_start);
        let duration_seconds = self.duration_seconds(container, start, all_start)?;
        let audio_indexes = audio.iter().map(|(index, _)| *index);
        let remuxed = Remuxed {
            container,
            look_microseconds,
            start_microseconds: number::signed(start * 1e6),
            streams: iter::once(video_index).chain(audio_indexes).collect(),
        };
        let language = |stream: &Stream| stream.tags.language.clone().unwrap_or_default();
        let languages = audio.iter().map(|(_, stream)| language(stream)).collect();
        let dropped = others.iter().map(|(_, stream)| stream.name());
        let place = self.format.names_place().then(|| "place".to_owned());
        let facts = Facts {
            container: container.name().to_owned(),
            bytes,
            index_start: 0,
            index_bytes: 0,
            duration_seconds,
            video: video.video(start, duration_seconds, bytes)?,
            audio: first_audio.map(|first| first.audio(languages)),
            dropped_tracks: dropped.chain(place).collect(),
            pieces: 1,
        };
        Ok((facts, remuxed))
    }
}

impl Stream {
    fn is(&self, kind: &str) -> bool {
        self.codec_type.as_deref() == Some(kind)
    }

    fn video(&self, source_start: f64, duration: f64, bytes: u64) -> Result<VideoFacts, ClipError> {
        let codec = self.codec_name.clone().unwrap_or_default();
        if !PICTURES.split(' ').any(|held| held == codec) {
            let codec = codec.to_uppercase();
            return Err(ClipError::unsupported_media(format!(
                "the source is {codec}, which cannot be put into an MP4"
            )));
        }
        let (frame_rate, constant_frame_rate) = self.frame_rate()?;
        let quarters = self.clockwise_quarters();
        let [width, height] = self.shown_size(quarters);
        let start_seconds = self
            .start_seconds()
            .map_or(0.0, |start| (start - source_start).max(0.0));
        let duration_seconds = (duration - start_seconds).max(1.0 / frame_rate);
        let all = whole_bytes(bytes) * 8.0 / duration;
        Ok(VideoFacts {
            codec,
            coded_width: self.width,
            coded_height: self.height,
            width,
            height,
            rotation_degrees: u16::try_from(quarters * 90).unwrap_or(0),
            frame_rate,
            grid_frame_rate: None,
            constant_frame_rate,
            timescale: self
                .time_base
                .split_once('/')
                .and_then(|(_, units)| units.parse().ok())
                .unwrap_or(1000),
            frames: number::whole(duration_seconds * frame_rate),
            start_seconds,
            duration_seconds,
            bit_rate: self.bit_rate().unwrap_or_else(|| number::whole(all)),
            pixels: self.pixels.format(),
        })
    }

    /// Frames a second, and whether they are so throughout.
    fn frame_rate(&self) -> Result<(f64, bool), ClipError> {
        // For field-coded video, FFmpeg may count fields as frames, in the average or the base rate.
        let of_frames = |rate: f64| {
            let of_fields = self.is_interlaced() && rate > MAX_INTERLACED_RATE;
            if of_fields { rate / 2.0 } else { rate }
        };
        let rates = [&self.avg_frame_rate, &self.r_frame_rate];
        match rates.map(|rate| ratio(rate, '/').map(of_frames)) {
            [Some(average), Some(lowest)] if (average / lowest - 1.0).abs() < 0.002 => {
                Ok((lowest, true))
            }
            [Some(rate), _] | [None, Some(rate)] => Ok((rate, false)),
            [None, None] => Err(ClipError::unsupported_media("the source has no frame rate")),
        }
    }

    /// How many quarters of a circle pictures are turned clockwise.
    fn clockwise_quarters(&self) -> u32 {
        let turned = self.side_data_list.iter().find_map(|data| data.rotation);
        // FFmpeg counts anticlockwise.
        number::whole_u32((-turned.unwrap_or(0.0) / 90.0).rem_euclid(4.0)) % 4
    }

    /// Width and height in which pictures are shown that are turned by so many quarters.
    fn shown_size(&self, quarters: u32) -> [u32; 2] {
        let aspect = self.sample_aspect_ratio.as_deref();
        let aspect = aspect.and_then(|aspect| ratio(aspect, ':')).unwrap_or(1.0);
        let width = number::whole_u32((f64::from(self.width) * aspect + 1e-6).floor());
        if quarters.is_multiple_of(2) {
            [width, self.height]
        } else {
            [self.height, width]
        }
    }

    fn is_interlaced(&self) -> bool {
        let order = self.field_order.as_deref();
        order.is_some_and(|order| !matches!(order, "progressive" | "unknown"))
    }

    /// Whether a transport stream marks it as encrypted: in its packets, or by a stream type with partially encrypted
    /// pictures (HLS's `SAMPLE-AES`).
    fn is_scrambled(&self, head: &[u8]) -> bool {
        let number = |text: &Option<String>| {
            let digits = text.as_deref()?.strip_prefix("0x")?;
            u32::from_str_radix(digits, 16).ok()
        };
        let id = number(&self.id).and_then(|id| u16::try_from(id).ok());
        matches!(number(&self.codec_tag), Some(0xdb | 0xcf | 0xc1 | 0xc2))
            || id.is_some_and(|id| encrypted::is_scrambled(head, id))
    }

    /// Whether the parameters that an MP4 needs are known.
    fn has_codec_parameters(&self) -> bool {
        match self.codec_type.as_deref() {
            Some("video") => self.width > 0 && ratio(&self.avg_frame_rate, '/').is_some(),
            Some("audio") => self.sample_rate() > 0,
            _ => true,
        }
    }

    /// Whether it is audio that an MP4 can hold. Audio that has not begun at the start of a transport stream has no
    /// sample rate.
    fn is_sound(&self) -> bool {
        let is_held = SOUND
            .split(' ')
            .any(|codec| self.codec_name.as_deref() == Some(codec));
        self.is("audio") && is_held && self.sample_rate() > 0
    }

    /// The facts about this track, the first of as many audio tracks as there are languages.
    fn audio(&self, languages: Vec<String>) -> AudioFacts {
        let codec = self.codec_name.as_deref().unwrap_or_default();
        AudioFacts {
            codec: if codec.starts_with("pcm") {
                "pcm"
            } else {
                codec
            }
            .to_owned(),
            channels: self.channels,
            layout: self
                .channel_layout
                .clone()
                .filter(|layout| !clip_spec::has_aac_number(layout)),
            sample_rate: self.sample_rate(),
            bit_rate: self.bit_rate().unwrap_or(0),
            tracks: languages.len(),
            languages: if languages.iter().all(String::is_empty) {
                Vec::new()
            } else {
                languages
            },
        }
    }

    fn sample_rate(&self) -> u32 {
        self.sample_rate
            .as_deref()
            .and_then(|rate| rate.parse().ok())
            .unwrap_or(0)
    }

    fn start_seconds(&self) -> Option<f64> {
        seconds(self.start_time.as_deref())
    }

    fn bit_rate(&self) -> Option<u64> {
        self.bit_rate.as_deref()?.parse().ok()
    }

    /// Its common name, as in [`Facts::dropped_tracks`].
    fn name(&self) -> String {
        let kind = match self.codec_type.as_deref() {
            Some("subtitle") => "text",
            Some("video") if self.disposition.attached_pic != 0 => "picture",
            Some(kind) => kind,
            None => "unknown",
        };
        let codec = self.codec_name.as_deref().filter(|_| kind == "audio");
        let what: Vec<&str> = self
            .tags
            .language
            .as_deref()
            .into_iter()
            .chain(codec)
            .collect();
        if what.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind} ({})", what.join(", "))
        }
    }
}

fn seconds(text: Option<&str>) -> Option<f64> {
    text?.parse().ok()
}

/// Parses a fraction; `None` unless it is above zero.
fn ratio(text: &str, sign: char) -> Option<f64> {
    let (numerator, denominator) = text.split_once(sign)?;
    let ratio = numerator.parse::<f64>().ok()? / denominator.parse::<f64>().ok()?;
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn whole_bytes(bytes: u64) -> f64 {
    bytes as f64
}
