//! Reports for people: the answer in the first line, then what it rests on.

pub mod apply;
pub mod enable;
pub mod profile;
pub mod show;
pub mod time_to_drop;
pub mod verify;

use std::fmt::Display;
use std::io::{IsTerminal, stdout};

use anstyle::Style;
use comfy_table::{ContentArrangement, Table, presets};
use keepalivectl::model::duration;
use keepalivectl::model::time_to_drop::Idle;

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
        .map(|text| format!("{} {text}\n", styled(WARN, "warning:")))
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

/// Milliseconds, to the second where that is exact enough.
fn about(ms: u64) -> String {
    match ms {
        0..10_000 => duration::milliseconds(ms),
        _ => duration::seconds(ms.div_ceil(1000)),
    }
}

/// `7min, at the latest after 7min 19s`.
fn dropped_after(idle: &Idle) -> String {
    format!(
        "{}, at the latest after {}",
        duration::seconds(idle.drop_s),
        about(idle.drop_latest_ms)
    )
}
