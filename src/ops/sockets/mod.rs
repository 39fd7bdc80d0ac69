//! `sockets`: what each live connection really has, and the cure.
//!
//! The kernel lists the sockets and their timers; `/proc` tells which process
//! holds which; and the options are read on the process's own socket, which is
//! taken for a moment. The scan holds nothing of a socket but its owner (12
//! bytes), so a machine with a million of them can be counted, or listed as a
//! stream.

mod change;
mod filter;
mod report;
mod scan;
mod summary;

use std::ops::ControlFlow;
use std::sync::Mutex;

use serde::Serialize;

pub use change::{Change, ChangeReport, Refusal, change};
pub use filter::{Filter, Patience};
pub use report::SocketReport;
pub use scan::Scope;
pub use summary::{Counts, ProcessSummary, SummaryReport, summary};

use super::{Result, require_machine};
use crate::root::Root;
use scan::{Scan, lock};

/// A network namespace that could not be looked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreached {
    /// What `--netns` takes.
    pub netns: String,
    /// Whether it went away meanwhile.
    pub gone: bool,
    /// Why not: that, or CAP_SYS_ADMIN is missing.
    pub error: String,
}

/// What an audit could not see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// Listed sockets whose options could not be read, because their process may
    /// not be touched.
    pub options: u64,
    /// Of the processes that were named, those whose files may not be seen.
    pub processes: usize,
    /// Namespaces that could not be looked into.
    pub namespaces: Vec<Unreached>,
    /// Where all namespaces were asked for, processes that may be in more of them.
    pub processes_elsewhere: usize,
}

/// Hands on each socket, as the kernel lists them, until `each` breaks off. With
/// `owners` false nobody's process is looked at, which is much faster: then only
/// the timers are known.
///
/// # Errors
/// The kernel does not list sockets or processes, or the one namespace cannot be
/// entered.
pub fn audit(
    root: &Root,
    scope: &Scope,
    filter: &Filter,
    owners: bool,
    each: &mut (dyn FnMut(SocketReport) -> ControlFlow<()> + Send),
) -> Result<Unseen> {
    require_machine(root, "sockets")?;
    let each = Mutex::new(each);
    let scanned = Scan::new(scope, filter, owners)?.run(|_, found| {
        let mut each = lock(&each);
        found
            .into_iter()
            .map(|seen| seen.report)
            .filter(|s| filter.passes(s))
            .try_for_each(&mut **each)
    })?;
    Ok(scanned.unseen)
}
