//! The systemd unit that has the last word at boot: where it goes, and which
//! program it runs.
//!
//! The unit runs as a dynamic user in a sandbox where `/home`, `/root` and `/tmp`
//! are not there, and what it runs is trusted at every boot. So the program has
//! to be installed where all can read it and only root can write it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::stat::FileStat;

use super::Error;
use super::owner::writable_by_others;
use crate::root::{FileError, Root};

/// The unit file as the package ships it.
const TEXT: &str = include_str!("../../systemd/keepalivectl.service");
/// Its first line, by which a unit of ours is known.
const MARK: &str = "# Written by `keepalivectl enable`";
/// The unit's name.
pub const NAME: &str = "keepalivectl.service";
/// Where `enable` puts it.
pub const FILE: &str = "/etc/systemd/system/keepalivectl.service";
/// The link that enables it, as `systemctl enable` would make it.
pub const LINK: &str = "/etc/systemd/system/sysinit.target.wants/keepalivectl.service";
const LIMIT: usize = 1 << 20;

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

/// Whether the unit will run where systemd boots: it is there, linked, not
/// masked, and so is its program.
///
/// # Errors
/// It cannot be told.
pub fn is_enabled(root: &Root) -> Result<bool, Error> {
    let unit = match root.read(FILE, LIMIT) {
        // A mask is a link to /dev/null.
        Err(FileError::NotAFile { .. }) => None,
        other => other?,
    };
    let Some(unit) = unit else {
        return Ok(false);
    };
    let linked = root.link_target(LINK)?.is_some_and(|t| t.ends_with(NAME));
    let text = String::from_utf8_lossy(&unit.bytes).into_owned();
    let program = text.lines().find_map(|l| l.strip_prefix("ExecStart="));
    let Some(program) = program.and_then(|p| p.split_whitespace().next()) else {
        return Ok(false);
    };
    let found = root.resolve(program)?;
    let runs = found.is_some_and(|(_, chain)| cannot_run(&chain).is_none());
    Ok(linked && runs)
}

/// Runs systemctl(1), on a machine that systemd runs.
///
/// # Errors
/// [`Error::Systemctl`], with what it said.
pub fn systemctl(arguments: &[&str]) -> Result<(), Error> {
    let failed = |message: String| Error::Systemctl {
        command: arguments.join(" "),
        message,
    };
    // By its full path: whoever runs this is root, with any PATH.
    let output = Command::new("/usr/bin/systemctl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(said.trim().replace('\n', " ")))
}

/// That a unit of that name, if there is one, is one of ours.
///
/// # Errors
/// [`Error::ForeignUnit`] if it is not.
pub fn check_ours(root: &Root) -> Result<(), Error> {
    let foreign = || Error::ForeignUnit {
        file: root.display(FILE),
    };
    match root.read(FILE, LIMIT) {
        // systemd's own mask is a link to /dev/null: somebody wants no unit.
        Err(FileError::NotAFile { .. }) => Err(foreign()),
        Err(e) => Err(e.into()),
        Ok(Some(unit)) if !unit.bytes.starts_with(MARK.as_bytes()) => Err(foreign()),
        Ok(_) => Ok(()),
    }
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
        running.display(),
        target.display()
    )
}

/// The command that puts right what is there and wrong.
fn mend_command(path: &Path) -> String {
    let path = path.display();
    format!("sudo chown root:root {path} && sudo chmod go-w,a+rx {path}")
}

/// The installed program in a tree, with all links resolved. `running` is the
/// program that asks, for the advice to install it.
///
/// # Errors
/// [`Error::NotInstalled`], or [`Error::UnsafeProgram`] if the file or a folder
/// on its way can be written by others than root.
pub fn program(root: &Root, running: &Path) -> Result<PathBuf, Error> {
    let install = install_command(root, running);
    let mut found = None;
    for dir in INSTALL_DIRS {
        found = root.resolve(Path::new(dir).join(PROGRAM))?;
        if found.is_some() {
            break;
        }
    }
    let Some((program, chain)) = found else {
        return Err(Error::NotInstalled { install });
    };
    let unsafe_program = |path: &Path, why: String| Error::UnsafeProgram {
        path: root.display(path),
        why,
        install: match path == program && root.display(path) != running {
            true => install.clone(),
            false => mend_command(&root.display(path)),
        },
    };
    let mut folders: Vec<&Path> = program.ancestors().collect();
    folders.reverse();
    for (path, status) in folders.iter().zip(&chain) {
        if let Some(why) = writable_by_others(status.st_mode, status.st_uid) {
            return Err(unsafe_program(path, why));
        }
    }
    if let Some(at) = cannot_run(&chain) {
        let why = "cannot be run by the unit's own user".to_owned();
        return Err(unsafe_program(folders[at], why));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+-".contains(&b);
    let text = program.to_string_lossy();
    if !text.bytes().all(plain) {
        let why = "has a name that a unit file would read in its own way".to_owned();
        return Err(unsafe_program(&program, why));
    }
    Ok(program)
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
