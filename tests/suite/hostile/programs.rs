//! Programs that are run: found in the wrong place, hanging, flooding.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;

use super::denied::deny;
use crate::command::{Said, binary, program, run};
use crate::installed::{install, own_root, set_mode};
use crate::sandbox::sandboxed;

/// What `sshd -T` prints, and what `ssh -G` does.
const SERVER: &str =
    "printf 'tcpkeepalive yes\\nclientaliveinterval 60\\nclientalivecountmax 3\\n'\n";
const CLIENT: &str =
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

sandboxed! {
    fn root_runs_no_program_that_path_names() {
        own_root();
        let evil = std::env::temp_dir().join("evil");
        let told = std::env::temp_dir().join("told");
        for name in ["ssh", "sshd", "systemctl", "id"] {
            install(evil.join(name).to_str().unwrap(), &format!("echo $0 >> {}\n", told.display()));
        }
        let environment = std::env::temp_dir().join("environment");
        install("/usr/local/bin/ssh", CLIENT);
        let tell = format!("env > {}\n", environment.display());
        install("/usr/local/sbin/sshd", &format!("{tell}{SERVER}"));
        for job in ["ssh show", "ssh show --server"] {
            let path = format!("{}:/usr/bin:/bin", evil.display());
            let mut command = program();
            let output = command
                .env("PATH", path)
                .env("LD_PRELOAD", "/no/such/library.so")
                .env("BASH_ENV", "/no/such/script")
                .env("SHELL", "/no/such/shell")
                .args(job.split(' '))
                .output();
            Said::from(output.unwrap()).code(0);
            assert!(!told.exists(), "{job}");
        }
        let environment = fs::read_to_string(&environment).unwrap();
        for line in environment.lines() {
            let (name, value) = line.split_once('=').unwrap();
            assert!(["PATH", "HOME", "LANG", "PWD", "SHLVL", "_", "OLDPWD"].contains(&name), "{line}");
            assert!(!value.contains("evil"), "{line}");
        }
    }
}

sandboxed! {
    fn roots_client_finds_its_variables_but_none_that_steers_it() {
        own_root();
        fs::write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n").unwrap();
        let environment = std::env::temp_dir().join("environment");
        install("/usr/local/bin/ssh", &format!("env > {}\n{CLIENT}", environment.display()));
        let steering = [
            "LD_PRELOAD", "LD_LIBRARY_PATH", "GCONV_PATH", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "LOCPATH",
            "HOSTALIASES", "RES_OPTIONS", "OPENSSL_CONF", "OPENSSL_MODULES", "BASH_ENV", "BASH_FUNC_test%%",
            "ENV", "SHELLOPTS", "PERL5LIB", "PYTHONPATH",
        ];
        let mut command = program();
        command.envs(steering.map(|name| (name, "/evil")));
        command.env("SHELL", "/evil/shell").env("PATH", "/evil:/usr/bin:/bin");
        command.env("XDG_RUNTIME_DIR", "/run/user/0").env("VPN", "1").args(["ssh", "show"]);
        Said::from(command.output().unwrap()).code(0);
        let environment = fs::read_to_string(&environment).unwrap();
        let lines: Vec<&str> = environment.lines().collect();
        for kept in ["VPN=1", "XDG_RUNTIME_DIR=/run/user/0", "SHELL=/bin/sh", "HOME=/root"] {
            assert!(lines.contains(&kept), "no {kept} in {lines:?}");
        }
        assert!(!environment.contains("evil"), "{lines:?}");
    }
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn roots_client_takes_a_variable_as_ssh_does() {
        fs::write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n").unwrap();
        let config = std::env::temp_dir().join("config");
        let lines = "Match exec \"test x$VPN = x1\"\nServerAliveInterval 17\nMatch all\nControlPath ${VPN}/%C\n";
        fs::write(&config, lines).unwrap();
        let mut command = program();
        command.args(["ssh", "show", "-F"]).arg(&config).env("VPN", "1");
        Said::from(command.output().unwrap()).code(0).says("17");
    }
}

