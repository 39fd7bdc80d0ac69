//! How long the kernel takes to drop an idle connection whose peer is silent.
//!
//! The rule is `tcp_keepalive_timer` (`net/ipv4/tcp_timer.c`). The first timer
//! runs for `time`, each further one for `intvl`. At each expiry the kernel
//! drops the connection if `probes` probes went unanswered, or, with a user
//! timeout, if the silence has reached it and one probe at least is out.
//! Otherwise it sends a probe.

use std::time::Duration;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::settings::Settings;
use super::wheel::{Hz, lateness_ms};

/// TCP_USER_TIMEOUT of one socket: 1 to 2147483647 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct UserTimeout(u32);

/// A user timeout that no socket can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a user timeout of {0:?} is refused: TCP_USER_TIMEOUT takes 1 to 2147483647 ms")]
pub struct UserTimeoutError(pub Duration);

impl UserTimeout {
    /// The timeout in milliseconds.
    pub fn milliseconds(self) -> u32 {
        self.0
    }
}

impl TryFrom<Duration> for UserTimeout {
    type Error = UserTimeoutError;

    /// # Errors
    /// Zero, a part of a millisecond, or more than an `int` of milliseconds
    /// (`do_tcp_setsockopt`).
    fn try_from(d: Duration) -> Result<UserTimeout, UserTimeoutError> {
        let ms = i32::try_from(d.as_millis()).map_err(|_| UserTimeoutError(d))?;
        if ms < 1 || !d.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(UserTimeoutError(d));
        }
        Ok(UserTimeout(ms.unsigned_abs()))
    }
}

/// What happens to an idle connection whose peer is silent from second 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Idle {
    /// When the first probe is sent, in seconds.
    pub first_probe_s: u32,
    /// The longest silence of a healthy idle connection, in seconds:
    /// `max(time, intvl)`, because the timer after a probe runs for intvl.
    pub refresh_s: u32,
    /// Probes sent before the drop.
    pub probes_sent: u64,
    /// The drop with every timer on time, in seconds.
    pub drop_s: u64,
    /// The drop with every timer as late as it can be.
    #[serde(rename = "drop_latest_s", serialize_with = "as_seconds")]
    pub drop_latest_ms: u64,
}

/// Serializes milliseconds as seconds with a fraction.
pub(crate) fn as_seconds<S: Serializer>(ms: &u64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(*ms as f64 / 1000.0)
}

/// The time to drop of an idle connection.
///
/// Without a user timeout: time + intvl·probes. With a user timeout U: the
/// smallest time + k·intvl ≥ U with k ≥ 1, and `probes` does not count.
/// Lateness is exact for a known tick rate (see [`super::wheel`]).
///
/// ```
/// use keepalivectl::model::{Hz, Settings, time_to_drop};
/// let idle = time_to_drop::idle(Settings::new(7200, 75, 9)?, None, Hz::new(250));
/// assert_eq!(idle.drop_s, 7875);
/// assert_eq!(idle.probes_sent, 9);
/// # Ok::<(), keepalivectl::model::SettingsError>(())
/// ```
pub fn idle(settings: Settings, user_timeout: Option<UserTimeout>, hz: Option<Hz>) -> Idle {
    let time = u64::from(settings.time());
    let intvl = u64::from(settings.intvl());
    let probes_sent = probes_sent(settings, user_timeout);
    let drop_s = time + intvl * probes_sent;
    let late = lateness_ms(time * 1000, hz) + lateness_ms(intvl * 1000, hz) * probes_sent;
    Idle {
        first_probe_s: settings.time(),
        refresh_s: settings.time().max(settings.intvl()),
        probes_sent,
        drop_s,
        drop_latest_ms: drop_s * 1000 + late,
    }
}

fn probes_sent(settings: Settings, user_timeout: Option<UserTimeout>) -> u64 {
    let Some(UserTimeout(limit_ms)) = user_timeout else {
        return settings.probes().into();
    };
    let after_first = u64::from(limit_ms).saturating_sub(u64::from(settings.time()) * 1000);
    after_first
        .div_ceil(u64::from(settings.intvl()) * 1000)
        .max(1)
}

