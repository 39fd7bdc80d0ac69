//! What others have named, on its way to a terminal or a program.
//!
//! Each command that can show a foreign name shows one that would clear the screen,
//! turn the line around and go on as a line of its own. In no form may a byte of it
//! reach the terminal as what it is, and the JSON value is the name itself.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use keepalivectl::kernel::lab::Lab;

use crate::command::program;
use crate::fixture::{LINK, Tree, UNIT};
use crate::installed::{install, own_root};
use crate::pair::Pair;
use crate::sandbox::{sandboxed, sleeping_in_new_namespaces};

/// What one line of a file may hold: the erasure of the screen, a bell, DEL, C1, bidi
/// and invisible characters.
const LINE: &str = "a\x1b[2J\x07\x7fb\u{9b}31m\u{202e}c\u{2066}\u{200b}\u{ad}\u{2028}d";
/// A name has newlines, too.
const NAME: &str = "a\x1b[2J\x07\x7fb\u{9b}31m\u{202e}c\nforged: all is well";
/// How people see what both begin with: as it is, in quotes, in a command.
const SHOWN: [&str; 3] = [
    r"a\x1b[2J\x07\x7fb\u{9b}31m\u{202e}c",
    r"a\u{1b}[2J\u{7}\u{7f}b\u{9b}31m\u{202e}c",
    r"a\033[2J\007\177b\302\23331m\342\200\256c",
];

/// Where the name is to be seen.
#[derive(Clone, Copy)]
enum Seen {
    /// In the report, for people and as a JSON value.
    Reported(&'static str),
    /// In some way, such as a part of a complaint.
    Somehow,
}

/// Runs a command in each form and judges what it prints.
#[track_caller]
fn try_all_forms(command: impl Fn() -> Command, seen: Seen) {
    for colour in [false, true] {
        let mut people = command();
        if colour {
            people.env("CLICOLOR_FORCE", "1");
        }
        let said = run(people);
        let text = harmless(&said, colour);
        assert!(SHOWN.iter().any(|name| text.contains(name)), "{text}");
    }
    let mut json = command();
    json.arg("--json");
    let said = run(json);
    let text = harmless(&said, false);
    let value: Option<Value> = serde_json::from_slice(&said.stdout).ok();
    match (seen, value) {
        (Seen::Reported(name), Some(value)) => {
            assert!(holds(&value, name), "{name:?} is not in {value:#}");
        }
        (Seen::Reported(_), None) => panic!("no JSON: {text}"),
        (Seen::Somehow, value) => assert!(value.is_some() || said.stdout.is_empty(), "{text}"),
    }
}

pub(super) fn run(mut command: Command) -> Output {
    command.env_remove("SUDO_UID").output().unwrap()
}

/// Both outputs as a text, in which nothing steers a terminal but our own style, and
/// nothing forges a line.
#[track_caller]
fn harmless(said: &Output, colour: bool) -> String {
    let bytes = [said.stdout.as_slice(), b"\n--\n", said.stderr.as_slice()].concat();
    let mut text = String::from_utf8(bytes).unwrap();
    if colour {
        for style in ["\x1b[1m", "\x1b[33m", "\x1b[0m"] {
            text = text.replace(style, "");
        }
    }
    if let Some(c) = text.chars().find(|c| steers(*c)) {
        panic!("{c:?} in {text:?}");
    }
    let forged = text
        .lines()
        .find(|line| line.trim_start().starts_with("forged"));
    assert_eq!(forged, None, "{text}");
    text
}

/// Written down here anew: what is tested has a list of its own.
fn steers(c: char) -> bool {
    let bidi = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
    let hidden = "\u{ad}\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{2028}\u{2029}\u{e0041}";
    (c.is_control() && c != '\n') || bidi.contains(c) || hidden.contains(c)
}

/// Whether some string of a JSON value has the name in it.
fn holds(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text.contains(name),
        Value::Array(values) => values.iter().any(|value| holds(value, name)),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains(name) || holds(value, name)),
        _ => false,
    }
}

/// The command with a root and the words of one line.
fn at_root(root: &Path, line: &str) -> Command {
    let mut command = program();
    command.arg("--root").arg(root).args(line.split(' '));
    command
}

/// A tree whose files are all named or filled by somebody else; one of them wins over
/// the drop-in.
fn overridden() -> Tree {
    let tree = Tree::new();
    tree.write(
        &format!("etc/sysctl.d/zz {NAME}.conf"),
        "net.ipv4.tcp_keepalive_time = 77\n",
    );
    tree.write(
        "etc/sysctl.d/50.conf",
        format!("net.ipv4.tcp_keepalive_intvl = {LINE}\n"),
    );
    tree
}