sandboxed! {
    fn what_others_can_change_root_does_not_run() {
        own_root();
        let told = std::env::temp_dir().join("told");
        let sshd = install("/usr/local/sbin/sshd", &format!("echo run >> {}\n{SERVER}", told.display()));
        let show = |more: &str| run(&format!("ssh show --server{more}"));
        let refused = |said: Said, at: &str, why: &str| {
            said.code(1)
                .complains(&format!("root does not run {}", sshd.display()))
                .complains(&format!("{at} can be written by {why}"))
                .complains(&match Path::new(at).is_dir() {
                    true => format!("chown -h root:root {at} && sudo chmod go-w {at}"),
                    false => "its content cannot be trusted: remove it, or install it again".to_owned(),
                })
                .complains("--sshd PATH");
            assert!(!told.exists(), "it ran");
        };
        for (at, mode, good) in [
            ("/usr/local/sbin/sshd", 0o775, 0o755),
            ("/usr/local/sbin", 0o775, 0o755),
            ("/usr/local", 0o2775, 0o755),
            ("/", 0o775, 0o755),
        ] {
            set_mode(at, mode);
            refused(show(""), at, "its group");
            refused(show(" --sshd /usr/local/sbin/sshd"), at, "its group");
            set_mode(at, good);
        }
        // Everybody can mount something in such a folder, and only the group in that of Nix.
        set_mode("/usr/local/sbin", 0o1777);
        refused(show(""), "/usr/local/sbin", "everybody");
        set_mode("/usr/local/sbin", 0o1775);
        show("").code(0);
        set_mode("/usr/local/sbin", 0o755);
        fs::remove_file(&told).unwrap();
        // Neither a link's folder nor what it leads to.
        fs::create_dir("/usr/local/open").unwrap();
        std::os::unix::fs::symlink("../sbin/sshd", "/usr/local/open/sshd").unwrap();
        let by_link = " --sshd /usr/local/open/sshd";
        show(by_link).code(0);
        fs::remove_file(&told).unwrap();
        set_mode("/usr/local/open", 0o777);
        show(by_link).code(1).complains("/usr/local/open can be written by everybody");
        set_mode("/usr/local/open", 0o755);
        set_mode("/usr/local/sbin/sshd", 0o757);
        show(by_link).code(1).complains("/usr/local/sbin/sshd can be written by everybody");
        assert!(!told.exists(), "it ran");
        show(" --sshd /usr/local/no/sshd").code(1).complains("/usr/local/no/sshd");
        fs::create_dir("/usr/local/open/d").unwrap();
        fs::create_dir("/usr/local/open/d/sshd").unwrap();
        show(" --sshd /usr/local/open/d/sshd").code(1).complains("Permission denied");
        // Who may choose an sshd through sudo shall not choose any program.
        show(" --sshd /usr/bin/env").code(1).complains("only what is called sshd");
    }
}

/// Runs a script as root with a /mnt of its own.
fn in_own_mnt(script: &str) -> Said {
    let script = format!("mount -t tmpfs -o mode=755 none /mnt\n{script}");
    let mut shell = Command::new("unshare");
    shell
        .args(["--mount", "sh", "-c", &script])
        .env_remove("SUDO_UID");
    Said::from(shell.output().unwrap())
}

#[test]
#[ignore = "needs root"]
fn what_belongs_to_another_user_root_does_not_run_and_not_adopt() {
    let said = in_own_mnt(&format!(
        "printf '#!/bin/sh\necho run > /mnt/told\n' > /mnt/sshd
         mkdir /mnt/d /mnt/l; cp /mnt/sshd /mnt/d/; ln -s /mnt/sshd /mnt/l/sshd
         chmod 755 /mnt/sshd /mnt/d/sshd; chown -h 65534 /mnt/sshd /mnt/d /mnt/l/sshd
         for f in /mnt/sshd /mnt/d/sshd /mnt/l/sshd; do {} ssh show --server --sshd $f; done; ls /mnt",
        binary()
    ));
    let said = said
        .code(0)
        .complains("/mnt/sshd belongs to user 65534; its content cannot be trusted")
        .complains("/mnt/l/sshd belongs to user 65534; its content cannot be trusted")
        .complains("/mnt/d belongs to user 65534")
        .complains("sudo chown -h root:root /mnt/d && sudo chmod go-w /mnt/d;")
        .says("d\nl\nsshd\n");
    assert_eq!(said.stderr.matches("chown").count(), 1, "{said:?}");
}

