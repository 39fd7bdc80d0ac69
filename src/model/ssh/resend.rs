//! TCP's retransmission of SSH's own message.
//!
//! Its first timeout is not known beforehand. The kernel makes it from the round
//! trips that it has measured, and those of a session's beginning include the time
//! that the other side took to acknowledge. After one measurement R it is R plus
//! four times R/2 (RFC 6298, 2.2; `tcp_rtt_estimator`), and it shrinks with more
//! of them.

use std::time::Duration;

use crate::model::Span;
use crate::model::duration::millis;
use crate::model::time_to_drop::{Conditions, in_flight};

/// The most by which an acknowledgement is put off (`TCP_DELACK_MAX`).
const DELAYED_ACK: Duration = Duration::from_millis(200);

/// A round trip that few paths exceed, where it is not known.
const FAR_AWAY: Duration = Duration::from_secs(1);

/// The first timeout, in milliseconds, at the least and at the most.
fn first_timeout_ms(conditions: &Conditions) -> (u64, u64) {
    let least = in_flight(conditions).rto_ms;
    let round_trip = conditions
        .rtt
        .map_or(FAR_AWAY, |rtt| rtt.saturating_add(DELAYED_ACK));
    let most = millis(round_trip).saturating_mul(3);
    let most = most.min(conditions.limits.rto_max_ms().into());
    (least, most.max(least))
}

/// The time after which a lost message has been sent again, in milliseconds, at the
/// most.
pub fn resent_ms(conditions: &Conditions) -> u64 {
    let (_, most) = first_timeout_ms(conditions);
    // A timer's lateness is bounded by 8/63.
    most.saturating_add(most.div_ceil(7))
}

/// When the kernel gives up to send a message again, counted from its sending.
pub fn gives_up(conditions: &Conditions) -> Span {
    /// More would not find much earlier or later ends.
    const TRIED: u64 = 4000;
    let (least, most) = first_timeout_ms(conditions);
    let step = ((most - least) / TRIED).max(1);
    let ends = (least..=most)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .map(|rto_ms| {
            let rto = Some(Duration::from_millis(rto_ms));
            in_flight(&Conditions { rto, ..*conditions }).drop
        });
    let on_time = in_flight(conditions).drop;
    ends.fold(on_time, Span::or_around)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Hz, TcpLimits};

    fn conditions(rtt_ms: Option<u64>, retries2: u8) -> Conditions {
        let limits = TcpLimits::new(retries2, 120_000, 200_000).unwrap();
        Conditions {
            rtt: rtt_ms.map(Duration::from_millis),
            ..Conditions::next_door(limits, Hz::new(250))
        }
    }

    #[test]
    fn the_sum_of_the_manual_is_where_it_can_begin() {
        for rtt in [None, Some(1), Some(80)] {
            let end = gives_up(&conditions(rtt, 15));
            // 924.6 s, and one of the longest timeouts more.
            assert!(
                (924_600..931_000).contains(&end.earliest_ms),
                "{rtt:?} {end:?}"
            );
            assert!(
                (1_010_000..1_200_000).contains(&end.latest_ms),
                "{rtt:?} {end:?}"
            );
        }
    }

    #[test]
    fn a_round_trip_says_when_it_is_sent_again() {
        assert_eq!(resent_ms(&conditions(None, 15)), 3000 + 429);
        assert_eq!(resent_ms(&conditions(Some(0), 15)), 600 + 86);
        let far = conditions(Some(u64::MAX), 15);
        assert!(resent_ms(&far) < 140_000 && gives_up(&far).latest_ms < 4_000_000);
    }
}
