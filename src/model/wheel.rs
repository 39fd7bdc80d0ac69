//! How late the kernel's timers fire.
//!
//! The timer wheel (`kernel/time/timer.c`) keeps timers in levels of 64
//! buckets, each level eight times as coarse as the one before. A timer is
//! rounded up to the next bucket of its level, so it fires up to one granule
//! late and never early (`calc_wheel_index`, `calc_index`). Only a timer that is
//! longer than the whole wheel fires early, at the wheel's end.

use std::num::NonZeroU32;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use super::span::Span;

/// The kernel's tick rate in Hz (`CONFIG_HZ`): 100, 250, 300 or 1000 on the
/// common kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Hz(NonZeroU32);

/// A number that is no tick rate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no tick rate: 1 to 10000, and 100, 250, 300 or 1000 on the common kernels")]
pub struct HzError(String);

impl Hz {
    /// The longest tick of a common kernel, in milliseconds: for an unknown
    /// rate.
    pub(crate) const LONGEST_TICK_MS: u64 = 10;

    /// A tick rate from 1 to 10000 Hz; `None` outside.
    pub fn new(hz: u32) -> Option<Hz> {
        NonZeroU32::new(hz).filter(|h| h.get() <= 10_000).map(Hz)
    }

    /// Ticks per second.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// Whole ticks that last for a time at least (`msecs_to_jiffies`).
    pub(crate) fn ticks(self, ms: u64) -> u64 {
        ms.saturating_mul(self.get().into()).div_ceil(1000)
    }

    /// The ticks that so many microseconds are rounded up to
    /// (`usecs_to_jiffies`).
    pub(crate) fn ticks_for_us(self, us: u64) -> u64 {
        us.saturating_mul(self.get().into()).div_ceil(1_000_000)
    }

    /// Microseconds of so many ticks (`jiffies_to_usecs`).
    pub(crate) fn us(self, ticks: u64) -> u64 {
        ticks.saturating_mul(1_000_000) / u64::from(self.get())
    }

    /// So many ticks in milliseconds, rounded down and up.
    pub(crate) fn span(self, ticks: u64) -> Span {
        Span {
            earliest_ms: ticks.saturating_mul(1000) / u64::from(self.get()),
            latest_ms: self.ms(ticks),
        }
    }

    /// Milliseconds of so many ticks, rounded up.
    pub(crate) fn ms(self, ticks: u64) -> u64 {
        ticks.saturating_mul(1000).div_ceil(self.get().into())
    }

    /// Levels of the wheel (`LVL_DEPTH`).
    fn levels(self) -> u32 {
        if self.get() > 100 { 9 } else { 8 }
    }
}

impl FromStr for Hz {
    type Err = HzError;

    fn from_str(text: &str) -> Result<Hz, HzError> {
        let hz = text.parse().ok().and_then(Hz::new);
        hz.ok_or_else(|| HzError(text.to_owned()))
    }
}

/// The worst lateness as a fraction of the delay, for an unknown tick rate:
/// level n starts at 63·8^(n−1) jiffies (`LVL_START`) and has granules of 8^n,
/// so a timer just inside a level can be late by 8/63, which is 12.7 %.
const WORST_NUMERATOR: u64 = 8;
const WORST_DENOMINATOR: u64 = 63;

/// The end of the shortest wheel, in milliseconds: for an unknown rate, that of
/// HZ=1000, whose 9 levels end after 12 days.
const SHORTEST_WHEEL_MS: u64 = 62 << 24;

/// One granule, in ticks, of the level that a delay of so many ticks falls
/// into. The last level's granule serves for all longer delays.
fn granule(ticks: u64, levels: u32) -> u64 {
    (1..levels)
        .rev()
        .find(|level| ticks >= 63 << ((level - 1) * 3))
        .map_or(1, |level| 1 << (level * 3))
}

/// The most, in milliseconds (rounded up), by which a timer armed for
/// `delay_ms` fires late: one granule where the tick rate is known, and 8/63 of
/// the delay where it is not.
///
/// With HZ=250, a timer of 130 s fires up to 16.384 s late:
///
/// ```
/// use keepalivectl::model::{Hz, wheel};
/// assert_eq!(wheel::lateness_ms(130_000, Hz::new(250)), 16_384);
/// assert_eq!(wheel::lateness_ms(63_000, None), 8_000);
/// ```
pub fn lateness_ms(delay_ms: u64, hz: Option<Hz>) -> u64 {
    match hz {
        Some(hz) => hz.ms(granule(hz.ticks(delay_ms), hz.levels())),
        None => delay_ms
            .saturating_mul(WORST_NUMERATOR)
            .div_ceil(WORST_DENOMINATOR)
            // Below 63 ticks it is the next tick.
            .max(Hz::LONGEST_TICK_MS),
    }
}

