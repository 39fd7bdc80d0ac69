//! The systemd unit that has the last word at boot: where it goes, and which
//! program it runs.
//!
//! The unit runs as a dynamic user in a sandbox where `/home`, `/root` and `/tmp`
//! are not there, and what it runs is trusted at every boot. So the program has
//! to be installed where all can read it and only root can write it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::FileStat;

use super::Error;
use crate::programs::{self, Output, Run, writable_by_others};
use crate::root::Root;
use crate::text::shell;

/// The unit file as the package ships it.
const TEXT: &str = include_str!("../../systemd/keepalivectl.service");
/// Its first line, by which a unit of ours is known.
pub(super) const MARK: &str = "# Written by `keepalivectl enable`";
/// The unit's name.
pub const NAME: &str = "keepalivectl.service";
/// Where `enable` puts it.
pub const FILE: &str = "/etc/systemd/system/keepalivectl.service";
/// The link that enables it, as `systemctl enable` would make it.
pub const LINK: &str = "/etc/systemd/system/sysinit.target.wants/keepalivectl.service";

/// Where an installed program may be, in the order of the search.
pub const INSTALL_DIRS: [&str; 4] = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin"];
const PROGRAM: &str = "keepalivectl";

/// Whether the tree has systemd as its init.
///
/// # Errors
/// It cannot be told.
pub fn has_systemd(root: &Root) -> Result<bool, Error> {
    Ok(root.exists("/usr/lib/systemd/systemd")? || root.exists("/lib/systemd/systemd")?)
}

/// Whether systemd runs this machine now (`sd_booted(3)`).
///
/// # Errors
/// It cannot be told.
pub fn is_booted(root: &Root) -> Result<bool, Error> {
    Ok(root.is_machine() && root.exists("/run/systemd/system")?)
}

/// The time in which systemctl(1) must have a job done: more than the 30 s that the
/// unit has to start.
const JOB_WITHIN: Duration = Duration::from_secs(40);

/// Has systemctl(1) do a job, on a machine that systemd runs.
///
/// # Errors
/// [`Error::Systemctl`], with what it said, and [`Error::NoSystemctl`].
pub fn systemctl(arguments: &[&str]) -> Result<(), Error> {
    let output = run_systemctl(arguments, |run| run.limit(JOB_WITHIN))?;
    succeeded(arguments, &output)
}

/// The same for a job that undoes another: no signal ends it, and it has less time.
///
/// # Errors
/// [`Error::Systemctl`], with what it said, and [`Error::NoSystemctl`].
pub fn systemctl_undo(arguments: &[&str]) -> Result<(), Error> {
    let output = run_systemctl(arguments, |run| run.ignoring_signals())?;
    succeeded(arguments, &output)
}

/// Whether a unit is active now.
///
/// # Errors
/// [`Error::NoSystemctl`].
pub fn is_active(unit: &str) -> Result<bool, Error> {
    let arguments = ["is-active", "--quiet", unit];
    let output = run_systemctl(&arguments, |run| run)?;
    Ok(output.status.success())
}

fn run_systemctl(
    arguments: &[&str],
    with: impl for<'f> FnOnce(Run<'f>) -> Run<'f>,
) -> Result<Output, Error> {
    programs::find("systemctl", None)
        .and_then(|found| with(Run::new(&found, arguments)).output())
        .map_err(|source| Error::NoSystemctl {
            command: arguments.join(" "),
            source,
        })
}

fn succeeded(arguments: &[&str], output: &Output) -> Result<(), Error> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Systemctl {
        command: arguments.join(" "),
        message: said.trim().replace('\n', " "),
    })
}

