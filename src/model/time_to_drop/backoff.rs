//! A timer that doubles at each expiry, up to `tcp_rto_max_ms`: that of
//! retransmission and that of window probes.

use super::Conditions;
use crate::model::span::Span;
use crate::model::wheel::{self, lateness_ms};

/// The timer, with its length before any doubling.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff<'a> {
    pub(super) base: Span,
    pub(super) conditions: &'a Conditions,
}

impl Backoff<'_> {
    /// How long it runs after so many doublings.
    pub(super) fn runs(&self, doublings: u64) -> Span {
        let Conditions { limits, hz, .. } = *self.conditions;
        let length = limits.backed_off(self.base, doublings, hz);
        Span {
            earliest_ms: wheel::fires(length.earliest_ms, hz).earliest_ms,
            latest_ms: wheel::fires(length.latest_ms, hz).latest_ms,
        }
    }

    /// Its expiries, counted from its first arming, which is after so many
    /// doublings.
    pub(super) fn expiries(self, doublings: u64) -> impl Iterator<Item = Span> {
        let mut sum = Span::START;
        (doublings..).map(move |doublings| {
            sum = sum.then(self.runs(doublings));
            sum
        })
    }

    /// The expiry that is cut to end at a limit, late as the length that is
    /// left for it allows: how many come before it if all are on time, and when
    /// it comes.
    pub(super) fn cut_at(self, limit: Span, doublings: u64) -> (u64, Span) {
        let mut before = Span::START;
        let mut longest_ms = 0;
        let mut on_time = None;
        for (n, expiry) in (0..).zip(self.expiries(doublings)) {
            let left_ms = limit.latest_ms.saturating_sub(before.earliest_ms);
            let runs_ms = (expiry.latest_ms - before.latest_ms).min(left_ms);
            longest_ms = longest_ms.max(runs_ms);
            if expiry.earliest_ms >= limit.earliest_ms {
                on_time.get_or_insert(n);
            }
            if expiry.earliest_ms >= limit.latest_ms {
                let late_ms = lateness_ms(longest_ms, self.conditions.hz);
                let end = Span {
                    earliest_ms: limit.earliest_ms,
                    latest_ms: limit.latest_ms + late_ms,
                };
                return (on_time.unwrap_or(n), end);
            }
            before = expiry;
        }
        unreachable!("the expiries of a timer that is armed again do not end")
    }
}
