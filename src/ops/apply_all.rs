//! `apply --all-netns`: the same in each network namespace.

use serde::Serialize;

use super::apply::{ApplyReport, Target, apply};
use super::{Error, Result, require_machine};
use crate::chain::chain;
use crate::kernel;
use crate::kernel::namespaces::{self, Namespace};
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
    /// Each.
    pub namespaces: Vec<NetnsOutcome>,
    /// Processes whose namespace may not be seen.
    pub unseen_processes: usize,
}

/// Puts a profile or single values in force in each network namespace that can
/// be found, all or nothing in each. One that goes away meanwhile is reported.
///
/// # Errors
/// The target is illegal or there is none of that name, or `/proc` cannot be
/// read. What fails in one namespace is in the report.
pub fn apply_all(root: &Root, target: &Target, dry_run: bool) -> Result<ApplyAllReport> {
    require_machine(root, "apply --all-netns")?;
    let found = namespaces::list().map_err(kernel::Error::Namespaces)?;
    let mut all = ApplyAllReport {
        dry_run,
        changed: 0,
        unchanged: 0,
        gone: 0,
        failed: 0,
        left_changed: false,
        namespaces: Vec::new(),
        unseen_processes: found.unseen_processes,
    };
    for namespace in &found.found {
        let (report, error) = match in_one(root, namespace, target, dry_run) {
            Ok(report) => (Some(report), None),
            // What is wrong everywhere is wrong at once.
            Err(e) if e.is_wrong_input() || matches!(e, Error::NoSuchProfile { .. }) => {
                return Err(e);
            }
            Err(e) => (None, Some(e)),
        };
        match (&report, &error) {
            (Some(report), _) if report.changed => all.changed += 1,
            (Some(_), _) => all.unchanged += 1,
            (None, Some(Error::Kernel(kernel::Error::Gone))) => all.gone += 1,
            (None, _) => all.failed += 1,
        }
        all.left_changed |= error.as_ref().is_some_and(Error::left_changed);
        all.namespaces.push(NetnsOutcome {
            netns: namespace.name(),
            inode: namespace.inode,
            report,
            error: error.map(|e| chain(&e)),
        });
    }
    Ok(all)
}

fn in_one(
    root: &Root,
    namespace: &Namespace,
    target: &Target,
    dry_run: bool,
) -> Result<ApplyReport> {
    let held = namespace.hold().ok_or(kernel::Error::Gone)?;
    apply(root, held.netns(), target, dry_run)
}
