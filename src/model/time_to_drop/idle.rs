//! An idle connection: nothing to send, nothing unacknowledged.
//!
//! The rule is `tcp_keepalive_timer`. The first timer runs for `time`, each
//! further one for `intvl`. At each expiry the kernel drops the connection if
//! `probes` probes went unanswered, or, with a user timeout, if the silence has
//! reached it and one probe at least is out. Otherwise it sends a probe.
//!
//! An answered probe arms the timer for `intvl`. If that is longer than `time`,
//! the first probe to a peer that then falls silent comes after `intvl`; the
//! latest time counts this in.

use serde::Serialize;

use super::{DecidedBy, Event, EventKind, UserTimeout, at_expiry_past};
use crate::model::settings::Settings;
use crate::model::span::{Span, as_seconds};
use crate::model::wheel::{self, Hz, lateness_ms};

/// What happens to an idle connection whose peer is silent from second 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Idle {
    /// When the first probe is sent, in seconds.
    pub first_probe_s: u32,
    /// The longest silence of a healthy idle connection, in seconds:
    /// `max(time, intvl)`, because the timer after a probe runs for intvl.
    pub refresh_s: u32,
    /// The same with each timer as late as it can be.
    #[serde(rename = "refresh_latest_s", serialize_with = "as_seconds")]
    pub refresh_latest_ms: u64,
    /// Probes sent before the drop, if every timer is on time.
    pub probes_sent: u64,
    /// What ends it.
    pub decided_by: DecidedBy,
    /// When it is dropped.
    #[serde(flatten, serialize_with = "Span::as_drop")]
    pub drop: Span,
}

/// The time to drop of an idle connection, counted from the last segment that
/// was received.
///
/// Without a user timeout: time + intvl·probes. With a user timeout U: the
/// smallest time + k·intvl ≥ U with k ≥ 1, and `probes` does not count. U itself
/// is the earliest where a late timer could meet it one probe sooner.
///
/// ```
/// use keepalivectl::model::{Hz, Settings, time_to_drop};
/// let idle = time_to_drop::idle(Settings::new(7200, 75, 9)?, None, Hz::new(250));
/// assert_eq!(idle.drop.earliest_ms, 7_875_000);
/// assert_eq!(idle.probes_sent, 9);
/// # Ok::<(), keepalivectl::model::SettingsError>(())
/// ```
pub fn idle(settings: Settings, user_timeout: Option<UserTimeout>, hz: Option<Hz>) -> Idle {
    let (probes_sent, drop) = end(settings, user_timeout, hz);
    Idle {
        first_probe_s: settings.time(),
        refresh_s: settings.time().max(settings.intvl()),
        refresh_latest_ms: first_expiry(settings, hz).latest_ms,
        probes_sent,
        decided_by: match user_timeout {
            Some(_) => DecidedBy::UserTimeout,
            None => DecidedBy::Probes,
        },
        drop,
    }
}

/// Each probe and the drop, in order.
pub(super) fn timeline(
    settings: Settings,
    user_timeout: Option<UserTimeout>,
    hz: Option<Hz>,
) -> Vec<Event> {
    let (probes_sent, drop) = end(settings, user_timeout, hz);
    let probe = |(number, at)| Event::new(at, EventKind::Probe { number });
    (1..=probes_sent)
        .zip(expiries(settings, hz))
        .map(probe)
        .chain([Event::new(drop, EventKind::Drop)])
        .collect()
}

/// The probes sent if every timer is on time, and the drop.
fn end(settings: Settings, user_timeout: Option<UserTimeout>, hz: Option<Hz>) -> (u64, Span) {
    match user_timeout {
        None => {
            let probes = settings.probes();
            let intvl = intvl(settings, hz);
            let drop = (0..probes).fold(first_expiry(settings, hz), |at, _| at.then(intvl));
            (probes.into(), drop)
        }
        Some(timeout) => {
            let limit = wheel::limit_in_ticks(timeout.milliseconds().into(), hz);
            let (more, drop) = at_expiry_past(limit, expiries(settings, hz).skip(1));
            (more + 1, drop)
        }
    }
}

/// The expiries of the keepalive timer.
fn expiries(settings: Settings, hz: Option<Hz>) -> impl Iterator<Item = Span> {
    let intvl = intvl(settings, hz);
    let next = move |before: &Span| Some(before.then(intvl));
    std::iter::successors(Some(first_expiry(settings, hz)), next)
}

