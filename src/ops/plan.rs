//! `plan`: settings for a path, and for a time within which a dead peer must be
//! dropped.

use serde::Serialize;

use super::{Error, Result, profiles, require_machine, warnings};
use crate::kernel::{tcp, tick};
use crate::model::check::silence_ms;
use crate::model::cost::{Cost, cost};
use crate::model::path::Path;
use crate::model::plan::{Wish, meets, plan as settings_for, probes};
use crate::model::span::as_seconds;
use crate::model::time_to_drop::{Conditions, Idle, InFlight, idle, in_flight};
use crate::model::{Profile, ProfileName, Settings};
use crate::root::Root;

/// What the connections must go through and do.
#[derive(Debug, Clone, Default)]
pub struct Purpose {
    /// Paths; the tightest counts.
    pub paths: Vec<&'static Path>,
    /// An idle timeout in seconds.
    pub idle_timeout_s: Option<u32>,
    /// Seconds within which an idle connection to a dead peer must be dropped.
    pub detect_within_s: Option<u32>,
    /// Probes in a row that may be lost.
    pub lost_probes: u8,
}

/// A path's profile, if it does what was wished for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadyMade {
    /// Its name.
    pub profile: ProfileName,
    /// Its settings.
    pub settings: Settings,
}

/// The settings, and what they are worth on every kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanReport {
    /// What was wished for.
    #[serde(flatten)]
    pub wish: Wish,
    /// The paths that were named.
    pub paths: Vec<&'static str>,
    /// Which of them is the tightest, if it is one of them.
    pub tightest: Option<&'static str>,
    /// The settings.
    pub settings: Settings,
    /// The command that puts them in force.
    pub command: String,
    /// The command that keeps the answer as a profile, with NAME for its name.
    pub profile_command: String,
    /// The longest silence with as many probes lost as may be.
    #[serde(rename = "silence_s", serialize_with = "as_seconds")]
    pub silence_ms: u64,
    /// The end of an idle connection whose peer is dead.
    pub idle: Idle,
    /// The end of one with data in flight, on this kernel: no keepalive setting
    /// hastens it.
    pub in_flight: InFlight,
    /// The paths' profiles that do it too.
    pub ready_made: Vec<ReadyMade>,
    /// What it costs while the connections are healthy.
    pub cost: Cost,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Finds the settings.
///
/// # Errors
/// [`Error::CountsBytes`] for a path that keepalive does not refresh, or
/// [`Error::Impossible`] with the settings that come nearest.
pub fn plan(root: &Root, purpose: &Purpose, connections: u64) -> Result<PlanReport> {
    require_machine(root, "plan")?;
    let wish = purpose.wish()?;
    let settings = settings_for(&wish)?;
    let ready_made = |path: &&'static Path| {
        let profile = profiles::find(root, &path.name.parse().ok()?).ok()?.profile;
        let ready_made = ReadyMade {
            profile: profile.name,
            settings: profile.settings,
        };
        Some(ready_made).filter(|found| meets(&wish, found.settings))
    };
    let mut paths = purpose.paths.iter();
    Ok(PlanReport {
        wish,
        tightest: paths
            .find(|path| Some(path.idle_timeout_s) == wish.idle_timeout_s)
            .map(|path| path.name),
        paths: purpose.paths.iter().map(|path| path.name).collect(),
        ready_made: purpose.paths.iter().filter_map(ready_made).collect(),
        settings,
        command: format!(
            "keepalivectl apply --time {} --intvl {} --probes {}",
            settings.time(),
            settings.intvl(),
            settings.probes()
        ),
        profile_command: purpose.profile_command(),
        silence_ms: silence_ms(settings, wish.lost_probes, None),
        idle: idle(settings, None, None),
        in_flight: in_flight(&Conditions::next_door(tcp::limits()?, tick::rate())),
        cost: cost(settings, connections),
        warnings: warnings(settings),
    })
}

impl Purpose {
    /// A profile that serves the purpose.
    ///
    /// # Errors
    /// As [`plan`].
    pub fn profile(&self, name: ProfileName, description: Option<String>) -> Result<Profile> {
        Ok(Profile {
            name,
            description: description.unwrap_or_else(|| self.to_string()),
            settings: settings_for(&self.wish()?)?,
        })
    }

    fn profile_command(&self) -> String {
        let flag = |name, seconds: Option<u32>| seconds.map(|s| format!(" --{name} {s}"));
        let paths = self
            .paths
            .iter()
            .map(|path| format!(" --path {}", path.name));
        let lost = format!(" --lost-probes {}", self.lost_probes);
        let words: String = paths
            .chain(flag("idle-timeout", self.idle_timeout_s))
            .chain(flag("detect-within", self.detect_within_s))
            .chain(Some(lost).filter(|_| self.lost_probes != 1))
            .collect();
        format!("keepalivectl profile create NAME{words}")
    }

    fn wish(&self) -> Result<Wish> {
        if let Some(path) = self
            .paths
            .iter()
            .find(|path| !path.refreshed_by_keepalive())
        {
            return Err(Error::CountsBytes { path });
        }
        let tightest = self.paths.iter().map(|path| path.idle_timeout_s);
        Ok(Wish {
            idle_timeout_s: tightest.chain(self.idle_timeout_s).min(),
            detect_within_s: self.detect_within_s,
            lost_probes: self.lost_probes,
        })
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths = self.paths.iter().map(|path| path.name.to_owned());
        let timeout = self.idle_timeout_s.map(|s| format!("idle timeout {s} s"));
        let detect = self.detect_within_s.map(|s| format!("drop within {s} s"));
        let lost = format!("{} lost", probes(self.lost_probes));
        let parts: Vec<String> = paths.chain(timeout).chain(detect).chain([lost]).collect();
        write!(f, "planned for: {}", parts.join(", "))
    }
}
