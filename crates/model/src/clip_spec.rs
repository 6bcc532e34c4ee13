//! The specification of a clip: its size, frame rate, frames and audio, as both engines make it and `verify` expects
//! it.
//!
//! A single cut without a change of speed or frame rate keeps its source's frames and their times. If cuts are joined,
//! the first one sets the format: pictures of another size are scaled to fit and padded with black, all frames are on
//! the grid of the first one's rate (made constant as [`FrameGrid`] says), and a cut without audio is silent. If the
//! sources' frames have that size and are on that grid, the clip is the same whether they are encoded or copied. Each
//! cut's audio is as long as its video, so sums of rounded lengths do not drift, and both engines count the same
//! frames.

use crate::{
    damage::OnDamage,
    edits::{Crop, Fit, Position, Resize, Watermark},
    error::{ClipError, invalid},
    frame_grid::FrameGrid,
    number::{whole, whole_u32},
    plan::{Plan, PlannedSegment, ProbedPicture},
    request::{Format, Look},
};
use mp4_cut::{AudioFacts, PixelFormat, VideoFacts};

/// Sample rates that AAC has and browsers play, in Hz; audio with another rate is converted to 48 kHz.
const SAMPLE_RATES: [u32; 9] = [
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
];
const DEFAULT_SAMPLE_RATE: u32 = 48_000;
/// The largest pictures that `MediaConvert` makes, in landscape or portrait (user guide, "Maximum supported output
/// resolutions").
const MAX_MEDIACONVERT_H264: Size = Size {
    width: 4096,
    height: 2160,
};
const MAX_MEDIACONVERT_HEVC: Size = Size {
    width: 8192,
    height: 4320,
};
/// The smallest width or height that it makes, in pixels (API reference, `VideoDescription`).
const MIN_MEDIACONVERT_SIDE: u32 = 32;
/// A codec that `FFmpeg` decodes and `MediaConvert` does not (user guide, "Supported input formats").
const NO_MEDIACONVERT_INPUT: &str = "vvc";
/// The endings, case-sensitive, that it accepts for the name of an overlay picture (API reference, `InsertableImage`).
const MEDIACONVERT_PNG: [&str; 2] = [".png", ".PNG"];
/// The AAC sample rates that it makes and we request, in Hz (API reference, `AacSettings`).
const MEDIACONVERT_SAMPLE_RATES: [u32; 5] = [32_000, 44_100, 48_000, 88_200, 96_000];
/// The channel layouts, by `FFmpeg`'s names, that AAC has a number for and all players support, with their number of
/// channels.
const AAC_LAYOUTS: [(&str, u32); 7] = [
    ("mono", 1),
    ("stereo", 2),
    ("3.0", 3),
    ("4.0", 4),
    ("5.0", 5),
    ("5.1", 6),
    ("7.1", 8),
];
/// The same for Opus (RFC 7845, 5.1.1.2), without 5.0 and 6.1, whose channels `FFmpeg` confuses.
const OPUS_LAYOUTS: [(&str, u32); 6] = [
    ("mono", 1),
    ("stereo", 2),
    ("3.0", 3),
    ("quad", 4),
    ("5.1", 6),
    ("7.1", 8),
];

/// A clip before it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipSpec {
    /// The size of all parts' pictures before edits.
    pub canvas: Size,
    /// How far they are then rotated, in degrees clockwise.
    pub rotate: u16,
    /// What is then kept of them.
    pub crop: Option<Crop>,
    /// What they are then scaled to.
    pub scaled: Size,
    /// The clip's size: the scaled pictures, padded with black or cropped evenly on both sides.
    pub size: Size,
    /// Where the watermark is placed in it.
    pub overlay: Option<Overlay>,
    /// The rate to which frames are converted; `None` if the source's frames keep their times.
    pub frame_rate: Option<FrameRate>,
    /// How many seconds of the sources are shown in one second.
    pub speed: f64,
    /// How long the clip fades in, in seconds.
    pub fade_in_seconds: f64,
    /// How long it fades out, in seconds.
    pub fade_out_seconds: f64,
    /// The clip's audio; `None` for a silent clip.
    pub audio: Option<AudioFormat>,
    /// What each segment contributes to the clip.
    pub parts: Vec<Part>,
    /// Whether it is one cut without any edits of pictures or audio, not even to make its size even. Its pictures have
    /// the same stored size and pixel aspect as its source's.
    pub plain: bool,
    /// The bit depth of encoded pictures.
    pub bit_depth: u8,
    /// Whether `MediaConvert` can decode its sources, and name the frames at which its cuts begin and end.
    pub suits_mediaconvert: bool,
    /// Whether its frames are those of its sources, each at its time, before edits of their content.
    pub preserves_timing: bool,
}

/// Where an overlay picture is placed in a clip, in pixels; all values are even.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlay {
    /// From the left edge.
    pub x: u32,
    /// From the top edge.
    pub y: u32,
    pub size: Size,
    /// How opaque it is, above 0 and up to 1.
    pub opacity: f64,
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

/// Frames per second, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    /// Frames in `denominator` seconds.
    pub numerator: u32,
    pub denominator: u32,
}

/// The format of a clip's audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFormat {
    pub sample_rate: u32,
    pub channels: u32,
    /// `FFmpeg`'s name of the channel layout.
    pub layout: &'static str,
}

