//! What `FFmpeg` does with the windows of a clip: its filter graph and the options of its output.

use clipflow_core::{
    quality,
    rendition::{Part, Rendition, Size, Sound},
};
use std::ffi::OsString;

/// The encoders of a clip. Pictures and sound are both encoded: mixing an encode with a copy puts them apart in players
/// that ignore edit lists.
pub(crate) const ENCODE: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac -movflags +faststart";

/// The output options that make `rendition` out of the windows of its parts.
#[must_use]
pub fn arguments(rendition: &Rendition) -> Vec<OsString> {
    let mut words = vec!["-filter_complex".to_owned(), graph(rendition), "-map".to_owned(), "[v]".to_owned()];
    if rendition.sound.is_some() {
        words.extend(["-map", "[a]"].map(str::to_owned));
    }
    words.extend(ENCODE.split_whitespace().map(str::to_owned));
    words.extend(["-crf".to_owned(), quality::CRF.to_string()]);
    if let Some(rate) = rendition.frame_rate {
        let (unit, timescale) = (format!("{}/{}", rate.denominator, rate.numerator), rate.timescale().to_string());
        let timing = ["-fps_mode", "passthrough", "-enc_time_base:v", &unit, "-video_track_timescale", &timescale];
        words.extend(timing.into_iter().chain(["-movie_timescale", &timescale]).map(str::to_owned));
    }
    words.push("clip.mp4".to_owned());
    words.into_iter().map(OsString::from).collect()
}

/// The filter graph that makes `rendition` out of the windows of its parts, which are the inputs in order. Its outputs
/// are `[v]` and, where the clip has sound, `[a]`.
#[must_use]
pub fn graph(rendition: &Rendition) -> String {
    let Rendition { sound, parts, .. } = rendition;
    let mut chains = Vec::new();
    let mut labels = String::new();
    for (index, part) in parts.iter().enumerate() {
        chains.push(format!("[{index}:v:0]{}[v{index}]", pictures(rendition, part)));
        labels += &format!("[v{index}]");
        if let Some(sound) = sound {
            chains.push(format!("{}[a{index}]", audio(index, part, *sound)));
            labels += &format!("[a{index}]");
        }
    }
    let (count, sounds) = (parts.len(), u8::from(sound.is_some()));
    let ends = if sound.is_some() { "[joined][a]" } else { "[joined]" };
    chains.push(format!("{labels}concat=n={count}:v=1:a={sounds}{ends}"));
    chains.push(format!("[joined]{}[v]", on_the_grid(rendition)));
    chains.join(";")
}

/// A part's pictures: in the clip's size, on the grid of its frames, exactly as many as it has.
fn pictures(rendition: &Rendition, part: &Part) -> String {
    let mut filters = framed(part.shown, rendition.size);
    filters.extend(["setsar=1".to_owned(), "format=yuv420p".to_owned(), "setpts=PTS-STARTPTS".to_owned()]);
    if let Some(rate) = rendition.frame_rate {
        let frames = part.frames;
        filters.push(format!("fps={rate}:start_time=0,tpad=stop=-1:stop_mode=clone,trim=end_frame={frames}"));
    }
    filters.join(",")
}

/// Scales pictures that are shown in another size so that all of them fits, and frames them in black.
fn framed(shown: Size, frame: Size) -> Vec<String> {
    if shown == frame {
        return Vec::new();
    }
    let Size { width, height } = shown.within(frame);
    let mut filters = vec![format!("scale={width}:{height}")];
    if (Size { width, height }) != frame {
        filters.push(format!("pad={}:{}:(ow-iw)/2:(oh-ih)/2", frame.width, frame.height));
    }
    filters
}

/// A part's sound in the clip's format, exactly as long as its pictures: silence where it has none.
fn audio(index: usize, part: &Part, Sound { sample_rate, channels }: Sound) -> String {
    let seconds = format!("{:.6}", part.seconds);
    if part.has_sound {
        format!(
            "[{index}:a:0]aresample={sample_rate}:async=1:first_pts=0,aformat=channel_layouts={channels}c,\
             apad=whole_dur={seconds},atrim=end={seconds}"
        )
    } else {
        format!("anullsrc=r={sample_rate}:cl={channels}c,atrim=end={seconds}")
    }
}

/// Times frames by their number, which sums of rounded lengths cannot spoil.
fn on_the_grid(rendition: &Rendition) -> String {
    rendition
        .frame_rate
        .map_or_else(|| "null".to_owned(), |rate| format!("settb={}/{},setpts=N", rate.denominator, rate.numerator))
}
