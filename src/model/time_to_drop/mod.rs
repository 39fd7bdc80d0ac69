//! How long the kernel takes to drop a connection whose peer is silent, in each
//! state that a silent peer can leave a socket in.
//!
//! | state | what runs | what ends it | kernel function |
//! |---|---|---|---|
//! | [`idle`](mod@idle) | the keepalive timer | `probes`, or the user timeout | `tcp_keepalive_timer` |
//! | [`in_flight`](mod@in_flight) | the retransmission timer | `tcp_retries2`, or the user timeout | `tcp_retransmit_timer` |
//! | [`zero_window`](mod@zero_window) | the persist timer | `tcp_retries2` or the user timeout, what comes first | `tcp_probe_timer` |
//!
//! Keepalive rests in the last two. All functions are those of
//! `net/ipv4/tcp_timer.c`, read in Linux 5.10, 6.1, 6.12 and 7.3. Between these,
//! little changes a result: `tcp_rto_max_ms` (since 6.15) can shorten the 120 s
//! that the timers back off to, and `tcp_rto_min_us` (since 6.11) can change the
//! 200 ms that they start from; see [`TcpLimits`]. In 5.10 a persist timer starts
//! anew after 64 doublings, which takes `tcp_retries2` above 63. Not counted in
//! are what single sockets and routes can set: TCP_RTO_MAX_MS, TCP_RTO_MIN_US,
//! TCP_THIN_LINEAR_TIMEOUTS, `rto_min lock`, `tcp_usec_ts`; nor that the kernel's
//! count of ticks begins anew after 2³² of them (49 days with HZ=1000).
//!
//! Every time is a [`Span`]. The earliest is exact: all timers on time. The
//! latest adds the timer wheel's granule for each timer (`super::wheel`). A
//! kernel that finds the socket locked by its program, or a full queue below it,
//! tries again 50 ms or 500 ms later; that is not counted. Silent means silent:
//! an ICMP error or a RST ends or hastens it.

mod backoff;
pub mod idle;
pub mod in_flight;
pub mod limits;
mod timeline;
mod underway;
mod user_timeout;
pub mod zero_window;

use std::time::Duration;

use serde::Serialize;

pub use idle::{Idle, idle};
pub use in_flight::{InFlight, in_flight};
pub use limits::{LimitsError, TcpLimits};
pub use timeline::{Event, EventKind};
pub use underway::{Timer, Underway, is_stale};
pub use user_timeout::{UserTimeout, UserTimeoutError};
pub use zero_window::{ZeroWindow, zero_window};

use super::settings::Settings;
use super::span::Span;
use super::wheel::Hz;

/// A state that a silent peer can leave a socket in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing to send, nothing unacknowledged.
    Idle,
    /// Data sent and not acknowledged.
    InFlight,
    /// Data to send, and the peer's window has just closed.
    ZeroWindow,
}

impl State {
    /// All three.
    pub const ALL: [State; 3] = [State::Idle, State::InFlight, State::ZeroWindow];

    /// The word for it in flags and tables.
    pub fn word(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::InFlight => "in-flight",
            State::ZeroWindow => "zero-window",
        }
    }
}

/// What ends the wait for a silent peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecidedBy {
    /// `tcp_keepalive_probes`.
    Probes,
    /// `tcp_retries2`.
    Retries2,
    /// TCP_USER_TIMEOUT.
    UserTimeout,
}

/// What counts besides the three settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// The socket's user timeout.
    pub user_timeout: Option<UserTimeout>,
    /// The smoothed round-trip time; none for a peer next door (below 1 ms).
    pub rtt: Option<Duration>,
    /// The socket's own retransmission timeout before any backoff, as `ss -i`
    /// shows it while nothing is retransmitted; none to take what the round-trip
    /// time gives.
    pub rto: Option<Duration>,
    /// The limits of retransmission.
    pub limits: TcpLimits,
    /// The kernel's tick rate, if it is known.
    pub hz: Option<Hz>,
}

impl Conditions {
    /// A socket without a user timeout, and a peer next door.
    pub fn next_door(limits: TcpLimits, hz: Option<Hz>) -> Conditions {
        Conditions {
            user_timeout: None,
            rtt: None,
            rto: None,
            limits,
            hz,
        }
    }

