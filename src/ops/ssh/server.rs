//! `ssh set server` and `ssh unset server`.

use std::path::{Path, PathBuf};

use super::plan::out_of_range;
use super::reload::reload;
use super::set::{SetReport, exceptions, require};
use super::unset::{UnsetPlan, UnsetReport, finish, without_block};
use super::{carry_out, fault, lock};
use crate::model::ssh::Side;
use crate::model::ssh::plan::Planned;
use crate::ops::files::FilePlan;
use crate::ops::{Error, Result, require_machine};
use crate::root::Root;
use crate::ssh::block::{self, Block, Place};
use crate::ssh::program::Programs;
use crate::ssh::{self, Effective, Keyword, server};

/// The block in the server's main file.
pub(super) const BLOCK: Block<'_> = Block {
    name: "ssh set server --edit-main",
    keywords: &KEYWORDS,
};

/// The command that takes out what is set.
pub(super) const UNSET: &str = "sudo keepalivectl ssh unset server";

const KEYWORDS: [&str; 3] = ["ClientAliveInterval", "ClientAliveCountMax", "TCPKeepAlive"];

/// What the server is to do.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Seconds without data before a message.
    pub interval_s: u32,
    /// Messages without an answer.
    pub count_max: u32,
    /// SO_KEEPALIVE; none to leave it.
    pub tcp_keepalive: Option<bool>,
    /// Whether the main file may be edited where it includes no drop-ins.
    pub edit_main: bool,
    /// Whether a running server is to read its files again.
    pub reload: bool,
}

/// Sets the server's keepalives: a drop-in, or where none are included, a marked
/// block at the top of the main file.
///
/// # Errors
/// sshd gives no answer or refuses its configuration, before or after, a file cannot
/// be edited, no drop-in is included, or another line wins: nothing is changed then.
/// Or the server could not be told.
pub fn set(root: &Root, programs: &Programs, wanted: &Wanted, dry_run: bool) -> Result<SetReport> {
    require_machine(root, "ssh set server")?;
    let asked = server::Asked::default();
    let sshd = programs.sshd();
    let before = server::read(sshd, &asked)?;
    refuse_idle_ends(&before, wanted)?;
    let lock = lock(root, !dry_run)?;
    let (file, files) = plan(root, wanted)?;
    let mut report = SetReport::planned(root, Side::Server, &file, &files, dry_run);
    report.undo = Some(UNSET.to_owned());
    if dry_run {
        return Ok(report);
    }
    let effective = carry_out(root, &files, lock, || {
        server::check(sshd)?;
        let effective = server::read(sshd, &asked)?;
        require(&effective, Keyword::Interval, wanted.interval_s)?;
        require(&effective, Keyword::CountMax, wanted.count_max)?;
        if let Some(on) = wanted.tcp_keepalive {
            require(&effective, Keyword::TcpKeepalive, on.into())?;
        }
        Ok(effective)
    })?;
    report.warnings = exceptions(&effective);
    if wanted.count_max > 0 {
        report.warnings.extend(out_of_range(Planned {
            interval_s: wanted.interval_s,
            count_max: wanted.count_max,
        }));
    }
    report.add_effect(None, effective);
    if wanted.reload {
        report.reloaded = Some(reload(root, sshd)?);
    }
    Ok(report)
}

/// A count of 0 that would end healthy sessions is not what anybody asks for here.
fn refuse_idle_ends(before: &Effective, wanted: &Wanted) -> Result<()> {
    let mut after = before.alive;
    after.interval_s = wanted.interval_s;
    after.count_max = Some(wanted.count_max);
    match after.ends_idle() {
        true => Err(Error::EndsIdle),
        false => Ok(()),
    }
}

fn plan(root: &Root, wanted: &Wanted) -> Result<(PathBuf, FilePlan)> {
    let (dropin, main) = (PathBuf::from(server::DROPIN), PathBuf::from(server::MAIN));
    let mut files = FilePlan::default();
    let text = ssh::lossy(root, &main)?;
    let included = text.as_deref().is_none_or(server::includes_dropins);
    let in_main = block::names(text.as_deref().unwrap_or_default()).contains(&BLOCK.name);
    let old_dropin = our_dropin(root)?;
    if included && !in_main {
        let old = old_dropin.unwrap_or_default();
        let text = server::dropin(&lines(wanted, &old));
        files.edit(root, &dropin, old.as_bytes(), Some(text.into()), 0o644)?;
        return Ok((dropin, files));
    }
    if !wanted.edit_main && !in_main {
        return Err(Error::NoInclude {
            main: root.display(&main),
        });
    }
    let before = ssh::text(root, &main)?;
    let text = before.as_deref().unwrap_or_default();
    let ours = BLOCK.lines(text).map_err(fault(root, &main))?;
    let lines = lines(wanted, ours.or(old_dropin.as_deref()).unwrap_or_default());
    let after = BLOCK
        .put(before.as_deref(), &lines, Place::Top)
        .map_err(fault(root, &main))?;
    files.edit(root, &main, text.as_bytes(), Some(after.into()), 0o644)?;
    if let Some(old) = old_dropin {
        // One of the two is enough.
        files.edit(root, &dropin, old.as_bytes(), None, 0o644)?;
    }
    Ok((main, files))
}

/// The lines that are wanted. What is left as it is stays as `before` has it.
fn lines(wanted: &Wanted, before: &str) -> String {
    let tcp_keepalive = wanted
        .tcp_keepalive
        .or_else(|| server::tcp_keepalive(before));
    server::lines(wanted.interval_s, wanted.count_max, tcp_keepalive)
}

/// The text of the server's drop-in, which must be ours, line by line.
fn our_dropin(root: &Root) -> Result<Option<String>> {
    let file = Path::new(server::DROPIN);
    let Some(text) = ssh::text(root, file)? else {
        return Ok(None);
    };
    let file = root.display(file);
    if !text.starts_with(server::MARK) {
        return Err(ssh::Error::Foreign { file }.into());
    }
    let ours = |line: &str| {
        let word = line.split(' ').next().unwrap_or_default();
        KEYWORDS.contains(&word)
    };
    let blank = |line: &str| line.trim().is_empty();
    let mut lines = text.lines().skip(1);
    match lines.position(|line| !ours(line) && !blank(line)) {
        Some(at) => Err(ssh::Error::Edited { file, line: at + 2 }.into()),
        None => Ok(Some(text)),
    }
}

/// Removes the server's drop-in, and the block in its main file.
///
/// # Errors
/// A file cannot be edited: nothing is changed then. Or the server could not be told.
pub fn unset(
    root: &Root,
    programs: &Programs,
    and_reload: bool,
    dry_run: bool,
) -> Result<UnsetReport> {
    require_machine(root, "ssh unset server")?;
    let lock = lock(root, !dry_run)?;
    let (dropin, main) = (PathBuf::from(server::DROPIN), PathBuf::from(server::MAIN));
    let mut files = FilePlan::default();
    if let Some(old) = our_dropin(root)? {
        files.edit(root, &dropin, old.as_bytes(), None, 0o644)?;
    }
    let text = ssh::lossy(root, &main)?.unwrap_or_default();
    if block::names(&text).contains(&BLOCK.name) {
        without_block(root, &mut files, &main, &BLOCK)?;
    }
    let plan = UnsetPlan {
        side: Side::Server,
        looked_at: vec![dropin, main],
        block: Some(BLOCK.name),
        files,
    };
    let mut report = finish(root, plan, lock, dry_run)?;
    if !dry_run && and_reload {
        report.reloaded = Some(reload(root, programs.sshd())?);
    }
    Ok(report)
}
