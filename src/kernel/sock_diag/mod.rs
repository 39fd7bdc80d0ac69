//! The TCP sockets of a network namespace, as the kernel lists them
//! (`sock_diag(7)`, `inet_diag.c`).

mod filter;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::SockProtocol;
use serde::Serialize;

pub use filter::Filter;

use super::counters;
use super::netlink::{self, Netlink};
use crate::model::time_to_drop::Timer;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;

/// The length of `struct inet_diag_msg`.
const LENGTH: usize = 72;

/// The attribute of a request that holds a filter (`include/uapi/linux/inet_diag.h`).
/// What a socket's TCP_INFO tells is not asked for here: the kernel waits for the
/// socket's lock before it tells that, and a process can hold it for ever.
const REQUEST_BYTECODE: u16 = 1;

/// The states in which a program can hold a connection to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum TcpState {
    /// Both ends may send.
    Established = 1,
    /// This end has closed or shut down, and its FIN is not acknowledged.
    FinWait1 = 4,
    /// This end has closed or shut down, and the peer has not.
    FinWait2 = 5,
    /// The peer has closed or shut down, and this end has not.
    CloseWait = 8,
}

impl TcpState {
    /// All of them.
    pub const ALL: [TcpState; 4] = [
        TcpState::Established,
        TcpState::FinWait1,
        TcpState::FinWait2,
        TcpState::CloseWait,
    ];

    /// As ss(8) writes it.
    pub fn word(self) -> &'static str {
        match self {
            TcpState::Established => "established",
            TcpState::FinWait1 => "fin-wait-1",
            TcpState::FinWait2 => "fin-wait-2",
            TcpState::CloseWait => "close-wait",
        }
    }

    fn from_kernel(number: u8) -> Option<TcpState> {
        TcpState::ALL
            .into_iter()
            .find(|state| *state as u8 == number)
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The states.
    pub states: Vec<TcpState>,
    /// Which sockets.
    pub filter: Filter,
}

/// One socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Its state.
    pub state: TcpState,
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
    /// The user who made it.
    pub uid: u32,
}

/// A list of sockets in the making. It is not a snapshot: sockets come and go
/// while the kernel makes it.
pub struct List {
    netlink: Netlink,
    query: Query,
    /// IPv4 and then IPv6.
    families: std::array::IntoIter<i32, 2>,
    /// What is being listed.
    family: Option<i32>,
}

impl List {
    /// Begins a list of the calling thread's network namespace; any thread may
    /// go on with it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn begin(query: Query) -> io::Result<List> {
        let mut families = [libc::AF_INET, libc::AF_INET6].into_iter();
        if !counters::may_have_sockets() {
            families.by_ref().for_each(drop);
        }
        Ok(List {
            netlink: Netlink::open(SockProtocol::NetlinkSockDiag)?,
            query,
            families,
            family: None,
        })
    }

    /// Adds the next few sockets. False when all have been listed.
    ///
    /// # Errors
    /// What the kernel says; nothing more is to be had then.
    pub fn next_part(&mut self, into: &mut Vec<Socket>) -> io::Result<bool> {
        let Some(family) = self.family else {
            let Some(family) = self.families.next() else {
                return Ok(false);
            };
            self.netlink
                .begin_list(BY_FAMILY, &request(family, &self.query))?;
            self.family = Some(family);
            return Ok(true);
        };
        let part = self.netlink.next_part(|body| {
            into.extend(parse(body)?);
            Ok(())
        });
        match part {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // A kernel without IPv6.
            Err(e) if family == libc::AF_INET6 && e.raw_os_error() == Some(libc::ENOENT) => {}
            Err(e) => return Err(e),
        }
        self.family = None;
        Ok(true)
    }
}

/// Counts the established TCP sockets of the calling thread's network namespace.
///
/// # Errors
/// What the kernel says.
pub fn count_established() -> io::Result<u64> {
    let mut list = List::begin(Query {
        states: vec![TcpState::Established],
        filter: Filter::default(),
    })?;
    let mut part = Vec::new();
    let mut count = 0;
    while list.next_part(&mut part)? {
        count += part.len() as u64;
        part.clear();
    }
    Ok(count)
}

