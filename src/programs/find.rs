//! Where a program is, and whether root may run it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::Error;
use super::owner::{is_roots_sticky, writable_by_others};
use crate::text::shell::quote;

/// Where root's programs are, in the order of root's usual PATH. The last two are
/// those of NixOS and Guix.
pub const FOLDERS: [&str; 8] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/run/current-system/sw/bin",
    "/run/current-system/profile/bin",
];

/// A program that may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path that it is called by: some programs go by their name.
    pub(super) called: PathBuf,
    /// The file itself, with all links resolved where root runs it.
    pub(super) file: PathBuf,
}

/// Finds a program by its name, or takes the path that was given.
///
/// For root it is looked for in [`FOLDERS`], and it is refused if others than root
/// can change the file, a link or a folder on its way. A path that was given must end
/// in the name. For other users their PATH comes first, and nothing is refused.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Unsafe`], [`Error::Misnamed`], [`Error::Run`].
pub fn find(name: &str, given: Option<&Path>) -> Result<Found, Error> {
    let is_root = geteuid().is_root();
    let called = match given {
        Some(path) if is_root && path.file_name() != Some(OsStr::new(name)) => {
            let (name, program) = (name.to_owned(), path.to_owned());
            return Err(Error::Misnamed { name, program });
        }
        Some(path) => absolute(path)?,
        None => search(name, is_root)?,
    };
    let file = match is_root {
        true => judged(&called)?,
        false => called.clone(),
    };
    Ok(Found { called, file })
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Run {
        program: path.to_owned(),
        source,
    })
}

fn search(name: &str, is_root: bool) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").filter(|_| !is_root);
    let own = path.iter().flat_map(std::env::split_paths);
    let folders: Vec<PathBuf> = own.chain(FOLDERS.map(PathBuf::from)).collect();
    let runs = |path: &PathBuf| {
        let found = path.metadata();
        path.is_absolute() && found.is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
    };
    let found = folders.iter().map(|folder| folder.join(name)).find(runs);
    found.ok_or_else(|| Error::NotFound {
        name: name.to_owned(),
        places: match is_root {
            true => FOLDERS.map(str::to_owned).into(),
            false => vec!["PATH".to_owned()],
        },
    })
}

/// The file that a path leads to, if root alone can change it and the way to it.
/// Each folder is root's, so that nobody else can change what is judged here.
fn judged(program: &Path) -> Result<PathBuf, Error> {
    /// As the kernel has it (path_resolution(7)).
    const MOST_LINKS: usize = 40;
    let failed = |source: io::Error| Error::Run {
        program: program.to_owned(),
        source,
    };
    let mut left = components(program);
    let mut links = 0;
    let mut real = PathBuf::from("/");
    judge(program, &real, &real.symlink_metadata().map_err(failed)?)?;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&name);
        let status = next.symlink_metadata().map_err(failed)?;
        judge(program, &next, &status)?;
        if !status.is_symlink() {
            real = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(failed(Errno::ELOOP.into()));
        }
        let target = next.read_link().map_err(failed)?;
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        let mut rest = components(&target);
        rest.append(&mut left);
        left = rest;
    }
    let file = real.metadata().map_err(failed)?;
    match file.is_file() && file.mode() & 0o111 != 0 {
        true => Ok(real),
        false => Err(failed(Errno::EACCES.into())),
    }
}

/// The names on the way, `..` included.
fn components(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    names.collect()
}

fn judge(program: &Path, at: &Path, status: &Metadata) -> Result<(), Error> {
    // The mode of a link says nothing; its folder was judged.
    let mode = match status.is_symlink() {
        true => 0,
        false => status.mode(),
    };
    let why = match writable_by_others(mode, status.uid()) {
        // In such a folder, as /nix/store, only the owner can replace an entry, and
        // that is judged next. One for everybody is still refused: a user can mount
        // what claims to be root's there.
        Some(_) if status.is_dir() && is_roots_sticky(mode, status.uid()) => None,
        why => why,
    };
    match why {
        None => Ok(()),
        Some(why) => Err(Error::Unsafe {
            program: program.to_owned(),
            at: at.to_owned(),
            why,
            mend: mend(at, status.is_dir()),
        }),
    }
}

/// How to make the way to a program root's own. What others could write into a file,
/// or have a link lead to, is theirs for good: root must not make it its own.
fn mend(at: &Path, is_folder: bool) -> String {
    if !is_folder {
        return "its content cannot be trusted: remove it, or install it again".to_owned();
    }
    let at = quote(at.as_os_str());
    format!("mend it with: sudo chown -h root:root {at} && sudo chmod go-w {at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_mends_is_quoted() {
        let mend = mend(Path::new("/a b;c"), true);
        assert!(mend.ends_with("chmod go-w '/a b;c'"));
    }
}
