//! `measure` for people.

use keepalivectl::model::duration::milliseconds;
use keepalivectl::ops::measure::{MeasureReport, SCHEDULING_MS};

use super::{headline, lines, table};

/// Whether the prediction holds, and both side by side.
pub fn people(report: &MeasureReport) -> String {
    let verdict = match (report.measured_ms, report.within) {
        (Some(ms), true) => format!("Dropped after {}, as predicted.", milliseconds(ms)),
        (Some(ms), false) => format!("Dropped after {}, NOT as predicted.", milliseconds(ms)),
        (None, _) => "NOT dropped, long after it should have been.".to_owned(),
    };
    let mut rows = table(&["", "EARLIEST", "LATEST"]);
    rows.add_row([
        "predicted".to_owned(),
        milliseconds(report.predicted.earliest_ms),
        milliseconds(report.predicted.latest_ms),
    ]);
    let measured = report.measured_ms.map_or("-".to_owned(), milliseconds);
    rows.add_row(["measured".to_owned(), measured.clone(), measured]);
    let hz = report
        .hz
        .map_or("unknown".to_owned(), |hz| hz.get().to_string());
    let mut text = format!("{}\n\n{}", headline(verdict), lines(&rows));
    text.push_str(&format!(
        "\n{} connection with {} on Linux {}, HZ={hz}; {SCHEDULING_MS} ms more are granted for \
         scheduling.\n",
        report.state.word(),
        report.settings,
        report.kernel,
    ));
    if !report.within {
        text.push_str(
            "A kernel that does otherwise is worth a report: send this with --json, and the \
             kernel's source or vendor.\n",
        );
    }
    text
}
