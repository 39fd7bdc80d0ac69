//! `measure` for people.

use keepalivectl::model::State;
use keepalivectl::model::duration::milliseconds;
use keepalivectl::ops::measure::MeasureReport;

use super::{Rows, Text};

/// Whether the prediction holds, and both side by side.
pub fn people(report: &MeasureReport) -> Text {
    let verdict = match (report.measured_ms, report.within) {
        (Some(ms), true) => format!("Dropped after {}, as predicted.", milliseconds(ms)),
        (Some(ms), false) => format!("Dropped after {}, NOT as predicted.", milliseconds(ms)),
        (None, _) => "NOT dropped, long after it should have been.".to_owned(),
    };
    let mut rows = Rows::new(&["", ""]);
    let mut add = |name: &str, what: String| {
        rows.row([name.to_owned(), what]);
    };
    add(
        "predicted",
        format!(
            "{} to {}, and up to {} ms of scheduling",
            milliseconds(report.predicted.earliest_ms),
            milliseconds(report.predicted.latest_ms),
            report.scheduling_ms
        ),
    );
    add(
        "measured",
        report.measured_ms.map_or("-".to_owned(), milliseconds),
    );
    let first = match report.alive_for_ms {
        0 => String::new(),
        ms => format!(", the peer silent after {}", milliseconds(ms)),
    };
    add("state", format!("{}{first}", report.state.word()));
    add("with", decisive(report));
    let hz = report
        .hz
        .map_or("unknown".to_owned(), |hz| hz.get().to_string());
    add("kernel", format!("Linux {}, HZ={hz}", report.kernel));
    let mut text = Text::answer(verdict);
    text.ours("\n");
    text.body(&rows);
    if !report.within {
        text.ours(
            "A busy machine, or a stalled virtual one? Measure again. A kernel that does so each \
             time is worth a\nreport: send this with --json, and the kernel's source or vendor.\n",
        );
    }
    text
}

/// What decides in this state.
fn decisive(report: &MeasureReport) -> String {
    let limits = report.limits;
    let values = match report.state {
        State::Idle => report.settings.to_string(),
        State::InFlight | State::ZeroWindow => format!(
            "tcp_retries2 {}, timeouts up to {}",
            limits.retries2(),
            milliseconds(limits.rto_max_ms().into())
        ),
    };
    match report.user_timeout_ms {
        Some(timeout) => {
            let timeout = milliseconds(timeout.milliseconds().into());
            format!("{values}, user timeout {timeout}")
        }
        None => values,
    }
}
