//! The inverse: an interval and a count for a purpose.
//!
//! The answer serves on either side, and stays within what is commonly
//! recommended wherever that does it: an interval of 30 to 60 s, and a count of 3
//! to 5.

use std::ops::RangeInclusive;

use serde::Serialize;
use thiserror::Error;

use super::{Alive, Habits, Side};
use crate::model::check::Verdict;
use crate::model::duration::{milliseconds, seconds};

/// Intervals that are commonly recommended, in seconds: rare enough to cost
/// nothing, and shorter than what nearly every path forgets after.
pub const INTERVALS_S: RangeInclusive<u32> = 30..=60;

/// Counts that are commonly recommended: a short outage is forgiven, and a dead
/// peer noticed in minutes.
pub const COUNTS: RangeInclusive<u32> = 3..=5;

/// What a session must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Wish {
    /// An idle session must survive a path that forgets after so many seconds.
    pub idle_timeout_s: Option<u32>,
    /// An idle session whose peer is silent must end within so many seconds.
    pub detect_within_s: Option<u32>,
    /// Milliseconds within which TCP sends a lost message again.
    pub resend_ms: u64,
}

/// An interval and a count that do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Seconds.
    pub interval_s: u32,
    /// Messages without an answer.
    pub count_max: u32,
}

/// Why none do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Impossible {
    /// Nothing was wished for.
    #[error(
        "there is nothing to plan for: say which path or idle timeout, or how soon a dead peer must be noticed"
    )]
    NoWish,
    /// The path forgets too soon.
    #[error(
        "no interval survives an idle timeout of {}: even a message each second needs {}",
        seconds((*idle_timeout_s).into()),
        milliseconds(*needs_ms)
    )]
    IdleTimeout {
        /// What was asked for.
        idle_timeout_s: u32,
        /// The idle timeout that a message each second survives.
        needs_ms: u64,
    },
    /// SSH cannot be sure so soon.
    #[error(
        "no interval and count notice a dead peer within {}: the soonest, {nearest}, can take {}",
        seconds((*detect_within_s).into()),
        milliseconds(*needs_ms)
    )]
    DetectWithin {
        /// What was asked for.
        detect_within_s: u32,
        /// What comes nearest.
        nearest: Planned,
        /// The time that it can take.
        needs_ms: u64,
    },
}

impl std::fmt::Display for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "interval {} s, count {}",
            self.interval_s, self.count_max
        )
    }
}

impl Planned {
    /// Whether both are in the recommended ranges.
    pub fn is_recommended(self) -> bool {
        INTERVALS_S.contains(&self.interval_s) && COUNTS.contains(&self.count_max)
    }

    /// When a dead peer is noticed at the latest.
    fn notices_ms(self, habits: Habits) -> u64 {
        let gives_up = self.alive(habits).gives_up();
        gives_up.map_or(u64::MAX, |span| span.latest_ms)
    }

    /// The same without the kernel's keepalive, on the server's side: its timers may
    /// be later than the client's.
    fn alive(self, habits: Habits) -> Alive {
        Alive {
            side: Side::Server,
            interval_s: self.interval_s,
            count_max: Some(self.count_max),
            habits,
            tcp_keepalive: false,
            socket_here: true,
        }
    }

    fn meets(self, wish: &Wish, habits: Habits) -> bool {
        let silence = self.alive(habits).messages(wish.resend_ms);
        let survives = wish
            .idle_timeout_s
            .is_none_or(|timeout| silence.check(timeout).verdict == Verdict::Safe);
        let notices = wish
            .detect_within_s
            .is_none_or(|within| self.notices_ms(habits) <= u64::from(within) * 1000);
        survives && notices
    }
}

/// The longest interval that meets the wish, for the fewest messages, and with it
/// the largest count, which forgives the most. Outside of the recommended ranges
/// the interval gives way first. `habits` are those of the server that it is for; the
/// answer for one without any serves clients too.
///
/// # Errors
/// Nothing does it, with what comes nearest.
///
/// ```
/// use keepalivectl::model::ssh::Habits;
/// use keepalivectl::model::ssh::plan::{Wish, plan};
/// let wish = Wish { idle_timeout_s: Some(350), detect_within_s: Some(300), resend_ms: 1000 };
/// assert_eq!(plan(&wish, Habits::CLIENT).unwrap().to_string(), "interval 60 s, count 3");
/// ```
pub fn plan(wish: &Wish, habits: Habits) -> Result<Planned, Impossible> {
    if wish.idle_timeout_s.is_none() && wish.detect_within_s.is_none() {
        return Err(Impossible::NoWish);
    }
    let best = |intervals_s, counts| best(wish, habits, intervals_s, counts);
    let recommended = || best(INTERVALS_S, COUNTS);
    let shorter = || best(1..=*INTERVALS_S.start(), COUNTS);
    let hastier = || best(1..=*INTERVALS_S.start(), 1..=*COUNTS.start());
    recommended()
        .or_else(shorter)
        .or_else(hastier)
        .ok_or_else(|| why_not(wish, habits))
}

