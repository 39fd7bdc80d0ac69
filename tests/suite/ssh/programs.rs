//! Programs that are missing, or say what they should not: played by scripts, so
//! that nothing has to be installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::command::{Said, program, run};
use crate::installed::{install, own_root};
use crate::sandbox::{as_plain_user, bind, sandboxed};

/// A folder of programs, and a user's folder.
struct Place {
    top: TempDir,
}

impl Place {
    fn new() -> Place {
        let top = tempfile::tempdir().unwrap();
        for name in ["bin", "home"] {
            fs::create_dir(top.path().join(name)).unwrap();
        }
        Place { top }
    }

    fn home(&self) -> PathBuf {
        self.top.path().join("home")
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.top.path().join("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// An ssh that knows one file, with Host lines that all apply.
    fn ssh(&self) {
        let home = self.home();
        let home = home.display();
        self.program(
            "ssh",
            &format!(
                "case \"$*\" in *ControlPath=*) echo \"controlpath {home}/\"; exit 0;; esac\n\
                 f={home}/.ssh/config\n\
                 first() {{ v=$(sed -n \"s/^ *$1 //p\" $f 2>/dev/null | head -n 1); echo ${{v:-$2}}; }}\n\
                 if [ -f $f ]; then\n\
                 if grep -q Bogus $f; then echo \"$f line 1: Bad configuration option\" >&2; exit 255; fi\n\
                 echo \"debug1: Reading configuration data $f\" >&2\n\
                 grep -n ^Host $f | while IFS=: read n host; do\n\
                 echo \"debug1: $f line $n: Applying options for *\" >&2; done\n\
                 fi\n\
                 echo tcpkeepalive yes\n\
                 echo serveraliveinterval $(first ServerAliveInterval 0)\n\
                 echo serveralivecountmax $(first ServerAliveCountMax 3)\n"
            ),
        );
    }

    /// Runs it as a plain user, whose PATH counts.
    fn run(&self, line: &str) -> Said {
        let mut command = program();
        if geteuid().is_root() {
            as_plain_user(&mut command);
        }
        command.env(
            "PATH",
            format!("{}:/usr/bin:/bin", self.top.path().join("bin").display()),
        );
        command.env("HOME", self.home()).env_remove("SUDO_UID");
        Said::from(command.args(line.split(' ')).output().unwrap())
    }
}

#[test]
fn a_path_that_was_given_is_run_and_no_other() {
    let place = Place::new();
    place.ssh();
    let other = place.top.path().join("other");
    place
        .run(&format!("ssh show --ssh {}", other.display()))
        .code(1)
        .complains("cannot run")
        .complains("other");
    fs::rename(place.top.path().join("bin/ssh"), &other).unwrap();
    place
        .run(&format!("ssh --ssh {} show", other.display()))
        .code(0)
        .says("ServerAliveInterval");
}

#[test]
fn a_setting_is_written_read_again_and_taken_out() {
    let place = Place::new();
    place.ssh();
    let file = place.home().join(".ssh/config");
    place
        .run("ssh set client --interval 60 --count 5")
        .code(0)
        .says("Written");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    place.run("ssh unset client").code(0);
    assert!(!file.exists());
    // Another line wins: nothing is left, not even a folder.
    fs::remove_dir(file.parent().unwrap()).unwrap();
    place.program(
        "ssh",
        "case \"$*\" in *ControlPath=*) echo \"controlpath $HOME/\"; exit 0;; esac\n\
         printf 'tcpkeepalive yes\\nserveraliveinterval 7\\nserveralivecountmax 3\\n'\n",
    );
    place
        .run("ssh set client --interval 60 --count 5")
        .code(1)
        .complains("would not take effect");
    assert!(!file.parent().unwrap().exists());
}

#[test]
fn what_it_refuses_after_the_writing_is_taken_back() {
    let place = Place::new();
    place.ssh();
    let file = place.home().join(".ssh/config");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, "Host *\n").unwrap();
    // It takes the file as it is, and refuses it with a block.
    let real = fs::read_to_string(place.top.path().join("bin/ssh")).unwrap();
    let picky = real.replace("grep -q Bogus", "grep -q 'begin of'");
    place.program("ssh", &picky);
    let said = place.run("ssh set client --interval 60 --count 5").code(1);
    said.complains("nothing is changed")
        .complains("Bad configuration option");
    assert_eq!(fs::read_to_string(&file).unwrap(), "Host *\n");
}

#[test]
fn what_somebody_else_changes_meanwhile_is_not_thrown_away() {
    let place = Place::new();
    let file = place.home().join(".ssh/config");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, "Host *\n").unwrap();
    place.program(
        "ssh",
        "case \"$*\" in *ControlPath=*) echo \"controlpath $HOME/\"; exit 0;; esac\n\
         grep -q 'begin of' $HOME/.ssh/config && echo '# precious' >> $HOME/.ssh/config\n\
         printf 'tcpkeepalive yes\\nserveraliveinterval 7\\nserveralivecountmax 3\\n'\n",
    );
    let said = place.run("ssh set client --interval 60 --count 5").code(4);
    said.complains("it was changed meanwhile");
    assert!(fs::read_to_string(&file).unwrap().ends_with("# precious\n"));
}

