//! The client's configuration, with the real ssh.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};

use super::lab::furnish;
use crate::command::{Said, binary, run};
use crate::sandbox::{bind, sandboxed};

/// What `ssh -G` says of one option, by itself.
fn effective(host: &str, option: &str) -> String {
    let output = Command::new("ssh").args(["-G", host]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(option));
    line.unwrap_or_else(|| panic!("no {option} in {text}"))
        .trim()
        .to_owned()
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

/// A user's folder with a configuration.
fn home_with(config: &[u8]) -> PathBuf {
    let folder = furnish().join(".ssh");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("config");
    fs::write(&file, config).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    file
}

const SET: &str = "ssh set client --interval 60 --count 5";

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn a_first_configuration_is_private_and_takes_effect() {
        let home = furnish();
        run(SET)
            .code(0)
            .says("Written: an idle session to a host that no block names survives");
        let (folder, file) = (home.join(".ssh"), home.join(".ssh/config"));
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        assert_eq!(effective("db1", "serveraliveinterval"), "60");
        assert_eq!(effective("db1", "serveralivecountmax"), "5");
        // Twice is once.
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        run(SET).code(0).says("Unchanged");
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        // Other values take the place of the first.
        run("ssh set client --interval 1m --count 3").code(0);
        assert_eq!(effective("db1", "serveralivecountmax"), "3");
        assert_eq!(
            fs::read_to_string(&file).unwrap().matches("Host *").count(),
            1
        );
        run("ssh unset client").code(0).says("Taken out");
        assert!(!file.exists());
        run("ssh unset client").code(0).says("Unchanged");
    }
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn the_rest_of_a_file_stays_byte_for_byte() {
        let text = "# mine\r\nHost db1\n\tServerAliveInterval 10\n# no end";
        let file = home_with(text.as_bytes());
        let report = run(&format!("{SET} --json")).code(0).json();
        assert_eq!(report["in_effect"]["interval_s"], 60);
        // What is said for certain hosts keeps its say, and that is told.
        assert_eq!(effective("db1", "serveraliveinterval"), "10");
        assert_eq!(effective("db2", "serveraliveinterval"), "60");
        let warning = report["warnings"][0].as_str().unwrap();
        assert!(
            warning.contains("`Host db1` has a ServerAliveInterval of its own"),
            "{warning}"
        );
        assert!(warning.contains("config:3 (10)"), "{warning}");
        assert!(fs::read_to_string(&file).unwrap().starts_with(text));
        assert_eq!(mode(&file), 0o640);
        // Certain hosts at the top, and what came first counts for all again.
        run("ssh set client --interval 45 --count 4 --host db*")
            .code(0)
            .says("unset client --host 'db*'`");
        assert_eq!(effective("db1", "serveraliveinterval"), "45");
        assert_eq!(effective("web", "serveraliveinterval"), "60");
        run("ssh unset client").code(0);
        run("ssh unset client --host db*").code(0);
        assert_eq!(fs::read(&file).unwrap(), text.as_bytes());
    }
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn a_line_that_wins_is_named_and_nothing_is_changed() {
        let text = "Host *\n  ServerAliveCountMax 7\n";
        let file = home_with(text.as_bytes());
        run(SET)
            .code(1)
            .complains("ServerAliveCountMax would not take effect")
            .complains("config:2 (7)")
            .complains("\n  change or remove that line; or give --host '*'");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        run(&format!("{SET} --host *.example.org")).code(0);
        assert_eq!(effective("a.example.org", "serveralivecountmax"), "5");
        assert_eq!(effective("other", "serveralivecountmax"), "7");
        // For all, and before that line.
        run(&format!("{SET} --host *")).code(0);
        assert_eq!(effective("other", "serveralivecountmax"), "5");
        run("ssh unset client")
            .code(0)
            .says("Unchanged")
            .says("ssh unset client --host '*'`");
        run("ssh unset client --host *").code(0);
        run("ssh unset client --host *.example.org").code(0);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn a_system_wide_setting_is_for_those_who_have_none_of_their_own() {
        let file = home_with(b"ServerAliveInterval 20\n");
        let dropin = Path::new("/etc/ssh/ssh_config.d/10-keepalivectl.conf");
        run(&format!("{SET} --system"))
            .code(1)
            .complains("does not include what is in /etc/ssh/ssh_config.d");
        assert!(!dropin.exists(), "no Include, no drop-in");
        let main = "Include /etc/ssh/ssh_config.d/*.conf\nHost *\n  ServerAliveInterval 99\n";
        fs::write("/etc/ssh/ssh_config", main).unwrap();
        run(&format!("{SET} --system")).code(0);
        assert_eq!(mode(dropin), 0o644);
        assert_eq!(effective("db1", "serveraliveinterval"), "20");
        fs::remove_file(&file).unwrap();
        assert_eq!(effective("db1", "serveraliveinterval"), "60");
        // The lowest number wins.
        fs::write(
            "/etc/ssh/ssh_config.d/05-site.conf",
            "ServerAliveInterval 33\n",
        )
        .unwrap();
        let before = fs::read(dropin).unwrap();
        run("ssh set client --interval 50 --count 5 --system")
            .code(1)
            .complains("05-site.conf:1 (33)");
        assert_eq!(fs::read(dropin).unwrap(), before);
        run("ssh unset client --system").code(0);
        assert!(!dropin.exists());
    }
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn what_ssh_refuses_is_told_in_its_words() {
        let text = "ServerAliveInterval sixty\n";
        let file = home_with(text.as_bytes());
        for job in ["ssh show", SET, &format!("{SET} --dry-run")] {
            run(job)
                .code(1)
                .complains("`ssh -G")
                .complains("line 1: invalid time value");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        run(SET).code(1).complains("Bad owner or permissions");
        run("ssh show x -o Bogus=1")
            .code(1)
            .complains("Bad configuration option: bogus");
        run("ssh show -F /no/such").code(1).complains("/no/such");
    }
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn files_that_cannot_be_edited_are_left_alone() {
        let latin = b"# K\xf6ln\nHost a\n";
        let file = home_with(latin);
        run(SET)
            .code(1)
            .complains("config:1: this line is not UTF-8");
        assert_eq!(fs::read(&file).unwrap(), latin);
        // A line of the user's own in a block is not thrown away.
        fs::write(&file, "").unwrap();
        run(SET).code(0);
        let edited = fs::read_to_string(&file)
            .unwrap()
            .replace("Host *\n", "Host *\nForwardAgent yes\n");
        fs::write(&file, &edited).unwrap();
        for job in [SET, "ssh unset client"] {
            run(job)
                .code(1)
                .complains("config:3: this line stands in keepalivectl's part");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), edited);
        // Without its last line a block is nobody's to guess.
        fs::write(&file, "").unwrap();
        run(SET).code(0);
        let torn = fs::read_to_string(&file)
            .unwrap()
            .replace("# end", "# the end");
        fs::write(&file, &torn).unwrap();
        run(SET)
            .code(1)
            .complains("config:1: what keepalivectl put here has lost its last line");
        run("ssh unset client").code(1);
        assert_eq!(fs::read_to_string(&file).unwrap(), torn);
        // A link stays a link.
        let real = file.with_file_name("real");
        fs::rename(&file, &real).unwrap();
        fs::write(&real, "").unwrap();
        symlink(&real, &file).unwrap();
        run(SET).code(1).complains("is a symbolic link");
        assert_eq!(fs::read_to_string(&real).unwrap(), "");
        fs::remove_file(&file).unwrap();
        // A file system that takes no writes.
        let folder = file.parent().unwrap();
        bind(folder, folder);
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, folder, None::<&str>, flags, None::<&str>).unwrap();
        run(SET).code(1).complains("Read-only file system");
        assert!(!file.exists());
    }
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn a_dry_run_shows_the_difference() {
        let file = home_with(b"Host a\n");
        let said = run(&format!("{SET} --dry-run")).code(0);
        assert!(said.stdout.contains("nothing is written"), "{said:?}");
        assert!(
            said.stdout.contains("\n+    ServerAliveInterval 60\n"),
            "{said:?}"
        );
        assert!(said.stdout.contains("\n Host a\n"), "{said:?}");
        assert_eq!(fs::read(&file).unwrap(), b"Host a\n");
        let report = run(&format!("{SET} --dry-run --json")).code(0).json();
        assert_eq!(
            (&report["changed"], &report["dry_run"]),
            (&true.into(), &true.into())
        );
    }
}

