//! What the kernel has counted of keepalive, in a network namespace since it
//! was made (the host's: since boot).

use std::fs;
use std::io;

use serde::Serialize;

use super::Error;

/// Where the kernel tells its counts, for the calling thread's namespace.
const FILE: &str = "/proc/thread-self/net/netstat";

/// The counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Keepalive probes sent (TcpExt TCPKeepAlive).
    pub probes_sent: u64,
    /// Connections dropped because a timer ran out (TcpExt TCPAbortOnTimeout): by
    /// keepalive, retransmission, window probes or a user timeout; also connects
    /// that got no answer.
    pub dropped_on_timeout: u64,
}

impl Counters {
    /// Those of two namespaces, added up.
    pub fn plus(self, other: Counters) -> Counters {
        Counters {
            probes_sent: self.probes_sent.saturating_add(other.probes_sent),
            dropped_on_timeout: self
                .dropped_on_timeout
                .saturating_add(other.dropped_on_timeout),
        }
    }
}

/// The counts of the calling thread's network namespace.
///
/// # Errors
/// [`Error::Counters`].
pub fn read() -> Result<Counters, Error> {
    let text = fs::read_to_string(FILE).map_err(Error::Counters)?;
    parse(&text).ok_or_else(|| Error::Counters(io::ErrorKind::InvalidData.into()))
}

/// Whether the calling thread's network namespace may have a TCP socket. To list them
/// takes a walk through the sockets of all namespaces (`inet_diag_dump_icsk`), so
/// where thousands are looked into, those without any are passed over.
pub(super) fn may_have_sockets() -> bool {
    let in_use = |file: &str, family: &str| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).ok()?;
        sockets_in_use(&text, family)
    };
    in_use("sockstat", "TCP:") != Some(0) || in_use("sockstat6", "TCP6:").is_some_and(|n| n > 0)
}

/// `TCP: inuse 4 orphan 0 …`
fn sockets_in_use(text: &str, family: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(family))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == "inuse")?;
    words.next()?.parse().ok()
}

/// A line of names and a line of values, each with its prefix.
fn parse(text: &str) -> Option<Counters> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some(Counters {
        probes_sent: value("TCPKeepAlive")?,
        dropped_on_timeout: value("TCPAbortOnTimeout")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_in_use_are_counted() {
        let text = "sockets: used 9\nTCP: inuse 4 orphan 0 tw 1\nUDP: inuse 2\n";
        assert_eq!(sockets_in_use(text, "TCP:"), Some(4));
        assert_eq!(sockets_in_use("TCP6: inuse 0\n", "TCP6:"), Some(0));
        assert_eq!(sockets_in_use("TCP: orphan 0\n", "TCP:"), None);
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(may_have_sockets());
        drop(socket);
    }

    #[test]
    fn names_and_values_go_together() {
        let text = "TcpExt: SyncookiesSent TCPAbortOnTimeout TCPKeepAlive\nTcpExt: 1 2 3\n\
                    IpExt: InNoRoutes\nIpExt: 4\n";
        let counters = Counters {
            probes_sent: 3,
            dropped_on_timeout: 2,
        };
        assert_eq!(parse(text), Some(counters));
        for bad in [
            "",
            "TcpExt: TCPKeepAlive",
            "TcpExt: TCPKeepAlive\nTcpExt: 1\n",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
