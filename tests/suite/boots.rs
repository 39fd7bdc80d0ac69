//! A real boot: an image prepared with `keepalivectl --root IMAGE enable`, started
//! by systemd-nspawn(1), read back by a unit that is not ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bytes::noise;
use crate::command::{binary, keepalivectl};

const REPORT: &str = "\
[Unit]
After=keepalivectl.service systemd-sysctl.service
SuccessAction=exit
FailureAction=exit
FailureActionExitStatus=7
[Service]
Type=oneshot
ExecStart=/bin/sh /out/report.sh
";

/// What the report unit says: `name value` lines.
const SCRIPT: &str = "\
exec >/out/report 2>&1
values() { echo \"$1 $(cat /proc/sys/net/ipv4/tcp_keepalive_time \
/proc/sys/net/ipv4/tcp_keepalive_intvl /proc/sys/net/ipv4/tcp_keepalive_probes | tr '\\n' ' ')\"; }
values booted
echo \"unit $(systemctl is-active keepalivectl.service)\"
echo \"sysctl $(systemctl is-active systemd-sysctl.service)\"
keepalivectl verify >/dev/null; echo \"verify $?\"
journalctl --no-pager -b -u keepalivectl.service >/out/journal 2>&1
";

/// The Debian archive that this machine's apt uses.
fn archive() -> String {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .args(["Created-By: Packages", "Label: Debian", "Component: main"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let first = said.lines().next();
    let first = first.expect("apt has lists of the Debian archive (apt-get update)");
    first.to_owned()
}

/// An image of this machine's own release, made once.
fn base_image() -> PathBuf {
    let image = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    if image.join("sbin/init").exists() {
        return image;
    }
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let name = release
        .lines()
        .find_map(|l| l.strip_prefix("VERSION_CODENAME="));
    let status = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=essential", "--format=directory"])
        .arg("--include=systemd,systemd-sysv,dbus,procps")
        .args([
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
        ])
        .arg(name.expect("a Debian release"))
        .arg(&image)
        .arg(archive())
        .status();
    assert!(status.expect("mmdebstrap is installed").success());
    image
}

/// A copy of the image with the program installed, gone when dropped.
struct Image {
    place: tempfile::TempDir,
}

impl Image {
    fn new() -> Image {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let image = Image { place };
        let status = Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .args([base_image(), image.root()])
            .status();
        assert!(status.unwrap().success());
        let program = image.root().join("usr/local/bin/keepalivectl");
        fs::copy(binary(), program).unwrap();
        image
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::write(self.root().join(path), text).unwrap();
    }

    fn keepalivectl(&self, line: &str) {
        let root = self.root();
        let root = ["--root", root.to_str().unwrap()];
        keepalivectl(root.into_iter().chain(line.split_whitespace())).code(0);
    }

    /// Boots it, runs the script with `more` after it, and returns the report.
    fn boot(&self, more: &str) -> BTreeMap<String, String> {
        let out = self.place.path().join("out");
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("report.sh"), format!("{SCRIPT}{more}exit 0\n")).unwrap();
        self.write("etc/systemd/system/test-report.service", REPORT);
        let mut nspawn = Command::new("timeout");
        // In the foreground, what ends this test ends the container too.
        nspawn.args(["--foreground", "-k", "5", "90"]);
        nspawn.args(["systemd-nspawn", "-q", "--boot", "--console=pipe"]);
        nspawn.args(["--register=no", "--private-network", "--volatile=overlay"]);
        if !Path::new("/run/systemd/system").exists() {
            nspawn.arg("--keep-unit");
        }
        let output = nspawn
            .arg("-D")
            .arg(self.root())
            .arg(format!("--bind={}:/out", out.display()))
            .arg("systemd.wants=test-report.service")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let report = fs::read_to_string(out.join("report")).unwrap();
        let journal = fs::read_to_string(out.join("journal")).unwrap();
        let mut said: BTreeMap<String, String> = report
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        said.insert("journal".to_owned(), journal);
        eprintln!("boot: {said:?}");
        said
    }
}

/// One after the other: two containers at once would share a control group.
#[test]
#[ignore = "needs root, systemd-nspawn and mmdebstrap"]
fn what_is_enabled_is_in_force_after_the_boot() {
    in_force_after_a_boot();
    a_later_file_is_put_right();
    a_broken_drop_in_fails_the_unit_and_not_the_boot();
    now_on_a_running_system();
    the_unit_waits_for_its_turn();
}

fn in_force_after_a_boot() {
    let image = Image::new();
    image.keepalivectl("enable aws-nat");
    let said = image.boot(
        "echo \"limits $(systemctl show -p MemoryMax -p TasksMax keepalivectl.service | sort | tr '\\n' ' ')\"\n",
    );
    assert_eq!(said["booted"], "240 30 6");
    assert_eq!(said["unit"], "active");
    assert_eq!(said["verify"], "0");
    // systemd has taken every line of the unit, and shows the limits.
    assert!(!said["journal"].contains("Unknown"), "{said:?}");
    assert_eq!(said["limits"], "MemoryMax=67108864 TasksMax=4");
    let logged = "aws-nat is in force: time 240 s, intvl 30 s, probes 6; an idle connection with a \
                  silent peer is dropped after 7min";
    assert!(said["journal"].contains(logged));
}

fn a_later_file_is_put_right() {
    let image = Image::new();
    image.keepalivectl("enable aws-nat");
    let later = "net.ipv4.tcp_keepalive_time = 4444\nnet.ipv4.tcp_keepalive_probes = 3\n";
    image.write("etc/sysctl.d/99-zz-later.conf", later);
    let said = image.boot("");
    assert_eq!(said["booted"], "240 30 6");
    // It did say otherwise: without the unit it wins.
    let link = "etc/systemd/system/sysinit.target.wants/keepalivectl.service";
    fs::remove_file(image.root().join(link)).unwrap();
    let said = image.boot("");
    assert_eq!(said["booted"], "4444 30 3");
    assert_eq!(said["unit"], "inactive");
    assert_eq!(said["verify"], "3");
}

fn a_broken_drop_in_fails_the_unit_and_not_the_boot() {
    for broken in [noise(4096), b"net.ipv4.tcp_keepalive_times = 5\n".to_vec()] {
        let image = Image::new();
        image.keepalivectl("enable aws-nat");
        image.write("etc/sysctl.d/99-keepalivectl.conf", broken);
        let said = image.boot("");
        assert_eq!(said["booted"], "7200 75 9");
        assert_eq!(said["unit"], "failed");
        assert!(said["journal"].contains("99-keepalivectl.conf"));
    }
}

fn now_on_a_running_system() {
    let image = Image::new();
    let said = image.boot(
        "keepalivectl enable ssh --now; echo \"enable $?\"
values enabled
echo \"unit-now $(systemctl is-active keepalivectl.service) $(systemctl is-enabled keepalivectl.service)\"
sysctl -qw net.ipv4.tcp_keepalive_time=5; systemctl restart keepalivectl.service; values restarted
keepalivectl disable --now; echo \"disable $?\"
values disabled
echo \"unit-gone $(systemctl is-active keepalivectl.service)\"
keepalivectl enable ssh; printf broken >/etc/sysctl.d/99-keepalivectl.conf
systemctl start keepalivectl.service; echo \"broken $?\"
mkdir -p /etc/systemd/system/keepalivectl.service.d
printf '%s\\n' '[Service]' 'PrivateUsers=yes' >/etc/systemd/system/keepalivectl.service.d/x.conf
keepalivectl disable; keepalivectl enable aws-nat --now; echo \"impossible $?\"
values unchanged
ls /etc/sysctl.d/99-keepalivectl.conf; echo \"left $?\"
",
    );
    assert_eq!(said["enable"], "0");
    assert_eq!(said["enabled"], "60 30 4");
    assert_eq!(said["unit-now"], "active enabled");
    assert_eq!(said["restarted"], "60 30 4");
    assert_eq!(said["disable"], "0");
    assert_eq!(said["disabled"], "7200 75 9");
    assert_eq!(said["unit-gone"], "inactive");
    assert_eq!(said["broken"], "1");
    // Where the unit cannot work, `enable --now` finds out and undoes it all.
    assert_eq!(said["impossible"], "1");
    assert_eq!(said["unchanged"], "7200 75 9");
    assert_ne!(said["left"], "0");
}

/// The lock that the unit takes in its sandbox is the one that others take.
fn the_unit_waits_for_its_turn() {
    let image = Image::new();
    image.keepalivectl("enable ssh");
    let said = image.boot(
        "sysctl -qw net.ipv4.tcp_keepalive_time=5
(flock 9; touch /out/held; sleep 2; values waiting) 9</proc/sys/net/ipv4/tcp_fastopen_key &
while ! [ -e /out/held ]; do sleep 0.1; done
systemctl restart keepalivectl.service; echo \"restart $?\"; values restarted; wait
systemctl mask --runtime keepalivectl.service; echo \"mask $?\"
systemctl restart keepalivectl.service; echo \"masked-restart $?\"
mkdir -p /run/systemd/system.control; ln -s /dev/null /run/systemd/system.control/keepalivectl.service
systemctl daemon-reload; systemctl restart keepalivectl.service; echo \"control-restart $?\"
",
    );
    assert_eq!(said["waiting"], "5 30 4");
    assert_eq!(said["restart"], "0");
    assert_eq!(said["restarted"], "60 30 4");
    // A mask in /run loses to the unit in /etc, and not one in a folder before it.
    assert_eq!(said["masked-restart"], "0");
    assert_ne!(said["control-restart"], "0");
}
