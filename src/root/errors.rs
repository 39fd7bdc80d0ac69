//! What can go wrong with a file.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What went wrong with a file.
#[derive(Debug, Error)]
pub enum FileError {
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It could not be written, made or removed.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is not a regular file.
    #[error("{} is {kind}, not a file", path.display())]
    NotAFile {
        /// What stands there.
        path: PathBuf,
        /// A directory, a pipe, ….
        kind: &'static str,
    },
    /// It is larger than anything it could rightly be.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: usize,
    },
    /// A folder holds more names than it could rightly hold.
    #[error("{} holds more than {limit} names", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The most that are read.
        limit: usize,
    },
    /// A write would go through a symbolic link.
    #[error(
        "{} is a symbolic link, and nothing is written through one; remove it or put a real file \
         or folder there",
        path.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A file to be edited has other names, which would keep the old text.
    #[error(
        "{} is one of {names} hard links to the same file, and an edit would part them; replace it \
         with a copy first",
        path.display()
    )]
    HardLinks {
        /// The file.
        path: PathBuf,
        /// How many names it has.
        names: u64,
    },
    /// Somebody else changed it between reading and writing.
    #[error("{} was changed by another program meanwhile; run the command again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Two others changed it at the same time, and one of the two is set aside.
    #[error(
        "{} was changed by another program meanwhile; one version was saved as {}",
        path.display(),
        kept.display()
    )]
    SetAside {
        /// The file.
        path: PathBuf,
        /// Where the version that does not stand there is.
        kept: PathBuf,
    },
    /// An access list or an extended attribute could not be kept.
    #[error("cannot keep {attribute} of {}", path.display())]
    Attribute {
        /// The file.
        path: PathBuf,
        /// The attribute's name.
        attribute: String,
        /// The cause.
        source: io::Error,
    },
    /// The tree itself is not there.
    #[error("cannot use {} as a root", path.display())]
    NoRoot {
        /// As it was given.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
