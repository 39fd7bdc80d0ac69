//! Which sockets the kernel lists: a little program that it runs on each
//! (`inet_diag_bc_run`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc;

use super::Socket;

/// Which ports and addresses. An empty list lets all pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these, at either end.
    pub ports: BTreeSet<u16>,
    /// This end is in any of these.
    pub local: Vec<IpNet>,
    /// The other end is in any of these.
    pub remote: Vec<IpNet>,
}

impl Filter {
    /// Whether a socket passes.
    pub fn passes(&self, socket: &Socket) -> bool {
        let (local, remote) = (socket.local, socket.remote);
        let ports = [local.port(), remote.port()];
        (self.ports.is_empty() || ports.iter().any(|port| self.ports.contains(port)))
            && within(&self.local, local.ip())
            && within(&self.remote, remote.ip())
    }

    /// The program; empty where all pass. It ends, and the socket passes, at its
    /// last byte; a jump beyond that rejects.
    pub(super) fn program(&self) -> Vec<u8> {
        // What no jump could leap over, nor the request hold, is left to `passes`.
        // A condition has its operation, its jump and up to 28 bytes.
        const MOST: usize = u16::MAX as usize / 2 / (2 * OPERATION + 28);
        if 2 * self.ports.len() + self.local.len() + self.remote.len() > MOST {
            return Vec::new();
        }
        let ports = self.ports.iter().flat_map(|port| {
            let port = i32::from(*port);
            [LOCAL, REMOTE].map(|end| condition(end, None, port))
        });
        let nets = |end, nets: &[IpNet]| -> Vec<Vec<u8>> {
            nets.iter()
                .map(|net| condition(end, Some(net), ANY_PORT))
                .collect()
        };
        // All three must be so. The last comes first, because a jump counts the
        // bytes behind it.
        [
            nets(REMOTE, &self.remote),
            nets(LOCAL, &self.local),
            ports.collect(),
        ]
        .into_iter()
        .fold(Vec::new(), |behind, conditions| any_of(&conditions, behind))
    }
}

/// `INET_DIAG_BC_JMP`: always goes the way of no.
const JUMP: u8 = 1;
/// `INET_DIAG_BC_S_COND` and `INET_DIAG_BC_D_COND`.
const LOCAL: u8 = 7;
const REMOTE: u8 = 8;

/// The length of `struct inet_diag_bc_op`: code, jump if so, jump if not so.
const OPERATION: usize = 4;

/// Where only the address counts.
const ANY_PORT: i32 = -1;

/// One of the conditions, then what is `behind`. If so must lead to the next
/// operation (`inet_diag_bc_audit`), from where a jump leaps over the rest.
fn any_of(conditions: &[Vec<u8>], behind: Vec<u8>) -> Vec<u8> {
    let mut program = behind.clone();
    for condition in conditions.iter().rev() {
        let last = program.len() == behind.len();
        let rest = program.len() - behind.len();
        let mut step = condition.clone();
        let not_so = match last {
            true => step.len() + program.len() + OPERATION,
            false => step.len() + OPERATION,
        };
        step[1] = condition.len() as u8;
        step[2..OPERATION].copy_from_slice(&(not_so as u16).to_ne_bytes());
        if !last {
            step.extend([JUMP, OPERATION as u8]);
            step.extend(((rest + OPERATION) as u16).to_ne_bytes());
        }
        step.append(&mut program);
        program = step;
    }
    program
}

/// An operation, its jumps still open, and `struct inet_diag_hostcond`: family,
/// length of the prefix, port, address.
fn condition(end: u8, net: Option<&IpNet>, port: i32) -> Vec<u8> {
    let (family, prefix, address) = match net {
        None => (libc::AF_UNSPEC, 0, Vec::new()),
        Some(IpNet::V4(net)) => (
            libc::AF_INET,
            net.prefix_len(),
            net.addr().octets().to_vec(),
        ),
        Some(IpNet::V6(net)) => (
            libc::AF_INET6,
            net.prefix_len(),
            net.addr().octets().to_vec(),
        ),
    };
    let mut bytes = vec![end, 0, 0, 0, family as u8, prefix, 0, 0];
    bytes.extend(port.to_ne_bytes());
    bytes.extend(address);
    bytes
}

/// An IPv4 address counts as one where it is mapped into an IPv6 one.
fn within(nets: &[IpNet], address: IpAddr) -> bool {
    let plain = address.to_canonical();
    nets.is_empty()
        || nets
            .iter()
            .any(|net| net.contains(&address) || net.contains(&plain))
}
