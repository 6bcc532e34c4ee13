//! The sources for measuring, made once by `FFmpeg` and kept.

use crate::{Outcome, media};
use std::{fs, path::Path};

/// Lengths of the long sources, in minutes.
pub const MINUTES: [u32; 3] = [1, 10, 60];

/// The pictures of the short sources: a moving pattern without repeated frames.
const PICTURES: &str = "testsrc2=size=640x360:duration=12:rate";
/// Their audio: a rising tone, so that every moment sounds different.
const SOUND: &str = "aevalsrc=0.5*sin(2*PI*(200*t+40*t*t)):duration=12:sample_rate=48000";

/// The name of a long source.
#[must_use]
pub fn long(minutes: u32, index: &str) -> String {
    format!("{index}-{minutes}.mp4")
}

/// Makes missing long sources: 1080p at 30 frames per second with a keyframe every two seconds, about 5 Mbit/s, and
/// AAC.
///
/// # Errors
/// When `FFmpeg` fails.
pub fn make_long(folder: &Path) -> Outcome<()> {
    let pictures = "testsrc2=size=1920x1080:rate=30:duration=60,noise=alls=12:allf=t";
    let encode = "-c:v libx264 -preset veryfast -b:v 5M -maxrate 5M -bufsize 10M -g 60 -keyint_min 60 -sc_threshold 0 \
                  -pix_fmt yuv420p -c:a aac -b:a 128k -ac 2";
    let sound = "sine=frequency=440:duration=60:sample_rate=48000";
    let base = folder.join(long(1, "end"));
    make(
        &base,
        &[
            &["-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", sound],
            &words(encode)[..],
        ]
        .concat(),
    )?;
    let base = base.to_str().ok_or("a path is not UTF-8")?;
    for (bits, options) in HEVC {
        let encode = "-c:v libx265 -preset ultrafast -b:v 5M -tag:v hvc1 -c:a copy \
                      -x265-params log-level=error:keyint=60:min-keyint=60:scenecut=0";
        let minute = folder.join(format!("hevc-{bits}-1.mp4"));
        make(
            &minute,
            &[&["-i", base][..], &words(encode), &words(options)].concat(),
        )?;
        let minute = minute.to_str().ok_or("a path is not UTF-8")?;
        make(&folder.join(hevc(bits)), &looped(minute, "59"))?;
    }
    for (_, file, options) in CONTAINERS {
        make(
            &folder.join(file),
            &[&looped(base, "59")[..], &words(options)].concat(),
        )?;
    }
    for minutes in MINUTES {
        let loops = (minutes - 1).to_string();
        let input = looped(base, &loops);
        make(&folder.join(long(minutes, "end")), &input)?;
        make(
            &folder.join(long(minutes, "front")),
            &[&input[..], &["-movflags", "+faststart"]].concat(),
        )?;
    }
    Ok(())
}

/// One-hour HEVC sources with the same pictures: bit depth, options.
pub const HEVC: [(u32, &str); 2] = [(8, "-pix_fmt yuv420p"), (10, "-pix_fmt yuv420p10le")];

/// The file of the HEVC source with this bit depth.
#[must_use]
pub fn hevc(bits: u32) -> String {
    format!("hevc-{bits}-60.mp4")
}

fn looped<'a>(file: &'a str, loops: &'a str) -> [&'a str; 6] {
    ["-stream_loop", loops, "-i", file, "-c", "copy"]
}

/// One-hour sources in other containers: name, file, options.
pub const CONTAINERS: [(&str, &str, &str); 4] = [
    ("MPEG-TS", "60.ts", ""),
    ("Matroska", "60.mkv", ""),
    (
        "fragmented MP4 with sidx",
        "sidx-60.mp4",
        "-movflags +frag_keyframe+delay_moov+default_base_moof+global_sidx",
    ),
    (
        "fragmented MP4 with mfra",
        "mfra-60.mp4",
        "-movflags +frag_keyframe+delay_moov",
    ),
];

/// The kinds of source on which cuts are compared: name, frame rate, options.
pub const KINDS: [(&str, &str, &str); 10] = [
    ("constant frame rate", "30", "-c:v libx264 -g 60 -bf 0"),
    (
        "29.97 with B-frames",
        "30000/1001",
        "-c:v libx264 -g 60 -bf 3",
    ),
    ("23.976", "24000/1001", "-c:v libx264 -g 48"),
    (
        "variable frame rate",
        "30",
        "-vf select=not(eq(mod(n\\,7)\\,3)+eq(mod(n\\,11)\\,5)) -fps_mode vfr -c:v libx264 -g 60",
    ),
    (
        "open GOP",
        "25",
        "-c:v libx264 -g 50 -bf 3 -x264-params open-gop=1",
    ),
    (
        "GOP of 250",
        "25",
        "-c:v libx264 -g 250 -keyint_min 250 -sc_threshold 0",
    ),
    (
        "HEVC",
        "25",
        "-c:v libx265 -x265-params log-level=error:keyint=50 -tag:v hvc1",
    ),
    ("rotated", "25", "-c:v libx264 -g 50"),
    (
        "start time not zero",
        "25",
        "-c:v libx264 -g 50 -output_ts_offset 3",
    ),
    ("no sound", "25", "-c:v libx264 -g 50 -an"),
];

/// The file of a kind.
#[must_use]
pub fn short(kind: &str) -> String {
    format!("{}.mp4", kind.replace([' ', '.'], "-"))
}

/// Makes missing short sources.
///
/// # Errors
/// When `FFmpeg` fails.
pub fn make_short(folder: &Path) -> Outcome<()> {
    for (kind, rate, options) in KINDS {
        let file = folder.join(short(kind));
        let pictures = format!("{PICTURES}={rate}");
        let inputs = ["-f", "lavfi", "-i", &pictures, "-f", "lavfi", "-i", SOUND];
        let encode = [
            &inputs[..],
            &words(options),
            &words("-pix_fmt yuv420p -c:a aac -b:a 160k -shortest"),
        ]
        .concat();
        if kind == "rotated" {
            let upright = folder.join("upright.mp4");
            make(&upright, &encode)?;
            let upright = upright.to_str().ok_or("a path is not UTF-8")?;
            make(
                &file,
                &["-display_rotation", "90", "-i", upright, "-c", "copy"],
            )?;
        } else {
            make(&file, &encode)?;
        }
    }
    Ok(())
}

fn make(file: &Path, arguments: &[&str]) -> Outcome<()> {
    if file.exists() {
        return Ok(());
    }
    eprintln!("making {}", file.display());
    fs::create_dir_all(file.parent().ok_or("a source has no folder")?)?;
    let extension = file.extension().unwrap_or_default().display();
    let unfinished = file.with_extension(format!("new.{extension}"));
    media::ffmpeg(
        &[
            arguments,
            &[unfinished.to_str().ok_or("a path is not UTF-8")?],
        ]
        .concat(),
    )?;
    Ok(fs::rename(unfinished, file)?)
}

/// The words of a line of options.
#[must_use]
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
