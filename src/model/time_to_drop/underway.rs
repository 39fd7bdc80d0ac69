//! The time that is left until the drop, from a timer that runs already.
//!
//! The other files of this room count from the moment at which the peer falls
//! silent. A live socket is somewhere on that way: its timer was armed some time
//! ago, maybe under other settings, and some probes may be unanswered. What the
//! kernel tells of it (`inet_sk_diag_fill`, TCP_INFO) is enough to go on from
//! there, as if nothing were received any more.

use std::time::Duration;

use super::{Conditions, at_expiry_past, idle, in_flight, zero_window};
use crate::model::duration::millis;
use crate::model::settings::{Settings, Values};
use crate::model::span::Span;
use crate::model::wheel::{self, Hz, lateness_ms};

/// What a socket waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// Nothing.
    Off,
    /// An acknowledgement: retransmissions so far.
    Retransmission(u8),
    /// The next keepalive probe: probes unanswered so far.
    Keepalive(u8),
    /// The peer's window: window probes unanswered so far.
    WindowProbe(u8),
    /// Something that has to do with none of these.
    Other,
}

/// A socket's timer, and what else the time to its drop depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Underway {
    /// What it waits for.
    pub timer: Timer,
    /// Until when, from now on, in milliseconds.
    pub expires_ms: u64,
    /// The time since the last segment was received, in milliseconds.
    pub silent_ms: u64,
    /// The retransmission timeout, as TCP_INFO has it: with its backoff.
    pub rto: Duration,
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// Its mean deviation.
    pub deviation: Duration,
    /// How often the timer has doubled.
    pub doublings: u8,
}

impl Underway {
    /// Whether the keepalive timer runs for longer than any that these settings
    /// arm: it was armed under others, and follows only when it expires.
    ///
    /// ```
    /// use keepalivectl::model::time_to_drop::{Timer, is_stale};
    /// assert!(is_stale(Timer::Keepalive(0), 7_000_000, 60));
    /// assert!(!is_stale(Timer::Keepalive(0), 60_000, 60));
    /// ```
    pub fn is_stale(&self, settings: Settings) -> bool {
        let refresh_s = settings.time().max(settings.intvl());
        is_stale(self.timer, self.expires_ms, refresh_s.into())
    }

    /// The time left until a silent peer is dropped; none if nothing would end
    /// the connection: keepalive is off and nothing waits for the peer.
    pub fn left(&self, settings: Settings, conditions: &Conditions) -> Option<Span> {
        match self.timer {
            Timer::Off | Timer::Other => None,
            Timer::Keepalive(unanswered) => Some(self.idle_left(settings, conditions, unanswered)),
            Timer::Retransmission(count) => Some(self.in_flight_left(conditions, count)),
            Timer::WindowProbe(unanswered) => {
                let conditions = Conditions {
                    rto: Some(self.rto),
                    ..*conditions
                };
                let doublings = self.doublings.into();
                let armed_for = zero_window::runs(&conditions, doublings);
                let expiry = self.expiry(armed_for.latest_ms, conditions.hz);
                Some(zero_window::left(
                    &conditions,
                    expiry,
                    unanswered,
                    doublings,
                ))
            }
        }
    }

    /// When the next keepalive probe is sent, or the connection dropped in its
    /// stead. An expiry before `time` has passed arms the timer for the rest of
    /// it.
    pub fn next_probe(&self, settings: Settings, hz: Option<Hz>) -> Span {
        // A timer that is stale no more, because less than `time` is left of it,
        // is taken for a new one, and may be later than that.
        let time_left_ms = ms(settings.time()).saturating_sub(self.silent_ms);
        let refresh_ms = ms(settings.time().max(settings.intvl()));
        let armed_for_ms = match self.is_stale(settings) {
            // Under which settings is not known: the kernel's own, at the most,
            // unless it is seen to be more.
            true => self
                .expires_ms
                .max(Values::KERNEL_DEFAULT.time.unsigned_abs() * 1000),
            false => refresh_ms,
        };
        let expiry = self.expiry(armed_for_ms, hz);
        let rest_ms = time_left_ms.saturating_sub(self.expires_ms);
        let after_rest_ms = match rest_ms {
            0 => 0,
            rest_ms => time_left_ms + tick_ms(hz) + lateness_ms(rest_ms, hz),
        };
        Span {
            earliest_ms: expiry
                .earliest_ms
                .max(time_left_ms.saturating_sub(tick_ms(hz))),
            latest_ms: expiry.latest_ms.max(after_rest_ms),
        }
    }

