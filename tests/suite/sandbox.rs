//! A user, network and mount namespace for one test, which is its root.
//!
//! The test runs again in a process of its own, started in new namespaces. So
//! its body is plain code: it may write to `/proc/sys/net`, and `/etc`, `/run`
//! and the sysctl.d folders it sees are empty ones of its own.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

const INSIDE: &str = "KEEPALIVECTL_TEST_SANDBOX";

/// Declares a test that runs in a sandbox.
macro_rules! sandboxed {
    ($(#[$attribute:meta])* fn $name:ident() $body:block) => {
        #[test]
        $(#[$attribute])*
        fn $name() {
            $crate::sandbox::run(concat!(module_path!(), "::", stringify!($name)), || $body)
        }
    };
}
pub(crate) use sandboxed;

/// Runs `body` in a sandbox; `test` is the test's own path.
pub fn run(test: &str, body: impl FnOnce()) {
    if is_inside() {
        // Not by a variable that was set outside: one user is mapped, no more.
        let map = fs::read_to_string("/proc/self/uid_map").unwrap();
        assert!(map.trim_end().ends_with(" 1"), "not in a sandbox: {map}");
        furnish();
        body();
        return;
    }
    let (_crate, name) = test.split_once("::").unwrap();
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            name,
            "--exact",
            "--include-ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(INSIDE, "1")
        .env("TMPDIR", place.path())
        .stdin(Stdio::null());
    in_new_namespaces(&mut command);
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => return forbidden(&e),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "in the sandbox:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // What a passing test prints is shown where it is asked for.
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this is inside of a sandbox.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Gives the calling process, which has one thread, an empty `/run` that nobody else
/// sees, if it is root still.
pub fn own_run() -> io::Result<()> {
    if !geteuid().is_root() || !Path::new("/run").is_dir() {
        return Ok(());
    }
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none)?;
    Ok(())
}

/// Whether a process may make namespaces here; says so loudly if not.
pub fn namespaces_allowed() -> bool {
    let mut nothing = Command::new("/bin/true");
    in_new_namespaces(&mut nothing);
    match nothing.status() {
        Ok(_) => true,
        Err(e) => {
            forbidden(&e);
            false
        }
    }
}

/// A host that forbids user namespaces cannot run these tests, and says so.
fn forbidden(e: &io::Error) {
    let text = format!("NOT TESTED: this host forbids user namespaces ({e})");
    assert!(std::env::var_os("CI").is_none(), "{text}");
    eprintln!("{text}");
}

/// Starts a command as root of new user, network and mount namespaces.
pub fn in_new_namespaces(command: &mut Command) {
    let (uid, gid) = (geteuid(), getegid());
    let enter = move || {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
    };
    // SAFETY: the child has one thread, and glibc's fork leaves malloc usable.
    unsafe { command.pre_exec(enter) };
}

/// Starts a command as user 1000 of a new user namespace, who has what its caller has
/// and no right over others.
pub fn as_plain_user(command: &mut Command) -> &mut Command {
    let (uid, gid) = (geteuid(), getegid());
    let enter = move || {
        unshare(CloneFlags::CLONE_NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("1000 {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("1000 {gid} 1"))
    };
    // SAFETY: the child has one thread, and glibc's fork leaves malloc usable.
    unsafe { command.pre_exec(enter) }
}

/// A process in a network namespace of its own that this one may enter.
pub fn sleeping_in_new_namespaces() -> Child {
    let mut command = Command::new("/bin/sleep");
    command.arg("60");
    in_new_namespaces(&mut command);
    command.spawn().unwrap()
}

/// Gives the sandbox its own empty `/etc`, `/run` and sysctl.d folders, and no
/// systemd.
fn furnish() {
    let place = std::env::temp_dir();
    tmpfs(&place);
    // Without it the loader tries many folders for each library.
    let loader = fs::read("/etc/ld.so.cache");
    for (n, path) in [
        "/etc",
        "/run",
        "/usr/local/lib/sysctl.d",
        "/usr/lib/sysctl.d",
        "/lib/sysctl.d",
        "/usr/lib/systemd",
        "/lib/systemd",
    ]
    .iter()
    .enumerate()
    {
        let empty = place.join(format!("empty-{n}"));
        fs::create_dir(&empty).unwrap();
        if Path::new(path).is_dir() {
            bind(&empty, Path::new(path));
        }
    }
    fs::create_dir("/etc/sysctl.d").unwrap();
    if let Ok(loader) = loader {
        fs::write("/etc/ld.so.cache", loader).unwrap();
    }
}

/// Mounts an empty file system of one's own.
pub fn tmpfs(on: &Path) {
    let none = None::<&str>;
    mount(Some("tmpfs"), on, Some("tmpfs"), MsFlags::empty(), none).unwrap();
}

/// Mounts one folder over another.
pub fn bind(what: &Path, on: &Path) {
    let none = None::<&str>;
    mount(
        Some(what),
        on,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )
    .unwrap();
}

/// Makes `/proc/sys` read-only, as a container runtime does.
pub fn read_only_sysctls() {
    let on = Path::new("/proc/sys");
    bind(on, on);
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, on, None::<&str>, flags, None::<&str>).unwrap();
}

/// The three values, read by this test and not by the program under test.
pub fn in_force() -> [i64; 3] {
    ["time", "intvl", "probes"].map(|name| {
        let path = format!("/proc/sys/net/ipv4/tcp_keepalive_{name}");
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    })
}

/// Sets the three values behind the program's back.
pub fn put_in_force(values: [i64; 3]) {
    for (name, value) in ["time", "intvl", "probes"].iter().zip(values) {
        let path = format!("/proc/sys/net/ipv4/tcp_keepalive_{name}");
        fs::write(path, value.to_string()).unwrap();
    }
}
