//! The kernel's limits of retransmission, which decide where keepalive rests.

use std::io;

use super::{Error, sysctl};
use crate::model::TcpLimits;

/// The limits in the calling thread's network namespace. What an older kernel
/// does not have is what it uses.
///
/// # Errors
/// [`Error::Read`] or [`Error::NotANumber`].
pub fn limits() -> Result<TcpLimits, Error> {
    const DEFAULT: TcpLimits = TcpLimits::KERNEL_DEFAULT;
    let key = "net.ipv4.tcp_retries2";
    let retries2 = sysctl::read_key(key)?.ok_or_else(|| Error::Read {
        key,
        source: io::ErrorKind::NotFound.into(),
    })?;
    let known = |key, default: u32| -> Result<u32, Error> {
        let value = sysctl::read_key(key)?.and_then(|v| u32::try_from(v).ok());
        Ok(value.unwrap_or(default))
    };
    // Kernels before 5.13 take an int; more than a byte holds lasts for weeks.
    let retries2 = retries2.clamp(0, 255) as u8;
    let rto_max_ms = known("net.ipv4.tcp_rto_max_ms", DEFAULT.rto_max_ms())?;
    let rto_min_us = known("net.ipv4.tcp_rto_min_us", DEFAULT.rto_min_us())?;
    // The kernel keeps both in these ranges.
    let (rto_max_ms, rto_min_us) = (rto_max_ms.clamp(1000, 120_000), rto_min_us.max(1));
    Ok(TcpLimits::new(retries2, rto_max_ms, rto_min_us).unwrap_or(DEFAULT))
}

/// Whether `tcp_thin_linear_timeouts` is on: then the first six timeouts of a
/// connection with fewer than four segments in flight do not double.
///
/// # Errors
/// [`Error::Read`] or [`Error::NotANumber`].
pub fn thin_linear_timeouts() -> Result<bool, Error> {
    let value = sysctl::read_key("net.ipv4.tcp_thin_linear_timeouts")?;
    Ok(value.is_some_and(|v| v != 0))
}
