//! Builds the job that makes the same clip as `trim` would.

use aws_sdk_mediaconvert::types::{
    AacCodingMode, AacSettings, AudioCodec, AudioCodecSettings, AudioDefaultSelection,
    AudioDescription, AudioSelector, AudioSelectorType, CmfcAudioDuration, ColorCorrector,
    ColorSpace, ColorSpaceConversion, ColorSpaceUsage, ContainerSettings, ContainerType,
    FileGroupSettings, H264FramerateControl, H264FramerateConversionAlgorithm, H264ParControl,
    H264QualityTuningLevel, H264QvbrSettings, H264RateControlMode, H264Settings, H265CodecProfile,
    H265FramerateControl, H265FramerateConversionAlgorithm, H265ParControl, H265QualityTuningLevel,
    H265QvbrSettings, H265RateControlMode, H265Settings, H265WriteMp4PackagingType, ImageInserter,
    Input, InputClipping, InputRotate, InputSampleRange, InputTimecodeSource, InsertableImage,
    JobSettings, Mp4MoovPlacement, Mp4Settings, Output, OutputGroup, OutputGroupSettings,
    OutputGroupType, Rectangle, ScalingBehavior, TimecodeConfig, TimecodeSource, VideoCodec,
    VideoCodecSettings, VideoDescription, VideoPreprocessor, VideoSelector,
};
use model::{
    ClipError,
    clip_spec::{AudioFormat, ClipSpec, FrameRate, Overlay},
    edits::Fit,
    frame_grid::FrameGrid,
    plan::{Plan, PlannedSegment, ProbedPicture, ProbedSource},
    quality,
    request::{ClipRequest, Format},
};
use mp4_cut::{PixelFormat, VideoFacts};

/// The name of the only audio selector, to which outputs refer.
const AUDIO_SELECTOR: &str = "Audio Selector 1";
/// Audio bit rate per channel: `FFmpeg`'s default for AAC.
const AUDIO_BITS_PER_CHANNEL: u32 = 64_000;
/// The maximum bits per pixel, averaged over a second: far above what the quality level needs.
const MAX_BITS_PER_PIXEL: f64 = 0.25;
/// The lowest bit rate limit that we set, in bits per second.
const MIN_MAX_BITRATE: f64 = 1_000_000.0;
/// The highest one that both codecs accept, in bits per second (API reference, `H264Settings`).
const MAX_MAX_BITRATE: f64 = 1_152_000_000.0;

/// The settings of a job that cuts the plan's segments, joins them in order, edits them and writes them to `destination`, an S3 URI
/// without the extension.
///
/// # Errors
/// `UnsupportedMedia` if a frame cannot be named by a time code, `Internal` if the plan is empty.
pub fn settings(
    request: &ClipRequest,
    plan: &Plan,
    spec: &ClipSpec,
    destination: &str,
) -> Result<JobSettings, ClipError> {
    let first = plan
        .first_video()
        .ok_or_else(|| ClipError::internal("the plan has no segment"))?;
    let inputs: Result<Vec<_>, _> = plan
        .segments
        .iter()
        .map(|segment| input(plan, segment, spec))
        .collect();
    let output = Output::builder()
        .container_settings(mp4())
        .video_description(video_description(request, plan, spec, first))
        .set_audio_descriptions(spec.audio.map(|format| vec![audio_description(format)]))
        .build();
    let files = FileGroupSettings::builder()
        .destination(destination)
        .build();
    let group_settings = OutputGroupSettings::builder()
        .r#type(OutputGroupType::FileGroupSettings)
        .file_group_settings(files)
        .build();
    let group = OutputGroup::builder()
        .output_group_settings(group_settings)
        .outputs(output)
        .build();
    let timecode = TimecodeConfig::builder()
        .source(TimecodeSource::Zerobased)
        .build();
    Ok(JobSettings::builder()
        .timecode_config(timecode)
        .set_inputs(Some(inputs?))
        .output_groups(group)
        .build())
}

fn mp4() -> ContainerSettings {
    let settings = Mp4Settings::builder()
        .moov_placement(Mp4MoovPlacement::ProgressiveDownload)
        // Audio as long as the pictures, so that the clip ends with its last frame.
        .audio_duration(CmfcAudioDuration::MatchVideoDuration)
        .build();
    ContainerSettings::builder()
        .container(ContainerType::Mp4)
        .mp4_settings(settings)
        .build()
}

fn input(plan: &Plan, segment: &PlannedSegment, spec: &ClipSpec) -> Result<Input, ClipError> {
    let ProbedSource { object, facts } = &plan.sources[segment.source];
    let grid = FrameGrid::of(&facts.video);
    let frames = grid.frames(&segment.window);
    // The end time code is inclusive.
    let clipping = InputClipping::builder()
        .start_timecode(grid.timecode(frames.start)?)
        .end_timecode(grid.timecode(frames.end - 1)?)
        .build();
    let mut input = Input::builder()
        .file_input(format!("s3://{}/{}", object.bucket, object.key))
        .timecode_source(InputTimecodeSource::Zerobased)
        .input_clippings(clipping)
        .video_selector(video_selector(&facts.video, spec.rotate));
    if spec.audio.is_some() && segment.window.has_audio {
        let first_track = AudioSelector::builder()
            .default_selection(AudioDefaultSelection::Default)
            .selector_type(AudioSelectorType::Track)
            .tracks(1)
            .build();
        input = input.audio_selectors(AUDIO_SELECTOR, first_track);
    }
    Ok(input.build())
}

