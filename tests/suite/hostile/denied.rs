//! System calls that are denied, and threads and processes that are not to be had.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use keepalivectl::kernel::lab::Lab;
use nix::libc;

use super::{command, within};
use crate::pair::Pair;
use crate::sandbox::{in_force, put_in_force, sandboxed, sleeping_in_new_namespaces};

const SOON: Duration = Duration::from_secs(20);

/// Makes one system call fail, as a seccomp profile does (`seccomp(2)`).
pub(super) fn deny(command: &mut Command, call: libc::c_long, with: i32) {
    let load = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let program = [
        // The number of the call is the first word of `struct seccomp_data`.
        load(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        load(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            call as u32,
            0,
            1,
        ),
        load(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | with as u32,
            0,
            0,
        ),
        load(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let install = move || {
        let mut program = program;
        let filter = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the kernel copies the program, which outlives both calls.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            )
        };
        match done {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the child has one thread, and calls prctl(2) only.
    unsafe { command.pre_exec(install) };
}

/// With this much address space at the most, in bytes (`ulimit -v`).
fn confine(command: &mut Command, bytes: u64) {
    let limit = move || {
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: bytes,
        };
        // SAFETY: the kernel copies the limit.
        match unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the child has one thread, and calls setrlimit(2) only.
    unsafe { command.pre_exec(limit) };
}

sandboxed! {
    fn nobody_waits_for_a_guard_that_cannot_be_killed() {
        let line = "apply --time 240 --intvl 30 --probes 7";
        let mut apply = command(line);
        deny(&mut apply, libc::SYS_kill, libc::EPERM);
        within(SOON, apply).code(0);
        assert_eq!(in_force(), [240, 30, 7]);
        let mut revert = command("revert");
        deny(&mut revert, libc::SYS_kill, libc::EPERM);
        within(SOON, revert).code(0);
        assert_eq!(in_force(), [7200, 75, 9]);
    }
}

sandboxed! {
    fn revert_that_cannot_tell_where_it_is_says_so() {
        within(SOON, command("apply ssh")).code(0);
        for (call, with) in [(libc::SYS_socket, libc::EMFILE), (libc::SYS_getsockopt, libc::EPERM)] {
            let mut revert = command("revert");
            deny(&mut revert, call, with);
            let said = within(SOON, revert).code(1);
            assert!(said.stderr.contains("network namespace"), "{said:?}");
            assert_eq!(in_force(), [60, 30, 4]);
        }
        within(SOON, command("revert")).code(0);
        assert_eq!(in_force(), [7200, 75, 9]);
    }
}

sandboxed! {
    fn no_thread_and_no_process_to_be_had_is_an_error() {
        Lab::enter().unwrap();
        let _pair = Pair::kept();
        let mut other = sleeping_in_new_namespaces();
        let netns = format!("--netns pid:{}", other.id());
        for line in [
            "sockets --json".to_owned(),
            "sockets rearm --all".to_owned(),
            "netns list".to_owned(),
            format!("show {netns}"),
            format!("apply ssh --dry-run {netns}"),
        ] {
            for (call, with) in [
                (libc::SYS_clone3, libc::EAGAIN),
                (libc::SYS_clone, libc::EAGAIN),
                (libc::SYS_mmap, 0),
            ] {
                // Address space that ends where threads need more, step by step.
                let sizes = match call {
                    libc::SYS_mmap => (4..40).map(|n| n << 20).collect(),
                    _ => vec![0],
                };
                for size in sizes {
                    let mut limited = command(&line);
                    match call {
                        libc::SYS_mmap => confine(&mut limited, size),
                        _ => deny(&mut limited, call, with),
                    }
                    let said = within(SOON, limited);
                    // Too little for the program to be loaded is no answer of its own.
                    let starved = [127, -1].contains(&said.code) && call == libc::SYS_mmap;
                    assert!(starved || [0, 1].contains(&said.code), "{line} {size}: {said:?}");
                    assert!(!said.stderr.contains("panicked"), "{line} {size}: {said:?}");
                }
            }
        }
        put_in_force([7200, 75, 9]);
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

sandboxed! {
    fn a_list_that_fails_is_no_list_without_sockets() {
        Lab::enter().unwrap();
        let _pair = Pair::kept();
        for line in ["sockets", "sockets --no-process", "sockets --summary"] {
            let mut sockets = command(line);
            deny(&mut sockets, libc::SYS_sendto, libc::EPERM);
            let said = within(SOON, sockets).code(1);
            assert!(said.stdout.starts_with("Not all sockets could be listed"), "{said:?}");
            assert!(said.stdout.contains("cannot list the TCP sockets"), "{said:?}");
        }
    }
}
