//! `apply`, `revert` and `boot` for people.

use std::fmt::Write;

use keepalivectl::ops::apply::ApplyReport;
use keepalivectl::ops::revert::RevertReport;

use super::{dropped_after, headline, lines, table, warnings};

/// What `apply` did, or would do.
pub fn people(report: &ApplyReport) -> String {
    let what = match &report.profile {
        Some(name) => format!("{name} ({})", report.after),
        None => report.after.to_string(),
    };
    let first = match (report.changed, report.dry_run) {
        (true, false) => format!("{what} is in force"),
        (true, true) => format!("{what} would be in force; nothing is written"),
        (false, _) => format!("Unchanged: {what} is in force already"),
    };
    with_changes(report, &first)
}

/// What `revert` did, or would do.
pub fn reverted(report: &RevertReport) -> String {
    let RevertReport::Done(report) = report else {
        return format!(
            "{}\n",
            headline("Nothing to revert: nothing was applied here since boot.")
        );
    };
    let first = match (report.changed, report.dry_run) {
        (true, false) => format!("Back to {}", report.after),
        (true, true) => format!("Would go back to {}; nothing is written", report.after),
        (false, _) => format!("Unchanged: {} is in force already", report.after),
    };
    with_changes(report, &first)
}

/// What `boot` did, in one line for the log.
pub fn booted(report: &ApplyReport) -> String {
    let what = match &report.profile {
        Some(name) => name.as_str(),
        None => "the enabled profile",
    };
    let settings = report.after;
    format!(
        "{what} is in force: time {} s, intvl {} s, probes {}; an idle connection with a silent \
         peer is dropped after {}\n",
        settings.time,
        settings.intvl,
        settings.probes,
        dropped_after(report.time_to_drop.idle.drop)
    )
}

fn with_changes(report: &ApplyReport, first: &str) -> String {
    let mut text = headline(format!(
        "{first}: a silent peer is dropped after {}.",
        dropped_after(report.time_to_drop.idle.drop)
    ));
    text.push('\n');
    if report.changed {
        let mut rows = table(&["SETTING", "BEFORE", "AFTER"]);
        for write in &report.writes {
            let setting = write.setting.to_string();
            rows.add_row([setting, write.from.to_string(), write.to.to_string()]);
        }
        let _ = write!(text, "\n{}", lines(&rows));
        if report.rearmed.is_none() {
            text.push_str(
            "\nConnections already open follow when their running keepalive timer expires; those \
             whose\nprogram set values of its own do not. `keepalivectl sockets` shows each.\n",
        );
        }
    }
    if let Some(rearmed) = &report.rearmed {
        let _ = write!(text, "\n{}", super::sockets::rearmed(rearmed));
    }
    text.push_str(&warnings(&report.warnings));
    text
}
