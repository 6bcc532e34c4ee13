//! NAL units with shorter length fields than encoders write.

use super::synthetic::decode_index;
use mp4_atom::{Codec, Encode, Stsc, StscEntry, StszSamples, Trak};

/// Rewrites an MP4, sample by sample, with NAL unit lengths of this many bytes: 1, 2 or 4.
pub fn with_lengths(file: &[u8], bytes: u8) -> Vec<u8> {
    let ftyp_bytes = super::boxes::size(file, 0);
    let mut index = decode_index(file);
    let (mut media, start) = (Vec::new(), ftyp_bytes + 8);
    let mut places = Vec::new();
    for (number, trak) in index.trak.iter_mut().enumerate() {
        let has_units = set_length_size(trak, bytes);
        let samples = samples(trak).into_iter();
        places.extend(samples.map(|(at, size)| (at, size, number, has_units)));
    }
    // Keep the interleaving.
    places.sort_unstable();
    let mut tables = vec![(Vec::new(), Vec::new()); index.trak.len()];
    for (at, size, number, has_units) in places {
        let (sample, before) = (&file[at..at + size], media.len());
        if has_units {
            append(&mut media, sample, bytes.into());
        } else {
            media.extend_from_slice(sample);
        }
        let (sizes, offsets) = &mut tables[number];
        offsets.push(u32::try_from(start + before).expect("a short file"));
        sizes.push(u32::try_from(media.len() - before).expect("a short sample"));
    }
    for (trak, (sizes, offsets)) in index.trak.iter_mut().zip(tables) {
        let stbl = &mut trak.mdia.minf.stbl;
        stbl.stsz.samples = StszSamples::Different { sizes };
        stbl.stsc = Stsc {
            entries: vec![StscEntry {
                first_chunk: 1,
                samples_per_chunk: 1,
                sample_description_index: 1,
            }],
        };
        stbl.stco.as_mut().expect("short offsets").entries = offsets;
    }
    let mut whole = file[..ftyp_bytes].to_vec();
    whole.extend(super::boxes::boxed(*b"mdat", &media));
    index.encode(&mut whole).expect("an index");
    whole
}

/// Where the samples of a track are, and how long they are.
fn samples(trak: &Trak) -> Vec<(usize, usize)> {
    let stbl = &trak.mdia.minf.stbl;
    let sizes: Vec<u32> = match &stbl.stsz.samples {
        StszSamples::Identical { count, size } => vec![*size; *count as usize],
        StszSamples::Different { sizes } => sizes.clone(),
    };
    let chunks = &stbl.stco.as_ref().expect("short offsets").entries;
    let mut sizes = sizes.into_iter();
    let mut samples = Vec::new();
    for (number, chunk) in (1..).zip(chunks) {
        let entries = stbl.stsc.entries.iter();
        let entry = entries.rev().find(|entry| entry.first_chunk <= number);
        let mut at = *chunk as usize;
        for size in sizes
            .by_ref()
            .take(entry.expect("a chunk").samples_per_chunk as usize)
        {
            samples.push((at, size as usize));
            at += size as usize;
        }
    }
    samples
}

/// Sets the length size in the sample description of a track. Returns whether it has NAL units.
fn set_length_size(trak: &mut Trak, bytes: u8) -> bool {
    match &mut trak.mdia.minf.stbl.stsd.codecs[0] {
        Codec::Avc1(avc1) => avc1.avcc.length_size = bytes,
        Codec::Hvc1(hvc1) => hvc1.hvcc.length_size_minus_one = bytes - 1,
        _ => return false,
    }
    true
}

fn append(media: &mut Vec<u8>, mut sample: &[u8], bytes: usize) {
    while let Some((length, rest)) = sample.split_first_chunk::<4>() {
        let unit = &rest[..u32::from_be_bytes(*length) as usize];
        assert!(
            length[..4 - bytes].iter().all(|byte| *byte == 0),
            "{} bytes",
            unit.len()
        );
        media.extend_from_slice(&length[4 - bytes..]);
        media.extend_from_slice(unit);
        sample = &rest[unit.len()..];
    }
}
