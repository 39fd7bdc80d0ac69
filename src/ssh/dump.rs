//! What `ssh -G` and `sshd -T` print.

use std::ffi::OsStr;

use super::program::{Program, With};
use super::{Error, Keyword, Result};
use crate::model::ssh::{Alive, Habits, Side};

/// What `ssh -G` and `sshd -T` print: a keyword and its value on each line.
pub struct Dump {
    /// The command that printed it.
    pub command: String,
    /// What it printed.
    pub text: String,
}

impl Dump {
    /// What a program prints, and what it tells on standard error.
    pub fn of<S: AsRef<OsStr>>(
        program: Program<'_>,
        arguments: &[S],
        with: With<'_>,
    ) -> Result<(Dump, String)> {
        let said = program.ask(arguments, with)?;
        let dump = Dump {
            command: program.command(arguments),
            text: said.stdout,
        };
        Ok((dump, said.stderr))
    }

    /// An option's value; none if it is not told.
    pub fn value(&self, name: &str) -> Option<&str> {
        // Small letters before OpenSSH 10.4's sshd.
        let mut lines = self.text.lines().filter_map(|line| line.split_once(' '));
        lines
            .find(|(word, _)| word.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// The same as a number, which must be told.
    pub fn number(&self, name: &'static str) -> Result<u32> {
        let told = self.value(name).and_then(|value| value.parse().ok());
        told.ok_or_else(|| self.not_told(name))
    }

    /// What ends a session that no keepalive keeps: OpenSSH 9.2 and later.
    pub fn timeouts(&self) -> Vec<String> {
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

    /// That an option is not told.
    pub fn not_told(&self, name: &str) -> Error {
        Error::NotTold {
            command: self.command.clone(),
            option: name.to_owned(),
        }
    }

    /// The three options.
    pub fn alive(&self, side: Side, habits: Habits) -> Result<Alive> {
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
