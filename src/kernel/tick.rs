//! The kernel's tick rate, without the kernel's configuration.

use nix::time::{ClockId, clock_getres};

use crate::model::Hz;

/// CONFIG_HZ, from the resolution of CLOCK_MONOTONIC_COARSE, which is one tick
/// (`posix_get_coarse_res` in `kernel/time/posix-timers.c`). `None` if the
/// kernel does not say.
pub fn rate() -> Option<Hz> {
    const NANOSECONDS: i64 = 1_000_000_000;
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok()?;
    let tick_ns = tick.tv_sec() * NANOSECONDS + tick.tv_nsec();
    // A tick of 3333333 ns is 300 Hz: round to the nearest.
    let hz = NANOSECONDS.checked_add(tick_ns / 2)?.checked_div(tick_ns)?;
    Hz::new(u32::try_from(hz).ok()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_kernel_has_a_common_rate() {
        let hz = super::rate().expect("CLOCK_MONOTONIC_COARSE").get();
        assert!((24..=1200).contains(&hz), "{hz}");
    }
}
