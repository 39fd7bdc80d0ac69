//! `revert`: back to what was in force before the first `apply` since boot.

use serde::Serialize;

use super::apply::{ApplyReport, Plan, record};
use super::{Result, harmless, require_machine};
use crate::boot::before::Record;
use crate::boot::lock;
use crate::chain::chain;
use crate::kernel::netns::NetNs;
use crate::kernel::{keepalive, signals, turn};
use crate::root::Root;

/// What `revert` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RevertReport {
    /// As after an `apply` of the old values.
    Done(ApplyReport),
    /// Nothing was applied here since boot.
    Nothing {
        /// Never.
        changed: bool,
    },
}

impl RevertReport {
    const NOTHING: RevertReport = RevertReport::Nothing { changed: false };

    /// Whether the kernel has other values than before, or would have.
    pub fn changed(&self) -> bool {
        match self {
            RevertReport::Done(report) => report.changed,
            RevertReport::Nothing { changed } => *changed,
        }
    }
}

/// Restores what was in force in a network namespace before the first `apply`
/// since boot, and forgets it.
///
/// # Errors
/// What was in force harms, the privilege is missing, or the kernel refuses:
/// nothing is changed then, unless [`left_changed`](super::Error::left_changed) says otherwise.
pub fn revert(root: &Root, netns: &NetNs, dry_run: bool) -> Result<RevertReport> {
    require_machine(root, "revert")?;
    netns.enter(|| {
        let record = record(root)?;
        let Some(plan) = plan(&record)? else {
            return Ok(RevertReport::NOTHING);
        };
        if dry_run {
            return Ok(RevertReport::Done(ApplyReport::of(plan, None, true)));
        }
        keepalive::check_writable(plan.before, plan.after)?;
        let _locks = (turn::take()?, lock::take(root)?);
        let _signals = signals::hold()?;
        // Another revert may have come first.
        let Some(plan) = self::plan(&record)? else {
            return Ok(RevertReport::NOTHING);
        };
        plan.carry_out()?;
        let forgotten = record.forget();
        let mut report = ApplyReport::of(plan, None, false);
        // It is done all the same; the next `apply` would keep an old record.
        report.warnings.extend(forgotten.err().map(|e| chain(&e)));
        Ok(RevertReport::Done(report))
    })?
}

fn plan(record: &Record) -> Result<Option<Plan>> {
    let Some(values) = record.read()? else {
        return Ok(None);
    };
    let wanted = harmless(values, "which was in force before the first apply")?;
    Ok(Some(Plan::new(keepalive::read()?, wanted)))
}
