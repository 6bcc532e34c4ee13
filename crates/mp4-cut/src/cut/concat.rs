//! Several intervals, of one source or of several, one behind the other in one file, without encoding.

use crate::{
    Error, Result,
    boxes::{Child, children},
    cut::window::{Chosen, Window},
    io::RangeRead,
    mux::{Edit, Layout, OutputTrack, layout},
    read::movie::Movie,
    read::sample_entry::decoding,
    read::track::Track,
    time::rescale,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use std::ops::Deref;

/// Windows of sources of the same format, laid out as one MP4 whose edit lists show their intervals, one after the other.
#[derive(Debug, Clone)]
pub struct Join {
    /// Length of the file.
    pub bytes: u64,
    header: Bytes,
    windows: Vec<Window>,
}

impl Join {
    /// Joins intervals, each of a movie, from a second up to, not including, another.
    ///
    /// # Errors
    /// As [`Movie::window`], and `InvalidRequest` when formats differ, saying in what.
    pub fn of(cuts: &[(&Movie, f64, f64)]) -> Result<Self> {
        let chosen: Result<Vec<_>, _> = cuts
            .iter()
            .map(|(movie, start, end)| movie.choose(&movie.snap(*start, *end)?))
            .collect();
        let mut chosen = chosen?;
        for chosen in &mut chosen {
            let kept = 1 + usize::from(chosen.facts.has_audio);
            chosen.tracks.truncate(kept);
        }
        let [(first, ..), ..] = cuts else {
            return Err(Error::internal("there is nothing to join"));
        };
        for (index, part) in chosen.iter().enumerate().skip(1) {
            if let Some(difference) = differences(&chosen[0], part)? {
                return Err(Error::Unlike { index, difference });
            }
        }
        let timescale = chosen[0].timescale;
        let mut parts: Vec<Vec<OutputTrack>> = chosen
            .iter_mut()
            .map(|chosen| std::mem::take(&mut chosen.tracks))
            .collect();
        align(&mut parts, timescale);
        align_composition_offsets(&mut parts, timescale);
        let Layout {
            header,
            copies,
            bytes,
        } = layout(first, timescale, &parts)?;
        let windows = chosen
            .into_iter()
            .zip(copies)
            .map(|(chosen, copies)| Window::part(chosen.facts, copies));
        Ok(Self {
            bytes,
            header,
            windows: windows.collect(),
        })
    }

    /// The file's bytes in order, read from the `sources` (references or `Arc`s) of the intervals, in their order, with
    /// `connections` requests in flight.
    ///
    /// # Errors
    /// The stream ends with whatever a source raises.
    pub fn stream<S>(
        &self,
        sources: Vec<S>,
        connections: usize,
    ) -> impl Stream<Item = Result<Bytes>> + Send + use<S>
    where
        S: Deref<Target: RangeRead + Sized> + Clone + Send + Sync,
    {
        let windows = self.windows.clone().into_iter().zip(sources);
        let samples = stream::iter(windows)
            .flat_map(move |(window, source)| window.samples(source, connections));
        stream::iter([Ok(self.header.clone())]).chain(samples)
    }
}

/// In what the formats of two parts differ.
fn differences(one: &Chosen, other: &Chosen) -> Result<Option<String>> {
    if one.tracks.len() != other.tracks.len() {
        let which = if one.tracks.len() > other.tracks.len() {
            "it has no sound"
        } else {
            "only it has sound"
        };
        return Ok(Some(which.to_owned()));
    }
    for (is_sound, (one, other)) in [false, true]
        .into_iter()
        .zip(one.tracks.iter().zip(&other.tracks))
    {
        if let Some(difference) = difference(one.source, other.source, is_sound)? {
            return Ok(Some(difference));
        }
    }
    Ok(None)
}

/// In what the formats of two tracks differ.
pub(crate) fn difference(one: &Track, other: &Track, is_sound: bool) -> Result<Option<String>> {
    let what = if is_sound { "sound" } else { "pictures" };
    let shape = |track: &Track| {
        (
            track.tkhd.width,
            track.tkhd.height,
            track.tkhd.matrix.clone(),
        )
    };
    if descriptions(one, is_sound)? != descriptions(other, is_sound)? {
        return Ok(Some(format!("its {what} are coded differently")));
    }
    if shape(one) != shape(other) {
        return Ok(Some(format!(
            "its {what} are shown in another size or turned"
        )));
    }
    if one.edit_segment.timescale != other.edit_segment.timescale {
        let units = [other, one].map(|track| track.edit_segment.timescale);
        return Ok(Some(format!(
            "its {what} are timed in units of 1/{} s, not 1/{} s",
            units[0], units[1]
        )));
    }
    Ok(None)
}

fn descriptions(track: &Track, is_sound: bool) -> Result<Vec<Vec<u8>>> {
    let stsd = &track.samples.descriptions;
    // The box's header, version, flags and number of entries.
    let entries = stsd
        .get(16..)
        .map(|entries| stsd.slice_ref(entries))
        .unwrap_or_default();
    children(entries)
        .map(|entry: Result<Child>| decoding(&entry?, is_sound))
        .collect()
}

/// Makes all tracks of a part as long as its pictures, so that every part begins at the same time on every track: as the
/// edit lists show them, and in the media itself, for players that ignore edit lists.
fn align(parts: &mut [Vec<OutputTrack>], movie_timescale: u32) {
    for number in 0..parts.len() {
        let shown = parts[number]
            .first()
            .map_or(0, |pictures| pictures.edit.duration);
        for track in 1..parts[number].len() {
            // FFmpeg understands empty edits only in front of all others: what is before goes on for longer instead.
            let gap = if number == 0 {
                0
            } else {
                std::mem::take(&mut parts[number][track].edit.empty)
            };
            let edit = &mut parts[number][track].edit;
            edit.duration = shown.saturating_sub(gap + edit.empty);
            if gap > 0 {
                parts[number - 1][track].edit.duration += gap;
            }
        }
    }
    for part in parts {
        for track in part.iter_mut() {
            let timescale = track.source.edit_segment.timescale;
            let end =
                track.edit.media_time + ticks(track.edit.duration, movie_timescale, timescale);
            track.samples.extend_to(end.cast_signed());
        }
        let seconds = |track: &OutputTrack| {
            let timescale = track.source.edit_segment.timescale;
            ticks(track.samples.duration(), timescale, movie_timescale)
        };
        let longest = part.iter().map(seconds).max().unwrap_or(0);
        for track in part {
            let timescale = track.source.edit_segment.timescale;
            track
                .samples
                .extend_to(ticks(longest, movie_timescale, timescale).cast_signed());
        }
    }
}

/// Gives the pictures of all parts the same time between decoding the first that is shown and the start of the edit.
/// `FFmpeg` times an edit by that picture and corrects it by what it found in the first edit, whatever this one has.
fn align_composition_offsets(parts: &mut [Vec<OutputTrack>], movie_timescale: u32) {
    let delay = |part: &Vec<OutputTrack>| {
        let pictures = part.first()?;
        let Edit {
            media_time,
            duration,
            ..
        } = pictures.edit;
        let start = media_time.cast_signed();
        let length = ticks(
            duration,
            movie_timescale,
            pictures.source.edit_segment.timescale,
        )
        .cast_signed();
        Some(
            start
                - pictures
                    .samples
                    .first_decode_time(&(start..start + length))?,
        )
    };
    let delays: Vec<_> = parts.iter().map(|part| delay(part).unwrap_or(0)).collect();
    let most = delays.iter().copied().max().unwrap_or(0);
    for (part, delay) in parts.iter_mut().zip(delays) {
        let missing = u32::try_from(most - delay).unwrap_or(0);
        if let Some(pictures) = part.first_mut().filter(|_| missing > 0) {
            pictures.samples.delay(missing);
            pictures.edit.media_time += u64::from(missing);
        }
    }
}

fn ticks(value: u64, from: u32, to: u32) -> u64 {
    rescale(value.cast_signed(), from, to)
        .max(0)
        .cast_unsigned()
}
