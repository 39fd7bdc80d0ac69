//! How late the kernel's timers fire.
//!
//! The timer wheel (`kernel/time/timer.c`) keeps timers in levels of 64
//! buckets, each level eight times as coarse as the one before. A timer is
//! rounded up to the next bucket of its level, so it fires up to one granule
//! late and never early (`calc_wheel_index`, `calc_index`).

use std::num::NonZeroU32;

use serde::Serialize;

/// The kernel's tick rate in Hz (`CONFIG_HZ`): 100, 250, 300 or 1000 on the
/// common kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Hz(NonZeroU32);

impl Hz {
    /// A tick rate from 1 to 10000 Hz; `None` outside.
    pub fn new(hz: u32) -> Option<Hz> {
        NonZeroU32::new(hz).filter(|h| h.get() <= 10_000).map(Hz)
    }

    /// Ticks per second.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// The worst lateness as a fraction of the delay, for an unknown tick rate:
/// level n starts at 63·8^(n−1) jiffies (`LVL_START`) and has granules of 8^n,
/// so a timer just inside a level can be late by 8/63, which is 12.7 %.
const WORST_NUMERATOR: u64 = 8;
const WORST_DENOMINATOR: u64 = 63;

/// One granule, in jiffies, of the level that a delay of so many jiffies
/// falls into. The last level's granule serves for all longer delays.
fn granule_jiffies(delay: u64) -> u64 {
    const LAST_LEVEL: u32 = 8;
    (1..=LAST_LEVEL)
        .rev()
        .find(|level| delay >= 63 << ((level - 1) * 3))
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
        Some(hz) => {
            let hz = u64::from(hz.get());
            let jiffies = delay_ms.saturating_mul(hz).div_ceil(1000);
            (granule_jiffies(jiffies) * 1000).div_ceil(hz)
        }
        None => delay_ms
            .saturating_mul(WORST_NUMERATOR)
            .div_ceil(WORST_DENOMINATOR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_start_where_the_kernel_says() {
        // LVL_START(n) and LVL_GRAN(n) of kernel/time/timer.c.
        for (delay, granule) in [
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
            assert_eq!(granule_jiffies(delay), granule, "{delay} jiffies");
        }
    }

    #[test]
    fn the_unknown_rate_covers_every_known_one() {
        for hz in [100, 250, 300, 1000] {
            for seconds in 1..20_000 {
                let known = lateness_ms(seconds * 1000, Hz::new(hz));
                let unknown = lateness_ms(seconds * 1000, None);
                // A granule is a whole number of jiffies; allow its rounding.
                assert!(known <= unknown + 1, "{seconds} s at HZ={hz}");
            }
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
    fn no_overflow() {
        assert!(lateness_ms(u64::MAX, Hz::new(1000)) > 0);
        assert!(lateness_ms(u64::MAX, None) > 0);
    }
}
