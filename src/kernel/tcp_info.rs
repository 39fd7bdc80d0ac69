//! What the kernel tells of one TCP socket (TCP_INFO).

use std::io;
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
    pub(super) const LAST_DATA_RECV: usize = 52;
    pub(super) const LAST_ACK_RECV: usize = 56;
    pub(super) const RTT: usize = 68;
    pub(super) const RTTVAR: usize = 72;
    pub(super) const NOTSENT_BYTES: usize = 144;
    pub(super) const SND_WND: usize = 228;
}

/// What decides how long a connection that goes on has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// The time since the last segment was received.
    pub silent: Duration,
    /// The retransmission timeout, with its backoff.
    pub rto: Duration,
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// Its mean deviation.
    pub deviation: Duration,
    /// How often the timer has doubled.
    pub doublings: u8,
}

impl From<TcpInfo> for Info {
    fn from(info: TcpInfo) -> Info {
        Info {
            silent: info.last_ack_received.min(info.last_data_received),
            rto: info.rto,
            rtt: info.rtt,
            deviation: info.deviation,
            doublings: info.backoff,
        }
    }
}

/// The fields that are needed here.
#[derive(Debug, Clone, Copy)]
pub(super) struct TcpInfo {
    /// The retransmission timeout, doubled with each retransmission.
    pub(super) rto: Duration,
    /// The smoothed round-trip time, and its mean deviation.
    pub(super) rtt: Duration,
    pub(super) deviation: Duration,
    /// How often the timer has doubled.
    pub(super) backoff: u8,
    /// The time since the last data came, in whole ticks.
    pub(super) last_data_received: Duration,
    /// The time since the last acknowledgement, in whole ticks.
    pub(super) last_ack_received: Duration,
    /// Whether the peer's window is closed and there is something to send.
    pub(super) window_closed: bool,
    /// Whether it has just closed: no window probe has been sent yet.
    pub(super) just_closed: bool,
}

impl TcpInfo {
    pub(super) fn of(socket: &impl AsRawFd) -> io::Result<TcpInfo> {
        let mut buffer = [0; LENGTH];
        TcpInfo::parse(read(socket, &mut buffer)?).ok_or_else(too_little)
    }

    /// None if it is shorter than that of Linux 5.4.
    pub(super) fn parse(bytes: &[u8]) -> Option<TcpInfo> {
        let bytes: &[u8; LENGTH] = bytes.first_chunk()?;
        let number = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let age = |at: usize| Duration::from_millis(number(at).into());
        let nothing_out = number(offset::UNACKED) == 0 && number(offset::NOTSENT_BYTES) > 0;
        let window_closed = nothing_out && number(offset::SND_WND) == 0;
        let backoff = bytes[offset::BACKOFF];
        Some(TcpInfo {
            rto: Duration::from_micros(number(offset::RTO).into()),
            rtt: Duration::from_micros(number(offset::RTT).into()),
            deviation: Duration::from_micros(number(offset::RTTVAR).into()),
            backoff,
            last_data_received: age(offset::LAST_DATA_RECV),
            last_ack_received: age(offset::LAST_ACK_RECV),
            window_closed,
            just_closed: window_closed && bytes[offset::PROBES] == 0 && backoff == 0,
        })
    }
}

/// What the kernel tells, as much as it has. No crate wraps this: `nix` panics
/// where a kernel has less.
fn read<'a>(socket: &impl AsRawFd, buffer: &'a mut [u8; LENGTH]) -> io::Result<&'a [u8]> {
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
