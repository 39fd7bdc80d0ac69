//! The inverse: settings for a purpose.
//!
//! The wish is a path's idle timeout that idle connections must survive, a time
//! within which a dead peer must be dropped, or both. The answer holds on every
//! kernel, whatever its tick rate: each timer is counted as late as it can be.

use serde::Serialize;
use thiserror::Error;

use super::check::{TRAVEL_MS, silence_ms};
use super::duration::{milliseconds, seconds};
use super::settings::{MAX_SECONDS, Settings};
use super::time_to_drop::idle;

/// Probes further apart than this are not lost together more rarely.
const FAR_APART_S: u32 = 10;

/// `probes`, unless the wish says otherwise: the kernel's own.
const PROBES: u8 = 9;

/// `time` at the most, unless the wish says otherwise: the kernel's own.
const TIME_S: u32 = 7200;

/// What settings must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Wish {
    /// Idle connections must survive a path that forgets after so many seconds.
    pub idle_timeout_s: Option<u32>,
    /// An idle connection whose peer is dead must be dropped within so many
    /// seconds.
    pub detect_within_s: Option<u32>,
    /// Probes in a row that may be lost: the connection must neither be
    /// forgotten nor dropped. At most 254.
    pub lost_probes: u8,
}

/// Why no settings do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Impossible {
    /// Nothing was wished for.
    #[error(
        "there is nothing to plan for: say which path or idle timeout, or how soon a dead peer must be dropped"
    )]
    NoWish,
    /// More probes than the kernel can count would have to be lost.
    #[error("the kernel counts 255 probes, so no more than 254 can be lost")]
    TooManyLost,
    /// The path forgets too soon.
    #[error(
        "no settings survive an idle timeout of {} with {lost} lost: even {nearest}, a probe \
         each second, needs {}",
        seconds((*idle_timeout_s).into()),
        milliseconds(*needs_ms),
        lost = probes(*lost_probes)
    )]
    IdleTimeout {
        /// What was asked for.
        idle_timeout_s: u32,
        /// Probes that may be lost.
        lost_probes: u8,
        /// The settings that come nearest.
        nearest: Settings,
        /// The idle timeout that those survive.
        needs_ms: u64,
    },
    /// The kernel cannot be sure so soon.
    #[error(
        "no settings drop a dead peer within {} and forgive {lost} lost: the soonest, {nearest}, \
         can take {}",
        seconds((*detect_within_s).into()),
        milliseconds(*needs_ms),
        lost = probes(*lost_probes)
    )]
    DetectWithin {
        /// What was asked for.
        detect_within_s: u32,
        /// Probes that may be lost.
        lost_probes: u8,
        /// The settings that come nearest.
        nearest: Settings,
        /// The time that those can take.
        needs_ms: u64,
    },
}

/// `1 probe`, `2 probes`.
pub fn probes(count: u8) -> String {
    match count {
        1 => "1 probe".to_owned(),
        n => format!("{n} probes"),
    }
}

/// The settings that meet a wish with the fewest packets, to within a tenth.
///
/// A healthy idle connection costs a probe and an answer each `time`, so `time`
/// is as long as the wish allows. A shorter intvl makes room for a longer time,
/// but probes close together are lost together: intvl is the longest, up to
/// 10 s, that costs no more than a tenth of the longest time. `probes` is the
/// kernel's 9, fewer if the wish needs it; and `time` is no longer than the
/// kernel's own two hours, unless a longer time is wished for.
///
/// # Errors
/// No settings meet the wish, with those that come nearest.
///
/// ```
/// use keepalivectl::model::plan::{Wish, plan};
/// let wish = Wish { idle_timeout_s: Some(350), detect_within_s: None, lost_probes: 1 };
/// assert_eq!(plan(&wish).unwrap().to_string(), "299/10/9");
/// ```
pub fn plan(wish: &Wish) -> Result<Settings, Impossible> {
    if wish.idle_timeout_s.is_none() && wish.detect_within_s.is_none() {
        return Err(Impossible::NoWish);
    }
    let fewest = wish
        .lost_probes
        .checked_add(1)
        .ok_or(Impossible::TooManyLost)?;
    let longest = longest_time(wish, 1, fewest).ok_or_else(|| why_not(wish, fewest))?;
    let (time, intvl) = (1..=FAR_APART_S)
        .rev()
        .filter_map(|intvl| Some((longest_time(wish, intvl, fewest)?, intvl)))
        .find(|(time, _)| u64::from(*time) * 10 >= u64::from(longest) * 9)
        .unwrap_or((longest, 1));
    let settings = |probes| Settings::literal(time, intvl, probes);
    let most = (fewest..=PROBES.max(fewest))
        .rev()
        .find(|probes| meets(wish, settings(*probes)));
    Ok(settings(most.unwrap_or(fewest)))
}

/// Whether settings do what is wished for.
pub fn meets(wish: &Wish, settings: Settings) -> bool {
    let survives = wish.idle_timeout_s.is_none_or(|timeout| {
        silence_ms(settings, wish.lost_probes, None) + TRAVEL_MS <= u64::from(timeout) * 1000
    });
    let detects = wish
        .detect_within_s
        .is_none_or(|within| idle(settings, None, None).drop.latest_ms <= u64::from(within) * 1000);
    survives && detects && settings.probes() > wish.lost_probes
}

