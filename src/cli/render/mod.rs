//! Reports for people: the answer in the first line, then what it rests on.

pub mod apply;
pub mod enable;
mod grid;
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

use std::fmt::Display;
use std::io::{IsTerminal, stdout};

use anstyle::Style;
use comfy_table::{ContentArrangement, Table, presets};
use keepalivectl::model::cost::Cost;
use keepalivectl::model::{Span, duration};

const BOLD: Style = Style::new().bold();
const WARN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(anstyle::AnsiColor::Yellow)));

fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The answer: the first line of a report.
fn headline(text: impl Display) -> String {
    styled(BOLD, text)
}

/// Warnings, one line each, each line with its end.
fn warnings(texts: &[String]) -> String {
    texts
        .iter()
        .map(|text| format!("{} {}\n", styled(WARN, "warning:"), plain(text)))
        .collect()
}

/// A table without lines that fits the terminal.
fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(head);
    if let Some(width) = terminal_width() {
        table.set_width(width);
    }
    table
}

/// The columns of the terminal, if standard output is one.
fn terminal_width() -> Option<u16> {
    let terminal = terminal_size::terminal_size().filter(|_| stdout().is_terminal());
    terminal.map(|(width, _)| width.0)
}

/// The table as text, without the blanks that it ends its lines with.
fn lines(table: &Table) -> String {
    table
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()))
        .collect()
}

/// What others have named, without what would steer the terminal.
pub fn plain(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// A table without its empty header.
fn body(table: &str) -> &str {
    table.split_once('\n').map_or("", |(_, rest)| rest)
}

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
