//! A bar that counts down, on standard error; where that is no terminal, one line
//! that says how long it takes.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use keepalivectl::model::duration::{millis, seconds};

use super::errors;

/// A wait that is too short for a word.
const SHORT: Duration = Duration::from_secs(2);

/// The bar, made when there is something to show.
pub struct Countdown {
    /// What comes before the time that is left.
    waiting: &'static str,
    /// What is said when none is left.
    over: &'static str,
    bar: Option<ProgressBar>,
}

impl Countdown {
    /// With what it says before and after its end.
    pub fn new(waiting: &'static str, over: &'static str) -> Countdown {
        Countdown {
            waiting,
            over,
            bar: None,
        }
    }

    /// Shows how much of the time has passed.
    pub fn show(&mut self, passed: Duration, all: Duration) {
        let waiting = self.waiting;
        let bar = self.bar.get_or_insert_with(|| {
            if all > SHORT && !stderr().is_terminal() {
                errors::complain(&format!(
                    "{waiting} {}",
                    seconds(millis(all).div_ceil(1000))
                ));
            }
            bar(millis(all))
        });
        bar.set_message(match all.checked_sub(passed) {
            Some(left) => format!("{waiting} {}", seconds(left.as_secs() + 1)),
            None => self.over.to_owned(),
        });
        bar.set_position(millis(passed.min(all)));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {msg}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
