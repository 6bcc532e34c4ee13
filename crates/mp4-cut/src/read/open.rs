//! Opening a source, whatever it is.

use crate::{
    error::Result,
    io::RangeRead,
    read::{
        fragmented::FragmentedMovie,
        fragments::Container,
        moov::{Found, Moov},
        movie::Movie,
    },
};

/// What [`Movie::open`] finds.
#[derive(Debug, Clone)]
pub enum Opened {
    /// A source with an index.
    Indexed(Box<Movie>),
    /// A fragmented source with an index of its fragments.
    Fragmented(Box<FragmentedMovie>),
    /// A source of another container.
    Other(Container),
}

impl Movie {
    /// Reads the index of `source`, as [`read`](Self::read) does, or tells which other container it is.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn open(source: &impl RangeRead) -> Result<Opened> {
        Ok(match Moov::find(source).await? {
            Found::Moov(index) => {
                let mut movie = Box::new(Self::of_one_edit(&index, source.len())?);
                movie.look(source).await?;
                Opened::Indexed(movie)
            }
            Found::Fragmented(index, fragments) => {
                let movie = FragmentedMovie::open(index, fragments, source).await?;
                Opened::Fragmented(Box::new(movie))
            }
            Found::Other(container) => Opened::Other(container),
        })
    }
}