/// A segment's part of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// How many frames it has in the clip.
    pub frames: u64,
    /// How long it plays, in seconds.
    pub seconds: f64,
    /// Whether its source has audio for it.
    pub has_audio: bool,
    /// The displayed size of the source's pictures.
    pub shown: Size,
    /// The size in which they are decoded, rotated for display; it differs if their pixels are not square.
    pub decoded: Size,
    /// How the source's pixels are stored, if known.
    pub pixels: Option<PixelFormat>,
    /// Whether HDR pictures are converted to SDR if they are encoded.
    pub becomes_sdr: bool,
    /// How it was converted to the clip's format, for people; empty if nothing differs.
    pub conformed: Vec<String>,
}

impl ClipSpec {
    /// The clip of `plan` with the settings `look`.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field, for an edit that does not fit the clip; `Internal` if the plan is empty.
    pub fn of<O>(look: Look, plan: &Plan<O>) -> Result<Self, ClipError> {
        let video = plan
            .first_video()
            .ok_or_else(|| ClipError::internal("the plan has no segment"))?;
        let edits = look.edits;
        let is_one = plan.segments.len() == 1;
        let retimed = !is_one || edits.speed.is_some() || look.frame_rate.is_some();
        let as_stored = !retimed && edits.is_none() && Size::keeps_shape(video);
        let shown = Size::shown(video);
        let canvas = if as_stored { shown } else { shown.even() };
        let rotate = edits.rotate.unwrap_or(0);
        let turned = canvas.rotated(rotate);
        let cropped = edits.crop.map_or(Ok(turned), |crop| turned.cropped(crop))?;
        let (scaled, size) = edits
            .resize
            .map_or((cropped, cropped), |resize| cropped.resized(resize));
        let watermark = edits.watermark.as_ref().zip(plan.watermark.as_ref());
        let fade = edits.fade.as_ref();
        let mut spec = Self {
            canvas,
            rotate,
            crop: edits.crop,
            scaled,
            size,
            overlay: watermark.map(|(edit, picture)| Overlay::of(edit, picture.into(), size)),
            frame_rate: retimed.then(|| {
                let own = || FrameGrid::of(video).clip_rate();
                FrameRate::nearest(look.frame_rate.unwrap_or_else(own))
            }),
            speed: edits.speed(),
            fade_in_seconds: fade.map_or(0.0, |fade| fade.in_seconds),
            fade_out_seconds: fade.map_or(0.0, |fade| fade.out_seconds),
            audio: AudioFormat::of_clip(look, plan),
            parts: Vec::new(),
            plain: as_stored,
            bit_depth: 8,
            suits_mediaconvert: suits_mediaconvert(plan),
            preserves_timing: !retimed,
        };
        let parts = plan.segments.iter();
        spec.parts = parts.map(|segment| spec.part(plan, segment)).collect();
        spec.decide_pixels(look.format);
        spec.preserves_timing |= spec
            .frame_rate
            .is_some_and(|rate| spec.is_on_grid(rate, plan));
        spec.check_fades()?;
        Ok(spec)
    }

    fn check_fades(&self) -> Result<(), ClipError> {
        let (fades, seconds) = (self.fade_in_seconds + self.fade_out_seconds, self.seconds());
        if fades > seconds {
            return invalid(
                "edits.fade",
                format_args!("takes {fades:.3} s in all, the clip lasts {seconds:.3} s"),
            );
        }
        Ok(())
    }

    /// Whether the frames of all segments have the clip's size and are on its grid, so that their number and duration
    /// are the same there, to half a frame in total.
    fn is_on_grid<O>(&self, rate: FrameRate, plan: &Plan<O>) -> bool {
        let has_its_frames = |(part, segment): (&Part, &PlannedSegment)| {
            let video = &plan.sources[segment.source].facts.video;
            part.shown == self.canvas && rate.is_of(video) && part.frames == segment.window.frames
        };
        let shown: f64 = plan
            .segments
            .iter()
            .map(|segment| segment.window.duration_seconds)
            .sum();
        self.parts.iter().zip(&plan.segments).all(has_its_frames)
            && (self.seconds() - shown).abs() * rate.hertz() < 0.5
    }

    /// HEVC gets the bit depth of the deepest source, up to 10, and the sources' dynamic range if all parts have the
    /// same. The other formats are for players that support only 8-bit SDR.
    fn decide_pixels(&mut self, format: Format) {
        let colours = |part: &Part| {
            let pixels = part.pixels.as_ref();
            pixels.map(|pixels| (pixels.primaries, pixels.transfer, pixels.matrix))
        };
        let is_hevc = format.encoded() == Format::Hevc;
        let first = self.parts.first().and_then(colours);
        let keeps_hdr = is_hevc && self.parts.iter().all(|part| colours(part) == first);
        for part in &mut self.parts {
            let Some(pixels) = &part.pixels else { continue };
            part.becomes_sdr = pixels.is_hdr() && !keeps_hdr;
            if is_hevc && pixels.bit_depth > 8 {
                self.bit_depth = 10;
            }
        }
    }

