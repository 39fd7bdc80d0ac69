//! `ssh` and its commands.

use std::path::PathBuf;
use std::process::ExitCode;

use keepalivectl::model::check::Verdict;
use keepalivectl::ops;
use keepalivectl::ops::ssh::client::Scope;
use keepalivectl::ops::ssh::{self as job, Programs, SetReport, Subject, UnsetReport};
use keepalivectl::root::Root;
use keepalivectl::ssh::{caller, client, putty, server};

use super::args::{self, IntervalAndCount, SetWhose, Show, Ssh, SshCommand, UnsetWhose};
use super::output::{Face, Failure};
use super::{render, so};

/// Shows them, sets them, or plans.
pub fn ssh(root: &Root, args: &Ssh, face: &Face) -> Result<ExitCode, Failure> {
    let programs = &args.programs();
    match &args.command {
        SshCommand::Show(show) => look(root, programs, show, face),
        SshCommand::Set { whose } => set(root, programs, whose, face),
        SshCommand::Unset { whose } => unset(root, programs, whose, face),
        SshCommand::Options(IntervalAndCount { interval, count }) => {
            let options = client::options(interval.interval, *count);
            face.print(&options, |options| render::ssh::options(options))
        }
        SshCommand::Plan(plan) => {
            let report = job::plan(root, programs, &plan.purpose())?;
            face.print(&report, render::ssh::plan)
        }
    }
}

fn look(root: &Root, programs: &Programs, show: &Show, face: &Face) -> Result<ExitCode, Failure> {
    let home = match (show.server, &show.file, &show.reg) {
        // Its own files, and its host keys, are root's.
        (true, None, _) => None,
        // A file that is named is the caller's to read, and nobody's home counts.
        (true, Some(_), _) | (_, _, Some(_)) => {
            caller::act_as_caller().map_err(ops::Error::from)?;
            None
        }
        _ => callers_home(programs)?,
    };
    let subject = if show.server {
        Subject::Server(server::Asked {
            file: show.file.clone(),
            connection: show.connection.clone(),
        })
    } else if let Some(session) = &show.putty {
        let session = session.as_deref().map(session_name);
        Subject::Putty { session, home }
    } else if let Some(file) = &show.reg {
        let session = show.host.as_deref().map(session_name);
        let file = file.clone();
        Subject::Reg { file, session }
    } else {
        Subject::Client(client::Asked {
            host: show.host.clone(),
            file: show.file.clone(),
            options: show.option.clone(),
            home,
        })
    };
    let report = job::show(root, programs, &subject, &show.circumstances())?;
    face.print(&report, render::ssh::show)?;
    let safe = report
        .verdict
        .is_none_or(|verdict| verdict == Verdict::Safe);
    Ok(so(safe))
}

fn set(
    root: &Root,
    programs: &Programs,
    whose: &SetWhose,
    face: &Face,
) -> Result<ExitCode, Failure> {
    let report = match whose {
        SetWhose::Client {
            values,
            place,
            dry_run,
        } => {
            let home = home_for(programs, place.scope())?;
            job::client::set(
                root,
                programs,
                &args::client(values, place, home),
                dry_run.dry_run,
            )
        }
        SetWhose::Server {
            interval,
            count,
            tcp_keepalive,
            edit_main,
            reload,
            dry_run,
        } => {
            let values = (interval.interval, *count);
            let wanted = args::server(values, tcp_keepalive.tcp_keepalive, *edit_main, *reload);
            job::server::set(root, programs, &wanted, dry_run.dry_run)
        }
        SetWhose::Putty {
            session,
            interval,
            tcp_keepalive,
            reg,
            dry_run,
        } => {
            let wanted = job::putty::Wanted {
                session: session_name(session),
                interval_s: interval.interval,
                tcp_keepalive: tcp_keepalive.tcp_keepalive,
                reg: reg.clone(),
                home: callers_home(programs)?,
            };
            job::putty::set(root, &wanted, dry_run.dry_run)
        }
    }?;
    let changed = report.changed && !report.dry_run;
    face.print_done::<SetReport>(&report, changed, render::ssh::set)
}

fn unset(
    root: &Root,
    programs: &Programs,
    whose: &UnsetWhose,
    face: &Face,
) -> Result<ExitCode, Failure> {
    let report = match whose {
        UnsetWhose::Client { place, dry_run } => {
            home_for(programs, place.scope())?;
            job::client::unset(
                root,
                programs,
                place.hosts(),
                place.scope(),
                dry_run.dry_run,
            )
        }
        UnsetWhose::Server { reload, dry_run } => {
            job::server::unset(root, programs, *reload, dry_run.dry_run)
        }
        UnsetWhose::Putty { session, dry_run } => {
            let home = callers_home(programs)?;
            let session = session_name(session);
            job::putty::unset(root, &session, home.as_deref(), dry_run.dry_run)
        }
    }?;
    let changed = report.changed && !report.dry_run;
    face.print_done::<UnsetReport>(&report, changed, render::ssh::unset)
}

/// The word for the default settings.
fn session_name(word: &str) -> String {
    match word {
        "default" => putty::DEFAULT.to_owned(),
        name => name.to_owned(),
    }
}

/// A user's own files are that user's, also through sudo; the system's are root's.
fn home_for(programs: &Programs, scope: Scope) -> Result<Option<PathBuf>, Failure> {
    match scope {
        Scope::User => callers_home(programs),
        Scope::System => Ok(None),
    }
}

/// The folder of the user who called sudo, if somebody did; from here on this process
/// is that user's.
fn callers_home(programs: &Programs) -> Result<Option<PathBuf>, Failure> {
    match caller::act_as_caller().map_err(ops::Error::from)? {
        true => Ok(Some(
            client::home(programs.ssh()).map_err(ops::Error::from)?,
        )),
        false => Ok(None),
    }
}
