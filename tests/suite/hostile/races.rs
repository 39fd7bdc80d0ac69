//! Two that write the values at the same instant: a command, and the unit, whose
//! sandbox has nothing to write but the values themselves.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::command::{Said, binary, program, run};
use crate::faults::wait_for_guard;
use crate::fixture::DROPIN;
use crate::sandbox::{bind, in_force, put_in_force, sandboxed};

const LOCK: &str = "/proc/sys/net/ipv4/tcp_fastopen_key";
const OLD: [i64; 3] = [7200, 75, 9];
const APPLIED: [i64; 3] = [240, 30, 6];
const BOOTED: [i64; 3] = [60, 10, 4];
const APPLY: [&str; 7] = ["apply", "--time", "240", "--intvl", "30", "--probes", "6"];

/// The values that the unit puts in force.
fn keep_for_boot() {
    let [time, intvl, probes] = BOOTED;
    let key = "net.ipv4.tcp_keepalive";
    let text = format!("{key}_time = {time}\n{key}_intvl = {intvl}\n{key}_probes = {probes}\n");
    fs::write(Path::new("/").join(DROPIN), text).unwrap();
}

/// `/run` read-only, as in the unit's sandbox.
fn in_the_units_sandbox(command: &mut Command) {
    fs::create_dir_all("/run/keepalivectl").unwrap();
    let confine = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let (on, none) = (Path::new("/run"), None::<&str>);
        mount(Some(on), on, none, MsFlags::MS_BIND, none)?;
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        Ok(mount(none, on, none, read_only, none)?)
    };
    // SAFETY: the child has one thread, and these are system calls only.
    unsafe { command.pre_exec(confine) };
}

/// The command under strace, which injects this into its calls on the three
/// values.
fn traced(inject: &str, arguments: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-e", "signal=none", "-o", "/dev/null", "-e"]);
    strace.arg(format!("inject={inject}"));
    for name in ["time", "intvl", "probes"] {
        strace.args(["-P", &format!("/proc/sys/net/ipv4/tcp_keepalive_{name}")]);
    }
    strace.arg(binary()).args(arguments);
    strace
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    strace
}

fn late_write(when: usize) -> String {
    format!("write:delay_enter=60000:when={when}")
}

fn end(child: Child) -> Said {
    child.wait_with_output().unwrap().into()
}

sandboxed! {
    #[ignore = "needs strace"]
    fn the_unit_and_apply_at_the_same_instant_tear_nothing() {
        keep_for_boot();
        let (mut applied_last, mut rounds) = (0, 0);
        // Each holds back one of its three writes, and either starts first.
        for (late_apply, late_boot, lead) in (1..=3)
            .flat_map(|apply| (1..=3).map(move |boot| (apply, boot)))
            .flat_map(|(apply, boot)| [-90, -30, 0, 30, 90].map(|lead| (apply, boot, lead)))
        {
            put_in_force(OLD);
            let _ = fs::remove_dir_all("/run/keepalivectl");
            let mut boot = traced(&late_write(late_boot), &["boot"]);
            in_the_units_sandbox(&mut boot);
            let mut apply = traced(&late_write(late_apply), &APPLY);
            let pause = Duration::from_millis(i32::abs(lead) as u64);
            let (first, second) = if lead < 0 { (&mut boot, &mut apply) } else { (&mut apply, &mut boot) };
            let first = first.spawn().unwrap();
            sleep(pause);
            let said = [first, second.spawn().unwrap()].map(end);
            let round = format!("{late_apply} {late_boot} {lead}: {said:?}");
            assert_eq!(said.each_ref().map(|said| said.code), [0, 0], "{round}");
            let last = in_force();
            assert!([APPLIED, BOOTED].contains(&last), "{last:?} after {round}");
            // Nor was half a change remembered.
            run("revert").code(0);
            let before = in_force();
            assert!([OLD, BOOTED].contains(&before), "{before:?} remembered in {round}");
            applied_last += usize::from(last == APPLIED);
            rounds += 1;
        }
        eprintln!("races: {rounds} rounds, {applied_last} ended with apply's values, 0 torn");
        assert!(0 < applied_last && applied_last < rounds);
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn one_that_is_killed_midway_tears_nothing_of_the_other() {
        keep_for_boot();
        for killed in ["boot", "apply"] {
            for when in 1..=3 {
                put_in_force(OLD);
                let _ = fs::remove_dir_all("/run/keepalivectl");
                let kill = format!("write:signal=KILL:delay_exit=60000:when={when}");
                let [boot_fault, apply_fault] = match killed {
                    "boot" => [kill, late_write(2)],
                    _ => [late_write(2), kill],
                };
                let mut boot = traced(&boot_fault, &["boot"]);
                in_the_units_sandbox(&mut boot);
                let both = [boot, traced(&apply_fault, &APPLY)].map(|mut c| c.spawn().unwrap());
                let said = both.map(end);
                wait_for_turn();
                let found = in_force();
                let left = if killed == "boot" { APPLIED } else { BOOTED };
                assert_eq!(found, left, "{killed} killed at write {when}: {said:?}");
            }
        }
    }
}

/// Waits until nobody writes, nor undoes.
fn wait_for_turn() {
    wait_for_guard();
    File::open(LOCK).unwrap().lock().unwrap();
}

sandboxed! {
    fn the_unit_waits_for_its_turn_at_its_standard_input() {
        keep_for_boot();
        let held = File::open(LOCK).unwrap();
        held.lock().unwrap();
        let mut boot = program();
        in_the_units_sandbox(&mut boot);
        // Another file in its place, as in the other /proc of the sandbox.
        let hide = || {
            bind(Path::new("/dev/null"), Path::new(LOCK));
            Ok(())
        };
        // SAFETY: the child has one thread, and glibc's fork leaves malloc usable.
        unsafe { boot.pre_exec(hide) };
        boot.arg("boot").stdin(File::open(LOCK).unwrap());
        let start = Instant::now();
        let mut boot = boot.stdout(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(300));
        assert!(boot.try_wait().unwrap().is_none());
        assert_eq!(in_force(), OLD);
        drop(held);
        assert!(boot.wait().unwrap().success());
        assert!(start.elapsed() < Duration::from_secs(9));
        assert_eq!(in_force(), BOOTED);
    }
}

sandboxed! {
    fn who_cannot_get_the_turn_changes_nothing_and_says_who_has_it() {
        let held = File::open(LOCK).unwrap();
        held.lock().unwrap();
        // Not needed to look, nor where nothing is to be done.
        run("apply ssh --dry-run").code(0);
        run("show").code(0);
        run("apply ssh").code(1).complains(&format!("fuser {LOCK}"));
        assert_eq!(in_force(), OLD);
        drop(held);
        run("apply ssh").code(0);
    }
}

/// Whoever may not write the values cannot keep others from it.
#[test]
fn nobody_else_can_hold_the_lock() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let refused = File::open(LOCK).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
}
