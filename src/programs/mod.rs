//! The programs that are run: where they are found, who may have changed them,
//! and how long they may take.
//!
//! Root runs a program only from a fixed folder or by a path that was given, and
//! only if nobody but root can change it. A plain user's own PATH counts, because
//! the program has that user's rights and no more. Each program runs in a session
//! of its own, with a time limit and a limited output. When it is given up it is killed,
//! with all that is in its process group: a child that began a session of its own
//! goes on, as a daemon does.

mod environment;
mod find;
mod owner;
mod run;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use thiserror::Error;

pub use find::{FOLDERS, Found, find};
pub use owner::writable_by_others;
pub(crate) use run::ignored_signals;
pub use run::{Output, Run};

/// The time within which a program that is only asked must answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The most that a program may print on each of its outputs.
pub const MOST_OUTPUT: usize = 1 << 20;

/// What went wrong with a program.
#[derive(Debug, Error)]
pub enum Error {
    /// It is not installed.
    #[error("there is no {name} in {}", places.join(", "))]
    NotFound {
        /// Its name.
        name: String,
        /// Where it was looked for.
        places: Vec<String>,
    },
    /// Others than root could have changed it.
    #[error(
        "root does not run {}: {} {why}; {mend}",
        program.display(),
        at.display()
    )]
    Unsafe {
        /// The program.
        program: PathBuf,
        /// The file, link or folder at fault.
        at: PathBuf,
        /// Who could change it.
        why: String,
        /// How to mend it.
        mend: String,
    },
    /// What was given is called otherwise: who may only choose a program shall not
    /// have root run any other one.
    #[error(
        "root runs as {name} only what is called {name}, and {} is not; if it is meant, make a link \
         of that name",
        program.display()
    )]
    Misnamed {
        /// The name that it must have.
        name: String,
        /// The program.
        program: PathBuf,
    },
    /// It could not be started, or waited for.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It did not end in time.
    #[error("it did not end within {} s and was killed", limit.as_secs())]
    TooSlow {
        /// The time that it had.
        limit: Duration,
        /// What it had printed on standard error by then.
        stderr: Vec<u8>,
    },
    /// It printed without end.
    #[error("it printed more than {limit} bytes and was killed")]
    TooMuch {
        /// The most that it may print.
        limit: usize,
    },
    /// A signal came, and the program was given up. It is taken: the caller says so and
    /// ends by it.
    #[error("interrupted by {0}")]
    Interrupted(Signal),
}
