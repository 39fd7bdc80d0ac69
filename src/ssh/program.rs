//! OpenSSH's programs: which are run, and what they say.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{Error, Result};
use crate::programs::{self, Run};
use crate::text::shell;

/// What a run printed.
pub struct Said {
    /// On standard output.
    pub stdout: String,
    /// On standard error.
    pub stderr: String,
}

/// Which of OpenSSH's programs are run, where the usual ones are not meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programs {
    /// The client.
    pub ssh: Option<PathBuf>,
    /// The server.
    pub sshd: Option<PathBuf>,
}

impl Programs {
    /// The client.
    pub fn ssh(&self) -> Program<'_> {
        Program {
            name: "ssh",
            option: "--ssh",
            packages: "openssh-client (Debian, Ubuntu), openssh-clients (Fedora, RHEL, SUSE), openssh \
                       (Arch)",
            // Its configuration names variables, and so do the commands of a Match exec.
            keeps_environment: true,
            given: self.ssh.as_deref(),
        }
    }

    /// The server.
    pub fn sshd(&self) -> Program<'_> {
        Program {
            name: "sshd",
            option: "--sshd",
            packages: "openssh-server (Debian, Ubuntu, Fedora, RHEL, SUSE), openssh (Arch)",
            keeps_environment: false,
            given: self.sshd.as_deref(),
        }
    }
}

/// One of OpenSSH's programs.
#[derive(Debug, Clone, Copy)]
pub struct Program<'p> {
    name: &'static str,
    /// The option that names another one.
    option: &'static str,
    packages: &'static str,
    keeps_environment: bool,
    given: Option<&'p Path>,
}

/// What a program runs with.
#[derive(Debug, Default)]
pub struct With<'h> {
    /// A user's own folder, as its HOME.
    pub home: Option<&'h Path>,
    /// A file, as its standard input.
    pub stdin: Option<OwnedFd>,
}

impl Program<'_> {
    /// Runs it and takes what it prints, whether it succeeds or not.
    ///
    /// # Errors
    /// [`Error::NoProgram`], [`Error::UnsafeProgram`], [`Error::NoAnswer`].
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S], with: With<'_>) -> Result<(bool, Said)> {
        let found = programs::find(self.name, self.given).map_err(|e| self.not_found(e))?;
        let run = Run::new(&found, arguments)
            .home(with.home)
            .keeping_environment(self.keeps_environment)
            .stdin(with.stdin);
        let output = run.output().map_err(|source| Error::NoAnswer {
            command: self.command(arguments),
            during: during(&source),
            source: Box::new(source),
        })?;
        let said = Said {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        Ok((output.status.success(), said))
    }

    /// The same, which must succeed.
    ///
    /// # Errors
    /// [`Error::Refused`] too, with its message.
    pub fn ask<S: AsRef<OsStr>>(&self, arguments: &[S], with: With<'_>) -> Result<Said> {
        match self.run(arguments, with)? {
            (true, said) => Ok(said),
            (false, said) => Err(Error::Refused {
                command: self.command(arguments),
                message: message(&said.stderr),
            }),
        }
    }

    /// The command, as a person would type it, without what is only asked for here.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let words = arguments.iter().map(AsRef::as_ref);
        let hidden = TRACE.into_iter().chain(OWN_KEY);
        let words = words.filter(|word| !hidden.clone().any(|hidden| *word == hidden));
        shell::command([OsStr::new(self.name)].into_iter().chain(words))
    }

    fn not_found(&self, error: programs::Error) -> Error {
        let option = self.option;
        match error {
            programs::Error::NotFound { name, places } => Error::NoProgram {
                name,
                places,
                packages: self.packages,
                option,
            },
            refused @ programs::Error::Unsafe { .. } => Error::UnsafeProgram {
                refused: Box::new(refused),
                option,
            },
            other => Error::Program(other),
        }
    }
}

/// What asks the client and the server for a trace of what they read.
pub const TRACE: [&str; 2] = ["-vvv", "-ddd"];

/// What has the server take the host key that is its standard input.
pub const OWN_KEY: [&str; 2] = ["-h", "/proc/self/fd/0"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The command of a `Match exec` that a client was at when it was given up, by its
/// trace (`execute_in_shell` in readconf.c).
fn during(error: &programs::Error) -> Option<String> {
    let programs::Error::TooSlow { stderr, .. } = error else {
        return None;
    };
    let told = text(stderr);
    let (_, after) = told.rsplit_once(": Executing command: '")?;
    let (command, after) = after.split_once("'\n").or(after.split_once("'\r\n"))?;
    let ended = after.contains(": command returned status ");
    (!ended).then(|| command.to_owned())
}

/// What a program complained of, without its trace.
fn message(stderr: &str) -> String {
    let told = |line: &&str| {
        let traced = [
            "debug1: ",
            "debug2: ",
            "debug3: ",
            "OpenSSH_",
            "Pseudo-terminal ",
        ];
        !line.trim().is_empty() && !traced.iter().any(|mark| line.starts_with(mark))
    };
    let lines: Vec<&str> = stderr.lines().filter(told).map(str::trim).collect();
    match lines.is_empty() {
        true => "it says nothing".to_owned(),
        false => lines.join("; "),
    }
}

/// A path as an argument.
pub(super) fn word(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_hangs_is_named() {
        let limit = programs::ANSWER_WITHIN;
        let during = |told: &str| {
            let stderr = told.into();
            super::during(&programs::Error::TooSlow { limit, stderr })
        };
        let told = "debug1: Reading configuration data f\r\n\
                    debug1: Executing command: 'sleep 1000'\r\n";
        assert_eq!(during(told).as_deref(), Some("sleep 1000"));
        let ended = format!("{told}debug3: command returned status 0\r\n");
        assert_eq!(during(&ended), None);
        assert_eq!(during("debug1: Reading configuration data f\r\n"), None);
    }
}
