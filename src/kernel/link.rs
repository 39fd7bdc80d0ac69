//! Network devices, by rtnetlink.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

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
    request(libc::RTM_NEWLINK, &body)
}

/// Sends one request and waits for the kernel's word on it.
fn request(kind: u16, body: &[u8]) -> io::Result<()> {
    /// `struct nlmsghdr`: length, type, flags, sequence number, port.
    const HEADER: usize = 16;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);

    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // The answer is a `struct nlmsgerr`, which begins with 0 or −errno.
    match answer[..length].get(HEADER..HEADER + 4) {
        Some(&[a, b, c, d]) => match i32::from_ne_bytes([a, b, c, d]) {
            0 => Ok(()),
            negative => Err(Errno::from_raw(-negative).into()),
        },
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
