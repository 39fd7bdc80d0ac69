//! The kernel's limits of retransmission.

use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::model::duration::{micros, millis};
use crate::model::span::Span;
use crate::model::wheel::Hz;

/// `TCP_RTO_MIN`, in milliseconds: `tcp_model_timeout` counts from it whatever
/// `tcp_rto_min_us` says.
pub(super) const RTO_MIN_MS: u64 = 200;

/// The kernel's values that limit retransmission and window probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TcpLimits {
    retries2: u8,
    rto_max_ms: u32,
    rto_min_us: u32,
}

/// A limit that no kernel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LimitsError {
    /// Outside of what `tcp_rto_max_ms` takes.
    #[error(
        "a longest retransmission timeout of {} is refused: tcp_rto_max_ms takes 1000 to 120000, \
         in whole milliseconds",
        humantime::format_duration(*.0)
    )]
    RtoMax(Duration),
    /// A socket cannot have this timeout.
    #[error(
        "a retransmission timeout of {} is refused: a socket has 1 ms to tcp_rto_max_ms, in whole \
         milliseconds",
        humantime::format_duration(*.0)
    )]
    Rto(Duration),
    /// A shortest retransmission timeout of nothing.
    #[error("a shortest retransmission timeout of 0 is refused: tcp_rto_min_us takes 1 or more")]
    RtoMin,
}

/// Whole milliseconds for `tcp_rto_max_ms`; [`TcpLimits::new`] checks the range.
///
/// # Errors
/// A part of a millisecond, or more than any kernel takes.
pub fn rto_max_ms(time: Duration) -> Result<u32, LimitsError> {
    let whole = time.subsec_nanos().is_multiple_of(1_000_000);
    let ms = u32::try_from(time.as_millis()).ok().filter(|_| whole);
    ms.ok_or(LimitsError::RtoMax(time))
}

impl TcpLimits {
    /// What the kernel starts from: 15 retries, 200 ms to 120 s.
    pub const KERNEL_DEFAULT: TcpLimits = TcpLimits {
        retries2: 15,
        rto_max_ms: 120_000,
        rto_min_us: 200_000,
    };

    /// `retries2`: `tcp_retries2`, 0 to 255. `rto_max_ms`: `tcp_rto_max_ms`, 1000
    /// to 120000; 120000 on kernels before 6.15. `rto_min_us`: `tcp_rto_min_us`,
    /// from 1; 200000 on kernels before 6.11.
    ///
    /// # Errors
    /// A value outside its range.
    pub fn new(retries2: u8, rto_max_ms: u32, rto_min_us: u32) -> Result<TcpLimits, LimitsError> {
        if !(1000..=120_000).contains(&rto_max_ms) {
            return Err(LimitsError::RtoMax(Duration::from_millis(
                rto_max_ms.into(),
            )));
        }
        if rto_min_us == 0 {
            return Err(LimitsError::RtoMin);
        }
        Ok(TcpLimits {
            retries2,
            rto_max_ms,
            rto_min_us,
        })
    }

    /// Refuses a timeout that no socket has.
    ///
    /// # Errors
    /// [`LimitsError::Rto`].
    pub fn check_rto(&self, rto: Duration) -> Result<(), LimitsError> {
        let longest = Duration::from_millis(self.rto_max_ms.into());
        let whole = rto.subsec_nanos().is_multiple_of(1_000_000);
        match whole && !rto.is_zero() && rto <= longest {
            true => Ok(()),
            false => Err(LimitsError::Rto(rto)),
        }
    }

    /// `tcp_retries2`.
    pub fn retries2(&self) -> u8 {
        self.retries2
    }

    /// `tcp_rto_max_ms`.
    pub fn rto_max_ms(&self) -> u32 {
        self.rto_max_ms
    }

    /// `tcp_rto_min_us`.
    pub fn rto_min_us(&self) -> u32 {
        self.rto_min_us
    }

    /// The retransmission timeout before any backoff, on a steady path: the
    /// smoothed round-trip time and its variation, in whole ticks
    /// (`__tcp_set_rto`). The variation is `tcp_rto_min_us` at the least, itself
    /// in whole ticks (`tcp_init_sock`), and on a young connection up to twice
    /// the round-trip time (`tcp_rtt_estimator`).
    ///
    /// A path that jitters, or a route whose metrics the kernel remembers
    /// (`tcp_init_metrics`), gives more: `ss -i` shows a socket's own.
    pub fn rto(&self, rtt: Option<Duration>, hz: Option<Hz>) -> Span {
        const NEXT_DOOR_US: (u64, u64) = (1, 1000);
        let us = rtt.map(micros);
        let (least, most) = us.map_or(NEXT_DOOR_US, |us| (us, us));
        let min_us = u64::from(self.rto_min_us);
        let min_us = hz.map_or(min_us, |hz| hz.us(hz.ticks_for_us(min_us)));
        let least_us = least.saturating_add(min_us);
        let most_us = most.saturating_add(min_us.max(most.saturating_mul(2)));
        let (least, most) = match hz {
            Some(hz) => {
                let ticks = |us| hz.span(hz.ticks_for_us(us));
                (ticks(least_us), ticks(most_us))
            }
            None => {
                // Two values are rounded up to ticks.
                let rounding_ms = 1 + 2 * Hz::LONGEST_TICK_MS;
                let most_ms = (most_us / 1000).saturating_add(rounding_ms);
                (Span::exactly(least_us / 1000), Span::exactly(most_ms))
            }
        };
        // No timer is shorter than this, however short the tick.
        let max = self.rto_max(hz);
        Span {
            earliest_ms: least.earliest_ms.clamp(1, max.earliest_ms),
            latest_ms: most.latest_ms.clamp(1, max.latest_ms),
        }
    }

