//! Who can change what is kept for boot.
//!
//! What runs at boot, and with which settings, is root's to decide. So the folders
//! of these files must be ones that only root can write: whoever can write one can
//! put another file in place. In the tree of an image the number 0 counts, which
//! will be root there.
//!
//! Who is not root can only make a tree of files of its own, which somebody else
//! makes an image of. There this user and its own group count as root does.

use std::path::{Path, PathBuf};

use nix::sys::stat::FileStat;
use nix::unistd::{getegid, geteuid};

use super::Error;
use crate::chain::chain;
use crate::programs::writable_by_others;
use crate::root::Root;
use crate::text::shell::quote;

/// A file or folder that others can write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// Which one, for people.
    pub path: PathBuf,
    /// Who can write it.
    pub why: String,
    /// The command that puts it right.
    pub mend: String,
}

/// That only root can write the folders on the way to a file, as far as they are
/// there.
///
/// # Errors
/// [`Error::ExposedFolder`], or it cannot be told.
pub fn require_roots_folders(root: &Root, file: impl AsRef<Path>) -> Result<(), Error> {
    let folders = file.as_ref().ancestors().skip(1);
    for folder in folders {
        if root.exists(folder)? {
            return match exposed(root, folder)? {
                Some(exposed) => Err(Error::ExposedFolder(exposed)),
                None => Ok(()),
            };
        }
    }
    Ok(())
}

/// The first on the way to a file, itself included, that others than root can
/// write.
///
/// # Errors
/// It cannot be told.
pub fn exposed(root: &Root, file: &Path) -> Result<Option<Exposed>, Error> {
    let Some((real, chain)) = root.resolve(file)? else {
        return Ok(None);
    };
    let mut paths: Vec<&Path> = real.ancestors().collect();
    paths.reverse();
    let found = paths.into_iter().zip(&chain).find_map(|(path, status)| {
        let why = by_others(status)?;
        let path = root.display(path);
        let mend = mend(&path, status);
        Some(Exposed { path, why, mend })
    });
    Ok(found)
}

/// What others than root can write of some files and of the folders that they
/// stand in, one sentence each, with the command that mends it.
pub fn problems(root: &Root, files: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().map(Path::new) {
        // A link is followed to the file, and can be changed in its own folder.
        for path in [file.parent(), Some(file)].into_iter().flatten() {
            let problem = match exposed(root, path) {
                Ok(None) => continue,
                Ok(Some(exposed)) => Error::ExposedFolder(exposed).to_string(),
                Err(e) => chain(&e),
            };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

fn by_others(status: &FileStat) -> Option<String> {
    let own = geteuid().as_raw();
    let own_group = own != 0 && status.st_gid == getegid().as_raw();
    let mode = match own_group {
        true => status.st_mode & !0o020,
        false => status.st_mode,
    };
    match status.st_uid == own {
        true => writable_by_others(mode, 0),
        false => writable_by_others(mode, status.st_uid),
    }
}

fn mend(path: &Path, status: &FileStat) -> String {
    let (path, own) = (quote(path), geteuid().as_raw());
    match (status.st_uid == own, own) {
        (true, 0) => format!("sudo chmod go-w {path}"),
        (true, _) => format!("chmod go-w {path}"),
        (false, _) => format!("sudo chown -h root:root {path} && sudo chmod go-w {path}"),
    }
}
