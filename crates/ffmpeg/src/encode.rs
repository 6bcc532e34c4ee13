//! How `FFmpeg` encodes a whole clip from its windows: the filter graph, the encoders and the output options.
//!
//! All inputs are open at the same time, with one decoder thread each: about 18 MB of memory per 1080p cut.

use crate::{audio, pixels};
use model::{
    clip_spec::{ClipSpec, Overlay, Part, Size},
    request::{Format, Look},
};
use mp4_cut::Window;
use std::ffi::OsString;

/// The output options that make the clip `spec`, with the picture settings `look`, from its inputs: the windows of its
/// parts in order, then the watermark. If there is only one part, `window` is its window.
#[must_use]
pub fn arguments(look: Look, spec: &ClipSpec, window: &Window) -> Vec<OsString> {
    let mut options = if let (true, [part]) = (spec.plain, spec.parts.as_slice()) {
        let stored = stored_as_they_are(part);
        let mut options = words(&format!("-map 0:v:0 -map 0:a? -filter:v {stored}"));
        if spec.audio.is_some() {
            options.extend(["-filter:a".to_owned(), audio::track_filters(look.format)]);
        }
        options
    } else {
        let mut options = vec![
            "-filter_complex".to_owned(),
            graph(spec),
            "-map".to_owned(),
            "[v]".to_owned(),
        ];
        options.extend(spec.audio.iter().flat_map(|_| words("-map [a]")));
        options
    };
    // FFmpeg keeps the creation time only if told to.
    options.extend(words("-map_metadata 0"));
    options.extend(encoders(look, spec));
    options.extend(match spec.frame_rate {
        None => timing_arguments(window),
        Some(rate) => words(&format!(
            "-fps_mode passthrough -enc_time_base:v {}/{} -video_track_timescale {timescale} -movie_timescale {timescale}",
            rate.denominator,
            rate.numerator,
            timescale = rate.timescale(),
        )),
    });
    options.push(look.format.file_name().to_owned());
    options.into_iter().map(OsString::from).collect()
}

/// The output options with which `FFmpeg` encodes exactly a window's frames: each once, at its time, the last one for
/// as long as in the source, and the audio to the end.
///
/// By default, `FFmpeg` times frames by the average frame rate, guesses the last frame's duration, rounds the edit list
/// to milliseconds, and ends the audio with its last packet. If the last frame is shown for longer than others, it must
/// also be decoded last; otherwise another frame's duration would end the track. `setts` with `duration=` alone sets
/// presentation times to decode times and loses frames, hence `pts=PTS:dts=DTS`.
#[must_use]
pub fn timing_arguments(window: &Window) -> Vec<String> {
    let Window { facts, timing, .. } = window;
    // The audio's edit is rounded to this, so it must not be coarse.
    let timescale = u64::from(facts.timescale) * 10_000_u64.div_ceil(facts.timescale.into());
    // To FFmpeg, a frame's duration is the time to the next decoded frame, not to the next shown one.
    let last = timing.last_frame;
    let end = last + timing.last_frame_duration;
    let length = facts.duration_seconds + 0.000_000_5;
    let mut options = words(&format!(
        "-fps_mode passthrough -enc_time_base:v demux -video_track_timescale {timescale} -movie_timescale {timescale} \
         -bsf:v setts=pts=PTS:dts=DTS:duration=if(eq(PTS\\,{last})\\,{end}-PTS\\,min(DURATION\\,{end}-PTS)) \
         -t {length:.6}"
    ));
    if !timing.even {
        options.extend(words("-bf 0"));
    }
    options
}

