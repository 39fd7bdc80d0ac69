//! File trees that others own or have made.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use crate::command::{Said, program};
use crate::fixture::{DROPIN, Tree};
use crate::sandbox::sandboxed;

/// How many lock files all trees share.
const TREE_LOCKS: u32 = 64;

/// A tree in a folder that its owner can exchange for one in which the tree's name
/// is a link to a victim.
struct Swapped {
    place: TempDir,
}

impl Swapped {
    fn new() -> Swapped {
        let place = tempfile::tempdir().unwrap();
        for folder in ["parent/tree", "other", "victim"] {
            fs::create_dir_all(place.path().join(folder)).unwrap();
        }
        symlink(place.path().join("victim"), place.path().join("other/tree")).unwrap();
        Swapped { place }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.place.path().join(path)
    }

    fn swap(&self) {
        let (parent, other) = (self.path("parent"), self.path("other"));
        renameat_with(CWD, &parent, CWD, &other, RenameFlags::EXCHANGE).unwrap();
    }

    fn start(&self, line: &str) -> Child {
        let mut command = program();
        command.arg("--root").arg(self.path("parent/tree"));
        command.args(line.split(' ')).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn victims_files(&self) -> usize {
        fs::read_dir(self.path("victim")).unwrap().count()
    }
}

sandboxed! {
    fn a_tree_that_is_moved_meanwhile_is_still_the_one_that_is_written() {
        for line in ["enable ssh", "profile create mine --time 60 --intvl 10 --probes 3"] {
            let tree = Swapped::new();
            // Whichever lock it takes, it waits for it with the tree open.
            fs::create_dir_all("/run/keepalivectl").unwrap();
            let mut held = vec![File::open(tree.path("parent/tree")).unwrap()];
            for n in 0..TREE_LOCKS {
                let lock = format!("/run/keepalivectl/tree-{n}.lock");
                held.push(File::create(lock).unwrap());
            }
            for file in &held {
                file.lock().unwrap();
            }
            let run = tree.start(line);
            sleep(Duration::from_secs(2));
            tree.swap();
            drop(held);
            let said = Said::from(run.wait_with_output().unwrap()).code(0);
            assert_eq!(tree.victims_files(), 0, "{line}: {said:?}");
            assert!(tree.path("other/tree/etc").is_dir(), "{line}");
        }
    }
}

sandboxed! {
    fn a_parent_that_is_swapped_all_the_time_leads_nowhere() {
        let done = AtomicBool::new(false);
        let tree = Swapped::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    tree.swap();
                    sleep(Duration::from_micros(300));
                }
            });
            let fault = (0..100).find_map(|_| written_elsewhere(&tree));
            done.store(true, Ordering::Relaxed);
            assert_eq!(fault, None);
        });
    }
}

/// Runs once while the parent is swapped. A link that is there when the tree is named
/// leads to the victim, as it does for every program; then the victim is the tree, and
/// the run says so. Returns what it said if it wrote there without.
fn written_elsewhere(tree: &Swapped) -> Option<String> {
    let run = tree.start("enable ssh");
    let said = Said::from(run.wait_with_output().unwrap());
    let named = said.stdout.contains("/victim/") || said.stderr.contains("/victim");
    let written = tree.victims_files() > 0;
    let _ = fs::remove_dir_all(tree.path("victim/etc"));
    (written && !named).then(|| format!("{said:?}"))
}

/// Waits until a condition holds.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pipe_in_a_tree_is_not_opened() {
    for path in [
        "etc/sysctl.d/x.conf",
        DROPIN,
        "etc/sysctl.conf",
        "usr/lib/sysctl.d/y.conf",
        "etc/keepalivectl/profiles/mine.conf",
    ] {
        let tree = Tree::new();
        let pipe = tree.path(path);
        fs::create_dir_all(pipe.parent().unwrap()).unwrap();
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        // It writes as soon as anybody opens the other end.
        let mut writer = Command::new("/bin/sh")
            .args(["-c", "echo woken > \"$1\"", "sh"])
            .arg(&pipe)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let syscall = format!("/proc/{}/wchan", writer.id());
        until("the writer waits", || {
            fs::read_to_string(&syscall).is_ok_and(|at| at != "0" && !at.is_empty())
        });
        for line in ["show", "profile list", "enable mine", "enable ssh"] {
            let said = tree.run(line);
            assert!([0, 1].contains(&said.code), "{line}: {said:?}");
        }
        sleep(Duration::from_millis(300));
        let state = writer.try_wait().unwrap();
        assert_eq!(state, None, "{path}: the writer was woken");
        writer.kill().unwrap();
        writer.wait().unwrap();
    }
}

