//! `apply --all-netns`: the same in each network namespace.

use std::collections::BTreeMap;

use serde::Serialize;

use super::apply::{ApplyReport, Resolved, Target, forget_gone, resolve};
use super::netns::{hold, named_job};
use super::sockets::{ChangeReport, Scope};
use super::{Error, Result, require_machine};
use crate::chain::chain;
use crate::kernel;
use crate::kernel::namespaces::{self, Namespace};
use crate::kernel::turn::Patience;
use crate::root::Root;

/// What came of it in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetnsOutcome {
    /// What `--netns` takes.
    pub netns: String,
    /// The number of its file.
    pub inode: u64,
    /// What was done; none if it went away or failed.
    #[serde(flatten)]
    pub report: Option<ApplyReport>,
    /// Whether it went away meanwhile.
    pub gone: bool,
    /// Why it failed; nothing is changed there, unless it says otherwise.
    pub error: Option<String>,
}

/// What came of it in all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplyAllReport {
    /// Whether this is only the plan.
    pub dry_run: bool,
    /// Namespaces that have other values than before, or would have.
    pub changed: usize,
    /// Those that were so already.
    pub unchanged: usize,
    /// Those that went away meanwhile.
    pub gone: usize,
    /// Those in which it failed.
    pub failed: usize,
    /// Whether it failed somewhere and could not be undone there.
    pub left_changed: bool,
    /// What became of the open connections, if they were to follow.
    pub rearmed: Option<ChangeReport>,
    /// Why they could not be looked at, if so.
    pub rearm_error: Option<String>,
    /// Each.
    pub namespaces: Vec<NetnsOutcome>,
    /// Processes whose namespace may not be seen.
    pub unseen_processes: usize,
}

/// Puts a profile or single values in force in each network namespace that can
/// be found, all or nothing in each. It looks again until it finds no new one:
/// a namespace may be made meanwhile, or its only known process may end and
/// leave others in it. One that goes away is reported. Open connections follow
/// at once if `rearm` is set.
///
/// # Errors
/// The target is illegal or there is none of that name, or `/proc` cannot be
/// read. What fails in one namespace is in the report.
pub fn apply_all(
    root: &Root,
    target: &Target,
    rearm: bool,
    dry_run: bool,
) -> Result<ApplyAllReport> {
    const LOOKS: usize = 5;
    require_machine(root, "apply --all-netns")?;
    let wanted = resolve(root, target)?;
    let mut outcomes: BTreeMap<u64, NetnsOutcome> = BTreeMap::new();
    let mut left_changed = false;
    let patience = Patience::default();
    let mut unseen_processes = 0;
    for _ in 0..LOOKS {
        let found = namespaces::list().map_err(kernel::Error::Namespaces)?;
        unseen_processes = found.unseen_processes;
        let settled = |inode: &u64| outcomes.get(inode).is_some_and(|o| !o.gone);
        let new: Vec<_> = found.found.iter().filter(|n| !settled(&n.inode)).collect();
        if new.is_empty() {
            break;
        }
        for namespace in new {
            let outcome = in_one(root, namespace, &wanted, dry_run, &patience);
            left_changed |= outcome.as_ref().is_err_and(Error::left_changed);
            outcomes.insert(namespace.inode, NetnsOutcome::new(namespace, outcome));
        }
    }
    let (rearmed, rearm_error) = match rearm {
        true => wanted.rearm(root, &Scope::All, dry_run)?,
        false => (None, None),
    };
    let namespaces: Vec<NetnsOutcome> = outcomes.into_values().collect();
    let count = |is: fn(&NetnsOutcome) -> bool| namespaces.iter().filter(|o| is(o)).count();
    if !dry_run {
        forget_gone(root, usize::MAX);
    }
    let changed = |o: &NetnsOutcome| o.report.as_ref().is_some_and(|report| report.changed);
    Ok(ApplyAllReport {
        dry_run,
        changed: count(changed),
        unchanged: count(|o| o.report.as_ref().is_some_and(|report| !report.changed)),
        gone: count(|o| o.gone),
        failed: count(|o| o.report.is_none() && !o.gone),
        left_changed,
        rearmed,
        rearm_error,
        namespaces,
        unseen_processes,
    })
}

impl NetnsOutcome {
    fn new(namespace: &Namespace, outcome: Result<ApplyReport>) -> NetnsOutcome {
        let (report, error) = match outcome {
            Ok(report) => (Some(report), None),
            Err(e) => (None, Some(e)),
        };
        NetnsOutcome {
            netns: namespace.name(),
            inode: namespace.inode,
            report,
            gone: matches!(error, Some(Error::Kernel(kernel::Error::Gone))),
            error: error.map(|e| chain(&e)),
        }
    }
}

fn in_one(
    root: &Root,
    namespace: &Namespace,
    wanted: &Resolved,
    dry_run: bool,
    patience: &Patience,
) -> Result<ApplyReport> {
    let held = hold(namespace)?;
    let applied = wanted.apply(root, held.netns(), dry_run, patience);
    applied.map_err(|e| named_job(e, namespace))
}
