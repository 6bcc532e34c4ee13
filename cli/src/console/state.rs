//! What all pages share.

use super::{guard::Guard, html::Frame};
use crate::deployment::Deployment;
use std::sync::{Arc, Mutex, MutexGuard};

/// A console that is served.
#[derive(Debug)]
pub struct Console {
    pub deployment: Deployment,
    pub guard: Guard,
    pub frame: Frame,
    pub bulk: Mutex<Bulk>,
}

pub type Shared = Arc<Console>;

/// A bulk rerun that was begun last.
#[derive(Debug, Default)]
pub struct Bulk {
    pub total: usize,
    /// What became of each so far.
    pub told: Vec<String>,
    pub has_ended: bool,
}

impl Console {
    /// The bulk rerun that was begun last, while nobody else looks at it.
    pub fn bulk(&self) -> MutexGuard<'_, Bulk> {
        self.bulk.lock().expect("nothing panics meanwhile")
    }
}
