//! `netns list`: what is in force in each network namespace.

use serde::Serialize;

use super::{Result, require_machine};
use crate::chain::chain;
use crate::kernel::namespaces::{self, Held, Namespace};
use crate::kernel::{Error, keepalive, processes, sock_diag};
use crate::model::{Setting, Values};
use crate::root::Root;

/// Programs that are named for each namespace.
const PROGRAMS: usize = 3;

/// One network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetnsEntry {
    /// The number of its file, as lsns(8) shows it.
    pub inode: u64,
    /// Its names in `/run/netns`, as far as they are UTF-8.
    pub names: Vec<String>,
    /// Whether process 1 is in it.
    pub host: bool,
    /// Whether the caller is in it.
    pub own: bool,
    /// How many processes are in it.
    pub processes: usize,
    /// What `--netns` takes.
    pub netns: String,
    /// Some of their programs.
    pub programs: Vec<String>,
    /// What is in force; none if it could not be entered.
    pub settings: Option<Values>,
    /// Established TCP sockets; none if the kernel does not list them.
    pub established: Option<u64>,
    /// The settings that are not the host's; where that may not be seen, those
    /// that are not the caller's own.
    pub differing: Vec<Setting>,
    /// Why it could not be looked into: it went away, or CAP_SYS_ADMIN is
    /// missing.
    pub error: Option<String>,
}

/// All that could be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetnsReport {
    /// The host's settings, those of process 1; none if it may not be seen.
    pub host: Option<Values>,
    /// The namespaces, by the number of their file.
    pub namespaces: Vec<NetnsEntry>,
    /// Processes whose namespace may not be seen.
    pub unseen_processes: usize,
}

/// Looks into each network namespace. One that goes away meanwhile is reported
/// with the reason.
///
/// # Errors
/// `/proc` cannot be read.
pub fn list(root: &Root) -> Result<NetnsReport> {
    require_machine(root, "netns list")?;
    let found = namespaces::list().map_err(Error::Namespaces)?;
    let own = namespaces::own_inode();
    let hosts = namespaces::inode_of(1);
    let mut entries: Vec<NetnsEntry> = found.found.iter().map(look_into).collect();
    for entry in &mut entries {
        entry.host = Some(entry.inode) == hosts;
        entry.own = Some(entry.inode) == own;
    }
    let in_force = |which: fn(&NetnsEntry) -> bool| {
        let entry = entries.iter().find(|entry| which(entry))?;
        entry.settings
    };
    let host = in_force(|entry| entry.host);
    let reference = host.or_else(|| in_force(|entry| entry.own));
    for entry in &mut entries {
        if let Some((settings, reference)) = entry.settings.zip(reference) {
            entry.differing = settings.differences(reference).collect();
        }
    }
    Ok(NetnsReport {
        host,
        namespaces: entries,
        unseen_processes: found.unseen_processes,
    })
}

fn look_into(namespace: &Namespace) -> NetnsEntry {
    let mut programs: Vec<String> = namespace
        .processes
        .iter()
        .filter_map(|pid| processes::command(*pid))
        .collect();
    programs.sort();
    programs.dedup();
    programs.truncate(PROGRAMS);
    let (seen, error) = match enter(namespace) {
        Ok(seen) => (Some(seen), None),
        Err(e) => (None, Some(chain(&e))),
    };
    NetnsEntry {
        inode: namespace.inode,
        names: namespace
            .names
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect(),
        host: false,
        own: false,
        processes: namespace.processes.len(),
        netns: namespace.name(),
        programs,
        settings: seen.map(|(settings, _)| settings),
        established: seen.and_then(|(_, established)| established),
        differing: Vec::new(),
        error,
    }
}

/// What is in force in it, and its established sockets, if the kernel lists
/// them.
fn enter(namespace: &Namespace) -> std::result::Result<(Values, Option<u64>), Error> {
    let look = || Ok((keepalive::ask()?, sock_diag::count_established().ok()));
    let held = hold(namespace)?;
    let entered = held.netns().enter(look);
    entered.map_err(|e| named(e, namespace))?
}

/// Holds a namespace that was found before.
pub(super) fn hold(namespace: &Namespace) -> std::result::Result<Held, Error> {
    let held = namespace.hold().map_err(Error::Namespaces)?;
    held.ok_or(Error::Gone)
}

/// An error that names the namespace as people know it.
fn named(error: Error, namespace: &Namespace) -> Error {
    match error {
        Error::Enter { source, .. } => Error::Enter {
            name: namespace.name(),
            source,
        },
        other => other,
    }
}

/// The same of a job's error.
pub(super) fn named_job(error: super::Error, namespace: &Namespace) -> super::Error {
    match error {
        super::Error::Kernel(e) => super::Error::Kernel(named(e, namespace)),
        other => other,
    }
}
