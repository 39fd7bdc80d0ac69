//! `show`: is it in force, here, now, and after the next boot?

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::verify::EnabledReport;
use super::{Result, rate_at_boot, require_machine, warnings};
use crate::boot::installed::Installed;
use crate::boot::next::{Next, Sources};
use crate::boot::{dropin, owner};
use crate::chain::chain;
use crate::kernel::counters::{self, Counters};
use crate::kernel::netns::NetNs;
use crate::kernel::{self, keepalive, tcp, tick};
use crate::model::time_to_drop::{Conditions, TimeToDrop};
use crate::model::{Setting, Settings, TcpLimits, Values};
use crate::root::Root;

/// The unit's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitReport {
    /// Whether the tree has systemd.
    pub systemd: bool,
    /// Whether the unit will run at the next boot.
    pub enabled: bool,
}

/// Everything about one machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShowReport {
    /// What is in force here; none for the tree of another machine.
    pub settings: Option<Values>,
    /// What it adds up to, for a socket without a user timeout and a peer next
    /// door; none if a value is outside the legal range.
    pub time_to_drop: Option<TimeToDrop>,
    /// What is wrong with what is in force.
    pub harm: Option<String>,
    /// What the kernel has counted here; none for the tree of another machine.
    pub counters: Option<Counters>,
    /// What it counted meanwhile, if that was asked for.
    pub rate: Option<Rate>,
    /// Whether another network namespace was asked for, which no boot sets.
    #[serde(skip)]
    pub elsewhere: bool,
    /// What is kept for boot.
    pub enabled: Option<EnabledReport>,
    /// The unit that has the last word.
    pub unit: UnitReport,
    /// What the next boot will set.
    pub next_boot: Next,
    /// Whether the next boot will set anything else than what is in force.
    pub drift: bool,
    /// The settings it would change.
    pub drifting: Vec<Setting>,
    /// What is worth knowing of what is in force.
    pub warnings: Vec<String>,
    /// What is broken, and has to be mended before the rest can be trusted.
    pub problems: Vec<String>,
}

/// What the kernel has counted in a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// How long it was watched, in seconds.
    pub interval_s: f64,
    /// Keepalive probes sent in a second.
    pub probes_sent_per_s: f64,
    /// Connections dropped on timeout in a second.
    pub dropped_on_timeout_per_s: f64,
}

/// Counts for so long in a network namespace. `watch` hears of the time that has
/// passed.
///
/// # Errors
/// The counters cannot be read, or the namespace cannot be entered.
pub fn rate(
    root: &Root,
    netns: &NetNs,
    interval: Duration,
    watch: &mut dyn FnMut(Duration),
) -> Result<Rate> {
    const STEP: Duration = Duration::from_millis(100);
    require_machine(root, "show --interval")?;
    let before = netns.enter(counters::read)??;
    let started = Instant::now();
    while let Some(left) = interval.checked_sub(started.elapsed()) {
        watch(started.elapsed());
        sleep(left.min(STEP));
    }
    let after = netns.enter(counters::read)??;
    let seconds = started.elapsed().as_secs_f64();
    let per_second = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    Ok(Rate {
        interval_s: seconds,
        probes_sent_per_s: per_second(before.probes_sent, after.probes_sent),
        dropped_on_timeout_per_s: per_second(before.dropped_on_timeout, after.dropped_on_timeout),
    })
}

/// What a network namespace has.
#[derive(Clone, Copy)]
struct Here {
    settings: Values,
    limits: TcpLimits,
    counters: Option<Counters>,
}

impl Here {
    fn look() -> std::result::Result<Here, kernel::Error> {
        Ok(Here {
            settings: keepalive::read()?,
            limits: tcp::limits()?,
            // A kernel that does not count is not worth an error here.
            counters: counters::read().ok(),
        })
    }
}

/// Looks at a network namespace and at the files of a tree.
///
/// # Errors
/// The kernel, the unit or a folder of sysctl.d cannot be read. A broken drop-in
/// and a unit that is not as `enable` writes it are reported among the problems.
pub fn show(root: &Root, netns: &NetNs) -> Result<ShowReport> {
    if *netns != NetNs::Current {
        require_machine(root, "show --netns")?;
    }
    let here = match root.is_machine() {
        true => Some(netns.enter(Here::look)??),
        false => None,
    };
    let settings = here.map(|here| here.settings);
    let legal = settings.map(Settings::try_from);
    let conditions = here.map(|here| Conditions::next_door(here.limits, tick::rate()));
    let (kept, mut problems) = match dropin::read(root) {
        Ok(kept) => (kept, Vec::new()),
        Err(e) => (None, vec![chain(&e)]),
    };
    let is_kept = root.exists(dropin::FILE).unwrap_or(true);
    let sources = Sources::read(root, kept)?;
    let mut files: Vec<&str> = is_kept.then_some(dropin::FILE).into_iter().collect();
    files.extend(sources.installed.iter().flat_map(Installed::files));
    problems.extend(owner::problems(root, &files));
    problems.extend(sources.installed.iter().flat_map(Installed::problems));
    let mut next_boot = sources.next(rate_at_boot(root));
    let elsewhere = *netns != NetNs::Current;
    if elsewhere {
        next_boot.notes.push(format!(
            "the next boot is the machine's: a new network namespace starts from {}, and nothing \
             here sets it again",
            Values::KERNEL_DEFAULT
        ));
    }
    let drifting: Vec<Setting> = settings
        .filter(|_| !elsewhere)
        .map(|now| now.differences(next_boot.values()).collect())
        .unwrap_or_default();
    Ok(ShowReport {
        settings,
        time_to_drop: legal
            .and_then(|s| s.ok())
            .zip(conditions)
            .map(|(settings, conditions)| TimeToDrop::new(settings, &conditions)),
        warnings: legal.and_then(|s| s.ok()).map(warnings).unwrap_or_default(),
        harm: legal.and_then(|s| s.err()).map(|e| e.to_string()),
        counters: here.and_then(|here| here.counters),
        rate: None,
        elsewhere,
        enabled: sources.kept.as_ref().map(EnabledReport::from),
        unit: UnitReport {
            systemd: sources.systemd,
            enabled: sources.unit_enabled,
        },
        next_boot,
        drift: !drifting.is_empty(),
        drifting,
        problems,
    })
}
