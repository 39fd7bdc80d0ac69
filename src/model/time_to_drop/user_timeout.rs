//! TCP_USER_TIMEOUT as a value.

use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

/// TCP_USER_TIMEOUT of one socket: 1 to 2147483647 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct UserTimeout(u32);

/// A user timeout that no socket can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a user timeout of {} is refused: TCP_USER_TIMEOUT takes 1 ms to 2147483647 ms, in whole \
     milliseconds",
    humantime::format_duration(*.0)
)]
pub struct UserTimeoutError(pub Duration);

impl UserTimeout {
    /// The timeout in milliseconds.
    pub fn milliseconds(self) -> u32 {
        self.0
    }
}

impl TryFrom<Duration> for UserTimeout {
    type Error = UserTimeoutError;

    /// # Errors
    /// Zero, a part of a millisecond, or more than an `int` of milliseconds
    /// (`do_tcp_setsockopt`).
    fn try_from(d: Duration) -> Result<UserTimeout, UserTimeoutError> {
        let ms = i32::try_from(d.as_millis()).map_err(|_| UserTimeoutError(d))?;
        if ms < 1 || !d.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(UserTimeoutError(d));
        }
        Ok(UserTimeout(ms.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_timeout_is_an_int_of_milliseconds() {
        for d in [
            Duration::ZERO,
            Duration::from_micros(1500),
            Duration::from_millis(2_147_483_648),
            Duration::MAX,
        ] {
            assert!(UserTimeout::try_from(d).is_err(), "{d:?}");
        }
    }
}
