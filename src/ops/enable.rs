//! `enable` and `disable`: what is kept for boot.

use std::path::PathBuf;

use serde::Serialize;

use super::apply::{self, ApplyReport, remember_and_carry_out, remember_while};
use super::files::{Change, FilePlan};
use super::{Error, Result, harmless, profiles, rate_at_boot, require_machine, warnings};
use crate::boot::installed::Installed;
use crate::boot::lock::{self, Lock};
use crate::boot::next::{Next, Sources};
use crate::boot::{dropin, owner, unit};
use crate::chain::chain;
use crate::kernel::signals::{self, Signal};
use crate::kernel::turn::{self, Turn};
use crate::kernel::{keepalive, netns};
use crate::model::{Profile, ProfileName, Settings, Values};
use crate::root::Root;

/// How to go about it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Also put in force what the next boot will set.
    pub now: bool,
    /// Only plan.
    pub dry_run: bool,
    /// The program that asks, for the advice to install it.
    pub running: PathBuf,
}

/// What `enable` and `disable` did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnableReport {
    /// Whether any file or, with `--now`, the kernel is changed, or would be.
    pub changed: bool,
    /// Whether this is only the plan.
    pub dry_run: bool,
    /// The profile that is kept for boot now; none after `disable`.
    pub profile: Option<ProfileName>,
    /// Its settings.
    pub settings: Option<Settings>,
    /// The drop-in.
    pub file: PathBuf,
    /// Whether the tree has systemd, so that there is a unit.
    pub systemd: bool,
    /// What is done to which file.
    pub changes: Vec<Change>,
    /// What the next boot will set.
    pub next_boot: Next,
    /// What `--now` put in force.
    pub now: Option<ApplyReport>,
    /// The signal that came before systemd was told, by which the program is to end.
    #[serde(skip)]
    pub signal: Option<Signal>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Keeps a profile for boot: the drop-in, and the unit where systemd is.
///
/// # Errors
/// The profile does not exist or is broken, no program is properly installed
/// for the unit, or a file cannot be written: nothing is changed then, unless
/// [`Error::left_changed`] says otherwise.
pub fn enable(root: &Root, name: &ProfileName, options: &Options) -> Result<EnableReport> {
    if options.now {
        require_machine(root, "enable --now")?;
        require_inits_namespace(root)?;
    }
    let found = profiles::find(root, name)?;
    run(root, options, || {
        let mut plan = plan_enable(root, found.profile, options)?;
        plan.warnings.extend(found.warnings);
        Ok(plan)
    })
}

/// Keeps nothing for boot any more: the drop-in goes, and the unit with it.
/// `--now` puts in force what the next boot will then set.
///
/// # Errors
/// As [`enable`].
pub fn disable(root: &Root, options: &Options) -> Result<EnableReport> {
    if options.now {
        require_machine(root, "disable --now")?;
    }
    run(root, options, || plan_disable(root, options))
}

/// The unit acts in the namespace of systemd, and nowhere else.
fn require_inits_namespace(root: &Root) -> Result<()> {
    if unit::is_booted(root)? && !netns::is_inits()? {
        return Err(Error::OtherNamespace);
    }
    Ok(())
}

/// The way from what is kept now to what is wanted.
struct KeepPlan {
    /// What will be kept.
    profile: Option<Profile>,
    /// Whether the tree has systemd.
    systemd: bool,
    /// Whether systemd runs this machine now, and has to be told.
    booted: bool,
    files: FilePlan,
    next_boot: Next,
    /// What `--now` asks for.
    now: Option<apply::Plan>,
    signal: Option<Signal>,
    warnings: Vec<String>,
}

fn plan_enable(root: &Root, profile: Profile, options: &Options) -> Result<KeepPlan> {
    let sources = Sources::read(root, None)?;
    let systemd = sources.systemd;
    let (kept, text) = dropin::planned(root, &profile);
    owner::require_roots_folders(root, dropin::FILE)?;
    if systemd {
        owner::require_roots_folders(root, unit::FILE)?;
        owner::require_roots_folders(root, unit::LINK)?;
    }
    let mut files = FilePlan::default();
    let mut warnings = warnings(profile.settings);
    if let Some(installed) = &sources.installed {
        installed.check_writable()?;
        warnings.extend(mended(installed, options));
        warnings.extend_from_slice(installed.changed_by());
        let program = unit::program(root, &options.running)?;
        files.add(root, Change::write(unit::FILE, unit::text(&program)))?;
    }
    files.add(root, Change::write(dropin::FILE, text.as_str()))?;
    if systemd {
        let link = Change::Link {
            file: unit::LINK.into(),
            target: unit::FILE.into(),
        };
        files.add(root, link)?;
    }
    let next_boot = sources.planned(Some((kept, text))).next(rate_at_boot(root));
    let now = match options.now {
        true => Some(plan_now(profile.settings)?),
        false => None,
    };
    warnings.extend(next_boot.overrides.iter().map(ToString::to_string));
    Ok(KeepPlan {
        systemd,
        booted: unit::is_booted(root)?,
        files,
        now,
        next_boot,
        signal: None,
        profile: Some(profile),
        warnings,
    })
}

