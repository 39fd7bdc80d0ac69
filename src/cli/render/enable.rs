//! `enable` and `disable` for people.

use std::fmt::Write;

use keepalivectl::ops::enable::EnableReport;
use keepalivectl::ops::files::Change;

use super::{apply, headline, warnings};

/// What is kept for boot now, which files changed, and what the next boot sets.
pub fn people(report: &EnableReport) -> String {
    let overruled = report.settings.map(|s| s.values()) != Some(report.next_boot.values());
    let but = match report.profile.is_some() && overruled {
        true => ", but the next boot sets otherwise",
        false => "",
    };
    let mut text = headline(format!("{}{but}.", answer(report)));
    text.push('\n');
    // Writing to a String does not fail.
    for change in &report.changes {
        let _ = match change {
            Change::Write { file, .. } => writeln!(text, "  write   {}", file.display()),
            Change::Link { file, target } => {
                writeln!(text, "  link    {} -> {}", file.display(), target.display())
            }
            Change::Remove { file } => writeln!(text, "  remove  {}", file.display()),
        };
    }
    let _ = writeln!(text, "The next boot sets {}.", report.next_boot.values());
    if report.profile.is_some() && !report.systemd {
        text.push_str(
            "There is no systemd here, so the drop-in alone serves: it counts where the init \
             system runs `sysctl --system`.\n",
        );
    }
    if let Some(now) = &report.now {
        let _ = write!(text, "\n{}", apply::people(now));
    }
    text.push_str(&warnings(&report.warnings));
    text
}

fn answer(report: &EnableReport) -> String {
    let kept = match (&report.profile, report.settings) {
        (Some(name), Some(settings)) => format!("{name} ({settings})"),
        _ => {
            return match (report.changed, report.dry_run) {
                (true, false) => "No profile is kept for boot any more",
                (true, true) => "No profile would be kept for boot; nothing is written",
                (false, _) => "Unchanged: no profile is kept for boot",
            }
            .to_owned();
        }
    };
    match (report.changed, report.dry_run) {
        (true, false) => format!("{kept} is kept for boot"),
        (true, true) => format!("{kept} would be kept for boot; nothing is written"),
        (false, _) => format!("Unchanged: {kept} is kept for boot already"),
    }
}
