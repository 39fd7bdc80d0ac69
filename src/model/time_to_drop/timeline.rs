//! What the kernel sends to a silent peer, and when.

use serde::Serialize;

use crate::model::span::Span;

/// One event of a connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When.
    #[serde(flatten, serialize_with = "Span::as_event")]
    pub at: Span,
    /// What happens.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happens at one expiry of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A keepalive probe is sent.
    Probe {
        /// 1 for the first.
        number: u64,
    },
    /// The last segment is sent again, before the retransmission timer runs out
    /// (`tcp_send_loss_probe`); not where SACK or `tcp_early_retrans` is off.
    LossProbe,
    /// The first unacknowledged segment is sent again.
    Retransmission {
        /// 1 for the first.
        number: u64,
    },
    /// The peer is asked for its window.
    WindowProbe {
        /// 1 for the first.
        number: u64,
    },
    /// The connection is dropped: ETIMEDOUT, and after keepalive a RST.
    Drop,
}

impl Event {
    pub(super) fn new(at: Span, kind: EventKind) -> Event {
        Event { at, kind }
    }
}
