//! An interval of a source as a file of its own: what is in it, and what is shown of it.

mod browser;
mod conformance;
mod containers;
mod edited;
mod ffmpeg;
mod footage;
mod joined;
mod joined_smart;
mod quicktime;
mod recordings;
mod smart;
mod synthetic;
mod tables;
