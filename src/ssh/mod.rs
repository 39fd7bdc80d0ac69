//! SSH's own keepalives as they are configured: the client's, the server's and
//! PuTTY's.
//!
//! What is in effect is never worked out here. The real `ssh -G` and `sshd -T`
//! say it, and what they tell of their reading (`-vvv`, `-ddd`) says which line it
//! comes from. PuTTY has no such command, and its files are plain: one value each.

pub mod block;
pub mod caller;
pub mod client;
pub mod pattern;
pub mod program;
pub mod putty;
pub mod reg;
pub mod server;
mod trace;

use std::io;
use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use crate::model::ssh::{Alive, Habits, Side};
use crate::root::{FileError, Root};

/// What went wrong with a configuration of SSH.
#[derive(Debug, Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program is not installed.
    #[error("there is no {name} on this machine; install it: {packages}")]
    NoProgram {
        /// Its name.
        name: &'static str,
        /// What brings it, on which distribution.
        packages: &'static str,
    },
    /// A program could not be started.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
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
}

type Result<T> = std::result::Result<T, Error>;

fn perhaps(others: &[String]) -> String {
    match others {
        [] => String::new(),
        _ => format!("; there is {}", others.join(", ")),
    }
}

/// One of the three options of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyword {
    /// ServerAliveInterval, ClientAliveInterval.
    Interval,
    /// ServerAliveCountMax, ClientAliveCountMax.
    CountMax,
    /// TCPKeepAlive.
    TcpKeepalive,
}

impl Keyword {
    /// All of them.
    pub const ALL: [Keyword; 3] = [Keyword::Interval, Keyword::CountMax, Keyword::TcpKeepalive];

    /// What OpenSSH calls it, and what else it takes for it: Debian's client has
    /// two older names, and both sides an older one of TCPKeepAlive.
    fn names(self, side: Side) -> &'static [&'static str] {
        match (self, side) {
            (Keyword::Interval, Side::Server) => &["ClientAliveInterval"],
            (Keyword::CountMax, Side::Server) => &["ClientAliveCountMax"],
            (Keyword::Interval, _) => {
                &["ServerAliveInterval", "ProtocolKeepAlives", "SetupTimeOut"]
            }
            (Keyword::CountMax, _) => &["ServerAliveCountMax"],
            (Keyword::TcpKeepalive, _) => &["TCPKeepAlive", "KeepAlive"],
        }
    }

    /// What OpenSSH calls it.
    pub fn name(self, side: Side) -> &'static str {
        self.names(side)[0]
    }

    /// OpenSSH's default, on either side.
    fn default(self) -> &'static str {
        match self {
            Keyword::Interval => "0",
            Keyword::CountMax => "3",
            Keyword::TcpKeepalive => "yes",
        }
    }

    /// The option that a word of a configuration stands for.
    fn of(side: Side, word: &str) -> Option<Keyword> {
        let means = |keyword: &Keyword| {
            let mut names = keyword.names(side).iter();
            names.any(|name| name.eq_ignore_ascii_case(word))
        };
        Keyword::ALL.into_iter().find(means)
    }
}

/// A line of a configuration that sets one of the options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The file.
    pub file: String,
    /// Its number, from 1 on.
    pub line: usize,
    /// The value, as it is written.
    pub value: String,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} ({})", self.file, self.line, self.value)
    }
}

/// A line that was met, in the order of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Met {
    keyword: Keyword,
    /// The file that the program began with: the user's, the system's.
    top: String,
    line: Line,
    /// Whether it counts for whom was asked about.
    active: bool,
    /// The Host or Match line that it stands under; empty above all of them.
    block: String,
}

impl Met {
    /// Whether it sets the option for whom was asked about: the client takes `none` for
    /// an interval that is not set yet.
    fn counts(&self) -> bool {
        let none = self.keyword == Keyword::Interval && self.line.value == "none";
        self.active && !none
    }
}

impl Line {
    /// Whether it may stand for this value: `1m` may for 60, and 50 may not.
    fn may_say(&self, value: &str) -> bool {
        match (self.value.parse::<u32>(), value.parse::<u32>()) {
            (Ok(written), Ok(told)) => written == told,
            _ => true,
        }
    }
}

/// Where the value in effect comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "from", content = "at", rename_all = "kebab-case")]
pub enum Source {
    /// No line says it.
    Default,
    /// No line says it, and Debian's client takes 300 with BatchMode.
    BatchMode,
    /// An option on the command line.
    CommandLine,
    /// The line that was met first.
    File(Line),
    /// The program told nothing of it that could be understood.
    Unknown,
}

/// One option in effect, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// What OpenSSH or PuTTY calls it.
    pub option: String,
    /// Its value.
    pub value: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: Source,
    /// Later lines that would say otherwise, and do not count.
    pub shadows: Vec<Line>,
}

/// What is in effect on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The keepalives.
    pub alive: Alive,
    /// Where each of the three comes from.
    pub origins: Vec<Origin>,
    /// What else was said that touches the keepalives.
    pub warnings: Vec<String>,
    met: Vec<Met>,
}

