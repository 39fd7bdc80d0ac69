//! The process that undoes a change whose maker was killed.
//!
//! The kernel has three files and no way to write them as one. So before the
//! first write a child is forked that waits on a pipe. If the maker dies, be it
//! of SIGKILL, the pipe closes and the child writes the old values back. The
//! child also holds the maker's lock (an flock belongs to the open file), so
//! that nobody comes between.

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
use crate::model::{Setting, Values};

/// A waiting child. Dropped, it is sent away and nothing is undone.
#[derive(Debug)]
pub(super) struct Guard {
    child: Pid,
    /// Its closing is what the child waits for.
    _alive: OwnedFd,
}

/// What the child will write: made before the fork, because a forked child of a
/// process with threads may not allocate.
type OldValue = (CString, Vec<u8>);

impl Guard {
    /// Starts the child, which will restore `before` in the settings `changed`.
    pub(super) fn post(before: Values, changed: &[Setting]) -> Result<Guard, Error> {
        let old = changed
            .iter()
            .map(|setting| old_value(*setting, before))
            .collect::<io::Result<Vec<OldValue>>>()
            .map_err(Error::Guard)?;
        let failed = |e: Errno| Error::Guard(io::Error::from(e));
        // Not for programs that others start meanwhile: they would keep it open.
        let (ours, alive) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        // SAFETY: the child calls async-signal-safe functions only (close,
        // setsid, read, open, write, _exit), allocates nothing and never
        // returns from this block, so it is sound even with other threads.
        match unsafe { fork() }.map_err(failed)? {
            ForkResult::Parent { child } => Ok(Guard {
                child,
                _alive: alive,
            }),
            ForkResult::Child => {
                drop(alive);
                stand(&ours, &old);
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
fn stand(maker: &OwnedFd, old: &[OldValue]) {
    let _ = setsid();
    while read(maker, &mut [0]) == Err(Errno::EINTR) {}
    for (path, value) in old {
        restore(path, value);
    }
}

/// Tries again where a signal came between. Any other failure has nobody to be
/// told to.
fn restore(path: &CStr, value: &[u8]) {
    loop {
        let done = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
            .and_then(|file| write(&file, value));
        if done != Err(Errno::EINTR) {
            return;
        }
    }
}
