//! One writer at a time.
//!
//! On the machine itself the lock is on a file in `/run/keepalivectl` that only
//! root can open: on a file that all can read, anybody could hold it for ever.
//! In another tree it is on the tree's own folder, so that nothing is left in
//! an image.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Error;
use crate::root::Root;

const LOCK_FILE: &str = "/run/keepalivectl/lock";
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// The lock, held until this is dropped or the process and its children are
/// gone.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock, and waits up to ten seconds for it.
///
/// # Errors
/// [`Error::Busy`] if another still holds it then; [`Error::File`] if it cannot
/// be opened, which takes root on the machine itself.
pub fn take(root: &Root) -> Result<Lock, Error> {
    let (file, path) = if root.is_machine() {
        (root.open_private(LOCK_FILE)?, Path::new(LOCK_FILE))
    } else {
        (root.open_top()?, Path::new("/"))
    };
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Busy {
                    lock: root.display(path),
                    waited: PATIENCE,
                });
            }
            Err(TryLockError::Error(source)) => {
                let lock = root.display(path);
                return Err(Error::Lock { lock, source });
            }
        }
    }
}
