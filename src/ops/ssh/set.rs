//! `ssh set`: settings that really take effect.
//!
//! Each job asks the real program first, so that nothing is changed where it
//! refuses its configuration already; then it writes, asks again, and takes back
//! what is not in effect.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::reload::{Reloaded, reload};
use super::show::{Circumstances, SshReport, of};
use super::{SERVER_BLOCK, block_name, carry_out, torn};
use crate::boot::lock;
use crate::model::ssh::Side;
use crate::ops::files::{Change, FilePlan};
use crate::ops::{Error, Result, require_machine};
use crate::root::Root;
use crate::ssh::block::{self, Place};
use crate::ssh::pattern::Patterns;
use crate::ssh::{self, Effective, Keyword, Line, Source, client, putty, reg, server};

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
pub struct Client {
    /// Seconds without data before a message.
    pub interval_s: u32,
    /// Messages without an answer.
    pub count_max: u32,
    /// For which hosts.
    pub hosts: Patterns,
    /// Whose.
    pub scope: Scope,
    /// The user's own folder, where the environment is another user's.
    pub home: Option<PathBuf>,
}

/// What the server is to do.
#[derive(Debug, Clone, Copy)]
pub struct Server {
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

/// What PuTTY is to do.
#[derive(Debug, Clone)]
pub struct Putty {
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
    pub file: PathBuf,
    /// What is done to which file.
    pub changes: Vec<Change>,
    /// The same as a unified diff.
    pub diff: String,
    /// What is in effect now, read again; none in a dry run, and for Windows.
    pub in_effect: Option<SshReport>,
    /// Whether a running server was told.
    pub reloaded: Option<Reloaded>,
    /// The command that takes it out again; none for a file for Windows.
    pub undo: Option<String>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

impl SetReport {
    fn planned(root: &Root, side: Side, file: &Path, files: &FilePlan, dry_run: bool) -> SetReport {
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
}

/// Sets the client's keepalives: a marked block in the user's file, or in one of
/// the system's drop-ins.
///
/// For all hosts it stands at the end, so that what is said for certain hosts keeps
/// its say; for certain hosts at the top.
///
/// # Errors
/// ssh refuses its configuration, a file cannot be edited, or another line wins:
/// nothing is changed then.
pub fn set_client(root: &Root, wanted: &Client, dry_run: bool) -> Result<SetReport> {
    require_machine(root, "ssh set client")?;
    let asked = client::Asked {
        host: (!wanted.hosts.is_all()).then(|| wanted.hosts.example()),
        home: wanted.home.clone(),
        ..client::Asked::default()
    };
    client::read(&asked)?;
    let _lock = match (wanted.scope, dry_run) {
        (Scope::System, false) => Some(lock::take(root)?),
        _ => None,
    };
    let (file, mode) = client_file(wanted.scope)?;
    let before = ssh::text(root, &file)?;
    let lines = client::block(wanted.hosts.as_str(), wanted.interval_s, wanted.count_max);
    let name = block_name(&wanted.hosts);
    let (lines, place) = match wanted.hosts.is_all() {
        true => (lines, Place::End),
        // What stood there before it counts for all hosts again.
        false => (format!("{lines}Host *\n"), Place::Top),
    };
    let after = block::put(before.as_deref().unwrap_or_default(), &name, &lines, place)
        .map_err(torn(root, &file))?;
    let mut files = FilePlan::default();
    files.add(root, Change::edit(root, &file, after, mode)?)?;
    let mut report = SetReport::planned(root, Side::Client, &file, &files, dry_run);
    report.undo = Some(unset_client_command(wanted));
    if !dry_run {
        let effective = carry_out(root, &files, || {
            let effective = client::read(&asked)?;
            let both = [
                (Keyword::Interval, wanted.interval_s),
                (Keyword::CountMax, wanted.count_max),
            ];
            for (keyword, value) in both {
                match wanted.scope {
                    Scope::User => require(&effective, keyword, value)?,
                    Scope::System => require_for_all(&effective, keyword, &file)?,
                }
            }
            Ok(effective)
        })?;
        if wanted.hosts.is_all() {
            report.warnings = exceptions(&effective, "hosts");
        }
        report.in_effect = Some(of(asked.host, effective, &Circumstances::default())?);
    }
    Ok(report)
}

fn unset_client_command(wanted: &Client) -> String {
    let host = match wanted.hosts.is_all() {
        true => String::new(),
        false => format!(" --host '{}'", wanted.hosts.as_str()),
    };
    let scope = match wanted.scope {
        Scope::User => "",
        Scope::System => " --system",
    };
    format!("keepalivectl ssh unset client{host}{scope}")
}

/// The file of a scope, and the mode of a new one.
pub(super) fn client_file(scope: Scope) -> Result<(PathBuf, u32)> {
    Ok(match scope {
        Scope::User => (client::home()?.join(client::IN_HOME), 0o600),
        Scope::System => (client::DROPIN.into(), 0o644),
    })
}

/// Lines that keep their say, for those that nobody asked about.
fn exceptions(effective: &Effective, whom: &str) -> Vec<String> {
    let keywords = [Keyword::Interval, Keyword::CountMax].into_iter();
    let mut texts: Vec<String> = keywords
        .flat_map(|keyword| {
            effective
                .elsewhere(keyword)
                .map(move |line| (keyword, line))
        })
        .map(|(keyword, line)| {
            let name = keyword.name(effective.alive.side);
            format!("for certain {whom} another line wins: {name} at {line}")
        })
        .collect();
    // A configuration may be read twice.
    texts.sort();
    texts.dedup();
    texts
}

/// That an option has the value that was written.
fn require(effective: &Effective, keyword: Keyword, wanted: u32) -> Result<()> {
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

/// That an option is taken from our file by all who have none of their own. Whoever
/// runs this may have one.
fn require_for_all(effective: &Effective, keyword: Keyword, ours: &Path) -> Result<()> {
    match effective.first_of_system(keyword) {
        Some(line) if Path::new(&line.file) == ours => Ok(()),
        line => Err(not_in_effect(keyword, effective.alive.side, line)),
    }
}

fn not_in_effect(keyword: Keyword, side: Side, line: Option<&Line>) -> Error {
    Error::NotInEffect {
        option: keyword.name(side),
        line: line.cloned(),
    }
}

/// Sets the server's keepalives: a drop-in, or where none are included, a marked
/// block at the top of the main file.
///
/// # Errors
/// sshd refuses its configuration before or after, a file cannot be edited, no
/// drop-in is included, or another line wins: nothing is changed then. Or the
/// server could not be told.
pub fn set_server(root: &Root, wanted: &Server, dry_run: bool) -> Result<SetReport> {
    require_machine(root, "ssh set server")?;
    let asked = server::Asked::default();
    let _lock = match dry_run {
        true => None,
        false => Some(lock::take(root)?),
    };
    let before = server::read(&asked)?;
    refuse_idle_ends(&before, wanted)?;
    let (file, files) = plan_server(root, wanted)?;
    let mut report = SetReport::planned(root, Side::Server, &file, &files, dry_run);
    report.undo = Some("keepalivectl ssh unset server".to_owned());
    if dry_run {
        return Ok(report);
    }
    let effective = carry_out(root, &files, || {
        server::check()?;
        let effective = server::read(&asked)?;
        require(&effective, Keyword::Interval, wanted.interval_s)?;
        require(&effective, Keyword::CountMax, wanted.count_max)?;
        if let Some(on) = wanted.tcp_keepalive {
            require(&effective, Keyword::TcpKeepalive, on.into())?;
        }
        Ok(effective)
    })?;
    report.warnings = exceptions(&effective, "connections");
    report.in_effect = Some(of(None, effective, &Circumstances::default())?);
    if wanted.reload {
        report.reloaded = Some(reload(root)?);
    }
    Ok(report)
}

/// A count of 0 that would end healthy sessions is not what anybody asks for here.
fn refuse_idle_ends(before: &Effective, wanted: &Server) -> Result<()> {
    let mut after = before.alive;
    after.interval_s = wanted.interval_s;
    after.count_max = Some(wanted.count_max);
    match after.ends_idle() {
        true => Err(Error::EndsIdle),
        false => Ok(()),
    }
}

fn plan_server(root: &Root, wanted: &Server) -> Result<(PathBuf, FilePlan)> {
    let main = PathBuf::from(server::MAIN);
    let (interval_s, count_max) = (wanted.interval_s, wanted.count_max);
    let text = ssh::text(root, &main)?;
    let included = text.as_deref().is_none_or(server::includes_dropins);
    let mut files = FilePlan::default();
    if included {
        let dropin = PathBuf::from(server::DROPIN);
        server_dropin(root)?;
        let text = server::dropin(interval_s, count_max, wanted.tcp_keepalive);
        files.add(root, Change::edit(root, &dropin, text, 0o644)?)?;
        return Ok((dropin, files));
    }
    if !wanted.edit_main {
        return Err(Error::NoInclude {
            main: root.display(&main),
        });
    }
    let lines = server::lines(interval_s, count_max, wanted.tcp_keepalive);
    let before = text.unwrap_or_default();
    let after = block::put(&before, SERVER_BLOCK, &lines, Place::Top).map_err(torn(root, &main))?;
    files.add(root, Change::edit(root, &main, after, 0o644)?)?;
    Ok((main, files))
}

/// The text of the server's drop-in, which must be ours.
pub(super) fn server_dropin(root: &Root) -> Result<Option<String>> {
    let file = Path::new(server::DROPIN);
    let text = ssh::text(root, file)?;
    match text {
        Some(text) if !text.starts_with(server::MARK) => Err(Error::Ssh(ssh::Error::Foreign {
            file: root.display(file),
        })),
        text => Ok(text),
    }
}

/// Sets a PuTTY session's keepalives, or writes a file for Windows.
///
/// # Errors
/// There is no such session, or a file cannot be edited.
pub fn set_putty(root: &Root, wanted: &Putty, dry_run: bool) -> Result<SetReport> {
    require_machine(root, "ssh set putty")?;
    let mut files = FilePlan::default();
    let (session, interval_s) = (wanted.session.as_str(), wanted.interval_s);
    if let Some(file) = &wanted.reg {
        let text = reg::text(session, interval_s, wanted.tcp_keepalive);
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        files.add(root, Change::edit(root, &file, text, 0o644)?)?;
        let report = SetReport::planned(root, Side::Putty, &file, &files, dry_run);
        if !dry_run {
            carry_out(root, &files, || Ok(()))?;
        }
        return Ok(report);
    }
    let folder = putty::folder(root, wanted.home.as_deref())?;
    let file = putty::file(&folder, session);
    let after = putty::set(
        &putty::read(root, &folder, session)?,
        interval_s,
        wanted.tcp_keepalive,
    );
    files.add(root, Change::edit(root, &file, after, 0o600)?)?;
    let mut report = SetReport::planned(root, Side::Putty, &file, &files, dry_run);
    let quoted = session.replace('\'', r"'\''");
    report.undo = Some(format!("keepalivectl ssh unset putty '{quoted}'"));
    if session == putty::DEFAULT {
        report.warnings.push(
            "sessions that are saved already have values of their own: set each by its name"
                .to_owned(),
        );
    }
    if dry_run {
        return Ok(report);
    }
    let effective = carry_out(root, &files, || {
        let text = putty::read(root, &folder, session)?;
        let values = putty::values(&root.display(&file).to_string_lossy(), &text);
        Ok(values.effective())
    })?;
    let name = Some(session.to_owned());
    report.in_effect = Some(of(name, effective, &Circumstances::default())?);
    Ok(report)
}
