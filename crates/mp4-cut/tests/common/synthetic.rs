//! Sources with real tables but synthetic samples: bytes that identify the sample.

use mp4_atom::{
    Ac3, Ac3SpecificBox, Atom, Audio, Co64, Codec, Ctts, CttsEntry, Dinf, Dref, DrefEntry, Edts,
    Elst, ElstEntry, Encode, FixedPoint, FourCC, Ftyp, Hdlr, Jpeg, Mdhd, Mdia, Minf, Moov, Mvhd,
    Smhd, Stbl, Stco, Stsc, StscEntry, Stsd, Stss, Stsz, StszSamples, Stts, SttsEntry, Tkhd, Trak,
    Url, Visual, Vmhd,
};

/// Units per second of the movie's own times.
pub const MOVIE_TIMESCALE: u32 = 1000;

/// A source to write.
#[derive(Debug, Clone)]
pub struct Shape {
    pub tracks: Vec<Track>,
    /// Bytes between chunks that belong to no track.
    pub gap: u32,
    pub wide_offsets: bool,
}

#[derive(Debug, Clone)]
pub struct Track {
    pub is_video: bool,
    pub timescale: u32,
    /// In decode order.
    pub samples: Vec<Sample>,
    pub samples_per_chunk: u32,
    pub edit: Option<Edit>,
}

#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub bytes: u32,
    pub duration: u32,
    /// From decode time to display time.
    pub offset: i32,
    pub sync: bool,
}

/// An edit that extends to the end of the media.
#[derive(Debug, Clone, Copy)]
pub struct Edit {
    /// The length of the initial gap, in units of [`MOVIE_TIMESCALE`].
    pub empty: u64,
    /// The media time that is shown after the gap, in the track's timescale.
    pub media_time: u64,
}

/// What a sample is filled with.
pub fn fill(track: usize, sample: usize, bytes: u32) -> impl Iterator<Item = u8> {
    let number = u32::try_from(track << 24 | sample)
        .expect("few samples")
        .to_be_bytes();
    number.into_iter().cycle().take(bytes as usize)
}

impl Shape {
    /// Everything before the samples, including the index, and the length of the samples.
    pub fn head(&self) -> (Vec<u8>, u64) {
        let mut head = Vec::new();
        let mut chunks = self.chunks(0);
        for _ in 0..2 {
            head.clear();
            self.ftyp().encode(&mut head).expect("a box");
            self.moov(&chunks).encode(&mut head).expect("a box");
            let media = chunks
                .iter()
                .map(|chunk| chunk.bytes + u64::from(self.gap))
                .sum::<u64>();
            head.extend((u32::try_from(media + 8).unwrap_or(0)).to_be_bytes());
            head.extend(b"mdat");
            chunks = self.chunks(head.len() as u64);
        }
        let media = chunks
            .iter()
            .map(|chunk| chunk.bytes + u64::from(self.gap))
            .sum();
        (head, media)
    }

    /// The whole file.
    pub fn file(&self) -> Vec<u8> {
        let (mut file, _) = self.head();
        for chunk in self.chunks(0) {
            for sample in chunk.samples {
                file.extend(fill(
                    chunk.track,
                    sample,
                    self.tracks[chunk.track].samples[sample].bytes,
                ));
            }
            file.extend(std::iter::repeat_n(0xee, self.gap as usize));
        }
        file
    }

    /// The whole file with the index after the samples.
    pub fn file_with_index_last(&self) -> Vec<u8> {
        let (head, media) = self.head();
        let ftyp_bytes = u32::from_be_bytes(*head.first_chunk().expect("a box")) as usize;
        let moov_bytes = head.len() - ftyp_bytes - 8;
        let mut file = self.file();
        let samples = file.split_off(head.len());
        assert_eq!(samples.len() as u64, media);
        file.truncate(ftyp_bytes);
        file.extend(
            u32::try_from(media + 8)
                .expect("a small file")
                .to_be_bytes(),
        );
        file.extend(b"mdat");
        file.extend(samples);
        self.moov(&self.chunks(ftyp_bytes as u64 + 8))
            .encode(&mut file)
            .expect("a box");
        assert_eq!(
            file.len(),
            head.len() + usize::try_from(media).expect("a small file")
        );
        assert!(moov_bytes > 0);
        file
    }

    /// The tracks' chunks in turn, the first at `offset`.
    fn chunks(&self, mut offset: u64) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut next = vec![0; self.tracks.len()];
        while next
            .iter()
            .zip(&self.tracks)
            .any(|(next, track)| *next < track.samples.len())
        {
            for (number, track) in self.tracks.iter().enumerate() {
                let samples = next[number]
                    ..track
                        .samples
                        .len()
                        .min(next[number] + track.samples_per_chunk as usize);
                if samples.is_empty() {
                    continue;
                }
                next[number] = samples.end;
                let bytes = track.samples[samples.clone()]
                    .iter()
                    .map(|sample| u64::from(sample.bytes))
                    .sum();
                chunks.push(Chunk {
                    track: number,
                    samples,
                    offset,
                    bytes,
                });
                offset += bytes + u64::from(self.gap);
            }
        }
        chunks
    }

    fn ftyp(&self) -> Ftyp {
        let brand = FourCC::new(b"isom");
        Ftyp {
            major_brand: brand,
            minor_version: 0,
            compatible_brands: vec![brand; self.tracks.len()],
        }
    }

    fn moov(&self, chunks: &[Chunk]) -> Moov {
        let trak = self.tracks.iter().enumerate().map(|(number, track)| {
            let chunks: Vec<&Chunk> = chunks
                .iter()
                .filter(|chunk| chunk.track == number)
                .collect();
            track.trak(
                u32::try_from(number + 1).expect("few tracks"),
                &chunks,
                self.wide_offsets,
            )
        });
        Moov {
            mvhd: Mvhd {
                timescale: MOVIE_TIMESCALE,
                ..Mvhd::default()
            },
            trak: trak.collect(),
            meta: None,
            mvex: None,
            udta: None,
            ainf: None,
        }
    }
}