/// The longest interval that serves, with the largest count that serves with it.
fn best(
    wish: &Wish,
    habits: Habits,
    intervals_s: RangeInclusive<u32>,
    counts: RangeInclusive<u32>,
) -> Option<Planned> {
    let pairs = intervals_s.rev().flat_map(|interval_s| {
        counts.clone().rev().map(move |count_max| Planned {
            interval_s,
            count_max,
        })
    });
    pairs
        .into_iter()
        .find(|planned| planned.meets(wish, habits))
}

fn why_not(wish: &Wish, habits: Habits) -> Impossible {
    let nearest = Planned {
        interval_s: 1,
        count_max: 1,
    };
    let survives = Wish {
        detect_within_s: None,
        ..*wish
    };
    match wish.idle_timeout_s {
        Some(idle_timeout_s) if !nearest.meets(&survives, habits) => Impossible::IdleTimeout {
            idle_timeout_s,
            needs_ms: nearest
                .alive(habits)
                .messages(wish.resend_ms)
                .needs_ms()
                .unwrap_or_default(),
        },
        _ => Impossible::DetectWithin {
            detect_within_s: wish.detect_within_s.unwrap_or_default(),
            nearest,
            needs_ms: nearest.notices_ms(habits),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wish(
        idle_timeout_s: impl Into<Option<u32>>,
        detect_within_s: impl Into<Option<u32>>,
    ) -> Wish {
        Wish {
            idle_timeout_s: idle_timeout_s.into(),
            detect_within_s: detect_within_s.into(),
            resend_ms: 1000,
        }
    }

    #[test]
    fn plans_for_common_wishes() {
        for (wish, planned, recommended) in [
            (wish(350, None), (60, 5), true),
            (wish(60, None), (57, 5), true),
            (wish(None, 240), (59, 3), true),
            (wish(None, 241), (60, 3), true),
            (wish(None, 150), (37, 3), true),
            (wish(None, 120), (29, 3), false),
            (wish(20, None), (17, 5), false),
            (wish(None, 3), (1, 1), false),
        ] {
            let found = plan(&wish, Habits::CLIENT).unwrap();
            assert_eq!((found.interval_s, found.count_max), planned, "{wish:?}");
            assert_eq!(found.is_recommended(), recommended, "{wish:?}");
        }
    }

    #[test]
    fn a_server_that_waits_twice_gets_another_answer() {
        let slow = Habits::of_server(Some((9, 2)));
        let found = plan(&wish(350, 300), slow).unwrap();
        assert_eq!((found.interval_s, found.count_max), (37, 3));
        assert_eq!(plan(&wish(350, None), slow).unwrap().interval_s, 60);
        assert!(plan(&wish(None, 3), slow).is_err());
    }

    #[test]
    fn what_cannot_be_says_what_comes_nearest() {
        assert_eq!(
            plan(&wish(None, None), Habits::CLIENT),
            Err(Impossible::NoWish)
        );
        let too_short = plan(&wish(3, None), Habits::CLIENT).unwrap_err();
        assert!(
            too_short.to_string().ends_with("needs 3.001s"),
            "{too_short}"
        );
        let too_soon = plan(&wish(350, 2), Habits::CLIENT).unwrap_err();
        assert!(
            too_soon.to_string().ends_with("can take 2.002s"),
            "{too_soon}"
        );
    }

    proptest! {
        #[test]
        fn the_answer_meets_the_wish_and_is_recommended_if_any_is(
            idle_timeout_s in proptest::option::of(1..600u32),
            detect_within_s in proptest::option::of(1..600u32),
            interval_s in INTERVALS_S,
            count_max in COUNTS,
            slow in any::<bool>(),
        ) {
            let habits = Habits::of_server(slow.then_some((9, 2)));
            let wish = wish(idle_timeout_s, detect_within_s);
            let recommended = Planned { interval_s, count_max };
            match plan(&wish, habits) {
                Ok(planned) => {
                    prop_assert!(planned.meets(&wish, habits));
                    prop_assert!(planned.is_recommended() || !recommended.meets(&wish, habits));
                }
                Err(Impossible::NoWish) => {}
                Err(_) => prop_assert!(!recommended.meets(&wish, habits)),
            }
        }
    }
}
