//! `profile` for people.

use std::fmt::Write;

use comfy_table::ColumnConstraint;
use keepalivectl::model::duration::seconds;
use keepalivectl::ops::profiles::{Origin, ProfileEntry, ProfileFileReport, ProfileReport};

use super::{at_least, at_most, dropped_after, headline, lines, table, terminal_width, warnings};

/// All profiles, one line each.
pub fn list(entries: &[ProfileEntry]) -> String {
    // Beside a column of sentences, a narrow terminal has no room for names.
    let wide = terminal_width().is_none_or(|width| width >= 110);
    let head = [
        "NAME", "TIME", "INTVL", "PROBES", "DROP", "SURVIVES", "ABOUT",
    ];
    let mut rows = table(if wide { &head } else { &head[..6] });
    for entry in entries {
        let about_it = match entry.origin {
            Origin::BuiltIn => entry.description.clone(),
            Origin::Administrator => format!("{} (your own)", entry.description),
        };
        let mut row = vec![
            entry.name.to_string(),
            entry.settings.time().to_string(),
            entry.settings.intvl().to_string(),
            entry.settings.probes().to_string(),
            at_least(entry.drop_ms),
            entry.survives_idle_ms.map_or("-".to_owned(), at_most),
        ];
        row.extend(wide.then_some(about_it));
        rows.add_row(row);
    }
    // A name is for copying: it is never broken.
    if let Some(names) = rows.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    format!(
        "{}\nDROP: an idle connection whose peer is silent is dropped after this.\nSURVIVES: \
         paths that forget an idle flow after more than this keep the connection, one probe lost.\n",
        lines(&rows)
    )
}

/// One profile: what it is, why, and what it is worth.
pub fn show(report: &ProfileReport) -> String {
    let settings = report.settings;
    let mut text = headline(format!("{}: {}", report.name, report.description));
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "\n\ntime {} s, intvl {} s, probes {}",
        settings.time(),
        settings.intvl(),
        settings.probes()
    );
    let _ = writeln!(
        text,
        "On any kernel, drops an idle connection whose peer is silent after {}.",
        dropped_after(report.idle.drop)
    );
    if let Some(survives) = report.survives_idle_ms {
        let _ = writeln!(
            text,
            "On any kernel, survives a path that forgets an idle flow after more than {}, one probe \
             lost.",
            at_most(survives)
        );
    }
    if let Some(path) = &report.path {
        let timeout = seconds(path.idle_timeout_s.into());
        let _ = writeln!(
            text,
            "Made for: {}, which forgets after {timeout}.",
            path.title
        );
    }
    if let Some(why) = &report.why {
        let _ = writeln!(text, "Why: {why}");
    }
    if let Some(source) = &report.source {
        let _ = writeln!(text, "Source: {source}");
    }
    if let Some(file) = &report.file {
        let hides = match report.hides_builtin {
            true => ", in front of the built-in profile of that name",
            false => "",
        };
        let _ = writeln!(text, "Your own, in {}{hides}.", file.display());
    }
    let name = &report.name;
    let _ = writeln!(
        text,
        "\nNow: keepalivectl apply {name}\nNow and after every boot: keepalivectl enable {name} --now"
    );
    text.push_str(&warnings(&report.warnings));
    text
}

/// What `profile create` and `profile delete` did.
pub fn file(report: &ProfileFileReport) -> String {
    let (name, file) = (&report.name, report.file.display());
    let (done, builtin) = match report.settings {
        Some(settings) => (
            format!("{name} ({settings}) is written to {file}."),
            "It wins over the built-in profile of that name.\n",
        ),
        None => (
            format!("{name} is deleted: {file}."),
            "The built-in profile of that name serves again.\n",
        ),
    };
    let builtin = if report.builtin_of_that_name {
        builtin
    } else {
        ""
    };
    format!(
        "{}\n{builtin}{}",
        headline(done),
        warnings(&report.warnings)
    )
}
