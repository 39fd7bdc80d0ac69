//! `ssh unset`: takes out what `ssh set` has put in, and nothing else.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::reload::{self, Reloaded};
use super::set::{Scope, client_file, server_dropin};
use super::{SERVER_BLOCK, block_name, carry_out, torn};
use crate::boot::lock;
use crate::ops::files::{Change, FilePlan};
use crate::ops::{Result, require_machine};
use crate::root::Root;
use crate::ssh::pattern::Patterns;
use crate::ssh::{self, block, putty, server};

/// What was taken out, or would be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnsetReport {
    /// Whether anything was there to take out.
    pub changed: bool,
    /// Whether this is only the plan.
    pub dry_run: bool,
    /// Where it was looked for.
    pub files: Vec<PathBuf>,
    /// What is done to which file.
    pub changes: Vec<Change>,
    /// The same as a unified diff.
    pub diff: String,
    /// Whether a running server was told.
    pub reloaded: Option<Reloaded>,
}

/// Takes the block for some hosts out of the client's configuration.
///
/// # Errors
/// A file cannot be edited; nothing is changed then.
pub fn unset_client(
    root: &Root,
    hosts: &Patterns,
    scope: Scope,
    dry_run: bool,
) -> Result<UnsetReport> {
    require_machine(root, "ssh unset client")?;
    let _lock = match (scope, dry_run) {
        (Scope::System, false) => Some(lock::take(root)?),
        _ => None,
    };
    let (file, mode) = client_file(scope)?;
    let mut files = FilePlan::default();
    without_block(root, &mut files, &file, &block_name(hosts), mode)?;
    finish(root, vec![file], &files, dry_run)
}

/// Removes the server's drop-in, and the block in its main file.
///
/// # Errors
/// A file cannot be edited, or sshd refuses what is left: nothing is changed then.
/// Or the server could not be told.
pub fn unset_server(root: &Root, reload: bool, dry_run: bool) -> Result<UnsetReport> {
    require_machine(root, "ssh unset server")?;
    let _lock = match dry_run {
        true => None,
        false => Some(lock::take(root)?),
    };
    let (dropin, main) = (PathBuf::from(server::DROPIN), PathBuf::from(server::MAIN));
    let mut files = FilePlan::default();
    if server_dropin(root)?.is_some() {
        let file = dropin.clone();
        files.add(root, Change::Remove { file })?;
    }
    without_block(root, &mut files, &main, SERVER_BLOCK, 0o644)?;
    let mut report = finish(root, vec![dropin, main], &files, dry_run)?;
    if !dry_run && reload {
        report.reloaded = Some(reload::reload(root)?);
    }
    Ok(report)
}

/// Gives a PuTTY session its values from before back.
///
/// # Errors
/// There is no such session, or its file cannot be edited; nothing is changed then.
pub fn unset_putty(
    root: &Root,
    session: &str,
    home: Option<&Path>,
    dry_run: bool,
) -> Result<UnsetReport> {
    require_machine(root, "ssh unset putty")?;
    let folder = putty::folder(root, home)?;
    let file = putty::file(&folder, session);
    let text = putty::read(root, &folder, session)?;
    let mut files = FilePlan::default();
    if let Some(before) = putty::unset(&text) {
        files.add(root, without(root, &file, before, 0o600)?)?;
    }
    finish(root, vec![file], &files, dry_run)
}

fn without_block(
    root: &Root,
    files: &mut FilePlan,
    file: &Path,
    name: &str,
    mode: u32,
) -> Result<()> {
    let Some(text) = ssh::text(root, file)? else {
        return Ok(());
    };
    match block::remove(&text, name).map_err(torn(root, file))? {
        Some(after) => files.add(root, without(root, file, after, mode)?),
        None => Ok(()),
    }
}

/// A file with less in it, or none where nothing is left.
fn without(root: &Root, file: &Path, text: String, mode: u32) -> Result<Change> {
    match text.is_empty() {
        true => Ok(Change::Remove { file: file.into() }),
        false => Change::edit(root, file, text, mode),
    }
}

fn finish(
    root: &Root,
    looked_at: Vec<PathBuf>,
    files: &FilePlan,
    dry_run: bool,
) -> Result<UnsetReport> {
    if !dry_run {
        carry_out(root, files, || Ok(()))?;
    }
    Ok(UnsetReport {
        changed: !files.is_empty(),
        dry_run,
        files: looked_at.iter().map(|file| root.display(file)).collect(),
        changes: files.changes(root),
        diff: files.diff(root),
        reloaded: None,
    })
}
