//! The process that undoes a change whose maker was killed.
//!
//! The kernel has three files and no way to write them as one, and arms a running
//! keepalive timer anew only where keepalive is off for a moment. So before the
//! first step a child is forked that waits on a pipe. If the maker dies, be it
//! of SIGKILL, the pipe closes and the child undoes what is half done. The child
//! also holds the maker's locks (an flock belongs to the open file), so that
//! nobody comes between.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe2, read, setsid, write};

use super::Error;
use super::taken::Taken;
use crate::model::{Setting, Values};

/// A waiting child. Dropped, it is sent away and nothing is undone.
#[derive(Debug)]
pub(super) struct Guard {
    child: Pid,
    /// Its closing is what the child waits for.
    _alive: OwnedFd,
}

/// What the child does if the maker dies.
pub(super) enum Undo<'a> {
    /// Writes values back.
    Write(Vec<OldValue>),
    /// Turns keepalive on again.
    KeepaliveOff(&'a [&'a Taken]),
}

/// What the child will write: made before the fork, because a forked child of a
/// process with threads may not allocate.
pub(super) type OldValue = (CString, Vec<u8>);

impl Undo<'_> {
    /// Restores `before` in the settings `changed`.
    pub(super) fn write(before: Values, changed: &[Setting]) -> Result<Undo<'static>, Error> {
        let old = changed.iter().map(|setting| old_value(*setting, before));
        old.collect::<io::Result<_>>()
            .map(Undo::Write)
            .map_err(Error::Guard)
    }

    /// In the child: async-signal-safe calls only. A failure has nobody to be
    /// told to.
    fn carry_out(&self) {
        match self {
            Undo::Write(old) => old.iter().for_each(|(path, value)| restore(path, value)),
            Undo::KeepaliveOff(sockets) => sockets.iter().for_each(|socket| {
                let _ = socket.turn_on();
            }),
        }
    }
}

impl Guard {
    /// Starts the child.
    pub(super) fn post(undo: Undo<'_>) -> Result<Guard, Error> {
        let failed = |e: Errno| Error::Guard(io::Error::from(e));
        // Not for programs that others start meanwhile: they would keep it open.
        let (ours, alive) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        // SAFETY: the child calls async-signal-safe functions only (close,
        // setsid, read, open, write, setsockopt, _exit), allocates nothing and
        // never returns from this block, so it is sound even with other threads.
        match unsafe { fork() }.map_err(failed)? {
            ForkResult::Parent { child } => Ok(Guard {
                child,
                _alive: alive,
            }),
            ForkResult::Child => {
                drop(alive);
                stand(&ours, &undo);
                // SAFETY: _exit(2) ends the child without running anything of
                // the parent's.
                unsafe { nix::libc::_exit(0) }
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The child cannot have gone: it waits for this process to die.
        let _ = kill(self.child, Signal::SIGKILL);
        let _ = waitpid(self.child, None);
    }
}

fn old_value(setting: Setting, before: Values) -> io::Result<OldValue> {
    let path = format!("/proc/sys/{}", setting.path());
    Ok((CString::new(path)?, before.get(setting).to_string().into()))
}

/// The child's life. Every signal that can be held is held already, by the mask
/// it inherits; a session of its own keeps it from a kill of the group.
fn stand(maker: &OwnedFd, undo: &Undo<'_>) {
    let _ = setsid();
    while read(maker, &mut [0]) == Err(Errno::EINTR) {}
    undo.carry_out();
}

/// Tries again where a signal came between.
fn restore(path: &CStr, value: &[u8]) {
    loop {
        let done = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
            .and_then(|file| write(&file, value));
        if done != Err(Errno::EINTR) {
            return;
        }
    }
}