/// Describes an input's pictures. We set the colours that we have read, if the service has a name for them, because
/// container and stream may contradict each other.
fn video_selector(video: &VideoFacts, degrees: u16) -> VideoSelector {
    let pixels = video.pixels.as_ref();
    let colours = pixels.and_then(color_space);
    let usage = colours.as_ref().map(|_| ColorSpaceUsage::Force);
    let range = pixels.and_then(|pixels| pixels.full_range).map(|is_full| {
        if is_full {
            InputSampleRange::FullRange
        } else {
            InputSampleRange::LimitedRange
        }
    });
    VideoSelector::builder()
        .rotate(rotation(video, degrees))
        .set_color_space(colours)
        .set_color_space_usage(usage)
        .set_sample_range(range)
        .build()
}

/// The service's name for primaries, transfer and matrix, given as H.273 numbers (API reference, `ColorSpace`).
fn color_space(pixels: &PixelFormat) -> Option<ColorSpace> {
    Some(match [pixels.primaries, pixels.transfer, pixels.matrix] {
        [1, 1, 1] => ColorSpace::Rec709,
        [5 | 6, 6, 5 | 6] => ColorSpace::Rec601,
        [9, 16, 9] => ColorSpace::Hdr10,
        [9, 18, 9] => ColorSpace::Hlg2020,
        [12, 16, 1] => ColorSpace::P3D65Hdr,
        [12, 13, 1] => ColorSpace::P3D65Sdr,
        _ => return None,
    })
}

/// An input's rotation: an explicit rotation replaces the one that the source declares.
fn rotation(video: &VideoFacts, degrees: u16) -> InputRotate {
    match (degrees, (video.rotation_degrees + degrees) % 360) {
        (0, _) => InputRotate::Auto,
        (_, 90) => InputRotate::Degrees90,
        (_, 180) => InputRotate::Degrees180,
        (_, 270) => InputRotate::Degrees270,
        _ => InputRotate::Degree0,
    }
}

fn video_description(
    request: &ClipRequest,
    plan: &Plan,
    spec: &ClipSpec,
    first: &VideoFacts,
) -> VideoDescription {
    let area = spec.crop.map(|crop| {
        Rectangle::builder()
            .x(number(crop.x))
            .y(number(crop.y))
            .width(number(crop.width))
            .height(number(crop.height))
            .build()
    });
    // A single cut that is not resized already has its own proportions, except for non-square pixels and odd sizes.
    let scaling = match request.edits.resize.map(|resize| resize.fit) {
        Some(Fit::Contain) => ScalingBehavior::Default,
        Some(Fit::Cover) => ScalingBehavior::Fill,
        None if spec.parts.len() > 1 => ScalingBehavior::Default,
        Some(Fit::Stretch) | None => ScalingBehavior::StretchToOutput,
    };
    let rate = frame_rate(request, plan, spec, first);
    VideoDescription::builder()
        .codec_settings(codec_settings(request, spec, first, rate))
        .set_video_preprocessors(preprocessors(spec, plan.watermark.as_ref()))
        .set_crop(area)
        .width(number(spec.size.width))
        .height(number(spec.size.height))
        .scaling_behavior(scaling)
        .build()
}

/// The rate that frames are brought to; `None` where they keep their source's.
fn frame_rate(
    request: &ClipRequest,
    plan: &Plan,
    spec: &ClipSpec,
    first: &VideoFacts,
) -> Option<FrameRate> {
    let clip_rate = |video| FrameRate::nearest(FrameGrid::of(video).clip_rate());
    let is_first = |segment: &PlannedSegment| {
        clip_rate(&plan.sources[segment.source].facts.video) == clip_rate(first)
    };
    let keeps_rate = request.frame_rate.is_none()
        && (spec.parts.len() == 1 || plan.segments.iter().all(is_first));
    if keeps_rate {
        FrameGrid::of(first).converted_to.map(FrameRate::nearest)
    } else {
        spec.frame_rate
    }
}

fn codec_settings(
    request: &ClipRequest,
    spec: &ClipSpec,
    first: &VideoFacts,
    rate: Option<FrameRate>,
) -> VideoCodecSettings {
    let pixels = f64::from(spec.size.width) * f64::from(spec.size.height);
    let pixels_per_second = pixels * spec.clip_rate(first).hertz();
    #[expect(clippy::cast_possible_truncation, reason = "it is below 2^31")]
    let max_bitrate =
        (pixels_per_second * MAX_BITS_PER_PIXEL).clamp(MIN_MAX_BITRATE, MAX_MAX_BITRATE) as i32;
    let level = quality::qvbr_level(request.quality.crf()).into();
    if request.format == Format::Hevc {
        h265(level, max_bitrate, rate, spec.bit_depth)
    } else {
        h264(level, max_bitrate, rate)
    }
}