/// Runs with 150 MB of address space and 40 s of processor time at the most, and
/// `open` files.
fn run_within_limits(tree: &Tree, line: &str) -> Said {
    use nix::sys::resource::{Resource, setrlimit};
    let mut command = program();
    command.arg("--root").arg(tree.path(""));
    command.args(line.split(' ')).stdin(Stdio::null());
    let limit = || {
        setrlimit(Resource::RLIMIT_AS, 150 << 20, 150 << 20)?;
        setrlimit(Resource::RLIMIT_CPU, 40, 40)?;
        Ok(())
    };
    // SAFETY: setrlimit(2) is async-signal-safe.
    unsafe { command.pre_exec(limit) };
    Said::from(command.output().unwrap())
}

#[test]
fn braces_that_stand_for_too_much_are_left_out() {
    let tree = Tree::new();
    // systemd follows braces, and `sysctl --system` does not.
    tree.write("usr/lib/systemd/systemd", "");
    let braces = "{a,b}".repeat(14);
    let bomb = format!("net.ipv4.tcp_keepalive_*{braces} = 5\n");
    tree.write("etc/sysctl.d/10-bomb.conf", bomb.repeat(6000));
    let longer = "{a,b,c,d}".repeat(50_000);
    tree.write("etc/sysctl.d/11-bomb.conf", format!("*{longer} = 5\n"));
    tree.write("etc/sysctl.d/20.conf", "net.ipv4.tcp_keepalive_time = 77\n");
    let said = run_within_limits(&tree, "show").code(0);
    said.says("10-bomb.conf:1").says("left out").says("77");
    run_within_limits(&tree, "disable").code(0);
}

#[test]
fn files_that_are_too_much_are_left_out() {
    let tree = Tree::new();
    for n in 0..200 {
        let path = format!("etc/sysctl.d/{n:03}.conf");
        tree.write(&path, "");
        let file = File::options().write(true).open(tree.path(&path)).unwrap();
        file.set_len(16 << 20).unwrap();
    }
    tree.write("etc/sysctl.d/zz.conf", "net.ipv4.tcp_keepalive_time = 77\n");
    let said = run_within_limits(&tree, "show").code(0);
    said.says("000.conf is left out").says("77");
}

#[test]
fn lines_and_names_that_are_too_many_are_left_out() {
    let tree = Tree::new();
    tree.write("usr/lib/systemd/systemd", "");
    let lines = |line: &str| line.repeat((1 << 20) / line.len() - 1);
    for line in [
        "a=\n",
        "*/*/*=1\n",
        "net.ipv4.tcp_keepalive_time = x\n",
        "-net.ipv4.tcp_keepalive_time\n",
        "\u{fffd}\n",
    ] {
        tree.write("etc/sysctl.d/10.conf", lines(line));
        run_within_limits(&tree, "show").code(0);
    }
    let mut different = String::new();
    for n in 0..60_000 {
        different.push_str(&format!("*/*/*[a-z{n}]=1\n"));
    }
    tree.write("etc/sysctl.d/10.conf", different);
    run_within_limits(&tree, "show").code(0).says("left out");
    for n in 0..3000 {
        tree.write(&format!("etc/sysctl.d/many-{n:04}.conf"), "");
    }
    run_within_limits(&tree, "show").code(0).says("left out");
}

#[test]
fn profiles_that_are_too_many_are_named() {
    let tree = Tree::new();
    let long = "x".repeat(60_000);
    for n in 0..3000 {
        let text = format!(
            "# {long}\nnet.ipv4.tcp_keepalive_time = 60\nnet.ipv4.tcp_keepalive_intvl = \
             10\nnet.ipv4.tcp_keepalive_probes = 3\n"
        );
        tree.write(&format!("etc/keepalivectl/profiles/p{n:04}.conf"), text);
    }
    run_within_limits(&tree, "profile list")
        .code(1)
        .complains("more than 1000 profiles");
    run_within_limits(&tree, "profile show p0001").code(0);
}

sandboxed! {
    fn what_is_kept_for_boot_is_in_folders_that_only_root_can_write() {
        for (folder, mode) in [
            ("", 0o777),
            ("etc", 0o775),
            ("etc/sysctl.d", 0o1777),
            ("etc/systemd", 0o777),
            ("etc/systemd/system/sysinit.target.wants", 0o775),
        ] {
            let tree = Tree::with_systemd();
            fs::create_dir_all(tree.path("etc/sysctl.d")).unwrap();
            fs::create_dir_all(tree.path("etc/systemd/system/sysinit.target.wants")).unwrap();
            let before = tree.files();
            tree.set_mode(folder, mode);
            for line in ["enable ssh", "enable ssh --dry-run"] {
                let said = tree.run(line).code(1).complains("can be written by");
                said.complains("only root").complains("sudo chmod go-w ");
            }
            assert_eq!(tree.files(), before, "{folder}");
            // The command that it names mends it.
            tree.set_mode(folder, mode & !0o022);
            tree.run("enable ssh").code(0);
        }
        let tree = Tree::new();
        fs::create_dir_all(tree.path("etc/keepalivectl/profiles")).unwrap();
        tree.set_mode("etc/keepalivectl/profiles", 0o777);
        let create = "profile create mine --time 60 --intvl 10 --probes 3";
        tree.run(create).code(1).complains("sudo chmod go-w ");
    }
}

