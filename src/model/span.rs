//! Bounds of a time: timers fire late, so most times are known as a span.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A time that lies between two bounds, in milliseconds. At the earliest, every
/// timer on the way is on time; at the latest, each is as late as it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Not before this.
    pub earliest_ms: u64,
    /// Not after this.
    pub latest_ms: u64,
}

impl Span {
    /// The moment that all is counted from.
    pub const START: Span = Span::exactly(0);

    /// A time that is known.
    pub const fn exactly(ms: u64) -> Span {
        Span {
            earliest_ms: ms,
            latest_ms: ms,
        }
    }

    /// The end of a time that follows this one.
    pub fn then(self, next: Span) -> Span {
        Span {
            earliest_ms: self.earliest_ms.saturating_add(next.earliest_ms),
            latest_ms: self.latest_ms.saturating_add(next.latest_ms),
        }
    }

    /// The time at which the first of the two comes.
    pub fn or_sooner(self, other: Span) -> Span {
        Span {
            earliest_ms: self.earliest_ms.min(other.earliest_ms),
            latest_ms: self.latest_ms.min(other.latest_ms),
        }
    }

    /// The time of one of the two, whichever it is.
    pub fn or_around(self, other: Span) -> Span {
        Span {
            earliest_ms: self.earliest_ms.min(other.earliest_ms),
            latest_ms: self.latest_ms.max(other.latest_ms),
        }
    }

    /// Whether a measured time lies in the span.
    pub fn contains(self, ms: u64) -> bool {
        (self.earliest_ms..=self.latest_ms).contains(&ms)
    }

    /// `drop_s` and `drop_latest_s`.
    pub(crate) fn as_drop<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.named("drop_s", "drop_latest_s", s)
    }

    /// The same for a drop that may never come.
    pub(crate) fn as_drop_if_any<S: Serializer>(
        drop: &Option<Span>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(2))?;
        map.serialize_entry("drop_s", &drop.map(|d| Seconds::from(d.earliest_ms)))?;
        map.serialize_entry("drop_latest_s", &drop.map(|d| Seconds::from(d.latest_ms)))?;
        map.end()
    }

    /// `at_s` and `latest_s`.
    pub(crate) fn as_event<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.named("at_s", "latest_s", s)
    }

    fn named<S: Serializer>(
        &self,
        earliest: &'static str,
        latest: &'static str,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(2))?;
        map.serialize_entry(earliest, &Seconds::from(self.earliest_ms))?;
        map.serialize_entry(latest, &Seconds::from(self.latest_ms))?;
        map.end()
    }
}

/// Milliseconds that serialize as seconds, with a fraction if there is one.
struct Seconds(i64);

impl From<u64> for Seconds {
    fn from(ms: u64) -> Seconds {
        Seconds(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1000 {
            0 => s.serialize_i64(self.0 / 1000),
            _ => s.serialize_f64(self.0 as f64 / 1000.0),
        }
    }
}

/// Serializes milliseconds as seconds, with a fraction if there is one.
pub(crate) fn as_seconds<S: Serializer>(ms: &u64, s: S) -> Result<S::Ok, S::Error> {
    Seconds::from(*ms).serialize(s)
}

/// The same for a time that may not be known.
pub(crate) fn as_seconds_if_any<S: Serializer>(ms: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
    ms.map(Seconds::from).serialize(s)
}

/// The same for a difference.
pub(crate) fn as_difference<S: Serializer>(ms: &Option<i64>, s: S) -> Result<S::Ok, S::Error> {
    ms.map(Seconds).serialize(s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other() {
        let span = Span {
            earliest_ms: 10,
            latest_ms: 12,
        };
        let both = span.then(Span::exactly(5));
        assert_eq!((both.earliest_ms, both.latest_ms), (15, 17));
        assert!(both.contains(15) && both.contains(17) && !both.contains(18));
        assert_eq!(both.or_sooner(Span::exactly(16)).latest_ms, 16);
        assert_eq!(both.or_around(Span::exactly(16)), both);
    }
}
