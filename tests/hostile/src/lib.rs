//! Files and requests that mean harm, and what becomes of them.
//!
//! [`cases`] makes the files: what stands in [`references`], [`bombs`], [`indexes`], [`absurd`] and [`codecs`] is the same
//! each time, and [`mutations`] changes good files of every kind at random, by a seed. [`requests`] makes the requests.
//! [`judge`] runs each file through the functions' own handlers, in a [`worker`] process of its own, and finds fault with a
//! panic, a hang, a failure, too much memory, and whatever reaches a [`canary`].

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
    /// The name of its object.
    pub key: String,
    /// Where the clip starts and ends, as a request says it.
    pub interval: [Value; 2],
}

impl Case {
    /// A file of a kind, of which the middle is cut.
    #[must_use]
    pub fn new(kind: &str, what: impl AsRef<str>, file: impl Into<Vec<u8>>) -> Self {
        Self {
            name: format!("{kind}/{}", what.as_ref()),
            file: file.into(),
            key: "source.mp4".to_owned(),
            interval: [json!("20%"), json!("70%")],
        }
    }

    /// The same under another name of the object.
    #[must_use]
    pub fn named(self, key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ..self
        }
    }

    /// The same, of which another interval is cut.
    #[must_use]
    pub fn between(self, start: impl Into<Value>, end: impl Into<Value>) -> Self {
        Self {
            interval: [start.into(), end.into()],
            ..self
        }
    }
}

/// The files that are always the same, and `count` more by a seed.
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

/// As many files as are asked for of those that are always the same: as many of each kind, from all over it.
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
