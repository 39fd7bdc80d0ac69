//! Who has kept helpers waiting, so that nobody does so for ever.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// After so many stalls, a process's sockets are left alone.
const OF_A_PROCESS: usize = 2;
/// The same of a user's.
const OF_A_USER: usize = 4;
/// After so many in all, every socket is.
const IN_ALL: usize = 32;

/// The first few stalls are waited for as long as this.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// All later ones.
const LESS_PATIENCE: Duration = Duration::from_millis(200);

/// The stalls of one job, in all its threads.
#[derive(Debug, Default)]
pub struct Stalls {
    count: AtomicUsize,
    by: Mutex<By>,
}

#[derive(Debug, Default)]
struct By {
    process: HashMap<i32, usize>,
    user: HashMap<u32, usize>,
}

impl Stalls {
    /// Counts one that a process was the cause of.
    pub(super) fn add(&self, pid: i32) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        *by.process.entry(pid).or_default() += 1;
        if let Some(user) = user_of(pid) {
            *by.user.entry(user).or_default() += 1;
        }
    }

    /// Returns true if the sockets of a process are to be left alone.
    pub(super) fn avoid(&self, pid: i32) -> bool {
        let count = self.count.load(Ordering::Relaxed);
        if count < OF_A_PROCESS {
            return false;
        }
        let by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = || user_of(pid).and_then(|user| by.user.get(&user).copied());
        count >= IN_ALL
            || by.process.get(&pid).is_some_and(|n| *n >= OF_A_PROCESS)
            || of_user().is_some_and(|n| n >= OF_A_USER)
    }

    /// How long the next one is waited for.
    pub(super) fn patience(&self) -> Duration {
        match self.count.load(Ordering::Relaxed) {
            0..OF_A_USER => PATIENCE,
            _ => LESS_PATIENCE,
        }
    }
}

/// The user whose process it is.
fn user_of(pid: i32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|m| m.uid())
}

/// That a system call on a file of another process did not return.
pub(super) fn stalled() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "a system call on it did not return in time; its process keeps it from that",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stalls_is_avoided() {
        let own = i32::try_from(std::process::id()).unwrap();
        let stalls = Stalls::default();
        stalls.add(i32::MAX);
        assert!(!stalls.avoid(i32::MAX));
        stalls.add(i32::MAX);
        assert!(stalls.avoid(i32::MAX) && !stalls.avoid(own));
        assert_eq!(stalls.patience(), PATIENCE);
        // Processes of one user.
        (0..OF_A_USER).for_each(|_| stalls.add(own));
        assert!(stalls.avoid(own));
        assert_eq!(stalls.patience(), LESS_PATIENCE);
        (0..IN_ALL).for_each(|_| stalls.add(i32::MAX));
        assert!(stalls.avoid(1));
    }
}
