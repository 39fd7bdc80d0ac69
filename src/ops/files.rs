//! Several changes to files as one: all or none.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use similar::TextDiff;

use super::{Error, Result};
use crate::chain::chain;
use crate::root::{FileError, Root};
use crate::text;

/// One change to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Change {
    /// A file with this text.
    Write {
        /// The file.
        #[serde(serialize_with = "as_text")]
        file: PathBuf,
        /// Its text.
        #[serde(skip)]
        text: Vec<u8>,
        /// Its permissions.
        #[serde(skip)]
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// The link.
        #[serde(serialize_with = "as_text")]
        file: PathBuf,
        /// What it points to.
        target: PathBuf,
    },
    /// Nothing any more.
    Remove {
        /// The file or link.
        #[serde(serialize_with = "as_text")]
        file: PathBuf,
    },
}

impl Change {
    /// A file that all can read and root can write.
    pub fn write(file: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Change {
        Change::Write {
            file: file.into(),
            text: text.into(),
            mode: 0o644,
        }
    }

    /// A file with other text, and the permissions that it has; a new one gets
    /// `new_mode`.
    ///
    /// # Errors
    /// What stands there cannot be read.
    pub fn edit(
        root: &Root,
        file: &Path,
        text: impl Into<Vec<u8>>,
        new_mode: u32,
    ) -> Result<Change> {
        let before = root.read(file, LIMIT)?;
        Ok(Change::Write {
            file: file.to_owned(),
            text: text.into(),
            mode: before.map_or(new_mode, |before| before.mode),
        })
    }

    /// The file or link that is changed.
    pub fn file(&self) -> &PathBuf {
        match self {
            Change::Write { file, .. } | Change::Link { file, .. } | Change::Remove { file } => {
                file
            }
        }
    }

    /// The text of the file that it makes.
    fn text(&self) -> Cow<'_, str> {
        match self {
            Change::Write { text, .. } => String::from_utf8_lossy(text),
            _ => Cow::Borrowed(""),
        }
    }

    /// The same change with its file as people see it in a tree.
    fn shown(mut self, root: &Root) -> Change {
        match &mut self {
            Change::Write { file, .. } | Change::Link { file, .. } | Change::Remove { file } => {
                *file = root.display(&*file);
            }
        }
        self
    }

    fn carry_out(&self, root: &Root) -> std::result::Result<(), FileError> {
        match self {
            Change::Write { file, text, mode } => root.replace(file, text, *mode),
            Change::Link { file, target } => root.link(file, target),
            Change::Remove { file } => root.remove(file).map(drop),
        }
    }
}

/// A path in a report. serde refuses one that is no UTF-8, when the job is done.
pub(super) fn as_text<S: Serializer>(
    path: &Path,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The same for several.
pub(super) fn as_texts<S: Serializer>(
    paths: &[PathBuf],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// Changes that are needed, each with the one that undoes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePlan {
    steps: Vec<(Change, Change)>,
    /// Folders that are made on the way, the innermost first.
    folders: Vec<PathBuf>,
}

/// The largest file that is kept in memory to be restored.
const LIMIT: usize = 16 << 20;

impl FilePlan {
    /// Adds a change, unless it is so already.
    ///
    /// # Errors
    /// What stands there cannot be read, is neither a file nor a link, or is a
    /// link where a file is to be written.
    pub fn add(&mut self, root: &Root, change: Change) -> Result<()> {
        let file = change.file().clone();
        let undo = match root.link_target(&file)? {
            Some(_) if matches!(change, Change::Write { .. }) => {
                let path = root.display(file);
                return Err(FileError::Link { path }.into());
            }
            Some(target) => Change::Link { file, target },
            None => match root.read(&file, LIMIT)? {
                Some(content) => Change::Write {
                    file,
                    text: content.bytes,
                    mode: content.mode,
                },
                None => Change::Remove { file },
            },
        };
        if undo != change {
            self.folders.extend(missing_folders(root, change.file())?);
            self.steps.push((change, undo));
        }
        Ok(())
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The changes, as people see them.
    pub fn changes(&self, root: &Root) -> Vec<Change> {
        let shown = |(change, _): &(Change, Change)| change.clone().shown(root);
        self.steps.iter().map(shown).collect()
    }

    /// The changes to texts, as a unified diff.
    pub fn diff(&self, root: &Root) -> String {
        let changed = |(change, undo): &(Change, Change)| {
            let name = root.display(change.file());
            let header = |side: &Change| match side {
                Change::Remove { .. } => "/dev/null".to_owned(),
                // A name with a newline must not begin another line.
                _ => text::line(&name.to_string_lossy()).into_owned(),
            };
            let (before, after) = (undo.text(), change.text());
            TextDiff::from_lines(before.as_ref(), after.as_ref())
                .unified_diff()
                .header(&header(undo), &header(change))
                .to_string()
        };
        self.steps.iter().map(changed).collect()
    }

    /// Makes all changes in order. If one fails, those made are undone.
    ///
    /// # Errors
    /// [`Error::Undone`] if all is as before, [`Error::NotUndone`] if not.
    pub fn carry_out(&self, root: &Root) -> Result<()> {
        for (done, (change, _)) in self.steps.iter().enumerate() {
            if let Err(e) = change.carry_out(root) {
                // The failed one too: a rename may be done when the last fsync
                // fails.
                return Err(self.undo(root, done + 1, e.into()));
            }
        }
        Ok(())
    }

    /// Undoes everything, because of `cause`.
    pub fn undo_all(&self, root: &Root, cause: Error) -> Error {
        self.undo(root, self.steps.len(), cause)
    }

    fn undo(&self, root: &Root, count: usize, cause: Error) -> Error {
        let mut left = Vec::new();
        for (change, undo) in self.steps[..count].iter().rev() {
            let file = root.display(change.file());
            match is_so(root, undo) || is_so(root, change) {
                false => left.push(format!("{} (it was changed meanwhile)", file.display())),
                true => {
                    if let Err(e) = restore(root, undo) {
                        left.push(format!("{} ({})", file.display(), chain(&e)));
                    }
                }
            }
        }
        for folder in &self.folders {
            // One that somebody else has begun to use is left.
            let _ = root.remove_folder(folder);
        }
        let cause = Box::new(cause);
        match left.is_empty() {
            // The files are as before; what is left is the cause's to say.
            true if cause.left_changed() => *cause,
            true => Error::Undone(cause),
            false => Error::NotUndone { left, cause },
        }
    }
}

/// The folders of a file that are not there, the innermost first.
fn missing_folders(root: &Root, file: &Path) -> Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for folder in file.ancestors().skip(1) {
        if root.exists(folder)? {
            break;
        }
        missing.push(folder.to_owned());
    }
    Ok(missing)
}

/// Whether there is what a change makes.
fn is_so(root: &Root, change: &Change) -> bool {
    let mut plan = FilePlan::default();
    plan.add(root, change.clone()).is_ok() && plan.is_empty()
}

/// Brings back what stood there.
fn restore(root: &Root, before: &Change) -> std::result::Result<(), FileError> {
    match is_so(root, before) {
        true => Ok(()),
        false => before.carry_out(root),
    }
}
