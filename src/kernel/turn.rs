//! One writer of the three values at a time, in each network namespace.
//!
//! The kernel has no way to write three files as one. So whoever of us reads them
//! to change them holds a lock until the change is whole or undone. The process
//! that undoes it if its maker is killed (`guard`) holds it too: an flock belongs
//! to the open file, which it inherits. So of those that share the lock, nobody
//! sees, remembers or undoes half a change of another.
//!
//! The lock is an flock on a file that only those can open who may write the
//! values: `tcp_fastopen_key` has the mode 0600, and the kernel gives its owner's
//! rights to whoever has CAP_NET_ADMIN in the namespace (`net_ctl_permissions`
//! in `net/sysctl_net.c`). So nobody else can hold it; the root of a namespace can,
//! who may be any user, and is waited for no longer than ten seconds. It is there on every kernel
//! and before any file system is, and no write is needed to take it, so the unit
//! can take it in its sandbox. There, `/proc` is another mount with files of its
//! own, so systemd opens the machine's for it, as its standard input.
//!
//! Those share the lock that see the same mount of procfs, or a bind mount or
//! another mount namespace's copy of it. Each new mount of procfs has files of its
//! own, and so a lock of its own. So a container with the host's network and its own
//! `/proc` takes no turns with the host: two of us, one inside and one outside, can
//! read half a change of the other, remember it, and write between its writes. Each
//! reads back what it wrote, and only what it finds then is told.
//!
//! In `/run` is one more lock, of whole jobs, which the unit does not need.

use std::fs::File;
use std::io::{self, Stdin};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::Error;

/// What the lock is on.
pub const FILE: &str = "/proc/sys/net/ipv4/tcp_fastopen_key";
const PATIENCE: Duration = Duration::from_secs(10);
/// What an honest writer needs, however long others were waited for.
const AT_LEAST: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(5);

/// The right to write the values, until this is dropped or the process and its
/// children are gone.
#[derive(Debug)]
pub struct Turn {
    /// None on kernels before 4.15, which have the file in the first namespace only.
    _file: Option<File>,
}

/// For how long one waits for turns, in all the namespaces of one job: the root of a
/// namespace, who may be any user, can keep its turn for ever.
#[derive(Debug)]
pub struct Patience(Mutex<Duration>);

impl Default for Patience {
    fn default() -> Patience {
        Patience(Mutex::new(PATIENCE))
    }
}

impl Patience {
    fn left(&self) -> MutexGuard<'_, Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits up to ten seconds for the turn in the calling thread's namespace.
///
/// # Errors
/// [`Error::NotYourTurn`] if another has it then; [`Error::Turn`] if the lock cannot
/// be had, for want of CAP_NET_ADMIN say.
pub fn take() -> Result<Turn, Error> {
    take_with(&Patience::default())
}

/// The same for a job that takes several.
///
/// # Errors
/// As [`take`].
pub fn take_with(patience: &Patience) -> Result<Turn, Error> {
    match File::open(FILE) {
        Ok(file) => wait(file, patience),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Turn { _file: None }),
        Err(e) => Err(Error::Turn(e)),
    }
}

/// The same for the unit, which has the file at its standard input.
///
/// # Errors
/// As [`take`].
pub fn take_as_unit() -> Result<Turn, Error> {
    match at_standard_input(&io::stdin()) {
        Some(file) => wait(file, &Patience::default()),
        None => take(),
    }
}

fn at_standard_input(input: &Stdin) -> Option<File> {
    let status = fstat(input).ok()?;
    let is_private_file = status.st_mode == SFlag::S_IFREG.bits() | 0o600;
    let system = fstatfs(input).ok()?.filesystem_type();
    let is_ours = is_private_file && system == PROC_SUPER_MAGIC;
    let file = is_ours.then(|| input.as_fd().try_clone_to_owned().ok());
    file.flatten().map(File::from)
}

fn wait(file: File, patience: &Patience) -> Result<Turn, Error> {
    use std::fs::TryLockError::{Error as Failed, WouldBlock};
    let start = Instant::now();
    let mut left = patience.left();
    loop {
        match file.try_lock() {
            Ok(()) => {
                *left = left.saturating_sub(start.elapsed());
                return Ok(Turn { _file: Some(file) });
            }
            Err(WouldBlock) if start.elapsed() < (*left).max(AT_LEAST) => sleep(PAUSE),
            Err(WouldBlock) => {
                *left = Duration::ZERO;
                let waited = start.elapsed();
                return Err(Error::NotYourTurn { waited });
            }
            Err(Failed(e)) => return Err(Error::Turn(e)),
        }
    }
}
