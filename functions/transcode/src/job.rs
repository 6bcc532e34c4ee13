//! The job that gives the clip that `trim` would give.

use aws_sdk_mediaconvert::types::{
    AacCodingMode, AacSettings, AudioCodec, AudioCodecSettings, AudioDefaultSelection, AudioDescription, AudioSelector,
    AudioSelectorType, ContainerSettings, ContainerType, FileGroupSettings, H264FramerateControl,
    H264FramerateConversionAlgorithm, H264QualityTuningLevel, H264QvbrSettings, H264RateControlMode, H264Settings,
    Input, InputClipping, InputRotate, InputTimecodeSource, JobSettings, Mp4MoovPlacement, Mp4Settings, Output,
    OutputGroup, OutputGroupSettings, OutputGroupType, TimecodeConfig, TimecodeSource, VideoCodec, VideoCodecSettings,
    VideoDescription, VideoSelector,
};
use clipflow_core::{
    ClipError,
    mediaconvert::FrameGrid,
    mp4::{AudioFacts, VideoFacts},
    plan::{Plan, PlannedSegment, ProbedSource},
    quality,
};

/// What the name of the only audio selector is, by which outputs refer to it.
const AUDIO_SELECTOR: &str = "Audio Selector 1";
/// Bits a second that sound gets for each channel: `FFmpeg`'s default for AAC.
const AUDIO_BITS_PER_CHANNEL: u32 = 64_000;
/// Sample rates that the AAC encoder is given; what is lower becomes 48 kHz.
const AUDIO_RATES: [u32; 5] = [32_000, 44_100, 48_000, 88_200, 96_000];
/// Bits that a pixel may take at the most, over a second: far above what the quality level asks for.
const MAX_BITS_PER_PIXEL: f64 = 0.25;
/// The lowest limit on the bit rate that is set, in bits a second.
const MIN_MAX_BITRATE: f64 = 1_000_000.0;

/// The settings of a job that cuts the plan's segments, joins them in order and writes them to `destination`, an S3 URI
/// without the extension.
///
/// # Errors
/// `UnsupportedMedia` when a frame cannot be named by a time code, `Internal` when the plan is empty.
pub fn settings(plan: &Plan, destination: &str) -> Result<JobSettings, ClipError> {
    let first = plan.segments.first().ok_or_else(|| ClipError::internal("the plan has no segment"))?;
    let video = &plan.sources[first.source].facts.video;
    let audio = plan.segments.iter().find_map(|segment| audio_of(plan, segment));
    let inputs: Result<Vec<_>, _> = plan.segments.iter().map(|segment| input(plan, segment)).collect();
    let mp4 = ContainerSettings::builder()
        .container(ContainerType::Mp4)
        // As long as the pictures, so that the clip ends with its last frame.
        .mp4_settings(
            Mp4Settings::builder()
                .moov_placement(Mp4MoovPlacement::ProgressiveDownload)
                .audio_duration(aws_sdk_mediaconvert::types::CmfcAudioDuration::MatchVideoDuration)
                .build(),
        )
        .build();
    let output = Output::builder()
        .container_settings(mp4)
        .video_description(pictures(video))
        .set_audio_descriptions(audio.map(|audio| vec![sound(audio)]))
        .build();
    let group = OutputGroup::builder()
        .output_group_settings(
            OutputGroupSettings::builder()
                .r#type(OutputGroupType::FileGroupSettings)
                .file_group_settings(FileGroupSettings::builder().destination(destination).build())
                .build(),
        )
        .outputs(output)
        .build();
    Ok(JobSettings::builder()
        .timecode_config(TimecodeConfig::builder().source(TimecodeSource::Zerobased).build())
        .set_inputs(Some(inputs?))
        .output_groups(group)
        .build())
}

fn input(plan: &Plan, segment: &PlannedSegment) -> Result<Input, ClipError> {
    let ProbedSource { object, facts } = &plan.sources[segment.source];
    let grid = FrameGrid::of(&facts.video);
    let frames = grid.frames(&segment.window);
    // The frame of the end time code is in the clip.
    let clipping = InputClipping::builder()
        .start_timecode(grid.timecode(frames.start)?)
        .end_timecode(grid.timecode(frames.end - 1)?)
        .build();
    let mut input = Input::builder()
        .file_input(format!("s3://{}/{}", object.bucket, object.key))
        .timecode_source(InputTimecodeSource::Zerobased)
        .input_clippings(clipping)
        .video_selector(VideoSelector::builder().rotate(InputRotate::Auto).build());
    if audio_of(plan, segment).is_some() {
        let first_track = AudioSelector::builder()
            .default_selection(AudioDefaultSelection::Default)
            .selector_type(AudioSelectorType::Track)
            .tracks(1)
            .build();
        input = input.audio_selectors(AUDIO_SELECTOR, first_track);
    }
    Ok(input.build())
}

fn audio_of<'a>(plan: &'a Plan, segment: &PlannedSegment) -> Option<&'a AudioFacts> {
    plan.sources[segment.source].facts.audio.as_ref().filter(|_| segment.window.has_audio)
}

fn pictures(video: &VideoFacts) -> VideoDescription {
    let grid = FrameGrid::of(video);
    let pixels_per_second = f64::from(video.coded_width) * f64::from(video.coded_height) * grid.rate;
    let quality = H264QvbrSettings::builder().qvbr_quality_level(quality::qvbr_level(quality::CRF).into()).build();
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    let max_bitrate = (pixels_per_second * MAX_BITS_PER_PIXEL).max(MIN_MAX_BITRATE) as i32;
    let h264 = H264Settings::builder()
        .rate_control_mode(H264RateControlMode::Qvbr)
        .quality_tuning_level(H264QualityTuningLevel::SinglePass)
        .qvbr_settings(quality)
        .max_bitrate(max_bitrate);
    let h264 = match grid.converted_to {
        None => h264.framerate_control(H264FramerateControl::InitializeFromSource),
        Some(rate) => h264
            .framerate_control(H264FramerateControl::Specified)
            .framerate_conversion_algorithm(H264FramerateConversionAlgorithm::DuplicateDrop)
            .framerate_numerator(i32::try_from(rate).unwrap_or(i32::MAX))
            .framerate_denominator(1),
    };
    let codec = VideoCodecSettings::builder().codec(VideoCodec::H264).h264_settings(h264.build()).build();
    VideoDescription::builder().codec_settings(codec).build()
}

fn sound(audio: &AudioFacts) -> AudioDescription {
    let (mode, channels) = match audio.channels {
        1 => (AacCodingMode::CodingMode10, 1),
        6 => (AacCodingMode::CodingMode51, 6),
        _ => (AacCodingMode::CodingMode20, 2),
    };
    let sample_rate = if AUDIO_RATES.contains(&audio.sample_rate) { audio.sample_rate } else { 48_000 };
    let aac = AacSettings::builder()
        .coding_mode(mode)
        .sample_rate(i32::try_from(sample_rate).unwrap_or(i32::MAX))
        .bitrate(i32::try_from(channels * AUDIO_BITS_PER_CHANNEL).unwrap_or(i32::MAX))
        .build();
    let codec = AudioCodecSettings::builder().codec(AudioCodec::Aac).aac_settings(aac).build();
    AudioDescription::builder().audio_source_name(AUDIO_SELECTOR).codec_settings(codec).build()
}
