//! The progress of a cut: first reading, then encoding. Shown only on a terminal.

use crate::render;
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// How often the bar is redrawn.
const INTERVAL: Duration = Duration::from_millis(100);
const READING: &str =
    "reading {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}";
const ENCODING: &str = "encoding {wide_bar} {percent}% {eta}";

/// Counters that the work adds to, and a bar that shows them.
#[derive(Debug)]
pub struct Progress {
    /// Bytes read from the source.
    pub read_bytes: Arc<AtomicU64>,
    /// The encoder's position, in microseconds of the clip.
    pub encoded_microseconds: Arc<AtomicU64>,
    total_bytes: AtomicU64,
    total_microseconds: AtomicU64,
    bar: ProgressBar,
}

impl Progress {
    /// Shows that work is in progress.
    pub fn new() -> Self {
        let bar = render::spinner();
        bar.set_message("opening the source");
        Self {
            read_bytes: Arc::default(),
            encoded_microseconds: Arc::default(),
            total_bytes: AtomicU64::new(0),
            total_microseconds: AtomicU64::new(0),
            bar,
        }
    }

    /// Sets how many bytes remain to be read, and how long the clip will be.
    pub fn plan(&self, bytes: u64, seconds: f64) {
        let length = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.total_bytes.store(self.read_bytes() + bytes, Relaxed);
        self.total_microseconds.store(
            u64::try_from(length.as_micros()).unwrap_or(u64::MAX),
            Relaxed,
        );
        self.bar.set_style(style(READING));
    }

    /// Bytes read from the source.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Relaxed)
    }

    /// Keeps the bar up to date.
    pub async fn show(&self) -> Infallible {
        let mut interval = tokio::time::interval(INTERVAL);
        let mut is_encoding = false;
        loop {
            interval.tick().await;
            let encoded = self.encoded_microseconds.load(Relaxed);
            if encoded > 0 && !is_encoding {
                is_encoding = true;
                self.bar.set_style(style(ENCODING));
                self.bar.reset_eta();
            }
            let (position, total) = if is_encoding {
                (encoded, &self.total_microseconds)
            } else {
                (self.read_bytes(), &self.total_bytes)
            };
            self.bar.set_length(total.load(Relaxed).max(position));
            self.bar.set_position(position);
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is valid")
}
