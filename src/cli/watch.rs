//! The same report again and again: in place on a terminal, one after the other
//! elsewhere.

use std::io::{self, IsTerminal, Write};
use std::thread::sleep;
use std::time::Duration;

use super::output::{Failure, written};
use super::text::Text;

/// Prints `report` every so often, until whoever reads it has read enough.
pub fn watch(
    every: Duration,
    mut report: impl FnMut() -> Result<Text, Failure>,
) -> Result<(), Failure> {
    loop {
        let text = report()?;
        let mut out = anstream::AutoStream::auto(io::stdout().lock());
        let shown = match io::stdout().is_terminal() {
            true => out.write_all(in_place(text.as_str()).as_bytes()),
            false => writeln!(out, "{}", text.as_str()),
        };
        if !written(shown.and_then(|()| out.flush()), false)? {
            return Ok(());
        }
        sleep(every);
    }
}

/// From the upper left corner on, over what was there, as much as fits.
fn in_place(text: &str) -> String {
    let (columns, rows) = terminal_size::terminal_size()
        .map_or((usize::MAX, usize::MAX), |(columns, rows)| {
            (columns.0.into(), rows.0.into())
        });
    let mut screen = "\x1b[H".to_owned();
    let mut left = rows.saturating_sub(2);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let height = line.chars().count().div_ceil(columns).max(1);
        if height > left {
            let more = 1 + lines.count();
            screen.push_str(&format!("… {more} more lines\x1b[K\n"));
            break;
        }
        left -= height;
        screen.push_str(line);
        screen.push_str("\x1b[K\n");
    }
    screen.push_str("\x1b[J");
    screen
}
