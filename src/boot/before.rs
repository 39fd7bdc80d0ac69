//! What was in force before the first `apply` since boot: what `revert` goes
//! back to. One file in `/run` for each network namespace, in profile form.

use std::path::PathBuf;

use super::{Error, read_profile};
use crate::model::{Values, profile};
use crate::root::Root;

/// The machine's `/run`, where the record for one namespace lives.
#[derive(Debug, Clone)]
pub struct Record<'r> {
    root: &'r Root,
    path: PathBuf,
    boot: String,
}

impl<'r> Record<'r> {
    /// The record of the namespace called `namespace` in the boot called
    /// `boot`.
    pub fn of(root: &'r Root, namespace: &str, boot: &str) -> Record<'r> {
        Record {
            root,
            path: format!("/run/keepalivectl/before-{namespace}.conf").into(),
            boot: format!("boot {boot}"),
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
        let text = profile::to_text(&[about, &self.boot], values);
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