/// Takes the sockets out of one datagram of the kernel's answer; none in the
/// place of a message that is no socket's.
pub fn sockets_in(datagram: &[u8]) -> impl Iterator<Item = Option<Socket>> {
    netlink::messages(datagram).map(|message| parse(message.body).ok().flatten())
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, and
/// an empty `struct inet_diag_sockid`; then the filter as an attribute.
fn request(family: i32, query: &Query) -> Vec<u8> {
    const SOCKID: usize = 48;
    let states = query
        .states
        .iter()
        .fold(0_u32, |bits, state| bits | 1 << *state as u8);
    let mut body = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend(states.to_ne_bytes());
    body.resize(body.len() + SOCKID, 0);
    let program = query.filter.program();
    if !program.is_empty() {
        body.extend((program.len() as u16 + 4).to_ne_bytes());
        body.extend(REQUEST_BYTECODE.to_ne_bytes());
        body.extend(program);
    }
    body
}

/// A `struct inet_diag_msg`: family, state, timer, retrans; the ports and
/// addresses in network order, the device, the cookie; expires, rqueue, wqueue,
/// uid, inode. Attributes follow. None if it has come into another state since
/// the kernel chose it.
fn parse(body: &[u8]) -> io::Result<Option<Socket>> {
    let body: &[u8; LENGTH] = body.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
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
    let ends = end(4, 8).zip(end(6, 24));
    let (local, remote) = ends.ok_or(io::ErrorKind::InvalidData)?;
    let Some(state) = TcpState::from_kernel(body[1]) else {
        return Ok(None);
    };
    Ok(Some(Socket {
        state,
        local,
        remote,
        cookie: u64::from(number(44)) | u64::from(number(48)) << 32,
        timer: timer(body[2], body[3]),
        expires: Duration::from_millis(number(52).into()),
        inode: number(68),
        uid: number(64),
    }))
}

/// The kind and the count of a timer (`inet_sk_diag_fill`). A keepalive timer is
/// also what a closed connection waits with.
fn timer(kind: u8, count: u8) -> Timer {
    match kind {
        0 => Timer::Off,
        1 => Timer::Retransmission(count),
        2 => Timer::Keepalive(count),
        4 => Timer::WindowProbe(count),
        _ => Timer::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use ipnet::IpNet;
    use nix::sys::socket::{setsockopt, sockopt};
    use nix::sys::stat::fstat;
    use proptest::prelude::*;

    use super::*;

    /// All that are listed, of this thread's namespace.
    fn listed(filter: Filter) -> Vec<Socket> {
        let query = Query {
            states: vec![TcpState::Established],
            filter,
        };
        let mut list = List::begin(query).unwrap();
        let mut all = Vec::new();
        while list.next_part(&mut all).unwrap() {}
        all
    }

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
            let (local, remote) = (socket.local_addr().unwrap(), socket.peer_addr().unwrap());
            let find = |filter| {
                let mut all = listed(filter).into_iter();
                all.find(|s| s.local == local && s.remote == remote)
            };
            let found = find(Filter::default()).expect("the connection is listed");
            assert_eq!(found.timer, Timer::Keepalive(0));
            assert!((70..=87).contains(&found.expires.as_secs()), "{found:?}");
            let inode = fstat(&socket).unwrap().st_ino;
            assert_eq!(u64::from(found.inode), inode, "{}", socket.as_raw_fd());
            assert_ne!(found.cookie, 0);
            assert_eq!(found.uid, nix::unistd::geteuid().as_raw());

            // The kernel filters.
            let net = |text: &str| vec![text.parse::<IpNet>().unwrap()];
            let its_own = format!("{}", IpNet::from(local.ip()));
            let (none, port) = (Filter::default(), local.port());
            let elsewhere = || net("192.0.2.0/24");
            for (filter, passes) in [
                (
                    Filter {
                        ports: [port].into(),
                        ..none.clone()
                    },
                    true,
                ),
                (
                    Filter {
                        ports: [1, remote.port()].into(),
                        ..none.clone()
                    },
                    true,
                ),
                (
                    Filter {
                        ports: [1, 2].into(),
                        ..none.clone()
                    },
                    false,
                ),
                (
                    Filter {
                        local: net(&its_own),
                        remote: net(&its_own),
                        ..none.clone()
                    },
                    true,
                ),
                (
                    Filter {
                        ports: [port].into(),
                        local: elsewhere(),
                        ..none.clone()
                    },
                    false,
                ),
                (
                    Filter {
                        remote: [elsewhere(), net(&its_own)].concat(),
                        ..none.clone()
                    },
                    true,
                ),
                (
                    Filter {
                        remote: [elsewhere(), elsewhere()].concat(),
                        ..none.clone()
                    },
                    false,
                ),
                // As many as a user may name.
                (
                    Filter {
                        ports: (port - 200..=port).collect(),
                        ..none.clone()
                    },
                    true,
                ),
            ] {
                assert_eq!(find(filter.clone()).is_some(), passes, "{filter:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let known = |at: usize, these: &[i32]| {
                body.get(at).is_some_and(|b| these.contains(&i32::from(*b)))
            };
            let sound = known(0, &[libc::AF_INET, libc::AF_INET6]) && body.len() >= LENGTH;
            prop_assert_eq!(parse(&body).is_ok(), sound);
            if sound {
                prop_assert_eq!(parse(&body).unwrap().is_some(), known(1, &[1, 4, 5, 8]));
            }
            prop_assert!(sockets_in(&body).count() <= body.len() / 16);
        }
    }
}
