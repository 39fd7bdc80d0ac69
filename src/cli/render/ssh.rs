//! `ssh` for people.

use keepalivectl::model::check::{TRAVEL_MS, Verdict};
use keepalivectl::model::duration::seconds;
use keepalivectl::model::path::PATHS;
use keepalivectl::model::ssh::plan::{COUNTS, INTERVALS_S};
use keepalivectl::model::ssh::{Layer, LayerName, Side, Timing};
use keepalivectl::ops::check::CONNTRACK_HERE;
use keepalivectl::ops::ssh::{Reloaded, SetReport, SshPlanReport, SshReport, UnsetReport};
use keepalivectl::ssh::{Origin, Source};

use super::{Rows, Text, at_least, at_most, dropped_after, path};

/// The answer, each layer, each option with where it comes from, and each path.
pub fn show(report: &SshReport) -> Text {
    let mut text = Text::answer(capital(&answer(report)));
    text.ours("\n");
    text.table(&layers(report));
    text.ours("\n");
    text.table(&origins(report));
    if !report.paths.is_empty() {
        text.ours("\n");
        text.text(&path::checks(&report.paths));
    }
    match report.verdict {
        None => compared(&mut text, report),
        Some(Verdict::Safe) => {}
        Some(_) => next_step(&mut text, report),
    }
    text.warnings(&report.warnings);
    text
}

/// Whether it survives, and what ends it.
fn answer(report: &SshReport) -> String {
    let session = session(report);
    let survives = match (report.verdict, report.survives_idle_ms) {
        (Some(Verdict::Safe), _) => format!("Safe: {session} survives, one loss included"),
        (Some(Verdict::Fragile), _) => format!("Fragile: one loss ends {session}"),
        (Some(Verdict::Unsafe), _) => format!("Unsafe: {session} can be lost"),
        (None, _) if report.alive.ends_idle() => {
            let interval = seconds(report.alive.interval_s.into());
            return format!(
                "{} without data for {interval} is ended, its peer alive or not.",
                session
            );
        }
        (None, Some(ms)) => format!("{} survives idle timeouts above {}", session, at_most(ms)),
        (None, None) if report.silence_ms.is_some() => {
            format!("{} forgives no lost probe", session)
        }
        (None, None) => format!("{} survives no idle timeout", session),
    };
    match (report.timing.drops_first, report.timing.drop) {
        (Some(first), Some(drop)) => format!(
            "{survives}; a silent peer ends it after {} ({}).",
            dropped_after(drop),
            layer_name(report.alive.side, first)
        ),
        _ => format!("{survives}; a silent peer never ends it."),
    }
}

