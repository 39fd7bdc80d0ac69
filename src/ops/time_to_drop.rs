//! `time-to-drop`: how long the kernel takes to drop a silent peer.

use std::time::Duration;

use serde::Serialize;

use super::{Result, over, require_machine, warnings};
use crate::kernel::netns::NetNs;
use crate::kernel::{keepalive, tick};
use crate::model::time_to_drop::{self, Event, Idle};
use crate::model::{Hz, Partial, Settings, UserTimeout};
use crate::root::Root;

/// The answer, with what it was computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeToDropReport {
    /// The settings.
    pub settings: Settings,
    /// Whether any of them was taken from the kernel.
    pub from_kernel: bool,
    /// The user timeout.
    pub user_timeout_ms: Option<UserTimeout>,
    /// The kernel's tick rate, which bounds the lateness; if it is not known,
    /// the bound is 8/63.
    pub hz: Option<Hz>,
    /// An idle connection.
    pub idle: Idle,
    /// Each probe and the drop, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Vec<Event>>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Computes the time to drop; what `partial` does not name is what is in force
/// in the network namespace.
///
/// # Errors
/// A value is illegal, or what is in force cannot be read or computed with.
pub fn time_to_drop(
    root: &Root,
    netns: &NetNs,
    partial: Partial,
    user_timeout: Option<Duration>,
    with_timeline: bool,
) -> Result<TimeToDropReport> {
    require_machine(root, "time-to-drop")?;
    partial.check()?;
    let user_timeout = user_timeout.map(UserTimeout::try_from).transpose()?;
    let (settings, from_kernel) = match partial.complete() {
        Some(values) => (Settings::try_from(values)?, false),
        None => {
            let in_force = netns.enter(keepalive::read)??;
            (over(partial, in_force)?, true)
        }
    };
    let hz = tick::rate();
    Ok(TimeToDropReport {
        settings,
        from_kernel,
        user_timeout_ms: user_timeout,
        hz,
        idle: time_to_drop::idle(settings, user_timeout, hz),
        timeline: with_timeline
            .then(|| time_to_drop::timeline(settings, user_timeout, hz).collect()),
        warnings: warnings(settings),
    })
}
