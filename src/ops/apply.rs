//! `apply`: settings in force now, all three or none.

use std::time::SystemTime;

use serde::Serialize;

use super::sockets::{self, ChangeReport, Filter, Scope};
use super::{Result, TimeToDropIdle, over, profiles, require_machine, warnings};
use crate::boot::before::{self, Record};
use crate::boot::lock;
use crate::chain::chain;
use crate::kernel::netns::{self, NetNs};
use crate::kernel::turn::{self, Patience};
use crate::kernel::{keepalive, nsfs, signals};
use crate::model::{Partial, ProfileName, Setting, Settings, Values};
use crate::root::Root;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A profile by its name.
    Profile(ProfileName),
    /// Some of the three values; the rest stays as it is.
    Values(Partial),
}

/// One write that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Write {
    /// The setting.
    pub setting: Setting,
    /// Its value now.
    pub from: i64,
    /// Its value then.
    pub to: i64,
}

/// The way from what is in force to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is in force.
    pub before: Values,
    /// What is wanted.
    pub after: Settings,
    /// The writes it takes: none for a value that is so already.
    pub writes: Vec<Write>,
}

impl Plan {
    /// The difference between the two.
    ///
    /// ```
    /// use keepalivectl::model::{Settings, Values};
    /// use keepalivectl::ops::apply::Plan;
    /// let plan = Plan::new(Values::KERNEL_DEFAULT, Settings::new(240, 75, 6)?);
    /// assert_eq!(plan.writes.len(), 2, "intvl is 75 already");
    /// # Ok::<(), keepalivectl::model::SettingsError>(())
    /// ```
    pub fn new(before: Values, after: Settings) -> Plan {
        let write = |setting| Write {
            setting,
            from: before.get(setting),
            to: after.values().get(setting),
        };
        Plan {
            before,
            after,
            writes: after.values().differences(before).map(write).collect(),
        }
    }

    /// Carries the plan out in the calling thread's network namespace. The
    /// caller holds the locks.
    ///
    /// # Errors
    /// As [`keepalive::replace`].
    pub fn carry_out(&self) -> Result<()> {
        Ok(keepalive::replace(self.before, self.after)?)
    }
}

/// What `apply` and `revert` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplyReport {
    /// Whether the kernel has other values than before, or would have.
    pub changed: bool,
    /// Whether this is only the plan.
    pub dry_run: bool,
    /// The profile, if one was named.
    pub profile: Option<ProfileName>,
    /// What was in force.
    pub before: Values,
    /// What is in force now, read back; in a dry run, what would be.
    pub after: Values,
    /// The writes.
    pub writes: Vec<Write>,
    /// What became of the open connections, if they were to follow.
    pub rearmed: Option<Box<ChangeReport>>,
    /// Why they could not be looked at, if so: the settings are in force all the same.
    pub rearm_error: Option<Box<str>>,
    /// What they add up to.
    pub time_to_drop: TimeToDropIdle,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

impl ApplyReport {
    pub(super) fn of(plan: Plan, profile: Option<ProfileName>, dry_run: bool) -> ApplyReport {
        ApplyReport {
            changed: !plan.writes.is_empty(),
            dry_run,
            profile,
            before: plan.before,
            after: plan.after.values(),
            writes: plan.writes,
            rearmed: None,
            rearm_error: None,
            time_to_drop: TimeToDropIdle::here(plan.after),
            warnings: warnings(plan.after),
        }
    }
}

/// What is wanted, once a profile is looked up.
enum Wanted {
    All(Settings),
    Some(Partial),
}

impl Wanted {
    fn over(&self, in_force: Values) -> Result<Settings> {
        match self {
            Wanted::All(settings) => Ok(*settings),
            Wanted::Some(partial) => over(*partial, in_force),
        }
    }
}

/// What is wanted, looked up and checked once.
pub(super) struct Resolved {
    wanted: Wanted,
    profile: Option<ProfileName>,
    warnings: Vec<String>,
}

pub(super) fn resolve(root: &Root, target: &Target) -> Result<Resolved> {
    let (wanted, profile, warnings) = match target {
        Target::Profile(name) => {
            let found = profiles::find(root, name)?;
            let settings = Wanted::All(found.profile.settings);
            (settings, Some(name.clone()), found.warnings)
        }
        Target::Values(partial) => {
            partial.check()?;
            (Wanted::Some(*partial), None, Vec::new())
        }
    };
    Ok(Resolved {
        wanted,
        profile,
        warnings,
    })
}

/// Puts a profile or single values in force in a network namespace, under the
/// lock, and reads them back. Open connections follow at once if `rearm` is set.
///
/// # Errors
/// A value is illegal, the profile does not exist or is broken, the privilege
/// is missing, or the kernel refuses: nothing is changed then, unless
/// [`left_changed`](super::Error::left_changed) says otherwise.
pub fn apply(
    root: &Root,
    netns: &NetNs,
    target: &Target,
    rearm: bool,
    dry_run: bool,
) -> Result<ApplyReport> {
    require_machine(root, "apply")?;
    let wanted = resolve(root, target)?;
    let mut report = wanted.apply(root, netns, dry_run, &Patience::default())?;
    if report.changed && !dry_run {
        forget_gone(root, SAMPLE);
    }
    if rearm {
        let scope = Scope::One(netns.clone());
        let (rearmed, error) = wanted.rearm(root, &scope, dry_run)?;
        report.rearmed = rearmed.map(Box::new);
        report.rearm_error = error.map(Into::into);
    }
    Ok(report)
}