    /// The retransmission timeout before any backoff.
    fn rto(&self) -> Span {
        match self.rto {
            Some(rto) => self.limits.own_rto(rto, self.hz),
            None => self.limits.rto(self.rtt, self.hz),
        }
    }
}

/// The time to drop in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimeToDrop {
    /// Nothing to send, nothing unacknowledged.
    pub idle: Idle,
    /// Data sent and not acknowledged.
    pub in_flight: InFlight,
    /// Data to send, and the peer's window closed.
    pub zero_window: ZeroWindow,
}

impl TimeToDrop {
    /// Computes all three.
    pub fn new(settings: Settings, conditions: &Conditions) -> TimeToDrop {
        TimeToDrop {
            idle: idle(settings, conditions.user_timeout, conditions.hz),
            in_flight: in_flight(conditions),
            zero_window: zero_window(conditions),
        }
    }

    /// The segments that are sent in one state, if every timer is on time.
    pub fn segments(&self, state: State) -> u64 {
        match state {
            State::Idle => self.idle.probes_sent,
            State::InFlight => self.in_flight.retransmissions,
            State::ZeroWindow => self.zero_window.window_probes,
        }
    }

    /// The drop in one state.
    pub fn drop(&self, state: State) -> Span {
        match state {
            State::Idle => self.idle.drop,
            State::InFlight => self.in_flight.drop,
            State::ZeroWindow => self.zero_window.drop,
        }
    }
}

/// Each segment that the kernel sends to a silent peer, and the drop.
pub fn timeline(settings: Settings, conditions: &Conditions, state: State) -> Vec<Event> {
    match state {
        State::Idle => idle::timeline(settings, conditions.user_timeout, conditions.hz),
        State::InFlight => in_flight::timeline(conditions),
        State::ZeroWindow => zero_window::timeline(conditions),
    }
}

