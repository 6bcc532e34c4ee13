//! Depth and colours of clips that are encoded.

use crate::common::{
    conform::{Way, assert_conforms},
    ffmpeg::{Folder, load, pictures, probe, read, words},
    smart::{smart_cut, smart_cuts_in},
    source::{H264, HEVC, LIMITS, Source, clip_of_request},
};
use ffmpeg::{
    encode,
    process::{Ffmpeg, Input},
};
use model::request::Format;
use serde_json::json;
use std::path::{Path, PathBuf};

const HDR10: &str = "log-level=error:keyint=30:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited:hdr10=1:\
     master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400";
const HLG: &str = "log-level=error:keyint=30:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:range=limited";

/// Two seconds of 10-bit HEVC, with encoder parameters.
fn build(folder: &Folder, parameters: &str) -> PathBuf {
    let options = format!("{HEVC} -pix_fmt yuv420p10le -x265-params {parameters}");
    folder.build("source.mp4", &[pictures("30", 2), words(&options)])
}

/// A clip of one second of a source, encoded whole in a format.
async fn encoded(source: &Source, format: &str) -> PathBuf {
    let (window, copy) = source.cut(0.5..1.5).await;
    let windows = [(0, window.facts.clone())];
    let request = json!({"format": format});
    let (request, spec) = clip_of_request(&[&source.movie.facts], &windows, &request);
    let arguments = encode::arguments(request.look(), &spec, &window);
    let (folder, input) = (copy.parent().expect("a folder"), copy.file_name());
    let input = Input::mp4(input.expect("a name").to_string_lossy());
    let ffmpeg = Ffmpeg::find().expect("ffmpeg");
    let run = ffmpeg.run(folder, &[input], &arguments, LIMITS).await;
    run.unwrap_or_else(|error| panic!("{error}"));
    folder.join(request.format.file_name())
}

/// Pixel format, range, matrix, transfer and primaries of a clip, according to its stream.
fn stream(clip: &Path) -> String {
    let entries = "stream=pix_fmt,color_range,color_space,color_transfer,color_primaries";
    probe(clip, &format!("-select_streams v -show_entries {entries}"))
        .trim()
        .trim_end_matches(',')
        .to_owned()
}

/// The light-level metadata of a clip's pictures.
fn light(clip: &Path) -> String {
    let entries = "stream_side_data=side_data_type,max_luminance,max_content,max_average";
    probe(clip, &format!("-select_streams v -show_entries {entries}"))
}

/// The average luma of a clip's pictures, up to 255.
fn brightness(clip: &Path) -> f64 {
    let input = vec!["-i".to_owned(), clip.display().to_string()];
    let options = words("-vf scale=out_range=full,format=gray -f rawvideo -");
    let luma = crate::common::ffmpeg::ffmpeg(&[input, options].concat());
    let add = |(sum, count), luma: &u8| (sum + f64::from(*luma), count + 1.0);
    let (sum, count) = luma.iter().fold((0.0, 0.0), add);
    sum / count
}

#[tokio::test]
async fn hevc_keeps_bits_colours_and_light_of_an_hdr_source() {
    let folder = Folder::new();
    let path = build(&folder, HDR10);
    let source = Source::decode(&path).await;
    let pixels = source.movie.facts.video.pixels.clone().expect("it says");
    assert_eq!((pixels.bit_depth, pixels.is_hdr()), (10, true));
    let (.., smart) = smart_cut(&source, 0.5..1.5).await.expect("a smart cut");
    for clip in [encoded(&source, "hevc").await, smart] {
        assert_eq!(stream(&clip), "yuv420p10le,tv,bt2020nc,smpte2084,bt2020");
        let facts = read(&load(&clip)).await.facts;
        assert_eq!(facts.video.pixels.as_ref(), Some(&pixels));
    }
    let clip = encoded(&source, "hevc").await;
    let light = light(&clip);
    assert!(
        light.contains("10000000/10000") && light.contains("1000,400"),
        "{light}"
    );
}

#[tokio::test]
async fn other_formats_of_an_hdr_source_are_sdr_and_say_so() {
    let folder = Folder::new();
    for parameters in [HDR10, HLG] {
        let source = Source::decode(&build(&folder, parameters)).await;
        for format in ["mp4", "source", "webm"] {
            let clip = encoded(&source, format).await;
            assert_eq!(stream(&clip), "yuv420p,tv,bt709,bt709,bt709", "{format}");
            assert_eq!(light(&clip).trim(), "", "{format}");
            // White at 100 cd/m² is half of PQ's signal range, and three quarters of HLG's.
            let (before, after) = (brightness(&source.path), brightness(&clip));
            assert!((before - after).abs() > 5.0, "{format}: {before} {after}");
        }
    }
}

#[tokio::test]
async fn hdr_h264_becomes_sdr_in_an_mp4_and_stays_in_its_own_format() {
    let folder = Folder::new();
    let hlg = "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc";
    let options = format!("{H264} -pix_fmt yuv420p10le -g 15 -x264-params {hlg}");
    let path = folder.build("source.mp4", &[pictures("30", 2), words(&options)]);
    let source = Source::decode(&path).await;
    let cuts = [(&source, 0.3..1.7)];
    let why = smart_cuts_in(Format::Mp4, &cuts, None).await.err();
    let sdr = "the source has a high dynamic range, which becomes SDR";
    assert_eq!(why.as_deref(), Some(sdr));
    let clip = encoded(&source, "mp4").await;
    assert_eq!(stream(&clip), "yuv420p,tv,bt709,bt709,bt709");
    let kept = smart_cuts_in(Format::Source, &cuts, None).await;
    let kept = kept.expect("a smart cut");
    assert!(kept.facts.copied_seconds > 1.0, "{:?}", kept.facts);
    assert_conforms(
        &source,
        &kept.windows[0],
        Way::Smart(kept.facts),
        &kept.path,
    )
    .await;
    assert_eq!(
        stream(&kept.path),
        "yuv420p10le,tv,bt2020nc,arib-std-b67,bt2020"
    );
}

#[tokio::test]
async fn colours_of_a_clip_are_those_that_the_container_says() {
    let folder = Folder::new();
    let h264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -bsf:v h264_metadata=colour_primaries=1:\
                transfer_characteristics=1:matrix_coefficients=1 -vf \
                setparams=color_primaries=6:color_trc=6:colorspace=6";
    let path = folder.build("source.mp4", &[pictures("30", 2), words(h264)]);
    let source = Source::decode(&path).await;
    let pixels = source.movie.facts.video.pixels.as_ref().expect("it says");
    assert_eq!([pixels.primaries, pixels.transfer, pixels.matrix], [6; 3]);
    let clip = encoded(&source, "mp4").await;
    assert_eq!(stream(&clip), "yuv420p,tv,smpte170m,smpte170m,smpte170m");
}
