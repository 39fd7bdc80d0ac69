//! What the kernel tells of one TCP socket (TCP_INFO).

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

/// The length of `struct tcp_info` (`include/uapi/linux/tcp.h`) up to `snd_wnd`,
/// which is since Linux 5.4; later kernels only add to its end.
const LENGTH: usize = 232;

/// Where the fields begin.
mod offset {
    pub(super) const PROBES: usize = 3;
    pub(super) const BACKOFF: usize = 4;
    pub(super) const RTO: usize = 8;
    pub(super) const UNACKED: usize = 24;
    pub(super) const LAST_ACK_RECV: usize = 56;
    pub(super) const NOTSENT_BYTES: usize = 144;
    pub(super) const SND_WND: usize = 228;
}

/// The fields that are needed here.
#[derive(Debug, Clone, Copy)]
pub(super) struct TcpInfo {
    /// The retransmission timeout, doubled with each retransmission.
    pub(super) rto: Duration,
    /// The time since the last acknowledgement, in whole ticks.
    pub(super) last_ack_received: Duration,
    /// Whether the peer's window is closed and there is something to send.
    pub(super) window_closed: bool,
    /// Whether it has just closed: no window probe has been sent yet.
    pub(super) just_closed: bool,
}

impl TcpInfo {
    pub(super) fn of(socket: &TcpStream) -> io::Result<TcpInfo> {
        let mut buffer = [0; LENGTH];
        let bytes = read(socket, &mut buffer)?;
        let byte = |offset: usize| bytes.get(offset).copied().ok_or_else(too_little);
        let number = |offset: usize| match bytes.get(offset..offset + 4) {
            Some(&[a, b, c, d]) => Ok(u32::from_ne_bytes([a, b, c, d])),
            _ => Err(too_little()),
        };
        let nothing_out = number(offset::UNACKED)? == 0 && number(offset::NOTSENT_BYTES)? > 0;
        let window_closed = nothing_out && number(offset::SND_WND)? == 0;
        let probed = byte(offset::PROBES)? > 0 || byte(offset::BACKOFF)? > 0;
        Ok(TcpInfo {
            rto: Duration::from_micros(number(offset::RTO)?.into()),
            last_ack_received: Duration::from_millis(number(offset::LAST_ACK_RECV)?.into()),
            window_closed,
            just_closed: window_closed && !probed,
        })
    }
}

/// What the kernel tells, as much as it has. No crate wraps this: `nix` panics
/// where a kernel has less.
fn read<'a>(socket: &TcpStream, buffer: &'a mut [u8; LENGTH]) -> io::Result<&'a [u8]> {
    let mut length = LENGTH as libc::socklen_t;
    // SAFETY: both pointers are to memory that is borrowed for the call, and the
    // kernel writes no more than `length` bytes to the first.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            buffer.as_mut_ptr().cast(),
            &mut length,
        )
    };
    Errno::result(done)?;
    Ok(&buffer[..LENGTH.min(length as usize)])
}

fn too_little() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this kernel's TCP_INFO is shorter than that of Linux 5.4",
    )
}
