//! `time-to-drop`: how long the kernel takes to drop a silent peer.

use std::time::Duration;

use serde::Serialize;

use super::{Error, Result, require_machine, settings, warnings};
use crate::kernel::netns::NetNs;
use crate::kernel::{tcp, tick};
use crate::model::cost::{Cost, cost};
use crate::model::duration::micros;
use crate::model::time_to_drop::limits::rto_max_ms;
use crate::model::time_to_drop::{
    Conditions, Event, Idle, InFlight, TimeToDrop, ZeroWindow, timeline,
};
use crate::model::{Hz, Partial, Settings, State, TcpLimits, UserTimeout};
use crate::root::Root;

/// What is asked. What is none is what the kernel has.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The three settings.
    pub settings: Partial,
    /// The socket's TCP_USER_TIMEOUT; none for a socket without.
    pub user_timeout: Option<Duration>,
    /// The round-trip time; none for a peer next door.
    pub rtt: Option<Duration>,
    /// The socket's own retransmission timeout.
    pub rto: Option<Duration>,
    /// `tcp_retries2`.
    pub retries2: Option<u8>,
    /// `tcp_rto_max_ms`.
    pub rto_max: Option<Duration>,
    /// The kernel's tick rate.
    pub hz: Option<Hz>,
}

/// A state's end, and the events that lead there if they were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End<T> {
    /// The end.
    #[serde(flatten)]
    pub end: T,
    /// What is sent, and the drop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Vec<Event>>,
}

/// The answer, with what it was computed from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeToDropReport {
    /// The settings.
    pub settings: Settings,
    /// Whether any of them was taken from the kernel.
    pub from_kernel: bool,
    /// The user timeout.
    pub user_timeout_ms: Option<UserTimeout>,
    /// The round-trip time; none for a peer next door.
    pub rtt_us: Option<u64>,
    /// The limits of retransmission.
    #[serde(flatten)]
    pub limits: TcpLimits,
    /// The kernel's tick rate, which bounds the lateness; if it is not known,
    /// the bound is 8/63.
    pub hz: Option<Hz>,
    /// An idle connection; none if another state was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<End<Idle>>,
    /// A connection with data in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<End<InFlight>>,
    /// A connection whose window is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_window: Option<End<ZeroWindow>>,
    /// What keepalive costs while the connections are healthy.
    pub cost: Cost,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Computes the time to drop in one state, or in all three.
///
/// # Errors
/// A value is illegal, or what is in force cannot be read or computed with.
pub fn time_to_drop(
    root: &Root,
    netns: &NetNs,
    question: &Question,
    state: Option<State>,
    with_timeline: bool,
    connections: u64,
) -> Result<TimeToDropReport> {
    require_machine(root, "time-to-drop")?;
    let (settings, conditions) = conditions(netns, question)?;
    let all = TimeToDrop::new(settings, &conditions);
    let asked = |s: State| state.is_none_or(|only| only == s);
    if with_timeline {
        let longest = State::ALL
            .into_iter()
            .filter(|s| asked(*s))
            .map(|s| all.segments(s))
            .max();
        not_too_many(longest.unwrap_or_default())?;
    }
    let mut warnings = warnings(settings);
    if asked(State::InFlight) && netns.enter(tcp::thin_linear_timeouts)?? {
        warnings.push(
            "tcp_thin_linear_timeouts is on: with fewer than four segments in flight, the first six \
             timeouts may not double, and the times in flight do not hold"
                .to_owned(),
        );
    }
    let events = |s: State| with_timeline.then(|| timeline(settings, &conditions, s));
    Ok(TimeToDropReport {
        settings,
        from_kernel: question.settings.complete().is_none(),
        user_timeout_ms: conditions.user_timeout,
        rtt_us: conditions.rtt.map(micros),
        limits: conditions.limits,
        hz: conditions.hz,
        idle: asked(State::Idle).then(|| End::new(all.idle, events(State::Idle))),
        in_flight: asked(State::InFlight).then(|| End::new(all.in_flight, events(State::InFlight))),
        zero_window: asked(State::ZeroWindow)
            .then(|| End::new(all.zero_window, events(State::ZeroWindow))),
        cost: cost(settings, connections),
        warnings,
    })
}

/// A timeline is made and printed as a whole.
fn not_too_many(segments: u64) -> Result<()> {
    const MOST: u64 = 100_000;
    match segments {
        0..=MOST => Ok(()),
        _ => Err(Error::TooManyEvents { segments }),
    }
}

impl<T> End<T> {
    fn new(end: T, timeline: Option<Vec<Event>>) -> End<T> {
        End { end, timeline }
    }
}

/// The settings and conditions of a question; what is not given is what the
/// kernel has.
pub(super) fn conditions(netns: &NetNs, question: &Question) -> Result<(Settings, Conditions)> {
    let user_timeout = question
        .user_timeout
        .map(UserTimeout::try_from)
        .transpose()?;
    let settings = settings(netns, question.settings)?;
    let in_force = netns.enter(tcp::limits)??;
    let rto_max_ms = question.rto_max.map(rto_max_ms).transpose()?;
    let limits = TcpLimits::new(
        question.retries2.unwrap_or(in_force.retries2()),
        rto_max_ms.unwrap_or(in_force.rto_max_ms()),
        in_force.rto_min_us(),
    )?;
    question.rto.map_or(Ok(()), |rto| limits.check_rto(rto))?;
    let conditions = Conditions {
        user_timeout,
        rtt: question.rtt,
        rto: question.rto,
        limits,
        hz: question.hz.or_else(tick::rate),
    };
    Ok((settings, conditions))
}
