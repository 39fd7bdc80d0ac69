//! The process that undoes a change whose maker was killed.
//!
//! The kernel has three files and no way to write them as one. So before the
//! first write a child is forked that waits on a pipe. If the maker dies, be it
//! of SIGKILL, the pipe closes and the child undoes what is half done. The child
//! also holds the maker's locks (an flock belongs to the open file), so that
//! nobody comes between.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{close, pipe2, read, setsid, write};

use super::Error;
use super::child::Child;
use crate::model::{Setting, Values};

/// How long a guard that is sent away may take to go.
const PATIENCE: Duration = Duration::from_secs(1);

/// A waiting child. Dropped, it is sent away and nothing is undone.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    /// Its closing is what the child waits for.
    alive: OwnedFd,
}

/// What the child will write: made before the fork, because a forked child of a
/// process with threads may not allocate.
type OldValue = (CString, Vec<u8>);

impl Guard {
    /// Starts a child that restores `before` in the settings `changed` if this
    /// process dies.
    ///
    /// # Errors
    /// [`Error::Guard`]: nothing is changed then.
    pub(super) fn post(before: Values, changed: &[Setting]) -> Result<Guard, Error> {
        let old = changed.iter().map(|setting| old_value(*setting, before));
        let old: Vec<OldValue> = old.collect::<io::Result<_>>().map_err(Error::Guard)?;
        // Not for programs that others start meanwhile: they would keep it open.
        let (ours, alive) = pipe2(OFlag::O_CLOEXEC).map_err(|e| Error::Guard(e.into()))?;
        // SAFETY: the child calls async-signal-safe functions only (close, setsid,
        // read, open, write) and allocates nothing.
        let child = unsafe { Child::start(|| stand(&ours, &alive, &old)) };
        let child = child.map_err(Error::Guard)?;
        Ok(Guard { child, alive })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A word tells the child that the change is whole; without one, it would
        // take the closing pipe for this process's death. The child reads it as
        // long as it lives, and it lives as long as this process.
        let _ = write(&self.alive, &[0]);
        if !self.child.has_ended_within(PATIENCE) {
            // It is stopped, say. What it has read lets it end without a write.
            self.child.kill_within(PATIENCE);
        }
    }
}

fn old_value(setting: Setting, before: Values) -> io::Result<OldValue> {
    let path = format!("/proc/sys/{}", setting.path());
    Ok((CString::new(path)?, before.get(setting).to_string().into()))
}

/// The child's life. Every signal that can be held is held already, by the mask
/// it inherits; a session of its own keeps it from a kill of the group.
fn stand(maker: &OwnedFd, alive: &OwnedFd, old: &[OldValue]) {
    // Its owner's destructor never runs here: the child ends first.
    let _ = close(alive.as_raw_fd());
    let _ = setsid();
    let word = loop {
        match read(maker, &mut [0]) {
            Err(Errno::EINTR) => {}
            word => break word,
        }
    };
    if word == Ok(0) {
        old.iter().for_each(|(path, value)| restore(path, value));
    }
}

/// Tries again where a signal came between. A failure has nobody to be told to.
fn restore(path: &CStr, value: &[u8]) {
    loop {
        let done = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
            .and_then(|file| write(&file, value));
        if done != Err(Errno::EINTR) {
            return;
        }
    }
}
