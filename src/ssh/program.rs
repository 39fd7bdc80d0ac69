//! The real programs: where they are, and what they say.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Error, Result};
use crate::text::shell;

/// A user's own folder, for a program to run with as its HOME.
pub type Home<'h> = Option<&'h Path>;

/// What a run printed.
pub struct Said {
    /// On standard output.
    pub stdout: String,
    /// On standard error.
    pub stderr: String,
}

/// One of OpenSSH's programs.
pub struct Program {
    name: &'static str,
    packages: &'static str,
}

/// The client.
pub const SSH: Program = Program {
    name: "ssh",
    packages: "openssh-client (Debian, Ubuntu), openssh-clients (Fedora, RHEL, SUSE), openssh (Arch)",
};

/// The server.
pub const SSHD: Program = Program {
    name: "sshd",
    packages: "openssh-server (Debian, Ubuntu, Fedora, RHEL, SUSE), openssh (Arch)",
};

/// Where a server is that a plain user's PATH does not name.
const ALSO: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

impl Program {
    /// Where it is, by PATH: the one that the user starts. `sshd` wants its full
    /// path.
    fn path(&self) -> Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(ALSO.map(PathBuf::from));
        let runs = |path: &PathBuf| {
            let found = path.metadata();
            path.is_absolute()
                && found
                    .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let found = folders.map(|folder| folder.join(self.name)).find(runs);
        found.ok_or(Error::NoProgram {
            name: self.name,
            packages: self.packages,
        })
    }

    /// Runs it and takes what it prints, whether it succeeds or not.
    ///
    /// # Errors
    /// [`Error::NoProgram`], [`Error::Run`].
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S], home: Home<'_>) -> Result<(bool, Said)> {
        let program = self.path()?;
        let output = Command::new(&program)
            .args(arguments)
            .envs(home.map(|home| ("HOME", home)))
            .stdin(Stdio::null())
            .output()
            .map_err(|source| Error::Run { program, source })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
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
    pub fn ask<S: AsRef<OsStr>>(&self, arguments: &[S], home: Home<'_>) -> Result<Said> {
        match self.run(arguments, home)? {
            (true, said) => Ok(said),
            (false, said) => Err(Error::Refused {
                command: self.command(arguments),
                message: message(&said.stderr),
            }),
        }
    }

    /// The command, as a person would type it, without what asks for a trace.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let words = arguments.iter().map(AsRef::as_ref);
        let words = words.filter(|word| !TRACE.iter().any(|trace| word == trace));
        shell::command([OsStr::new(self.name)].into_iter().chain(words))
    }
}

/// What asks the client and the server for a trace of what they read.
pub const TRACE: [&str; 2] = ["-vvv", "-ddd"];

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
