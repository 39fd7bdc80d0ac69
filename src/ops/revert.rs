//! `revert`: back to what was in force before the first `apply` since boot.

use super::apply::{ApplyReport, Plan, record};
use super::{Error, Result, chain, require_machine};
use crate::boot::lock;
use crate::kernel::netns::NetNs;
use crate::kernel::{keepalive, signals};
use crate::model::{Settings, Values};
use crate::root::Root;

/// Restores what was in force in a network namespace before the first `apply`
/// since boot, and forgets it. `None` if nothing was applied there.
///
/// # Errors
/// What was in force harms, the privilege is missing, or the kernel refuses:
/// nothing is changed then, unless [`Error::left_changed`] says otherwise.
pub fn revert(root: &Root, netns: &NetNs, dry_run: bool) -> Result<Option<ApplyReport>> {
    require_machine(root, "revert")?;
    netns.enter(|| {
        let Some(plan) = plan(root)? else {
            return Ok(None);
        };
        if dry_run {
            return Ok(Some(ApplyReport::of(plan, None, true)));
        }
        keepalive::check_writable(plan.before, plan.after)?;
        let _lock = lock::take(root)?;
        let _signals = signals::hold()?;
        // Another revert may have come first.
        let Some(plan) = self::plan(root)? else {
            return Ok(None);
        };
        plan.carry_out()?;
        let forgotten = record(root)?.forget();
        let mut report = ApplyReport::of(plan, None, false);
        // It is done all the same; the next `apply` would keep an old record.
        report.warnings.extend(forgotten.err().map(|e| chain(&e)));
        Ok(Some(report))
    })?
}

fn plan(root: &Root) -> Result<Option<Plan>> {
    let Some(values) = record(root)?.read()? else {
        return Ok(None);
    };
    Ok(Some(Plan::new(keepalive::read()?, harmless(values)?)))
}

fn harmless(values: Values) -> Result<Settings> {
    let origin = "which was in force before the first apply";
    Settings::try_from(values).map_err(|why| Error::Harmful {
        values,
        origin,
        why,
    })
}