    fn part<O>(&self, plan: &Plan<O>, segment: &PlannedSegment) -> Part {
        let (window, facts) = (&segment.window, &plan.sources[segment.source].facts);
        let shown = Size::shown(&facts.video);
        let mut part = Part {
            frames: window.frames,
            seconds: window.duration_seconds,
            has_audio: window.has_audio && self.audio.is_some(),
            shown,
            decoded: Size::decoded(&facts.video),
            pixels: facts.video.pixels.clone(),
            becomes_sdr: false,
            conformed: Vec::new(),
        };
        let Some(rate) = self.frame_rate else {
            part.conformed = self.conformed_channels(&part, facts.audio.as_ref());
            return part;
        };
        part.frames = rate.frames(window.duration_seconds / self.speed);
        part.seconds = rate.seconds(part.frames);
        part.conformed = self.conformed_video(rate, &facts.video);
        let audio = self.conformed_audio(&part, facts.audio.as_ref());
        part.conformed.extend(audio);
        part
    }

    /// How pictures are brought to the clip's size and frame rate.
    fn conformed_video(&self, rate: FrameRate, source: &VideoFacts) -> Vec<String> {
        let mut conformed = Vec::new();
        let shown = Size::shown(source);
        if shown.even() != self.canvas {
            conformed.push(format!("size {shown} to {}", self.canvas));
        }
        if !rate.is_of(source) {
            let varying = if source.constant_frame_rate {
                ""
            } else {
                "varying "
            };
            conformed.push(format!(
                "frame rate {varying}{:.3} to {:.3}",
                source.frame_rate,
                rate.hertz()
            ));
        }
        conformed
    }

    /// How the audio of a part is brought to that of the clip.
    fn conformed_audio(&self, part: &Part, source: Option<&AudioFacts>) -> Vec<String> {
        let Some(clip) = self.audio else {
            return Vec::new();
        };
        let Some(source) = source.filter(|_| part.has_audio) else {
            return vec!["silence added".to_owned()];
        };
        let mut conformed = Vec::new();
        if source.sample_rate != clip.sample_rate {
            conformed.push(format!(
                "sample rate {} to {}",
                source.sample_rate, clip.sample_rate
            ));
        }
        conformed.extend(self.conformed_channels(part, Some(source)));
        conformed
    }

    /// How the channels of a part are converted to those of the clip.
    fn conformed_channels(&self, part: &Part, source: Option<&AudioFacts>) -> Vec<String> {
        let (Some(source), Some(clip), true) = (source, self.audio, part.has_audio) else {
            return Vec::new();
        };
        match layout_of(source) {
            _ if source.channels != clip.channels => {
                vec![format!("channels {} to {}", source.channels, clip.channels)]
            }
            Some(layout) if layout != clip.layout => {
                vec![format!("channel layout {layout} to {}", clip.layout)]
            }
            _ => Vec::new(),
        }
    }

    /// The field of the first thing requested that `MediaConvert` cannot do like `trim`; `source` if the reason is not
    /// the request but its sources.
    #[must_use]
    pub fn unsupported_by_mediaconvert(&self, look: Look) -> Option<&'static str> {
        let edits = look.edits;
        let differ = self
            .parts
            .iter()
            .any(|part| part.shown.even() != self.canvas);
        // It crops before it makes the pixels square.
        let is_anamorphic = self.parts.iter().any(|part| part.decoded != part.shown);
        let is_png = edits.watermark.as_ref().is_none_or(|watermark| {
            MEDIACONVERT_PNG
                .iter()
                .any(|end| watermark.key.ends_with(end))
        });
        let largest = Self::largest_of_mediaconvert(look.format);
        let asked = [
            ("edits.speed", edits.speed.is_some()),
            ("edits.fade", edits.fade.is_some()),
            (
                "output.format",
                largest.is_none_or(|largest| self.size.exceeds(largest)),
            ),
            // It scales every input directly to the size of the output.
            (
                "edits.crop",
                (differ || is_anamorphic) && edits.crop.is_some(),
            ),
            ("edits.resize", differ && edits.resize.is_some()),
            (
                "edits.resize",
                self.size.width.min(self.size.height) < MIN_MEDIACONVERT_SIDE,
            ),
            ("edits.watermark.key", !is_png),
            ("source", !self.suits_mediaconvert),
            // It hides damage and does not report it.
            ("damage", look.damage == OnDamage::Reject),
        ];
        let first = asked.into_iter().find(|(_, asked)| *asked);
        first.map(|(field, _)| field)
    }

    /// The largest pictures of a format that `MediaConvert` makes, in landscape or portrait; `None` for a format that
    /// it does not make.
    #[must_use]
    pub fn largest_of_mediaconvert(format: Format) -> Option<Size> {
        match format {
            Format::Mp4 | Format::Source => Some(MAX_MEDIACONVERT_H264),
            Format::Hevc => Some(MAX_MEDIACONVERT_HEVC),
            Format::Webm => None,
        }
    }

    /// Why pictures of its sources cannot be copied, even if the request does not change them; `None` if they can.
    #[must_use]
    pub fn why_no_copies(&self) -> Option<&'static str> {
        if self.parts.iter().any(|part| part.shown != self.canvas) {
            Some("its pictures have a size that is not encoded, or several sizes")
        } else if !self.preserves_timing && self.parts.len() == 1 {
            Some("its source has another frame rate than it is to have")
        } else if !self.preserves_timing {
            Some("the frames of its cuts do not lie on one grid")
        } else {
            None
        }
    }

    /// The frame rate of the clip, whose first source is `first`. For a clip that keeps its source's frames, the rate
    /// that `MediaConvert` gives them.
    #[must_use]
    pub fn clip_rate(&self, first: &VideoFacts) -> FrameRate {
        let own = || FrameRate::nearest(FrameGrid::of(first).clip_rate());
        self.frame_rate.unwrap_or_else(own)
    }

    /// How many frames the clip has.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.parts.iter().map(|part| part.frames).sum()
    }

    /// How long the clip plays, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.parts.iter().map(|part| part.seconds).sum()
    }

    /// The same clip with the audio that `MediaConvert` makes.
    #[must_use]
    pub fn of_mediaconvert<O>(mut self, plan: &Plan<O>) -> Self {
        self.audio = self.audio.map(AudioFormat::of_mediaconvert);
        let parts = plan.segments.iter();
        self.parts = parts.map(|segment| self.part(plan, segment)).collect();
        self
    }

    /// How segments were converted to the clip's format, for people: one line for each that differed.
    #[must_use]
    pub fn conformed(&self) -> Vec<String> {
        let differing = self
            .parts
            .iter()
            .enumerate()
            .filter(|(_, part)| !part.conformed.is_empty());
        differing
            .map(|(index, part)| format!("segments[{index}]: {}", part.conformed.join(", ")))
            .collect()
    }
}