fn session(report: &SshReport) -> String {
    let subject = report.subject.as_deref();
    match (report.alive.side, subject) {
        (Side::Client, Some(host)) => format!("an idle session to {host}"),
        (Side::Client, None) => "an idle session to a host that no block names".to_owned(),
        (Side::Server, Some(connection)) => format!("an idle session of {connection}"),
        (Side::Server, None) => "an idle session to this server".to_owned(),
        (Side::Putty, Some(name)) => format!("an idle PuTTY session ({name})"),
        (Side::Putty, None) => "an idle PuTTY session".to_owned(),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn layer_name(side: Side, name: LayerName) -> &'static str {
    match (name, side) {
        (LayerName::Alive, Side::Client) => "ServerAlive",
        (LayerName::Alive, Side::Server) => "ClientAlive",
        (LayerName::Alive, Side::Putty) => "PuTTY's keepalive",
        (LayerName::TcpKeepalive, _) => "TCPKeepAlive",
        (LayerName::Retransmission, _) => "retransmission",
    }
}

fn layers(report: &SshReport) -> Rows {
    let mut rows = Rows::new(&["LAYER", "GIVES UP AFTER", "AT THE LATEST", "HOW"]);
    for layer in &report.timing.layers {
        let first = match report.timing.drops_first == Some(layer.name) {
            true => " (first)",
            false => "",
        };
        let (earliest, latest) = match layer.drop {
            Some(drop) => (at_least(drop.earliest_ms), at_most(drop.latest_ms)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        rows.row([
            format!("{}{first}", layer_name(report.alive.side, layer.name)),
            earliest,
            latest,
            how(report, layer),
        ]);
    }
    rows
}

/// How a layer comes to its end.
fn how(report: &SshReport, layer: &Layer) -> String {
    let alive = report.alive;
    let interval = seconds(alive.interval_s.into());
    match layer.name {
        LayerName::Alive if alive.interval_s == 0 => "off: the interval is 0".to_owned(),
        LayerName::Alive => match alive.count_max {
            None => format!("a message every {interval}, which wants no answer"),
            Some(0) if alive.ends_idle() => format!("{interval} without data"),
            Some(0) => format!("a message every {interval}; a count of 0 is for never"),
            Some(count) if alive.habits.waits_twice => {
                format!("{interval} × ({count} + 1), usually twice that")
            }
            Some(count) => format!("{interval} × ({count} + 1)"),
        },
        LayerName::TcpKeepalive | LayerName::Retransmission if !alive.socket_here => {
            "the session has no socket under this kernel".to_owned()
        }
        LayerName::TcpKeepalive if !alive.tcp_keepalive => "off".to_owned(),
        LayerName::TcpKeepalive if layer.drop.is_none() => {
            "rests from SSH's first message on".to_owned()
        }
        LayerName::TcpKeepalive => {
            format!("{} in force in the kernel; can be spoofed", report.settings)
        }
        LayerName::Retransmission => match report.timing.first_message_s {
            Some(first) => format!(
                "of SSH's first message, sent {} {}; tcp_retries2 {}",
                if alive.side == Side::Putty {
                    "within"
                } else {
                    "after"
                },
                seconds(first.into()),
                report.limits.retries2()
            ),
            None => "SSH sends nothing by itself".to_owned(),
        },
    }
}

fn origins(report: &SshReport) -> Rows {
    let mut rows = Rows::new(&["OPTION", "VALUE", "FROM", "NOT COUNTING"]);
    for origin in &report.origins {
        let shadows: Vec<String> = origin.shadows.iter().map(ToString::to_string).collect();
        rows.row([
            origin.option.clone(),
            origin.value.clone(),
            from(report.alive.side, origin),
            shadows.join(", "),
        ]);
    }
    rows
}

fn from(side: Side, origin: &Origin) -> String {
    match &origin.source {
        Source::Default if side == Side::Putty => "PuTTY's default".to_owned(),
        Source::Default => "OpenSSH's default".to_owned(),
        Source::BatchMode => "Debian's default with BatchMode".to_owned(),
        Source::CommandLine => "the command line".to_owned(),
        Source::File(line) => format!("{}:{}", line.file, line.line),
        Source::Unknown => "not known: the files do not tell".to_owned(),
    }
}

/// What it is worth, where no path was asked about.
fn compared(text: &mut Text, report: &SshReport) {
    let survives = |timeout_s: u32| {
        let needs_ms = report
            .survives_idle_ms
            .map(|ms| ms.saturating_add(TRAVEL_MS));
        needs_ms.is_some_and(|ms| ms <= u64::from(timeout_s) * 1000)
    };
    let lost = PATHS
        .iter()
        .filter(|path| !survives(path.idle_timeout_s))
        .count();
    if lost > 0 {
        text.ours("\n");
        text.line(format_args!(
            "Too long for {lost} of the {} paths in `keepalivectl paths`. To survive: keepalivectl ssh \
             plan --path NAME",
            PATHS.len()
        ));
    }
}

fn next_step(text: &mut Text, report: &SshReport) {
    let asked: Vec<String> = report
        .paths
        .iter()
        // This machine's own conntrack is no wish.
        .filter(|path| path.verdict != Verdict::Safe && path.title != CONNTRACK_HERE)
        .map(|path| match path.path {
            Some(name) => format!(" --path {name}"),
            None => format!(" --idle-timeout {}", path.idle_timeout_s),
        })
        .collect();
    if !asked.is_empty() {
        text.line(format_args!("Try: keepalivectl ssh plan{}", asked.concat()));
    }
}

/// What was set, or would be.
pub fn set(report: &SetReport) -> Text {
    let file = report.file.display();
    let first = match (report.changed, report.dry_run) {
        (true, true) => format!("{file} would be changed; nothing is written."),
        (false, _) => format!("Unchanged: {file} says so already."),
        (true, false) => format!("{file} is written."),
    };
    let mut text = match &report.in_effect {
        Some(effect) => {
            let written = if report.changed {
                "Written"
            } else {
                "Unchanged"
            };
            Text::answer(format_args!("{written}: {}", answer(effect)))
        }
        None => Text::answer(first),
    };
    if report.dry_run {
        text.lines_of(&report.diff);
        if report.changed && report.undo.is_some() {
            text.ours("Whether another line wins is asked when it is written.\n");
        }
        return text;
    }
    if let Some(effect) = &report.in_effect {
        text.ours("\n");
        text.table(&origins(effect));
        text.ours("\n");
    }
    sessions(&mut text, report);
    text.warnings(&report.warnings);
    if let Some(effect) = &report.in_effect {
        text.warnings(&effect.warnings);
    }
    text
}

/// Whom it reaches.
fn sessions(text: &mut Text, report: &SetReport) {
    let Some(undo) = &report.undo else {
        text.ours("Import it on Windows: reg import FILE, or by a double click.\n");
        return;
    };
    let reached = match (report.side, report.reloaded) {
        (Side::Server, Some(Reloaded::Done)) => {
            "The running sshd was told: it counts for new sessions, if sshd was not started with another file."
        }
        (Side::Server, Some(Reloaded::NotRunning)) => {
            "No running sshd was found, by its unit or its PidFile: it counts when one starts."
        }
        (Side::Server, None) => {
            "A running sshd reads it when it is reloaded: --reload does that, and ends no session."
        }
        _ => "It counts for new sessions; those that are open keep what they have.",
    };
    text.line(reached);
    text.line(format_args!("`{undo}` takes it out again."));
}

/// What was taken out, or would be.
pub fn unset(report: &UnsetReport) -> Text {
    let named: Vec<String> = report
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let changed: Vec<String> = report
        .changes
        .iter()
        .map(|change| change.file().display().to_string())
        .collect();
    let first = match (report.changed, report.dry_run) {
        (false, _) => format!(
            "Unchanged: there was nothing to take out of {}.",
            named.join(" or ")
        ),
        (true, true) => format!(
            "{} would be changed; nothing is written.",
            changed.join(", ")
        ),
        (true, false) => format!("Taken out of {}.", changed.join(", ")),
    };
    let mut text = Text::answer(first);
    if report.dry_run {
        text.lines_of(&report.diff);
    }
    for command in &report.left {
        text.line(format_args!("There is more, which `{command}` takes out."));
    }
    match report.reloaded {
        Some(Reloaded::Done) => text.ours("The running sshd was told.\n"),
        Some(Reloaded::NotRunning) => {
            text.ours("No running sshd was found, by its unit or its PidFile.\n")
        }
        None if report.changed && report.side == Side::Server => text
            .ours("A running sshd goes on with the old values until it is reloaded: --reload.\n"),
        None => {}
    }
    text
}

/// The options, as a shell takes them.
pub fn options(options: &[String]) -> Text {
    let mut text = Text::default();
    text.line(option_words(options));
    text
}

fn option_words(options: &[String]) -> String {
    let words: Vec<String> = options
        .iter()
        .map(|option| format!("-o {option}"))
        .collect();
    words.join(" ")
}

/// The interval and the count, what they do, and the commands that set them.
pub fn plan(report: &SshPlanReport) -> Text {
    let planned = report.planned;
    let mut text = Text::answer(format_args!(
        "interval {}, count {}",
        seconds(planned.interval_s.into()),
        planned.count_max
    ));
    text.ours("\n");
    let mut parts = Rows::new(&["", ""]);
    let mut add = |name: &str, what: String| {
        parts.row([name.to_owned(), what]);
    };
    if let (Some(timeout), Some(needs)) = (report.wish.idle_timeout_s, report.needs_ms) {
        add(
            "silence",
            format!(
                "{} at the most, one lost message and its way counted in, of {}",
                at_most(needs),
                seconds(timeout.into())
            ),
        );
    }
    add(
        "dead peer",
        dead_peer(&report.timing, report.wish.detect_within_s),
    );
    add(
        "recommended",
        format!(
            "{}: an interval of {} to {} s and a count of {} to {}",
            if report.recommended { "yes" } else { "no" },
            INTERVALS_S.start(),
            INTERVALS_S.end(),
            COUNTS.start(),
            COUNTS.end()
        ),
    );
    text.body(&parts);
    text.ours("\nOn one side, or on both:\n");
    for command in &report.commands {
        text.line(format_args!("  {command}"));
    }
    text.line(format_args!(
        "For one session: ssh {}",
        option_words(&report.options)
    ));
    text.warnings(&report.warnings);
    text
}

fn dead_peer(timing: &Timing, within_s: Option<u32>) -> String {
    let within = match within_s {
        Some(within) => format!(", of {}", seconds(within.into())),
        None => String::new(),
    };
    match (timing.drops_first, timing.drop) {
        (Some(first), Some(drop)) => format!(
            "the session ends after {}{within} ({})",
            dropped_after(drop),
            layer_name(Side::Client, first)
        ),
        _ => "nothing ends the session".to_owned(),
    }
}
