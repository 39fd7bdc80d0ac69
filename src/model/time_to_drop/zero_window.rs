//! A closed window: data to send, and a peer that takes none and falls silent.
//!
//! Keepalive rests, because there is something to send, and `tcp_probe_timer`
//! decides. The persist timer starts at the retransmission timeout, 200 ms at
//! least, and doubles after each window probe up to `tcp_rto_max_ms`
//! (`tcp_probe0_base`, `tcp_probe0_when`, `tcp_send_probe0`). At each expiry the
//! connection is dropped if
//! - `tcp_retries2` probes are unanswered, or
//! - the socket's user timeout has passed since the first expiry after the
//!   window closed. The last timer is cut to end there
//!   (`tcp_clamp_probe0_to_user_timeout`).
//!
//! An answer that leaves the window closed sets the count of probes back, and
//! neither the doubling nor the user timeout's clock. So while a window stays
//! closed, the probes to a peer that lives come up to `tcp_rto_max_ms` apart,
//! and when it then falls silent the drop comes later; and a user timeout drops
//! even a peer that answers. So can `tcp_retries2` 0 or 1: a Linux peer answers
//! one window probe in 500 ms (`tcp_invalid_ratelimit`), and the first two come
//! sooner.

use serde::Serialize;

use super::backoff::Backoff;
use super::limits::RTO_MIN_MS;
use super::{Conditions, DecidedBy, Event, EventKind};
use crate::model::span::{Span, as_seconds};
use crate::model::wheel::{self, lateness_ms};

/// What happens to a connection whose window has just closed when the peer
/// falls silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ZeroWindow {
    /// Window probes before the drop, if every timer is on time.
    pub window_probes: u64,
    /// What ends it.
    pub decided_by: DecidedBy,
    /// When it is dropped.
    #[serde(flatten, serialize_with = "Span::as_drop")]
    pub drop: Span,
    /// The latest drop where the window had been closed for long, and the
    /// timer had doubled as often as it can.
    #[serde(rename = "drop_latest_if_long_closed_s", serialize_with = "as_seconds")]
    pub latest_if_long_closed_ms: u64,
}

/// The time to drop of a connection with a closed window, counted from the last
/// segment that was received.
pub fn zero_window(conditions: &Conditions) -> ZeroWindow {
    let (window_probes, decided_by, drop) = end(conditions);
    ZeroWindow {
        window_probes,
        decided_by,
        drop,
        latest_if_long_closed_ms: long_closed(conditions, 0).latest_ms,
    }
}

/// The drop where the window had been closed for `closed_ms` or more when the
/// peer fell silent, and the peer had answered: the timer may have doubled as
/// often as it can, and the user timeout's clock runs already.
pub(crate) fn long_closed(conditions: &Conditions, closed_ms: u64) -> Span {
    let retries = u64::from(conditions.limits.retries2());
    let by_count = Span {
        earliest_ms: by_count(conditions).earliest_ms,
        latest_ms: (retries + 1) * timer(conditions).runs(retries).latest_ms,
    };
    at_user_timeout(conditions).map_or(by_count, |(_, drop)| {
        let earliest_ms = drop.earliest_ms.saturating_sub(closed_ms);
        by_count.or_sooner(Span {
            earliest_ms,
            ..drop
        })
    })
}

/// The time left, where the next expiry comes at `expiry`, so many window probes
/// are unanswered, and the timer has doubled so often.
pub(super) fn left(conditions: &Conditions, expiry: Span, unanswered: u8, doublings: u64) -> Span {
    let timer = timer(conditions);
    let retries = conditions.limits.retries2();
    let most = doublings.max(retries.into());
    let more = u64::from(retries.saturating_sub(unanswered));
    let by_count = (1..=more)
        .map(|n| timer.runs((doublings + n).min(most)))
        .fold(expiry, Span::then);
    let Some(timeout) = conditions.user_timeout else {
        return by_count;
    };
    // Its clock has run since the first expiry, once for each doubling; or
    // longer, if it has doubled as often as it can.
    let passed = (1..=doublings)
        .map(|n| timer.runs(n))
        .fold(Span::START, Span::then);
    let limit = wheel::limit_in_ticks(timeout.milliseconds().into(), conditions.hz);
    let at_least_ms = match doublings < retries.into() {
        true => limit.earliest_ms.saturating_sub(passed.latest_ms),
        false => 0,
    };
    let at_most_ms = limit.latest_ms.saturating_sub(passed.earliest_ms);
    by_count.or_sooner(Span {
        earliest_ms: expiry.earliest_ms + at_least_ms,
        latest_ms: expiry.latest_ms + at_most_ms + lateness_ms(at_most_ms, conditions.hz),
    })
}

