//! The file tree we act on: this machine's, or that of an image or a fixture.
//!
//! Every access to a file goes through one [`Root`], writes included. Links
//! inside a tree are followed inside it, as if it were `/`. Writes follow no
//! link at all: each folder on the way is opened without following, the file
//! is made beside its final name, and a rename puts it in place.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{
    AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlink, readlinkat, renameat,
};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, symlinkat, unlinkat};
use thiserror::Error;

/// What went wrong with a file.
#[derive(Debug, Error)]
pub enum FileError {
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It could not be written, made or removed.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is not a regular file.
    #[error("{} is {kind}, not a file", path.display())]
    NotAFile {
        /// What stands there.
        path: PathBuf,
        /// A directory, a pipe, ….
        kind: &'static str,
    },
    /// It is larger than anything it could rightly be.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: usize,
    },
    /// A write would go through a symbolic link.
    #[error(
        "{} is a symbolic link, and nothing is written through one; remove it or put a real file \
         or folder there",
        path.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The tree itself is not there.
    #[error("cannot use {} as a root", path.display())]
    NoRoot {
        /// As it was given.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, FileError>;

/// The file tree we act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
}

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
    /// This machine's own tree.
    pub fn machine() -> Root {
        Root {
            path: PathBuf::from("/"),
        }
    }

    /// The tree below a folder.
    ///
    /// # Errors
    /// [`FileError::NoRoot`] if it is not a folder, or has a name that is not
    /// UTF-8 and could not be reported.
    pub fn at(path: impl AsRef<Path>) -> Result<Root> {
        let failed = |source| FileError::NoRoot {
            path: path.as_ref().to_owned(),
            source,
        };
        let real = path.as_ref().canonicalize().map_err(failed)?;
        if !real.is_dir() {
            return Err(failed(io::Error::from(Errno::ENOTDIR)));
        }
        if real.to_str().is_none() {
            return Err(failed(io::Error::from(Errno::EILSEQ)));
        }
        Ok(Root { path: real })
    }

    /// Whether this is the running machine's tree.
    pub fn is_machine(&self) -> bool {
        self.path == Path::new("/")
    }

    /// The path for people: `/etc/x` in the tree `/image` is `/image/etc/x`.
    pub fn display(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(inside(path.as_ref()))
    }

    /// Reads a regular file of at most `limit` bytes; `None` if there is none.
    ///
    /// # Errors
    /// Not readable, not a regular file, or larger.
    pub fn read(&self, path: impl AsRef<Path>, limit: usize) -> Result<Option<Content>> {
        let path = path.as_ref();
        // Without O_NONBLOCK a pipe in the file's place would wait for a writer.
        let opened = there(self.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK));
        let Some(file) = opened.map_err(|e| self.unreadable(path, e))? else {
            return Ok(None);
        };
        let stat = fstat(&file).map_err(|e| self.unreadable(path, e))?;
        self.require_file(path, &stat)?;
        let real_path = self
            .real_path(&file)
            .map_err(|e| self.unreadable(path, e))?;
        let expected = usize::try_from(stat.st_size).unwrap_or(0);
        let mut bytes = Vec::with_capacity(expected.min(limit) + 1);
        File::from(file)
            .take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| FileError::Read {
                path: self.display(path),
                source,
            })?;
        if bytes.len() > limit {
            let path = self.display(path);
            return Err(FileError::TooLarge { path, limit });
        }
        let mode = stat.st_mode & 0o7777;
        Ok(Some(Content {
            real_path,
            bytes,
            mode,
        }))
    }

    /// The names in a folder, unsorted; none if there is no such folder.
    ///
    /// # Errors
    /// Not readable.
    pub fn names(&self, dir: impl AsRef<Path>) -> Result<Vec<OsString>> {
        let dir = dir.as_ref();
        let failed = |e| self.unreadable(dir, e);
        let opened = there(self.open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY));
        let Some(fd) = opened.map_err(failed)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in nix::dir::Dir::from_fd(fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
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
        let real = self.real_path(&fd).map_err(failed)?;
        let mut chain: Vec<&Path> = real.ancestors().collect();
        chain.reverse();
        let status = |p: &Path| fstat(self.open(p, OFlag::O_PATH)?);
        let statuses: nix::Result<_> = chain.into_iter().map(status).collect();
        let statuses = statuses.map_err(failed)?;
        Ok(Some((real, statuses)))
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

    /// Puts a file in place, whole: a temporary file in the same folder, fsync,
    /// rename, fsync of the folder. Its owner and group stay who they are. Folders
    /// on the way are made, for the owner alone if the file is.
    ///
    /// # Errors
    /// [`FileError::Link`] or [`FileError::NotAFile`] if something else stands
    /// in its place, [`FileError::Write`] for all else. The old file is then
    /// untouched, unless it was the last fsync that failed.
    pub fn replace(&self, path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
        let path = path.as_ref();
        let failed = |e: Errno| self.unwritable(path, e);
        let (dir, name, before) = self.place(path, folder_mode(mode))?;
        let temporary = format!(".{name}.new");
        remove_at(&dir, &temporary).map_err(failed)?;
        let put = || -> io::Result<()> {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let mode = Mode::from_bits_truncate(mode);
            let mut file = File::from(openat(&dir, temporary.as_str(), flags, mode)?);
            file.write_all(bytes)?;
            if let Some(before) = before {
                keep_owner(&file, &before)?;
            }
            // The umask may have taken bits away.
            fchmod(&file, mode)?;
            file.sync_all()?;
            renameat(&dir, temporary.as_str(), &dir, name)?;
            Ok(())
        };
        if let Err(source) = put() {
            // The error that matters is the first one.
            let _ = remove_at(&dir, &temporary);
            let path = self.display(path);
            return Err(FileError::Write { path, source });
        }
        fsync(&dir).map_err(failed)
    }

    /// Removes a file or a link; `false` if there was none.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<bool> {
        let path = path.as_ref();
        let failed = |e: Errno| self.unwritable(path, e);
        let (dir, name) = match self.folder(path, None) {
            Ok(place) => place,
            Err(FileError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        let removed = remove_at(&dir, name).map_err(failed)?;
        if removed {
            fsync(&dir).map_err(failed)?;
        }
        Ok(removed)
    }

    /// Removes a folder, if it is empty.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn remove_folder(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (dir, name) = self.folder(path, None)?;
        match unlinkat(&dir, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST) => Ok(()),
            Err(e) => Err(self.unwritable(path, e)),
        }
    }

    /// Puts a symbolic link in place, over another one if need be.
    ///
    /// # Errors
    /// [`FileError::Write`], with EEXIST if anything but a link is there.
    pub fn link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |e: Errno| self.unwritable(path, e);
        let (dir, name) = self.folder(path, Some(FOR_ALL))?;
        match fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) if kind(&stat) == SFlag::S_IFLNK => {}
            Err(Errno::ENOENT) => {}
            Ok(_) => return Err(failed(Errno::EEXIST)),
            Err(e) => return Err(failed(e)),
        }
        let temporary = format!(".{name}.new");
        remove_at(&dir, &temporary).map_err(failed)?;
        let put = || {
            symlinkat(target.as_ref(), &dir, temporary.as_str())?;
            renameat(&dir, temporary.as_str(), &dir, name)
        };
        if let Err(e) = put() {
            // The error that matters is the first one.
            let _ = remove_at(&dir, &temporary);
            return Err(failed(e));
        }
        fsync(&dir).map_err(failed)
    }

    /// Opens the file that a lock is taken on, mode 0600, made if it is missing.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn open_private(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        let (dir, name, _) = self.place(path, FOR_ALL)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map(File::from)
            .map_err(|e| self.unwritable(path, e))
    }

    /// Opens the tree's own folder.
    ///
    /// # Errors
    /// [`FileError::Read`].
    pub fn open_top(&self) -> Result<File> {
        self.top()
            .map(File::from)
            .map_err(|e| self.unreadable(Path::new("/"), e))
    }

    fn top(&self) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(&self.path, flags, Mode::empty())
    }

    /// Opens for reading, following links inside the tree.
    fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let flags = flags | OFlag::O_CLOEXEC;
        if self.is_machine() {
            return open(path, flags, Mode::empty());
        }
        let how = OpenHow::new()
            .flags(flags)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = inside(path);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let top = self.top()?;
        loop {
            // EAGAIN: something was renamed while a `..` was being followed.
            match openat2(&top, path, how) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                other => return other,
            }
        }
    }

    /// Where an open file really is, inside the tree.
    fn real_path(&self, fd: &OwnedFd) -> nix::Result<PathBuf> {
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let real = PathBuf::from(readlink(link.as_str())?);
        let inside = real.strip_prefix(&self.path).map_err(|_| Errno::EXDEV)?;
        Ok(Path::new("/").join(inside))
    }

    /// The folder that `path` is to be written in, its name there, and what stands
    /// there; refused if that is not a regular file.
    fn place<'p>(&self, path: &'p Path, made: Mode) -> Result<Place<'p>> {
        let (dir, name) = self.folder(path, Some(made))?;
        match fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                self.require_file(path, &stat)?;
                Ok((dir, name, Some(stat)))
            }
            Err(Errno::ENOENT) => Ok((dir, name, None)),
            Err(e) => Err(self.unwritable(path, e)),
        }
    }

    /// Opens the folder of `path`, following no link; `make` makes what is
    /// missing, with that mode.
    fn folder<'p>(&self, path: &'p Path, make: Option<Mode>) -> Result<(OwnedFd, &'p str)> {
        let invalid = || self.unwritable(path, Errno::EINVAL);
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .ok_or_else(invalid)?;
        let parent = path.parent().ok_or_else(invalid)?;
        let mut dir = self.top().map_err(|e| self.unwritable(path, e))?;
        let mut so_far = PathBuf::from("/");
        for component in inside(parent).components() {
            let Component::Normal(step) = component else {
                return Err(invalid());
            };
            so_far.push(step);
            dir = self.step(&dir, Path::new(step), &so_far, make)?;
        }
        Ok((dir, name))
    }

    fn step(
        &self,
        dir: &OwnedFd,
        step: &Path,
        so_far: &Path,
        make: Option<Mode>,
    ) -> Result<OwnedFd> {
        let failed = |e: Errno| self.unwritable(so_far, e);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let enter = || openat(dir, step, flags, Mode::empty());
        match (enter(), make) {
            (Err(Errno::ENOENT), Some(mode)) => match mkdirat(dir, step, mode) {
                // The umask may have taken bits away.
                Ok(()) => enter()
                    .and_then(|made| fchmod(&made, mode).map(|()| made))
                    .map_err(failed),
                Err(Errno::EEXIST) => enter().map_err(failed),
                Err(e) => Err(failed(e)),
            },
            (Err(Errno::ENOTDIR | Errno::ELOOP), _) => {
                let is_link = fstatat(dir, step, AtFlags::AT_SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| kind(&stat) == SFlag::S_IFLNK);
                let path = self.display(so_far);
                Err(if is_link {
                    FileError::Link { path }
                } else {
                    failed(Errno::ENOTDIR)
                })
            }
            (other, _) => other.map_err(failed),
        }
    }

    fn require_file(&self, path: &Path, stat: &FileStat) -> Result<()> {
        let path = self.display(path);
        let kind = match kind(stat) {
            SFlag::S_IFREG => return Ok(()),
            SFlag::S_IFLNK => return Err(FileError::Link { path }),
            SFlag::S_IFDIR => "a directory",
            SFlag::S_IFIFO => "a pipe",
            SFlag::S_IFSOCK => "a socket",
            _ => "a device",
        };
        Err(FileError::NotAFile { path, kind })
    }

    fn unreadable(&self, path: &Path, e: Errno) -> FileError {
        FileError::Read {
            path: self.display(path),
            source: e.into(),
        }
    }

    fn unwritable(&self, path: &Path, e: Errno) -> FileError {
        FileError::Write {
            path: self.display(path),
            source: e.into(),
        }
    }
}

/// A folder, a name in it, and what stands there.
type Place<'p> = (OwnedFd, &'p str, Option<FileStat>);

/// The mode of folders that all may look into.
const FOR_ALL: Mode = Mode::from_bits_truncate(0o755);

/// The mode of folders that are made for a file of this mode.
fn folder_mode(mode: u32) -> Mode {
    match mode & 0o077 {
        0 => Mode::S_IRWXU,
        _ => FOR_ALL,
    }
}

fn keep_owner(file: &File, before: &FileStat) -> nix::Result<()> {
    let now = fstat(file)?;
    if (now.st_uid, now.st_gid) == (before.st_uid, before.st_gid) {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(before.st_uid), Gid::from_raw(before.st_gid));
    fchown(file, Some(user), Some(group))
}

/// That nothing is there is an answer, not a failure.
fn there(opened: nix::Result<OwnedFd>) -> nix::Result<Option<OwnedFd>> {
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(e) => Err(e),
    }
}

/// `/etc/x` as seen from the top of a tree: `etc/x`.
fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn remove_at(dir: impl AsFd, name: &str) -> nix::Result<bool> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}