/// Whether `MediaConvert` can decode the sources of a plan and name the frames at which its cuts begin and end.
fn suits_mediaconvert<O>(plan: &Plan<O>) -> bool {
    plan.segments.iter().all(|segment| {
        let facts = &plan.sources[segment.source].facts;
        let grid = FrameGrid::of(&facts.video);
        let frames = grid.frames(&segment.window);
        // It counts frames of the media, ignoring edit lists.
        facts.video.codec != NO_MEDIACONVERT_INPUT
            && facts.pieces == 1
            && grid.timecode(frames.end - 1).is_ok()
    })
}

impl AudioFormat {
    /// The audio of the clip of `plan`: that of its first cut that has some.
    fn of_clip<O>(look: Look, plan: &Plan<O>) -> Option<Self> {
        let mut segments = plan.segments.iter();
        let segment = segments.find(|segment| segment.window.has_audio && !look.edits.mute)?;
        let source = plan.sources[segment.source].facts.audio.as_ref()?;
        Some(Self::of(source, look.format))
    }

    /// The audio of a clip of this format whose first audio is `source`: with a sample rate that the codec supports,
    /// and with the source's channel layout or, if the codec has no number for that, one of [`layouts`].
    #[must_use]
    pub fn of(source: &AudioFacts, format: Format) -> Self {
        let layouts = layouts(format);
        let of_name = |name: &str| layouts.iter().find(|(layout, _)| *layout == name);
        let of_count = || {
            layouts
                .iter()
                .find(|(_, channels)| *channels >= source.channels)
        };
        let (layout, channels) = layout_of(source)
            .and_then(|name| of_name(name).or_else(|| of_name(nearest_layout(name, format)?)))
            .or_else(of_count)
            .unwrap_or(&("7.1", 8));
        Self {
            sample_rate: sample_rate(source.sample_rate, format),
            channels: *channels,
            layout,
        }
    }

    /// The audio as `MediaConvert` makes it: it supports three layouts (API reference, `AacCodingMode`) and not all
    /// rates.
    #[must_use]
    pub fn of_mediaconvert(self) -> Self {
        let (layout, channels) = match self.channels {
            1 => ("mono", 1),
            6 => ("5.1", 6),
            _ => ("stereo", 2),
        };
        let has_rate = MEDIACONVERT_SAMPLE_RATES.contains(&self.sample_rate);
        Self {
            sample_rate: if has_rate {
                self.sample_rate
            } else {
                DEFAULT_SAMPLE_RATE
            },
            channels,
            layout,
        }
    }
}

/// The layouts that the audio of a clip may have, by `FFmpeg`'s names, with their number of channels.
#[must_use]
pub fn layouts(format: Format) -> &'static [(&'static str, u32)] {
    match format {
        Format::Mp4 | Format::Hevc | Format::Source => &AAC_LAYOUTS,
        Format::Webm => &OPUS_LAYOUTS,
    }
}

/// Whether AAC has a number for a layout, by `FFmpeg`'s name.
#[must_use]
pub fn has_aac_number(layout: &str) -> bool {
    AAC_LAYOUTS.iter().any(|(name, _)| *name == layout)
}

/// `FFmpeg`'s name of a source's channel layout.
fn layout_of(source: &AudioFacts) -> Option<&str> {
    let numbered = || {
        AAC_LAYOUTS
            .iter()
            .find(|(_, channels)| *channels == source.channels)
    };
    source
        .layout
        .as_deref()
        .or_else(|| numbered().map(|(name, _)| *name))
}

