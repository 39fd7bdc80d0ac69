//! The file tree we act on: this machine's, or that of an image or a fixture.
//!
//! Every access to a file goes through one [`Root`], writes included. The top of
//! a tree is opened once, and each access starts at that descriptor: whoever owns
//! the folder above may rename the tree or put a link in its place, and it is
//! still the same tree that is read and written.
//!
//! Links inside a tree are followed inside it, as if it were `/`. Writes follow
//! no link at all: each folder on the way is opened without following. A file is
//! opened only once it is known to be a regular one, so no device is touched and
//! no pipe's other end is woken.
//!
//! A changed file is made whole, without a name or with one that nobody else
//! has, and then changes places with the one that stands there. What comes out
//! is compared with what was read before, and put back if it is something else.

mod attributes;
mod errors;
mod read;
mod staged;
mod standing;
mod write;

pub use attributes::Attributes;
pub use errors::FileError;
pub use read::{Content, MOST_NAMES};
pub use standing::{FileState, LARGEST_CHANGED, Standing};

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlink};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};

type Result<T> = std::result::Result<T, FileError>;

/// The file tree we act on.
#[derive(Debug, Clone)]
pub struct Root {
    /// The name for people; nothing is opened by it.
    path: PathBuf,
    /// The top; `None` for this machine's own tree, which nobody can move.
    top: Option<Arc<OwnedFd>>,
}

/// How often something is tried that others can make fail by a rename.
const TRIES: usize = 100;

