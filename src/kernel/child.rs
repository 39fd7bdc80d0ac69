//! A forked child that does one thing, and that nobody has to wait for.
//!
//! `kill(2)` may be denied (seccomp), and a child may be stopped or be held in a
//! system call that no signal ends. So a wait for its end has a limit.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

/// The child.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// None before Linux 5.3.
    pidfd: Option<OwnedFd>,
}

impl Child {
    /// Forks a child that does `life` and ends.
    ///
    /// # Errors
    /// What the kernel says: EAGAIN where no more processes are allowed.
    ///
    /// # Safety
    /// The process may have other threads, so `life` must call async-signal-safe
    /// functions only (`signal-safety(7)`); it must not allocate.
    pub(super) unsafe fn start(life: impl FnOnce()) -> io::Result<Child> {
        // SAFETY: the child runs `life`, of which the caller vouches, and ends in
        // `EndsHere`.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Child {
                pid: child,
                pidfd: rustix::process::Pid::from_raw(child.as_raw())
                    .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()),
            }),
            ForkResult::Child => {
                let end = EndsHere;
                life();
                drop(end);
                unreachable!("the process has ended")
            }
        }
    }

    /// Its number.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns true if the child has ended within `limit`. It is reaped then.
    pub(super) fn has_ended_within(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
                // ECHILD: somebody else has reaped it.
                _ => return true,
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.sleep(left);
        }
    }

    /// Ends the child by SIGKILL, and waits for that no longer than `limit`.
    /// Returns true if it has ended.
    pub(super) fn kill_within(&self, limit: Duration) -> bool {
        // Whether it was denied shows in what comes next. A number can be another
        // process's if somebody else has reaped this one.
        let _ = match &self.pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd, rustix::process::Signal::KILL).is_ok(),
            None => kill(self.pid, Signal::SIGKILL).is_ok(),
        };
        self.has_ended_within(limit)
    }

    /// Sleeps until it ends, for `longest` at the most.
    fn sleep(&self, longest: Duration) {
        const PAUSE: Duration = Duration::from_micros(200);
        match &self.pidfd {
            Some(pidfd) => {
                let ended = PollFd::new(pidfd.as_fd(), PollFlags::POLLIN);
                let longest = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
                // Interrupted, it is looked at again.
                let _ = poll(&mut [ended], longest);
            }
            None => sleep(PAUSE.min(longest)),
        }
    }
}

/// Ends the process when it is dropped, in a panic too: a child must not go on
/// with what its parent was about to do.
struct EndsHere;

impl Drop for EndsHere {
    fn drop(&mut self) {
        // SAFETY: _exit(2) ends the child without running anything of the
        // parent's.
        unsafe { libc::_exit(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_does_not_end_is_not_waited_for() {
        // SAFETY: the child does nothing at all.
        let child = unsafe { Child::start(|| ()) }.unwrap();
        assert!(child.has_ended_within(Duration::from_secs(10)));
        // SAFETY: the child calls pause(2) only.
        let child = unsafe { Child::start(nix::unistd::pause) }.unwrap();
        assert!(!child.has_ended_within(Duration::from_millis(20)));
        assert!(child.kill_within(Duration::from_secs(10)));
    }
}
