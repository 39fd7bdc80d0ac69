//! Who can change what is kept for boot.
//!
//! What runs at boot, and with which settings, is root's to decide. So the folders
//! of these files must be ones that only root can write: whoever can write one can
//! put another file in place. In the tree of an image the number 0 counts, which
//! will be root there.
//!
//! Who is not root can only make a tree of files of its own, which somebody else
//! makes an image of. There this user and its own group count as root does.
//!
//! The root of a user namespace sees owners that have no number there, such as the
//! machine's root, all as one number. Those are outside, and trusted as the kernel
//! is: this root has no say over them.

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
    match status.st_uid == own || is_outside(status.st_uid) {
        true => writable_by_others(mode, 0),
        false => writable_by_others(mode, status.st_uid),
    }
}

/// Whether a number stands for all users that this user namespace has none for.
fn is_outside(user: u32) -> bool {
    let read = |path: &str| {
        let content = Root::machine().read(path, 1 << 16).ok()??;
        String::from_utf8(content.bytes).ok()
    };
    let overflow = read("/proc/sys/kernel/overflowuid");
    let is_overflow = overflow.is_some_and(|number| number.trim().parse() == Ok(user));
    is_overflow && read("/proc/self/uid_map").is_some_and(|map| !is_mapped(&map, user))
}

/// Whether a user namespace with this map (user_namespaces(7)) has a user of this
/// number.
fn is_mapped(map: &str, user: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => {
                (first..first.saturating_add(count)).contains(&u64::from(user))
            }
            _ => false,
        }
    })
}

fn mend(path: &Path, status: &FileStat) -> String {
    let (path, own) = (quote(path), geteuid().as_raw());
    match (status.st_uid == own, own) {
        (true, 0) => format!("sudo chmod go-w {path}"),
        (true, _) => format!("chmod go-w {path}"),
        (false, _) => format!("sudo chown root:root {path} && sudo chmod go-w {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_says_who_is_inside() {
        let all = "         0          0 4294967295\n";
        assert!(is_mapped(all, 65534));
        let some = "0 1000 1\n1 100000 65533\n";
        assert!(is_mapped(some, 0) && is_mapped(some, 65533));
        assert!(!is_mapped(some, 65534));
        assert!(!is_mapped("", 0));
    }
}
