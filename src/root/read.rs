//! Reading: files, folders, links, and the way to them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat};

use super::{FileError, Result, Root, TRIES, inside, name_of, reopen, same, take, there};

/// The most names that are read of a folder.
pub const MOST_NAMES: usize = 100_000;

/// What a file holds, and where it really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its path with all links resolved, inside the tree.
    pub real_path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its permissions, such as 0o644.
    pub mode: u32,
}

impl Root {
    /// Reads a regular file of at most `limit` bytes; `None` if there is none.
    ///
    /// # Errors
    /// Not readable, not a regular file, or larger.
    pub fn read(&self, path: impl AsRef<Path>, limit: usize) -> Result<Option<Content>> {
        let path = path.as_ref();
        let read = |source| FileError::Read {
            path: self.display(path),
            source,
        };
        let opened = there(self.open(path, OFlag::O_PATH));
        let Some(found) = opened.map_err(|e| self.unreadable(path, e))? else {
            return Ok(None);
        };
        let stat = fstat(&found).map_err(|e| self.unreadable(path, e))?;
        self.require_file(path, &stat)?;
        let real_path = self.real_path(&found).map_err(read)?;
        let mut file = reopen(&found).map_err(read)?;
        let Some(bytes) = take(&mut file, &stat, limit).map_err(read)? else {
            let path = self.display(path);
            return Err(FileError::TooLarge { path, limit });
        };
        Ok(Some(Content {
            real_path,
            bytes,
            mode: stat.st_mode & 0o7777,
        }))
    }

    /// The names in a folder, unsorted; none if there is no such folder.
    ///
    /// # Errors
    /// Not readable, or more than [`MOST_NAMES`].
    pub fn names(&self, dir: impl AsRef<Path>) -> Result<Vec<OsString>> {
        let dir = dir.as_ref();
        let failed = |e| self.unreadable(dir, e);
        let opened = there(self.open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY));
        let Some(fd) = opened.map_err(failed)? else {
            return Ok(Vec::new());
        };
        match names_in(fd).map_err(failed)? {
            Some(names) => Ok(names),
            None => Err(FileError::TooMany {
                path: self.display(dir),
                limit: MOST_NAMES,
            }),
        }
    }

    /// Whether anything is there, after links.
    ///
    /// # Errors
    /// It cannot be told, for want of permission say.
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
        let path = path.as_ref();
        let found = there(self.open(path, OFlag::O_PATH));
        found
            .map(|fd| fd.is_some())
            .map_err(|e| self.unreadable(path, e))
    }

    /// The real path of something that is there, with the status of each of
    /// its folders and of itself, outermost first; `None` if it is not there.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<Option<(PathBuf, Vec<FileStat>)>> {
        let path = path.as_ref();
        let failed = |e| self.unreadable(path, e);
        let Some(fd) = there(self.open(path, OFlag::O_PATH)).map_err(failed)? else {
            return Ok(None);
        };
        let real = self.real_path(&fd).map_err(|source| FileError::Read {
            path: self.display(path),
            source,
        })?;
        let chain = self.chain(&real).map_err(failed)?;
        let found = fstat(&fd).map_err(failed)?;
        match chain.last().is_some_and(|last| same(last, &found)) {
            true => Ok(Some((real, chain))),
            // A folder on the way was moved meanwhile.
            false => Err(failed(Errno::ESTALE)),
        }
    }

    /// The status of the top and of each step of a path, none of them a link.
    fn chain(&self, real: &Path) -> nix::Result<Vec<FileStat>> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut at = self.top()?;
        let mut chain = vec![fstat(&at)?];
        for step in inside(real).components() {
            at = openat(&at, Path::new(&step), flags, Mode::empty())?;
            chain.push(fstat(&at)?);
        }
        Ok(chain)
    }

    /// What a symbolic link says; `None` if there is no link there.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn link_target(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        let path = path.as_ref();
        let target = || {
            let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
                return Ok(None);
            };
            let Some(dir) = there(self.open(dir, OFlag::O_PATH))? else {
                return Ok(None);
            };
            match readlinkat(dir, name) {
                Ok(target) => Ok(Some(target.into())),
                Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
                Err(e) => Err(e),
            }
        };
        target().map_err(|e| self.unreadable(path, e))
    }

    /// Where an open file is at this moment, inside the tree.
    fn real_path(&self, fd: &OwnedFd) -> io::Result<PathBuf> {
        let Some(top) = &self.top else {
            return name_of(fd);
        };
        for _ in 0..TRIES {
            // The tree may be renamed while the two are asked.
            let (before, real, after) = (name_of(top)?, name_of(fd)?, name_of(top)?);
            if before == after
                && let Ok(inside) = real.strip_prefix(&before)
            {
                return Ok(Path::new("/").join(inside));
            }
        }
        Err(Errno::EXDEV.into())
    }
}

/// The names in an open folder; `None` if there are more than [`MOST_NAMES`].
pub(super) fn names_in(folder: OwnedFd) -> nix::Result<Option<Vec<OsString>>> {
    let mut names = Vec::new();
    for entry in nix::dir::Dir::from_fd(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if names.len() == MOST_NAMES {
            return Ok(None);
        }
        names.push(name.to_owned());
    }
    Ok(Some(names))
}