/// The drop where the kernel compares, at each expiry of a timer, the time that
/// has passed with a limit: which expiry it is if all are on time, and when.
///
/// A late timer can find the limit passed that it would have missed on time.
/// So the drop can come at an expiry before the one at which it must.
fn at_expiry_past(limit: Span, expiries: impl Iterator<Item = Span>) -> (u64, Span) {
    let mut earliest_ms = None;
    let mut on_time = None;
    let mut before: Option<Span> = None;
    for (n, expiry) in (0..).zip(expiries) {
        if expiry.latest_ms >= limit.earliest_ms {
            earliest_ms.get_or_insert(expiry.earliest_ms.max(limit.earliest_ms));
        }
        if expiry.earliest_ms >= limit.earliest_ms {
            on_time.get_or_insert(n);
        }
        if expiry.earliest_ms >= limit.latest_ms {
            // If the one before did not drop, it came before the limit.
            let after_limit_ms = before.map_or(u64::MAX, |before| {
                let runs_ms = expiry.latest_ms - before.latest_ms;
                limit.latest_ms.saturating_add(runs_ms)
            });
            let drop = Span {
                earliest_ms: earliest_ms.unwrap_or(expiry.earliest_ms),
                latest_ms: expiry.latest_ms.min(after_limit_ms),
            };
            return (on_time.unwrap_or(n), drop);
        }
        before = Some(expiry);
    }
    unreachable!("the expiries of a timer that is armed again do not end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A peer next door, at HZ=250.
    pub(super) fn with(retries2: u8, user_timeout_ms: Option<u64>) -> Conditions {
        let limits = TcpLimits::new(retries2, 120_000, 200_000).unwrap();
        Conditions {
            user_timeout: user_timeout_ms.map(|ms| Duration::from_millis(ms).try_into().unwrap()),
            ..Conditions::next_door(limits, Hz::new(250))
        }
    }

    fn legal() -> impl Strategy<Value = Settings> {
        let seconds = || prop_oneof![1..600i64, 1..=2_147_483i64];
        (seconds(), seconds(), 1..=255i64).prop_map(|(t, i, p)| Settings::new(t, i, p).unwrap())
    }

    fn conditions() -> impl Strategy<Value = Conditions> {
        (
            proptest::option::of(prop_oneof![1..100_000u64, 1..5_000_000u64]),
            proptest::option::of(0..5_000_000u64),
            proptest::option::of(any::<u64>()),
            0..=255u8,
            1000..=120_000u32,
            1..=1_000_000u32,
            proptest::option::of(prop_oneof![Just(100), Just(250), Just(300), Just(1000)]),
        )
            .prop_map(
                |(ut, rtt, rto, retries2, rto_max_ms, rto_min_us, hz)| Conditions {
                    user_timeout: ut.map(|ms| Duration::from_millis(ms).try_into().unwrap()),
                    rtt: rtt.map(Duration::from_micros),
                    rto: rto.map(Duration::from_micros),
                    limits: TcpLimits::new(retries2, rto_max_ms, rto_min_us).unwrap(),
                    hz: hz.and_then(Hz::new),
                },
            )
    }

    proptest! {
        #[test]
        fn the_timeline_ends_at_the_drop(settings in legal(), conditions in conditions()) {
            let all = TimeToDrop::new(settings, &conditions);
            for state in State::ALL {
                let events = timeline(settings, &conditions, state);
                let last = events.last().unwrap();
                prop_assert_eq!(last.kind, EventKind::Drop);
                prop_assert_eq!(last.at, all.drop(state));
                prop_assert!(last.at.earliest_ms <= last.at.latest_ms);
                prop_assert!(
                    events.is_sorted_by_key(|e| e.at.earliest_ms),
                    "{:?}: {:?}", state, events
                );
            }
        }

        #[test]
        fn more_and_longer_never_drop_earlier(
            settings in legal(),
            conditions in conditions(),
            more in (0..50i64, 0..50i64, 0..50i64),
        ) {
            // With a user timeout it is not so: a longer intvl can meet it
            // sooner.
            let conditions = Conditions { user_timeout: None, ..conditions };
            let v = settings.values();
            let longer = Settings::new(
                (v.time + more.0).min(2_147_483),
                (v.intvl + more.1).min(2_147_483),
                (v.probes + more.2).min(255),
            ).unwrap();
            let a = idle(settings, None, conditions.hz).drop;
            let b = idle(longer, None, conditions.hz).drop;
            prop_assert!(a.earliest_ms <= b.earliest_ms && a.latest_ms <= b.latest_ms);
        }

        #[test]
        fn more_retries_and_a_longer_user_timeout_never_drop_earlier(
            settings in legal(),
            conditions in conditions(),
            retries in 0..20u8,
            ms in 0..100_000u32,
        ) {
            let limits = conditions.limits;
            let retries2 = limits.retries2().saturating_add(retries);
            let later = Conditions {
                limits: TcpLimits::new(retries2, limits.rto_max_ms(), limits.rto_min_us()).unwrap(),
                user_timeout: conditions.user_timeout.map(|t| {
                    let ms = t.milliseconds().saturating_add(ms).min(2_147_483_647);
                    Duration::from_millis(ms.into()).try_into().unwrap()
                }),
                ..conditions
            };
            let a = TimeToDrop::new(settings, &conditions);
            let b = TimeToDrop::new(settings, &later);
            for state in State::ALL {
                let (a, b) = (a.drop(state), b.drop(state));
                prop_assert!(a.earliest_ms <= b.earliest_ms, "{:?}", state);
                prop_assert!(a.latest_ms <= b.latest_ms, "{:?}: {:?} {:?}", state, a, b);
            }
        }

        #[test]
        fn an_unknown_tick_rate_covers_every_known_one(
            settings in legal(),
            conditions in conditions(),
        ) {
            let known = TimeToDrop::new(settings, &conditions);
            let unknown = TimeToDrop::new(settings, &Conditions { hz: None, ..conditions });
            for state in State::ALL {
                let (k, u) = (known.drop(state), unknown.drop(state));
                prop_assert!(u.earliest_ms <= k.earliest_ms, "{:?}: {:?} {:?}", state, k, u);
                prop_assert!(u.latest_ms >= k.latest_ms, "{:?}: {:?} {:?}", state, k, u);
            }
        }
    }
}
