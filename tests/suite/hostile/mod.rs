//! Attacks: what another user, an image or a fault does must not turn root's
//! tool against root. Each test makes the attack real in a sandbox.

mod advice;
mod boot;
mod configurations;
mod denied;
mod edits;
mod fuse;
mod halfway;
mod kept;
mod kills;
mod output;
mod owners;
mod programs;
mod races;
mod records;
mod sockets;
mod trees;

use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{Said, program};

/// The binary with the words of one line.
fn command(line: &str) -> Command {
    let mut command = program();
    command.args(line.split_whitespace());
    command
}

/// Runs a command with a limit on its time: one that hangs fails the test.
fn within(limit: Duration, mut command: Command) -> Said {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let waiter = thread::spawn(move || child.wait_with_output().unwrap());
    let started = Instant::now();
    while !waiter.is_finished() {
        if started.elapsed() > limit {
            kill(pid, Signal::SIGKILL).unwrap();
            panic!("{pid} still runs after {limit:?}");
        }
        sleep(Duration::from_millis(5));
    }
    waiter.join().unwrap().into()
}
