//! `boot`: what the unit runs.

use std::io::ErrorKind;

use super::apply::{ApplyReport, Plan};
use super::verify::enabled;
use super::{Result, require_machine};
use crate::boot::{self, lock};
use crate::kernel::{keepalive, signals, turn};
use crate::root::{FileError, Root};

/// Puts what is enabled in force and reads it back. What was in force before is
/// not remembered: `revert` goes back to what the boot has set.
///
/// # Errors
/// Nothing is enabled, the drop-in is broken, or the kernel refuses.
pub fn boot(root: &Root) -> Result<ApplyReport> {
    require_machine(root, "boot")?;
    let kept = enabled(root)?;
    let _locks = (turn::take_as_unit()?, lock_if_allowed(root)?);
    let _signals = signals::hold()?;
    let plan = Plan::new(keepalive::read()?, kept.settings);
    plan.carry_out()?;
    Ok(ApplyReport::of(plan, kept.profile, false))
}

/// The unit's sandbox has nothing to write but the three values, so the lock of
/// whole jobs is not to be had in it. The turn to write the values is.
fn lock_if_allowed(root: &Root) -> Result<Option<lock::Lock>> {
    match lock::take(root) {
        Ok(lock) => Ok(Some(lock)),
        Err(boot::Error::File(FileError::Write { source, .. }))
            if matches!(
                source.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}
