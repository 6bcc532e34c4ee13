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

/// Finds the damage in the windows in the files `names`, which are encoded as `spec` says. If a window's first picture is
/// decoded from a damaged one, it counts as damaged; the same holds for the last one.
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
        let movie = Movie::read(&LocalFile::open(remuxer.scratch.file(name))?).await?;
        let shown = shown_seconds(&movie)?;
        let input = Input::mp4(name).unedited();
        let decoded = look(&input, begun, remuxer).await?;
        let first = shown.first().copied().unwrap_or_default();
        let is_lead_damaged = decoded.is_lead_damaged(&movie.lead_frames()?, first);
        let all = shown.len() as u64 + movie.frames_behind()?;
        let is_whole = decoded.is_whole(first..f64::INFINITY, all);
        let Decoded {
            pictures,
            is_audio_damaged,
            complaints,
            ..
        } = decoded;
        let mut flaws = flaws(&shown, 0..shown.len(), &pictures);
        if number == 0 {
            check_first(&flaws, &complaints)?;
        }
        let missing = flaws.iter().filter(|flaw| flaw.is_missing).count();
        if missing == shown.len() {
            return Err(undecodable("none of its pictures decodes", &complaints));
        }
        if !is_whole && flaws.is_empty() {
            // A hidden picture is damaged that the last ones are decoded from.
            flaws.push(Flaw {
                index: shown.len() - 1,
                is_missing: false,
            });
        }
        if is_lead_damaged && flaws.first().is_none_or(|first| first.index > 0) {
            flaws.insert(0, Flaw::IN_FIRST);
        }
        // On a frame grid, the previous picture replaces a missing one.
        if spec.frame_rate.is_none() {
            damaged.left_out += left_out(&shown, &pictures) as u64;
        }
        if is_audio_damaged && spec.audio.is_some() && !damaged.audio {
            // The damage may be in sound that the edit list hides.
            let edited = look(&Input::mp4(name), begun, remuxer).await?;
            damaged.audio = edited.is_audio_damaged;
        }
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

/// Finds damage in the hidden pictures that the first shown ones of windows are decoded from.
///
/// # Errors
/// As [`Ffmpeg::look`](crate::process::Ffmpeg::look).
pub async fn survey_leads(
    names: &[String],
    spec: &ClipSpec,
    remuxer: Remuxer<'_>,
) -> Result<Damaged, ClipError> {
    let begun = Instant::now();
    let mut damaged = Damaged::default();
    let mut start_seconds = 0.0;
    for (name, part) in names.iter().zip(&spec.parts) {
        let movie = Movie::read(&LocalFile::open(remuxer.scratch.file(name))?).await?;
        let lead = movie.lead_frames()?;
        let shown = shown_seconds(&movie)?;
        if let Some(first) = shown.first().filter(|_| !lead.is_empty()) {
            let input = Input::mp4(name).unedited().until(*first);
            let decoded = look(&input, begun, remuxer).await?;
            if decoded.is_lead_damaged(&lead, *first) {
                let shown_for = shown
                    .get(1)
                    .map_or(part.seconds, |next| (next - first) / spec.speed);
                damaged.add(start_seconds..start_seconds + shown_for);
            }
        }
        start_seconds += part.seconds;
    }
    Ok(damaged)
}

/// Decodes an input within what is left of the time since `begun`.
async fn look(input: &Input, begun: Instant, remuxer: Remuxer<'_>) -> Result<Decoded, ClipError> {
    let limits = Limits {
        time: remuxer.limits.time.saturating_sub(begun.elapsed()),
        ..remuxer.limits
    };
    let folder = remuxer.scratch.path();
    remuxer.ffmpeg.look(folder, input, limits).await
}

/// When the pictures are shown, on the timeline of the media.
fn shown_seconds(movie: &Movie) -> Result<Vec<f64>, ClipError> {
    let shown = movie.shown_frames()?;
    Ok(shown.iter().map(|frame| frame.media_seconds).collect())
}