/// The longest `time`, from intvl on, with which the wish is met.
fn longest_time(wish: &Wish, intvl: u32, probes: u8) -> Option<u32> {
    let fits = |time| meets(wish, Settings::literal(time, intvl, probes));
    let most = match wish.detect_within_s {
        Some(_) => MAX_SECONDS,
        None => TIME_S,
    };
    if !fits(intvl) {
        return None;
    }
    // What a longer time meets, a shorter one meets too.
    let (mut fit, mut over) = (intvl, most + 1);
    while over - fit > 1 {
        let middle = fit + (over - fit) / 2;
        if fits(middle) {
            fit = middle;
        } else {
            over = middle;
        }
    }
    Some(fit)
}

fn why_not(wish: &Wish, fewest: u8) -> Impossible {
    let nearest = Settings::literal(1, 1, fewest);
    let lost_probes = wish.lost_probes;
    let needs_ms = silence_ms(nearest, lost_probes, None) + TRAVEL_MS;
    match (wish.idle_timeout_s, wish.detect_within_s) {
        (Some(idle_timeout_s), _) if u64::from(idle_timeout_s) * 1000 < needs_ms => {
            Impossible::IdleTimeout {
                idle_timeout_s,
                lost_probes,
                nearest,
                needs_ms,
            }
        }
        (_, detect_within_s) => Impossible::DetectWithin {
            detect_within_s: detect_within_s.unwrap_or_default(),
            lost_probes,
            nearest,
            needs_ms: idle(nearest, None, None).drop.latest_ms,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Hz;
    use crate::model::check::{Verdict, check};

    fn wish(
        idle_timeout_s: impl Into<Option<u32>>,
        detect_within_s: impl Into<Option<u32>>,
    ) -> Wish {
        Wish {
            idle_timeout_s: idle_timeout_s.into(),
            detect_within_s: detect_within_s.into(),
            lost_probes: 1,
        }
    }

    #[test]
    fn plans_for_common_wishes() {
        for (wish, settings) in [
            (wish(350, None), "299/10/9"),
            (wish(240, None), "202/10/9"),
            (wish(350, 120), "94/6/2"),
            (wish(None, 60), "47/3/2"),
            (wish(432_000, None), "7200/10/9"),
            (wish(4, None), "1/1/9"),
        ] {
            assert_eq!(plan(&wish).unwrap().to_string(), settings, "{wish:?}");
        }
    }

    #[test]
    fn what_cannot_be_has_a_nearest() {
        assert_eq!(plan(&wish(None, None)), Err(Impossible::NoWish));
        let Err(Impossible::IdleTimeout { needs_ms, .. }) = plan(&wish(3, None)) else {
            panic!("an idle timeout of 3 s");
        };
        assert_eq!(needs_ms, 3254);
        let Err(Impossible::DetectWithin { nearest, .. }) = plan(&wish(350, 2)) else {
            panic!("a drop within 2 s");
        };
        assert_eq!(nearest.to_string(), "1/1/2");
        let lost = Wish {
            lost_probes: 255,
            ..wish(350, None)
        };
        assert_eq!(plan(&lost), Err(Impossible::TooManyLost));
    }

    proptest! {
        #[test]
        fn the_answer_meets_the_wish_and_passes_the_check(
            idle_timeout_s in proptest::option::of(prop_oneof![1..600u32, 1..1_000_000u32]),
            detect_within_s in proptest::option::of(prop_oneof![1..600u32, 1..=u32::MAX]),
            lost_probes in prop_oneof![0..4u8, 0..=255u8],
            hz in proptest::option::of(prop_oneof![Just(100), Just(250), Just(300), Just(1000)]),
        ) {
            let wish = Wish { idle_timeout_s, detect_within_s, lost_probes };
            let Ok(settings) = plan(&wish) else { return Ok(()) };
            prop_assert!(meets(&wish, settings));
            let hz = hz.and_then(Hz::new);
            if let Some(timeout) = idle_timeout_s {
                let verdict = check(settings, timeout, hz).verdict;
                prop_assert!(verdict != Verdict::Unsafe);
                prop_assert!(lost_probes == 0 || verdict == Verdict::Safe);
            }
            if let Some(within) = detect_within_s {
                let latest_ms = idle(settings, None, hz).drop.latest_ms;
                prop_assert!(latest_ms <= u64::from(within) * 1000);
            }
        }

        #[test]
        fn no_settings_need_much_less(
            idle_timeout_s in 4..2000u32,
            detect_within_s in proptest::option::of(4..2000u32),
            time in 1..2000i64,
            intvl in 1..100i64,
            probes in 1..20i64,
        ) {
            let wish = Wish { idle_timeout_s: Some(idle_timeout_s), detect_within_s, lost_probes: 1 };
            let other = Settings::new(time, intvl, probes).unwrap();
            prop_assume!(meets(&wish, other));
            let planned = plan(&wish).unwrap();
            let refresh = other.time().max(other.intvl());
            prop_assert!(planned.time() * 10 >= refresh * 9, "{} and {}", planned, other);
        }
    }
}