impl Effective {
    /// Where an option's value comes from.
    pub fn source(&self, keyword: Keyword) -> &Source {
        let at = Keyword::ALL.iter().position(|k| *k == keyword);
        &self.origins[at.unwrap_or_default()].source
    }

    /// The first line of an option that counts and was met by way of the system's
    /// file, whatever the user's own says.
    pub fn first_of_system(&self, keyword: Keyword) -> Option<&Line> {
        let systems = |met: &&Met| {
            met.active && met.keyword == keyword && !met.top.ends_with(client::IN_HOME)
        };
        self.met.iter().find(systems).map(|met| &met.line)
    }

    /// Lines of an option that win for others than whom was asked about: in blocks for
    /// certain hosts before the line that counts, or in any Match block of a server.
    /// Each with the first line of its block.
    pub fn elsewhere(&self, keyword: Keyword) -> impl Iterator<Item = (&str, &Line)> {
        let of_keyword = self.met.iter().filter(move |met| met.keyword == keyword);
        let client = self.alive.side == Side::Client;
        let before = of_keyword.take_while(move |met| !(client && met.active));
        let elsewhere = before.filter(|met| !met.active);
        elsewhere.map(|met| (met.block.as_str(), &met.line))
    }

    /// Whether it is known where the values come from.
    pub fn is_traced(&self) -> bool {
        self.origins
            .iter()
            .all(|origin| origin.source != Source::Unknown)
    }
}

/// What `ssh -G` and `sshd -T` print: a keyword and its value on each line.
struct Dump {
    command: String,
    text: String,
}

impl Dump {
    fn value(&self, name: &str) -> Option<&str> {
        // Small letters before OpenSSH 10.4's sshd.
        let mut lines = self.text.lines().filter_map(|line| line.split_once(' '));
        lines
            .find(|(word, _)| word.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    fn number(&self, name: &'static str) -> Result<u32> {
        let told = self.value(name).and_then(|value| value.parse().ok());
        told.ok_or_else(|| self.not_told(name))
    }

    /// What ends a session that no keepalive keeps: OpenSSH 9.2 and later.
    fn timeouts(&self) -> Vec<String> {
        let set = |name: &str| {
            self.value(name)
                .filter(|value| !["none", "0"].contains(value))
        };
        let channels = set("channeltimeout").map(|timeout| {
            format!("idle channels are closed, and no keepalive helps: ChannelTimeout {timeout}")
        });
        let unused = set("unusedconnectiontimeout").map(|timeout| {
            format!("a connection without any channel is closed: UnusedConnectionTimeout {timeout}")
        });
        channels.into_iter().chain(unused).collect()
    }

    fn not_told(&self, name: &str) -> Error {
        Error::NotTold {
            command: self.command.clone(),
            option: name.to_owned(),
        }
    }

    fn alive(&self, side: Side, habits: Habits) -> Result<Alive> {
        let tcp_keepalive = Keyword::TcpKeepalive.name(side);
        Ok(Alive {
            side,
            interval_s: self.number(Keyword::Interval.name(side))?,
            count_max: Some(self.number(Keyword::CountMax.name(side))?),
            habits,
            tcp_keepalive: match self.value(tcp_keepalive) {
                Some(value) => value == "yes",
                None => return Err(self.not_told(tcp_keepalive)),
            },
            socket_here: true,
        })
    }
}

/// Where each option's value comes from: the first line met that counts.
fn origins(side: Side, dump: &Dump, met: &[Met], given: impl Fn(Keyword) -> bool) -> Vec<Origin> {
    Keyword::ALL
        .into_iter()
        .map(|keyword| {
            let counting = met.iter().filter(|m| m.counts() && m.keyword == keyword);
            let mut lines: Vec<Line> = Vec::new();
            for met in counting {
                // A configuration may be read twice, and a file be included twice.
                if !lines.contains(&met.line) {
                    lines.push(met.line.clone());
                }
            }
            let name = keyword.name(side);
            let value = dump.value(name).unwrap_or_default();
            let source = match lines.first() {
                _ if given(keyword) => Source::CommandLine,
                // A line that was not understood, or a file that changed meanwhile.
                None if value != keyword.default() => Source::Unknown,
                None => Source::Default,
                Some(line) if !line.may_say(value) => Source::Unknown,
                Some(_) => Source::File(lines.remove(0)),
            };
            Origin {
                option: name.to_owned(),
                value: value.to_owned(),
                source,
                shadows: lines,
            }
        })
        .collect()
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

/// The text of a file that is to be edited; none if there is none.
///
/// # Errors
/// It cannot be read, is no regular file, a link, or no text.
pub fn text(root: &Root, file: &std::path::Path) -> Result<Option<String>> {
    if root.link_target(file)?.is_some() {
        let path = root.display(file);
        return Err(FileError::Link { path }.into());
    }
    let Some(content) = root.read(file, LIMIT)? else {
        return Ok(None);
    };
    String::from_utf8(content.bytes).map(Some).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        Error::NotText {
            file: root.display(file),
            line: good.split(|byte| *byte == b'\n').count(),
        }
    })
}