/// The longest silence, in milliseconds, of a healthy idle connection that
/// loses one probe, with both timers as late as they can be on any kernel: a
/// path that forgets flows only after more than this keeps the connection.
///
/// The lost probe comes `max(time, intvl)` after the last segment, and the
/// next one intvl later.
pub fn survives_idle_ms(settings: Settings) -> u64 {
    let refresh = u64::from(settings.time().max(settings.intvl())) * 1000;
    let intvl = u64::from(settings.intvl()) * 1000;
    refresh + lateness_ms(refresh, None) + intvl + lateness_ms(intvl, None)
}

/// One event of an idle connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Seconds after the last segment, with every timer on time.
    pub at_s: u64,
    /// The same, with every timer so far as late as it can be.
    #[serde(rename = "latest_s", serialize_with = "as_seconds")]
    pub latest_ms: u64,
    /// What happens.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happens at one expiry of the keepalive timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum EventKind {
    /// A probe is sent.
    Probe {
        /// 1 for the first.
        number: u64,
    },
    /// The connection is dropped: ETIMEDOUT, and RST to the peer.
    Drop,
}

/// Each probe and the drop, in order. The last event is at [`Idle::drop_s`].
pub fn timeline(
    settings: Settings,
    user_timeout: Option<UserTimeout>,
    hz: Option<Hz>,
) -> impl Iterator<Item = Event> + Clone {
    let time = u64::from(settings.time());
    let intvl = u64::from(settings.intvl());
    let first_late = lateness_ms(time * 1000, hz);
    let each_late = lateness_ms(intvl * 1000, hz);
    let probes = probes_sent(settings, user_timeout);
    (0..=probes).map(move |n| {
        let at_s = time + intvl * n;
        Event {
            at_s,
            latest_ms: at_s * 1000 + first_late + each_late * n,
            kind: if n < probes {
                EventKind::Probe { number: n + 1 }
            } else {
                EventKind::Drop
            },
        }
    })
}

#[cfg(test)]
mod tests {
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
            assert_eq!(idle.drop_s, drop);
            assert_eq!(idle.probes_sent, p as u64);
        }
    }

    #[test]
    fn with_a_user_timeout_probes_does_not_count() {
        for (ms, drop, sent) in [
            (1, 70, 1),
            (60_000, 70, 1),
            (70_000, 70, 1),
            (70_001, 80, 2),
            (85_000, 90, 3),
            (600_000, 600, 54),
        ] {
            for probes in [1, 3, 255] {
                let idle = idle(settings(60, 10, probes), timeout(ms), Hz::new(250));
                assert_eq!((idle.drop_s, idle.probes_sent), (drop, sent), "{ms} ms");
            }
        }
    }

    #[test]
    fn a_long_intvl_sets_the_refresh() {
        assert_eq!(idle(settings(30, 75, 9), None, None).refresh_s, 75);
        assert_eq!(idle(settings(75, 30, 9), None, None).refresh_s, 75);
    }

    #[test]
    fn a_lost_probe_after_a_long_intvl_costs_two_of_them() {
        let late = |s: u64| s * 1000 + lateness_ms(s * 1000, None);
        assert_eq!(survives_idle_ms(settings(240, 30, 6)), late(240) + late(30));
        assert_eq!(survives_idle_ms(settings(30, 75, 9)), late(75) + late(75));
    }

    #[test]
    fn the_timeline_ends_at_the_drop() {
        for ut in [None, timeout(200_000)] {
            let events: Vec<_> = timeline(settings(60, 10, 3), ut, Hz::new(250)).collect();
            let idle = idle(settings(60, 10, 3), ut, Hz::new(250));
            let last = events.last().unwrap();
            assert_eq!(last.kind, EventKind::Drop);
            assert_eq!(last.at_s, idle.drop_s);
            assert_eq!(last.latest_ms, idle.drop_latest_ms);
            assert_eq!(events.len() as u64, idle.probes_sent + 1);
            assert_eq!(events[0].at_s, 60);
        }
    }

    #[test]
    fn the_extremes_do_not_overflow() {
        let most = settings(2_147_483, 2_147_483, 255);
        assert_eq!(idle(most, None, None).drop_s, 2_147_483 * 256);
        let many = idle(settings(1, 1, 1), timeout(2_147_483_647), Hz::new(1000));
        assert_eq!(many.drop_s, 2_147_484);
    }

    #[test]
    fn a_user_timeout_is_an_int_of_milliseconds() {
        for d in [
            Duration::ZERO,
            Duration::from_micros(1500),
            Duration::from_millis(2_147_483_648),
            Duration::MAX,
        ] {
            assert!(UserTimeout::try_from(d).is_err(), "{d:?}");
        }
    }
}
