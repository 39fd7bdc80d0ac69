//! `ssh set putty` and `ssh unset putty`.

use std::path::{Path, PathBuf};

use super::carry_out;
use super::set::SetReport;
use super::unset::{UnsetPlan, UnsetReport, finish, leave};
use crate::model::ssh::Side;
use crate::ops::files::FilePlan;
use crate::ops::{Error, Result, require_machine};
use crate::root::{FileError, Root};
use crate::ssh::{self, putty, reg};
use crate::text::shell;

/// What PuTTY is to do.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The session.
    pub session: String,
    /// Seconds between messages.
    pub interval_s: u32,
    /// SO_KEEPALIVE; none to leave it.
    pub tcp_keepalive: Option<bool>,
    /// A file for Windows to import, instead of the session on this machine.
    pub reg: Option<PathBuf>,
    /// The user's own folder, where the environment is another user's.
    pub home: Option<PathBuf>,
}

/// Sets a PuTTY session's keepalives, or writes a file for Windows.
///
/// # Errors
/// There is no such session, or a file cannot be edited.
pub fn set(root: &Root, wanted: &Wanted, dry_run: bool) -> Result<SetReport> {
    require_machine(root, "ssh set putty")?;
    let mut files = FilePlan::default();
    let (session, interval_s) = (wanted.session.as_str(), wanted.interval_s);
    if let Some(file) = &wanted.reg {
        let text = reg::text(session, interval_s, wanted.tcp_keepalive);
        let file = in_its_folder(file);
        let old = require_new(root, &file, &text)?;
        files.edit(
            root,
            &file,
            old.as_bytes(),
            Some(text.clone().into()),
            0o644,
        )?;
        let report = SetReport::planned(root, Side::Putty, &file, &files, dry_run);
        if !dry_run {
            carry_out(root, &files, None, || Ok(()))?;
        }
        return Ok(report);
    }
    let folder = putty::folder(root, wanted.home.as_deref())?;
    let file = putty::file(&folder, session);
    let before = putty::read(root, &folder, session)?;
    let after = putty::set(before.as_deref(), interval_s, wanted.tcp_keepalive);
    let found = before.as_deref().unwrap_or_default();
    files.edit(root, &file, found, Some(after), 0o600)?;
    let mut report = SetReport::planned(root, Side::Putty, &file, &files, dry_run);
    report.undo = Some(unset_command(session));
    if session == putty::DEFAULT {
        report.warnings.push(
            "sessions that are saved already have values of their own: set each by its name"
                .to_owned(),
        );
    }
    if dry_run {
        return Ok(report);
    }
    let effective = carry_out(root, &files, None, || {
        let text = putty::read(root, &folder, session)?.unwrap_or_default();
        let effective = putty::values(&root.display(&file).to_string_lossy(), &text).effective();
        let alive = effective.alive;
        let kept = wanted
            .tcp_keepalive
            .is_none_or(|on| on == alive.tcp_keepalive);
        match alive.interval_s == interval_s && kept {
            true => Ok(effective),
            false => Err(Error::NotInEffect {
                option: putty::SECONDS,
                line: None,
            }),
        }
    })?;
    let name = Some(session.to_owned());
    report.add_effect(name, effective);
    Ok(report)
}
/// The command that takes it out again.
fn unset_command(session: &str) -> String {
    let end = if session.starts_with('-') { "-- " } else { "" };
    format!(
        "keepalivectl ssh unset putty {end}{}",
        shell::quote(session)
    )
}

/// The path with its folder's links and dots resolved, if the folder is there.
fn in_its_folder(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folder = absolute
        .parent()
        .and_then(|folder| folder.canonicalize().ok());
    match (folder, absolute.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => absolute,
    }
}

/// That nothing is written over, and into no folder that is not there. Returns what
/// the file holds already: the text, or nothing.
fn require_new<'t>(root: &Root, file: &Path, text: &'t str) -> Result<&'t str> {
    let folder = file.parent().unwrap_or(file);
    if !root.exists(folder)? {
        let source = std::io::Error::from(nix::errno::Errno::ENOENT);
        let path = root.display(folder);
        return Err(FileError::Write { path, source }.into());
    }
    match root.read(file, text.len()) {
        Ok(None) => Ok(""),
        Ok(Some(there)) if there.bytes == text.as_bytes() => Ok(text),
        Ok(Some(_)) | Err(FileError::TooLarge { .. }) => {
            let file = root.display(file);
            Err(ssh::Error::Exists { file }.into())
        }
        Err(e) => Err(e.into()),
    }
}

/// Gives a PuTTY session its values from before back.
///
/// # Errors
/// There is no such session, or its file cannot be edited; nothing is changed then.
pub fn unset(
    root: &Root,
    session: &str,
    home: Option<&Path>,
    dry_run: bool,
) -> Result<UnsetReport> {
    require_machine(root, "ssh unset putty")?;
    let folder = putty::folder(root, home)?;
    let file = putty::file(&folder, session);
    let text = putty::read(root, &folder, session)?.unwrap_or_default();
    let mut files = FilePlan::default();
    if let Some(left) = putty::unset(&text) {
        leave(root, &mut files, &file, &text, left)?;
    }
    let plan = UnsetPlan {
        side: Side::Putty,
        looked_at: vec![file],
        block: None,
        files,
    };
    finish(root, plan, None, dry_run)
}
