//! The kernel's limits of retransmission, which decide where keepalive rests.

use super::{Error, sysctl};
use crate::model::TcpLimits;

/// The limits in the calling thread's network namespace. What an older kernel
/// does not have is what it uses.
///
/// # Errors
/// [`Error::Read`] or [`Error::NotANumber`].
pub fn limits() -> Result<TcpLimits, Error> {
    const DEFAULT: TcpLimits = TcpLimits::KERNEL_DEFAULT;
    let retries2 = sysctl::read_key("net.ipv4.tcp_retries2")?;
    let rto_max_ms = sysctl::read_key("net.ipv4.tcp_rto_max_ms")?;
    let rto_min_us = sysctl::read_key("net.ipv4.tcp_rto_min_us")?;
    // Kernels before 5.13 take an int and count no further than a byte does in
    // a lifetime.
    let retries2 = retries2.map_or(DEFAULT.retries2(), |n| n.clamp(0, 255) as u8);
    let within =
        |value: Option<i64>, default| value.and_then(|v| v.try_into().ok()).unwrap_or(default);
    let limits = TcpLimits::new(
        retries2,
        within(rto_max_ms, DEFAULT.rto_max_ms()),
        within(rto_min_us, DEFAULT.rto_min_us()),
    );
    Ok(limits.unwrap_or(DEFAULT))
}
