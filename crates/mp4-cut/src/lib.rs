//! Cut an MP4 or MOV by byte ranges, without decoding it.
//!
//! [`Movie::read`] reads a source's index by byte range, [`Movie::window`] chooses the samples that an interval needs, and
//! [`Window::stream`] fetches their bytes and yields a self-contained MP4 whose edit lists show exactly the interval. A
//! clip costs its own bytes, however long the source is.
//!
//! # A local file
//!
//! ```
//! # use mp4_cut::{Movie, Result, io::LocalFile};
//! # use futures_util::TryStreamExt;
//! # async fn cut(source: &str, clip: &str) -> Result<()> {
//! use std::io::Write;
//!
//! let source = LocalFile::open(source)?;
//! let movie = Movie::read(&source).await?;
//! let window = movie.window(12.5, 20.0)?;
//! let mut clip = std::fs::File::create(clip)?;
//! let mut parts = std::pin::pin!(window.stream(&source, 4));
//! while let Some(part) = parts.try_next().await? {
//!     clip.write_all(&part)?;
//! }
//! # Ok(())
//! # }
//! # let folder = std::env::temp_dir().join(format!("mp4-cut-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let [source, clip] = ["source.mp4", "clip.mp4"].map(|name| folder.join(name).display().to_string());
//! # std::fs::write(&source, include_bytes!("../tests/data/colour-bars.mp4"))?;
//! # futures_executor::block_on(cut(&source, &clip))?;
//! # let clip = futures_executor::block_on(Movie::read(&LocalFile::open(&clip)?))?;
//! # assert_eq!(clip.facts.duration_seconds, 7.5);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<_, mp4_cut::Error>(())
//! ```
//!
//! # A source that is read by ranges
//!
//! Anything that can read a range of its bytes is a source, such as a client of an HTTP server that understands `Range`:
//!
//! ```
//! use bytes::Bytes;
//! use mp4_cut::{Error, Movie, Result, io::RangeRead};
//! use std::ops::Range;
//!
//! struct Object<C> {
//!     client: C,
//!     bytes: u64,
//! }
//!
//! impl<C: Client> RangeRead for Object<C> {
//!     fn len(&self) -> u64 {
//!         self.bytes
//!     }
//!
//!     async fn read(&self, range: Range<u64>) -> Result<Bytes> {
//!         let header = format!("bytes={}-{}", range.start, range.end - 1);
//!         self.client.get(&header).await.map_err(Error::read)
//!     }
//! }
//! # trait Client: Send + Sync {
//! #     fn get(&self, range: &str) -> impl Future<Output = std::io::Result<Bytes>> + Send;
//! # }
//! # struct Memory(&'static [u8]);
//! # impl Client for Memory {
//! #     async fn get(&self, range: &str) -> std::io::Result<Bytes> {
//! #         let (first, last) = range["bytes=".len()..].split_once('-').expect("a range");
//! #         let [first, last]: [usize; 2] = [first, last].map(|at| at.parse().expect("an offset"));
//! #         Ok(Bytes::from_static(&self.0[first..=last]))
//! #     }
//! # }
//! # const FILE: &[u8] = include_bytes!("../tests/data/colour-bars.mp4");
//! # let object = Object { client: Memory(FILE), bytes: FILE.len() as u64 };
//! # futures_executor::block_on(async {
//! let movie = Movie::read(&object).await?;
//! println!("{} frames of {}", movie.facts.video.frames, movie.facts.video.codec);
//! # assert_eq!(movie.facts.video.codec, "h264");
//! # Ok::<_, Error>(())
//! # })?;
//! # Ok::<_, Error>(())
//! ```
//!
//! # More than one interval, and exact cuts
//!
//! [`Join`] puts intervals of several sources into one file. A [`SmartCut`] chooses which frames can be copied and
//! which must be re-encoded, so that the file holds nothing that is not shown.
//!
//! # What it costs
//!
//! Sample entries, and other boxes that the crate need not understand, are copied byte for byte. Tables are read in
//! place, so memory use is little more than the index, which has at most [`MAX_INDEX_BYTES`]. All times are integers in
//! the tracks' own timescales.
//!
//! Section numbers without a document are those of ISO/IEC 14496-12:2022.

#![warn(missing_docs)]

mod boxes;
mod cut;
mod encode_target;
mod error;
mod h264;
mod hevc;
pub mod io;
mod mux;
mod nal;
mod read;
mod time;
mod vvc;

pub use boxes::parse::MAX_INDEX_BYTES;
pub use cut::{
    concat::Join,
    smart::{Encoded, SmartClip, SmartCut, SmartCutError, SmartCutFacts, SmartCutInterval},
    window::{FrameTiming, Window, WindowFacts},
};
pub use encode_target::EncodeTarget;
pub use error::{Bound, Error, Result};
pub use read::{
    edited::EditedMovie,
    fragmented::FragmentedMovie,
    fragments::Container,
    movie::{AudioFacts, Facts, Movie, ShownFrame, VideoFacts},
    open::Opened,
    pixel_format::PixelFormat,
};
