//! The command line: arguments in, a report out for people or for programs.
//!
//! This room prints and decides nothing. Exit codes: 0 done, or already so;
//! 1 failed and nothing is changed, or some sockets could not be touched; 2 the
//! command line is wrong; 3 the answer is no (drift, not safe, not as predicted);
//! 4 failed and could not undo what it had done.

mod args;
mod countdown;
mod errors;
mod output;
mod render;
mod sockets;
mod ssh;
mod text;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use keepalivectl::kernel::netns::NetNs;
use keepalivectl::model::check::Verdict;
use keepalivectl::model::{Profile, Settings, State};
use keepalivectl::ops::enable::EnableReport;
use keepalivectl::ops::time_to_drop::Question;
use keepalivectl::ops::{self, apply, check, enable, measure, netns, paths, plan, profiles};
use keepalivectl::root::Root;

use args::{Cli, Command, ConditionArguments, Namespace, NetnsCommand, ProfileCommand, SomeValues};
use countdown::Countdown;
use output::{Face, Failure};

/// Runs one command and says how it went.
pub fn run() -> ExitCode {
    let cli = Cli::read();
    let face = Face::new(cli.json);
    match dispatch(&cli, &face) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// The exit code of an answer.
fn so(is_so: bool) -> ExitCode {
    const NOT_SO: u8 = 3;
    if is_so { 0 } else { NOT_SO }.into()
}

fn dispatch(cli: &Cli, face: &Face) -> Result<ExitCode, Failure> {
    let root = match &cli.root {
        Some(path) => Root::at(path).map_err(ops::Error::from)?,
        None => Root::machine(),
    };
    let here = Command::Show {
        namespace: Namespace::default(),
        interval: None,
    };
    match cli.command.as_ref().unwrap_or(&here) {
        Command::Show {
            namespace,
            interval,
        } => show(&root, &namespace.netns(), *interval, face),
        Command::TimeToDrop(args) => time_to_drop(&root, args, face),
        Command::Paths => face.print(&paths::list(), |paths| render::path::list(paths)),
        Command::Check(args) => check(&root, args, face),
        Command::Plan(args) => {
            let report = plan::plan(&root, &args.purpose.purpose(), args.connections)?;
            face.print(&report, render::plan::people)
        }
        Command::Measure(args) => measure(&root, args, face),
        Command::Profile { command } => profile(&root, command, face),
        Command::Sockets(args) => sockets::sockets(&root, args, face),
        Command::Ssh(args) => ssh::ssh(&root, args, face),
        Command::Netns {
            command: NetnsCommand::List,
        } => face.print(&netns::list(&root)?, render::netns::list),
        Command::Apply {
            name,
            values,
            dry_run,
            namespace,
            all_netns,
            rearm,
        } => {
            let target = match name {
                Some(name) => apply::Target::Profile(name.clone()),
                None => apply::Target::Values(values.partial()),
            };
            if *all_netns {
                return apply_all(&root, &target, *rearm, *dry_run, face);
            }
            let held = sockets::hold(*rearm)?;
            let report = apply::apply(&root, &namespace.netns(), &target, *rearm, *dry_run);
            let report = match report {
                Ok(report) => report,
                Err(e) => return Ok(output::told(e, held)),
            };
            let rearmed = report.rearmed.as_deref();
            let changed = report.changed || rearmed.is_some_and(|rearmed| rearmed.changed > 0);
            let changed = changed && !dry_run;
            face.print_done(&report, changed, render::apply::people)?;
            let not_done = sockets::not_rearmed(rearmed, report.rearm_error.as_deref());
            drop(held);
            let code = output::outcome(not_done, changed);
            Ok(output::end(
                rearmed.and_then(|rearmed| rearmed.signal),
                code,
            ))
        }
        Command::Revert { dry_run, namespace } => {
            let report = ops::revert::revert(&root, &namespace.netns(), *dry_run)?;
            let changed = report.changed() && !dry_run;
            face.print_done(&report, changed, render::apply::reverted)
        }
        Command::Enable { name, now, dry_run } => {
            let report = enable::enable(&root, name, &options(*now, *dry_run))?;
            enabled(&report, face)
        }
        Command::Disable { now, dry_run } => {
            let report = enable::disable(&root, &options(*now, *dry_run))?;
            enabled(&report, face)
        }
        Command::Verify { namespace } => {
            let report = ops::verify::verify(&root, &namespace.netns())?;
            face.print(&report, render::verify::people)?;
            Ok(so(report.matches))
        }
        Command::Boot => {
            let report = ops::boot::boot(&root)?;
            face.print_done(&report, report.changed, render::apply::booted)
        }
    }
}

fn enabled(report: &EnableReport, face: &Face) -> Result<ExitCode, Failure> {
    let changed = report.changed && !report.dry_run;
    let code = face.print_done(report, changed, render::enable::people)?;
    Ok(output::end(report.signal, code))
}

fn show(
    root: &Root,
    netns: &NetNs,
    interval_s: Option<u32>,
    face: &Face,
) -> Result<ExitCode, Failure> {
    let mut report = ops::show::show(root, netns)?;
    report.rate = interval_s.map(|s| rate(root, netns, s)).transpose()?;
    face.print(&report, render::show::people)?;
    for problem in &report.problems {
        errors::complain(problem);
    }
    Ok(u8::from(!report.problems.is_empty()).into())
}

/// Counts for so long, with a countdown.
fn rate(root: &Root, netns: &NetNs, interval_s: u32) -> ops::Result<ops::show::Rate> {
    let interval = Duration::from_secs(interval_s.into());
    let mut countdown = Countdown::new("counting for", "counted");
    let mut watch = |passed| countdown.show(passed, interval);
    let rate = ops::show::rate(root, netns, interval, &mut watch);
    countdown.end();
    rate
}

fn time_to_drop(root: &Root, args: &args::TimeToDrop, face: &Face) -> Result<ExitCode, Failure> {
    let question = Question {
        rtt: args.rtt,
        rto: args.rto,
        hz: args.hz,
        ..question(&args.values, &args.conditions)
    };
    let report = ops::time_to_drop::time_to_drop(
        root,
        &args.namespace.netns(),
        &question,
        args.state.map(State::from),
        args.timeline,
        args.connections,
    )?;
    face.print(&report, render::time_to_drop::people)
}

fn apply_all(
    root: &Root,
    target: &apply::Target,
    rearm: bool,
    dry_run: bool,
    face: &Face,
) -> Result<ExitCode, Failure> {
    let held = sockets::hold(rearm)?;
    let report = match ops::apply_all::apply_all(root, target, rearm, dry_run) {
        Ok(report) => report,
        Err(e) => return Ok(output::told(e, held)),
    };
    let rearmed = report.rearmed.as_ref();
    let changed = report.changed > 0 || rearmed.is_some_and(|rearmed| rearmed.changed > 0);
    let changed = changed && !dry_run;
    face.print_done(&report, changed, render::netns::applied)?;
    if report.failed > 0 {
        errors::complain(&format!("it failed in {} of them", report.failed));
    }
    let not_done = sockets::not_rearmed(rearmed, report.rearm_error.as_deref());
    drop(held);
    let code = output::outcome(
        report.failed.saturating_add(not_done),
        changed || report.left_changed,
    );
    Ok(output::end(
        rearmed.and_then(|rearmed| rearmed.signal),
        code,
    ))
}

fn check(root: &Root, args: &args::Check, face: &Face) -> Result<ExitCode, Failure> {
    let report = check::check(
        root,
        &args.namespace.netns(),
        args.values.partial(),
        &args.between.paths(),
        args.between.idle_timeout,
    )?;
    let safe = report
        .verdict
        .is_none_or(|verdict| verdict == Verdict::Safe);
    face.print(&report, render::path::check)?;
    Ok(so(safe))
}

fn measure(root: &Root, args: &args::Measure, face: &Face) -> Result<ExitCode, Failure> {
    let question = question(&args.values, &args.conditions);
    let alive_for = args.alive_for.unwrap_or_default();
    let mut countdown = Countdown::new("the drop is due in", "the drop may come any moment");
    let mut watch = |progress: measure::Progress| {
        let due = Duration::from_millis(progress.predicted.earliest_ms);
        countdown.show(progress.lasted, due);
    };
    let report = measure::measure(root, &question, args.state.into(), alive_for, &mut watch);
    countdown.end();
    let report = report?;
    face.print(&report, render::measure::people)?;
    Ok(so(report.within))
}

fn profile(root: &Root, command: &ProfileCommand, face: &Face) -> Result<ExitCode, Failure> {
    match command {
        ProfileCommand::List => {
            let (entries, broken) = profiles::list(root)?;
            face.print(&entries, |entries| render::profile::list(entries))?;
            for error in &broken {
                errors::explain(error);
            }
            Ok(u8::from(!broken.is_empty()).into())
        }
        ProfileCommand::Show { name } => {
            face.print(&profiles::show(root, name)?, render::profile::show)
        }
        ProfileCommand::Create {
            name,
            values,
            purpose,
            description,
            replace,
        } => {
            let profile = match values.values() {
                Some(values) => Profile {
                    name: name.clone(),
                    description: description.clone().unwrap_or_else(|| values.to_string()),
                    settings: Settings::try_from(values).map_err(ops::Error::from)?,
                },
                None => purpose
                    .purpose()
                    .profile(name.clone(), description.clone())?,
            };
            let report = profiles::create(root, &profile, *replace)?;
            face.print_done(&report, true, render::profile::file)
        }
        ProfileCommand::Delete { name } => {
            let report = profiles::delete(root, name)?;
            face.print_done(&report, true, render::profile::file)
        }
    }
}

fn question(values: &SomeValues, conditions: &ConditionArguments) -> Question {
    Question {
        settings: values.partial(),
        user_timeout: conditions.user_timeout,
        retries2: conditions.retries2,
        rto_max: conditions.rto_max,
        ..Question::default()
    }
}

fn options(now: bool, dry_run: bool) -> enable::Options {
    enable::Options {
        now,
        dry_run,
        running: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("keepalivectl")),
    }
}
