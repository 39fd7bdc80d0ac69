//! One writer at a time.
//!
//! The lock is on a file in `/run/keepalivectl` that only root can open: on a file
//! or folder that all can read, anybody could hold it for ever. That holds for
//! another tree too, whose own folder its readers can open.
//!
//! Who is not root has no such place. Then it is on a file of the user's own in
//! `$XDG_RUNTIME_DIR`, or where none can be made, on the tree's own folder: others
//! who can open that can make this user wait, and not root.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;

use super::Error;
use crate::root::{FileError, Root};

const LOCK_FILE: &str = "/run/keepalivectl/lock";
/// How many locks all other trees share. Two trees with the same one wait for each
/// other, for the moment that it takes to write; and `/run` does not fill.
const TREE_LOCKS: u64 = 64;
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
    let (file, path) = open(root)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Busy {
                    lock: path,
                    waited: PATIENCE,
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(Error::Lock { lock: path, source });
            }
        }
    }
}

/// The file that the lock is on, and its name for people.
fn open(root: &Root) -> Result<(File, PathBuf), Error> {
    let machine = Root::machine();
    if root.is_machine() {
        return Ok((machine.open_private(LOCK_FILE)?, LOCK_FILE.into()));
    }
    let top = root.top_status()?;
    let name = format!("tree-{}.lock", (top.st_dev ^ top.st_ino) % TREE_LOCKS);
    if geteuid().is_root() {
        let path = Path::new(LOCK_FILE).with_file_name(name);
        match machine.open_private(&path) {
            Ok(file) => return Ok((file, path)),
            // The root of a user namespace may have no `/run`.
            Err(e) if is_refused(&e) => {}
            Err(e) => return Err(e.into()),
        }
    } else if let Some(folder) = own_runtime_folder() {
        let path = folder.join(format!("keepalivectl-{name}"));
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW | O_NONBLOCK)
            .open(&path);
        match opened {
            Ok(file) => return Ok((file, path)),
            Err(e) if is_refusal(e.kind()) => {}
            Err(source) => return Err(Error::Lock { lock: path, source }),
        }
    }
    Ok((root.open_top()?, root.display("/")))
}

/// The folder of this user alone, while logged in.
fn own_runtime_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_DIRECTORY | O_NOFOLLOW)
        .open(&folder);
    let status = opened.and_then(|opened| opened.metadata()).ok()?;
    let is_own = status.uid() == geteuid().as_raw() && status.mode() & 0o077 == 0;
    (is_own && folder.is_absolute()).then_some(folder)
}

fn is_refused(e: &FileError) -> bool {
    matches!(e, FileError::Write { source, .. } if is_refusal(source.kind()))
}

/// What stays refused: an answer that may change would part two writers.
fn is_refusal(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(kind, PermissionDenied | ReadOnlyFilesystem)
}