/// The layout that `FFmpeg` chooses for channels of another one. It maps side channels to rear ones if there is no
/// other place for them, and mixes channels between front and centre into the front.
fn nearest_layout(layout: &str, format: Format) -> Option<&'static str> {
    let is_webm = format == Format::Webm;
    Some(match layout {
        "downmix" => "mono",
        "2.1" => "stereo",
        "3.1" | "3.1.2" => "3.0",
        "3.0(back)" | "quad" | "quad(side)" | "cube" if is_webm => "quad",
        "4.0" | "5.0" | "5.0(side)" | "6.0(front)" | "7.0(front)" if is_webm => "5.1",
        "3.0(back)" | "quad" | "quad(side)" | "cube" | "5.0(side)" | "6.0(front)"
        | "7.0(front)" => "5.0",
        "4.1" | "5.1(side)" | "6.1(front)" | "7.1(wide)" | "7.1(wide-side)" | "5.1.2" => "5.1",
        "6.0" | "hexagonal" | "6.1" | "6.1(back)" | "7.0" | "octagonal" => "7.1",
        _ => return None,
    })
}

/// The clip's sample rate for a source's, in Hz.
fn sample_rate(source: u32, format: Format) -> u32 {
    if format == Format::Webm || !SAMPLE_RATES.contains(&source) {
        DEFAULT_SAMPLE_RATE
    } else {
        source
    }
}

impl Size {
    /// The size in which a source is shown, after pixel aspect and rotation.
    #[must_use]
    pub fn shown(video: &VideoFacts) -> Self {
        Self {
            width: video.width,
            height: video.height,
        }
    }

    fn decoded(video: &VideoFacts) -> Self {
        let coded = Self {
            width: video.coded_width,
            height: video.coded_height,
        };
        coded.rotated(video.rotation_degrees)
    }

    /// Whether an encoder that keeps a source's stored size and pixel aspect makes a clip that is shown in the source's
    /// size. It stores only even sizes, and a pixel aspect makes pictures wider, never taller.
    fn keeps_shape(video: &VideoFacts) -> bool {
        let decoded = Self::decoded(video);
        decoded == decoded.even() && decoded.height == video.height
    }

    /// The next smaller even size, which chroma subsampling requires.
    #[must_use]
    pub fn even(self) -> Self {
        Self {
            width: (self.width & !1).max(2),
            height: (self.height & !1).max(2),
        }
    }

    /// The largest even size of these proportions within `frame`.
    #[must_use]
    pub fn within(self, frame: Self) -> Self {
        let scale =
            (frame.width_f64() / self.width_f64()).min(frame.height_f64() / self.height_f64());
        self.scaled(scale, scale).at_most(frame)
    }

    /// The size of pictures of this one that are turned by quarters of a circle.
    #[must_use]
    pub fn rotated(self, degrees: u16) -> Self {
        let Self { width, height } = self;
        if degrees.is_multiple_of(180) {
            self
        } else {
            Self {
                width: height,
                height: width,
            }
        }
    }

    /// Whether it is larger than `largest`, in landscape or portrait.
    fn exceeds(self, largest: Self) -> bool {
        self.width.max(self.height) > largest.width || self.width.min(self.height) > largest.height
    }

    fn cropped(self, crop: Crop) -> Result<Self, ClipError> {
        let Crop {
            x,
            y,
            width,
            height,
        } = crop;
        if x.saturating_add(width) > self.width || y.saturating_add(height) > self.height {
            return invalid(
                "edits.crop",
                format_args!(
                    "{width}x{height} at {x},{y} goes beyond the picture, which is {self}"
                ),
            );
        }
        Ok(Self { width, height })
    }

    /// What a picture of this size is scaled to, and the size of the resulting clip.
    fn resized(self, resize: Resize) -> (Self, Self) {
        let asked = self.asked(resize);
        let (across, down) = (
            asked.width_f64() / self.width_f64(),
            asked.height_f64() / self.height_f64(),
        );
        let limited = |size: Self| {
            if resize.upscale {
                size
            } else {
                size.at_most(self)
            }
        };
        let scale = match resize.fit {
            Fit::Contain => across.min(down),
            Fit::Cover => across.max(down),
            Fit::Stretch => return (limited(asked), limited(asked)),
        };
        let too_much = if resize.upscale { 1.0 } else { scale.max(1.0) };
        let size = asked.scaled(1.0 / too_much, 1.0 / too_much);
        if resize.fit == Fit::Contain {
            return (self.within(size), size);
        }
        let size = limited(size);
        let scaled = self.scaled(scale / too_much, scale / too_much);
        (
            Self {
                width: scaled.width.max(size.width),
                height: scaled.height.max(size.height),
            },
            size,
        )
    }

    /// The size that is asked for; a side that is not named is in proportion to the other.
    fn asked(self, resize: Resize) -> Self {
        let (own_width, own_height) = (self.width_f64(), self.height_f64());
        match (resize.width, resize.height) {
            (Some(width), Some(height)) => Self { width, height },
            (Some(width), None) => Self {
                width,
                height: nearest_even(own_height * f64::from(width) / own_width),
            },
            (None, Some(height)) => Self {
                width: nearest_even(own_width * f64::from(height) / own_height),
                height,
            },
            (None, None) => self,
        }
    }

    /// This size scaled, to the nearest even one.
    fn scaled(self, across: f64, down: f64) -> Self {
        Self {
            width: nearest_even(self.width_f64() * across),
            height: nearest_even(self.height_f64() * down),
        }
    }

    fn at_most(self, other: Self) -> Self {
        Self {
            width: self.width.min(other.width),
            height: self.height.min(other.height),
        }
    }

