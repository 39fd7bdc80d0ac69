//! What all of `ssh set` have in common: settings that really take effect.
//!
//! Each job asks the real program first, so that nothing is changed where it
//! refuses its configuration already; then it writes, asks again, and takes back
//! what is not in effect.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::reload::Reloaded;
use super::show::{Circumstances, SshReport, of};
use crate::chain::chain;
use crate::model::ssh::Side;
use crate::ops::files::{Change, FilePlan, as_text};
use crate::ops::{Error, Result};
use crate::root::Root;
use crate::ssh::{Effective, Keyword, Line, Source};

/// What was set, or would be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetReport {
    /// Whether any file is changed, or would be.
    pub changed: bool,
    /// Whether this is only the plan.
    pub dry_run: bool,
    /// Whose keepalives.
    pub side: Side,
    /// The file.
    #[serde(serialize_with = "as_text")]
    pub file: PathBuf,
    /// What is done to which file.
    pub changes: Vec<Change>,
    /// The same as a unified diff.
    pub diff: String,
    /// What is in effect now, read again; none in a dry run, for Windows, and where the
    /// kernel's settings cannot be computed with.
    pub in_effect: Option<SshReport>,
    /// Whether a running server was told.
    pub reloaded: Option<Reloaded>,
    /// The command that takes it out again; none for a file for Windows.
    pub undo: Option<String>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

impl SetReport {
    pub(super) fn planned(
        root: &Root,
        side: Side,
        file: &Path,
        files: &FilePlan,
        dry_run: bool,
    ) -> SetReport {
        SetReport {
            changed: !files.is_empty(),
            dry_run,
            side,
            file: root.display(file),
            changes: files.changes(root),
            diff: files.diff(root),
            in_effect: None,
            reloaded: None,
            undo: None,
            warnings: Vec::new(),
        }
    }

    /// Adds what is in effect, which was checked. What it adds up to can fail of the
    /// kernel's settings: it is set all the same.
    pub(super) fn add_effect(&mut self, subject: Option<String>, effective: Effective) {
        match of(subject, effective, &Circumstances::default()) {
            Ok(report) => self.in_effect = Some(report),
            Err(e) => self.warnings.push(format!(
                "it is in effect, and what it adds up to cannot be told: {}",
                chain(&e)
            )),
        }
    }
}

/// Lines that keep their say, for those that nobody asked about: of each block the
/// first.
pub(super) fn exceptions(effective: &Effective) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for keyword in [Keyword::Interval, Keyword::CountMax] {
        let name = keyword.name(effective.alive.side);
        let mut told = Vec::new();
        for (block, line) in effective.elsewhere(keyword) {
            if !told.contains(&(block, &line.file)) {
                told.push((block, &line.file));
                texts.push(format!(
                    "`{block}` has a {name} of its own, which wins there: {line}"
                ));
            }
        }
    }
    texts
}

/// That an option has the value that was written.
pub(super) fn require(effective: &Effective, keyword: Keyword, wanted: u32) -> Result<()> {
    let alive = effective.alive;
    let value = match keyword {
        Keyword::Interval => alive.interval_s,
        Keyword::CountMax => alive.count_max.unwrap_or_default(),
        Keyword::TcpKeepalive => alive.tcp_keepalive.into(),
    };
    let line = match effective.source(keyword) {
        Source::File(line) => Some(line),
        _ => None,
    };
    match value == wanted {
        true => Ok(()),
        false => Err(not_in_effect(keyword, alive.side, line)),
    }
}

pub(super) fn not_in_effect(keyword: Keyword, side: Side, line: Option<&Line>) -> Error {
    Error::NotInEffect {
        option: keyword.name(side),
        line: line.cloned(),
    }
}
