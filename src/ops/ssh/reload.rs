//! A running server reads its files again; its sessions stay as they are.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use crate::boot::unit;
use crate::ops::{Error, Result};
use crate::root::{FileError, Root};
use crate::ssh::program::Program;
use crate::ssh::server;

/// What the unit is called: on Debian and Ubuntu, elsewhere.
const UNITS: [&str; 2] = ["ssh.service", "sshd.service"];

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reloaded {
    /// The server was told.
    Done,
    /// No server runs that could be told: the next one reads the files.
    NotRunning,
}

/// Tells the running server, by its unit, or by a signal where systemd does not run.
///
/// # Errors
/// [`Error::NotReloaded`].
pub fn reload(root: &Root, sshd: Program<'_>) -> Result<Reloaded> {
    let told = match unit::is_booted(root) {
        Ok(true) => by_unit(),
        Ok(false) => by_signal(root, sshd),
        Err(e) => Err(e.into()),
    };
    told.map_err(|e| Error::NotReloaded(Box::new(e)))
}

fn by_unit() -> Result<Reloaded> {
    for unit in UNITS {
        if unit::is_active(unit)? {
            unit::systemctl(&["reload", unit])?;
            return Ok(Reloaded::Done);
        }
    }
    Ok(Reloaded::NotRunning)
}

/// SIGHUP to the process of the server's PidFile, as sshd(8) says.
fn by_signal(root: &Root, sshd: Program<'_>) -> Result<Reloaded> {
    const LIMIT: usize = 64;
    let Some(file) = server::pid_file(sshd)? else {
        return Ok(Reloaded::NotRunning);
    };
    let text = root.read(&file, LIMIT)?;
    let number = text.and_then(|text| String::from_utf8(text.bytes).ok()?.trim().parse().ok());
    // The number may be another process's by now.
    let is_sshd = |pid: &i32| {
        let name = root.read(format!("/proc/{pid}/comm"), LIMIT);
        name.is_ok_and(|name| name.is_some_and(|name| name.bytes == b"sshd\n"))
    };
    let Some(pid) = number.filter(is_sshd) else {
        return Ok(Reloaded::NotRunning);
    };
    match kill(Pid::from_raw(pid), Signal::SIGHUP) {
        Ok(()) => Ok(Reloaded::Done),
        Err(Errno::ESRCH) => Ok(Reloaded::NotRunning),
        Err(e) => Err(Error::File(FileError::Write {
            path: PathBuf::from(format!("/proc/{pid}")),
            source: io::Error::from(e),
        })),
    }
}
