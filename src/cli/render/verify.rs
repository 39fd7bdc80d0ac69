//! `verify` for people.

use std::fmt::Write;

use keepalivectl::ops::verify::VerifyReport;

use super::{headline, lines, table};

/// Whether the kernel has the enabled profile, and where not.
pub fn people(report: &VerifyReport) -> String {
    let enabled = &report.enabled;
    let name = match &enabled.profile {
        Some(name) => format!("{name} ({})", enabled.settings),
        None => enabled.settings.to_string(),
    };
    if report.matches {
        return format!("{}\n", headline(format!("{name} is enabled and in force.")));
    }
    let mut text = headline(format!(
        "{name} is enabled, but {} is in force.",
        report.in_force
    ));
    let mut rows = table(&["SETTING", "IN FORCE", "ENABLED"]);
    for difference in &report.differences {
        rows.add_row([
            difference.setting.to_string(),
            difference.in_force.to_string(),
            difference.enabled.to_string(),
        ]);
    }
    // Writing to a String does not fail.
    let _ = write!(text, "\n\n{}", lines(&rows));
    if !report.elsewhere {
        text.push_str("\n`keepalivectl boot` puts what is enabled in force.\n");
    }
    text
}
