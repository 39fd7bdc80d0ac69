//! The TCP sockets of a network namespace, as the kernel lists them
//! (`sock_diag(7)`, `inet_diag.c`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::SockProtocol;

use super::netlink::Netlink;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;

/// `TCP_ESTABLISHED`, as a bit of `idiag_states`.
const ESTABLISHED: u32 = 1 << 1;

/// The length of `struct inet_diag_msg`.
const LENGTH: usize = 72;

/// What a socket waits for (`inet_sk_diag_fill`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// Nothing.
    Off,
    /// An acknowledgement (1): retransmissions so far.
    Retransmission(u8),
    /// The next keepalive probe (2): probes unanswered so far. Also a
    /// connection that closes.
    Keepalive(u8),
    /// The peer's window (4): window probes unanswered so far.
    WindowProbe(u8),
    /// Another (3: TIME_WAIT, and what later kernels add).
    Other(u8),
}

/// One established socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The kernel's name for it, never used again in this boot.
    pub cookie: u64,
    /// Its inode, by which `/proc/PID/fd` names it; 0 if no process holds it.
    pub inode: u32,
    /// What it waits for.
    pub timer: Timer,
    /// Until when, from now on.
    pub expires: Duration,
    /// Bytes written and not acknowledged.
    pub unacknowledged: u32,
}

/// Hands on each established TCP socket of the calling thread's network
/// namespace, IPv4 first. The list is not a snapshot: sockets come and go while
/// the kernel makes it.
///
/// # Errors
/// What the kernel says, or what `each` returns.
pub fn established(mut each: impl FnMut(Socket) -> io::Result<()>) -> io::Result<()> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkSockDiag)?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let found = netlink.list(BY_FAMILY, &request(family), |body| match parse(body) {
            Some(socket) => each(socket),
            None => Err(io::ErrorKind::InvalidData.into()),
        });
        match found {
            // A kernel without IPv6.
            Err(e) if family == libc::AF_INET6 && e.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, and
/// an empty `struct inet_diag_sockid`.
fn request(family: i32) -> Vec<u8> {
    const SOCKID: usize = 48;
    let mut body = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend(ESTABLISHED.to_ne_bytes());
    body.resize(body.len() + SOCKID, 0);
    body
}

/// A `struct inet_diag_msg`: family, state, timer, retrans; the ports and
/// addresses in network order, the device, the cookie; expires, rqueue, wqueue,
/// uid, inode. None if it is shorter, or of another family.
fn parse(body: &[u8]) -> Option<Socket> {
    let body: &[u8; LENGTH] = body.first_chunk()?;
    let number =
        |at: usize| u32::from_ne_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
    let end = |port: usize, address: usize| {
        let bytes: [u8; 16] = body[address..address + 16].try_into().ok()?;
        let ip = match i32::from(body[0]) {
            libc::AF_INET => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
            libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(bytes)),
            _ => return None,
        };
        Some(SocketAddr::new(
            ip,
            u16::from_be_bytes([body[port], body[port + 1]]),
        ))
    };
    let count = body[3];
    Some(Socket {
        local: end(4, 8)?,
        remote: end(6, 24)?,
        cookie: u64::from(number(44)) | u64::from(number(48)) << 32,
        timer: match body[2] {
            0 => Timer::Off,
            1 => Timer::Retransmission(count),
            2 => Timer::Keepalive(count),
            4 => Timer::WindowProbe(count),
            _ => Timer::Other(count),
        },
        expires: Duration::from_millis(number(52).into()),
        unacknowledged: number(60),
        inode: number(68),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{setsockopt, sockopt};
    use nix::sys::stat::fstat;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_found() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may have no IPv6.
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            setsockopt(&socket, sockopt::TcpKeepIdle, &77).unwrap();
            setsockopt(&socket, sockopt::KeepAlive, &true).unwrap();
            let mut found = None;
            established(|s| {
                let ours = s.local == socket.local_addr().unwrap()
                    && s.remote == socket.peer_addr().unwrap();
                found = found.or(ours.then_some(s));
                Ok(())
            })
            .unwrap();
            let found = found.expect("the connection is listed");
            assert_eq!(found.timer, Timer::Keepalive(0));
            assert!((70..=87).contains(&found.expires.as_secs()), "{found:?}");
            let inode = fstat(&socket).unwrap().st_ino;
            assert_eq!(u64::from(found.inode), inode, "{}", socket.as_raw_fd());
            assert_ne!(found.cookie, 0);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let known = body.first().is_some_and(|f| [libc::AF_INET, libc::AF_INET6].contains(&i32::from(*f)));
            prop_assert_eq!(parse(&body).is_some(), known && body.len() >= LENGTH);
        }
    }
}
