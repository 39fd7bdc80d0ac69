//! A user's file that is edited: what it is, and who else edits it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use tempfile::TempDir;

use crate::command::{Said, binary};

/// A user's folder with one session.
struct Home {
    place: TempDir,
}

const SESSION: &str = "Present=1\nHostName=db1\nPingIntervalSecs=0\n";
/// What another program adds meanwhile.
const EDITED: &str = "Present=1\nHostName=elsewhere\nPingIntervalSecs=0\n";

impl Home {
    fn new() -> Home {
        let place = tempfile::tempdir().unwrap();
        let home = Home { place };
        fs::create_dir_all(home.folder()).unwrap();
        fs::write(home.file(), SESSION).unwrap();
        home
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join(".putty/sessions")
    }

    fn file(&self) -> PathBuf {
        self.folder().join("db")
    }

    /// A command that sets the session's interval, started by others.
    fn command(&self, start: &[&str], line: &str) -> Command {
        let mut words = start.to_vec();
        let binary = binary();
        words.push(&binary);
        words.extend(line.split(' '));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("HOME", self.place.path());
        command.env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, line: &str) -> Said {
        Said::from(self.command(&[], line).output().unwrap())
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// A run that stands still when it is about to put the new file in place.
    fn delayed(&self, line: &str) -> Child {
        let delay = "inject=rename,renameat,renameat2:delay_enter=4000000:when=1";
        let start = ["strace", "-qq", "-o", "/dev/null", "-e", delay];
        let child = self.command(&start, line).spawn();
        let child = child.expect("strace is installed");
        let begin = Instant::now();
        while self.names().len() == 1 {
            assert!(begin.elapsed() < Duration::from_secs(60), "no new file");
            sleep(Duration::from_millis(5));
        }
        // The new file has its name; the next call is the one that is delayed.
        sleep(Duration::from_millis(300));
        child
    }
}

const SET: &str = "ssh set putty db --interval 60";

#[test]
#[ignore = "needs strace"]
fn an_edit_by_another_program_is_kept() {
    type Edit = fn(&Path);
    let ways: [Edit; 2] = [
        // As an editor saves, and as a script does.
        |file| {
            fs::write(file.with_file_name("new"), EDITED).unwrap();
            fs::rename(file.with_file_name("new"), file).unwrap();
        },
        |file| fs::write(file, EDITED).unwrap(),
    ];
    for edit in ways {
        let home = Home::new();
        let run = home.delayed(SET);
        edit(&home.file());
        let said = Said::from(run.wait_with_output().unwrap()).code(1);
        said.complains("was changed by another program meanwhile")
            .complains("nothing is changed");
        assert_eq!(home.text(), EDITED);
        assert_eq!(home.names(), ["db"]);
        home.run(SET).code(0);
        assert!(home.text().contains("elsewhere"));
    }
}

#[test]
#[ignore = "needs strace"]
fn of_two_edits_at_once_one_is_told_to_try_again() {
    let home = Home::new();
    let first = home.delayed(SET);
    home.run("ssh set putty db --interval 30").code(0);
    let between = home.text();
    let said = Said::from(first.wait_with_output().unwrap()).code(1);
    said.complains("run the command again");
    assert_eq!(home.text(), between);
    assert_eq!(home.names(), ["db"]);
}

#[test]
#[ignore = "needs strace"]
fn a_file_that_is_new_meanwhile_is_kept() {
    let home = Home::new();
    fs::remove_file(home.file()).unwrap();
    let default = home.folder().join("Default%20Settings");
    let delay = "inject=rename,renameat,renameat2,linkat:delay_enter=4000000:when=1";
    let start = ["strace", "-qq", "-o", "/dev/null", "-e", delay];
    let log = home.place.path().join("log");
    let start = [&start[..], &["-o", log.to_str().unwrap()]].concat();
    let run = home
        .command(&start, "ssh set putty default --interval 60")
        .spawn();
    let run = run.expect("strace is installed");
    let begin = Instant::now();
    // fsync is the last call before the one that is delayed.
    while !fs::read_to_string(&log).is_ok_and(|log| log.contains("fsync(")) {
        assert!(begin.elapsed() < Duration::from_secs(60), "no new file");
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(300));
    fs::write(&default, EDITED).unwrap();
    let said = Said::from(run.wait_with_output().unwrap()).code(1);
    said.complains("was changed by another program meanwhile");
    assert_eq!(fs::read_to_string(&default).unwrap(), EDITED);
}

#[test]
#[ignore = "needs strace"]
fn a_file_system_that_cannot_exchange_is_written_too() {
    let home = Home::new();
    let cannot = "inject=renameat2:error=EINVAL";
    let start = ["strace", "-qq", "-o", "/dev/null", "-e", cannot];
    for (line, in_it) in [
        (SET, "PingIntervalSecs=60"),
        ("ssh unset putty db", "PingIntervalSecs=0"),
    ] {
        let output = home.command(&start, line).output();
        Said::from(output.expect("strace is installed")).code(0);
        assert!(home.text().contains(in_it));
        assert_eq!(home.names(), ["db"]);
    }
}

/// An access list that gives user 1 the right to read, and the group none.
fn access_list() -> Vec<u8> {
    const ANY: u32 = u32::MAX;
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in [
        (0x01u16, 6u16, ANY),
        (0x02, 4, 1),
        (0x04, 0, ANY),
        (0x10, 4, ANY),
        (0x20, 0, ANY),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

fn attribute(file: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let length = getxattr(file, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn an_access_list_and_attributes_are_kept() {
    let home = Home::new();
    let attributes = [
        ("system.posix_acl_access", access_list()),
        ("user.note", b"mine".to_vec()),
    ];
    for (name, value) in &attributes {
        if let Err(e) = setxattr(home.file(), *name, value, XattrFlags::empty()) {
            let text = format!("NOT TESTED: no {name} on this file system ({e})");
            assert!(std::env::var_os("CI").is_none(), "{text}");
            eprintln!("{text}");
            return;
        }
    }
    let mode = || home.file().metadata().unwrap().mode();
    let before = mode();
    home.run(SET).code(0);
    assert!(home.text().contains("PingIntervalSecs=60"));
    for (name, value) in &attributes {
        assert_eq!(
            attribute(&home.file(), name).as_ref(),
            Some(value),
            "{name}"
        );
    }
    assert_eq!(mode(), before);
    home.run("ssh unset putty db").code(0);
    assert_eq!(home.text(), SESSION);
    for (name, value) in &attributes {
        assert_eq!(
            attribute(&home.file(), name).as_ref(),
            Some(value),
            "{name}"
        );
    }
}

#[test]
fn a_users_file_with_the_name_of_a_temporary_one_stays() {
    let home = Home::new();
    for name in [".db.new", ".db.keepalivectl-mine", ".db.tmp"] {
        fs::write(home.folder().join(name), "the user's own").unwrap();
    }
    let before = home.names();
    home.run(SET).code(0);
    assert_eq!(home.names(), before);
    for name in before.iter().filter(|name| name.starts_with('.')) {
        let text = fs::read_to_string(home.folder().join(name)).unwrap();
        assert_eq!(text, "the user's own", "{name}");
    }
}

#[test]
fn what_a_killed_run_has_left_is_swept_up() {
    let home = Home::new();
    let left = home.folder().join(".db.keepalivectl-0123456789abcdef");
    fs::write(&left, "").unwrap();
    // One that a run still has a lock on is in use.
    let used = home.folder().join(".db.keepalivectl-fedcba9876543210");
    let lock = fs::File::create(&used).unwrap();
    lock.lock().unwrap();
    home.run(SET).code(0);
    assert!(!left.exists());
    assert!(used.exists());
}

#[test]
fn a_file_with_two_names_is_not_parted() {
    let home = Home::new();
    let other = home.place.path().join("dotfiles");
    fs::hard_link(home.file(), &other).unwrap();
    home.run(SET).code(1).complains("hard links");
    assert_eq!(home.text(), SESSION);
    assert_eq!(fs::read_to_string(other).unwrap(), SESSION);
}