/// The unit file's text for a program.
pub fn text(program: &Path) -> String {
    let mut text = String::new();
    for line in TEXT.lines() {
        if line.starts_with("ExecStart=") {
            text.push_str(&format!("ExecStart={} boot\n", program.display()));
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The command that installs the program where the unit can run it.
fn install_command(root: &Root, running: &Path) -> String {
    let target = root.display(Path::new(INSTALL_DIRS[0]).join(PROGRAM));
    format!(
        "sudo install -D -o root -g root -m 0755 {} {}",
        shell::operand(running),
        shell::operand(target)
    )
}

/// How to put right what keeps a program from being run. What others could write into
/// a file is theirs for good: root must not make it its own.
fn mend(root: &Root, program: &Path, running: &Path, fault: &Fault<'_>) -> String {
    let at = root.display(fault.path);
    let quoted = shell::operand(&at);
    match (fault.path == program, fault.writable) {
        (true, _) if at != running => {
            let install = install_command(root, running);
            format!("install it properly with: {install}")
        }
        (true, true) => {
            "its content cannot be trusted: remove it, and install it again from its source"
                .to_owned()
        }
        _ => format!(
            "put it right with: sudo chown -h root:root {quoted} && sudo chmod go-w,a+rx {quoted}"
        ),
    }
}

/// The installed program in a tree, with all links resolved. `running` is the
/// program that asks, for the advice to install it.
///
/// # Errors
/// [`Error::NotInstalled`], or [`Error::UnsafeProgram`] if the file or a folder
/// on its way can be written by others than root.
pub fn program(root: &Root, running: &Path) -> Result<PathBuf, Error> {
    let mut found = None;
    for dir in INSTALL_DIRS {
        found = root.resolve(Path::new(dir).join(PROGRAM))?;
        if found.is_some() {
            break;
        }
    }
    let Some((program, chain)) = found else {
        let install = install_command(root, running);
        return Err(Error::NotInstalled { install });
    };
    if let Some(fault) = unsafe_to_run(&program, &chain) {
        let mend = mend(root, &program, running, &fault);
        return Err(Error::UnsafeProgram {
            path: root.display(fault.path),
            why: fault.why,
            mend,
        });
    }
    Ok(program)
}

/// Whether the unit may run a program that is there: the file or folder at
/// fault, and what is wrong with it.
///
/// # Errors
/// It cannot be told.
pub(super) fn fault_of(root: &Root, program: &Path) -> Result<Option<String>, Error> {
    if !candidates(root)?.iter().any(|found| found == program) {
        let dirs = INSTALL_DIRS.join(", ");
        return Ok(Some(format!(
            "{} is not the {PROGRAM} of {dirs}",
            root.display(program).display()
        )));
    }
    let Some((real, chain)) = root.resolve(program)? else {
        return Ok(None);
    };
    let fault = unsafe_to_run(&real, &chain);
    Ok(fault.map(|Fault { path, why, .. }| format!("{} {why}", root.display(path).display())))
}

/// The installed programs, with all links resolved.
fn candidates(root: &Root) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for dir in INSTALL_DIRS {
        let program = root.resolve(Path::new(dir).join(PROGRAM))?;
        found.extend(program.map(|(real, _)| real));
    }
    Ok(found)
}

/// What keeps a program from being run at boot.
struct Fault<'p> {
    /// The file or folder at fault.
    path: &'p Path,
    why: String,
    /// Whether others than root can write it.
    writable: bool,
}

/// What keeps a program from being run at boot. `chain` is the status of each folder
/// on its way and of itself.
fn unsafe_to_run<'p>(program: &'p Path, chain: &[FileStat]) -> Option<Fault<'p>> {
    let fault = |path, why: &str, writable| Fault {
        path,
        why: why.to_owned(),
        writable,
    };
    let mut folders: Vec<&Path> = program.ancestors().collect();
    folders.reverse();
    for (path, status) in folders.iter().zip(chain) {
        if let Some(why) = writable_by_others(status.st_mode, status.st_uid) {
            return Some(fault(path, &why, true));
        }
    }
    if let Some(at) = cannot_run(chain) {
        let why = "cannot be run by the unit's own user";
        return Some(fault(folders[at], why, false));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+-".contains(&b);
    if !program.to_string_lossy().bytes().all(plain) {
        let why = "has a name that a unit file would read in its own way";
        return Some(fault(program, why, false));
    }
    None
}

/// Where in a chain of folders that ends with a program somebody without any
/// right of root's is stopped: a folder that cannot be passed, or what is no
/// readable, executable file.
fn cannot_run(chain: &[FileStat]) -> Option<usize> {
    let (program, folders) = chain.split_last()?;
    // The top of another tree is no concern of the unit's: it will be `/`.
    let closed = |(at, folder): (usize, &FileStat)| at > 0 && folder.st_mode & 0o001 == 0;
    let closed = folders.iter().enumerate().position(closed);
    let regular = program.st_mode & 0o170_000 == 0o100_000;
    let runs = regular && program.st_mode & 0o005 == 0o005;
    closed.or((!runs).then_some(folders.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_runs_the_program_that_is_there() {
        let text = text(Path::new("/usr/bin/keepalivectl"));
        assert!(text.starts_with(MARK));
        assert!(text.contains("\nExecStart=/usr/bin/keepalivectl boot\n"));
        assert_eq!(text.matches("ExecStart=").count(), 1);
        assert!(text.contains(super::super::dropin::FILE));
    }
}
