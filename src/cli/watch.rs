//! The same report again and again: in place on a terminal, one after the other
//! elsewhere.

use std::io::{self, IsTerminal, Write};
use std::thread::sleep;
use std::time::Duration;

use super::output::{Failure, written};

/// Prints `report` every so often, until whoever reads it has read enough.
pub fn watch(
    every: Duration,
    mut report: impl FnMut() -> Result<String, Failure>,
) -> Result<(), Failure> {
    loop {
        let text = report()?;
        let mut out = anstream::AutoStream::auto(io::stdout().lock());
        let shown = match io::stdout().is_terminal() {
            true => out.write_all(in_place(&text).as_bytes()),
            false => writeln!(out, "{text}"),
        };
        if !written(shown.and_then(|()| out.flush()), false)? {
            return Ok(());
        }
        sleep(every);
    }
}

/// From the upper left corner on, over what was there, as much as fits.
fn in_place(text: &str) -> String {
    let rows = terminal_size::terminal_size().map_or(usize::MAX, |(_, rows)| rows.0.into());
    let kept = text.lines().take(rows.saturating_sub(1));
    let mut screen = "\x1b[H".to_owned();
    for line in kept {
        screen.push_str(line);
        screen.push_str("\x1b[K\n");
    }
    screen.push_str("\x1b[J");
    screen
}
