//! `sockets --summary`: how many each process has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::scan::{Scan, lock};
use super::{Filter, Scope, SocketReport, Unseen};
use crate::kernel::counters::Counters;
use crate::ops::show::Rate;
use crate::ops::{Result, require_machine};
use crate::root::Root;

/// How many sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All.
    pub sockets: u64,
    /// With keepalive on.
    pub on: u64,
    /// With keepalive off.
    pub off: u64,
    /// Of which that is not known.
    pub unknown: u64,
    /// Armed under older settings.
    pub stale: u64,
    /// Of which that is not known, and the timer is as long as that.
    pub maybe_stale: u64,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, socket: &SocketReport) {
        self.sockets += 1;
        match socket.keepalive {
            Some(true) => self.on += 1,
            Some(false) => self.off += 1,
            None => self.unknown += 1,
        }
        self.stale += u64::from(socket.stale == Some(true));
        let long = socket.stale.is_none() && socket.timer == "keepalive";
        self.maybe_stale += u64::from(long);
    }
}

/// The sockets of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessSummary {
    /// Its number; none for the sockets that no visible process holds.
    pub pid: Option<i32>,
    /// The name of its program.
    pub process: Option<Arc<str>>,
    /// How many it has.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The sockets of all processes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SummaryReport {
    /// How many there are.
    #[serde(flatten)]
    pub all: Counts,
    /// Each process, the one with the most first.
    pub processes: Vec<ProcessSummary>,
    /// What the kernel has counted in the network namespaces that were looked
    /// into.
    pub counters: Option<Counters>,
    /// What it counted meanwhile, if that was asked for.
    pub rate: Option<Rate>,
    /// What could not be seen.
    pub unseen: Unseen,
}

/// The number and the name of a process.
type Holder = (Option<i32>, Option<Arc<str>>);

/// Counts the sockets of each process.
///
/// # Errors
/// As [`audit`](super::audit).
pub fn summary(root: &Root, scope: &Scope, filter: &Filter, owners: bool) -> Result<SummaryReport> {
    require_machine(root, "sockets --summary")?;
    let processes: Mutex<BTreeMap<Holder, Counts>> = Mutex::default();
    let scanned = Scan::new(scope, filter, owners)?.run(|_, found| {
        found
            .into_iter()
            .map(|seen| seen.report)
            .filter(|socket| filter.passes(socket))
            .for_each(|socket| {
                let process = (socket.pid, socket.process.clone());
                lock(&processes).entry(process).or_default().add(&socket);
            });
        std::ops::ControlFlow::Continue(())
    })?;
    let mut all = Counts::default();
    let counted = std::mem::take(&mut *lock(&processes));
    let mut processes: Vec<ProcessSummary> = counted
        .into_iter()
        .inspect(|(_, counts)| all = all.plus(*counts))
        .map(|((pid, process), counts)| ProcessSummary {
            pid,
            process,
            counts,
        })
        .collect();
    processes.sort_by_key(|process| std::cmp::Reverse(process.counts.sockets));
    Ok(SummaryReport {
        all,
        processes,
        counters: scanned.counters,
        rate: None,
        unseen: scanned.unseen,
    })
}

impl Counts {
    fn plus(self, other: Counts) -> Counts {
        Counts {
            sockets: self.sockets + other.sockets,
            on: self.on + other.on,
            off: self.off + other.off,
            unknown: self.unknown + other.unknown,
            stale: self.stale + other.stale,
            maybe_stale: self.maybe_stale + other.maybe_stale,
        }
    }
}