/// The encoders of a clip. Pictures and sound are both encoded: mixing an encode with a copy puts them apart in players
/// that ignore edit lists. `probe`'s estimates contain their speed.
fn encoders(look: Look, spec: &ClipSpec) -> Vec<String> {
    let (quality, pixels) = (look.quality, pixels::encoded(spec.bit_depth));
    words(&match look.format {
        Format::Mp4 | Format::Source => format!(
            "-c:v libx264 -preset veryfast -crf {} -pix_fmt yuv420p -c:a aac -movflags +faststart",
            quality.crf()
        ),
        // Apple's players require hvc1: all parameter sets in the sample entry.
        Format::Hevc => format!(
            "-c:v libx265 -preset veryfast -x265-params log-level=error -crf {} -tag:v hvc1 -pix_fmt {pixels} -c:a aac \
             -movflags +faststart",
            quality.hevc_crf()
        ),
        Format::Webm => format!(
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 5 -row-mt 1 -crf {} -b:v 0 -pix_fmt yuv420p -c:a libopus",
            quality.vp9_crf()
        ),
    })
}

pub(crate) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// The filter graph that makes `spec` from its inputs. Its outputs are `[v]` and, if the clip has audio, `[a]`.
#[must_use]
pub fn graph(spec: &ClipSpec) -> String {
    let ClipSpec {
        audio,
        parts,
        overlay,
        ..
    } = spec;
    let mut chains = Vec::new();
    let mut labels = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        chains.push(format!(
            "[{index}:v:0]{}[v{index}]",
            video_filters(spec, part)
        ));
        labels.push(format!("[v{index}]"));
        if let Some(format) = audio {
            let input = part.has_audio.then_some(index);
            chains.push(format!(
                "{}[a{index}]",
                crate::audio::filters(input, *format, spec.speed, part.seconds)
            ));
            labels.push(format!("[a{index}]"));
        }
    }
    let (audio_tracks, sound) = match audio {
        Some(_) => (1, "[sound]"),
        None => (0, ""),
    };
    chains.push(format!(
        "{}concat=n={}:v=1:a={audio_tracks}[joined]{sound}",
        labels.concat(),
        parts.len()
    ));
    match overlay {
        None => chains.push(format!(
            "[joined]{}[v]",
            chain(&[edited(spec), finished(spec)].concat())
        )),
        Some(overlay) => chains.extend(watermarked(spec, overlay)),
    }
    if audio.is_some() {
        chains.push(format!("[sound]{}[a]", chain(&fades("afade", spec))));
    }
    chains.join(";")
}

/// The chains that edit the joined pictures and lay the watermark, the input behind those of the parts, over them.
fn watermarked(spec: &ClipSpec, overlay: &Overlay) -> [String; 3] {
    let Overlay {
        x,
        y,
        size: Size { width, height },
        ..
    } = overlay;
    let over = vec![
        format!("overlay=x={x}:y={y}:eof_action=repeat:format=auto"),
        format!("format={}", pixels::encoded(spec.bit_depth)),
    ];
    [
        format!("[joined]{}[edited]", chain(&edited(spec))),
        format!(
            "[{}:v:0]scale={width}:{height}[watermark]",
            spec.parts.len()
        ),
        format!(
            "[edited][watermark]{}[v]",
            chain(&[over, finished(spec)].concat())
        ),
    ]
}

fn chain(filters: &[String]) -> String {
    if filters.is_empty() {
        "null".to_owned()
    } else {
        filters.join(",")
    }
}

/// A part's pictures in their stored size, with the pixel aspect set so that they are shown in the size that the
/// source's index says, even if the stream disagrees. Sizes have up to 16 bits.
fn stored_as_they_are(part: &Part) -> String {
    let Part { decoded, shown, .. } = part;
    let mut filters: Vec<_> = pixels::tagged(part.pixels.as_ref()).into_iter().collect();
    filters.push(format!(
        "scale={}:{},setsar={}/{}:max=65535",
        decoded.width, decoded.height, shown.width, decoded.width
    ));
    filters.extend(part.becomes_sdr.then(|| pixels::TONE_MAP.to_owned()));
    filters.join(",")
}

