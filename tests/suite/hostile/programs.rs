//! Programs that are run: found in the wrong place, hanging, flooding.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;

use super::denied::deny;
use crate::command::{Said, binary, program};
use crate::installed::{install, own_root, set_mode};
use crate::sandbox::sandboxed;

/// What `sshd -T` prints, and what `ssh -G` does.
pub(super) const SERVER: &str =
    "printf 'tcpkeepalive yes\\nclientaliveinterval 60\\nclientalivecountmax 3\\n'\n";
pub(super) const CLIENT: &str =
    "printf 'tcpkeepalive yes\\nserveraliveinterval 60\\nserveralivecountmax 3\\n'\n";

/// How a run went that may not take long.
struct Ended {
    said: Said,
    signal: Option<i32>,
    lasted: Duration,
}

/// Runs it with these programs first in PATH. What hangs is killed after a while.
fn timed(line: &str) -> Ended {
    timed_command(program().args(line.split(' ')))
}

fn timed_command(command: &mut Command) -> Ended {
    const TOO_LONG: Duration = Duration::from_secs(25);
    let begin = Instant::now();
    let place = tempfile::tempdir().unwrap();
    let output = |name: &str| fs::File::create(place.path().join(name)).unwrap();
    let mut child = command
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin",
        )
        .env_remove("SUDO_UID")
        .stdin(Stdio::null())
        // Files: who still holds a pipe open would be waited for.
        .stdout(output("out"))
        .stderr(output("err"))
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() && begin.elapsed() < TOO_LONG {
        std::thread::sleep(Duration::from_millis(5));
    }
    let lasted = begin.elapsed();
    let _ = child.kill();
    let status = child.wait().unwrap();
    let text = |name: &str| {
        let bytes = fs::read(place.path().join(name)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ended {
        said: Said {
            code: status.code().unwrap_or(-1),
            stdout: text("out"),
            stderr: text("err"),
        },
        signal: std::os::unix::process::ExitStatusExt::signal(&status),
        lasted,
    }
}

impl Ended {
    /// Ended by this signal, and at once, when it had said so.
    #[track_caller]
    fn by(self, signal: Signal) -> Said {
        assert_eq!(self.signal, Some(signal as i32), "{:?}", self.said);
        assert!(self.lasted < Duration::from_secs(5), "{:?}", self.lasted);
        let said = format!("interrupted by {signal}");
        let all = [&self.said.stderr, &self.said.stdout];
        assert!(
            all.iter().any(|text| text.contains(&said)),
            "{:?}",
            self.said
        );
        self.said
    }
}

/// A shell's words for a sleep of a length that nobody else sleeps.
fn long_sleep(of: u32) -> String {
    format!("sleep 30.{}{of:03}", std::process::id())
}

/// Whether any process runs such a sleep.
fn sleeps(sleep: &str) -> bool {
    let wanted = sleep.replace(' ', "\0");
    let processes = fs::read_dir("/proc").unwrap();
    processes.flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).trim_end_matches('\0') == wanted
    })
}