impl Resolved {
    /// Lets all open connections follow; in a dry run, as if this were in force.
    ///
    /// Once the settings are in force, what fails is told with them.
    pub(super) fn rearm(
        &self,
        root: &Root,
        scope: &Scope,
        dry_run: bool,
    ) -> Result<(Option<ChangeReport>, Option<String>)> {
        let as_if = match &self.wanted {
            Wanted::All(settings) => settings.values().into(),
            Wanted::Some(partial) => *partial,
        };
        let rearm = sockets::Change::Rearm;
        let as_if = dry_run.then_some(as_if);
        let rearmed = sockets::change(root, scope, &Filter::default(), &rearm, as_if);
        match rearmed {
            Ok(report) => Ok((Some(report), None)),
            Err(e) if dry_run => Err(e),
            Err(e) => Ok((None, Some(chain(&e)))),
        }
    }

    pub(super) fn apply(
        &self,
        root: &Root,
        netns: &NetNs,
        dry_run: bool,
        patience: &Patience,
    ) -> Result<ApplyReport> {
        netns.enter(|| {
            let plan = || -> Result<Plan> {
                let before = keepalive::read()?;
                Ok(Plan::new(before, self.wanted.over(before)?))
            };
            let plan = if dry_run {
                plan()?
            } else {
                carry_out(root, patience, plan)?
            };
            let mut report = ApplyReport::of(plan, self.profile.clone(), dry_run);
            report.warnings.extend(self.warnings.iter().cloned());
            Ok(report)
        })?
    }
}

/// Carries out what `plan` plans, under the lock.
fn carry_out(
    root: &Root,
    patience: &Patience,
    plan: impl FnOnce() -> Result<Plan>,
) -> Result<Plan> {
    // To change nothing takes no privilege; and who lacks it for a change
    // should hear that, and not that a lock cannot be had. The turn comes first: it
    // may have to be waited for, and nobody has to wait with this job.
    let turn = turn::take_with(patience);
    let lock = lock::take(root);
    let plan = plan()?;
    if plan.writes.is_empty() {
        return Ok(plan);
    }
    keepalive::check_writable(plan.before, plan.after)?;
    let _locks = (turn?, lock?);
    let _signals = signals::hold()?;
    remember_and_carry_out(root, &plan)?;
    Ok(plan)
}

/// Carries a plan out, and remembers for `revert` what was in force before. The
/// caller holds the locks and the signals.
pub(super) fn remember_and_carry_out(root: &Root, plan: &Plan) -> Result<()> {
    if plan.writes.is_empty() {
        return Ok(());
    }
    remember_while(root, plan.before, || plan.carry_out())
}

/// Remembers for `revert` what was in force before the first `apply`, unless
/// `job` then fails.
pub(super) fn remember_while(
    root: &Root,
    before: Values,
    job: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let record = record(root)?;
    let first = record.read()?.is_none();
    if first {
        record.write(before)?;
    }
    job().inspect_err(|failed| {
        if first && !failed.left_changed() {
            // Nothing was applied, so there is nothing to revert. If the record
            // stays, it only says what is in force.
            let _ = record.forget();
        }
    })
}

/// The record of the calling thread's namespace.
pub(super) fn record(root: &Root) -> Result<Record<'_>> {
    let identity = netns::identity()?;
    let handle = identity.handle.as_deref();
    Ok(Record::of(
        root,
        &identity.namespace,
        &identity.boot,
        handle,
    ))
}

/// How many records one `apply` looks at. In a row of them, more are forgotten
/// than are added as soon as more than one in 64 is of no use.
const SAMPLE: usize = 64;

/// Forgets records of namespaces that are gone, of `at_most` that it looks at.
pub(super) fn forget_gone(root: &Root, at_most: usize) {
    let forget = || -> Result<()> {
        let _lock = lock::take(root)?;
        let boot = netns::identity()?.boot;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let seed = now.subsec_nanos() as usize;
        Ok(before::forget_gone(
            root,
            &boot,
            at_most,
            seed,
            nsfs::is_gone,
        )?)
    };
    // What was asked for is done. A record that stays does no harm, and the next
    // `apply` looks again.
    let _ = forget();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_already_is_not_written() {
        let settings = Settings::new(7200, 75, 9).unwrap();
        assert_eq!(Plan::new(Values::KERNEL_DEFAULT, settings).writes, []);
        let plan = Plan::new(Values::KERNEL_DEFAULT, Settings::new(7200, 5, 9).unwrap());
        assert_eq!(
            plan.writes,
            [Write {
                setting: Setting::Intvl,
                from: 75,
                to: 5
            }]
        );
    }

    #[test]
    fn a_missing_value_that_harms_is_not_kept() {
        let in_force = Values::KERNEL_DEFAULT.with(Setting::Probes, 0);
        let wanted = Wanted::Some(Partial {
            time: Some(60),
            ..Partial::default()
        });
        let error = wanted.over(in_force).unwrap_err();
        assert!(matches!(error, crate::ops::Error::InForce { .. }));
    }
}
