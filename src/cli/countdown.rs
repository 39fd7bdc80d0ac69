//! A bar that counts down to the predicted drop, on standard error and only if
//! that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use keepalivectl::model::duration::seconds;
use keepalivectl::ops::measure::Progress;

/// The bar, made when there is something to show.
#[derive(Default)]
pub struct Countdown(Option<ProgressBar>);

impl Countdown {
    /// Shows how far it is.
    pub fn show(&mut self, progress: Progress) {
        let due = Duration::from_millis(progress.predicted.earliest_ms);
        let bar = self
            .0
            .get_or_insert_with(|| bar(progress.predicted.earliest_ms));
        let lasted_ms = u64::try_from(progress.lasted.as_millis()).unwrap_or(u64::MAX);
        bar.set_message(match due.checked_sub(progress.lasted) {
            Some(left) => format!("the drop is due in {}", seconds(left.as_secs() + 1)),
            None => "the drop may come any moment".to_owned(),
        });
        bar.set_position(lasted_ms.min(progress.predicted.earliest_ms));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn bar(length_ms: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {msg}");
    let bar = ProgressBar::new(length_ms);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
