//! The smart cut: `FFmpeg` encodes the few frames that cannot be copied, and the sound.
//!
//! Audio is encoded whole. Packets cannot be divided: a copied one would hold up to 21 ms from outside the clip and
//! need the packet before it. Encoding takes only about 0.02 s per second. The sound of joined cuts is encoded in one
//! run, each cut's from the sample nearest to its first picture, so no packet is cut off at a joint and nothing drifts.

use crate::{
    audio, damage,
    decoded::Decoded,
    encode::{timing_arguments, words},
    process::{Ffmpeg, Input, Limits},
    scratch::Scratch,
};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use model::{
    clip_spec::AudioFormat,
    error::{ClipError, ErrorKind},
    quality::Quality,
    request::Format,
};
use mp4_cut::{
    EncodeTarget, Encoded, FrameTiming, Movie, SmartClip, SmartCut, SmartCutError,
    SmartCutInterval, Window, io::LocalFile,
};
use std::{ffi::OsString, time::Instant};

/// Cuts whose pictures are encoded concurrently, each in up to two runs of `FFmpeg`.
const CUTS_AT_ONCE: usize = 2;
/// How much lower (better) the rate factor of encoded parts is than that of whole clips, for H.264 and for H.265. Encoders
/// save bits on the last frames of a part, which no frame refers to, and these few frames are next to the source's own.
const BETTER_CRF: [u8; 2] = [3, 2];
/// Keeps libx265's memory use low: few pictures at once, and small blocks. Two threads take 3 % more memory than one and
/// write the same bytes. The minimum block size of eight pixels divides all sizes, so that pictures need no further
/// padding.
const FRUGAL: &str =
    "ref=1:frame-threads=2:pools=2:rc-lookahead=1:ctu=32:min-cu-size=8:max-tu-size=32";
/// Keeps libx264 small and fast: with macroblock trees, this preset has the quality of `veryfast` in about a tenth more
/// bytes, three quarters of its time and four fifths of its memory. Threads that share a picture need fewer pictures in
/// memory than threads that each have their own.
const LEAN: &str = "ref=1:weightp=0:mbtree=1:rc-lookahead=1:sliced-threads=1";
/// One coded sequence, with pictures shown in decode order.
const IN_ORDER: &str = "bframes=0:keyint=-1:min-keyint=1:scenecut=0:open-gop=0:repeat-headers=0";

/// What a clip was cut into, and what decoding its encoded parts revealed.
pub struct Made {
    /// What is copied and what encoded.
    pub smart_cut: SmartCut,
    /// The clip.
    pub clip: SmartClip<LocalFile>,
    /// For each cut, the pictures that come before its head and before its tail; `None` for a part that it has not.
    pub leads: Vec<[Option<PartLead>; 2]>,
}

/// What was found of the pictures from which the first one of an encoded part is decoded.
#[derive(Debug, Clone, Copy)]
pub struct PartLead {
    /// How long they are shown, in seconds.
    pub seconds: f64,
    /// Whether one of them decodes only in part, which the pictures after it show too.
    pub is_damaged: bool,
    /// How long a picture of the part is shown, on average.
    pub picture_seconds: f64,
}

