//! The state shared by all pages.

use super::{guard::Guard, html::Frame};
use crate::deployment::Deployment;
use std::sync::{Arc, Mutex, MutexGuard};

/// A running console.
#[derive(Debug)]
pub struct Console {
    pub deployment: Deployment,
    pub guard: Guard,
    pub frame: Frame,
    pub bulk: Mutex<Bulk>,
}

pub type Shared = Arc<Console>;

/// The bulk rerun begun last.
#[derive(Debug, Default)]
pub struct Bulk {
    pub total: usize,
    /// The results so far.
    pub told: Vec<String>,
    pub has_ended: bool,
}

impl Console {
    /// Locks the bulk rerun begun last.
    pub fn bulk(&self) -> MutexGuard<'_, Bulk> {
        self.bulk.lock().expect("nothing panics meanwhile")
    }
}