sandboxed! {
    fn a_profile_that_others_can_change_is_used_with_a_warning() {
        let tree = Tree::new();
        tree.run("profile create mine --time 60 --intvl 10 --probes 3").code(0);
        tree.set_mode("etc/keepalivectl/profiles/mine.conf", 0o666);
        tree.run("enable mine").code(0).says("mine.conf can be written by everybody");
        tree.run("profile show mine").code(0).says("can be written by everybody");
    }
}

/// A command as root with a `/run` of its own, whose processes see no other.
fn with_own_run(command: &mut Command) {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let enter = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none)?;
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none)?;
        Ok(())
    };
    // SAFETY: the child has one thread, and both are system calls.
    unsafe { command.pre_exec(enter) };
}

#[test]
#[ignore = "needs root"]
fn a_drop_in_and_a_unit_of_another_users_become_roots() {
    use std::os::unix::fs::chown;
    let tree = Tree::with_systemd();
    let run = |line: &str| {
        let mut command = program();
        command.arg("--root").arg(tree.path(""));
        with_own_run(command.args(line.split(' ')));
        Said::from(command.output().unwrap())
    };
    run("enable ssh").code(0);
    let kept = [DROPIN, crate::fixture::UNIT];
    for file in kept {
        chown(tree.path(file), Some(1000), Some(1000)).unwrap();
    }
    assert_eq!(run("enable ssh --json").code(0).json()["changed"], true);
    for file in kept {
        let status = tree.path(file).metadata().unwrap();
        assert_eq!((status.uid(), status.gid()), (0, 0), "{file}");
        assert_eq!(tree.mode(file), 0o644, "{file}");
    }
    // Nor is a folder of another user's used.
    chown(tree.path("etc/sysctl.d"), Some(1000), None).unwrap();
    let said = run("enable aws-nat")
        .code(1)
        .complains("belongs to user 1000");
    said.complains("sudo chown -h root:root ");
}

sandboxed! {
    fn folders_that_cannot_be_listed_are_passed() {
        let tree = Tree::new();
        let create = "profile create mine --time 60 --intvl 10 --probes 3";
        tree.run(create).code(0);
        tree.run("profile delete mine").code(0);
        fs::create_dir_all(tree.path("etc/keepalivectl/profiles")).unwrap();
        for folder in ["etc", "etc/keepalivectl", "etc/keepalivectl/profiles"] {
            tree.set_mode(folder, 0o311);
        }
        let mut command = program();
        command.arg("--root").arg(tree.path(""));
        let drop_capabilities = || {
            const DAC_OVERRIDE: i32 = 1;
            const DAC_READ_SEARCH: i32 = 2;
            for capability in [DAC_OVERRIDE, DAC_READ_SEARCH] {
                // SAFETY: this prctl(2) takes two numbers and changes this process only.
                let done = unsafe {
                    nix::libc::prctl(nix::libc::PR_CAPBSET_DROP, capability, 0, 0, 0)
                };
                nix::errno::Errno::result(done)?;
            }
            Ok(())
        };
        // SAFETY: prctl(2) is async-signal-safe.
        unsafe { command.args(create.split(' ')).pre_exec(drop_capabilities) };
        Said::from(command.output().unwrap()).code(0);
        tree.set_mode("etc/keepalivectl/profiles", 0o755);
        assert!(tree.path("etc/keepalivectl/profiles/mine.conf").exists());
    }
}

sandboxed! {
    fn a_lock_on_the_tree_itself_stops_nobody() {
        let tree = Tree::new();
        let top = File::open(tree.path("")).unwrap();
        top.lock().unwrap();
        tree.run("enable ssh").code(0);
        assert!(Path::new("/run/keepalivectl").is_dir());
        let mode = fs::metadata("/run/keepalivectl").unwrap().mode();
        assert_eq!(mode & 0o022, 0);
        for lock in fs::read_dir("/run/keepalivectl").unwrap() {
            let status = lock.unwrap().metadata().unwrap();
            assert_eq!(status.mode() & 0o7777, 0o600);
        }
        assert_eq!(tree.files(), [DROPIN]);
    }
}