#[test]
fn a_file_that_decides_the_boot_cannot_steer_the_terminal() {
    let tree = overridden();
    let root = tree.path("");
    try_all_forms(|| at_root(&root, "show"), Seen::Reported(NAME));
    let dry = "enable ssh --dry-run";
    try_all_forms(|| at_root(&root, dry), Seen::Reported(NAME));
    run(at_root(&root, "enable ssh"));
    // The files that are kept, and what wins over them.
    try_all_forms(|| at_root(&root, "show"), Seen::Reported(NAME));
    // With a unit that somebody has changed.
    tree.write("usr/lib/systemd/systemd", "");
    tree.write(
        UNIT,
        format!(
            "# Written by `keepalivectl enable`\n[Service]\nExecStart=/{LINE} boot\nDescription={LINE}\n"
        ),
    );
    tree.write(
        &format!("{UNIT}.d/{NAME}.conf"),
        format!("[Service]\n{LINE}\n"),
    );
    tree.link(LINK, format!("/etc/{NAME}/keepalivectl.service"));
    try_all_forms(|| at_root(&root, "show"), Seen::Reported(NAME));
    for line in ["enable ssh --dry-run", "disable --dry-run"] {
        harmless(&run(at_root(&root, line)), false);
        harmless(&run(at_root(&root, &format!("{line} --json"))), false);
    }
}

#[test]
fn a_name_that_is_no_text_is_shown_as_one() {
    let tree = Tree::new();
    tree.write("etc/sysctl.d/x", "");
    let name = OsStr::from_bytes(b"zz a\x1b[2J\x07\x7fb\xc2\x9b31m\xe2\x80\xaec\xff\xfe.conf");
    fs::write(
        tree.path("etc/sysctl.d").join(name),
        "net.ipv4.tcp_keepalive_time = 77\n",
    )
    .unwrap();
    let root = tree.path("");
    try_all_forms(
        || at_root(&root, "show"),
        Seen::Reported("c\u{fffd}\u{fffd}.conf"),
    );
}

#[test]
fn a_profile_cannot_steer_the_terminal() {
    let tree = Tree::new();
    let settings = "net.ipv4.tcp_keepalive_time = 240\nnet.ipv4.tcp_keepalive_intvl = 30\n\
                    net.ipv4.tcp_keepalive_probes = 6\n";
    let file = "etc/keepalivectl/profiles/mine.conf";
    tree.write(file, format!("# {LINE}\n{settings}"));
    let root = tree.path("");
    for line in ["profile list", "profile show mine"] {
        try_all_forms(|| at_root(&root, line), Seen::Reported(LINE));
    }
    // One that is broken is complained of.
    tree.write(file, format!("{LINE}\n{settings}"));
    for line in ["profile list", "profile show mine", "enable mine"] {
        try_all_forms(|| at_root(&root, line), Seen::Somehow);
    }
    tree.write(file, format!("{settings}net.{LINE} = 5\n"));
    try_all_forms(|| at_root(&root, "profile show mine"), Seen::Somehow);
}

#[test]
fn the_root_itself_cannot_steer_the_terminal() {
    let tree = Tree::new();
    let root = tree.path(NAME);
    tree.write(&format!("{NAME}/usr/lib/systemd/systemd"), "");
    // No program is installed: the advice names the tree.
    try_all_forms(|| at_root(&root, "enable ssh"), Seen::Somehow);
    fs::remove_dir_all(root.join("usr")).unwrap();
    let create = "profile create mine --time 5 --intvl 5 --probes 5 --replace";
    try_all_forms(|| at_root(&root, create), Seen::Reported(NAME));
    for line in ["profile show mine", "enable mine --dry-run"] {
        try_all_forms(|| at_root(&root, line), Seen::Reported(NAME));
    }
    run(at_root(&root, "enable mine"));
    for line in ["show", "disable --dry-run"] {
        try_all_forms(|| at_root(&root, line), Seen::Reported(NAME));
    }
    // What cannot be read or used.
    let dropin = root.join("etc/sysctl.d/99-keepalivectl.conf");
    fs::remove_file(&dropin).unwrap();
    fs::create_dir(&dropin).unwrap();
    for line in ["show", "apply ssh", "enable ssh"] {
        try_all_forms(|| at_root(&root, line), Seen::Somehow);
    }
    let gone = tree.path(&format!("gone {NAME}"));
    try_all_forms(|| at_root(&gone, "show"), Seen::Somehow);
}

