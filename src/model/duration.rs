//! Durations as people write and read them.

use std::time::Duration;

use thiserror::Error;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum DurationError {
    /// Not a number with a unit.
    #[error("not a duration: write 75, 75s, 2m or 2h11m15s")]
    Syntax,
    /// The same where a bare number is none.
    #[error("not a duration: write 2500ms, 30s or 2m")]
    SyntaxWithUnit,
    /// `M`, which would be months.
    #[error("M would be months; write m or min for minutes")]
    Months,
    /// The value counts in whole seconds.
    #[error("only whole seconds count here")]
    Fraction,
    /// A bare number where seconds and milliseconds are easily confused.
    #[error("needs a unit: write 2500ms or 30s")]
    NoUnit,
    /// More than fits.
    #[error("too long")]
    TooLong,
}

/// Parses whole seconds: `75`, `75s`, `2m`, `2h11m15s`. A bare number is
/// seconds.
///
/// # Errors
/// [`DurationError`] if the text is not a duration or not whole seconds.
pub fn parse_seconds(text: &str) -> Result<i64, DurationError> {
    let bare = text.strip_prefix('-').unwrap_or(text);
    if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| DurationError::TooLong);
    }
    if text.contains('M') {
        return Err(DurationError::Months);
    }
    let duration = humantime::parse_duration(text).map_err(|_| DurationError::Syntax)?;
    if duration.subsec_nanos() != 0 {
        return Err(DurationError::Fraction);
    }
    duration
        .as_secs()
        .try_into()
        .map_err(|_| DurationError::TooLong)
}

/// Parses a duration that must carry its unit: `2500ms`, `30s`, `2m`.
///
/// # Errors
/// [`DurationError`] if the text is not a duration or has no unit.
pub fn parse_with_unit(text: &str) -> Result<Duration, DurationError> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DurationError::NoUnit);
    }
    if text.contains('M') {
        return Err(DurationError::Months);
    }
    humantime::parse_duration(text).map_err(|_| DurationError::SyntaxWithUnit)
}

/// Whole milliseconds, as many as there is room for.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whole microseconds, as many as there is room for.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Whole seconds for people: `2h 11min 15s`.
///
/// ```
/// use keepalivectl::model::duration::seconds;
/// assert_eq!(seconds(7875), "2h 11min 15s");
/// assert_eq!(seconds(60), "1min");
/// ```
pub fn seconds(total: u64) -> String {
    milliseconds(total.saturating_mul(1000))
}

/// Milliseconds for people: `5.144s`, `2min 0.5s`, `1d 2h`. The parts that are
/// zero are left out.
pub fn milliseconds(total: u64) -> String {
    let (whole, ms) = (total / 1000, total % 1000);
    let parts = [
        (whole / 86_400, "d"),
        (whole / 3600 % 24, "h"),
        (whole / 60 % 60, "min"),
    ];
    let mut words: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect();
    let s = whole % 60;
    if ms > 0 {
        let fraction = format!("{ms:03}");
        words.push(format!("{s}.{}s", fraction.trim_end_matches('0')));
    } else if s > 0 || words.is_empty() {
        words.push(format!("{s}s"));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, value) in [
            ("75", 75),
            ("75s", 75),
            ("2m", 120),
            ("2min", 120),
            ("2h11m15s", 7875),
            ("2h 11min 15s", 7875),
            ("1d", 86_400),
            ("3000ms", 3),
            ("0", 0),
            ("-5", -5),
        ] {
            assert_eq!(parse_seconds(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_one() {
        for text in [
            "",
            "-",
            "x",
            "7x",
            "s",
            "1500ms",
            "99999999999999999999",
            "٣",
        ] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_user_timeout_has_a_unit() {
        assert_eq!(parse_with_unit("2500ms"), Ok(Duration::from_millis(2500)));
        assert_eq!(parse_with_unit("2500"), Err(DurationError::NoUnit));
        assert_eq!(parse_with_unit("1M"), Err(DurationError::Months));
        assert_eq!(parse_with_unit("-5ms"), Err(DurationError::SyntaxWithUnit));
    }

    #[test]
    fn what_is_printed_reads_back() {
        for total in [0, 1, 59, 60, 61, 3600, 7875, 86_400, 90_061, 2_147_483] {
            assert_eq!(parse_seconds(&seconds(total)), Ok(total as i64));
        }
        assert_eq!(milliseconds(5144), "5.144s");
        assert_eq!(milliseconds(120_500), "2min 0.5s");
    }
}
