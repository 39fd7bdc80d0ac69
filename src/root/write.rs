//! Writing: each change is whole, and of what was read.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, geteuid, symlinkat, unlinkat};
use rustix::fs::{RenameFlags, renameat_with};

use super::read::names_in;
use super::staged::{Fault, Staged, fresh, rename_new, sweep};
use super::standing::{FileState, Standing, status};
use super::{FileError, Result, Root, inside, kind};

impl Root {
    /// Puts something in a place: a file, whole, a link, or nothing. Folders on
    /// the way are made, for the owner alone if the file is.
    ///
    /// With `expected`, only if that is what stands there. In any case, what is
    /// replaced is what was looked at: anything else is put back.
    ///
    /// # Errors
    /// [`FileError::Link`] or [`FileError::NotAFile`] if something else stands
    /// in its place, [`FileError::Changed`] if it is not what was expected,
    /// [`FileError::Write`] for all else. What stood there is then untouched,
    /// unless it was the last fsync that failed.
    pub fn put(
        &self,
        path: impl AsRef<Path>,
        new: &Standing,
        expected: Option<&Standing>,
    ) -> Result<()> {
        let path = path.as_ref();
        let made = match new {
            Standing::Nothing => None,
            Standing::Link(_) => Some(FOR_ALL),
            Standing::File(file) => Some(folder_mode(file.mode)),
        };
        match (self.folder(path, made), new) {
            (Err(e), Standing::Nothing) if is_absent(&e) => match expected {
                Some(expected) if *expected != Standing::Nothing => Err(self.changed(path)),
                _ => Ok(()),
            },
            (folder, _) => {
                let (dir, name) = folder?;
                let root = self;
                Place {
                    root,
                    path,
                    dir,
                    name,
                }
                .put(new, expected)
            }
        }
    }

    /// Removes what killed runs have left of changes of a file, if that can be done.
    pub fn sweep(&self, path: impl AsRef<Path>) {
        if let Ok((dir, name)) = self.folder(path.as_ref(), None)
            && let Ok(Some(listing)) = listing(&dir)
        {
            sweep(&dir, listing, name);
        }
    }

    /// Puts a file of this process's user in place, whole, over whatever file
    /// stands there.
    ///
    /// # Errors
    /// As [`Root::put`].
    pub fn replace(&self, path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
        let file = FileState::ours(bytes.to_vec(), mode);
        self.put(path, &Standing::File(file), None)
    }

    /// Removes a file or a link; `false` if there was none.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<bool> {
        let path = path.as_ref();
        let failed = |e: Errno| self.unwritable(path, e);
        let (dir, name) = match self.folder(path, None) {
            Err(e) if is_absent(&e) => return Ok(false),
            other => other?,
        };
        match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(false),
            Err(e) => return Err(failed(e)),
        }
        if let Some(folder) = listing(&dir).map_err(failed)? {
            fsync(&folder).map_err(failed)?;
        }
        Ok(true)
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

    /// Opens the file that a lock is taken on, mode 0600, made if it is missing.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn open_private(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        let failed = |e: Errno| self.unwritable(path, e);
        let (dir, name) = self.folder(path, Some(FOR_ALL))?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        if let Some(stat) = status(&dir, Path::new(name)).map_err(|e| self.failed(path, e))? {
            self.require_file(path, &stat)?;
        }
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = openat(&dir, name, flags | OFlag::O_CLOEXEC, mode).map_err(failed)?;
        self.require_file(path, &fstat(&file).map_err(failed)?)?;
        Ok(File::from(file))
    }

    /// Opens the folder of `path`, following no link; `make` makes what is
    /// missing, with that mode. To pass a folder takes no right to list it.
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
        match (enter(dir, step), make) {
            (Err(Errno::ENOENT), Some(mode)) => make_folder(dir, step, mode).map_err(failed),
            (Err(Errno::ENOTDIR | Errno::ELOOP), _) => {
                let found = status(dir, step).ok().flatten();
                let is_link = found.is_some_and(|stat| kind(&stat) == SFlag::S_IFLNK);
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

    fn changed(&self, path: &Path) -> FileError {
        let path = self.display(path);
        FileError::Changed { path }
    }

    fn failed(&self, path: &Path, source: io::Error) -> FileError {
        let path = self.display(path);
        FileError::Write { path, source }
    }
}

/// A name in a folder that is open.
struct Place<'p> {
    root: &'p Root,
    path: &'p Path,
    dir: OwnedFd,
    name: &'p str,
}