/// What one option comes from, and the lines it shadows.
fn origin(arguments: &str, option: &str) -> (String, Vec<String>) {
    let report = run(&format!("ssh show --json {arguments}")).code(0).json();
    let mut origins = report["origins"].as_array().unwrap().iter();
    let found = origins.find(|origin| origin["option"] == option).unwrap();
    let line = |at: &serde_json::Value| {
        let file = at["file"].as_str().unwrap_or_default();
        let name = file.rsplit('/').next().unwrap_or_default();
        format!(
            "{name}:{}={}",
            at["line"],
            at["value"].as_str().unwrap_or_default()
        )
    };
    let source = match found["from"].as_str().unwrap() {
        "file" => line(&found["at"]),
        other => other.to_owned(),
    };
    (
        source,
        found["shadows"]
            .as_array()
            .unwrap()
            .iter()
            .map(line)
            .collect(),
    )
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn the_line_that_wins_is_found_by_the_programs_own_rules() {
        home_with(
            b"Include /run/more.conf /run/none*.conf\n\
              Host !db1 *\n  ServerAliveInterval 1\n\
              Host web db*\n  serveraliveinterval=\"2m\"\n\
              Match originalhost db1 exec \"true\"\n  ServerAliveInterval 3\n  TCPKeepAlive no\n\
              Match exec \"false\"\n  ServerAliveInterval 4\n\
              Host other\n  Include /run/more.conf\n\
              Match final\n  ServerAliveCountMax 6\n",
        );
        fs::write(
            "/run/more.conf",
            "Host *\nHost web\n  ServerAliveCountMax 9\n",
        )
        .unwrap();
        fs::write("/etc/ssh/ssh_config", "ServerAliveInterval 5\n").unwrap();
        let interval = |host| origin(host, "ServerAliveInterval");
        let lines = |lines: &[&str]| {
            lines
                .iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            interval("db1"),
            (
                "config:5=2m".into(),
                lines(&["config:7=3", "ssh_config:1=5"])
            )
        );
        assert_eq!(interval("web").0, "config:3=1");
        assert_eq!(interval("any").1, lines(&["ssh_config:1=5"]));
        assert_eq!(origin("web", "ServerAliveCountMax").0, "more.conf:3=9");
        assert_eq!(origin("db1", "ServerAliveCountMax").0, "config:14=6");
        assert_eq!(origin("db1", "TCPKeepAlive").0, "config:8=no");
        assert_eq!(interval("db1 -o ServerAliveInterval=7").0, "command-line");
        assert_eq!(origin("-F none", "ServerAliveInterval").0, "default");
    }
}