/// What is done to pictures before they are encoded.
fn preprocessors(spec: &ClipSpec, watermark: Option<&ProbedPicture>) -> Option<VideoPreprocessor> {
    let inserter = spec.overlay.zip(watermark).map(|(overlay, picture)| {
        ImageInserter::builder()
            .insertable_images(inserted(overlay, picture))
            .build()
    });
    let becomes_sdr = spec.parts.iter().any(|part| part.becomes_sdr);
    let corrector = becomes_sdr.then(|| {
        ColorCorrector::builder()
            .color_space_conversion(ColorSpaceConversion::Force709)
            .build()
    });
    (inserter.is_some() || corrector.is_some()).then(|| {
        VideoPreprocessor::builder()
            .set_image_inserter(inserter)
            .set_color_corrector(corrector)
            .build()
    })
}

fn h264(level: i32, max_bitrate: i32, rate: Option<FrameRate>) -> VideoCodecSettings {
    let h264 = H264Settings::builder()
        .rate_control_mode(H264RateControlMode::Qvbr)
        .quality_tuning_level(H264QualityTuningLevel::SinglePass)
        .qvbr_settings(
            H264QvbrSettings::builder()
                .qvbr_quality_level(level)
                .build(),
        )
        .max_bitrate(max_bitrate)
        .par_control(H264ParControl::Specified)
        .par_numerator(1)
        .par_denominator(1);
    let h264 = match rate {
        None => h264.framerate_control(H264FramerateControl::InitializeFromSource),
        Some(FrameRate {
            numerator,
            denominator,
        }) => h264
            .framerate_control(H264FramerateControl::Specified)
            .framerate_conversion_algorithm(H264FramerateConversionAlgorithm::DuplicateDrop)
            .framerate_numerator(number(numerator))
            .framerate_denominator(number(denominator)),
    };
    VideoCodecSettings::builder()
        .codec(VideoCodec::H264)
        .h264_settings(h264.build())
        .build()
}

fn h265(
    level: i32,
    max_bitrate: i32,
    rate: Option<FrameRate>,
    bit_depth: u8,
) -> VideoCodecSettings {
    let profile = (bit_depth > 8).then_some(H265CodecProfile::Main10Main);
    let h265 = H265Settings::builder()
        .set_codec_profile(profile)
        .rate_control_mode(H265RateControlMode::Qvbr)
        .quality_tuning_level(H265QualityTuningLevel::SinglePass)
        .qvbr_settings(
            H265QvbrSettings::builder()
                .qvbr_quality_level(level)
                .build(),
        )
        .max_bitrate(max_bitrate)
        .par_control(H265ParControl::Specified)
        .par_numerator(1)
        .par_denominator(1)
        // Required by Apple's players; with hev1 they show nothing.
        .write_mp4_packaging_type(H265WriteMp4PackagingType::Hvc1);
    let h265 = match rate {
        None => h265.framerate_control(H265FramerateControl::InitializeFromSource),
        Some(FrameRate {
            numerator,
            denominator,
        }) => h265
            .framerate_control(H265FramerateControl::Specified)
            .framerate_conversion_algorithm(H265FramerateConversionAlgorithm::DuplicateDrop)
            .framerate_numerator(number(numerator))
            .framerate_denominator(number(denominator)),
    };
    VideoCodecSettings::builder()
        .codec(VideoCodec::H265)
        .h265_settings(h265.build())
        .build()
}

fn inserted(overlay: Overlay, picture: &ProbedPicture) -> InsertableImage {
    let Overlay {
        x,
        y,
        size,
        opacity,
    } = overlay;
    #[expect(clippy::cast_possible_truncation, reason = "0 to 100")]
    let opacity = (opacity * 100.0).round() as i32;
    InsertableImage::builder()
        .image_inserter_input(format!(
            "s3://{}/{}",
            picture.object.bucket, picture.object.key
        ))
        .image_x(number(x))
        .image_y(number(y))
        .width(number(size.width))
        .height(number(size.height))
        .layer(0)
        .opacity(opacity)
        .build()
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn audio_description(format: AudioFormat) -> AudioDescription {
    let AudioFormat {
        sample_rate,
        channels,
        ..
    } = format.of_mediaconvert();
    let mode = match channels {
        1 => AacCodingMode::CodingMode10,
        6 => AacCodingMode::CodingMode51,
        _ => AacCodingMode::CodingMode20,
    };
    let aac = AacSettings::builder()
        .coding_mode(mode)
        .sample_rate(number(sample_rate))
        .bitrate(number(channels * AUDIO_BITS_PER_CHANNEL))
        .build();
    let codec = AudioCodecSettings::builder()
        .codec(AudioCodec::Aac)
        .aac_settings(aac)
        .build();
    AudioDescription::builder()
        .audio_source_name(AUDIO_SELECTOR)
        .codec_settings(codec)
        .build()
}
