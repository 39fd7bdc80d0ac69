//! `enable` and `disable` for people.

use keepalivectl::ops::enable::EnableReport;
use keepalivectl::ops::files::Change;

use super::{Text, apply};

/// What is kept for boot now, which files changed, and what the next boot sets.
pub fn people(report: &EnableReport) -> Text {
    let overruled = report.settings.map(|s| s.values()) != Some(report.next_boot.values());
    let but = match report.profile.is_some() && overruled {
        true => ", but the next boot sets otherwise",
        false => "",
    };
    let mut text = Text::answer(format_args!("{}{but}.", answer(report)));
    for change in &report.changes {
        text.line(match change {
            Change::Write { file, .. } => format!("  write   {}", file.display()),
            Change::Link { file, target } => {
                format!("  link    {} -> {}", file.display(), target.display())
            }
            Change::Remove { file } => format!("  remove  {}", file.display()),
        });
    }
    text.line(format_args!(
        "The next boot sets {}.",
        report.next_boot.values()
    ));
    if report.profile.is_some() && !report.systemd {
        text.ours(
            "There is no systemd here, so the drop-in alone serves: it counts where the init \
             system runs `sysctl --system`.\n",
        );
    }
    if let Some(now) = &report.now {
        text.ours("\n");
        text.text(&apply::people(now));
    }
    text.warnings(&report.warnings);
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
