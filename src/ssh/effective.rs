//! What is in effect on one side, and which lines say so.

use serde::Serialize;

use super::client;
use super::dump::Dump;
use crate::model::ssh::{Alive, Side};

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
    pub(super) fn of(side: Side, word: &str) -> Option<Keyword> {
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
pub(super) struct Met {
    pub keyword: Keyword,
    /// The file that the program began with: the user's, the system's.
    pub top: String,
    pub line: Line,
    /// Whether it counts for whom was asked about.
    pub active: bool,
    /// The Host or Match line that it stands under; empty above all of them.
    pub block: String,
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
    pub fn may_say(&self, value: &str) -> bool {
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
    pub(super) met: Vec<Met>,
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
            met.counts() && met.keyword == keyword && !met.top.ends_with(client::IN_HOME)
        };
        self.met.iter().find(systems).map(|met| &met.line)
    }

    /// Lines of an option that win for others than whom was asked about: in blocks for
    /// certain hosts before the line that counts, or in any Match block of a server.
    /// Each with the first line of its block.
    pub fn elsewhere(&self, keyword: Keyword) -> impl Iterator<Item = (&str, &Line)> {
        let of_keyword = self.met.iter().filter(move |met| met.keyword == keyword);
        let client = self.alive.side == Side::Client;
        let before = of_keyword.take_while(move |met| !(client && met.counts()));
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

/// Where each option's value comes from: the first line met that counts.
pub(super) fn origins(
    side: Side,
    dump: &Dump,
    met: &[Met],
    given: impl Fn(Keyword) -> bool,
) -> Vec<Origin> {
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
