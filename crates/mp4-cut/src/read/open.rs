//! Opens a source of any kind.

use crate::{
    error::Result,
    io::RangeRead,
    read::{
        edited::EditedMovie,
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
    /// A source whose edit list shows several pieces of its media.
    Edited(Box<EditedMovie>),
    /// A fragmented source with an index of its fragments.
    Fragmented(Box<FragmentedMovie>),
    /// A source of another container.
    Other(Container),
}

impl Movie {
    /// Reads the index of `source`, as [`read`](Self::read) does, or identifies another container.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn open(source: &impl RangeRead) -> Result<Opened> {
        Ok(match Moov::find(source).await? {
            Found::Moov(index) if Self::count_edits(&index)? > 1 => {
                Opened::Edited(Box::new(EditedMovie::open(&index, source).await?))
            }
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

    /// Opens a source that [`open`](Self::open) finds to be [unindexed](crate::Error::Unindexed). All of it is read
    /// once; only the places of its samples are kept.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn open_whole(source: &impl RangeRead) -> Result<Self> {
        let index = Moov::read_whole(source).await?;
        let mut movie = Self::of_one_edit(&index, source.len())?;
        movie.look(source).await?;
        Ok(movie)
    }
}