/// A part's pictures in the size of the canvas. If they are retimed, exactly as many as the part has, on the clip's
/// frame grid.
fn video_filters(spec: &ClipSpec, part: &Part) -> String {
    let mut filters: Vec<_> = pixels::tagged(part.pixels.as_ref()).into_iter().collect();
    if part.decoded != spec.canvas {
        let fits = part.shown.even() == spec.canvas;
        let scaled = if fits {
            spec.canvas
        } else {
            part.shown.within(spec.canvas)
        };
        filters.push(format!("scale={}:{}", scaled.width, scaled.height));
        filters.extend(framed(scaled, spec.canvas));
    }
    filters.push("setsar=1".to_owned());
    filters.extend(part.becomes_sdr.then(|| pixels::TONE_MAP.to_owned()));
    filters.push(format!("format={}", pixels::encoded(spec.bit_depth)));
    if let Some(rate) = spec.frame_rate {
        let (speed, frames) = (spec.speed, part.frames);
        // When speeding up, no frame may appear before its time; otherwise, frames slightly off the grid snap to it.
        let round = if speed > 1.0 { "up" } else { "near" };
        filters.push(format!(
            "setpts=(PTS-STARTPTS)/{speed},fps={rate}:start_time=0:round={round}"
        ));
        filters.push(format!(
            "tpad=stop=-1:stop_mode=clone,trim=end_frame={frames}"
        ));
    }
    filters.join(",")
}

/// Pads pictures with black to `frame`, or crops them to it, evenly on both sides.
fn framed(own: Size, frame: Size) -> Option<String> {
    let Size { width, height } = frame;
    if own == frame {
        None
    } else if own.width > width || own.height > height {
        Some(format!("crop={width}:{height}:(iw-ow)/2:(ih-oh)/2"))
    } else {
        Some(format!("pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"))
    }
}

/// Rotates, crops and resizes the clip's pictures.
fn edited(spec: &ClipSpec) -> Vec<String> {
    let ClipSpec {
        canvas,
        rotate,
        crop,
        scaled,
        size,
        ..
    } = spec;
    let mut filters = Vec::new();
    match rotate {
        90 => filters.push("transpose=clock".to_owned()),
        180 => filters.push("hflip,vflip".to_owned()),
        270 => filters.push("transpose=cclock".to_owned()),
        _ => {}
    }
    let cropped = crop.map_or(canvas.rotated(*rotate), |crop| Size {
        width: crop.width,
        height: crop.height,
    });
    filters.extend(
        crop.map(|crop| format!("crop={}:{}:{}:{}", crop.width, crop.height, crop.x, crop.y)),
    );
    if *scaled != cropped {
        filters.push(format!("scale={}:{},setsar=1", scaled.width, scaled.height));
    }
    filters.extend(framed(*scaled, *size));
    filters
}

/// Times frames on a grid by their number, so that rounding errors cannot accumulate, and fades them.
fn finished(spec: &ClipSpec) -> Vec<String> {
    let grid = spec
        .frame_rate
        .map(|rate| format!("settb={}/{},setpts=N", rate.denominator, rate.numerator));
    grid.into_iter().chain(fades("fade", spec)).collect()
}

/// The fades of pictures (`fade`) or sound (`afade`).
fn fades(filter: &str, spec: &ClipSpec) -> Vec<String> {
    let ClipSpec {
        fade_in_seconds,
        fade_out_seconds,
        ..
    } = spec;
    let end = spec.seconds() - fade_out_seconds;
    let each = [
        ("in", 0.0, *fade_in_seconds),
        ("out", end, *fade_out_seconds),
    ];
    let asked = each.into_iter().filter(|(.., seconds)| *seconds > 0.0);
    let filters = asked
        .map(|(which, start, seconds)| format!("{filter}=t={which}:st={start:.6}:d={seconds:.6}"));
    let filters: Vec<_> = filters.collect();
    if filters.is_empty() && filter == "afade" {
        vec!["anull".to_owned()]
    } else {
        filters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_framed_or_cut_off_on_both_sides() {
        let size = |width, height| Size { width, height };
        assert_eq!(framed(size(64, 64), size(64, 64)), None);
        assert_eq!(
            framed(size(64, 36), size(64, 64)).as_deref(),
            Some("pad=64:64:(ow-iw)/2:(oh-ih)/2")
        );
        assert_eq!(
            framed(size(114, 64), size(64, 64)).as_deref(),
            Some("crop=64:64:(iw-ow)/2:(ih-oh)/2")
        );
    }
}