/// The first expiry at which a probe is sent, counted from the last segment
/// received. An expiry before `time` has passed arms the timer for the rest of it.
pub(in crate::model) fn first_expiry(settings: Settings, hz: Option<Hz>) -> Span {
    let time = u64::from(settings.time()) * 1000;
    Span {
        earliest_ms: time,
        latest_ms: (time + lateness_ms(time, hz)).max(intvl(settings, hz).latest_ms),
    }
}

/// How long the timer after a probe runs.
pub(in crate::model) fn intvl(settings: Settings, hz: Option<Hz>) -> Span {
    wheel::fires(u64::from(settings.intvl()) * 1000, hz)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(time: i64, intvl: i64, probes: i64) -> Settings {
        Settings::new(time, intvl, probes).unwrap()
    }

    fn timeout(ms: u64) -> Option<UserTimeout> {
        Some(Duration::from_millis(ms).try_into().unwrap())
    }

    #[test]
    fn without_a_user_timeout_probes_decides() {
        for (t, i, p, drop) in [(7200, 75, 9, 7875), (1, 1, 5, 6), (60, 10, 3, 90)] {
            let idle = idle(settings(t, i, p), None, Hz::new(250));
            assert_eq!(idle.drop.earliest_ms, drop * 1000);
            assert_eq!(idle.probes_sent, p as u64);
        }
    }

    #[test]
    fn with_a_user_timeout_probes_does_not_count() {
        for (ms, drop, sent) in [
            (1, 70_000, 1),
            (60_000, 70_000, 1),
            (70_000, 70_000, 1),
            (86_000, 90_000, 3),
            // Late timers can meet it at the 53rd probe; a tick has begun.
            (600_000, 599_996, 54),
        ] {
            for probes in [1, 3, 255] {
                let idle = idle(settings(60, 10, probes), timeout(ms), Hz::new(250));
                assert_eq!(
                    (idle.drop.earliest_ms, idle.probes_sent),
                    (drop, sent),
                    "{ms} ms"
                );
            }
        }
    }

    #[test]
    fn a_late_timer_meets_the_user_timeout_one_probe_sooner() {
        // On time, the expiry at 70 s misses 70.5 s, and the next is at 80 s.
        // Late by the 4 s that a timer of 60 s can be, it does not.
        let idle = idle(settings(60, 10, 3), timeout(70_500), Hz::new(250));
        assert_eq!(idle.drop.earliest_ms, 70_496);
        assert_eq!(idle.probes_sent, 2);
        assert!(idle.drop.latest_ms > 80_000);
    }

    #[test]
    fn a_long_intvl_sets_the_refresh_and_the_latest_first_probe() {
        assert_eq!(idle(settings(30, 75, 9), None, None).refresh_s, 75);
        assert_eq!(idle(settings(75, 30, 9), None, None).refresh_s, 75);
        let drop = idle(settings(2, 5, 2), None, Hz::new(250)).drop;
        assert_eq!(drop.earliest_ms, 12_000);
        assert!(drop.latest_ms > 15_000, "after an answered probe: 3 intvl");
    }

    #[test]
    fn the_timeline_lists_each_probe() {
        let events = timeline(settings(60, 10, 3), None, Hz::new(250));
        let at: Vec<u64> = events.iter().map(|e| e.at.earliest_ms / 1000).collect();
        assert_eq!(at, [60, 70, 80, 90]);
    }

    #[test]
    fn the_extremes_do_not_overflow() {
        let most = settings(2_147_483, 2_147_483, 255);
        let drop = idle(most, None, Hz::new(250)).drop;
        assert_eq!(drop.earliest_ms, 2_147_483_000 * 256);
        let many = idle(settings(1, 1, 1), timeout(2_147_483_647), Hz::new(1000));
        assert!(many.drop.earliest_ms >= 2_147_483_646);
    }

    #[test]
    fn an_intvl_longer_than_the_wheel_is_cut() {
        let longest = settings(1, 2_147_483, 1);
        let on = |hz| idle(longest, None, Hz::new(hz)).drop.earliest_ms;
        assert_eq!(on(250), 2_147_484_000);
        assert_eq!(on(1000), 1000 + (62 << 24));
    }
}
