//! What was in force before the first `apply` since boot: what `revert` goes
//! back to. One file in `/run` for each network namespace, in profile form.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Error, read_profile};
use crate::model::{Values, profile};
use crate::root::Root;

const FOLDER: &str = "/run/keepalivectl";
const PREFIX: &str = "before-";
/// Stands before the boot in a record's comment.
const BOOT_MARK: &str = "boot ";
/// Stands before what tells whether the namespace is still there.
const HANDLE_MARK: &str = "namespace ";

/// The machine's `/run`, where the record for one namespace lives.
#[derive(Debug, Clone)]
pub struct Record<'r> {
    root: &'r Root,
    path: PathBuf,
    boot: String,
    handle: Option<String>,
}

impl<'r> Record<'r> {
    /// The record of the namespace called `namespace` in the boot called
    /// `boot`. `handle` will tell whether the namespace is still there.
    pub fn of(root: &'r Root, namespace: &str, boot: &str, handle: Option<&str>) -> Record<'r> {
        Record {
            root,
            path: format!("{FOLDER}/{PREFIX}{namespace}.conf").into(),
            boot: format!("{BOOT_MARK}{boot}"),
            handle: handle.map(|handle| format!("{HANDLE_MARK}{handle}")),
        }
    }

    /// Where it is.
    pub fn file(&self) -> PathBuf {
        self.root.display(&self.path)
    }

    /// The values; `None` if nothing was applied in this boot. A record of
    /// another boot does not count.
    ///
    /// # Errors
    /// The file cannot be read or is not in profile form.
    pub fn read(&self) -> Result<Option<Values>, Error> {
        let parsed = read_profile(self.root, &self.path)?;
        Ok(parsed
            .filter(|p| p.comments.contains(&self.boot))
            .map(|p| p.values))
    }

    /// Remembers values.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, values: Values) -> Result<(), Error> {
        let about = "in force before the first `keepalivectl apply` since boot";
        let mut comments = vec![about, &self.boot];
        comments.extend(self.handle.as_deref());
        let text = profile::to_text(&comments, values);
        Ok(self.root.replace(&self.path, text.as_bytes(), 0o644)?)
    }

    /// Forgets them.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget(&self) -> Result<(), Error> {
        self.root.remove(&self.path)?;
        Ok(())
    }
}

/// Forgets records that nobody can go back to: those of another boot than
/// `boot`, and those of namespaces of which `is_gone` is certain. It looks at
/// `at_most` of them, from a place that `seed` chooses. The caller holds the lock.
///
/// A record that is no profile is left: what it was for cannot be known.
///
/// # Errors
/// The folder cannot be read, or a record cannot be removed.
pub fn forget_gone(
    root: &Root,
    boot: &str,
    at_most: usize,
    seed: usize,
    is_gone: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let mut names = root.names(FOLDER)?;
    names.retain(|name| is_record(name));
    let start = seed.checked_rem(names.len()).unwrap_or(0);
    for name in names
        .iter()
        .cycle()
        .skip(start)
        .take(at_most.min(names.len()))
    {
        let path = Path::new(FOLDER).join(name);
        let Ok(Some(record)) = read_profile(root, &path) else {
            continue;
        };
        let marked = |mark| record.comments.iter().find_map(|c| c.strip_prefix(mark));
        let other_boot = marked(BOOT_MARK).is_some_and(|of| of != boot);
        if other_boot || marked(HANDLE_MARK).is_some_and(&is_gone) {
            root.remove(&path)?;
        }
    }
    Ok(())
}

fn is_record(name: &OsStr) -> bool {
    let record = |name: &str| name.starts_with(PREFIX) && name.ends_with(".conf");
    name.to_str().is_some_and(record)
}
