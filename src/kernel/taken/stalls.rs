//! Who has kept helpers waiting, and for how long, so that nobody does so for ever.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Target;
use crate::kernel::processes;

/// How long one system call may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// The same, when more than [`MUCH`] was spent on waiting.
const LESS_PATIENCE: Duration = Duration::from_millis(100);
const MUCH: Duration = Duration::from_secs(5);

/// After so long a wait, a process's sockets are left alone.
const FOR_A_PROCESS: Duration = Duration::from_secs(2);
/// The same for the sockets that a user made. Root's are made by many: a process of
/// root's may be a container's, and a set-uid program may have been started by anybody.
const FOR_A_USER: Duration = Duration::from_secs(4);
/// After so long a wait in all, every socket is left alone.
const IN_ALL: Duration = Duration::from_secs(30);

/// The waits of one job, in all its threads.
#[derive(Debug, Default)]
pub struct Stalls(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    all: Duration,
    process: HashMap<i32, Duration>,
    user: HashMap<u32, Duration>,
}

impl Stalls {
    /// Adds a wait that a socket was the cause of.
    pub(super) fn add(&self, target: Target, wait: Duration) {
        // A process may have got a socket of somebody else's.
        let users_own = processes::user(target.pid) == Some(target.uid);
        self.spend(target, users_own, wait);
    }

    fn spend(&self, target: Target, users_own: bool, wait: Duration) {
        let mut spent = self.spent();
        spent.all += wait;
        *spent.process.entry(target.pid).or_default() += wait;
        if users_own {
            *spent.user.entry(target.uid).or_default() += wait;
        }
    }

    /// Returns true if a socket is to be left alone.
    pub(super) fn avoid(&self, target: Target) -> bool {
        const ROOT: u32 = 0;
        let spent = self.spent();
        let of_process = spent.process.get(&target.pid);
        let of_user = spent.user.get(&target.uid).filter(|_| target.uid != ROOT);
        spent.all >= IN_ALL
            || of_process.is_some_and(|wait| *wait >= FOR_A_PROCESS)
            || of_user.is_some_and(|wait| *wait >= FOR_A_USER)
    }

    /// How long the next system call may take.
    pub(super) fn patience(&self) -> Duration {
        match self.spent().all < MUCH {
            true => PATIENCE,
            false => LESS_PATIENCE,
        }
    }

    fn spent(&self) -> std::sync::MutexGuard<'_, Spent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a system call on a file of another process did not return.
pub(super) fn stalled() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "a system call on it did not return in time: a process that holds it keeps it from that",
    )
}

/// That nothing was tried.
pub(super) fn avoided() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "left alone: sockets of its process or user have kept this program waiting for too long",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pid: i32, uid: u32) -> Target {
        Target {
            pid,
            fd: 3,
            cookie: 1,
            uid,
        }
    }

    #[test]
    fn who_stalls_is_avoided() {
        let stalls = Stalls::default();
        stalls.spend(of(1, 1000), true, PATIENCE);
        assert!(!stalls.avoid(of(1, 1000)));
        stalls.spend(of(1, 1000), true, PATIENCE);
        assert!(stalls.avoid(of(1, 1000)) && !stalls.avoid(of(2, 1000)));
        stalls.spend(of(2, 1000), true, PATIENCE);
        stalls.spend(of(3, 1000), true, PATIENCE);
        assert!(stalls.avoid(of(4, 1000)) && !stalls.avoid(of(5, 1001)));
        assert_eq!(stalls.patience(), PATIENCE);
        // Not the user whose socket another process has.
        (50..60).for_each(|pid| stalls.spend(of(pid, 1002), false, Duration::from_millis(400)));
        assert!(!stalls.avoid(of(61, 1002)));
        // Root's processes may be anybody's.
        (10..20).for_each(|pid| stalls.spend(of(pid, 0), true, PATIENCE));
        assert!(!stalls.avoid(of(99, 0)));
        assert_eq!(stalls.patience(), LESS_PATIENCE);
        (20..40).for_each(|pid| stalls.spend(of(pid, 0), true, PATIENCE));
        assert!(stalls.avoid(of(99, 0)));
    }
}
