//! Data in flight: sent, and not acknowledged by a peer that is silent.
//!
//! Keepalive rests (`tcp_keepalive_timer`: "alive without keepalive"), and
//! `tcp_retransmit_timer` decides:
//!
//! 1. A loss probe may come first and sends the last segment again
//!    (`tcp_send_loss_probe`); then the retransmission timer starts anew. So the
//!    first retransmission comes one to two timeouts after the data.
//! 2. From the first retransmission on the time counts
//!    (`tcp_retransmit_skb` sets `retrans_stamp`). The timeout doubles each time,
//!    up to `tcp_rto_max_ms`.
//! 3. At each expiry the kernel compares the time that has passed with a limit
//!    (`retransmits_timed_out`). Without a user timeout the limit is
//!    [`TcpLimits::model_timeout`](super::TcpLimits::model_timeout), which is
//!    not the sum of the connection's own timeouts. With one it is the user
//!    timeout, and the last timer is cut to end there
//!    (`tcp_clamp_rto_to_user_timeout`).
//!
//! All this is for a connection with no retransmission outstanding when the peer
//! falls silent. In the midst of a recovery the time counts from that recovery's
//! first retransmission, and the drop can come with the next timer. With
//! `tcp_thin_linear_timeouts` the first six timeouts of a thin stream do not
//! double. And where the peer has closed its window on data in flight, as a
//! receiver without memory does, the retransmissions become window probes that
//! end after twice `tcp_rto_max_ms`, or at the user timeout
//! (`tcp_rtx_probe0_timed_out`).

use serde::Serialize;

use super::backoff::Backoff;
use super::{Conditions, DecidedBy, Event, EventKind, at_expiry_past};
use crate::model::duration::millis;
use crate::model::span::{Span, as_seconds};
use crate::model::wheel;

/// What happens to a connection with data in flight to a silent peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// The retransmission timeout before any backoff, at the least.
    #[serde(rename = "rto_s", serialize_with = "as_seconds")]
    pub rto_ms: u64,
    /// Retransmissions before the drop, if every timer is on time, and without
    /// a loss probe.
    pub retransmissions: u64,
    /// What ends it.
    pub decided_by: DecidedBy,
    /// When it is dropped.
    #[serde(flatten, serialize_with = "Span::as_drop")]
    pub drop: Span,
}

/// The time to drop of a connection with data in flight, counted from the
/// sending of the data, or from the last acknowledgement of data if that was
/// later.
///
/// ```
/// use keepalivectl::model::Hz;
/// use keepalivectl::model::time_to_drop::{Conditions, TcpLimits, in_flight};
/// let idle_lan = Conditions::next_door(TcpLimits::KERNEL_DEFAULT, Hz::new(250));
/// // "924.6 seconds" in the kernel's documentation is where it can begin.
/// assert!(in_flight(&idle_lan).drop.earliest_ms > 924_600);
/// ```
pub fn in_flight(conditions: &Conditions) -> InFlight {
    let (more, drop) = end(conditions);
    InFlight {
        rto_ms: conditions.rto().earliest_ms,
        retransmissions: more + 1,
        decided_by: match conditions.user_timeout {
            Some(_) => DecidedBy::UserTimeout,
            None => DecidedBy::Retries2,
        },
        drop,
    }
}

/// Each retransmission and the drop, in order.
pub(super) fn timeline(conditions: &Conditions) -> Vec<Event> {
    let (more, drop) = end(conditions);
    let first = first_retransmission(conditions);
    let loss_probe = loss_probe(conditions);
    let again = |(number, at): (u64, Span)| {
        Event::new(first.then(at), EventKind::Retransmission { number })
    };
    [Event::new(loss_probe, EventKind::LossProbe)]
        .into_iter()
        .chain([again((1, Span::START))])
        .chain((2..more + 2).zip(timer(conditions).expiries(1)).map(again))
        .chain([Event::new(drop, EventKind::Drop)])
        .collect()
}

/// Two round trips after the last of several segments; with a single one, when
/// the retransmission timer would have run out (`tcp_schedule_loss_probe`).
fn loss_probe(conditions: &Conditions) -> Span {
    const TIMEOUT_MIN_MS: u64 = 2;
    let round_trips = conditions.rtt.unwrap_or_default().saturating_mul(2);
    let rto = conditions.rto();
    Span {
        earliest_ms: millis(round_trips)
            .saturating_add(TIMEOUT_MIN_MS)
            .min(rto.earliest_ms),
        latest_ms: wheel::fires(rto.latest_ms, conditions.hz).latest_ms,
    }
}

/// After one timeout, or after two with a loss probe at the end of the first.
fn first_retransmission(conditions: &Conditions) -> Span {
    let rto = conditions.rto();
    let late_ms = wheel::fires(rto.latest_ms, conditions.hz).latest_ms;
    Span {
        earliest_ms: rto.earliest_ms,
        latest_ms: loss_probe(conditions).latest_ms + late_ms,
    }
}