#[test]
#[ignore = "needs root"]
fn who_lacks_a_right_through_sudo_is_not_sent_to_sudo() {
    let said = in_own_mnt(&format!(
        "echo > /mnt/x.reg; chmod 600 /mnt/x.reg; chmod 755 /mnt
         SUDO_USER=nobody SUDO_UID=65534 SUDO_GID=65534 {} ssh show --reg /mnt/x.reg",
        binary()
    ));
    let said = said
        .code(1)
        .complains("cannot read /mnt/x.reg")
        .complains("user nobody lacks the right");
    assert!(!said.stderr.contains("sudo keepalivectl"), "{said:?}");
}

#[test]
#[ignore = "needs root"]
fn a_group_that_the_user_cannot_keep_is_named() {
    let place = tempfile::tempdir().unwrap();
    let ssh = place.path().join("ssh");
    install(
        ssh.to_str().unwrap(),
        &format!("echo controlpath /mnt/home/\n{CLIENT}"),
    );
    let said = in_own_mnt(&format!(
        "cp {} /mnt/keepalivectl; cp {} /mnt/ssh; mkdir -p /mnt/home/.ssh; echo > /mnt/home/.ssh/config
         chown -R 65534:65534 /mnt/home; chgrp 12345 /mnt/home/.ssh/config
         setpriv --reuid 65534 --regid 65534 --clear-groups \\
             /mnt/keepalivectl ssh set client --interval 60 --count 3 --ssh /mnt/ssh",
        binary(),
        ssh.display()
    ));
    let said = said
        .code(1)
        .complains("its group, 12345, cannot be kept")
        .complains("chgrp 65534 /mnt/home/.ssh/config");
    assert!(!said.stderr.contains("chmod"), "{said:?}");
}

/// A tree in which somebody else's program would be the unit's.
const TREE: &str = "mkdir -p /mnt/t/usr/local/bin /mnt/t/usr/lib/systemd
    cp /bin/true /mnt/t/usr/lib/systemd/systemd; k=/mnt/t/usr/local/bin/keepalivectl";

#[test]
#[ignore = "needs root"]
fn a_program_of_another_user_is_installed_anew() {
    let binary = binary();
    // Advised is no chown of the file, whether it is the one that asks or not.
    for (running, advised) in [
        (binary.as_str(), "install it properly with: sudo install -D"),
        (
            "$k",
            "its content cannot be trusted: remove it, and install it again",
        ),
    ] {
        for spoil in ["chown 65534 $k", "chmod 757 $k"] {
            let said = in_own_mnt(&format!(
                "{TREE}\ncp {binary} $k; chmod 755 $k; {spoil}\n{running} --root /mnt/t enable ssh"
            ));
            let said = said.code(1).complains(advised);
            assert!(!said.stderr.contains("chown"), "{said:?}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn root_of_a_user_namespace_runs_what_is_outsides() {
    let place = tempfile::tempdir().unwrap();
    let sshd = place.path().join("sshd");
    install(sshd.to_str().unwrap(), SERVER);
    let said = in_own_mnt(&format!(
        "{TREE}\ncp {0} $k; cp {1} /mnt/sshd; chmod 755 /mnt/sshd $k
         chown 1000 /mnt/sshd $k /mnt/t/usr
         unshare --user --map-root-user sh -ec '
             {0} ssh show --server --sshd /mnt/sshd; {0} --root /mnt/t enable ssh --dry-run'
         chmod 757 /mnt/sshd; unshare --user --map-root-user {0} ssh show --server --sshd /mnt/sshd",
        binary(),
        sshd.display()
    ));
    said.code(1)
        .says("would be kept for boot")
        .complains("/mnt/sshd can be written by everybody");
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
