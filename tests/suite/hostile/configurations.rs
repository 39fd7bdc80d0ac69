//! Configurations of SSH and PuTTY: who may see them, and what becomes of them when
//! something fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Said, binary, program, run};
use crate::installed::{install, own_root, set_mode};
use crate::sandbox::{put_in_force, sandboxed};

/// A line that nobody but root may see.
const SECRET: &str = "Hunter2";

/// Runs it as through sudo, by a user who may read nothing of root's.
fn through_sudo(path: &Path, line: &str) -> Said {
    let mut command = program();
    command
        .env(
            "PATH",
            format!("{}:/usr/sbin:/usr/bin:/bin", path.display()),
        )
        .env("SUDO_UID", "65534")
        .env("SUDO_GID", "65534")
        .env_remove("SUDO_USER");
    Said::from(command.args(line.split(' ')).output().unwrap())
}

#[test]
#[ignore = "needs root"]
fn a_file_is_read_as_the_one_who_called_sudo() {
    let place = tempfile::tempdir().unwrap();
    set_mode(place.path(), 0o755);
    let bin = place.path().join("bin");
    // An sshd that complains of its file's lines.
    let sshd = "while [ $# -gt 0 ]; do [ \"$1\" = -f ] && cat \"$2\" >&2; shift; done; exit 255\n";
    install(bin.join("sshd").to_str().unwrap(), sshd);
    set_mode(&bin, 0o755);
    let file = place.path().join("file");
    let export = "REGEDIT4\n[HKEY_CURRENT_USER\\Software\\SimonTatham\\PuTTY\\Sessions\\Hunter2]\n\
                  \"PingIntervalSecs\"=dword:0000003d\n";
    fs::write(&file, export).unwrap();
    let jobs = [
        format!("ssh show --reg {}", file.display()),
        format!("ssh show --server -F {}", file.display()),
    ];
    set_mode(&file, 0o600);
    for job in &jobs {
        let said = through_sudo(&bin, job)
            .code(1)
            .complains("Permission denied");
        assert!(!format!("{said:?}").contains(SECRET), "{said:?}");
    }
    set_mode(&file, 0o644);
    through_sudo(&bin, &jobs[0]).code(0).says(SECRET);
    through_sudo(&bin, &jobs[1]).code(1).complains(SECRET);
}

#[test]
#[ignore = "needs root and openssh-server"]
fn a_servers_file_includes_nothing_that_its_user_may_not_read() {
    let place = tempfile::tempdir().unwrap();
    set_mode(place.path(), 0o755);
    let (secret, file) = (place.path().join("secret"), place.path().join("file"));
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    set_mode(&secret, 0o600);
    let include = format!("ClientAliveInterval 61\nInclude {}\n", secret.display());
    fs::write(&file, include).unwrap();
    let show = || {
        let script = format!(
            "mount -t tmpfs none /run && mkdir /run/sshd && exec {} ssh show --server -F {}",
            binary(),
            file.display()
        );
        let mut command = Command::new("unshare");
        command.env("SUDO_UID", "65534").env("SUDO_GID", "65534");
        command.env_remove("SUDO_USER");
        Said::from(
            command
                .args(["--mount", "sh", "-c", &script])
                .output()
                .unwrap(),
        )
    };
    let said = show().code(1).complains("Permission denied");
    assert!(!said.stderr.contains(SECRET), "{said:?}");
    // What the user may read is shown, without a key of root's.
    fs::write(&secret, "ClientAliveCountMax 7\n").unwrap();
    set_mode(&secret, 0o644);
    let said = show().code(0).says("61").says("secret:1");
    assert!(!said.stdout.contains("/proc/self"), "{said:?}");
}