/// When a timer armed for `delay_ms` fires.
///
/// A delay of 63·8^(n−1) ticks or more, n the number of levels, fires at the
/// end of the wheel instead (`WHEEL_TIMEOUT_CUTOFF`, `WHEEL_TIMEOUT_MAX`): after
/// 12 days with HZ=1000, 15 with HZ=100, and beyond any legal delay with 250.
pub fn fires(delay_ms: u64, hz: Option<Hz>) -> Span {
    let Some(hz) = hz else {
        // Whole seconds are whole ticks at every common rate.
        let whole = delay_ms.is_multiple_of(1000);
        let rounding_ms = if whole { 0 } else { Hz::LONGEST_TICK_MS };
        let rounded_ms = delay_ms.saturating_add(rounding_ms);
        return Span {
            earliest_ms: delay_ms.min(SHORTEST_WHEEL_MS),
            latest_ms: rounded_ms.saturating_add(lateness_ms(rounded_ms, None)),
        };
    };
    let top = 1 << ((hz.levels() - 1) * 3);
    let (runs_ms, rounded_ms) = match hz.ticks(delay_ms) {
        ticks if ticks >= 63 * top => (62 * top * 1000 / u64::from(hz.get()), hz.ms(62 * top)),
        ticks => (delay_ms, hz.ms(ticks)),
    };
    Span {
        earliest_ms: runs_ms,
        latest_ms: rounded_ms.saturating_add(lateness_ms(rounded_ms, Some(hz))),
    }
}

/// When a limit of `ms` counts as reached where the kernel compares whole
/// ticks: it rounds the limit up, and counts the tick that has begun.
pub(crate) fn limit_in_ticks(ms: u64, hz: Option<Hz>) -> Span {
    let (tick_ms, rounded_ms) = match hz {
        Some(hz) => (hz.ms(1), hz.ms(hz.ticks(ms))),
        None => (Hz::LONGEST_TICK_MS, ms.saturating_add(Hz::LONGEST_TICK_MS)),
    };
    Span {
        earliest_ms: ms.saturating_sub(tick_ms),
        latest_ms: rounded_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_start_where_the_kernel_says() {
        // LVL_START(n) and LVL_GRAN(n) of kernel/time/timer.c.
        for (delay, ticks) in [
            (0, 1),
            (62, 1),
            (63, 8),
            (503, 8),
            (504, 64),
            (4031, 64),
            (4032, 512),
            (32_255, 512),
            (32_256, 4096),
            (258_048, 32_768),
            (132_120_576, 16_777_216),
            (u64::MAX, 16_777_216),
        ] {
            assert_eq!(granule(delay, 9), ticks, "{delay} jiffies");
        }
        assert_eq!(granule(u64::MAX, 8), 2_097_152);
    }

    #[test]
    fn the_unknown_rate_covers_every_known_one() {
        for hz in [100, 250, 300, 1000] {
            for seconds in 1..20_000 {
                let known = lateness_ms(seconds * 1000, Hz::new(hz));
                let unknown = lateness_ms(seconds * 1000, None);
                assert!(known <= unknown, "{seconds} s at HZ={hz}");
            }
        }
    }

    #[test]
    fn a_timer_longer_than_the_wheel_fires_at_its_end() {
        let most_ms = 2_147_483_000;
        let days = |hz| fires(most_ms, Hz::new(hz)).earliest_ms / 86_400_000;
        assert_eq!((days(1000), days(100)), (12, 15));
        assert_eq!(fires(most_ms, Hz::new(250)).earliest_ms, most_ms);
        assert_eq!(fires(most_ms, None).earliest_ms / 86_400_000, 12);
        for hz in [100, 250, 300, 1000].map(Hz::new) {
            let (known, unknown) = (fires(most_ms, hz), fires(most_ms, None));
            assert!(unknown.earliest_ms <= known.earliest_ms);
            assert!(unknown.latest_ms >= known.latest_ms);
        }
    }

    #[test]
    fn measured_lateness_is_inside() {
        // Seen at HZ=250 over 4400 sockets that were armed 4 ms apart:
        // TCP_KEEPIDLE 17 fired at 19.0486 s at the latest, 130 at 146.386 s,
        // which is 12.6 % late and more than an eighth.
        assert_eq!(lateness_ms(17_000, Hz::new(250)), 2_048);
        assert_eq!(lateness_ms(130_000, Hz::new(250)), 16_384);
    }

    #[test]
    fn a_limit_is_rounded_to_ticks() {
        let limit = limit_in_ticks(2501, Hz::new(250));
        assert_eq!((limit.earliest_ms, limit.latest_ms), (2497, 2504));
    }

    #[test]
    fn no_overflow() {
        assert!(lateness_ms(u64::MAX, Hz::new(1000)) > 0);
        assert!(lateness_ms(u64::MAX, None) > 0);
        assert!(fires(u64::MAX, Hz::new(1000)).latest_ms > 0);
        assert_eq!(fires(u64::MAX, None).latest_ms, u64::MAX);
    }

    #[test]
    fn a_tick_rate_is_a_number_in_range() {
        assert_eq!("250".parse(), Ok(Hz::new(250).unwrap()));
        for bad in ["", "0", "10001", "-1", "fast"] {
            assert!(bad.parse::<Hz>().is_err(), "{bad:?}");
        }
    }
}
