//! A report: where it was published, what was seen, and how to reproduce it.

use crate::{
    common::ffmpeg::Folder,
    measure::{Expected, Interval, Played},
};
use model::request::Format;
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// Builds a source.
pub type Build = fn(&Folder) -> PathBuf;
/// Checks a special property of a clip. Returns what is wrong with it.
pub type Check = fn(&Path) -> Vec<String>;

/// How `FFmpeg` is used to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `ffmpeg -ss A -to B -i … -c copy`
    Usual,
    /// `ffmpeg -i … -ss A -to B -c copy`
    SeeksOutput,
    /// The usual command for each cut, and their concatenation.
    Concatenates,
}

impl Command {
    /// How the page mentions it, if it is not the usual one.
    pub fn said(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::SeeksOutput => "`-i … -ss A -to B`: ",
            Self::Concatenates => "with `-f concat`: ",
        }
    }
}

/// A cut of a source, and the numbers of the pictures that it has to show.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Index of the source.
    pub source: usize,
    pub start: f64,
    pub end: f64,
    pub shows: Range<usize>,
}

/// A report.
pub struct Report {
    /// The test's name: a fact about clipflow's clip.
    pub name: &'static str,
    /// Where it was published.
    pub url: &'static str,
    /// What people saw, in our words.
    pub said: &'static str,
    sources: Vec<Build>,
    pub segments: Vec<Segment>,
    /// When the cut begins, in seconds of the source, if that is within its first picture.
    begins: Option<f64>,
    pub format: Format,
    pub command: Command,
    pub checks: Vec<Check>,
}

impl Report {
    /// A report about a source that is cut exactly, to H.264.
    pub fn new(name: &'static str, url: &'static str, said: &'static str, source: Build) -> Self {
        Self {
            name,
            url,
            said,
            sources: vec![source],
            segments: Vec::new(),
            begins: None,
            format: Format::Mp4,
            command: Command::Usual,
            checks: Vec::new(),
        }
    }

    /// One more source.
    pub fn and(mut self, source: Build) -> Self {
        self.sources.push(source);
        self
    }

    /// Cuts an interval from the first source; it has to show these of the source's pictures.
    pub fn cut(self, start: f64, end: f64, shows: Range<usize>) -> Self {
        self.cut_of(0, start, end, shows)
    }

    /// As [`cut`](Self::cut), from any source.
    pub fn cut_of(mut self, source: usize, start: f64, end: f64, shows: Range<usize>) -> Self {
        let segment = Segment {
            source,
            start,
            end,
            shows,
        };
        self.segments.push(segment);
        if self.segments.len() > 1 {
            self.command = Command::Concatenates;
        }
        self
    }

    /// Makes the cut begin while its first picture is shown.
    pub fn begins_at(mut self, seconds: f64) -> Self {
        self.begins = Some(seconds);
        self
    }

    /// Keeps the source's codec.
    pub fn in_its_codec(mut self) -> Self {
        self.format = Format::Source;
        self
    }

    /// Compares with `FFmpeg`'s other way to seek.
    pub fn seeks_output(mut self) -> Self {
        self.command = Command::SeeksOutput;
        self
    }

    /// Adds a check besides what is seen and heard.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Its name on the page, with the link.
    pub fn title(&self) -> String {
        let mut parts = self.url.rsplit('/');
        let number = parts.next().unwrap_or_default();
        let (project, owner) = (parts.nth(1).unwrap_or_default(), parts.next());
        match (owner, project) {
            (_, "trac.ffmpeg.org") => format!("[FFmpeg {number}]({})", self.url),
            (owner, project) => {
                let owner = owner.unwrap_or_default();
                format!("[{owner}/{project} {number}]({})", self.url)
            }
        }
    }

    /// Builds the sources.
    pub fn build(&self, folder: &Folder) -> Vec<PathBuf> {
        self.sources.iter().map(|build| build(folder)).collect()
    }

    /// What a clip has to show.
    pub fn expected(&self, sources: &[PathBuf]) -> Expected {
        let played = sources.iter().map(|source| Played::source(source));
        let intervals = self.segments.iter().map(|segment| Interval {
            source: segment.source,
            shows: segment.shows.clone(),
            begins: self.begins,
        });
        Expected::of(played.collect(), intervals.collect())
    }
}
