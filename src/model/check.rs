//! Will an idle connection survive the path?
//!
//! A path forgets a flow that is silent for longer than its idle timeout. On a
//! healthy idle connection the silence ends with the next keepalive probe:
//! `max(time, intvl)` after the last segment, because the timer after a probe
//! runs for intvl. A lost probe adds intvl. Timers fire late (`super::wheel`), and
//! the probe takes its time to reach the box.

use serde::Serialize;

use super::settings::Settings;
use super::time_to_drop::idle;
use super::wheel::Hz;

/// Whether an idle connection survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It survives, a lost probe and late timers counted in.
    Safe,
    /// It survives with late timers, and one lost probe breaks it.
    Fragile,
    /// It can break with no probe lost.
    Unsafe,
}

/// The verdict for one idle timeout, with the figures it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The verdict.
    pub verdict: Verdict,
    /// The idle timeout less the longest silence with one probe lost and the
    /// probe's way, in milliseconds. Negative if it is too short by so much;
    /// none with probes 1, which forgives no loss.
    pub margin_ms: Option<i64>,
}

/// The longest silence, in milliseconds, of a healthy idle connection that
/// loses `lost` probes in a row, each timer as late as it can be. The kernel
/// drops a connection that loses `probes`.
pub fn silence_ms(settings: Settings, lost: u8, hz: Option<Hz>) -> u64 {
    let first_probe_ms = idle::first_expiry(settings, hz).latest_ms;
    first_probe_ms + u64::from(lost) * idle::intvl(settings, hz).latest_ms
}

/// The longest silence, in milliseconds, of a healthy idle connection that
/// loses one probe, on any kernel: a path that forgets flows only after more
/// than this keeps the connection. None with probes 1, which forgives no loss.
pub fn survives_idle_ms(settings: Settings) -> Option<u64> {
    (settings.probes() > 1).then(|| silence_ms(settings, 1, None))
}

/// Time for a probe to reach the box that must see it.
pub const TRAVEL_MS: u64 = 1000;

/// The longest silences of a healthy idle connection, each timer as late as it
/// can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// With nothing lost, in milliseconds; none if nothing ever ends it.
    pub none_lost_ms: Option<u64>,
    /// With one loss, in milliseconds; none if no loss is forgiven.
    pub one_lost_ms: Option<u64>,
}

impl Silence {
    /// Nothing ever ends it.
    pub const ENDLESS: Silence = Silence {
        none_lost_ms: None,
        one_lost_ms: None,
    };

    /// What the kernel's keepalive makes it.
    pub fn kept(settings: Settings, hz: Option<Hz>) -> Silence {
        let one_lost_ms = silence_ms(settings, 1, hz);
        Silence {
            none_lost_ms: Some(silence_ms(settings, 0, hz)),
            one_lost_ms: Some(one_lost_ms).filter(|_| settings.probes() > 1),
        }
    }

    /// Whether an idle connection survives a path with this idle timeout.
    pub fn check(self, idle_timeout_s: u32) -> Check {
        let timeout_ms = u64::from(idle_timeout_s) * 1000;
        let none_lost_ms = self.none_lost_ms.map(with_travel);
        let survives = |needs_ms: Option<u64>| needs_ms.is_some_and(|ms| ms <= timeout_ms);
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        Check {
            verdict: match (survives(none_lost_ms), survives(self.needs_ms())) {
                (false, _) => Verdict::Unsafe,
                (true, false) => Verdict::Fragile,
                (true, true) => Verdict::Safe,
            },
            margin_ms: self.needs_ms().map(|ms| signed(timeout_ms) - signed(ms)),
        }
    }

    /// The shortest idle timeout that is survived with one loss, in milliseconds;
    /// none if no loss is forgiven.
    pub fn needs_ms(self) -> Option<u64> {
        self.one_lost_ms.map(with_travel)
    }
}

fn with_travel(silence_ms: u64) -> u64 {
    silence_ms.saturating_add(TRAVEL_MS)
}

/// Whether settings keep an idle connection through a path with this idle
/// timeout, on a kernel with this tick rate.
///
/// ```
/// use keepalivectl::model::{Hz, Settings};
/// use keepalivectl::model::check::{Verdict, check};
/// let verdict = |time| check(Settings::new(time, 30, 6).unwrap(), 350, Hz::new(250)).verdict;
/// assert_eq!(verdict(240), Verdict::Safe);
/// assert_eq!(verdict(320), Verdict::Fragile);
/// assert_eq!(verdict(7200), Verdict::Unsafe);
/// ```
pub fn check(settings: Settings, idle_timeout_s: u32, hz: Option<Hz>) -> Check {
    Silence::kept(settings, hz).check(idle_timeout_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::wheel::lateness_ms;

    fn settings(time: i64, intvl: i64, probes: i64) -> Settings {
        Settings::new(time, intvl, probes).unwrap()
    }

    #[test]
    fn a_lost_probe_after_a_long_intvl_costs_two_of_them() {
        let late = |s: u64| s * 1000 + lateness_ms(s * 1000, None);
        let survives = |t, i| survives_idle_ms(settings(t, i, 9)).unwrap();
        assert_eq!(survives(240, 30), late(240) + late(30));
        assert_eq!(survives(30, 75), late(75) + late(75));
    }

    #[test]
    fn the_margin_counts_one_lost_probe() {
        let found = check(settings(240, 30, 6), 350, None);
        assert_eq!(found.verdict, Verdict::Safe);
        assert_eq!(found.margin_ms, Some(350_000 - 304_287 - 1000));
        assert!(check(settings(320, 30, 6), 350, Hz::new(250)).margin_ms < Some(0));
    }

    #[test]
    fn a_single_probe_forgives_no_loss() {
        let found = check(settings(60, 10, 1), 350, None);
        assert_eq!(found.verdict, Verdict::Fragile);
        assert_eq!(found.margin_ms, None);
        assert_eq!(survives_idle_ms(settings(60, 10, 1)), None);
    }

    #[test]
    fn late_timers_count() {
        // 311 s fires up to 16.4 s late at HZ=250.
        let verdict = |timeout| check(settings(311, 10, 9), timeout, Hz::new(250)).verdict;
        assert_eq!(verdict(350), Verdict::Safe);
        assert_eq!(verdict(330), Verdict::Fragile);
        assert_eq!(verdict(320), Verdict::Unsafe);
    }
}
