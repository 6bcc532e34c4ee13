//! AMR in samples of several frames, as in some 3GP files.
//!
//! `FFmpeg` 9 drops a whole sample if part of it is hidden. So each frame becomes its own sample, if the tables reveal
//! the frame lengths: if all samples have the same number of frames, all of one mode.

use crate::{
    boxes::{
        parse::{Child, children, find, require},
        table::{Run, Runs, Table},
    },
    error::Result,
    read::defragment::{full_box, table},
};
use bytes::{Buf, Bytes};

/// How long a frame is, in milliseconds.
const FRAME_MILLISECONDS: u32 = 20;
/// Length of speech frames by mode, in bytes, including the header byte (RFC 4867, 5.3; 3GPP TS 26.101).
const NARROW_BAND: [u32; 8] = [13, 14, 16, 18, 20, 21, 27, 32];
/// The same for wide band (3GPP TS 26.201).
const WIDE_BAND: [u32; 9] = [18, 24, 33, 37, 41, 47, 51, 59, 61];

/// The body of a track's `stbl` box with one sample per frame; `None` if it stays unchanged.
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged) if a table is.
pub(super) fn in_single_frames(stbl: &Bytes, codec: &str, timescale: u32) -> Result<Option<Bytes>> {
    let modes: &[u32] = match codec {
        "amr_nb" => &NARROW_BAND,
        "amr_wb" => &WIDE_BAND,
        _ => return Ok(None),
    };
    let timing = Runs::of_box(&require(stbl, *b"stts")?)?;
    let frame = timescale / (1000 / FRAME_MILLISECONDS);
    let (Some((bytes, count)), Some(duration)) = (fixed_size(stbl)?, fixed_duration(&timing))
    else {
        return Ok(None);
    };
    let frames = duration.checked_div(frame).unwrap_or(0);
    let is_even = frames > 1 && frames * frame == duration && bytes.is_multiple_of(frames);
    let all = count.checked_mul(frames);
    match all.filter(|_| is_even && modes.contains(&(bytes / frames))) {
        Some(all) => split(stbl, frames, [all, frame, bytes / frames]).map(Some),
        None => Ok(None),
    }
}

/// The common length of all samples, in bytes, and their number.
fn fixed_size(stbl: &Bytes) -> Result<Option<(u32, u32)>> {
    let Some(Child { mut body, .. }) = find(stbl, *b"stsz")?.filter(|stsz| stsz.body.len() >= 12)
    else {
        return Ok(None);
    };
    body.advance(4);
    let (bytes, count) = (body.get_u32(), body.get_u32());
    if bytes > 0 {
        return Ok(Some((bytes, count)));
    }
    let sizes = Table::<4>::new(body, count);
    let first = sizes.as_ref().and_then(|sizes| sizes.all().next());
    let is_fixed = sizes.is_some_and(|sizes| sizes.all().all(|bytes| Some(bytes) == first));
    Ok(first.filter(|_| is_fixed).map(|bytes| (bytes, count)))
}

/// The common duration of all samples.
fn fixed_duration(timing: &Runs) -> Option<u32> {
    let first = timing.runs().next()?.value;
    timing.runs().all(|run| run.value == first).then_some(first)
}

/// The tables with each sample split into `frames`. The array has the number of samples, and the duration and bytes of
/// each.
fn split(stbl: &Bytes, frames: u32, [count, duration, bytes]: [u32; 3]) -> Result<Bytes> {
    let mut body = Vec::new();
    for child in children(stbl.clone()) {
        let child = child?;
        match &child.kind {
            b"stts" => {
                let run = Run {
                    count,
                    value: duration,
                };
                body.extend(full_box(*b"stts", 0, &table(1, run.entry().into_iter())));
            }
            b"stsz" => {
                let fields = [bytes, count].map(u32::to_be_bytes);
                body.extend(full_box(*b"stsz", 0, fields.as_flattened()));
            }
            b"stsc" => {
                let chunks = Table::<12>::of_box(&child)?;
                let fields = chunks.entries().iter().flat_map(|entry| {
                    let (fields, _) = entry.as_chunks::<4>();
                    let [first, samples, description] =
                        [fields[0], fields[1], fields[2]].map(u32::from_be_bytes);
                    [first, samples.saturating_mul(frames), description]
                });
                let chunks = u32::try_from(chunks.entries().len()).unwrap_or(u32::MAX);
                body.extend(full_box(*b"stsc", 0, &table(chunks, fields)));
            }
            b"stsd" => body.extend(with_single_frames(&child.whole)),
            b"sbgp" => {}
            _ => body.extend_from_slice(&child.whole),
        }
    }
    Ok(body.into())
}

/// An `stsd` box whose `damr` box says that each sample has one frame (3GPP TS 26.244, 6.7).
fn with_single_frames(stsd: &[u8]) -> Vec<u8> {
    /// Its offset after the box type: vendor, version, modes and how often they change come first.
    const FRAMES_PER_SAMPLE: usize = 4 + 4 + 1 + 2 + 1;
    let mut stsd = stsd.to_vec();
    let damr = stsd.windows(4).rposition(|name| name == b"damr");
    if let Some(frames) = damr.and_then(|at| stsd.get_mut(at + FRAMES_PER_SAMPLE)) {
        *frames = 1;
    }
    stsd
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::samples::SampleTable;

    /// The tables of three samples of `bytes` each, which last `duration`, in two chunks.
    fn tables(bytes: u32, duration: u32) -> Bytes {
        let sizes = [bytes, 3].map(u32::to_be_bytes);
        let stsd = [&[0; 40][..], b"damr", b"vend\0\0\x80\0\x0a"].concat();
        let boxes = [
            full_box(*b"stsd", 0, &stsd),
            full_box(*b"stts", 0, &table(1, [3, duration].into_iter())),
            full_box(*b"stsz", 0, sizes.as_flattened()),
            full_box(*b"stsc", 0, &table(2, [1, 2, 1, 2, 1, 1].into_iter())),
            full_box(*b"stco", 0, &table(2, [100, 1000].into_iter())),
        ];
        boxes.concat().into()
    }

    #[test]
    fn each_frame_of_amr_becomes_a_sample() {
        let split = in_single_frames(&tables(320, 1600), "amr_nb", 8000);
        let split = split.expect("tables").expect("ten frames per sample");
        let samples = SampleTable::read(&split, None, 10_000).expect("tables");
        assert_eq!((samples.count, samples.duration), (30, 4800));
        let runs: Vec<_> = samples
            .chunk_runs(19..22)
            .map(|run| (run.offset, run.bytes))
            .collect();
        assert_eq!(runs, [(100 + 19 * 32, 32), (1000, 64)]);
        let damr = split.windows(4).position(|name| name == b"damr");
        assert_eq!(split[damr.expect("a box") + 12], 1);
    }

    #[test]
    fn samples_stay_whose_frames_cannot_be_told_apart() {
        for (bytes, duration, codec) in [
            (32, 160, "amr_nb"),
            (321, 1600, "amr_nb"),
            (330, 1600, "amr_nb"),
            (320, 1601, "amr_nb"),
            (320, 1600, "aac"),
        ] {
            let split = in_single_frames(&tables(bytes, duration), codec, 8000);
            assert_eq!(split.expect("tables"), None, "{bytes} {duration} {codec}");
        }
    }
}
