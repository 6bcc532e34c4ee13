//! Hostile files and requests, and how they end.
//!
//! [`cases`] makes the files: those of [`references`], [`bombs`], [`indexes`], [`absurd`] and [`codecs`] are always the
//! same, and [`mutations`] changes good files of every kind at random, from a seed. [`requests`] makes the requests.
//! [`judge`] runs each file through the functions' own handlers, in a separate [`worker`] process, and reports a panic,
//! a hang, a failure, too much memory, or anything that reaches a [`canary`].

pub mod absurd;
pub mod bombs;
pub mod boxes;
pub mod canary;
pub mod codecs;
pub mod indexes;
pub mod judge;
pub mod media;
pub mod mutations;
pub mod references;
pub mod requests;
mod store;
pub mod worker;

use canary::Bait;
use media::Media;
use serde_json::{Value, json};

/// A file, and the request that names it.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is, such as `bombs/80 million samples`.
    pub name: String,
    pub file: Vec<u8>,
    /// The key of its object.
    pub key: String,
    /// Where the clip starts and ends, as in a request.
    pub interval: [Value; 2],
}

impl Case {
    /// A file of a kind, whose middle is cut.
    #[must_use]
    pub fn new(kind: &str, what: impl AsRef<str>, file: impl Into<Vec<u8>>) -> Self {
        Self {
            name: format!("{kind}/{}", what.as_ref()),
            file: file.into(),
            key: "source.mp4".to_owned(),
            interval: [json!("20%"), json!("70%")],
        }
    }

    /// The same with another object key.
    #[must_use]
    pub fn named(self, key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ..self
        }
    }

    /// The same with another interval to cut.
    #[must_use]
    pub fn between(self, start: impl Into<Value>, end: impl Into<Value>) -> Self {
        Self {
            interval: [start.into(), end.into()],
            ..self
        }
    }
}

/// The files that are always the same, and `count` more from a seed.
#[must_use]
pub fn cases(media: &Media, bait: &Bait, seed: u64, count: usize) -> Vec<Case> {
    let mut cases = [
        references::cases(media, bait),
        bombs::cases(media),
        indexes::cases(media),
        absurd::cases(media),
        codecs::cases(media),
    ]
    .concat();
    cases.extend(mutations::cases(media, seed, count));
    cases
}

/// `count` of the files that are always the same: equally many of each kind, spread over it.
#[must_use]
pub fn worst(media: &Media, bait: &Bait, count: usize) -> Vec<Case> {
    let kinds = [
        bombs::cases(media),
        codecs::cases(media),
        indexes::cases(media),
        absurd::cases(media),
        references::cases(media, bait),
    ];
    let each = count / kinds.len();
    let of_kind = |kind: &Vec<Case>| {
        let places = (0..each).map(|index| index * kind.len() / each);
        places.map(|place| kind[place].clone()).collect::<Vec<_>>()
    };
    kinds.iter().flat_map(of_kind).collect()
}
