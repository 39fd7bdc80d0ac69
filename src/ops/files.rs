//! Several changes to files as one: all or none.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use similar::TextDiff;

use super::{Error, Result};
use crate::chain::chain;
use crate::root::{FileError, FileState, Root, Standing};
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
        /// Its text, its permissions and whose it is.
        #[serde(skip)]
        state: FileState,
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
    /// A file that all can read and only the user of this process can write:
    /// root, where it is the system's.
    pub fn write(file: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Change {
        Change::Write {
            file: file.into(),
            state: FileState::ours(text.into(), 0o644),
        }
    }

    /// What makes a file be what it was found as.
    fn of(file: PathBuf, standing: Standing) -> Change {
        match standing {
            Standing::Nothing => Change::Remove { file },
            Standing::Link(target) => Change::Link { file, target },
            Standing::File(state) => Change::Write { file, state },
        }
    }

    /// What stands there once it is made.
    fn standing(&self) -> Standing {
        match self {
            Change::Write { state, .. } => Standing::File(state.clone()),
            Change::Link { target, .. } => Standing::Link(target.clone()),
            Change::Remove { .. } => Standing::Nothing,
        }
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
            Change::Write { state, .. } => String::from_utf8_lossy(&state.bytes),
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

    /// Makes it, if what stands there is what `before` makes.
    fn carry_out(&self, root: &Root, before: &Change) -> std::result::Result<(), FileError> {
        root.put(self.file(), &self.standing(), Some(&before.standing()))
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
    /// Files that are already as they are to be.
    unchanged: Vec<PathBuf>,
}

impl FilePlan {
    /// Adds a change, unless it is so already.
    ///
    /// # Errors
    /// What stands there cannot be read, is neither a file nor a link, or is a
    /// link where a file is to be written.
    pub fn add(&mut self, root: &Root, change: Change) -> Result<()> {
        let found = root.standing(change.file())?;
        self.push(root, change, found)
    }

    /// Adds a change of a user's file: other text, or none any more. The file
    /// keeps its owner, its permissions and its attributes; a new one gets
    /// `new_mode`.
    ///
    /// `before` is the text that the new one was made from, empty if there was
    /// no file.
    ///
    /// # Errors
    /// As [`FilePlan::add`]; or the file has another text by now, or other names.
    pub fn edit(
        &mut self,
        root: &Root,
        file: &Path,
        before: &[u8],
        after: Option<Vec<u8>>,
        new_mode: u32,
    ) -> Result<()> {
        let found = root.standing(file)?;
        let path = || root.display(file);
        let same = match &found {
            Standing::File(state) => state.bytes == before,
            Standing::Nothing => before.is_empty(),
            Standing::Link(_) => return Err(FileError::Link { path: path() }.into()),
        };
        if !same {
            return Err(FileError::Changed { path: path() }.into());
        }
        let file = file.to_owned();
        let change = match (after, &found) {
            (None, _) => Change::Remove { file },
            (Some(bytes), Standing::File(state)) => {
                let state = FileState {
                    bytes,
                    ..state.clone()
                };
                Change::Write { file, state }
            }
            (Some(bytes), _) => Change::Write {
                file,
                state: FileState::ours(bytes, new_mode),
            },
        };
        if let (Change::Write { .. }, Standing::File(state)) = (&change, &found)
            && state.names > 1
        {
            let (path, names) = (root.display(change.file()), state.names);
            return Err(FileError::HardLinks { path, names }.into());
        }
        self.push(root, change, found)
    }

    fn push(&mut self, root: &Root, change: Change, found: Standing) -> Result<()> {
        let is_write = matches!(change, Change::Write { .. });
        if is_write && matches!(found, Standing::Link(_)) {
            let path = root.display(change.file());
            return Err(FileError::Link { path }.into());
        }
        if change.standing().is_met_by(&found) {
            self.unchanged.push(change.file().clone());
        } else {
            self.folders.extend(missing_folders(root, change.file())?);
            let undo = Change::of(change.file().clone(), found);
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
        for file in &self.unchanged {
            root.sweep(file);
        }
        for (done, (change, before)) in self.steps.iter().enumerate() {
            if let Err(e) = change.carry_out(root, before) {
                let count = match e {
                    // What another program wrote stays.
                    FileError::Changed { .. } | FileError::SetAside { .. } => done,
                    // The failed one too: a rename may be done when the last
                    // fsync fails.
                    _ => done + 1,
                };
                return Err(self.undo(root, count, e.into()));
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
            if is_so(root, undo) {
                continue;
            }
            if let Err(e) = undo.carry_out(root, change) {
                let file = root.display(change.file());
                let why = match e {
                    FileError::Changed { .. } => "it was changed meanwhile".to_owned(),
                    other => chain(&other),
                };
                left.push(format!("{} ({why})", file.display()));
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
    let found = root.standing(change.file());
    found.is_ok_and(|found| change.standing().is_met_by(&found))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_another_program_writes_meanwhile_stays() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::at(place.path()).unwrap();
        let file = |name: &str| place.path().join(name);
        fs::write(file("second"), "old").unwrap();
        let mut plan = FilePlan::default();
        plan.add(&root, Change::write("/first", "1")).unwrap();
        plan.add(&root, Change::write("/second", "2")).unwrap();
        fs::write(file("second"), "another's").unwrap();
        let error = plan.carry_out(&root).unwrap_err();
        assert!(matches!(error, Error::Undone(_)), "{error}");
        assert!(!file("first").exists());
        assert_eq!(fs::read(file("second")).unwrap(), b"another's");
    }

    #[test]
    fn an_edit_is_of_the_text_that_was_read() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::at(place.path()).unwrap();
        fs::write(place.path().join("x"), "new already").unwrap();
        for after in [Some(b"edited".to_vec()), None] {
            let mut plan = FilePlan::default();
            let edited = plan.edit(&root, Path::new("/x"), b"old", after, 0o600);
            assert!(matches!(
                edited,
                Err(Error::File(FileError::Changed { .. }))
            ));
            assert!(plan.is_empty());
        }
    }
}