    fn width_f64(self) -> f64 {
        self.width.into()
    }

    fn height_f64(self) -> f64 {
        self.height.into()
    }
}

impl From<&ProbedPicture> for Size {
    fn from(picture: &ProbedPicture) -> Self {
        Self {
            width: picture.width,
            height: picture.height,
        }
    }
}

impl Overlay {
    fn of(watermark: &Watermark, picture: Size, clip: Size) -> Self {
        let scale = watermark.scale * clip.width_f64() / picture.width_f64();
        let size = picture.scaled(scale, scale);
        let size = if size.height > clip.height {
            picture.within(clip)
        } else {
            size.at_most(clip)
        };
        let margin = nearest_even(clip.width_f64().min(clip.height_f64()) / 50.0);
        let (right, bottom) = (clip.width - size.width, clip.height - size.height);
        let along = |place: u8, free: u32| match place {
            0 => margin.min(free),
            1 => free / 4 * 2,
            _ => free.saturating_sub(margin),
        };
        let (column, row) = watermark.position.column_and_row();
        Self {
            x: along(column, right),
            y: along(row, bottom),
            size,
            opacity: watermark.opacity,
        }
    }
}

impl Position {
    fn column_and_row(self) -> (u8, u8) {
        match self {
            Self::TopLeft => (0, 0),
            Self::Top => (1, 0),
            Self::TopRight => (2, 0),
            Self::Left => (0, 1),
            Self::Center => (1, 1),
            Self::Right => (2, 1),
            Self::BottomLeft => (0, 2),
            Self::Bottom => (1, 2),
            Self::BottomRight => (2, 2),
        }
    }
}

fn nearest_even(pixels: f64) -> u32 {
    whole_u32(pixels / 2.0).max(1) * 2
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FrameRate {
    /// The fraction that a measured rate stands for: an integer, an NTSC rate (an integer over 1.001), or else the rate
    /// to four decimals.
    #[must_use]
    pub fn nearest(hertz: f64) -> Self {
        const TOLERANCE: f64 = 1e-4;
        let whole = Self {
            numerator: whole_u32(hertz),
            denominator: 1,
        };
        let ntsc = Self {
            numerator: whole_u32(hertz * 1.001).saturating_mul(1000),
            denominator: 1001,
        };
        let near = |rate: &Self| (rate.hertz() / hertz - 1.0).abs() < TOLERANCE;
        let decimal = Self {
            numerator: whole_u32(hertz * 10_000.0).max(1),
            denominator: 10_000,
        };
        [whole, ntsc].into_iter().find(near).unwrap_or(decimal)
    }

    /// Whether a source has this rate, constantly.
    fn is_of(self, video: &VideoFacts) -> bool {
        video.constant_frame_rate && Self::nearest(video.frame_rate) == self
    }

    /// Frames per second.
    #[must_use]
    pub fn hertz(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// How many frames are shown in `seconds`, at least one.
    #[must_use]
    pub fn frames(self, seconds: f64) -> u64 {
        whole(seconds * self.hertz()).max(1)
    }

    /// How long `frames` are shown, in seconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds are for people and for FFmpeg, which takes microseconds"
    )]
    pub fn seconds(self, frames: u64) -> f64 {
        frames as f64 / self.hertz()
    }

    /// A timescale in which every frame's time is an integer, and which is fine enough for audio.
    #[must_use]
    pub fn timescale(self) -> u32 {
        self.numerator * 10_000_u32.div_ceil(self.numerator)
    }
}

