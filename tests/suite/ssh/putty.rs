//! PuTTY's sessions: files on Linux, exports of Windows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::lab::{Lab, until};
use crate::command::{Said, program, run};
use crate::sandbox::sandboxed;

/// Runs with this HOME, and nothing else in the environment.
fn at_home(home: &Path, line: &str) -> Said {
    in_environment(&[("HOME", home)], line)
}

fn in_environment(environment: &[(&str, &Path)], line: &str) -> Said {
    let mut command = program();
    command.env_clear().envs(environment.iter().copied());
    Said::from(command.args(line.split(' ')).output().unwrap())
}

/// A user's folder with one session.
fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".putty/sessions/db%201");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, SESSION).unwrap();
    (home, file)
}

const SESSION: &str =
    "Present=1\nHostName=db1\nPingInterval=0\nPingIntervalSecs=0\nTCPKeepalives=0\n";

#[test]
fn a_session_is_set_and_set_back() {
    let (home, file) = home();
    let set = |line: &str| {
        let mut command = program();
        command
            .env("HOME", home.path())
            .args(["ssh", "set", "putty", "db 1"]);
        Said::from(command.args(line.split(' ')).output().unwrap())
    };
    set("--interval 60 --dry-run")
        .code(0)
        .says("+PingIntervalSecs=60");
    assert_eq!(fs::read_to_string(&file).unwrap(), SESSION);
    set("--interval 60 --tcp-keepalive yes")
        .code(0)
        .says("Written: an idle PuTTY session (db 1)");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(
        "Present=1\nHostName=db1\nPingInterval=0\nPingIntervalSecs=60\nTCPKeepalives=1\n"
    ));
    set("--interval 60 --tcp-keepalive yes")
        .code(0)
        .says("Unchanged");
    set("--interval 30").code(0);
    let mut unset = program();
    unset
        .env("HOME", home.path())
        .args(["ssh", "unset", "putty", "db 1"]);
    Said::from(unset.output().unwrap())
        .code(0)
        .says("Taken out");
    assert_eq!(fs::read_to_string(&file).unwrap(), SESSION);
    Said::from(unset.output().unwrap())
        .code(0)
        .says("Unchanged");
}

#[test]
fn the_default_settings_need_not_be_there_and_others_must() {
    let (home, _file) = home();
    let at_home = |line: &str| at_home(home.path(), line);
    at_home("ssh show --putty")
        .code(0)
        .says("survives no idle timeout")
        .says("PuTTY's default");
    at_home("ssh set putty default --interval 60")
        .code(0)
        .says("sessions that are saved already");
    let file = home.path().join(".putty/sessions/Default%20Settings");
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains("PingIntervalSecs=60\n")
    );
    at_home("ssh unset putty default").code(0);
    assert!(!file.exists());
    at_home("ssh set putty db --interval 60")
        .code(1)
        .complains("there is db 1");
    at_home("ssh show --putty nothing")
        .code(1)
        .complains("no PuTTY session \"nothing\"");
}

#[test]
fn the_folder_is_found_as_putty_finds_it() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let home = at("home");
    let found = |environment: &[(&str, &Path)]| {
        let report = in_environment(
            environment,
            "ssh set putty default --interval 9 --dry-run --json",
        );
        PathBuf::from(report.code(0).json()["file"].as_str().unwrap())
    };
    let name = "sessions/Default%20Settings";
    assert_eq!(found(&[("HOME", &home)]), home.join(".putty").join(name));
    fs::create_dir_all(home.join(".config/putty")).unwrap();
    assert_eq!(
        found(&[("HOME", &home)]),
        home.join(".config/putty").join(name)
    );
    let xdg = at("xdg");
    assert_eq!(
        found(&[("HOME", &home), ("XDG_CONFIG_HOME", &xdg)]),
        home.join(".putty").join(name)
    );
    fs::create_dir_all(xdg.join("putty")).unwrap();
    assert_eq!(
        found(&[("HOME", &home), ("XDG_CONFIG_HOME", &xdg)]),
        xdg.join("putty").join(name)
    );
    let own = at("own");
    assert_eq!(
        found(&[("HOME", &home), ("PUTTYDIR", &own)]),
        own.join(name)
    );
    assert_eq!(
        found(&[("HOME", &home), ("PUTTYSESSIONS", &own)]),
        own.join("Default%20Settings")
    );
    // A relative one is taken from here, to read and to write.
    let relative = Path::new("rel");
    let mut here = program();
    here.env_clear()
        .env("PUTTYDIR", relative)
        .current_dir(place.path());
    here.args(["ssh", "set", "putty", "default", "--interval", "9"]);
    Said::from(here.output().unwrap()).code(0);
    assert!(at("rel").join(name).exists());
    in_environment(&[], "ssh show --putty")
        .code(1)
        .complains("HOME is not set");
}

