//! `measure`: the time to drop on this very kernel, beside the computed one.

use std::time::Duration;

use serde::Serialize;

use super::time_to_drop::{Question, conditions};
use super::{Result, require_machine};
use crate::kernel::lab::Lab;
use crate::kernel::netns::NetNs;
use crate::kernel::release::release;
use crate::model::duration::millis;
use crate::model::span::{as_seconds, as_seconds_if_any};
use crate::model::time_to_drop::{Conditions, TimeToDrop, zero_window};
use crate::model::{Hz, Settings, Span, State, TcpLimits, UserTimeout};
use crate::root::Root;

/// Time that a busy machine may need to tell a program that its connection is
/// dropped.
pub const SCHEDULING_MS: u64 = 50;

/// How often a caller hears how long it has lasted.
const STEP: Duration = Duration::from_millis(100);

/// What was predicted and what was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeasureReport {
    /// The kernel's release.
    pub kernel: String,
    /// The state of the connection.
    pub state: State,
    /// How long the peer lived and answered first.
    #[serde(rename = "alive_for_s", serialize_with = "as_seconds")]
    pub alive_for_ms: u64,
    /// The settings.
    pub settings: Settings,
    /// The user timeout.
    pub user_timeout_ms: Option<UserTimeout>,
    /// The limits of retransmission.
    #[serde(flatten)]
    pub limits: TcpLimits,
    /// The kernel's tick rate.
    pub hz: Option<Hz>,
    /// The connection's own retransmission timeout before any backoff.
    #[serde(rename = "rto_s", serialize_with = "as_seconds")]
    pub rto_ms: u64,
    /// When the drop should come.
    #[serde(flatten, serialize_with = "Span::as_drop")]
    pub predicted: Span,
    /// When it came; none if the connection outlived the prediction.
    #[serde(rename = "measured_s", serialize_with = "as_seconds_if_any")]
    pub measured_ms: Option<u64>,
    /// Milliseconds after the prediction that are granted for scheduling.
    pub scheduling_ms: u64,
    /// Whether it came within the prediction, and those.
    pub within: bool,
}

/// How long the silence has lasted, of how long it should.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// So far.
    pub lasted: Duration,
    /// The prediction.
    pub predicted: Span,
}

/// Makes a connection in a network namespace of its own, lets its peer live and
/// answer for `alive_for` and then fall silent, and waits for the drop. What the
/// question leaves open is what is in force here. `watch` hears of the progress
/// every 100 ms.
///
/// The calling thread is in that namespace for good (see [`Lab::enter`]), so it
/// should end thereafter.
///
/// # Errors
/// A value is illegal, or the kernel allows no namespace.
pub fn measure(
    root: &Root,
    question: &Question,
    state: State,
    alive_for: Duration,
    watch: &mut dyn FnMut(Progress),
) -> Result<MeasureReport> {
    require_machine(root, "measure")?;
    let (settings, conditions) = conditions(&NetNs::Current, question)?;
    let lab = Lab::enter()?;
    lab.put_in_force(settings, conditions.limits)?;
    let silence = lab.silence(state, conditions.user_timeout, alive_for)?;
    let conditions = Conditions {
        rto: Some(silence.rto()),
        ..conditions
    };
    let predicted = predict(settings, &conditions, state, alive_for);
    // A kernel that is wrong by more than this is wrong enough.
    let patience = Duration::from_millis(predicted.latest_ms + predicted.latest_ms / 4 + 2000);
    let mut measured_ms = None;
    while measured_ms.is_none() && silence.lasts() < patience {
        watch(Progress {
            lasted: silence.lasts(),
            predicted,
        });
        let lasted = silence.wait(STEP)?;
        measured_ms = lasted.map(millis);
    }
    let with_scheduling = Span {
        latest_ms: predicted.latest_ms + SCHEDULING_MS,
        ..predicted
    };
    Ok(MeasureReport {
        kernel: release(),
        state,
        alive_for_ms: millis(alive_for),
        settings,
        user_timeout_ms: conditions.user_timeout,
        limits: conditions.limits,
        hz: conditions.hz,
        rto_ms: millis(silence.rto()),
        predicted,
        measured_ms,
        scheduling_ms: SCHEDULING_MS,
        within: measured_ms.is_some_and(|ms| with_scheduling.contains(ms)),
    })
}

fn predict(settings: Settings, conditions: &Conditions, state: State, alive_for: Duration) -> Span {
    if state == State::ZeroWindow && !alive_for.is_zero() {
        return zero_window::long_closed(conditions, millis(alive_for));
    }
    TimeToDrop::new(settings, conditions).drop(state)
}
