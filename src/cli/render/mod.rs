//! Reports for people: the answer in the first line, then what it rests on.

pub mod apply;
pub mod enable;
pub mod measure;
pub mod netns;
pub mod path;
pub mod plan;
pub mod profile;
pub mod show;
pub mod sockets;
pub mod ssh;
pub mod time_to_drop;
pub mod verify;

use keepalivectl::model::cost::Cost;
use keepalivectl::model::{Span, duration};

use super::text::{Grid, Rows, Text, terminal_width};

/// `30 packets an hour, 37.4 kB a day` for each connection, or for many.
fn cost(cost: &Cost) -> String {
    let connections = match cost.connections {
        1 => "a connection".to_owned(),
        n => format!("{n} connections"),
    };
    let packets = match cost.packets_per_hour {
        few if few < 1.0 => format!("{:.1} packets a day", few * 24.0),
        few if few < 10.0 => format!("{few:.1} packets an hour"),
        many => format!("{many:.0} packets an hour"),
    };
    format!(
        "{packets} and {} a day for {connections} (IPv6: {})",
        bytes(cost.bytes_per_day),
        bytes(cost.bytes_per_day_ipv6)
    )
}

/// Bytes to three digits or so: `936 B`, `37.4 kB`.
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.95 {
            return match unit {
                "B" => format!("{count} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1000.0;
    }
    format!("{value:.0} PB")
}

/// Below a minute a time is told in full, from there on in whole seconds.
const IN_FULL_MS: u64 = 60_000;

/// A time that something takes at the least: rounded down.
fn at_least(ms: u64) -> String {
    match ms {
        0..IN_FULL_MS => duration::milliseconds(ms),
        _ => duration::seconds(ms / 1000),
    }
}

/// A time that something takes at the most: rounded up.
fn at_most(ms: u64) -> String {
    match ms {
        0..IN_FULL_MS => duration::milliseconds(ms),
        _ => duration::seconds(ms.div_ceil(1000)),
    }
}

/// `7min, at the latest after 7min 19s`.
fn dropped_after(drop: Span) -> String {
    format!(
        "{}, at the latest after {}",
        at_least(drop.earliest_ms),
        at_most(drop.latest_ms)
    )
}
