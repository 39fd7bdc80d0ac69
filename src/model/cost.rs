//! What keepalive costs: the packets of healthy idle connections.

use serde::Serialize;

use super::settings::Settings;

/// A probe and its answer: 20 bytes of IPv4, 20 of TCP and 12 of the timestamps
/// option each (`tcp_xmit_probe_skb` sends no data).
const EXCHANGE_BYTES_IPV4: u64 = 2 * (20 + 20 + 12);

/// The same with the 40 bytes of IPv6.
const EXCHANGE_BYTES_IPV6: u64 = 2 * (40 + 20 + 12);

/// The packets that keepalive adds to healthy idle connections, if every timer
/// is on time; late timers save a little.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// For so many connections.
    pub connections: u64,
    /// Probes and answers in an hour.
    pub packets_per_hour: f64,
    /// Bytes in a day at the IP level, with TCP timestamps, over IPv4.
    pub bytes_per_day: u64,
    /// The same over IPv6.
    pub bytes_per_day_ipv6: u64,
}

/// The cost of the settings: a probe and an answer each `max(time, intvl)`.
///
/// ```
/// use keepalivectl::model::{Settings, cost::cost};
/// let cost = cost(Settings::new(240, 30, 6)?, 1);
/// assert_eq!(cost.packets_per_hour, 30.0);
/// assert_eq!(cost.bytes_per_day, 360 * 104);
/// # Ok::<(), keepalivectl::model::SettingsError>(())
/// ```
pub fn cost(settings: Settings, connections: u64) -> Cost {
    let refresh_s = u64::from(settings.time().max(settings.intvl()));
    let a_day = |bytes: u64| {
        let total = u128::from(connections) * 86_400 * u128::from(bytes);
        u64::try_from(total / u128::from(refresh_s)).unwrap_or(u64::MAX)
    };
    Cost {
        connections,
        packets_per_hour: rounded(connections as f64 * 2.0 * 3600.0 / refresh_s as f64),
        bytes_per_day: a_day(EXCHANGE_BYTES_IPV4),
        bytes_per_day_ipv6: a_day(EXCHANGE_BYTES_IPV6),
    }
}

/// To a thousandth: more says nothing.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_intvl_saves_packets() {
        let packets = |t, i| cost(Settings::new(t, i, 9).unwrap(), 1).packets_per_hour;
        assert_eq!(packets(60, 10), 120.0);
        assert_eq!(packets(60, 120), 60.0);
    }

    #[test]
    fn many_connections_do_not_overflow() {
        let most = cost(Settings::new(1, 1, 1).unwrap(), u64::MAX);
        assert_eq!(most.bytes_per_day, u64::MAX);
    }
}
