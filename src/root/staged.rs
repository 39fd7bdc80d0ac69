//! A file or link that is made whole before it takes its place.
//!
//! It has no name at first where the file system allows that (`O_TMPFILE`), so
//! that a crash leaves nothing. What needs a name for a moment, because it has to
//! change places with what stands there, gets a random one that says whose it is.
//! A process that is killed in that moment leaves it, and the next change of the
//! same file removes it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, linkat, symlinkat, unlinkat};
use rustix::fs::{RenameFlags, renameat_with};
use rustix::rand::{GetRandomFlags, getrandom};

use super::read::names_in;
use super::standing::{FileState, status};
use super::{kind, of_descriptor, reopen, same};

/// Stands between a file's name and the random part of a name for a moment.
const MARK: &str = ".keepalivectl-";
const RANDOM_DIGITS: usize = 16;
/// How much of a file's own name is in such a name, which may have 255 bytes.
const LONGEST: usize = 200;

/// A file or link in a folder that has not taken its place yet. Dropped, it is
/// removed.
pub(super) struct Staged<'d> {
    dir: &'d OwnedFd,
    /// The name for the moment; none as long as it has no name.
    name: Option<String>,
    status: FileStat,
    /// The file, on which a lock is held that says that it is in use.
    file: Option<File>,
}

/// Why a file could not be made.
pub(super) enum Fault {
    /// An attribute of the old one cannot be kept.
    Attribute(String, io::Error),
    /// All else.
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Fault {
        Fault::Io(e)
    }
}

impl From<Errno> for Fault {
    fn from(e: Errno) -> Fault {
        Fault::Io(e.into())
    }
}

impl<'d> Staged<'d> {
    /// Makes a file that is to be called `name` in the end.
    pub(super) fn file(
        dir: &'d OwnedFd,
        name: &str,
        state: &FileState,
    ) -> Result<Staged<'d>, Fault> {
        let mut staged = Staged::empty(dir, name)?;
        let Some(file) = &mut staged.file else {
            return Ok(staged);
        };
        file.write_all(&state.bytes)?;
        let (user, group) = state.owner;
        let now = fstat(&*file)?;
        if (now.st_uid, now.st_gid) != state.owner {
            fchown(
                &*file,
                Some(Uid::from_raw(user)),
                Some(Gid::from_raw(group)),
            )?;
        }
        if let Some(attributes) = &state.attributes {
            let given = attributes.give(&*file);
            given.map_err(|(name, e)| Fault::Attribute(name, e))?;
        }
        // Last: the umask, a new owner and an access list change it.
        fchmod(&*file, Mode::from_bits_truncate(state.mode))?;
        file.sync_all()?;
        Ok(staged)
    }

    /// An empty file that only its owner can read.
    fn empty(dir: &'d OwnedFd, name: &str) -> io::Result<Staged<'d>> {
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let unnamed = openat(dir, ".", flags | OFlag::O_TMPFILE, private);
        let (opened, name) = match unnamed {
            // This file system knows no files without a name.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => {
                let name = fresh(name)?;
                let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL;
                (openat(dir, name.as_str(), flags, private)?, Some(name))
            }
            other => (other?, None),
        };
        let file = File::from(opened);
        // Without locks nothing is swept, which is all that they are for.
        let _ = file.try_lock();
        Ok(Staged {
            dir,
            name,
            status: fstat(&file)?,
            file: Some(file),
        })
    }

    /// Makes a link that is to be called `name` in the end.
    pub(super) fn link(dir: &'d OwnedFd, name: &str, target: &Path) -> io::Result<Staged<'d>> {
        let name = fresh(name)?;
        symlinkat(target, dir, name.as_str())?;
        let made = status(dir, Path::new(&name))?;
        Ok(Staged {
            dir,
            status: made.ok_or(Errno::ENOENT)?,
            name: Some(name),
            file: None,
        })
    }

    /// Takes a place where nothing stands; EEXIST if something does by now.
    pub(super) fn settle(mut self, name: &str) -> io::Result<()> {
        match (&self.name, &self.file) {
            (None, Some(file)) => link_file(file, self.dir, name)?,
            (None, None) => {}
            (Some(own), _) => rename_new(self.dir, own, name)?,
        }
        self.name = None;
        Ok(())
    }

    /// Its name for the moment, which `name` is a part of.
    pub(super) fn named(&mut self, name: &str) -> io::Result<String> {
        if let Some(own) = &self.name {
            return Ok(own.clone());
        }
        let own = fresh(name)?;
        if let Some(file) = &self.file {
            link_file(file, self.dir, &own)?;
        }
        self.name = Some(own.clone());
        Ok(own)
    }

    /// Leaves the name for the moment to whatever has it now.
    pub(super) fn leave_name(&mut self) {
        self.name = None;
    }

    /// Whether it is what has its name for the moment.
    pub(super) fn has_its_name(&self) -> bool {
        self.name.as_ref().is_some_and(|name| {
            let found = status(self.dir, Path::new(name));
            found.is_ok_and(|found| found.is_some_and(|found| same(&found, &self.status)))
        })
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name
            && self.has_its_name()
        {
            // The error that matters came before.
            let _ = unlinkat(self.dir, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Gives an open file without a name one that nothing has.
fn link_file(file: &File, dir: &OwnedFd, name: &str) -> nix::Result<()> {
    let link = of_descriptor(file.as_raw_fd());
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    linkat(AT_FDCWD, link.as_str(), dir, name, follow)
}

/// Renames to a name that nothing has.
pub(super) fn rename_new(dir: &OwnedFd, from: &str, to: &str) -> io::Result<()> {
    match renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            // This file system cannot look and rename at once.
            if status(dir, Path::new(to))?.is_some() {
                return Err(Errno::EEXIST.into());
            }
            Ok(nix::fcntl::renameat(dir, from, dir, to)?)
        }
        other => Ok(other?),
    }
}

/// A name that nothing has, in which one can see what it was for.
pub(super) fn fresh(name: &str) -> io::Result<String> {
    let mut random = [0; RANDOM_DIGITS / 2];
    getrandom(&mut random[..], GetRandomFlags::empty())?;
    let random = u64::from_ne_bytes(random);
    Ok(format!("{}{random:016x}", prefix(name)))
}

fn prefix(name: &str) -> String {
    let mut end = name.len().min(LONGEST);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!(".{}{MARK}", &name[..end])
}

/// Removes what runs that were killed have left of changes of `name`: names that
/// only this program gives, of files that no run holds a lock on. Links carry no
/// lock; they are written under the lock of the tree.
pub(super) fn sweep(dir: &OwnedFd, listing: OwnedFd, name: &str) {
    let prefix = prefix(name);
    let is_left = |found: &&str| {
        found.strip_prefix(&prefix).is_some_and(|random| {
            random.len() == RANDOM_DIGITS && random.bytes().all(|b| b.is_ascii_hexdigit())
        })
    };
    let names = names_in(listing).ok().flatten().unwrap_or_default();
    for left in names.iter().filter_map(|n| n.to_str()).filter(is_left) {
        if is_abandoned(dir, left) {
            // The next change tries again.
            let _ = unlinkat(dir, left, UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn is_abandoned(dir: impl AsFd, name: &str) -> bool {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Ok(found) = openat(dir, name, flags, Mode::empty()) else {
        return false;
    };
    match fstat(&found).map(|stat| kind(&stat)) {
        Ok(SFlag::S_IFLNK) => true,
        Ok(SFlag::S_IFREG) => reopen(&found).is_ok_and(|file| file.try_lock().is_ok()),
        _ => false,
    }
}
