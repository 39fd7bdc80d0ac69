//! What all of `ssh unset` have in common: it takes out what `ssh set` has put in,
//! and nothing else.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::client::Scope;
use super::reload::Reloaded;
use super::{carry_out, client, fault, server};
use crate::boot::lock::Lock;
use crate::model::ssh::Side;
use crate::ops::Result;
use crate::ops::files::{Change, FilePlan, as_texts};
use crate::root::Root;
use crate::ssh;
use crate::ssh::block::{self, Block, Left};

/// What was taken out, or would be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnsetReport {
    /// Whether anything was there to take out.
    pub changed: bool,
    /// Whether this is only the plan.
    pub dry_run: bool,
    /// Whose keepalives.
    pub side: Side,
    /// Where it was looked for.
    #[serde(serialize_with = "as_texts")]
    pub files: Vec<PathBuf>,
    /// What is done to which file.
    pub changes: Vec<Change>,
    /// The same as a unified diff.
    pub diff: String,
    /// Commands that take out what else is in these files.
    pub left: Vec<String>,
    /// Whether a running server was told.
    pub reloaded: Option<Reloaded>,
}

/// Adds the change that takes a block out of a file, if it is there.
pub(super) fn without_block(
    root: &Root,
    files: &mut FilePlan,
    file: &Path,
    block: &Block<'_>,
) -> Result<()> {
    let Some(text) = ssh::text(root, file)? else {
        return Ok(());
    };
    let left = block.remove(&text).map_err(fault(root, file))?;
    left.map_or(Ok(()), |left| {
        leave(root, files, file, text.as_bytes(), left)
    })
}

/// Adds the change to a file with less in it than `before`, or to none where there
/// was none.
pub(super) fn leave<T: Into<Vec<u8>>>(
    root: &Root,
    files: &mut FilePlan,
    file: &Path,
    before: &[u8],
    left: Left<T>,
) -> Result<()> {
    const MODE: u32 = 0o600;
    let after = match left {
        Left::Nothing => None,
        // It is there, with a mode of its own.
        Left::Text(text) => Some(text.into()),
    };
    files.edit(root, file, before, after, MODE)
}

/// What is to be taken out.
pub(super) struct UnsetPlan<'b> {
    pub(super) side: Side,
    /// The files in which it was looked for.
    pub(super) looked_at: Vec<PathBuf>,
    /// The name of the block that is taken out.
    pub(super) block: Option<&'b str>,
    pub(super) files: FilePlan,
}

/// Carries the changes out, unless it is a dry run.
pub(super) fn finish(
    root: &Root,
    plan: UnsetPlan<'_>,
    lock: Option<Lock>,
    dry_run: bool,
) -> Result<UnsetReport> {
    let UnsetPlan {
        side,
        looked_at,
        block,
        files,
    } = plan;
    // Nothing may fail once the files are changed.
    let left = match dry_run {
        true => Vec::new(),
        false => others(root, &looked_at, block)?,
    };
    if !dry_run {
        carry_out(root, &files, lock, || Ok(()))?;
    }
    Ok(UnsetReport {
        changed: !files.is_empty(),
        dry_run,
        side,
        files: looked_at.iter().map(|file| root.display(file)).collect(),
        changes: files.changes(root),
        diff: files.diff(root),
        left,
        reloaded: None,
    })
}

/// The commands that take out the blocks that are in some files, all but one.
fn others(root: &Root, files: &[PathBuf], but: Option<&str>) -> Result<Vec<String>> {
    let mut commands = Vec::new();
    for file in files {
        let text = ssh::lossy(root, file)?.unwrap_or_default();
        let systems = file.starts_with("/etc");
        let scope = if systems { Scope::System } else { Scope::User };
        let command = |name| match name == server::BLOCK.name {
            true => Some(server::UNSET.to_owned()),
            false => client::unset_block(name, scope),
        };
        let names = block::names(&text).into_iter();
        let names = names.filter(|name| Some(*name) != but);
        commands.extend(names.filter_map(command));
    }
    Ok(commands)
}