/// Cuts everything that the files `windows` in `scratch` show, one after the other; encoded parts are written to
/// `scratch` too. The audio of several files becomes one track in the format `joined_audio`, with silence for files
/// without audio; a single file keeps all of its tracks.
///
/// # Errors
/// `Ineligible` if everything has to be encoded, saying why; otherwise the errors of [`Ffmpeg::run`] for exceeded
/// limits.
pub async fn cut(
    ffmpeg: &Ffmpeg,
    scratch: &Scratch,
    windows: &[String],
    joined_audio: Option<AudioFormat>,
    (format, quality): (Format, Quality),
    limits: Limits,
) -> Result<Made, SmartCutError> {
    let mut files = Vec::new();
    for window in windows {
        files.push(open(window, scratch).await?);
    }
    if let Some((movie, _)) = files.first() {
        format.check_pictures(&movie.facts.video)?;
    }
    let smart_cut = SmartCut::of_all(&files).await?;
    check_encoder(ffmpeg, &smart_cut).await?;
    let work = Work {
        ffmpeg,
        scratch,
        crf: match smart_cut.encode_target() {
            EncodeTarget::H264 { .. } => quality.crf() - BETTER_CRF[0],
            EncodeTarget::Hevc { .. } => quality.hevc_crf() - BETTER_CRF[1],
        },
        limits,
        begun: Instant::now(),
        windows,
        files: &files,
        smart_cut: &smart_cut,
    };
    let pictures = smart_cut
        .cuts
        .iter()
        .enumerate()
        .map(|(index, cut)| work.encode_video(index, cut));
    let pictures = stream::iter(pictures).buffered(CUTS_AT_ONCE).try_collect();
    let (parts, audio): (Vec<_>, _) = tokio::try_join!(pictures, work.encode_audio(joined_audio))
        .map_err(|error| match error.kind {
        ErrorKind::UnsupportedMedia => SmartCutError::Ineligible(error.message),
        _ => error.into(),
    })?;
    let (encoded, leads) = parts.into_iter().unzip();
    let clip = smart_cut.join(&files, encoded, audio).await?;
    Ok(Made {
        smart_cut,
        clip,
        leads,
    })
}

/// A window in `scratch`, with NAL unit lengths of four bytes, enough for encoded units.
async fn open(window: &str, scratch: &Scratch) -> Result<(Movie, LocalFile), SmartCutError> {
    let file = LocalFile::open(scratch.file(window))?;
    let movie = Movie::read(&file).await?;
    let Some(long) = movie.with_long_lengths(&file).await? else {
        return Ok((movie, file));
    };
    let name = format!("long-{window}");
    scratch.save(&name, long.stream()).await?;
    let file = LocalFile::open(scratch.file(&name))?;
    Ok((Movie::read(&file).await?, file))
}

/// Checks that there is an encoder for the pictures of a smart cut.
///
/// # Errors
/// `Ineligible` when there is none.
pub async fn check_encoder(ffmpeg: &Ffmpeg, smart_cut: &SmartCut) -> Result<(), SmartCutError> {
    match smart_cut.encode_target() {
        EncodeTarget::H264 { profile, .. } if h264_profile(profile).is_none() => {
            Err(SmartCutError::Ineligible(format!(
                "the source's H.264 profile is {profile}, which is not encoded"
            )))
        }
        EncodeTarget::Hevc { bits }
            if bits != 8 && !ffmpeg.encodes("libx265", &pixel_format(bits)).await? =>
        {
            Err(SmartCutError::Ineligible(format!(
                "the source has {bits} bits, which this FFmpeg does not encode in HEVC"
            )))
        }
        _ => Ok(()),
    }
}

/// libx264's name of a profile.
fn h264_profile(profile_idc: u8) -> Option<&'static str> {
    Some(match profile_idc {
        66 => "baseline",
        77 => "main",
        100 => "high",
        110 => "high10",
        122 => "high422",
        244 => "high444",
        _ => return None,
    })
}

fn pixel_format(bits: u8) -> String {
    match bits {
        8 => "yuv420p".to_owned(),
        _ => format!("yuv420p{bits}le"),
    }
}

/// The output options for encoding a part's pictures, besides those of its window.
fn part_arguments(target: EncodeTarget) -> Vec<String> {
    words(&match target {
        EncodeTarget::H264 {
            profile,
            level,
            is_level_1b,
            may_be_lossless,
            parameter_set_id,
            ..
        } => {
            let profile = h264_profile(profile).unwrap_or("high");
            let level = if is_level_1b {
                "1b".to_owned()
            } else {
                level.to_string()
            };
            let least_qp = if may_be_lossless { ":qpmin=1" } else { "" };
            format!(
                "-map 0:v:0 -profile:v {profile} -preset superfast -x264-params \
                 sps-id={parameter_set_id}:level={level}:bframes=0:aud=1:{LEAN}{least_qp} -c:v libx264"
            )
        }
        EncodeTarget::Hevc { bits } => format!(
            "-map 0:v:0 -pix_fmt {} -preset veryfast -x265-params log-level=error:{IN_ORDER}:{FRUGAL} -tag:v hvc1 -c:v libx265",
            pixel_format(bits)
        ),
    })
}