impl Root {
    /// This machine's own tree.
    pub fn machine() -> Root {
        Root {
            path: PathBuf::from("/"),
            top: None,
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
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let top = open(path.as_ref(), flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let real = name_of(&top).map_err(failed)?;
        if real.to_str().is_none() {
            return Err(failed(io::Error::from(Errno::EILSEQ)));
        }
        let own = stat("/").and_then(|own| fstat(&top).map(|top| same(&own, &top)));
        match (real == Path::new("/"), own.map_err(|e| failed(e.into()))?) {
            (true, true) => Ok(Root::machine()),
            // Nor has a folder of that name that is another one any name here.
            (true, false) => Err(failed(io::Error::from(Errno::EXDEV))),
            (false, _) => Ok(Root {
                path: real,
                top: Some(Arc::new(top)),
            }),
        }
    }

    /// Whether this is the running machine's tree.
    pub fn is_machine(&self) -> bool {
        self.top.is_none()
    }

    /// The path for people: `/etc/x` in the tree `/image` is `/image/etc/x`.
    pub fn display(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(inside(path.as_ref()))
    }

    /// The status of the tree's own folder.
    ///
    /// # Errors
    /// [`FileError::Read`].
    pub fn top_status(&self) -> Result<FileStat> {
        let status = match &self.top {
            Some(top) => fstat(top),
            None => stat("/"),
        };
        status.map_err(|e| self.unreadable(Path::new("/"), e))
    }

    /// Opens the tree's own folder, as something to take a lock on.
    ///
    /// # Errors
    /// [`FileError::Read`].
    pub fn open_top(&self) -> Result<File> {
        let opened = self.open(Path::new("/"), OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        opened
            .map(File::from)
            .map_err(|e| self.unreadable(Path::new("/"), e))
    }

    /// The tree's own folder, as the start of a way through it.
    fn top(&self) -> nix::Result<OwnedFd> {
        match &self.top {
            Some(top) => top
                .try_clone()
                .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(nix::libc::EIO))),
            None => {
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                open("/", flags, Mode::empty())
            }
        }
    }

    /// Opens what is there, following links inside the tree.
    fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let flags = flags | OFlag::O_CLOEXEC;
        let Some(top) = &self.top else {
            return open(path, flags, Mode::empty());
        };
        let how = OpenHow::new()
            .flags(flags)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = inside(path);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let mut opened = Err(Errno::EAGAIN);
        for _ in 0..TRIES {
            opened = openat2(top, path, how);
            // EAGAIN: something was renamed while a `..` was being followed.
            if !matches!(opened, Err(Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
        }
        opened
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

/// The name by which the kernel knows an open descriptor at this moment.
fn name_of(fd: &OwnedFd) -> io::Result<PathBuf> {
    let link = of_descriptor(fd.as_raw_fd());
    readlink(link.as_str()).map(PathBuf::from).map_err(no_proc)
}

/// Opens for reading what was found to be a regular file, and nothing else that
/// may have taken its name meanwhile.
fn reopen(found: &OwnedFd) -> io::Result<File> {
    // A lease of another process's would make a blocking open wait.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let link = of_descriptor(found.as_raw_fd());
    open(link.as_str(), flags, Mode::empty())
        .map(File::from)
        .map_err(no_proc)
}

fn of_descriptor(number: i32) -> String {
    format!("/proc/self/fd/{number}")
}

/// The links in `/proc` lead to what is open, so one that is not there means no
/// `/proc`.
fn no_proc(e: Errno) -> io::Error {
    match e {
        Errno::ENOENT => io::Error::other("/proc is not mounted, and files are opened through it"),
        other => other.into(),
    }
}

/// The bytes of a file; `None` if they are more than `limit`.
fn take(file: &mut File, stat: &FileStat, limit: usize) -> io::Result<Option<Vec<u8>>> {
    // Some files, as in /proc, do not say how large they are.
    let expected = usize::try_from(stat.st_size).unwrap_or(0);
    if expected > limit {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(expected + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
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

/// Whether two statuses are of the same file or folder.
fn same(a: &FileStat, b: &FileStat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_is_the_one_that_was_opened() {
        let place = tempfile::tempdir().unwrap();
        let (tree, moved) = (place.path().join("tree"), place.path().join("moved"));
        let victim = place.path().join("victim");
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::create_dir_all(&victim).unwrap();
        fs::write(tree.join("etc/x"), "the tree's").unwrap();
        fs::write(victim.join("x"), "the victim's").unwrap();
        let root = Root::at(&tree).unwrap();
        fs::rename(&tree, &moved).unwrap();
        symlink(&victim, &tree).unwrap();

        let content = root.read("/etc/x", 100).unwrap().unwrap();
        assert_eq!(content.bytes, b"the tree's");
        assert_eq!(content.real_path, Path::new("/etc/x"));
        assert_eq!(root.names("/").unwrap(), ["etc"]);
        let (real, chain) = root.resolve("/etc/x").unwrap().unwrap();
        assert_eq!((real.as_path(), chain.len()), (Path::new("/etc/x"), 3));
        root.replace("/etc/x", b"new", 0o644).unwrap();
        root.replace("/x", b"new", 0o644).unwrap();
        let link = Standing::Link("x".into());
        root.put("/link", &link, Some(&Standing::Nothing)).unwrap();
        assert_eq!(root.link_target("/link").unwrap(), Some("x".into()));
        assert!(root.remove("/x").unwrap());
        assert_eq!(fs::read(moved.join("etc/x")).unwrap(), b"new");
        assert_eq!(fs::read(victim.join("x")).unwrap(), b"the victim's");
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    }

    #[test]
    fn only_what_was_expected_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::at(place.path()).unwrap();
        root.replace("/x", b"old", 0o600).unwrap();
        let old = root.standing("/x").unwrap();
        let new = Standing::File(FileState::ours(b"new".to_vec(), 0o600));
        fs::write(place.path().join("x"), "another's").unwrap();
        for to in [&new, &Standing::Nothing] {
            let refused = root.put("/x", to, Some(&old)).unwrap_err();
            assert!(matches!(refused, FileError::Changed { .. }), "{refused}");
        }
        let refused = root.put("/x", &new, Some(&Standing::Nothing)).unwrap_err();
        assert!(matches!(refused, FileError::Changed { .. }), "{refused}");
        assert_eq!(fs::read(place.path().join("x")).unwrap(), b"another's");
        assert_eq!(root.names("/").unwrap(), ["x"]);
    }
}
