//! `apply`, `revert` and `boot` for people.

use keepalivectl::ops::apply::ApplyReport;
use keepalivectl::ops::revert::RevertReport;

use super::{Rows, Text, dropped_after};

/// What `apply` did, or would do.
pub fn people(report: &ApplyReport) -> Text {
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
pub fn reverted(report: &RevertReport) -> Text {
    let RevertReport::Done(report) = report else {
        return Text::answer("Nothing to revert: nothing was applied here since boot.");
    };
    let first = match (report.changed, report.dry_run) {
        (true, false) => format!("Back to {}", report.after),
        (true, true) => format!("Would go back to {}; nothing is written", report.after),
        (false, _) => format!("Unchanged: {} is in force already", report.after),
    };
    with_changes(report, &first)
}

/// What `boot` did, in one line for the log.
pub fn booted(report: &ApplyReport) -> Text {
    let what = match &report.profile {
        Some(name) => name.as_str(),
        None => "the enabled profile",
    };
    let settings = report.after;
    let mut text = Text::default();
    text.line(format_args!(
        "{what} is in force: time {} s, intvl {} s, probes {}; an idle connection with a silent \
         peer is dropped after {}",
        settings.time,
        settings.intvl,
        settings.probes,
        dropped_after(report.time_to_drop.idle.drop)
    ));
    text
}

fn with_changes(report: &ApplyReport, first: &str) -> Text {
    let mut text = Text::answer(format_args!(
        "{first}: a silent peer is dropped after {}.",
        dropped_after(report.time_to_drop.idle.drop)
    ));
    if report.changed {
        let mut rows = Rows::new(&["SETTING", "BEFORE", "AFTER"]);
        for write in &report.writes {
            let setting = write.setting.to_string();
            rows.row([setting, write.from.to_string(), write.to.to_string()]);
        }
        text.ours("\n");
        text.table(&rows);
        if report.rearmed.is_none() {
            text.ours(
            "\nConnections already open follow when their running keepalive timer expires; those \
             whose\nprogram set values of its own do not. `keepalivectl sockets` shows each.\n",
        );
        }
    }
    if let Some(rearmed) = &report.rearmed {
        text.ours("\n");
        text.text(&super::sockets::rearmed(rearmed));
    }
    text.warnings(&report.warnings);
    text
}