/// The retransmissions after the first, if every timer is on time, and the
/// drop.
fn end(conditions: &Conditions) -> (u64, Span) {
    let (more, drop) = after_first(conditions);
    (more, first_retransmission(conditions).then(drop))
}

/// The same, counted from the first retransmission.
fn after_first(conditions: &Conditions) -> (u64, Span) {
    let timer = timer(conditions);
    let Some(timeout) = conditions.user_timeout else {
        let limit = conditions.limits.model_timeout(conditions.hz);
        return at_expiry_past(in_milliseconds(limit), timer.expiries(1));
    };
    let timeout_ms = timeout.milliseconds().into();
    let limit = Span {
        latest_ms: wheel::limit_in_ticks(timeout_ms, conditions.hz).latest_ms,
        ..in_milliseconds(Span::exactly(timeout_ms))
    };
    timer.cut_at(limit, 1)
}

/// The time left, where the next expiry comes at `expiry` and so many
/// retransmissions were sent.
pub(super) fn left(conditions: &Conditions, expiry: Span, retransmissions: u8) -> Span {
    let (_, drop) = after_first(conditions);
    let Some(more) = retransmissions.checked_sub(1) else {
        // What runs may be the loss probe's timer, and one more comes after it.
        let rto_ms = wheel::fires(conditions.rto().latest_ms, conditions.hz).latest_ms;
        let first = Span {
            latest_ms: expiry.latest_ms + rto_ms,
            ..expiry
        };
        return first.then(drop);
    };
    let expiries = timer(conditions).expiries(1);
    // How late the ones before it were is not known.
    let due = expiries
        .take(usize::from(more) + 1)
        .last()
        .unwrap_or(Span::START);
    Span {
        earliest_ms: expiry.earliest_ms + drop.earliest_ms.saturating_sub(due.latest_ms),
        latest_ms: expiry.latest_ms + drop.latest_ms.saturating_sub(due.earliest_ms),
    }
}

/// A limit that the kernel compares in whole milliseconds (`tcp_time_stamp`).
fn in_milliseconds(limit: Span) -> Span {
    Span {
        earliest_ms: limit.earliest_ms.saturating_sub(1),
        latest_ms: limit.latest_ms + 1,
    }
}

/// The retransmission timer, which has doubled once at the first
/// retransmission.
fn timer(conditions: &Conditions) -> Backoff<'_> {
    Backoff {
        base: conditions.rto(),
        conditions,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Hz;
    use crate::model::time_to_drop::tests::with;

    #[test]
    fn the_drop_is_the_first_expiry_past_the_model_timeout() {
        // With a timeout of 204 ms, expiries after the first retransmission
        // are at 0.408, 1.224, 2.856, 6.12 and 12.648 s; the limit is 12.6 s.
        let five = in_flight(&with(5, None));
        assert_eq!(five.drop.earliest_ms, 204 + 12_648);
        assert_eq!(five.retransmissions, 5);
        let default = in_flight(&with(15, None));
        assert!((924_600..=933_000).contains(&default.drop.earliest_ms));
        assert!(default.drop.latest_ms < 1_060_000);
    }

    #[test]
    fn a_far_peer_changes_the_expiry_and_not_the_limit() {
        let conditions = Conditions {
            rtt: Some(Duration::from_millis(100)),
            hz: Hz::new(1000),
            ..with(5, None)
        };
        // 0.3 s: expiries at 0.6, 1.8, 4.2, 9 and 18.6 s.
        let drop = in_flight(&conditions).drop;
        assert_eq!(drop.earliest_ms, 300 + 18_600);
    }

    #[test]
    fn a_user_timeout_ends_it_whatever_retries2_says() {
        for retries2 in [0, 5, 15, 255] {
            let end = in_flight(&with(retries2, Some(5000)));
            assert_eq!(end.drop.earliest_ms, 204 + 4999);
            assert!(end.drop.latest_ms < 6200, "{end:?}");
            assert_eq!(end.decided_by, DecidedBy::UserTimeout);
        }
    }

    #[test]
    fn without_retries_the_second_expiry_drops() {
        let end = in_flight(&with(0, None));
        assert_eq!(end.drop.earliest_ms, 204 + 408);
        assert_eq!(end.retransmissions, 1);
    }

    #[test]
    fn the_timeline_has_each_retransmission() {
        let events = timeline(&with(5, None));
        let count = |kind: fn(&EventKind) -> bool| events.iter().filter(|e| kind(&e.kind)).count();
        assert_eq!(count(|k| matches!(k, EventKind::LossProbe)), 1);
        assert_eq!(count(|k| matches!(k, EventKind::Retransmission { .. })), 5);
    }
}
