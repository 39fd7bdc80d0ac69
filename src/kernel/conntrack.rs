//! The connection tracking of this machine, which is a path of its own.

use super::{Error, sysctl};

/// Seconds after which conntrack forgets an idle TCP flow in the calling
/// thread's network namespace; none if its module is not loaded
/// (`nf_conntrack_tcp_timeout_established`).
///
/// # Errors
/// [`Error::Read`] or [`Error::NotANumber`].
pub fn established_timeout_s() -> Result<Option<u32>, Error> {
    let seconds = sysctl::read_key("net.netfilter.nf_conntrack_tcp_timeout_established")?;
    Ok(seconds.and_then(|s| s.try_into().ok()))
}