    fn idle_left(&self, settings: Settings, conditions: &Conditions, unanswered: u8) -> Span {
        let hz = conditions.hz;
        let intvl = idle::intvl(settings, hz);
        let first = self.next_probe(settings, hz);
        let Some(timeout) = conditions.user_timeout else {
            return (unanswered..settings.probes()).fold(first, |at, _| at.then(intvl));
        };
        let limit = wheel::limit_in_ticks(timeout.milliseconds().into(), hz);
        let from_now = Span {
            earliest_ms: limit
                .earliest_ms
                .saturating_sub(self.silent_ms + tick_ms(hz)),
            latest_ms: limit.latest_ms.saturating_sub(self.silent_ms),
        };
        // None of these can be the drop. There may be millions.
        let too_soon = from_now.earliest_ms.saturating_sub(first.latest_ms) / intvl.latest_ms;
        let too_soon = too_soon.saturating_sub(1);
        let start = first.then(Span {
            earliest_ms: intvl.earliest_ms.saturating_mul(too_soon),
            latest_ms: intvl.latest_ms.saturating_mul(too_soon),
        });
        let expiries = std::iter::successors(Some(start), |before| Some(before.then(intvl)));
        // One probe at least must be out.
        let none_out = unanswered == 0 && too_soon == 0;
        at_expiry_past(from_now, expiries.skip(none_out.into())).1
    }

    fn in_flight_left(&self, conditions: &Conditions, retransmissions: u8) -> Span {
        let expiry = self.expiry(millis(self.rto), conditions.hz);
        let from = |rto| {
            let conditions = Conditions {
                rto: Some(rto),
                ..*conditions
            };
            in_flight::left(&conditions, expiry, retransmissions)
        };
        let before_backoff = self.rto / 2_u32.saturating_pow(self.doublings.into());
        if millis(self.rto) < conditions.limits.rto_max_ms().into() || self.doublings == 0 {
            return from(before_backoff);
        }
        // It has doubled as far as it can, and what it was before has to be told
        // from the round trips (`tcp_set_rto`): the more it was, the more time
        // has passed.
        let rto_min = Duration::from_micros(conditions.limits.rto_min_us().into());
        let least = (self.rtt + rto_min).max(before_backoff);
        let most = least
            .max((self.rtt + self.deviation * 4) * 2)
            .max(least * 2);
        Span {
            earliest_ms: from(most).earliest_ms,
            latest_ms: from(least).latest_ms,
        }
    }

    /// The expiry of the timer that runs, which was armed for so long at the
    /// most. The kernel tells what is left of it in whole ticks.
    fn expiry(&self, armed_for_ms: u64, hz: Option<Hz>) -> Span {
        let late_ms = lateness_ms(armed_for_ms.max(self.expires_ms), hz);
        Span {
            earliest_ms: self.expires_ms.saturating_sub(tick_ms(hz)),
            latest_ms: self.expires_ms.saturating_add(tick_ms(hz) + late_ms),
        }
    }
}

/// The rule of [`Underway::is_stale`], where nothing but the timer and the
/// refresh, max(time, intvl), is known.
pub fn is_stale(timer: Timer, expires_ms: u64, refresh_s: i64) -> bool {
    let refresh_ms = u64::try_from(refresh_s)
        .unwrap_or_default()
        .saturating_mul(1000);
    matches!(timer, Timer::Keepalive(_)) && expires_ms > refresh_ms
}