/// A sandbox with programs that know one file each.
fn with_programs() -> PathBuf {
    own_root();
    let home = std::env::temp_dir().join("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    let first = |key: &str, file: &str| {
        format!(
            "v=$(grep -h '^ *{key} ' {file} 2>/dev/null | head -n 1); v=${{v##* }}; echo {key} ${{v:-0}}\n"
        )
    };
    let config = format!("{}/.ssh/config", home.display());
    let client = format!(
        "case \"$*\" in *ControlPath=*) echo \"controlpath {}/\"; exit 0;; esac\n{}{}echo tcpkeepalive yes\n",
        home.display(),
        first("ServerAliveInterval", &config),
        first("ServerAliveCountMax", &config)
    );
    install("/usr/local/bin/ssh", &client);
    fs::create_dir_all("/etc/ssh").unwrap();
    fs::write(
        "/etc/ssh/sshd_config",
        "Include /etc/ssh/sshd_config.d/*.conf\n",
    )
    .unwrap();
    let dropin = "/etc/ssh/sshd_config.d/10-keepalivectl.conf";
    let server = format!(
        "{}{}echo tcpkeepalive yes; echo pidfile none\n",
        first("ClientAliveInterval", dropin),
        first("ClientAliveCountMax", dropin)
    );
    install("/usr/local/sbin/sshd", &server);
    home
}

sandboxed! {
    fn what_is_set_is_done_whatever_the_kernel_has() {
        let home = with_programs();
        // The kernel takes it, and nothing can be computed with it.
        put_in_force([7200, 75, 0]);
        let adds_up = "it is in effect, and what it adds up to cannot be told";
        run("ssh set client --interval 60 --count 3")
            .code(0)
            .says("config is written")
            .says(adds_up)
            .says("unset client");
        let config = fs::read_to_string(home.join(".ssh/config")).unwrap();
        assert!(config.contains("ServerAliveInterval 60"), "{config}");
        run("ssh set server --interval 60 --count 3 --reload")
            .code(0)
            .says(adds_up)
            .says("No running sshd was found");
        let json = run("ssh set server --interval 50 --count 3 --reload --json").code(0).json();
        assert_eq!(json["reloaded"], "not-running");
        let mut putty = program();
        putty.env("HOME", &home).args(["ssh", "set", "putty", "default", "--interval", "60"]);
        Said::from(putty.output().unwrap()).code(0).says(adds_up);
        assert!(home.join(".putty/sessions/Default%20Settings").exists());
        // What only computes has nothing to show.
        run("ssh show").code(1).complains("probes");
    }
}

/// Sets and unsets the session `x` of a home.
fn putty(home: &Path, line: &str) -> Said {
    let mut command = program();
    command.env("HOME", home).env_remove("SUDO_UID");
    command
        .env_remove("PUTTYDIR")
        .env_remove("PUTTYSESSIONS")
        .env_remove("XDG_CONFIG_HOME");
    Said::from(command.args(line.split(' ')).output().unwrap())
}

#[test]
fn what_putty_wrote_comes_back_byte_for_byte() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".putty/sessions/x");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let texts: [&[u8]; 5] = [
        "HostName=Köln\nPingInterval=fünf\nTCPKeepalives=ä\n".as_bytes(),
        b"HostName=K\xf6ln\r\nPingInterval=f\xfcnf\r\nPingIntervalSecs=\xff\xfe\r\n",
        b"HostName=\xc3\nPingInterval=1",
        b"",
        b"\0\n\n",
    ];
    for text in texts {
        fs::write(&file, text).unwrap();
        putty(home.path(), "ssh show --putty x").code(0);
        putty(
            home.path(),
            "ssh set putty x --interval 60 --tcp-keepalive yes",
        )
        .code(0)
        .says("Written");
        let written = fs::read(&file).unwrap();
        assert!(String::from_utf8_lossy(&written).contains("PingIntervalSecs=60"));
        putty(home.path(), "ssh set putty x --interval 30").code(0);
        putty(home.path(), "ssh unset putty x").code(0);
        assert_eq!(
            fs::read(&file).unwrap(),
            text,
            "{}",
            String::from_utf8_lossy(text)
        );
        putty(home.path(), "ssh unset putty x")
            .code(0)
            .says("Unchanged");
    }
}
