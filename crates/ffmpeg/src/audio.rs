//! The `FFmpeg` filters for the audio of a clip's parts.

use model::{
    clip_spec::{self, AudioFormat},
    request::Format,
};

/// The filters that make exactly `seconds` of audio in the clip's format, to the sample: the first track of input
/// `input` at `speed`, padded with silence, or only silence.
#[must_use]
pub fn filters(
    input: Option<usize>,
    AudioFormat {
        sample_rate,
        layout,
        ..
    }: AudioFormat,
    speed: f64,
    seconds: f64,
) -> String {
    match input {
        Some(input) => {
            let tempo = tempos(speed)
                .iter()
                .map(|tempo| format!("atempo={tempo},"))
                .collect::<Vec<_>>()
                .concat();
            format!(
                "[{input}:a:0]aresample={sample_rate}:async=1:first_pts=0,aformat=channel_layouts={layout},{tempo}\
                 apad=whole_dur={seconds:.6},atrim=end={seconds:.6}"
            )
        }
        None => format!("anullsrc=r={sample_rate}:cl={layout},atrim=end={seconds:.6}"),
    }
}

/// The filters for an audio track of a clip with one part. They start it together with the pictures, adding silence if
/// needed; otherwise `FFmpeg` would end it late by as much as it begins late. They also choose a channel layout that
/// the clip's codec has a number for. `FFmpeg`'s encoders refuse other layouts, or write them in a way that few
/// players, and not even `FFmpeg`, can read.
#[must_use]
pub fn track_filters(format: Format) -> String {
    let names: Vec<_> = clip_spec::layouts(format)
        .iter()
        .map(|(name, _)| *name)
        .collect();
    format!(
        "aresample=async=1:first_pts=0,aformat=channel_layouts={}",
        names.join("|")
    )
}

/// Tempo changes that multiply to `speed`, each between 0.5 and 2: above that, `atempo` skips audio; below, it refuses.
fn tempos(speed: f64) -> Vec<f64> {
    if (speed - 1.0).abs() < f64::EPSILON {
        Vec::new()
    } else if (0.5..=2.0).contains(&speed) {
        vec![speed]
    } else {
        vec![speed.sqrt(); 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tempos_make_up_any_speed_and_atempo_keeps_every_sample(speed in 0.25_f64..4.0) {
            let tempos = tempos(speed);
            prop_assert!((tempos.iter().product::<f64>() - speed).abs() < 1e-9);
            prop_assert!(tempos.iter().all(|tempo| (0.5..=2.0).contains(tempo)));
        }
    }
}