#[test]
fn a_file_for_windows_reads_back() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("db.reg");
    let reg = file.display();
    run(&format!(
        "ssh set putty db1 --interval 61 --tcp-keepalive yes --reg {reg}"
    ))
    .code(0);
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("Windows Registry Editor Version 5.00\r\n"),
        "{text}"
    );
    assert!(text.contains(r"[HKEY_CURRENT_USER\Software\SimonTatham\PuTTY\Sessions\db1]"));
    assert!(
        text.contains("\"PingIntervalSecs\"=dword:0000003d\r\n"),
        "{text}"
    );
    let report = run(&format!("ssh show --reg {reg} --json")).code(0).json();
    assert_eq!(
        (&report["interval_s"], &report["tcp_keepalive"]),
        (&61.into(), &true.into())
    );
    assert_eq!(report["count_max"], serde_json::Value::Null);
    assert_eq!(
        report["layers"][1]["drop_s"],
        serde_json::Value::Null,
        "Windows decides"
    );
    run(&format!("ssh show other --reg {reg}"))
        .code(1)
        .complains("there is db1");
    // Nothing is written over, and no folder is made for a slip of the pen.
    let set = "ssh set putty db2 --interval 60 --reg";
    run(&format!("{set} {reg}"))
        .code(1)
        .complains("exists already");
    run(&format!("{set} {}/no/x.reg", place.path().display()))
        .code(1)
        .complains("No such file");
    let sly = text.replace("db1", "%1B]0;x%07db");
    fs::write(&file, sly).unwrap();
    let said = run(&format!("ssh show db1 --reg {reg}")).code(1);
    assert!(!said.stderr.contains('\x1b'), "{said:?}");
    fs::write(&file, "PingInterval=1\n").unwrap();
    run(&format!("ssh show --reg {reg}"))
        .code(1)
        .complains("db.reg:1: this is no export");
    run("ssh show --reg /no/such.reg")
        .code(1)
        .complains("/no/such.reg");
}

sandboxed! {
    #[ignore = "needs openssh-server, putty-tools and iproute2"]
    fn plink_reads_the_session_and_speaks() {
        let lab = Lab::direct();
        let listening = lab.serve("LogLevel DEBUG3\n");
        let home = &lab.home;
        let key = home.join("key.ppk");
        let converted = Command::new("puttygen")
            .arg(home.join("key"))
            .arg("-o")
            .arg(&key)
            .status();
        assert!(converted.unwrap().success());
        let host_key = Command::new("ssh-keygen")
            .args(["-lf", "/etc/ssh/ssh_host_ed25519_key.pub"])
            .output()
            .unwrap();
        let host_key = String::from_utf8(host_key.stdout).unwrap();
        let host_key = host_key.split(' ').nth(1).unwrap();
        let file = home.join(".putty/sessions/lab");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let session = format!(
            "HostName=10.9.2.2\nProtocol=ssh\nPortNumber=2222\nUserName=tester\nPublicKeyFile={}\n",
            key.display()
        );
        fs::write(&file, session).unwrap();
        let messages = || {
            // SSH_MSG_IGNORE is type 2.
            let log = listening.log();
            log.lines()
                .filter(|line| line.trim_end().ends_with("receive packet: type 2"))
                .count()
        };
        let plink = || {
            let arguments = ["-batch", "-hostkey", host_key, "-load", "lab"];
            lab.session_of("plink", &arguments)
        };
        let without = plink();
        std::thread::sleep(Duration::from_millis(3500));
        assert_eq!(messages(), 0, "no keepalive without the setting");
        drop(without);
        at_home(home, "ssh set putty lab --interval 1").code(0);
        let _with = plink();
        let begin = std::time::Instant::now();
        until("three keepalives", || messages() >= 3);
        eprintln!(
            "| PuTTY, 1 s | three messages in the server's log after {:.3} s |",
            begin.elapsed().as_secs_f64()
        );
    }
}