struct Chunk {
    track: usize,
    samples: std::ops::Range<usize>,
    offset: u64,
    bytes: u64,
}

impl Track {
    fn trak(&self, track_id: u32, chunks: &[&Chunk], wide_offsets: bool) -> Trak {
        let handler = FourCC::new(if self.is_video { b"vide" } else { b"soun" });
        Trak {
            tkhd: Tkhd {
                track_id,
                enabled: true,
                ..Tkhd::default()
            },
            edts: self.edit.map(|edit| Edts {
                elst: Some(edit.list()),
            }),
            meta: None,
            mdia: Mdia {
                mdhd: Mdhd {
                    timescale: self.timescale,
                    language: "und".into(),
                    ..Mdhd::default()
                },
                hdlr: Hdlr {
                    handler,
                    name: "a track".into(),
                },
                minf: Minf {
                    vmhd: self.is_video.then(Vmhd::default),
                    smhd: (!self.is_video).then(Smhd::default),
                    nmhd: None,
                    sthd: None,
                    hmhd: None,
                    dinf: Dinf {
                        dref: Dref {
                            entries: vec![DrefEntry::Url(Url {
                                location: String::new(),
                            })],
                        },
                    },
                    stbl: self.stbl(chunks, wide_offsets),
                },
            },
            senc: None,
            tref: None,
            udta: None,
        }
    }

    fn stbl(&self, chunks: &[&Chunk], wide_offsets: bool) -> Stbl {
        let samples = || self.samples.iter();
        let first_bytes = self.samples.first().map_or(0, |sample| sample.bytes);
        let same = samples().all(|sample| sample.bytes == first_bytes);
        let sizes = if same {
            StszSamples::Identical {
                count: u32::try_from(self.samples.len()).expect("few samples"),
                size: first_bytes,
            }
        } else {
            StszSamples::Different {
                sizes: samples().map(|sample| sample.bytes).collect(),
            }
        };
        let numbered = samples().zip(1..).filter(|(sample, _)| sample.sync);
        let offsets = || chunks.iter().map(|chunk| chunk.offset);
        Stbl {
            stsd: Stsd {
                codecs: vec![if self.is_video {
                    Codec::Jpeg(jpeg())
                } else {
                    Codec::Ac3(ac3(self.timescale))
                }],
            },
            stts: Stts {
                entries: samples()
                    .map(|sample| SttsEntry {
                        sample_count: 1,
                        sample_delta: sample.duration,
                    })
                    .collect(),
            },
            ctts: samples().any(|sample| sample.offset != 0).then(|| Ctts {
                entries: samples()
                    .map(|sample| CttsEntry {
                        sample_count: 1,
                        sample_offset: sample.offset.into(),
                    })
                    .collect(),
            }),
            stss: samples().any(|sample| !sample.sync).then(|| Stss {
                entries: numbered.map(|(_, number)| number).collect(),
            }),
            stsc: Stsc {
                entries: (1..)
                    .zip(chunks)
                    .map(|(first_chunk, chunk)| StscEntry {
                        first_chunk,
                        samples_per_chunk: u32::try_from(chunk.samples.len()).expect("few samples"),
                        sample_description_index: 1,
                    })
                    .collect(),
            },
            stsz: Stsz { samples: sizes },
            stco: (!wide_offsets).then(|| Stco {
                entries: offsets()
                    .map(|offset| u32::try_from(offset).expect("a small file"))
                    .collect(),
            }),
            co64: wide_offsets.then(|| Co64 {
                entries: offsets().collect(),
            }),
            sbgp: Vec::new(),
            sgpd: Vec::new(),
            subs: Vec::new(),
            saiz: Vec::new(),
            saio: Vec::new(),
            cslg: None,
        }
    }
}

fn jpeg() -> Jpeg {
    let visual = Visual {
        data_reference_index: 1,
        width: 320,
        height: 180,
        ..Visual::default()
    };
    Jpeg {
        visual,
        btrt: None,
        colr: None,
        pasp: None,
        fiel: None,
        spatial: None,
    }
}

fn ac3(sample_rate: u32) -> Ac3 {
    let sample_rate = FixedPoint::from(u16::try_from(sample_rate).expect("a usual rate"));
    let dac3 = Ac3SpecificBox {
        fscod: 0,
        bsid: 8,
        bsmod: 0,
        acmod: 2,
        lfeon: false,
        bit_rate_code: 0,
    };
    Ac3 {
        audio: Audio {
            data_reference_index: 1,
            channel_count: 2,
            sample_size: 16,
            sample_rate,
        },
        dac3,
    }
}

impl Edit {
    fn list(self) -> Elst {
        let media_rate = FixedPoint::from(1);
        let empty = ElstEntry {
            segment_duration: self.empty,
            media_time: None,
            media_rate,
        };
        let shown = ElstEntry {
            segment_duration: 0,
            media_time: Some(self.media_time),
            media_rate,
        };
        Elst {
            entries: if self.empty > 0 {
                vec![empty, shown]
            } else {
                vec![shown]
            },
        }
    }
}

/// The index of a file, as the library reads it.
pub fn decode_index(file: &[u8]) -> Moov {
    let mut rest = file;
    loop {
        let bytes = u32::from_be_bytes(*rest.first_chunk().expect("a box")) as usize;
        if rest[4..8] == *Moov::KIND.as_ref() {
            return Moov::decode_body(&mut &rest[8..bytes]).expect("an index");
        }
        rest = &rest[bytes..];
    }
}
