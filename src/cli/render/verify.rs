//! `verify` for people.

use keepalivectl::ops::verify::VerifyReport;

use super::{Rows, Text};

/// Whether the kernel has the enabled profile, and where not.
pub fn people(report: &VerifyReport) -> Text {
    let enabled = &report.enabled;
    let name = match &enabled.profile {
        Some(name) => format!("{name} ({})", enabled.settings),
        None => enabled.settings.to_string(),
    };
    if report.matches {
        return Text::answer(format_args!("{name} is enabled and in force."));
    }
    let mut text = Text::answer(format_args!(
        "{name} is enabled, but {} is in force.",
        report.in_force
    ));
    let mut rows = Rows::new(&["SETTING", "IN FORCE", "ENABLED"]);
    for difference in &report.differences {
        rows.row([
            difference.setting.to_string(),
            difference.in_force.to_string(),
            difference.enabled.to_string(),
        ]);
    }
    text.ours("\n");
    text.table(&rows);
    if !report.elsewhere {
        text.ours("\n`keepalivectl boot` puts what is enabled in force.\n");
    }
    text
}