    /// A socket's own timeout, within what the kernel takes.
    pub(super) fn own_rto(&self, rto: Duration, hz: Option<Hz>) -> Span {
        Span::exactly(millis(rto).clamp(1, self.rto_max(hz).earliest_ms))
    }

    /// The time, counted from the first retransmission, after which the kernel
    /// gives up (`tcp_model_timeout`): the sum of `tcp_retries2` + 1 timeouts
    /// that start at 200 ms and double up to `tcp_rto_max_ms`, whatever the
    /// connection's own timeouts are.
    pub fn model_timeout(&self, hz: Option<Hz>) -> Span {
        let max = self.rto_max(hz);
        Span {
            earliest_ms: self.model_timeout_ms(max.earliest_ms),
            latest_ms: self.model_timeout_ms(max.latest_ms),
        }
    }

    fn model_timeout_ms(&self, max_ms: u64) -> u64 {
        let retries = u32::from(self.retries2);
        let doublings = (max_ms / RTO_MIN_MS).ilog2();
        let doubled = ((2 << retries.min(doublings)) - 1) * RTO_MIN_MS;
        doubled + u64::from(retries.saturating_sub(doublings)) * max_ms
    }

    /// `tcp_rto_max_ms` in whole ticks.
    fn rto_max(&self, hz: Option<Hz>) -> Span {
        let ms = u64::from(self.rto_max_ms);
        match hz {
            Some(hz) => hz.span(hz.ticks(ms)),
            None => Span {
                earliest_ms: ms,
                latest_ms: ms + Hz::LONGEST_TICK_MS,
            },
        }
    }

    /// A timeout after `doublings` of backoff.
    pub(super) fn backed_off(&self, base: Span, doublings: u64, hz: Option<Hz>) -> Span {
        // More doublings than the longest timeout has room for change nothing.
        let factor = 1 << doublings.min(32);
        let max = self.rto_max(hz);
        Span {
            earliest_ms: base.earliest_ms.saturating_mul(factor).min(max.earliest_ms),
            latest_ms: base.latest_ms.saturating_mul(factor).min(max.latest_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(retries2: u8, rto_max_ms: u32) -> TcpLimits {
        TcpLimits::new(retries2, rto_max_ms, 200_000).unwrap()
    }

    #[test]
    fn the_model_timeout_is_the_documented_one() {
        let timeout = |retries2, max| limits(retries2, max).model_timeout(None).earliest_ms;
        // Documentation/networking/ip-sysctl.rst: 15 gives 924.6 s.
        assert_eq!(timeout(15, 120_000), 924_600);
        assert_eq!(timeout(5, 120_000), 12_600);
        assert_eq!(timeout(0, 120_000), 200);
        assert_eq!(timeout(3, 1000), 1400 + 1000);
        assert_eq!(timeout(255, 120_000), 29_724_600);
    }

    #[test]
    fn a_peer_next_door_has_the_least_timeout() {
        let rto = |hz| TcpLimits::KERNEL_DEFAULT.rto(None, Hz::new(hz));
        assert_eq!(rto(250), Span::exactly(204));
        assert_eq!(rto(1000), Span::exactly(201));
        assert_eq!(rto(100), Span::exactly(210));
        let unknown = TcpLimits::KERNEL_DEFAULT.rto(None, None);
        assert!(unknown.contains(201) && unknown.contains(210));
    }

    #[test]
    fn a_far_peer_adds_its_round_trip() {
        let rto = |ms| limits(15, 120_000).rto(Some(Duration::from_millis(ms)), Hz::new(1000));
        assert_eq!(rto(80), Span::exactly(280));
        assert_eq!(
            rto(300),
            Span {
                earliest_ms: 500,
                latest_ms: 900
            }
        );
        assert_eq!(rto(u64::MAX), Span::exactly(120_000));
    }

    #[test]
    fn both_limits_are_whole_ticks() {
        // 5 ms is two ticks of 4 ms, and with the round trip a third.
        let limits = TcpLimits::new(15, 1021, 5000).unwrap();
        assert_eq!(limits.rto(None, Hz::new(250)), Span::exactly(12));
        assert_eq!(limits.rto_max(Hz::new(250)), Span::exactly(1024));
        assert!(limits.rto(None, None).contains(12) && limits.rto_max(None).contains(1024));
    }

    #[test]
    fn limits_are_the_kernels() {
        assert_eq!(
            TcpLimits::new(1, 999, 1),
            Err(LimitsError::RtoMax(Duration::from_millis(999)))
        );
        assert_eq!(TcpLimits::new(1, 1000, 0), Err(LimitsError::RtoMin));
    }
}
