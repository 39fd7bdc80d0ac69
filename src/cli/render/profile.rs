//! `profile` for people.

use keepalivectl::model::duration::seconds;
use keepalivectl::ops::profiles::{Origin, ProfileEntry, ProfileFileReport, ProfileReport};

use super::{Rows, Text, at_least, at_most, dropped_after, terminal_width};

/// All profiles, one line each.
pub fn list(entries: &[ProfileEntry]) -> Text {
    // Beside a column of sentences, a narrow terminal has no room for names.
    let wide = terminal_width().is_none_or(|width| width >= 110);
    let head = [
        "NAME", "TIME", "INTVL", "PROBES", "DROP", "SURVIVES", "ABOUT",
    ];
    let mut rows = Rows::new(if wide { &head } else { &head[..6] });
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
        rows.row(row);
    }
    // A name is for copying: it is never broken.
    rows.keep(0);
    let mut text = Text::default();
    text.table(&rows);
    text.ours(
        "\nDROP: an idle connection whose peer is silent is dropped after this.\nSURVIVES: \
         paths that forget an idle flow after more than this keep the connection, one probe lost.\n",
    );
    text
}

/// One profile: what it is, why, and what it is worth.
pub fn show(report: &ProfileReport) -> Text {
    let settings = report.settings;
    let mut text = Text::answer(format_args!("{}: {}", report.name, report.description));
    text.ours("\n");
    text.line(format_args!(
        "time {} s, intvl {} s, probes {}",
        settings.time(),
        settings.intvl(),
        settings.probes()
    ));
    text.line(format_args!(
        "On any kernel, drops an idle connection whose peer is silent after {}.",
        dropped_after(report.idle.drop)
    ));
    if let Some(survives) = report.survives_idle_ms {
        text.line(format_args!(
            "On any kernel, survives a path that forgets an idle flow after more than {}, one probe \
             lost.",
            at_most(survives)
        ));
    }
    if let Some(path) = &report.path {
        let timeout = seconds(path.idle_timeout_s.into());
        text.line(format_args!(
            "Made for: {}, which forgets after {timeout}.",
            path.title
        ));
    }
    if let Some(why) = &report.why {
        text.line(format_args!("Why: {why}"));
    }
    if let Some(source) = &report.source {
        text.line(format_args!("Source: {source}"));
    }
    if let Some(file) = &report.file {
        let hides = match report.hides_builtin {
            true => ", in front of the built-in profile of that name",
            false => "",
        };
        text.line(format_args!("Your own, in {}{hides}.", file.display()));
    }
    let name = &report.name;
    text.ours("\n");
    text.line(format_args!("Now: keepalivectl apply {name}"));
    text.line(format_args!(
        "Now and after every boot: keepalivectl enable {name} --now"
    ));
    text.warnings(&report.warnings);
    text
}

/// What `profile create` and `profile delete` did.
pub fn file(report: &ProfileFileReport) -> Text {
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
    let mut text = Text::answer(done);
    if report.builtin_of_that_name {
        text.ours(builtin);
    }
    text.warnings(&report.warnings);
    text
}
