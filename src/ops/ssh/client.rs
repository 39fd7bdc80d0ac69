//! `ssh set client` and `ssh unset client`.

use std::path::{Path, PathBuf};

use super::plan::out_of_range;
use super::set::{SetReport, exceptions, not_in_effect, require};
use super::unset::{UnsetPlan, UnsetReport, finish, without_block};
use super::{carry_out, fault, lock};
use crate::model::ssh::Side;
use crate::model::ssh::plan::Planned;
use crate::ops::files::FilePlan;
use crate::ops::{Error, Result, require_machine};
use crate::root::Root;
use crate::ssh::block::{Block, Place};
use crate::ssh::pattern::Patterns;
use crate::ssh::program::{Program, Programs};
use crate::ssh::{self, Effective, Keyword, client};
use crate::text::shell;

/// Whose client's configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The user's own.
    User,
    /// That of all users of this machine.
    System,
}

/// What the client is to do.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Seconds without data before a message.
    pub interval_s: u32,
    /// Messages without an answer.
    pub count_max: u32,
    /// For which hosts, at the top of the file; none for all, at its end.
    pub hosts: Option<Patterns>,
    /// Whose.
    pub scope: Scope,
    /// The user's own folder, where the environment is another user's.
    pub home: Option<PathBuf>,
}

/// Sets the client's keepalives: a marked block in the user's file, or in one of
/// the system's drop-ins.
///
/// For all hosts it stands at the end, so that what is said for certain hosts keeps
/// its say; for certain hosts at the top.
///
/// # Errors
/// ssh gives no answer or refuses its configuration, a file cannot be edited, or
/// another line wins: nothing is changed then.
pub fn set(root: &Root, programs: &Programs, wanted: &Wanted, dry_run: bool) -> Result<SetReport> {
    require_machine(root, "ssh set client")?;
    let asked = client::Asked {
        host: wanted.hosts.as_ref().map(Patterns::example),
        home: wanted.home.clone(),
        ..client::Asked::default()
    };
    client::read(programs.ssh(), &asked)?;
    let (file, mode) = file_of(programs.ssh(), wanted.scope)?;
    let lock = lock(root, !dry_run && wanted.scope == Scope::System)?;
    let before = ssh::text(root, &file)?;
    let (interval_s, count_max) = (wanted.interval_s, wanted.count_max);
    let (lines, place) = match &wanted.hosts {
        None => (client::block("*", interval_s, count_max), Place::End),
        Some(hosts) => {
            let lines = client::block(hosts.as_str(), interval_s, count_max);
            // What stands below counts for all hosts, as before.
            (format!("{lines}Host *\n"), Place::Top)
        }
    };
    let name = block_name(wanted.hosts.as_ref());
    let after = block(&name)
        .put(before.as_deref(), &lines, place)
        .map_err(fault(root, &file))?;
    let mut files = FilePlan::default();
    let old = before.as_deref().unwrap_or_default();
    files.edit(root, &file, old.as_bytes(), Some(after.into()), mode)?;
    let mut report = SetReport::planned(root, Side::Client, &file, &files, dry_run);
    report.undo = Some(unset_command(wanted.hosts.as_ref(), wanted.scope));
    if !dry_run {
        let effective = carry_out(root, &files, lock, || {
            let effective = client::read(programs.ssh(), &asked)?;
            let both = [
                (Keyword::Interval, wanted.interval_s),
                (Keyword::CountMax, wanted.count_max),
            ];
            for (keyword, value) in both {
                match wanted.scope {
                    Scope::System if effective.is_traced() => {
                        require_for_all(&effective, keyword, value, &file)?;
                    }
                    _ => require(&effective, keyword, value)?,
                }
            }
            Ok(effective)
        })?;
        if wanted.hosts.is_none() {
            report.warnings = exceptions(&effective);
        }
        report.warnings.extend(out_of_range(Planned {
            interval_s,
            count_max,
        }));
        let hosts = wanted.hosts.as_ref().map(|hosts| hosts.as_str().to_owned());
        report.add_effect(hosts, effective);
    }
    Ok(report)
}

fn unset_command(hosts: Option<&Patterns>, scope: Scope) -> String {
    let host = hosts.map_or(String::new(), |hosts| {
        format!(" {}", shell::option("--host", hosts.as_str()))
    });
    match scope {
        Scope::User => format!("keepalivectl ssh unset client{host}"),
        Scope::System => format!("sudo keepalivectl ssh unset client{host} --system"),
    }
}

/// The file of a scope, and the mode of a new one.
fn file_of(ssh: Program<'_>, scope: Scope) -> Result<(PathBuf, u32)> {
    Ok(match scope {
        Scope::User => (client::home(ssh)?.join(client::IN_HOME), 0o600),
        Scope::System => (client::DROPIN.into(), 0o644),
    })
}

/// That an option is taken from our file by all who have none of their own. Whoever
/// runs this may have one.
fn require_for_all(
    effective: &Effective,
    keyword: Keyword,
    wanted: u32,
    ours: &Path,
) -> Result<()> {
    match effective.first_of_system(keyword) {
        Some(line) if Path::new(&line.file) == ours && line.may_say(&wanted.to_string()) => Ok(()),
        Some(line) => Err(not_in_effect(keyword, effective.alive.side, Some(line))),
        None => Err(Error::NotIncluded {
            main: client::SYSTEM,
            folder: client::DROPINS,
        }),
    }
}

/// The name of the block of some hosts: the command that writes it.
fn block_name(hosts: Option<&Patterns>) -> String {
    match hosts {
        None => "ssh set client".to_owned(),
        Some(hosts) => format!("ssh set client --host '{}'", hosts.as_str()),
    }
}

/// The command that takes out the block of a name; none for a name that is not ours,
/// as anybody may have written that line.
pub(super) fn unset_block(name: &str, scope: Scope) -> Option<String> {
    let ours =
        |hosts: Option<&Patterns>| (block_name(hosts) == name).then(|| unset_command(hosts, scope));
    let quoted = name.split_once("--host '").map(|(_, rest)| rest);
    let patterns = quoted.and_then(|rest| rest.strip_suffix('\'')?.parse().ok());
    ours(None).or_else(|| ours(Some(&patterns?)))
}

fn block(name: &str) -> Block<'_> {
    Block {
        name,
        keywords: &["Host", "ServerAliveInterval", "ServerAliveCountMax"],
    }
}

/// Takes the block for some hosts out of the client's configuration.
///
/// # Errors
/// A file cannot be edited; nothing is changed then.
pub fn unset(
    root: &Root,
    programs: &Programs,
    hosts: Option<&Patterns>,
    scope: Scope,
    dry_run: bool,
) -> Result<UnsetReport> {
    require_machine(root, "ssh unset client")?;
    let (file, _) = file_of(programs.ssh(), scope)?;
    let lock = lock(root, !dry_run && scope == Scope::System)?;
    let mut files = FilePlan::default();
    let name = block_name(hosts);
    without_block(root, &mut files, &file, &block(&name))?;
    let plan = UnsetPlan {
        side: Side::Client,
        looked_at: vec![file],
        block: Some(&name),
        files,
    };
    finish(root, plan, lock, dry_run)
}