impl std::fmt::Display for FrameRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn measured_rates_are_the_fractions_they_stand_for() {
        for (hertz, fraction) in [
            (25.0, "25/1"),
            (29.970_03, "30000/1001"),
            (23.976, "24000/1001"),
            (59.94, "60000/1001"),
            (12.5, "125000/10000"),
        ] {
            assert_eq!(FrameRate::nearest(hertz).to_string(), fraction);
        }
    }

    /// What `MediaConvert` cannot do for one second of a source.
    fn unsupported(asked: &serde_json::Value, video: &serde_json::Value) -> Option<&'static str> {
        let (request, plan) = second(asked, video);
        let spec = ClipSpec::of(request.look(), &plan).expect("a clip");
        spec.unsupported_by_mediaconvert(request.look())
    }

    /// A request and a plan for one second of a source with 30 frames per second, with the given differences.
    fn second(
        asked: &serde_json::Value,
        video: &serde_json::Value,
    ) -> (crate::request::ClipRequest, Plan) {
        let merge = |base: serde_json::Value, change: &serde_json::Value| {
            let mut base = base;
            let fields = change.as_object().expect("an object").clone();
            base.as_object_mut().expect("an object").extend(fields);
            base
        };
        let request = json!({"clipId": "a", "prefix": "clips/a/b/", "segments": [], "cut": "exact",
            "thumbnails": [], "metadata": {}});
        let request: crate::request::ClipRequest =
            crate::parse(merge(request, asked)).expect("a request");
        let base = json!({"codec": "h264", "codedWidth": 640, "codedHeight": 360, "width": 640, "height": 360,
            "rotationDegrees": 0, "frameRate": 30.0, "constantFrameRate": true, "timescale": 30000,
            "frames": 300, "startSeconds": 0.0, "durationSeconds": 10.0, "bitRate": 1000});
        let facts = json!({"container": "isom", "bytes": 10000, "indexStart": 0, "indexBytes": 100,
            "durationSeconds": 10.0, "video": merge(base, video), "audio": null, "droppedTracks": []});
        let object = json!({"bucket": "archive", "key": "k.mp4", "etag": "e", "bytes": 10000});
        let window = json!({"startSeconds": 1.0, "endSeconds": 2.0, "durationSeconds": 1.0, "frames": 30,
            "prerollFrames": 0, "keyframeSeconds": 1.0, "nextKeyframeSeconds": null, "hasAudio": false,
            "timescale": 30000, "outputBytes": 1000, "sourceBytes": 900});
        let plan = json!({"sources": [{"object": object, "facts": facts}],
            "segments": [{"source": 0, "window": window}]});
        (request, crate::parse(plan).expect("a plan"))
    }

    /// The rate to which frames are converted, their number, why no pictures can be copied, and the conformance note.
    fn at_rate(
        rate: f64,
        video: &serde_json::Value,
    ) -> (String, u64, Option<&'static str>, Vec<String>) {
        let (request, plan) = second(&json!({"frameRate": rate}), video);
        let spec = ClipSpec::of(request.look(), &plan).expect("a clip");
        let grid = spec.frame_rate.expect("a grid").to_string();
        (grid, spec.frames(), spec.why_no_copies(), spec.conformed())
    }

    #[test]
    fn rate_that_is_asked_for_is_constant_and_named_where_it_is_another() {
        let why = Some("its source has another frame rate than it is to have");
        let said = |what: &str| vec![format!("segments[0]: frame rate {what}")];
        assert_eq!(
            at_rate(25.0, &json!({})),
            ("25/1".to_owned(), 25, why, said("30.000 to 25.000"))
        );
        assert_eq!(
            at_rate(59.94, &json!({})),
            ("60000/1001".to_owned(), 60, why, said("30.000 to 59.940"))
        );
        let varying = json!({"constantFrameRate": false});
        assert_eq!(
            at_rate(30.0, &varying),
            ("30/1".to_owned(), 30, why, said("varying 30.000 to 30.000"))
        );
        assert_eq!(
            at_rate(30.0, &json!({})),
            ("30/1".to_owned(), 30, None, Vec::new())
        );
    }

    #[test]
    fn damage_that_is_to_be_rejected_is_not_for_mediaconvert() {
        let plain = json!({});
        assert_eq!(unsupported(&json!({"damage": "accept"}), &plain), None);
        assert_eq!(
            unsupported(&json!({"damage": "reject"}), &plain),
            Some("damage")
        );
    }

    fn of_size(format: &str, width: u32, height: u32) -> Option<&'static str> {
        unsupported(
            &json!({"format": format}),
            &json!({"codedWidth": width, "codedHeight": height, "width": width, "height": height}),
        )
    }

    #[test]
    fn pictures_that_mediaconvert_cannot_make_are_not_for_it() {
        let format = Some("output.format");
        for (width, height, h264, hevc) in [
            (4096, 2160, None, None),
            (2160, 4096, None, None),
            (4098, 2160, format, None),
            (2162, 4096, format, None),
            (8192, 4320, format, None),
            (4320, 8192, format, None),
            (8192, 4322, format, format),
            (65535, 65535, format, format),
            (64, 30, Some("edits.resize"), Some("edits.resize")),
        ] {
            let found = (
                of_size("mp4", width, height),
                of_size("hevc", width, height),
            );
            assert_eq!(found, (h264, hevc), "{width}x{height}");
        }
        assert_eq!(of_size("webm", 640, 360), format);
        let smaller = json!({"edits": {"resize": {"width": 1280}}});
        let large = json!({"codedWidth": 7680, "codedHeight": 4320, "width": 7680, "height": 4320});
        assert_eq!(
            unsupported(&smaller, &large),
            None,
            "the clip's size counts"
        );
    }

    #[test]
    fn frames_that_no_time_code_names_are_not_for_mediaconvert() {
        let at = |rate: f64, constant: bool| {
            let video = json!({"frameRate": rate, "constantFrameRate": constant});
            unsupported(&json!({}), &video)
        };
        for rate in [0.2, 0.9, 120.0] {
            assert_eq!(at(rate, true), Some("source"), "{rate}");
        }
        for rate in [1.0, 29.97, 100.0] {
            assert_eq!(at(rate, true), None, "{rate}");
        }
        assert_eq!(at(0.2, false), None, "it becomes one frame per second");
    }

    #[test]
    fn codec_that_mediaconvert_does_not_decode_is_not_for_it() {
        let of = |codec: &str| unsupported(&json!({}), &json!({"codec": codec}));
        assert_eq!(["vvc", "hevc"].map(of), [Some("source"), None]);
    }

    #[test]
    fn picture_whose_name_mediaconvert_does_not_take_is_not_for_it() {
        let named =
            |key: &str| unsupported(&json!({"edits": {"watermark": {"key": key}}}), &json!({}));
        assert_eq!(["logo.png", "logo.PNG"].map(named), [None, None]);
        assert_eq!(named("logo.Png"), Some("edits.watermark.key"));
    }

    #[test]
    fn pixels_that_are_not_square_are_not_cropped_by_mediaconvert() {
        let crop = json!({"edits": {"crop": {"x": 0, "y": 0, "width": 64, "height": 64}}});
        let dv = json!({"codedWidth": 720, "codedHeight": 576, "width": 1024, "height": 576});
        assert_eq!(unsupported(&crop, &dv), Some("edits.crop"));
        assert_eq!(unsupported(&crop, &json!({})), None);
        assert_eq!(unsupported(&json!({}), &dv), None);
    }

    fn resized(picture: [u32; 2], size: [Option<u32>; 2], fit: Fit, upscale: bool) -> [String; 2] {
        let resize = Resize {
            width: size[0],
            height: size[1],
            fit,
            upscale,
        };
        let (scaled, size) = Size {
            width: picture[0],
            height: picture[1],
        }
        .resized(resize);
        [scaled.to_string(), size.to_string()]
    }

    #[test]
    fn picture_is_fitted_into_the_size_asked_for() {
        let portrait = [Some(540), Some(960)];
        assert_eq!(
            resized([1920, 1080], portrait, Fit::Contain, false),
            ["540x304", "540x960"]
        );
        assert_eq!(
            resized([1920, 1080], portrait, Fit::Cover, false),
            ["1706x960", "540x960"]
        );
        assert_eq!(
            resized([1920, 1080], portrait, Fit::Stretch, false),
            ["540x960", "540x960"]
        );
        assert_eq!(
            resized([1920, 1080], [Some(640), None], Fit::Contain, false),
            ["640x360", "640x360"]
        );
        assert_eq!(
            resized([1920, 1080], [None, Some(720)], Fit::Cover, false),
            ["1280x720", "1280x720"]
        );
    }

    #[test]
    fn picture_is_made_larger_only_when_asked_to() {
        let size = [Some(1920), Some(1080)];
        assert_eq!(
            resized([640, 360], size, Fit::Contain, false),
            ["640x360", "640x360"]
        );
        assert_eq!(
            resized([640, 360], size, Fit::Contain, true),
            ["1920x1080", "1920x1080"]
        );
        assert_eq!(
            resized([360, 640], size, Fit::Contain, false),
            ["360x640", "1138x640"]
        );
        assert_eq!(
            resized([360, 640], size, Fit::Cover, false),
            ["360x640", "360x202"]
        );
        assert_eq!(
            resized([640, 360], size, Fit::Stretch, false),
            ["640x360", "640x360"]
        );
    }

    #[test]
    fn watermark_lies_in_its_corner_and_within_the_clip() {
        let overlay = |position, scale| {
            let watermark = Watermark {
                bucket: None,
                key: "k".into(),
                position,
                scale,
                opacity: 1.0,
            };
            let Overlay { x, y, size, .. } = Overlay::of(
                &watermark,
                Size {
                    width: 300,
                    height: 100,
                },
                Size {
                    width: 1280,
                    height: 720,
                },
            );
            (x, y, size.to_string())
        };
        assert_eq!(
            overlay(Position::BottomRight, 0.25),
            (946, 600, "320x106".to_owned())
        );
        assert_eq!(
            overlay(Position::TopLeft, 0.25),
            (14, 14, "320x106".to_owned())
        );
        assert_eq!(
            overlay(Position::Center, 0.25),
            (480, 306, "320x106".to_owned())
        );
        assert_eq!(
            overlay(Position::Right, 1.0),
            (0, 146, "1280x426".to_owned())
        );
    }

    proptest! {
        #[test]
        fn resized_clip_is_within_the_size_asked_for_and_never_larger_than_its_picture(
            own in (16_u32..2000, 16_u32..2000), asked in (16_u32..2000, 16_u32..2000), fit in 0..3_u8,
        ) {
            let (own, asked) = (Size { width: own.0 * 2, height: own.1 * 2 }, Size { width: asked.0 * 2, height: asked.1 * 2 });
            let fit = [Fit::Contain, Fit::Cover, Fit::Stretch][usize::from(fit)];
            let resize = Resize { width: Some(asked.width), height: Some(asked.height), fit, upscale: false };
            let (scaled, size) = own.resized(resize);
            prop_assert!(size.width <= asked.width && size.height <= asked.height, "{size} {asked}");
            prop_assert!(scaled.width <= own.width && scaled.height <= own.height, "{scaled} {own}");
            let covers = scaled.width >= size.width && scaled.height >= size.height;
            let fits = scaled.width <= size.width && scaled.height <= size.height;
            prop_assert!(if fit == Fit::Cover { covers } else { fits }, "{scaled} {size}");
        }

        #[test]
        fn rate_is_never_far_from_what_was_measured(hertz in 0.5_f64..300.0) {
            prop_assert!((FrameRate::nearest(hertz).hertz() / hertz - 1.0).abs() < 2e-4);
        }

        #[test]
        fn picture_within_a_frame_touches_it_and_keeps_its_proportions(
            width in 16_u32..5000, height in 16_u32..5000, across in 16_u32..2000, down in 16_u32..2000,
        ) {
            let frame = Size { width: across * 2, height: down * 2 };
            let Size { width: w, height: h } = Size { width, height }.within(frame);
            prop_assert!(w <= frame.width && h <= frame.height && w % 2 == 0 && h % 2 == 0);
            prop_assert!(w == frame.width || h == frame.height);
        }
    }
}
