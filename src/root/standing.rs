//! What stands in a place: what a change expects to find there, what it puts
//! there, and what undoes it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{getegid, geteuid};

use super::attributes::Attributes;
use super::{FileError, Result, Root, kind, reopen, take, there};

/// The largest file that is changed, in bytes.
pub const LARGEST_CHANGED: usize = 4 << 20;

/// What stands in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// A symbolic link, which says this.
    Link(PathBuf),
    /// A regular file.
    File(FileState),
}

/// A regular file, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its permissions, such as 0o644.
    pub mode: u32,
    /// The numbers of its user and its group.
    pub owner: (u32, u32),
    /// Its access list and extended attributes; `None` where they do not matter.
    pub attributes: Option<Attributes>,
    /// How many names it has. Nothing to be put anywhere.
    pub names: u64,
}

impl FileState {
    /// A file of this process's user.
    pub fn ours(bytes: Vec<u8>, mode: u32) -> FileState {
        FileState {
            bytes,
            mode,
            owner: (geteuid().as_raw(), getegid().as_raw()),
            attributes: None,
            names: 1,
        }
    }

    /// Returns true if a file that was found is as this one says.
    fn is_met_by(&self, found: &FileState) -> bool {
        let attributes = match (&self.attributes, &found.attributes) {
            (Some(wanted), Some(found)) => wanted.same(found),
            _ => true,
        };
        attributes
            && (self.mode, self.owner) == (found.mode, found.owner)
            && self.bytes == found.bytes
    }
}

impl Standing {
    /// Returns true if what was found is as this says.
    pub fn is_met_by(&self, found: &Standing) -> bool {
        match (self, found) {
            (Standing::File(wanted), Standing::File(found)) => wanted.is_met_by(found),
            _ => self == found,
        }
    }
}

impl Root {
    /// What stands in a place. Links on the way are followed, the last is not.
    ///
    /// # Errors
    /// It cannot be read, is larger than [`LARGEST_CHANGED`], or is neither a
    /// file nor a link.
    pub fn standing(&self, path: impl AsRef<Path>) -> Result<Standing> {
        let path = path.as_ref();
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(self.unreadable(path, Errno::EISDIR));
        };
        let opened = there(self.open(folder, OFlag::O_PATH));
        match opened.map_err(|e| self.unreadable(path, e))? {
            None => Ok(Standing::Nothing),
            Some(dir) => self.standing_in(&dir, Path::new(name), path).map(|at| at.0),
        }
    }

    /// The same of a name in an open folder, with the open file if it is one.
    pub(super) fn standing_in(
        &self,
        dir: &OwnedFd,
        name: &Path,
        shown: &Path,
    ) -> Result<(Standing, Option<File>)> {
        let failed = |e: Errno| self.unreadable(shown, e);
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let Some(found) = there(openat(dir, name, flags, Mode::empty())).map_err(failed)? else {
            return Ok((Standing::Nothing, None));
        };
        let stat = fstat(&found).map_err(failed)?;
        if kind(&stat) == SFlag::S_IFLNK {
            // An empty name: that of the link that is open.
            let target = readlinkat(&found, "").map_err(failed)?;
            return Ok((Standing::Link(target.into()), None));
        }
        self.require_file(shown, &stat)?;
        let read = |source| FileError::Read {
            path: self.display(shown),
            source,
        };
        let mut file = reopen(&found).map_err(read)?;
        let bytes = take(&mut file, &stat, LARGEST_CHANGED).map_err(read)?;
        let Some(bytes) = bytes else {
            let (path, limit) = (self.display(shown), LARGEST_CHANGED);
            return Err(FileError::TooLarge { path, limit });
        };
        let state = FileState {
            bytes,
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            attributes: Some(Attributes::read(&file).map_err(read)?),
            names: file.metadata().map_err(read)?.nlink(),
        };
        Ok((Standing::File(state), Some(file)))
    }
}

/// The status of a name in a folder; `None` if nothing has it.
pub(super) fn status(dir: impl AsFd, name: &Path) -> io::Result<Option<FileStat>> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