fn plan_disable(root: &Root, options: &Options) -> Result<KeepPlan> {
    let sources = Sources::read(root, None)?;
    let systemd = sources.systemd;
    // What stands in a tree without systemd goes too.
    let installed = match sources.installed {
        Some(ref installed) => installed.clone(),
        None => Installed::read(root)?,
    };
    let mut warnings: Vec<String> = mended(&installed, options).into_iter().collect();
    let gone = match installed.check_ours() {
        // The link first: a unit without its drop-in would be skipped, and a
        // link without its unit would be an error at boot.
        Ok(()) => vec![unit::LINK, dropin::FILE, unit::FILE],
        Err(e) => {
            warnings.push(format!("the unit is left as it is: {e}"));
            vec![dropin::FILE]
        }
    };
    let mut files = FilePlan::default();
    for file in gone {
        files.add(root, Change::Remove { file: file.into() })?;
    }
    let next_boot = sources.planned(None).next(rate_at_boot(root));
    let now = match options.now {
        true => Some(plan_now(harmless(
            next_boot.values(),
            "which the next boot will set",
        )?)?),
        false => None,
    };
    Ok(KeepPlan {
        systemd,
        booted: unit::is_booted(root)?,
        profile: None,
        files,
        now,
        next_boot,
        signal: None,
        warnings,
    })
}

/// What an `enable` or `disable` before this one has left half done.
fn mended(installed: &Installed, options: &Options) -> Option<String> {
    let done = match options.dry_run {
        true => "this run would put that right",
        false => "that is put right",
    };
    let half = installed.half_done()?;
    Some(format!("{half}: {done}"))
}

fn plan_now(settings: Settings) -> Result<apply::Plan> {
    Ok(apply::Plan::new(keepalive::read()?, settings))
}

fn run(
    root: &Root,
    options: &Options,
    plan: impl FnOnce() -> Result<KeepPlan>,
) -> Result<EnableReport> {
    let plan = if options.dry_run {
        plan()?
    } else {
        let turn = options.now.then(turn::take).transpose()?;
        let lock = lock::take(root)?;
        carry_out(root, (lock, turn), plan()?)?
    };
    let (name, settings) = plan.profile.map(|p| (p.name, p.settings)).unzip();
    let now = plan.now;
    let now = now.map(|p| ApplyReport::of(p, name.clone(), options.dry_run));
    Ok(EnableReport {
        changed: !plan.files.is_empty() || now.as_ref().is_some_and(|n| n.changed),
        dry_run: options.dry_run,
        profile: name,
        settings,
        file: root.display(dropin::FILE),
        systemd: plan.systemd,
        changes: plan.files.changes(root),
        next_boot: plan.next_boot,
        now,
        signal: plan.signal,
        warnings: plan.warnings,
    })
}

/// Files, then the kernel; what fails undoes what came before it. Returns the
/// plan, with what is worth knowing added. The unit in its sandbox does not ask for
/// the lock; the turn is the unit's where it runs.
fn carry_out(
    root: &Root,
    (lock, turn): (Lock, Option<Turn>),
    mut plan: KeepPlan,
) -> Result<KeepPlan> {
    if let Some(now) = &plan.now {
        keepalive::check_writable(now.before, now.after)?;
    }
    let _signals = signals::hold()?;
    plan.files.carry_out(root)?;
    let unit_applies = plan.booted && plan.profile.is_some();
    if let Some(now) = plan.now.as_ref().filter(|_| !unit_applies) {
        remember_and_carry_out(root, now).map_err(|e| plan.files.undo_all(root, e))?;
    }
    drop(turn);
    if !plan.booted {
        return Ok(plan);
    }
    match plan.now.as_ref().filter(|_| unit_applies) {
        Some(now) => start_unit(root, now).map_err(|e| {
            let e = plan.files.undo_all(root, e);
            // systemd goes on with the files as they were, or says so itself.
            let _ = unit::systemctl_undo(&["daemon-reload"]);
            e
        })?,
        None => {
            // All is written: nobody has to wait for systemd.
            drop(lock);
            if let Err(e) = tell_systemd(&plan) {
                plan.signal = e.signal();
                let told = "systemd has not read the changed files: run `systemctl daemon-reload`";
                plan.warnings.push(format!("{told} ({})", chain(&e)));
            }
        }
    }
    Ok(plan)
}

/// Lets the unit apply the profile, as it will at boot: so it is known to work
/// in its sandbox.
fn start_unit(root: &Root, now: &apply::Plan) -> Result<()> {
    unit::systemctl(&["daemon-reload"])?;
    remember_while(root, now.before, || {
        run_unit(now.after).map_err(|cause| undo_unit(now.before, cause))
    })
}

fn run_unit(wanted: Settings) -> Result<()> {
    unit::systemctl(&["restart", unit::NAME])?;
    let in_force = keepalive::read()?;
    match in_force == wanted.values() {
        true => Ok(()),
        false => Err(Error::NotInForce { wanted, in_force }),
    }
}

/// A unit that failed may have written all the same, and one that was given up may
/// be about to.
fn undo_unit(before: Values, cause: Error) -> Error {
    let _ = unit::systemctl_undo(&["stop", unit::NAME]);
    let go_back = || -> Result<()> {
        let _turn = turn::take()?;
        let in_force = keepalive::read()?;
        if in_force != before {
            keepalive::replace(in_force, Settings::try_from(before)?)?;
        }
        Ok(())
    };
    match go_back() {
        Ok(()) => cause,
        Err(e) => Error::NotUndone {
            left: vec![format!("{before} is not in force again ({})", chain(&e))],
            cause: Box::new(cause),
        },
    }
}

/// Tells systemd of the changed files.
fn tell_systemd(plan: &KeepPlan) -> Result<()> {
    if plan.now.is_some() {
        // Before its file is forgotten. That it was never started is no
        // failure.
        let stopped = unit::systemctl(&["stop", unit::NAME]).map_err(Error::from);
        if let Err(e) = stopped
            && e.signal().is_some()
        {
            return Err(e);
        }
    }
    Ok(unit::systemctl(&["daemon-reload"])?)
}