#[test]
fn what_is_wrong_with_the_arguments_cannot_steer_the_terminal() {
    let words = |line: &str| -> Vec<OsString> {
        let word = |word: &str| word.replace('X', NAME).into();
        line.split(' ').map(word).collect()
    };
    for line in [
        "X",
        "show X",
        "apply --X",
        "apply X",
        "apply --time X",
        "apply --probes X",
        "check --path X",
        "time-to-drop --state X",
        "time-to-drop --user-timeout X",
        "sockets --port X",
        "sockets --remote X",
        "show --netns pid:X",
        "show --netns X",
        "profile show X",
        "ssh set client --interval 60 --count 3 --host X",
        "ssh show --reg X",
    ] {
        let command = || {
            let mut command = program();
            command.args(words(line));
            command
        };
        for colour in [false, true] {
            let mut people = command();
            if colour {
                people.env("CLICOLOR_FORCE", "1");
            }
            let said = run(people);
            assert!(
                [1, 2].contains(&said.status.code().unwrap()),
                "{line}: {said:?}"
            );
            // clap has more of its own: red, green and the underline.
            let mut stderr = String::from_utf8(said.stderr).unwrap();
            for style in ["\x1b[31m", "\x1b[32m", "\x1b[4m"] {
                stderr = stderr.replace(style, "");
            }
            let stderr = stderr.into_bytes();
            harmless(&Output { stderr, ..said }, colour);
        }
    }
}

sandboxed! {
    fn a_process_and_a_namespace_cannot_steer_the_terminal() {
        Lab::enter().unwrap();
        let _pair = Pair::kept();
        let comm = "a\x1b[2J\x07\x7fb\n\r\u{202e}";
        fs::write("/proc/self/comm", comm).unwrap();
        let mut other = sleeping_in_new_namespaces();
        fs::create_dir("/run/netns").unwrap();
        let namespace = format!("/proc/{}/ns/net", other.id());
        symlink(namespace, Path::new("/run/netns").join(NAME)).unwrap();
        let ours = |line: &'static str| move || {
            let mut command = program();
            command.args(line.split(' '));
            command
        };
        for line in ["sockets", "sockets --summary", "netns list"] {
            for colour in [false, true] {
                let mut people = ours(line)();
                people.env(if colour { "CLICOLOR_FORCE" } else { "X" }, "1");
                let text = harmless(&run(people), colour);
                assert!(text.contains(r"a\x1b[2J\x07\x7fb\n\r\u{202e}"), "{line}: {text}");
            }
            let mut json = ours(line)();
            let said = run({ json.arg("--json"); json });
            harmless(&said, false);
            let value: Value = serde_json::from_slice(&said.stdout).unwrap();
            assert!(holds(&value, comm), "{line}: {value:#}");
        }
        for line in ["netns list", "apply ssh --all-netns --dry-run"] {
            let said = run(ours(line)());
            // One word for a shell, so that it can be copied.
            let text = harmless(&said, false);
            assert!(text.contains(r"$'a\033[2J\007\177b"), "{line}: {text}");
            let mut json = ours(line)();
            let said = run({ json.arg("--json"); json });
            harmless(&said, false);
            let value: Value = serde_json::from_slice(&said.stdout).unwrap();
            assert!(holds(&value, NAME), "{line}: {value:#}");
        }
        let said = run(ours("sockets --all-netns --state listen")());
        harmless(&said, false);
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

/// Programs of OpenSSH that name what they like, in a sandbox.
pub(super) struct Played {
    pub(super) home: tempfile::TempDir,
}

impl Played {
    pub(super) fn new() -> Played {
        own_root();
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(".ssh")).unwrap();
        Played { home }
    }

    /// Where root looks for it; HOME in the script is the user's, whatever root has.
    pub(super) fn program(&self, name: &str, script: &str) {
        let script = script.replace("$HOME", self.home.path().to_str().unwrap());
        install(&format!("/usr/local/bin/{name}"), &script);
    }

    pub(super) fn command(&self, line: &str) -> Command {
        let mut command = program();
        command.env("HOME", self.home.path());
        command.args(line.split(' '));
        command
    }
}