sandboxed! {
    #[ignore = "needs openssh-client"]
    fn each_way_of_being_dropped_is_told() {
        furnish();
        let show = |options: &str| run(&format!("ssh show {options}")).code(0);
        show("").says("(TCPKeepAlive)").says("can be spoofed");
        show("-o ServerAliveInterval=15")
            .says("1min")
            .says("(ServerAlive)")
            .says("15s × (3 + 1)");
        show("-o ServerAliveInterval=120 -o ServerAliveCountMax=30")
            .says("(retransmission)")
            .says("the count of 30 is never reached");
        show("-o ServerAliveInterval=5 -o ServerAliveCountMax=0")
            .says("is ended, its peer alive or not");
        show("-o TCPKeepAlive=no").says("never ends it");
        show("-o ProxyJump=bastion -o ServerAliveInterval=60")
            .says("has no socket under this kernel");
        // What says none says nothing.
        let none = show("-o ServerAliveInterval=none --json").json();
        assert_eq!(none["origins"][0]["from"], "default");
        show("")
            .says("of the")
            .says("paths in `keepalivectl paths`");
        show("-o ControlPath=/run/x").says("share a connection");
        let batch = show("-o BatchMode=yes --json").json();
        // Debian's patch; elsewhere there is no such default.
        let expected = if batch["interval_s"] == 300 {
            "batch-mode"
        } else {
            "default"
        };
        assert_eq!(batch["origins"][0]["from"], expected);
        run("ssh show --path aws-nat -o ServerAliveInterval=60")
            .code(0)
            .says("Safe: ");
        run("ssh show --idle-timeout 62 -o ServerAliveInterval=60")
            .code(3)
            .says("Fragile: ")
            .says("Try: ");
        run("ssh show --path aws-nat").code(3).says("Unsafe: ");
        // It counts bytes, and SSH's messages are bytes.
        run("ssh show --path aws-alb -o ServerAliveInterval=60").code(3);
        run("ssh show --path aws-alb -o ServerAliveInterval=30").code(0);
    }
}

#[test]
#[ignore = "needs root and openssh-client"]
fn through_sudo_it_is_the_callers_file() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let place = tempfile::tempdir().unwrap();
    let home = place.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(1234), Some(1234)).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let users = place.path().join("passwd");
    fs::write(
        &users,
        format!("caller:x:1234:1234::{}:/bin/sh\n", home.display()),
    )
    .unwrap();
    let script = format!(
        "mount --bind {} /etc/passwd && SUDO_UID=1234 SUDO_GID=1234 exec \"$@\"",
        users.display()
    );
    let as_caller = |line: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh", &binary()]);
        Said::from(command.args(line.split(' ')).output().unwrap())
    };
    let owner = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        let status = fs::metadata(path).unwrap();
        (status.uid(), status.gid(), status.mode() & 0o7777)
    };
    as_caller(SET).code(0).says("Written");
    assert_eq!(owner(&home.join(".ssh")), (1234, 1234, 0o700));
    assert_eq!(owner(&home.join(".ssh/config")), (1234, 1234, 0o600));
    as_caller("ssh unset client").code(0).says("Taken out");
    // No link of the caller's leads root anywhere.
    let secret = place.path().join("secret");
    fs::write(&secret, "Host *\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&secret, home.join(".ssh/config")).unwrap();
    let said = as_caller(SET).code(1);
    assert!(!said.stderr.contains("Host *"), "{said:?}");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "Host *\n");
}