#[test]
fn an_answer_that_says_nothing_is_an_error() {
    let place = Place::new();
    place.program("ssh", "echo user me\n");
    place
        .run("ssh show")
        .code(1)
        .complains("does not tell ServerAliveInterval");
    place.program("ssh", "kill -9 $$\n");
    place.run("ssh show").code(1).complains("it says nothing");
}

#[test]
fn a_trace_that_does_not_go_with_the_files_is_not_trusted() {
    let place = Place::new();
    place.program(
        "ssh",
        "echo 'debug1: Reading configuration data /no/such/file' >&2\n\
         printf 'tcpkeepalive yes\\nserveraliveinterval 7\\nserveralivecountmax 3\\n'\n",
    );
    place
        .run("ssh show")
        .code(0)
        .says("not known: the files do not tell");
}

sandboxed! {
    fn a_missing_program_says_which_package_brings_it() {
        own_root();
        // The machine's own folders are empty, too.
        let empty = std::env::temp_dir().join("empty");
        fs::create_dir(&empty).unwrap();
        for folder in ["/usr/bin", "/usr/sbin", "/bin", "/sbin"] {
            if Path::new(folder).join("ssh").exists() {
                bind(&empty, Path::new(folder));
            }
        }
        for job in [
            "ssh show",
            "ssh set client --interval 60 --count 3",
            "ssh unset client",
        ] {
            run(job)
                .code(1)
                .complains("there is no ssh in /usr/local/sbin, ")
                .complains("openssh-client")
                .complains("--ssh PATH");
        }
    }
}

sandboxed! {
    fn a_server_that_refuses_is_left_as_it_was() {
        own_root();
        let sshd = |script: &str| install("/usr/local/sbin/sshd", script);
        let dump = "printf 'tcpkeepalive yes\\nclientaliveinterval 0\\nclientalivecountmax 3\\n'\n";
        sshd(dump);
        fs::create_dir_all("/etc/ssh").unwrap();
        fs::write(
            "/etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\n",
        )
        .unwrap();
        let folder = Path::new("/etc/ssh/sshd_config.d");
        // It is not in effect.
        run("ssh set server --interval 60 --count 3")
            .code(1)
            .complains("would not take effect");
        assert!(!folder.exists());
        // It is refused.
        sshd(&format!("[ $1 = -t ] && {{ echo no >&2; exit 1; }}\n{dump}"));
        run("ssh set server --interval 60 --count 3")
            .code(1)
            .complains("`sshd -t` refuses: no");
        assert!(!folder.exists());
        // Since 10.4 it writes its options as its manual does.
        let new = dump
            .replace("clientaliveinterval 0", "ClientAliveInterval 60")
            .replace("tcpk", "TCPK");
        sshd(&new);
        run("ssh set server --interval 60 --count 3")
            .code(0)
            .says("OPTION");
        run("ssh unset server").code(0);
        // An old one would end idle sessions.
        sshd(&format!("[ $1 = -V ] && echo OpenSSH_8.0p1 >&2\n{dump}"));
        run("ssh set server --interval 60 --count 0")
            .code(2)
            .complains("before OpenSSH 8.2");
    }
}

#[test]
fn options_and_plans_need_no_program() {
    let place = Place::new();
    let options = place
        .run("ssh options --interval 1m --count 5")
        .code(0)
        .stdout;
    assert_eq!(
        options,
        "-o ServerAliveInterval=60 -o ServerAliveCountMax=5\n"
    );
    place
        .run("ssh plan --path aws-nat")
        .code(0)
        .says("interval 1min, count 5");
    place
        .run("ssh plan --detect-within 2m")
        .code(0)
        .says("shorter than the recommended");
    place
        .run("ssh plan --idle-timeout 2")
        .code(1)
        .complains("no interval survives");
    let far = place
        .run("ssh plan --idle-timeout 62 --rtt 1ms --json")
        .code(0)
        .json();
    assert_eq!(
        (&far["interval_s"], &far["recommended"]),
        (&60.into(), &true.into())
    );
}

#[test]
fn wrong_input_is_2_and_changes_nothing() {
    let place = Place::new();
    place.ssh();
    for line in [
        "ssh",
        "ssh set client --interval 60",
        "ssh set client --interval 0 --count 3",
        "ssh set client --interval 60 --count 0",
        "ssh set client --interval 60 --count -1",
        "ssh set client --interval 3000000000 --count 3",
        "ssh set client --interval 60 --count 3 --host a,b",
        "ssh set client --interval 60 --count 3 --host !a",
        "ssh set client --interval 60 --count 3 --user --system",
        "ssh set server --interval 60 --count 3 --tcp-keepalive maybe",
        "ssh set putty x --interval 1500ms",
        "ssh show -oX -",
        "ssh show --match user=x",
        "ssh show --server --putty",
        "ssh show host --server",
        "ssh plan",
        "ssh plan --path no-such-path",
        "ssh set client --interval 60 --count 3 --host a@b",
        "ssh set putty .. --interval 60",
    ] {
        let said = place.run(line).code(2);
        assert_eq!(said.stdout, "", "{line}");
    }
    assert_eq!(fs::read_dir(place.home()).unwrap().count(), 0);
}
