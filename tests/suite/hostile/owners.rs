//! Whose program it is that root is to run, whose environment it gets, and whose rights
//! a job has.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::programs::{CLIENT, SERVER};
use crate::command::{Said, binary, program, run};
use crate::installed::{install, own_root, set_mode};
use crate::sandbox::sandboxed;

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
