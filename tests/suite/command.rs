//! Runs the built binary, and keeps what it says.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use nix::unistd::geteuid;

use serde_json::Value;

use crate::sandbox;

/// The built binary: cargo's, or where the tests run without cargo, the one
/// that is named.
pub fn binary() -> String {
    let named = std::env::var("KEEPALIVECTL_TEST_BINARY");
    named.unwrap_or_else(|_| env!("CARGO_BIN_EXE_keepalivectl").to_owned())
}

/// The binary, to be run. Outside of a sandbox, root's has a `/run` of its own: the
/// machine's gets no lock of a test's.
pub fn program() -> Command {
    let mut command = Command::new(binary());
    if geteuid().is_root() && !sandbox::is_inside() {
        // SAFETY: the child has one thread, and calls unshare(2) and mount(2) only.
        unsafe { command.pre_exec(sandbox::own_run) };
    }
    command
}

/// What one run said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    /// Fails the test unless the run ended with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Said {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Fails the test unless standard error holds this.
    #[track_caller]
    pub fn complains(self, of: &str) -> Said {
        assert!(self.stderr.contains(of), "no {of:?} in {self:#?}");
        self
    }

    /// Fails the test unless standard output holds this.
    #[track_caller]
    pub fn says(self, what: &str) -> Said {
        assert!(self.stdout.contains(what), "no {what:?} in {self:#?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// Runs the binary with these arguments.
pub fn keepalivectl<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Said {
    let output = program().args(arguments).stdin(Stdio::null()).output();
    output.unwrap().into()
}

/// Runs it with the words of one line.
pub fn run(line: &str) -> Said {
    keepalivectl(line.split_whitespace())
}

#[test]
fn help_teaches_with_examples() {
    let said = run("--help").code(0).says("Examples:").says("Exit codes:");
    assert!(said.stdout.lines().all(|line| line.len() <= 100));
    for command in [
        "show",
        "time-to-drop",
        "paths",
        "check",
        "plan",
        "measure",
        "sockets",
        "netns",
        "ssh",
        "profile",
        "apply",
        "revert",
        "enable",
        "disable",
        "verify",
        "boot",
    ] {
        assert!(
            said.stdout.contains(&format!("\n  {command} ")),
            "{command}"
        );
        run(&format!("{command} --help")).code(0).says("Usage:");
    }
    run("--version").code(0).says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_wrong_command_line_is_2() {
    for line in [
        "aply",
        "apply",
        "apply aws-nat --time 5",
        "apply --time",
        "apply --time x",
        "apply --time 1500ms",
        "apply --time 5M",
        "apply ../etc/passwd",
        "enable",
        "profile create x --time 1",
        "profile create x",
        "profile create x --time 1 --intvl 1 --probes 1 --lost-probes 2",
        "plan",
        "time-to-drop --rtt 80",
        "show --interval 0",
        "sockets --interval 5",
        "sockets --watch --json",
        "--json sockets --watch",
        "sockets rearm",
        "sockets set --time 5",
        "time-to-drop --user-timeout 2500",
        "show --netns pid:x",
        "--no-such-flag",
    ] {
        let said = run(line).code(2);
        assert_eq!(said.stdout, "", "{line}");
        assert!(said.stderr.starts_with("error: "), "{line}: {said:?}");
    }
    run("time-to-drop --user-timeout 2500").complains("needs a unit");
}

#[test]
fn a_closed_pipe_is_no_error() {
    for line in [
        "profile list",
        "sockets --no-process",
        "sockets --no-process --json",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program()
            .args(line.split_whitespace())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = Said::from(output).code(0);
        assert_eq!(said.stderr, "", "{line}");
    }
}

#[test]
fn a_full_disk_is_one() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = |file: File| program().arg("profile").arg("list").stdout(file).output();
    let said = Said::from(run(full).unwrap()).code(1);
    said.complains("cannot write to standard output");
    // Nothing was done, so nothing is left changed.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let dry = ["apply", "ssh", "--dry-run"];
    let output = program().args(dry).stdout(full).output();
    Said::from(output.unwrap()).code(1);
}

#[test]
fn colour_is_for_terminals() {
    for line in [
        "",
        "profile list",
        "time-to-drop --time 5 --intvl 5 --probes 5",
    ] {
        assert!(!run(line).code(0).stdout.contains('\x1b'), "{line}");
    }
}

#[test]
fn a_job_on_the_kernel_refuses_another_root() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    for job in [
        "apply aws-nat",
        "revert",
        "verify",
        "boot",
        "show --netns x",
        "show --interval 1",
        "enable ssh --now",
        "time-to-drop",
        "check",
        "plan --path aws-nat",
        "measure",
    ] {
        run(&format!("--root {root} {job}"))
            .code(2)
            .complains("--root");
    }
    run("--root /no/such/folder show")
        .code(1)
        .complains("/no/such/folder");
}