struct Work<'a> {
    ffmpeg: &'a Ffmpeg,
    scratch: &'a Scratch,
    /// The rate factor of encoded parts.
    crf: u8,
    /// What all runs together may use.
    limits: Limits,
    begun: Instant,
    windows: &'a [String],
    files: &'a [(Movie, LocalFile)],
    smart_cut: &'a SmartCut,
}

impl Work<'_> {
    async fn encode_video(
        &self,
        index: usize,
        cut: &SmartCutInterval,
    ) -> Result<(Encoded<LocalFile>, [Option<PartLead>; 2]), ClipError> {
        let (movie, file) = &self.files[index];
        let (head, tail) = tokio::try_join!(
            self.encode_part(format!("head-{index}"), file, cut.head(movie)?),
            self.encode_part(format!("tail-{index}"), file, cut.tail(movie)?),
        )?;
        let (head, head_lead) = head.unzip();
        let (tail, tail_lead) = tail.unzip();
        Ok((Encoded { head, tail }, [head_lead, tail_lead]))
    }

    async fn encode_part(
        &self,
        name: String,
        file: &LocalFile,
        window: Option<Window>,
    ) -> Result<Option<(LocalFile, PartLead)>, ClipError> {
        let Some(window) = window else {
            return Ok(None);
        };
        let (input, output) = (format!("{name}-source.mp4"), format!("{name}.mp4"));
        self.scratch.save(&input, window.stream(file, 1)).await?;
        let part = LocalFile::open(self.scratch.file(&input))?;
        let part = Movie::read(&part).await?;
        let quality = ["-crf", &self.crf.to_string()].map(str::to_owned);
        let arguments: Vec<_> = part_arguments(self.smart_cut.encode_target())
            .into_iter()
            .chain(quality)
            .chain(["-filter:v".to_owned(), only_shown(window.timing)])
            .chain(timing_arguments(&window))
            .chain([output.clone()])
            .map(OsString::from)
            .collect();
        // Uncropped: the parameter sets contain the cropping.
        let mut input = Input::mp4(input).uncropped().unedited();
        if matches!(self.smart_cut.encode_target(), EncodeTarget::Hevc { .. }) {
            input = input.parallel();
        }
        let folder = self.scratch.path();
        let run = self
            .ffmpeg
            .run_and_look(folder, &input, &arguments, self.left());
        let lead = lead(&window, &part, &run.await?)?;
        Ok(Some((LocalFile::open(self.scratch.file(&output))?, lead)))
    }

    /// Encodes every audio track of the clip.
    async fn encode_audio(&self, joined: Option<AudioFormat>) -> Result<Vec<LocalFile>, ClipError> {
        match (self.files, joined) {
            ([(movie, _)], _) => {
                let tracks = 0..SmartCut::audio_tracks(self.files);
                try_join_all(tracks.map(|number| self.encode_track(movie, number))).await
            }
            (_, Some(audio)) if SmartCut::audio_tracks(self.files) > 0 => {
                Ok(vec![self.encode_joined(audio).await?])
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn encode_track(&self, movie: &Movie, number: usize) -> Result<LocalFile, ClipError> {
        // In a timescale in which the edit is exact, ending exactly to the microsecond.
        let timescale = movie
            .facts
            .audio
            .as_ref()
            .map_or(48_000, |audio| audio.sample_rate);
        let length = movie.facts.video.duration_seconds;
        let filters = audio::track_filters(Format::Mp4);
        let arguments = format!(
            "-map 0:a:{number} -filter:a {filters} -c:a aac -movie_timescale {timescale} -t {length:.6}"
        );
        self.run(
            self.inputs(),
            &format!("audio-{number}.mp4"),
            arguments.split(' ').map(str::to_owned),
        )
        .await
    }

    /// Encodes the audio of all files in one run, so that no packet is cut off between them. Each file's audio begins
    /// with its pictures, to the nearest sample, so that rounding errors do not add up.
    async fn encode_joined(&self, audio: AudioFormat) -> Result<LocalFile, ClipError> {
        let rate = f64::from(audio.sample_rate);
        let nearest_sample = |seconds: f64| (seconds * rate).round() / rate;
        let (mut chains, mut labels) = (Vec::new(), Vec::new());
        let mut end = 0.0;
        for (index, (movie, _)) in self.files.iter().enumerate() {
            let start = end;
            end += movie.facts.video.duration_seconds;
            let seconds = nearest_sample(end) - nearest_sample(start);
            let input = movie.facts.audio.as_ref().map(|_| index);
            chains.push(format!(
                "{}[a{index}]",
                audio::filters(input, audio, 1.0, seconds)
            ));
            labels.push(format!("[a{index}]"));
        }
        chains.push(format!(
            "{}concat=n={}:v=0:a=1[a]",
            labels.concat(),
            self.files.len()
        ));
        let timescale = audio.sample_rate.to_string();
        let arguments = [
            "-filter_complex",
            &chains.join(";"),
            "-map",
            "[a]",
            "-c:a",
            "aac",
            "-movie_timescale",
            &timescale,
        ];
        self.run(
            self.inputs(),
            "audio.mp4",
            arguments.into_iter().map(str::to_owned),
        )
        .await
    }

    fn inputs(&self) -> Vec<Input> {
        self.windows.iter().map(Input::mp4).collect()
    }

    async fn run(
        &self,
        inputs: Vec<Input>,
        output: &str,
        arguments: impl Iterator<Item = String>,
    ) -> Result<LocalFile, ClipError> {
        let arguments: Vec<OsString> = arguments
            .chain([output.to_owned()])
            .map(OsString::from)
            .collect();
        self.ffmpeg
            .run(self.scratch.path(), &inputs, &arguments, self.left())
            .await?;
        Ok(LocalFile::open(self.scratch.file(output))?)
    }

    /// The limits of a run that begins now.
    fn left(&self) -> Limits {
        Limits {
            time: self.limits.time.saturating_sub(self.begun.elapsed()),
            ..self.limits
        }
    }
}

/// The filters that pass on the frames that a window shows, decoded on the timeline of its media.
fn only_shown(timing: FrameTiming) -> String {
    let start = timing.media_start;
    let end = start + timing.last_frame + timing.last_frame_duration;
    format!("trim=start_pts={start}:end_pts={end},setpts=PTS-{start}")
}

/// Judges how the file `part` of a window was decoded, on the timeline of its media.
///
/// # Errors
/// `UnsupportedMedia` if some picture that it shows, or a later one, was not decoded, or only in part.
fn lead(window: &Window, part: &Movie, decoded: &Decoded) -> Result<PartLead, ClipError> {
    let Window { facts, timing, .. } = window;
    #[expect(clippy::cast_precision_loss, reason = "a file is short")]
    let start = timing.media_start as f64 / f64::from(facts.timescale);
    let hidden = part.lead_frames()?;
    let expected = facts.frames + part.frames_behind()?;
    if !decoded.is_whole(start..f64::INFINITY, expected) {
        let what = "a picture that is to be encoded does not decode";
        return Err(damage::undecodable(what, &decoded.complaints));
    }
    #[expect(clippy::cast_precision_loss, reason = "a part has few frames")]
    let picture_seconds = facts.duration_seconds / facts.frames.max(1) as f64;
    Ok(PartLead {
        seconds: hidden.first().map_or(0.0, |first| start - first),
        is_damaged: decoded.is_lead_damaged(&hidden, start),
        picture_seconds,
    })
}