/// How long the timer that has doubled so often runs.
pub(super) fn runs(conditions: &Conditions, doublings: u64) -> Span {
    timer(conditions).runs(doublings)
}

/// Each window probe and the drop, in order.
pub(super) fn timeline(conditions: &Conditions) -> Vec<Event> {
    let (probes, _, drop) = end(conditions);
    let probe = |(number, at)| Event::new(at, EventKind::WindowProbe { number });
    (1..=probes)
        .zip(timer(conditions).expiries(0))
        .map(probe)
        .chain([Event::new(drop, EventKind::Drop)])
        .collect()
}

/// The probes if every timer is on time, what decides, and the drop.
fn end(conditions: &Conditions) -> (u64, DecidedBy, Span) {
    let retries = u64::from(conditions.limits.retries2());
    let by_count = by_count(conditions);
    match at_user_timeout(conditions) {
        Some((probes, drop)) if drop.earliest_ms < by_count.earliest_ms => {
            (probes, DecidedBy::UserTimeout, drop.or_sooner(by_count))
        }
        Some((_, drop)) => (retries, DecidedBy::Retries2, drop.or_sooner(by_count)),
        None => (retries, DecidedBy::Retries2, by_count),
    }
}

/// The probes before the user timeout, and the drop. The first expiry starts
/// its clock, and sends the first probe.
fn at_user_timeout(conditions: &Conditions) -> Option<(u64, Span)> {
    let hz = conditions.hz;
    let limit = wheel::limit_in_ticks(conditions.user_timeout?.milliseconds().into(), hz);
    // `TCP_TIMEOUT_MIN`: the last timer runs for two ticks at least.
    let least_ms = 2 * wheel::limit_in_ticks(1, hz).latest_ms;
    let limit = Span {
        latest_ms: limit.latest_ms.max(least_ms),
        ..limit
    };
    let timer = timer(conditions);
    let (more, drop) = timer.cut_at(limit, 1);
    Some((more + 1, timer.runs(0).then(drop)))
}

/// The drop after `tcp_retries2` unanswered probes.
fn by_count(conditions: &Conditions) -> Span {
    let timer = timer(conditions);
    (0..=u64::from(conditions.limits.retries2()))
        .map(|doublings| timer.runs(doublings))
        .fold(Span::START, Span::then)
}

/// The persist timer: the retransmission timeout, 200 ms at least.
fn timer(conditions: &Conditions) -> Backoff<'_> {
    let rto = conditions.rto();
    let base = Span {
        earliest_ms: rto.earliest_ms.max(RTO_MIN_MS),
        latest_ms: rto.latest_ms.max(RTO_MIN_MS),
    };
    Backoff { base, conditions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time_to_drop::tests::with;

    #[test]
    fn retries2_probes_and_one_more_timer() {
        // 204 ms doubled: 0.204 + 0.408 + 0.816 + 1.632 s.
        let three = zero_window(&with(3, None));
        assert_eq!(three.drop.earliest_ms, 3060);
        assert_eq!(three.window_probes, 3);
        assert_eq!(three.decided_by, DecidedBy::Retries2);
        assert!(three.latest_if_long_closed_ms >= 4 * 1632);
        assert_eq!(zero_window(&with(0, None)).drop.earliest_ms, 204);
    }

    #[test]
    fn what_comes_first_decides() {
        let by_timeout = zero_window(&with(15, Some(2000)));
        assert_eq!(by_timeout.decided_by, DecidedBy::UserTimeout);
        assert_eq!(by_timeout.drop.earliest_ms, 204 + 1996);
        assert!(by_timeout.drop.latest_ms < 2600);
        let by_count = zero_window(&with(2, Some(60_000)));
        assert_eq!(by_count.decided_by, DecidedBy::Retries2);
        assert_eq!(by_count.drop, zero_window(&with(2, None)).drop);
    }

    #[test]
    fn the_default_takes_a_quarter_of_an_hour() {
        let drop = zero_window(&with(15, None)).drop;
        assert_eq!(drop.earliest_ms, 204 * 1023 + 6 * 120_000);
    }
}
