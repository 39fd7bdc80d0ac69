//! SSH's own keepalives as they are configured: the client's, the server's and
//! PuTTY's.
//!
//! What is in effect is never worked out here. The real `ssh -G` and `sshd -T`
//! say it, and what they tell of their reading (`-vvv`, `-ddd`) says which line it
//! comes from. PuTTY has no such command, and its files are plain: one value each.

pub mod block;
pub mod caller;
pub mod client;
mod dump;
mod effective;
pub mod pattern;
pub mod program;
pub mod putty;
pub mod reg;
pub mod server;
mod trace;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use effective::{Effective, Keyword, Line, Origin, Source};

use crate::programs;
use crate::root::{FileError, Root};

/// What went wrong with a configuration of SSH.
#[derive(Debug, Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program is not installed.
    #[error(
        "there is no {name} in {}; install it: {packages}; or name it with {option} PATH",
        places.join(", ")
    )]
    NoProgram {
        /// Its name.
        name: String,
        /// Where it was looked for.
        places: Vec<String>,
        /// What brings it, on which distribution.
        packages: &'static str,
        /// The option that names it.
        option: &'static str,
    },
    /// Others than root could have changed a program that root is to run.
    #[error("{refused}; or name another with {option} PATH")]
    UnsafeProgram {
        /// Which, and why.
        refused: Box<programs::Error>,
        /// The option that names another.
        option: &'static str,
    },
    /// A program cannot be found or run.
    #[error(transparent)]
    Program(programs::Error),
    /// A program gave no answer.
    #[error("`{command}` gave no answer{}", while_at(during))]
    NoAnswer {
        /// The command.
        command: String,
        /// The command of a `Match exec` that it was at.
        during: Option<String>,
        /// The cause.
        source: Box<programs::Error>,
    },
    /// A program refuses the configuration.
    #[error("`{command}` refuses: {message}")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
    /// A program did not say what it should.
    #[error("`{command}` does not tell {option}")]
    NotTold {
        /// The command.
        command: String,
        /// The option that was looked for.
        option: String,
    },
    /// A file that is to be edited is no text.
    #[error("{}:{line}: this line is not UTF-8; nothing is written to such a file", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
    },
    /// A block of ours has lost its end.
    #[error(
        "{}:{line}: what keepalivectl put here has lost its last line; remove the rest by hand",
        file.display()
    )]
    Torn {
        /// The file.
        file: PathBuf,
        /// The line that the block begins on.
        line: usize,
    },
    /// Somebody else's line is where ours are.
    #[error(
        "{}:{line}: this line stands in keepalivectl's part and was not written by it; move it out \
         of there",
        file.display()
    )]
    Edited {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
    },
    /// A file is there already that would be written over.
    #[error("{} exists already; give another name, or remove it first", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// A file with our name that is not ours.
    #[error("{} was not written by keepalivectl; remove or rename it first", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// PuTTY has no session of that name.
    #[error("there is no PuTTY session {name:?} in {}{}", place.display(), perhaps(.others))]
    NoSession {
        /// As it was asked for.
        name: String,
        /// The folder, or the export.
        place: PathBuf,
        /// Those that it could have been meant for, or that are there.
        others: Vec<String>,
    },
    /// An export that regedit would not take.
    #[error("{}:{line}: {reason}", file.display())]
    NotReg {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Nobody knows where the user's files are.
    #[error("cannot tell where this user's files are: HOME is not set")]
    NoHome,
    /// The user who called sudo cannot be acted for.
    #[error("cannot act as user {uid}, who called sudo")]
    Caller {
        /// Who.
        uid: u32,
        /// The cause.
        source: io::Error,
    },
    /// The groups of the user who called sudo cannot be told.
    #[error("cannot ask id(1) for the groups of the user who called sudo")]
    Groups(#[source] programs::Error),
}

type Result<T> = std::result::Result<T, Error>;

fn while_at(command: &Option<String>) -> String {
    match command {
        Some(command) => format!(" while it ran the command of a Match exec, `{command}`"),
        None => String::new(),
    }
}

fn perhaps(others: &[String]) -> String {
    match others {
        [] => String::new(),
        _ => format!("; there is {}", others.join(", ")),
    }
}

/// The text of a file that a program has just read, wherever it is. A folder has none:
/// ssh takes one for an empty file.
fn read_text(file: &str) -> Option<String> {
    match Root::machine().read(file, LIMIT) {
        Ok(content) => Some(String::from_utf8_lossy(&content?.bytes).into_owned()),
        Err(FileError::NotAFile {
            kind: "a directory",
            ..
        }) => Some(String::new()),
        Err(_) => None,
    }
}

/// The largest configuration that is read.
const LIMIT: usize = 1 << 20;

/// The text of a file that is only looked at; none if there is none.
///
/// # Errors
/// It cannot be read, or is no regular file.
pub fn lossy(root: &Root, file: &std::path::Path) -> Result<Option<String>> {
    let content = root.read(file, LIMIT)?;
    Ok(content.map(|content| String::from_utf8_lossy(&content.bytes).into_owned()))
}

/// The bytes of a file that is to be edited; none if there is none.
///
/// # Errors
/// It cannot be read, is no regular file, or a link.
fn bytes(root: &Root, file: &std::path::Path) -> Result<Option<Vec<u8>>> {
    if root.link_target(file)?.is_some() {
        let path = root.display(file);
        return Err(FileError::Link { path }.into());
    }
    Ok(root.read(file, LIMIT)?.map(|content| content.bytes))
}

/// The text of a file that is to be edited; none if there is none.
///
/// # Errors
/// As of its bytes, or it is no text.
pub fn text(root: &Root, file: &std::path::Path) -> Result<Option<String>> {
    let Some(bytes) = bytes(root, file)? else {
        return Ok(None);
    };
    String::from_utf8(bytes).map(Some).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        Error::NotText {
            file: root.display(file),
            line: good.split(|byte| *byte == b'\n').count(),
        }
    })
}
