//! `netns list`: what is in force in each network namespace.

use serde::Serialize;

use super::{Result, require_machine};
use crate::chain::chain;
use crate::kernel::namespaces::{self, Namespace};
use crate::kernel::{Error, keepalive, sock_diag};
use crate::model::{Setting, Values};
use crate::root::Root;

/// Programs that are named for each namespace.
const PROGRAMS: usize = 3;

/// One network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetnsEntry {
    /// The number of its file, as lsns(8) shows it.
    pub inode: u64,
    /// Its names in `/run/netns`.
    pub names: Vec<String>,
    /// Whether process 1 is in it.
    pub host: bool,
    /// Whether the caller is in it.
    pub own: bool,
    /// How many processes are in it.
    pub processes: usize,
    /// The process with the lowest number, for `--netns pid:N`.
    pub pid: Option<i32>,
    /// Some of their programs.
    pub programs: Vec<String>,
    /// What is in force; none if it could not be entered.
    pub settings: Option<Values>,
    /// Established TCP sockets.
    pub established: Option<u64>,
    /// The settings that are not the host's.
    pub differing: Vec<Setting>,
    /// Why it could not be looked into: it went away, or CAP_SYS_ADMIN is
    /// missing.
    pub error: Option<String>,
}

/// All that could be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetnsReport {
    /// The host's settings, with which the others are compared: those of process
    /// 1, or where it may not be seen, the caller's own.
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
    let host = namespaces::inode_of(1);
    let mut entries: Vec<NetnsEntry> = found.found.iter().map(look_into).collect();
    for entry in &mut entries {
        entry.host = Some(entry.inode) == host;
        entry.own = Some(entry.inode) == own;
    }
    let reference = entries.iter().find(|entry| entry.host);
    let reference = reference.or_else(|| entries.iter().find(|entry| entry.own));
    let reference = reference.and_then(|entry| entry.settings);
    for entry in &mut entries {
        if let (Some(settings), Some(reference)) = (entry.settings, reference) {
            entry.differing = settings.differences(reference).collect();
        }
    }
    Ok(NetnsReport {
        host: reference,
        namespaces: entries,
        unseen_processes: found.unseen_processes,
    })
}

fn look_into(namespace: &Namespace) -> NetnsEntry {
    let mut programs: Vec<String> = namespace
        .processes
        .iter()
        .filter_map(|pid| namespaces::command(*pid))
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
        names: namespace.names.clone(),
        host: false,
        own: false,
        processes: namespace.processes.len(),
        pid: namespace.processes.iter().min().copied(),
        programs,
        settings: seen.map(|(settings, _)| settings),
        established: seen.map(|(_, established)| established),
        differing: Vec::new(),
        error,
    }
}

/// What is in force in it, and its established sockets, by the first way that
/// is still open.
fn enter(namespace: &Namespace) -> std::result::Result<(Values, u64), Error> {
    let look = || {
        let mut established = 0;
        let count = |_| {
            established += 1;
            Ok(())
        };
        sock_diag::established(count).map_err(Error::Sockets)?;
        Ok((keepalive::read()?, established))
    };
    let mut failed = Error::Gone;
    for way in namespace.ways() {
        match way.enter(look) {
            Ok(seen) => return seen,
            Err(e) => failed = e,
        }
    }
    Err(failed)
}