impl Place<'_> {
    fn put(&self, new: &Standing, expected: Option<&Standing>) -> Result<()> {
        let failed = |e: Errno| self.root.unwritable(self.path, e);
        // Opened before the change, so that it cannot fail after it.
        let folder = listing(&self.dir).map_err(failed)?;
        if let Some(listing) = folder.as_ref().and_then(|f| f.try_clone().ok()) {
            sweep(&self.dir, listing, self.name);
        }
        let (found, old) = self.look(self.name)?;
        self.require_alike(new, &found)?;
        if expected.is_some_and(|expected| !expected.is_met_by(&found)) {
            return Err(self.root.changed(self.path));
        }
        // Held while the old file has a name that would be swept away.
        let _ = old.as_ref().map(File::try_lock_shared);
        match (&found, new) {
            (Standing::Nothing, Standing::Nothing) => return Ok(()),
            (Standing::Nothing, _) => self.add(new)?,
            (_, Standing::Nothing) => self.take_out(&found)?,
            (_, Standing::Link(target)) => {
                let staged = Staged::link(&self.dir, self.name, target);
                self.exchange(staged.map_err(|e| self.failed(e))?, &found)?;
            }
            (_, Standing::File(file)) => self.exchange(self.staged(file)?, &found)?,
        }
        folder.map_or(Ok(()), |folder| fsync(&folder).map_err(failed))
    }

    fn look(&self, name: &str) -> Result<(Standing, Option<File>)> {
        self.root.standing_in(&self.dir, Path::new(name), self.path)
    }

    /// A file replaces no link, and a link no file.
    fn require_alike(&self, new: &Standing, found: &Standing) -> Result<()> {
        match (new, found) {
            (Standing::File(_), Standing::Link(_)) => Err(FileError::Link {
                path: self.root.display(self.path),
            }),
            (Standing::Link(_), Standing::File(_)) => Err(self.failed(Errno::EEXIST.into())),
            _ => Ok(()),
        }
    }

    fn staged(&self, file: &FileState) -> Result<Staged<'_>> {
        Staged::file(&self.dir, self.name, file).map_err(|fault| match fault {
            Fault::Io(e) => self.failed(e),
            Fault::Attribute(attribute, source) => FileError::Attribute {
                path: self.root.display(self.path),
                attribute,
                source,
            },
        })
    }

    /// Puts something where nothing stands.
    fn add(&self, new: &Standing) -> Result<()> {
        let added = match new {
            Standing::Nothing => Ok(()),
            Standing::Link(target) => {
                symlinkat(target.as_path(), &self.dir, self.name).map_err(io::Error::from)
            }
            Standing::File(file) => self.staged(file)?.settle(self.name),
        };
        added.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => self.root.changed(self.path),
            _ => self.failed(e),
        })
    }

    /// Changes places with what stands there, and drops that if it is what was
    /// found before.
    fn exchange(&self, mut staged: Staged<'_>, found: &Standing) -> Result<()> {
        let own = staged.named(self.name).map_err(|e| self.failed(e))?;
        let swap = || renameat_with(&self.dir, &own, &self.dir, self.name, RenameFlags::EXCHANGE);
        match swap() {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                return self.rename_over(staged, &own, found);
            }
            Err(rustix::io::Errno::NOENT) => return Err(self.root.changed(self.path)),
            Err(e) => return Err(self.failed(e.into())),
        }
        let dropped = self.drop_if(&own, found);
        let Err(e) = dropped else {
            staged.leave_name();
            return Ok(());
        };
        match swap() {
            Ok(()) if staged.has_its_name() => Err(e),
            _ => {
                staged.leave_name();
                Err(self.set_aside(&own))
            }
        }
    }

    /// The same on a file system that cannot exchange: what is changed between
    /// this look and the rename is lost.
    fn rename_over(&self, mut staged: Staged<'_>, own: &str, found: &Standing) -> Result<()> {
        self.require(self.name, found)?;
        let renamed = renameat(&self.dir, own, &self.dir, self.name);
        renamed.map_err(|e| self.failed(e.into()))?;
        staged.leave_name();
        Ok(())
    }

    /// Takes out what stands there, and drops it if it is what was found before.
    fn take_out(&self, found: &Standing) -> Result<()> {
        let own = fresh(self.name).map_err(|e| self.failed(e))?;
        rename_new(&self.dir, self.name, &own).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => self.root.changed(self.path),
            _ => self.failed(e),
        })?;
        let Err(e) = self.drop_if(&own, found) else {
            return Ok(());
        };
        match rename_new(&self.dir, &own, self.name) {
            Ok(()) => Err(e),
            Err(_) => Err(self.set_aside(&own)),
        }
    }

    /// Removes what has a name, if it is what was found before.
    fn drop_if(&self, name: &str, found: &Standing) -> Result<()> {
        self.require(name, found)?;
        let removed = unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir);
        removed.map_err(|e| self.failed(e.into()))
    }

    /// That what has a name is what was found before.
    fn require(&self, name: &str, found: &Standing) -> Result<()> {
        match self.look(name) {
            Ok((now, _)) if found.is_met_by(&now) => Ok(()),
            // What is no file is not what was found, either.
            Ok(_) | Err(FileError::NotAFile { .. } | FileError::TooLarge { .. }) => {
                Err(self.root.changed(self.path))
            }
            Err(e) => Err(e),
        }
    }

    fn set_aside(&self, own: &str) -> FileError {
        FileError::SetAside {
            path: self.root.display(self.path),
            kept: self.root.display(self.path.with_file_name(own)),
        }
    }

    fn failed(&self, source: io::Error) -> FileError {
        self.root.failed(self.path, source)
    }
}

