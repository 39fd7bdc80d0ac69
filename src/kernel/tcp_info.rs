//! What the kernel tells of one TCP socket (TCP_INFO).

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, libc, sockopt_impl};

/// `struct tcp_info` of `include/uapi/linux/tcp.h`, as long as that of Linux
/// 5.10; later kernels only add to its end.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct TcpInfo {
    _state: u8,
    _ca_state: u8,
    _retransmits: u8,
    probes: u8,
    backoff: u8,
    _options: [u8; 3],
    /// rto, ato, snd_mss, rcv_mss.
    _timers: [u32; 4],
    unacked: u32,
    /// sacked, lost, retrans, fackets.
    _lost: [u32; 4],
    /// last_data_sent, last_ack_sent, last_data_recv.
    _last: [u32; 3],
    last_ack_recv_ms: u32,
    /// pmtu, rcv_ssthresh.
    _path: [u32; 2],
    rtt_us: u32,
    /// rttvar, snd_ssthresh, snd_cwnd, advmss, reordering, rcv_rtt, rcv_space,
    /// total_retrans.
    _estimates: [u32; 8],
    /// pacing_rate, max_pacing_rate, bytes_acked, bytes_received.
    _bytes: [u64; 4],
    /// segs_out, segs_in.
    _segments: [u32; 2],
    notsent_bytes: u32,
    /// min_rtt, data_segs_in, data_segs_out.
    _data: [u32; 3],
    /// delivery_rate, busy_time, rwnd_limited, sndbuf_limited.
    _rates: [u64; 4],
    /// delivered, delivered_ce.
    _delivered: [u32; 2],
    /// bytes_sent, bytes_retrans.
    _sent: [u64; 2],
    /// dsack_dups, reord_seen, rcv_ooopack.
    _seen: [u32; 3],
    snd_wnd: u32,
}

sockopt_impl!(Info, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, TcpInfo);

impl TcpInfo {
    pub(super) fn of(socket: &TcpStream) -> io::Result<TcpInfo> {
        Ok(getsockopt(socket, Info)?)
    }

    /// The smoothed round-trip time.
    pub(super) fn rtt(&self) -> Duration {
        Duration::from_micros(self.rtt_us.into())
    }

    /// The time since the last acknowledgement, in whole ticks.
    pub(super) fn last_ack_received(&self) -> Duration {
        Duration::from_millis(self.last_ack_recv_ms.into())
    }

    /// Whether the peer's window is closed and there is something to send.
    pub(super) fn window_closed(&self) -> bool {
        self.snd_wnd == 0 && self.unacked == 0 && self.notsent_bytes > 0
    }

    /// Whether it has just closed: no window probe has been sent yet.
    pub(super) fn just_closed(&self) -> bool {
        self.window_closed() && self.probes == 0 && self.backoff == 0
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_as_long_as_the_kernels_of_5_10() {
        assert_eq!(size_of::<super::TcpInfo>(), 232);
    }
}
