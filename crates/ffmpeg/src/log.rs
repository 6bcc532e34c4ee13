//! How much is kept of what a program logs.

/// How many lines of what it says are kept, and how many characters of each.
pub(crate) const MAX_LINES: usize = 5;
pub(crate) const MAX_LINE: usize = 300;