fn ms(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

fn tick_ms(hz: Option<Hz>) -> u64 {
    hz.map_or(Hz::LONGEST_TICK_MS, |hz| hz.ms(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::time_to_drop::tests::with;

    fn settings(time: i64, intvl: i64, probes: i64) -> Settings {
        Settings::new(time, intvl, probes).unwrap()
    }

    fn underway(timer: Timer, expires_ms: u64, silent_ms: u64) -> Underway {
        Underway {
            timer,
            expires_ms,
            silent_ms,
            rto: Duration::from_millis(204),
            rtt: Duration::from_micros(50),
            deviation: Duration::from_micros(20),
            doublings: 0,
        }
    }

    fn left(timer: Timer, expires_ms: u64, silent_ms: u64, s: Settings) -> Option<Span> {
        underway(timer, expires_ms, silent_ms).left(s, &with(15, None))
    }

    #[test]
    fn what_waits_for_nothing_is_never_dropped() {
        for timer in [Timer::Off, Timer::Other] {
            assert_eq!(left(timer, 0, 9_000_000, settings(60, 10, 5)), None);
        }
    }

    #[test]
    fn a_fresh_timer_has_the_whole_time_to_drop() {
        let all = left(Timer::Keepalive(0), 60_000, 0, settings(60, 10, 5)).unwrap();
        assert_eq!(all.earliest_ms, 110_000 - 4);
        let idle = idle::idle(settings(60, 10, 5), None, Hz::new(250)).drop;
        assert!(all.latest_ms >= idle.latest_ms && all.latest_ms <= idle.latest_ms + 4);
    }

    #[test]
    fn unanswered_probes_are_counted() {
        let some = left(Timer::Keepalive(3), 4000, 86_000, settings(60, 10, 5)).unwrap();
        assert_eq!(some.earliest_ms, 24_000 - 4);
        // More than are allowed by now: the next expiry drops.
        let many = left(Timer::Keepalive(7), 4000, 86_000, settings(60, 10, 5)).unwrap();
        assert_eq!(many.earliest_ms, 4000 - 4);
    }

    #[test]
    fn an_expiry_before_time_has_passed_sends_no_probe() {
        // Armed 50 s ago, and a segment came 10 s ago.
        let soon = underway(Timer::Keepalive(0), 10_000, 10_000);
        let probe = soon.next_probe(settings(60, 10, 5), Hz::new(250));
        assert_eq!(probe.earliest_ms, 50_000 - 4);
        assert!(probe.latest_ms < 50_000 + 4 + 2048 + 1, "{probe:?}");
    }

    #[test]
    fn an_old_timer_runs_to_its_end() {
        let stale = underway(Timer::Keepalive(0), 7_000_000, 200_000);
        assert!(stale.is_stale(settings(60, 10, 5)));
        let left = stale.left(settings(60, 10, 5), &with(15, None)).unwrap();
        assert_eq!(left.earliest_ms, 7_050_000 - 4);
        // Armed for two hours, it can be 131 s late.
        assert!((7_050_000 + 131_072..7_200_000).contains(&left.latest_ms));
        assert!(!underway(Timer::WindowProbe(0), 7_000_000, 0).is_stale(settings(60, 10, 5)));
    }

    #[test]
    fn a_user_timeout_counts_from_the_last_segment() {
        let conditions = with(15, Some(65_000));
        let left = |unanswered, expires_ms, silent_ms| {
            let underway = underway(Timer::Keepalive(unanswered), expires_ms, silent_ms);
            underway
                .left(settings(60, 10, 5), &conditions)
                .unwrap()
                .earliest_ms
        };
        assert_eq!(left(0, 60_000, 0), 70_000 - 4);
        assert_eq!(left(1, 4000, 66_000), 4000 - 4);
        // Without a probe out, the first expiry only sends one.
        assert_eq!(left(0, 4000, 80_000), 14_000 - 4);
    }

    #[test]
    fn data_in_flight_goes_on_from_its_timer() {
        let conditions = with(5, None);
        let fresh = underway(Timer::Retransmission(0), 204, 0);
        let left = fresh.left(settings(60, 10, 5), &conditions).unwrap();
        let whole = in_flight::in_flight(&conditions).drop;
        assert!(left.earliest_ms <= whole.earliest_ms && left.latest_ms >= whole.latest_ms);
        assert!(
            left.earliest_ms + 10 > whole.earliest_ms,
            "{left:?} {whole:?}"
        );
        // After two retransmissions: 0.816 s run, of 12.648 s in all after the
        // first one.
        let later = Underway {
            rto: Duration::from_millis(816),
            doublings: 2,
            ..underway(Timer::Retransmission(2), 800, 0)
        };
        let left = later.left(settings(60, 10, 5), &conditions).unwrap();
        let nominal = 800 + 12_648 - 1224;
        assert!(left.contains(nominal), "{left:?}");
        assert!(left.earliest_ms + 300 > nominal, "{left:?}");
    }

    #[test]
    fn each_retransmission_comes_nearer_to_the_drop() {
        // A base of 204 ms: 0.408 s, 0.816 s … 104.448 s, then 120 s each.
        let runs_ms = |doublings: u32| (204_u64 << doublings).min(120_000);
        let drop_ms: u64 = (1..=15).map(runs_ms).sum();
        for count in 1..=15_u8 {
            let passed_ms: u64 = (1..=u32::from(count)).map(runs_ms).sum();
            let now = Underway {
                rto: Duration::from_millis(runs_ms(count.into())),
                doublings: count,
                ..underway(Timer::Retransmission(count), 50, 0)
            };
            let left = now.left(settings(60, 10, 5), &with(15, None)).unwrap();
            let real_ms = 50 + drop_ms - passed_ms;
            assert!(left.contains(real_ms), "{count}: {real_ms} {left:?}");
            assert!(
                left.earliest_ms + 250_000 > real_ms,
                "{count}: {real_ms} {left:?}"
            );
        }
    }

    #[test]
    fn a_closed_window_goes_on_from_its_timer() {
        let later = Underway {
            doublings: 2,
            ..underway(Timer::WindowProbe(2), 816, 0)
        };
        let left = later.left(settings(60, 10, 5), &with(3, None)).unwrap();
        assert_eq!(left.earliest_ms, 816 - 4 + 1632);
        // The user timeout's clock has run for 0.408 and 0.816 s by then.
        let timed = later
            .left(settings(60, 10, 5), &with(15, Some(60_000)))
            .unwrap();
        let nominal = 816 + 60_000 - 1224;
        assert!(timed.contains(nominal), "{timed:?}");
        assert!(
            timed.earliest_ms + 400 > nominal && timed.latest_ms < nominal + 8000,
            "{timed:?}"
        );
        // The peer has answered meanwhile: all probes are still to come.
        let answered = Underway {
            doublings: 2,
            ..underway(Timer::WindowProbe(0), 816, 0)
        };
        let left = answered.left(settings(60, 10, 5), &with(3, None)).unwrap();
        assert_eq!(left.earliest_ms, 816 - 4 + 1632 * 3);
    }

    proptest! {
        #[test]
        fn no_timer_overflows(
            timer in prop_oneof![
                any::<u8>().prop_map(Timer::Keepalive),
                any::<u8>().prop_map(Timer::Retransmission),
                any::<u8>().prop_map(Timer::WindowProbe),
            ],
            expires_ms in 0..=u64::from(u32::MAX),
            silent_ms in 0..=u64::from(u32::MAX),
            rto in any::<u32>(),
            doublings in any::<u8>(),
            user_timeout in proptest::option::of(1..2_147_483_647_u64),
        ) {
            let underway = Underway {
                timer,
                expires_ms,
                silent_ms,
                rto: Duration::from_micros(rto.into()),
                rtt: Duration::from_micros(rto.into()),
                deviation: Duration::from_micros(rto.into()),
                doublings,
            };
            let left = underway.left(settings(60, 1, 5), &with(15, user_timeout)).unwrap();
            prop_assert!(left.earliest_ms <= left.latest_ms, "{:?}", left);
        }
    }
}
