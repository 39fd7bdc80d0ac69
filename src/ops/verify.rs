//! `verify`: whether the kernel has the enabled profile.

use std::path::PathBuf;

use serde::Serialize;

use super::{Error, Result, require_machine};
use crate::boot::dropin::{self, Kept};
use crate::kernel::keepalive;
use crate::kernel::netns::NetNs;
use crate::model::{ProfileName, Setting, Settings, Values};
use crate::root::Root;

/// What is kept for boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnabledReport {
    /// The profile; none if the drop-in does not name it.
    pub profile: Option<ProfileName>,
    /// The drop-in.
    pub file: PathBuf,
    /// Its settings.
    pub settings: Settings,
}

impl From<&Kept> for EnabledReport {
    fn from(kept: &Kept) -> EnabledReport {
        EnabledReport {
            profile: kept.profile.clone(),
            file: kept.file.clone(),
            settings: kept.settings,
        }
    }
}

/// One setting that is not as enabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The setting.
    pub setting: Setting,
    /// Its value in the kernel.
    pub in_force: i64,
    /// Its value in the enabled profile.
    pub enabled: i64,
}

/// The answer of `verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Whether the kernel has what is enabled.
    pub matches: bool,
    /// What is enabled.
    pub enabled: EnabledReport,
    /// Whether another network namespace was asked for, which no boot sets.
    #[serde(skip)]
    pub elsewhere: bool,
    /// What is in force.
    pub in_force: Values,
    /// Where they differ.
    pub differences: Vec<Difference>,
}

/// Holds what is in force in a network namespace against what is enabled.
///
/// # Errors
/// [`Error::NothingEnabled`], or either side cannot be read.
pub fn verify(root: &Root, netns: &NetNs) -> Result<VerifyReport> {
    require_machine(root, "verify")?;
    let kept = enabled(root)?;
    let in_force = netns.enter(keepalive::read)??;
    let wanted = kept.settings.values();
    let differences: Vec<Difference> = wanted
        .differences(in_force)
        .map(|setting| Difference {
            setting,
            in_force: in_force.get(setting),
            enabled: wanted.get(setting),
        })
        .collect();
    Ok(VerifyReport {
        matches: differences.is_empty(),
        elsewhere: *netns != NetNs::Current,
        enabled: EnabledReport::from(&kept),
        in_force,
        differences,
    })
}

/// What is kept for boot, which has to be there.
pub(super) fn enabled(root: &Root) -> Result<Kept> {
    dropin::read(root)?.ok_or_else(|| Error::NothingEnabled {
        file: root.display(dropin::FILE),
    })
}
