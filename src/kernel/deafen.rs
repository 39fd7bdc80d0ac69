//! A socket filter that lets nothing in (SO_ATTACH_FILTER).

use std::io;
use std::net::TcpStream;

use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// The kernel copies the program.
    AttachFilter,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_ATTACH_FILTER,
    libc::sock_fprog
);

/// From now on the socket takes no segment: its kernel neither acknowledges nor
/// resets, as if the cable were cut.
pub(super) fn deafen(socket: &TcpStream) -> io::Result<()> {
    const RETURN_NOTHING: libc::sock_filter = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let mut program = [RETURN_NOTHING];
    let filter = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    Ok(setsockopt(socket, AttachFilter, &filter)?)
}