#[track_caller]
fn none_sleeps(sleep: &str) {
    let begin = Instant::now();
    while sleeps(sleep) {
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{sleep} still runs"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A machine that systemd runs, with this systemctl.
fn booted(systemctl: &str) {
    own_root();
    fs::create_dir_all("/run/systemd/system").unwrap();
    fs::write("/usr/lib/systemd/systemd", "").unwrap();
    install("/usr/local/bin/keepalivectl", "");
    install("/usr/local/bin/systemctl", systemctl);
}

const DROPIN: &str = "/etc/sysctl.d/99-keepalivectl.conf";
const UNIT: &str = "/etc/systemd/system/keepalivectl.service";

sandboxed! {
    fn a_systemctl_that_others_can_change_is_not_run() {
        let told = std::env::temp_dir().join("told");
        booted(&format!("echo run >> {}\n", told.display()));
        set_mode("/usr/local/bin/systemctl", 0o757);
        timed("enable ssh")
            .said
            .code(0)
            .says("root does not run /usr/local/bin/systemctl");
        assert!(!told.exists());
        set_mode("/usr/local/bin/systemctl", 0o755);
        timed("disable").said.code(0);
        assert!(told.exists());
    }
}

sandboxed! {
    fn a_program_that_hangs_or_floods_is_ended_in_time() {
        own_root();
        let (own, childs) = (long_sleep(1), long_sleep(2));
        let sshd = |script: &str| install("/usr/local/sbin/sshd", script);
        // Its child keeps the output open, and is not waited for.
        sshd(&format!("{childs} &\n{SERVER}"));
        let ended = timed("ssh show --server");
        ended.said.code(0);
        assert!(ended.lasted < Duration::from_secs(5), "{:?}", ended.lasted);
        assert!(sleeps(&childs), "what goes on in the background is left alone");
        for flood in ["yes", "exec cat /dev/zero >&2"] {
            sshd(flood);
            let ended = timed("ssh show --server");
            ended
                .said
                .code(1)
                .complains("`sshd -T` gave no answer: it printed more than 1048576 bytes");
            assert!(ended.lasted < Duration::from_secs(5), "{:?}", ended.lasted);
        }
        let childs = long_sleep(3);
        sshd(&format!("{childs} &\n{own}\n"));
        let ended = timed("ssh show --server");
        ended
            .said
            .code(1)
            .complains("`sshd -T` gave no answer: it did not end within 10 s and was killed")
            .complains("sudo sshd -T -ddd");
        assert!(ended.lasted < Duration::from_secs(15), "{:?}", ended.lasted);
        none_sleeps(&own);
        none_sleeps(&childs);
    }
}

sandboxed! {
    fn programs_run_where_pidfd_open_is_denied() {
        own_root();
        let sleep = long_sleep(1);
        let denied = || {
            let mut command = program();
            deny(&mut command, libc::SYS_pidfd_open, libc::ENOSYS);
            command.args(["ssh", "show", "--server"]);
            timed_command(&mut command)
        };
        // What comes late and what comes at once are both read to the end.
        for script in [format!("sleep 0.1\n{SERVER}"), format!("{sleep} &\n{SERVER}")] {
            install("/usr/local/sbin/sshd", &script);
            let ended = denied();
            ended.said.code(0).says("60");
            assert!(ended.lasted < Duration::from_secs(5), "{:?}", ended.lasted);
        }
        install("/usr/local/sbin/sshd", &long_sleep(2));
        denied().said.code(1).complains("it did not end within 10 s and was killed");
        none_sleeps(&long_sleep(2));
    }
}

sandboxed! {
    fn the_match_exec_that_hangs_is_named() {
        own_root();
        let sleep = long_sleep(1);
        install(
            "/usr/local/bin/ssh",
            &format!("echo \"debug1: Executing command: 'sh -c slow'\" >&2\n{sleep}\n"),
        );
        let ended = timed("ssh show");
        ended
            .said
            .code(1)
            .complains("gave no answer while it ran the command of a Match exec, `sh -c slow`")
            .complains("within 10 s");
        none_sleeps(&sleep);
    }
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn a_match_exec_that_hangs_is_ended() {
        fs::write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n").unwrap();
        let sleep = long_sleep(1);
        let config = std::env::temp_dir().join("config");
        fs::write(&config, format!("Match exec \"{sleep}\"\nServerAliveInterval 5\n")).unwrap();
        let ended = timed(&format!("ssh show -F {}", config.display()));
        ended.said.code(1).complains(&format!("a Match exec, `{sleep}`"));
        none_sleeps(&sleep);
    }
}

sandboxed! {
    fn ctrl_c_ends_what_waits_for_a_program() {
        own_root();
        let sleep = long_sleep(1);
        install("/usr/local/sbin/sshd", &format!("{sleep} &\nkill -INT $PPID\nwait\n"));
        timed("ssh show --server").by(Signal::SIGINT);
        none_sleeps(&sleep);
        // What is told to pass hangups over passes this one over.
        install("/usr/local/sbin/sshd", &format!("kill -HUP $PPID\nsleep 0.2\n{SERVER}"));
        let mut nohup = Command::new("nohup");
        timed_command(nohup.arg(binary()).args(["ssh", "show", "--server"])).said.code(0);
    }
}

/// A server's folder in which a drop-in counts, and where it goes.
fn server_files() -> PathBuf {
    fs::create_dir_all("/etc/ssh").unwrap();
    fs::write(
        "/etc/ssh/sshd_config",
        "Include /etc/ssh/sshd_config.d/*.conf\n",
    )
    .unwrap();
    PathBuf::from("/etc/ssh/sshd_config.d")
}

const SET_SERVER: &str = "ssh set server --interval 60 --count 3";

sandboxed! {
    fn ctrl_c_after_the_writing_undoes_it() {
        own_root();
        let folder = server_files();
        let sleep = long_sleep(1);
        let seen = std::env::temp_dir().join("seen");
        let dropin = folder.join("10-keepalivectl.conf");
        install(
            "/usr/local/sbin/sshd",
            &format!(
                "if [ $1 = -t ]; then cp {} {}; {sleep} & kill -TERM $PPID; wait; fi\n{SERVER}",
                dropin.display(), seen.display()
            ),
        );
        timed(SET_SERVER).by(Signal::SIGTERM).complains("nothing is changed");
        assert!(fs::read_to_string(&seen).unwrap().contains("ClientAliveInterval 60"));
        assert!(!folder.exists(), "nothing is left half done");
        none_sleeps(&sleep);
    }
}

sandboxed! {
    fn ctrl_c_says_what_it_could_not_undo() {
        own_root();
        let dropin = server_files().join("10-keepalivectl.conf");
        install(
            "/usr/local/sbin/sshd",
            &format!(
                "if [ $1 = -t ]; then echo '# edited' >> {}; kill -INT $PPID; {}; fi\n{SERVER}",
                dropin.display(), long_sleep(1)
            ),
        );
        timed(SET_SERVER)
            .by(Signal::SIGINT)
            .complains(&format!("could not undo what was done: {} (it was changed meanwhile)", dropin.display()));
        assert!(fs::read_to_string(&dropin).unwrap().contains("# edited"));
    }
}

sandboxed! {
    fn ctrl_c_while_the_server_is_told_says_that_the_files_are_changed() {
        booted(&format!("[ $1 = is-active ] || {{ kill -INT $PPID; {}; }}\n", long_sleep(1)));
        let folder = server_files();
        install("/usr/local/sbin/sshd", SERVER);
        timed(&format!("{SET_SERVER} --reload"))
            .by(Signal::SIGINT)
            .complains("the files are changed, but the running sshd could not be told")
            .complains("`systemctl reload ssh.service` failed");
        assert!(folder.join("10-keepalivectl.conf").exists());
        none_sleeps(&long_sleep(1));
    }
}

sandboxed! {
    fn nobody_waits_for_a_lock_while_a_program_is_asked() {
        own_root();
        let folder = server_files();
        let sleep = long_sleep(1);
        let other = std::env::temp_dir().join("other");
        // Before the writing and after it, another one writes.
        install(
            "/usr/local/sbin/sshd",
            &format!(
                "n=a; [ -e {} ] && n=b\n\
                 timeout 5 {} profile create $n --time 9 --intvl 9 --probes 9 >> {} 2>&1 </dev/null\n\
                 [ $1 = -t ] && {sleep}\n{SERVER}",
                folder.display(), binary(), other.display()
            ),
        );
        let ended = timed(SET_SERVER);
        ended.said.code(1).complains("nothing is changed").complains("`sshd -t` gave no answer");
        assert!(!folder.exists());
        for name in ["a", "b"] {
            let file = format!("/etc/keepalivectl/profiles/{name}.conf");
            assert!(Path::new(&file).exists(), "{}", fs::read_to_string(&other).unwrap());
        }
        none_sleeps(&sleep);
    }
}

sandboxed! {
    fn ctrl_c_while_the_unit_starts_undoes_all() {
        let (told, sleep) = (std::env::temp_dir().join("told"), long_sleep(1));
        booted(&format!(
            "echo \"$@\" >> {}\n[ $1 = restart ] && {{ kill -INT $PPID; {sleep}; }}\nexit 0\n",
            told.display()
        ));
        // Process 1 has this namespace, as systemd would.
        let mut namespace = Command::new("unshare");
        namespace.args(["--fork", "--pid", "--mount-proc", "sh", "-c", "\"$0\" \"$@\"; exit $?"]);
        let ended = timed_command(namespace.arg(binary()).args(["enable", "ssh", "--now"]));
        // A shell tells of a signal by 128 and its number.
        assert_eq!(ended.said.code, 128 + Signal::SIGINT as i32, "{:?}", ended.said);
        assert!(ended.lasted < Duration::from_secs(8), "{:?}", ended.lasted);
        ended.said.complains("nothing is changed").complains("interrupted by SIGINT");
        for file in [DROPIN, UNIT] {
            assert!(!Path::new(file).exists(), "{file}");
        }
        let told = fs::read_to_string(told).unwrap();
        let jobs = ["daemon-reload", "restart keepalivectl.service", "stop keepalivectl.service", "daemon-reload"];
        assert_eq!(told.lines().collect::<Vec<_>>(), jobs);
        none_sleeps(&sleep);
    }
}

sandboxed! {
    fn a_systemctl_that_hangs_holds_no_lock() {
        let sleep = long_sleep(1);
        let other = std::env::temp_dir().join("other");
        booted(&format!(
            "timeout 5 {} profile create a --time 9 --intvl 9 --probes 9 > {} 2>&1 </dev/null\n\
             kill -INT $PPID\n{sleep}\n",
            binary(), other.display()
        ));
        timed("enable ssh")
            .by(Signal::SIGINT)
            .says("is kept for boot")
            .says("systemd has not read the changed files: run `systemctl daemon-reload`");
        let other = fs::read_to_string(other).unwrap();
        assert!(Path::new("/etc/keepalivectl/profiles/a.conf").exists(), "{other}");
        assert!(Path::new(DROPIN).exists(), "what is enabled is whole");
        assert!(Path::new(UNIT).exists());
        timed("disable --now").by(Signal::SIGINT).says("No profile is kept for boot any more");
        assert!(!Path::new(DROPIN).exists());
        none_sleeps(&sleep);
    }
}
