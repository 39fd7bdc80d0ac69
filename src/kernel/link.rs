//! Network devices, by rtnetlink.

use std::io;

use nix::libc;
use nix::sys::socket::SockProtocol;

use super::netlink::Netlink;

/// Sets the loopback device of the calling thread's network namespace up: its
/// index is 1 in every namespace (`loopback_net_init`).
pub(super) fn loopback_up() -> io::Result<()> {
    const INDEX: i32 = 1;
    let up = libc::IFF_UP as u32;
    // `struct ifinfomsg`: family, padding, type, index, flags, change mask.
    let mut body = vec![0; 4];
    body.extend(INDEX.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    Netlink::open(SockProtocol::NetlinkRoute)?.request(libc::RTM_NEWLINK, &body)
}
