//! A bar that counts down to the predicted drop, on standard error; where that is
//! no terminal, one line that says when it is due.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use keepalivectl::model::duration::seconds;
use keepalivectl::ops::measure::Progress;

use super::errors;

/// A wait that is too short for a word.
const SHORT_MS: u64 = 2000;

/// The bar, made when there is something to show.
#[derive(Default)]
pub struct Countdown(Option<ProgressBar>);

impl Countdown {
    /// Shows how far it is.
    pub fn show(&mut self, progress: Progress) {
        let due_ms = progress.predicted.earliest_ms;
        let bar = self.0.get_or_insert_with(|| start(due_ms));
        let due = Duration::from_millis(due_ms);
        bar.set_message(match due.checked_sub(progress.lasted) {
            Some(left) => format!("the drop is due in {}", seconds(left.as_secs() + 1)),
            None => "the drop may come any moment".to_owned(),
        });
        let lasted_ms = u64::try_from(progress.lasted.as_millis()).unwrap_or(u64::MAX);
        bar.set_position(lasted_ms.min(due_ms));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn start(due_ms: u64) -> ProgressBar {
    if due_ms > SHORT_MS && !stderr().is_terminal() {
        errors::complain(&format!(
            "the drop is due in {}",
            seconds(due_ms.div_ceil(1000))
        ));
    }
    let style = ProgressStyle::with_template("{wide_bar} {msg}");
    ProgressBar::new(due_ms).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
