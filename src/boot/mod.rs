//! What decides the next boot, and what is remembered since the last one: files
//! under a [`Root`].
//!
//! There is one record of what is kept for boot, an ordinary drop-in in
//! `/etc/sysctl.d` ([`dropin`]). [`sysctld`] knows who else has a say, [`unit`](mod@unit)
//! has the last word where systemd is and it stands as we wrote it ([`installed`]),
//! and [`next`] puts them together.

pub mod before;
pub mod dropin;
pub mod installed;
pub mod lock;
pub mod next;
pub mod owner;
pub mod profiles;
pub mod sysctld;
pub mod unit;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::model::ProfileName;
use crate::model::profile::{self, MAX_BYTES, ParseError, Parsed};
use crate::programs;
use crate::root::{FileError, Root};
use crate::text::shell;

/// What went wrong with the files that decide the next boot.
#[derive(Debug, Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not a profile.
    #[error("{}{} {}", file.display(), line_suffix(error), error.reason)]
    NotAProfile {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        error: ParseError,
    },
    /// A profile of that name is there already.
    #[error("the profile {name} exists already, in {}; use --replace to overwrite it", file.display())]
    Exists {
        /// Its name.
        name: ProfileName,
        /// Its file.
        file: PathBuf,
    },
    /// More profiles than are listed.
    #[error(
        "{} holds more than {} profiles, and the others are left out; remove those that are not \
         needed",
        folder.display(),
        profiles::MOST
    )]
    TooManyProfiles {
        /// Their folder.
        folder: PathBuf,
    },
    /// The lock is held by somebody else.
    #[error(
        "another keepalivectl has been at work for more than {} s; `fuser {}` names it",
        waited.as_secs(),
        shell::operand(lock)
    )]
    Busy {
        /// The file that the lock is on.
        lock: PathBuf,
        /// For how long this one waited.
        waited: Duration,
    },
    /// The lock cannot be taken.
    #[error("cannot lock {}", lock.display())]
    Lock {
        /// The file that the lock is on.
        lock: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No installed program for the unit to run.
    #[error(
        "the unit needs an installed keepalivectl, and there is none in {}; install it with: {}",
        unit::INSTALL_DIRS.join(", "),
        install
    )]
    NotInstalled {
        /// The command that installs it.
        install: String,
    },
    /// The installed program could be changed by others than root.
    #[error(
        "{} {why}, and root alone may decide what runs at boot; {mend}",
        path.display()
    )]
    UnsafeProgram {
        /// The file or folder at fault.
        path: PathBuf,
        /// Who could write it.
        why: String,
        /// How to put it right.
        mend: String,
    },
    /// A folder of what is kept for boot can be written by others than root.
    #[error(
        "{} {}, and only root may change what is kept for boot; put it right with: {}",
        .0.path.display(),
        .0.why,
        .0.mend
    )]
    ExposedFolder(owner::Exposed),
    /// systemctl(1) cannot be run, or gave no answer.
    #[error("`systemctl {command}` failed")]
    NoSystemctl {
        /// Its arguments.
        command: String,
        /// The cause.
        source: programs::Error,
    },
    /// systemctl(1) failed.
    #[error("`systemctl {command}` failed: {message}")]
    Systemctl {
        /// Its arguments.
        command: String,
        /// What it said.
        message: String,
    },
    /// A mask keeps the unit from running.
    #[error(
        "{} masks the unit; `systemctl unmask {}` lifts that",
        file.display(),
        unit::NAME
    )]
    Masked {
        /// The link to `/dev/null` or the empty file.
        file: PathBuf,
    },
    /// A unit of this name that is not ours.
    #[error(
        "{} was not written by keepalivectl; remove or rename it first",
        file.display()
    )]
    ForeignUnit {
        /// The unit file.
        file: PathBuf,
    },
}

/// `:7` for a fault on line 7, as compilers write it, then a colon.
fn line_suffix(error: &ParseError) -> String {
    match error.line {
        Some(line) => format!(":{line}:"),
        None => ":".to_owned(),
    }
}

/// Reads and parses a file in profile form; `None` if there is none.
fn read_profile(root: &Root, path: &Path) -> Result<Option<Parsed>, Error> {
    let fault = |error| Error::NotAProfile {
        file: root.display(path),
        error,
    };
    // One byte more than a profile may have is enough to tell.
    match root.read(path, MAX_BYTES) {
        Ok(None) => Ok(None),
        Ok(Some(content)) => profile::parse(&content.bytes).map(Some).map_err(fault),
        Err(FileError::TooLarge { .. }) => Err(fault(ParseError {
            line: None,
            reason: profile::Reason::TooLarge,
        })),
        Err(e) => Err(e.into()),
    }
}
