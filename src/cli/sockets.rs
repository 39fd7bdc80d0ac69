//! `sockets` and its commands.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use keepalivectl::kernel::signals::{self, Held};
use keepalivectl::model::Partial;
use keepalivectl::ops;
use keepalivectl::ops::sockets::{
    self as job, Change, ChangeReport, Filter, Scope, SocketReport, Unseen,
};
use keepalivectl::root::Root;

use super::args::{self, ChangeArguments, Sockets, SocketsCommand};
use super::output::{Array, Face, Failure, written};
use super::text::Text;
use super::{errors, output, rate, render, watch};

/// Lists them, counts them, or changes them.
pub fn sockets(root: &Root, args: &Sockets, face: &Face) -> Result<ExitCode, Failure> {
    match &args.command {
        Some(SocketsCommand::Rearm(how)) => {
            change(root, how, &Change::Rearm, face, render::sockets::rearmed)
        }
        Some(SocketsCommand::Set {
            values,
            user_timeout,
            enable_keepalive,
            change: how,
        }) => {
            let what = args::set(values, *user_timeout, *enable_keepalive)?;
            change(root, how, &what, face, render::sockets::set)
        }
        None => look(root, args, face),
    }
}

fn change(
    root: &Root,
    how: &ChangeArguments,
    what: &Change,
    face: &Face,
    people: impl Fn(&ChangeReport) -> Text,
) -> Result<ExitCode, Failure> {
    let held = hold(true)?;
    let (scope, filter) = (how.scope.scope(), how.filter.filter());
    let dry_run = how.dry_run.then(Partial::default);
    let report = match job::change(root, &scope, &filter, what, dry_run) {
        Ok(report) => report,
        Err(e) => return Ok(output::told(e, held)),
    };
    let changed = report.changed > 0 && !how.dry_run;
    face.print_done(&report, changed, people)?;
    let code = output::outcome(not_done(&report), false);
    drop(held);
    Ok(output::end(report.signal, code))
}

/// Holds signals back where sockets are changed: Ctrl-C after the last one ends the
/// program when it has told what is done.
pub fn hold(changes: bool) -> Result<Option<Held>, Failure> {
    let held = changes.then(signals::hold).transpose();
    Ok(held.map_err(ops::Error::from)?)
}

/// The same of `apply --rearm`, which may not have come to the sockets.
pub fn not_rearmed(report: Option<&ChangeReport>, error: Option<&str>) -> usize {
    if let Some(error) = error {
        errors::complain(&format!(
            "the settings are in force, but the open connections do not follow at once: {error}"
        ));
    }
    report.map_or(0, not_done) + usize::from(error.is_some())
}

/// How many sockets, processes and namespaces were to be changed and may not be
/// touched; says so.
pub fn not_done(report: &ChangeReport) -> usize {
    if report.refused > 0 {
        errors::complain(&format!("{} of the sockets were refused", report.refused));
    }
    if report.interrupted {
        errors::complain("interrupted: sockets that were not yet seen are as they were");
    }
    let refused = usize::try_from(report.refused).unwrap_or(usize::MAX);
    let unseen = &report.unseen;
    let namespaces = unseen.namespaces.iter().filter(|namespace| !namespace.gone);
    refused.saturating_add(unseen.processes + namespaces.count() + usize::from(report.interrupted))
}

fn look(root: &Root, args: &Sockets, face: &Face) -> Result<ExitCode, Failure> {
    let (scope, filter) = (args.scope.scope(), args.filter.filter());
    let owners = !args.no_process;
    if let Some(seconds) = args.watch {
        watch::watch(Duration::from_secs(seconds.into()), || {
            Ok(match args.summary {
                true => render::sockets::summary(&job::summary(root, &scope, &filter, owners)?),
                false => people(root, &scope, &filter, owners)?.0,
            })
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.summary {
        let mut report = job::summary(root, &scope, &filter, owners)?;
        if let (Some(seconds), Scope::One(netns)) = (args.interval, &scope) {
            report.rate = Some(rate(root, netns, seconds)?);
        }
        face.print(&report, render::sockets::summary)?;
        return Ok(listed(&scope, &filter, &report.unseen));
    }
    if face.is_json() {
        return stream(root, &scope, &filter, owners);
    }
    let (text, unseen) = people(root, &scope, &filter, owners)?;
    face.print_text(&text)?;
    Ok(listed(&scope, &filter, &unseen))
}

fn people(
    root: &Root,
    scope: &Scope,
    filter: &Filter,
    owners: bool,
) -> Result<(Text, Unseen), Failure> {
    let mut all: Vec<SocketReport> = Vec::new();
    let unseen = job::audit(root, scope, filter, owners, &mut |socket| {
        all.push(socket);
        ControlFlow::Continue(())
    })?;
    Ok((render::sockets::list(&all, &unseen), unseen))
}

/// Each as it comes, so that no number of them fills the memory.
fn stream(root: &Root, scope: &Scope, filter: &Filter, owners: bool) -> Result<ExitCode, Failure> {
    let mut array = Array::new();
    let mut done = Ok(());
    let unseen = job::audit(root, scope, filter, owners, &mut |socket| {
        // Another thread may come after the one that failed.
        if done.is_ok() {
            done = array.push(&socket);
        }
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    if written(done.and_then(|()| array.end()), false)? {
        complain(&unseen);
    }
    Ok(listed(scope, filter, &unseen))
}

/// The exit code of a list: one of many namespaces may go away, but the one that
/// was named has to be seen, and so has a process that was named by its number.
fn listed(scope: &Scope, filter: &Filter, unseen: &Unseen) -> ExitCode {
    let missing = matches!(scope, Scope::One(_)) && !unseen.namespaces.is_empty();
    let hidden = !filter.pids.is_empty() && unseen.processes > 0;
    u8::from(missing || hidden).into()
}

/// What the array has no place for.
fn complain(unseen: &Unseen) {
    for note in render::sockets::notes(unseen) {
        errors::complain(&note);
    }
}
