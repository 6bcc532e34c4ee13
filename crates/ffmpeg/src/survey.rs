//! Finds the damage in a clip's windows.

use crate::{
    damage::{Flaw, check_first, flaws, left_out, undecodable},
    decoded::Decoded,
    process::{Input, Limits},
    remux::Remuxer,
};
use model::{ClipError, clip_spec::ClipSpec, damage::Damaged};
use mp4_cut::{Movie, io::LocalFile};
use std::time::Instant;

/// Finds the damage in the windows in the files `names`, which are encoded as `spec` says.
///
/// # Errors
/// `UnsupportedMedia` if the clip's first picture does not decode, or no picture of a window; otherwise as
/// [`Ffmpeg::look`](crate::process::Ffmpeg::look).
pub async fn survey(
    names: &[String],
    spec: &ClipSpec,
    remuxer: Remuxer<'_>,
) -> Result<Damaged, ClipError> {
    let begun = Instant::now();
    let mut damaged = Damaged::default();
    let mut start_seconds = 0.0;
    for (number, (name, part)) in names.iter().zip(&spec.parts).enumerate() {
        let limits = Limits {
            time: remuxer.limits.time.saturating_sub(begun.elapsed()),
            ..remuxer.limits
        };
        let shown = shown_seconds(&LocalFile::open(remuxer.scratch.file(name))?).await?;
        let Decoded {
            pictures,
            is_audio_damaged,
            complaints,
            ..
        } = remuxer
            .ffmpeg
            .look(remuxer.scratch.path(), &Input::mp4(name), limits)
            .await?;
        let flaws = flaws(&shown, 0..shown.len(), &pictures);
        if number == 0 {
            check_first(&flaws, &complaints)?;
        }
        let missing = flaws.iter().filter(|flaw| flaw.is_missing).count();
        if missing == shown.len() {
            return Err(undecodable("none of its pictures decodes", &complaints));
        }
        // On a frame grid, the previous picture replaces a missing one.
        if spec.frame_rate.is_none() {
            damaged.left_out += left_out(&shown, &pictures) as u64;
        }
        damaged.audio |= is_audio_damaged && spec.audio.is_some();
        let second = |index: usize| match shown.get(index) {
            Some(seconds) => start_seconds + (seconds - shown[0]) / spec.speed,
            None => start_seconds + part.seconds,
        };
        for Flaw { index, .. } in flaws {
            damaged.add(second(index)..second(index + 1));
        }
        start_seconds += part.seconds;
    }
    Ok(damaged)
}

async fn shown_seconds(file: &LocalFile) -> Result<Vec<f64>, ClipError> {
    let shown = Movie::read(file).await?.shown_frames()?;
    Ok(shown.iter().map(|frame| frame.seconds).collect())
}