sandboxed! {
    fn a_configuration_of_ssh_cannot_steer_the_terminal() {
        let played = Played::new();
        let config = played.home.path().join(".ssh/config");
        fs::write(&config, format!("Host {LINE}\n# {LINE}\n")).unwrap();
        let file = config.display();
        let options = "printf 'tcpkeepalive yes\\nserveralivecountmax 3\\n'\n\
                       printf 'clientalivecountmax 3\\nclientaliveinterval 0\\n'\n";
        // A line of the trace names a file with such a name, and a value.
        let named = played.home.path().join(LINE);
        fs::write(&named, format!("ServerAliveInterval {LINE}\n")).unwrap();
        let trace = format!(
            "case \"$*\" in *ControlPath=*) echo \"controlpath $HOME/\"; exit 0;; esac\n\
             echo 'debug1: Reading configuration data {}' >&2\n\
             echo 'serveraliveinterval 7'\n{options}",
            named.display()
        );
        for name in ["ssh", "sshd"] {
            played.program(name, &trace);
        }
        for line in ["ssh show", "ssh show --server"] {
            harmless(&run(played.command(line)), false);
            harmless(&run(played.command(&format!("{line} --json"))), false);
        }
        let host = || {
            let mut command = played.command("ssh show");
            command.arg(LINE);
            command
        };
        try_all_forms(host, Seen::Reported(LINE));
        // The diff is of a file of somebody else.
        let set = "ssh set client --interval 60 --count 3 --dry-run";
        try_all_forms(|| played.command(set), Seen::Reported(LINE));
        // What it complains of.
        let refuses = format!("echo '{file}: {LINE}' >&2; exit 255\n");
        for (name, line) in [("ssh", "ssh show"), ("sshd", "ssh show --server")] {
            played.program(name, &refuses);
            try_all_forms(|| played.command(line), Seen::Somehow);
        }
    }
}

#[test]
fn a_session_of_putty_cannot_steer_the_terminal() {
    let home = tempfile::tempdir().unwrap();
    let sessions = home.path().join(".putty/sessions");
    fs::create_dir_all(&sessions).unwrap();
    let escape = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    let escaped: String = NAME.bytes().map(escape).collect();
    let session = format!("HostName={LINE}\nPingIntervalSecs=7\nTCPKeepalives=1\n{LINE}\n");
    fs::write(sessions.join(escaped), session).unwrap();
    let putty = |line: &str| {
        let mut command = program();
        command.env("HOME", home.path());
        let word = |word: &str| OsString::from(word.replace('X', NAME));
        command.args(line.split(' ').map(word));
        command
    };
    try_all_forms(|| putty("ssh show --putty X"), Seen::Reported(NAME));
    let set = "ssh set putty X --interval 60";
    let dry = format!("{set} --dry-run");
    try_all_forms(|| putty(&dry), Seen::Reported(LINE));
    try_all_forms(|| putty(set), Seen::Reported(NAME));
    // Those that are there instead are named.
    try_all_forms(|| putty("ssh show --putty a"), Seen::Somehow);
    let unset = "ssh unset putty X --dry-run";
    harmless(&run(putty(unset)), false);
    harmless(&run(putty(&format!("{unset} --json"))), false);
}

#[test]
fn an_export_of_windows_cannot_steer_the_terminal() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join(format!("{NAME}.reg"));
    let escaped: String = NAME.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let sessions = r"HKEY_CURRENT_USER\Software\SimonTatham\PuTTY\Sessions";
    let export = |name: &str, value: &str| {
        let head = "Windows Registry Editor Version 5.00";
        let text = format!("{head}\n[{sessions}\\{name}]\n\"PingIntervalSecs\"={value}\n");
        fs::write(&file, text).unwrap();
    };
    let show = |session: Option<&str>| {
        let mut command = program();
        command.args(["ssh", "show"]).args(session);
        command.arg("--reg").arg(&file);
        command
    };
    export(&escaped, "dword:0000003c");
    try_all_forms(|| show(None), Seen::Reported(NAME));
    try_all_forms(|| show(Some("other")), Seen::Somehow);
    export("x", LINE);
    try_all_forms(|| show(None), Seen::Somehow);
    // As it is written, too.
    let set = || {
        let mut command = program();
        command.args(["ssh", "set", "putty", "x", "--interval", "60", "--reg"]);
        command.arg(place.path().join(format!("new {NAME}.reg")));
        command
    };
    try_all_forms(set, Seen::Reported(NAME));
}

#[test]
fn a_path_that_is_no_text_ends_no_report() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join(OsStr::from_bytes(b"a\xffb"));
    fs::create_dir_all(folder.join("sessions")).unwrap();
    let putty = |line: &str| {
        let mut command = program();
        command.env("PUTTYDIR", &folder).args(line.split(' '));
        run(command)
    };
    for line in [
        "ssh set putty default --interval 60 --json",
        "ssh unset putty default --json",
    ] {
        let said = putty(line);
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        let value: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert!(holds(&value, "a\u{fffd}b"), "{value:#}");
    }
}