/// The mode of folders that all may look into.
const FOR_ALL: Mode = Mode::from_bits_truncate(0o755);

/// The mode of folders that are made for a file of this mode.
fn folder_mode(mode: u32) -> Mode {
    match mode & 0o077 {
        0 => Mode::S_IRWXU,
        _ => FOR_ALL,
    }
}

/// Opens a folder to pass through it, if it is no link.
fn enter(dir: &OwnedFd, step: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, step, flags, Mode::empty())
}

/// Makes a folder with exactly this mode, unless another was quicker.
fn make_folder(dir: &OwnedFd, step: &Path, mode: Mode) -> nix::Result<OwnedFd> {
    match mkdirat(dir, step, mode) {
        Ok(()) => {}
        Err(Errno::EEXIST) => return enter(dir, step),
        Err(e) => return Err(e),
    }
    let made = enter(dir, step)?;
    let stat = fstat(&made)?;
    let now = Mode::from_bits_truncate(stat.st_mode);
    if now & Mode::from_bits_truncate(0o777) == mode || stat.st_uid != geteuid().as_raw() {
        return Ok(made);
    }
    // The umask has taken bits away. A folder with something in it is not the one
    // that was made here.
    if let Some(folder) = listing(&made)?
        && names_in(folder.try_clone().map_err(|_| Errno::EMFILE)?)?.is_some_and(|n| n.is_empty())
    {
        fchmod(&folder, now | mode)?;
    }
    Ok(made)
}

/// Opens a folder to list and to sync it; `None` where that is not allowed, and
/// changes reach the disk when the kernel writes them.
fn listing(dir: &OwnedFd) -> nix::Result<Option<OwnedFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match openat(dir, ".", flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::EACCES | Errno::EPERM) => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_absent(e: &FileError) -> bool {
    matches!(e, FileError::Write { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
