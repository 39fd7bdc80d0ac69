//! Two network namespaces with a real sshd in one and real clients in the other,
//! joined by a veth pair or by a router that forgets.
//!
//! All of it belongs to a sandbox. sshd and ssh run as a user without any right, in
//! a user namespace of their own, because sshd as root would want more users than a
//! sandbox has.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::command::{Said, binary};
use crate::sandbox::as_plain_user;

/// The client's address, and the server's.
const CLIENT: &str = "10.9.1.2";
const SERVER: &str = "10.9.2.2";
const PORT: &str = "2222";
/// Nobody has it.
const NOBODYS_MAC: &str = "02:00:00:00:00:99";

/// A process that holds a network namespace.
struct Holder {
    process: Child,
}

impl Holder {
    fn new() -> Holder {
        let mut command = Command::new("/bin/sleep");
        command.arg("300");
        // SAFETY: unshare(2) is all that the child does before it runs sleep.
        unsafe { command.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?)) };
        let process = command.spawn().unwrap();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let link = format!("/proc/{}/ns/net", process.id());
        while fs::read_link(&link).unwrap() == own {
            sleep(Duration::from_millis(1));
        }
        Holder { process }
    }

    fn netns(&self) -> OwnedFd {
        let file = fs::File::open(format!("/proc/{}/ns/net", self.process.id()));
        file.unwrap().into()
    }

    /// A command that runs in it.
    fn command(&self, program: &str) -> Command {
        let netns = self.netns();
        let mut command = Command::new(program);
        // SAFETY: setns(2) is all that the child does before it runs the program.
        unsafe {
            command.pre_exec(move || Ok(setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)?));
        }
        command
    }

    fn ip(&self, line: &str) {
        ran(self.command("ip").args(line.split_whitespace()));
    }

    fn sysctl(&self, name: &str, value: impl ToString) {
        let set = format!("echo {} > /proc/sys/net/ipv4/{name}", value.to_string());
        ran(self.command("sh").args(["-c", &set]));
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ran(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// The files that the real programs want in a sandbox's own /etc and /run.
pub fn furnish() -> PathBuf {
    let home = std::env::temp_dir().join("home");
    fs::create_dir(&home).unwrap();
    let place = home.display();
    let users = format!(
        "root:x:0:0::{place}:/bin/sh\nsshd:x:2:2::/run/sshd:/bin/false\n\
         tester:x:1000:1000::{place}:/bin/sh\n"
    );
    fs::write("/etc/passwd", users).unwrap();
    fs::write("/etc/group", "root:x:0:\ntester:x:1000:\n").unwrap();
    fs::create_dir("/run/sshd").unwrap();
    fs::create_dir_all("/etc/ssh/ssh_config.d").unwrap();
    fs::create_dir_all("/etc/ssh/sshd_config.d").unwrap();
    keygen(Path::new("/etc/ssh/ssh_host_ed25519_key"));
    home
}

fn keygen(file: &Path) {
    let mut command = Command::new("ssh-keygen");
    ran(command
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(file));
}

/// Namespaces, keys, and what is running.
pub struct Lab {
    client: Holder,
    server: Holder,
    /// Where keys and configurations are.
    pub home: PathBuf,
}

impl Lab {
    /// Client and server on one cable.
    pub fn direct() -> Lab {
        let lab = Lab::new();
        let pid = lab.server.process.id();
        lab.client.ip(&format!(
            "link add to-server type veth peer name to-client netns {pid}"
        ));
        lab.client
            .ip(&format!("addr add {CLIENT} peer {SERVER} dev to-server"));
        lab.server
            .ip(&format!("addr add {SERVER} peer {CLIENT} dev to-client"));
        lab.client.ip("link set to-server up");
        lab.server.ip("link set to-client up");
        lab
    }

    /// Client and server with a router in between, which is this process's own
    /// namespace: it forgets a connection that is idle for so long.
    pub fn through_a_firewall(idle_timeout_s: u32) -> Lab {
        let lab = Lab::new();
        for (end, name, net, address) in [
            (&lab.client, "client", "10.9.1.1", CLIENT),
            (&lab.server, "server", "10.9.2.1", SERVER),
        ] {
            let pid = end.process.id();
            let ip = |line: String| ran(Command::new("ip").args(line.split_whitespace()));
            ip(format!(
                "link add {name} type veth peer name out netns {pid}"
            ));
            ip(format!("addr add {net}/24 dev {name}"));
            ip(format!("link set {name} up"));
            end.ip(&format!("addr add {address}/24 dev out"));
            end.ip("link set out up");
            end.ip(&format!("route add default via {net}"));
        }
        let rules = "table inet box { chain forward { type filter hook forward priority 0; \
                     policy drop; ct state established accept; \
                     ct state new tcp flags & (syn | ack) == syn accept; }; }";
        ran(Command::new("nft").arg(rules));
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let netfilter = Path::new("/proc/sys/net/netfilter");
        fs::write(netfilter.join("nf_conntrack_tcp_loose"), "0").unwrap();
        let timeout = idle_timeout_s.to_string();
        fs::write(
            netfilter.join("nf_conntrack_tcp_timeout_established"),
            timeout,
        )
        .unwrap();
        lab
    }

    fn new() -> Lab {
        let home = furnish();
        keygen(&home.join("key"));
        fs::copy(home.join("key.pub"), home.join("authorized")).unwrap();
        Lab {
            client: Holder::new(),
            server: Holder::new(),
            home,
        }
    }

    /// The three keepalive settings on both sides.
    pub fn put_in_force(&self, values: [u32; 3]) {
        for (name, value) in ["time", "intvl", "probes"].iter().zip(values) {
            for end in [&self.client, &self.server] {
                end.sysctl(&format!("tcp_keepalive_{name}"), value);
            }
        }
    }

    /// tcp_retries2 on both sides.
    pub fn put_retries2(&self, count: u32) {
        for end in [&self.client, &self.server] {
            end.sysctl("tcp_retries2", count);
        }
    }

    /// Writes the client's configuration.
    pub fn configure_client(&self, lines: &str) {
        let home = self.home.display();
        let common = format!(
            "IdentityFile {home}/key\nIdentityAgent none\nUserKnownHostsFile /dev/null\n\
             StrictHostKeyChecking no\nLogLevel ERROR\nPort {PORT}\nUser tester\n"
        );
        fs::write(self.client_file(), format!("{common}{lines}")).unwrap();
    }

    fn client_file(&self) -> PathBuf {
        self.home.join("client")
    }

    /// Starts a server with this configuration.
    pub fn serve(&self, lines: &str) -> Server {
        let home = self.home.display();
        let common = format!(
            "ListenAddress {SERVER}:{PORT}\nHostKey /etc/ssh/ssh_host_ed25519_key\n\
             AuthorizedKeysFile {home}/authorized\nStrictModes no\nPidFile /run/sshd.pid\nUsePAM no\n"
        );
        let file = self.home.join("server");
        let log = self.home.join("log");
        fs::write(&file, format!("{common}{lines}")).unwrap();
        let mut command = self.server.command("/usr/sbin/sshd");
        command.args(["-D", "-E"]).arg(&log).arg("-f").arg(&file);
        // Its sessions' processes outlive it, and must not hold the test's output.
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = as_plain_user(quiet).spawn().unwrap();
        let server = Server { process, log };
        until("sshd listens", || server.log().contains("Server listening"));
        server
    }

    /// A session that echoes each line it is sent.
    pub fn session(&self, options: &[String]) -> Session {
        let mut command = self.client.command("ssh");
        command.arg("-F").arg(self.client_file()).args(options);
        Session::begin(command.args([SERVER, "echo ready; exec cat"]))
    }

    /// The same with another client, given its arguments.
    pub fn session_of(&self, program: &str, arguments: &[&str]) -> Session {
        let mut command = self.client.command(program);
        let command = command.args(arguments).arg("echo ready; exec cat");
        Session::begin(command.env("HOME", &self.home))
    }

    /// From now on no segment reaches either side.
    pub fn cut(&self) {
        for (end, device, other) in [
            (&self.client, "to-server", SERVER),
            (&self.server, "to-client", CLIENT),
        ] {
            end.ip(&format!(
                "neigh replace {other} lladdr {NOBODYS_MAC} dev {device} nud permanent"
            ));
        }
    }

    /// What `keepalivectl ssh show` says on the client's side, and on the server's.
    pub fn predicted(&self) -> [Value; 2] {
        let ask = |end: &Holder, words: &[&str], file: PathBuf| {
            let mut command = end.command(&binary());
            command
                .args(["ssh", "show", "--json", "--rtt", "1ms"])
                .args(words)
                .arg("-F")
                .arg(file);
            Said::from(command.output().unwrap()).code(0).json()
        };
        [
            ask(&self.client, &[SERVER], self.client_file()),
            ask(&self.server, &["--server"], self.home.join("server")),
        ]
    }
}

/// Waits for something that comes soon.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "waiting for: {what}"
        );
        sleep(Duration::from_millis(5));
    }
}

/// A listening sshd.
pub struct Server {
    process: Child,
    log: PathBuf,
}

impl Server {
    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether a session's process is there.
    pub fn has_session(&self) -> bool {
        !children(self.process.id()).is_empty()
    }
}

/// The processes that one has started.
fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// Ends all that one has started, and all that these have.
fn end_children(pid: u32) {
    for child in children(pid) {
        end_children(child);
        let _ = kill(Pid::from_raw(child as i32), Signal::SIGKILL);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end_children(self.process.id());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client with an open session.
pub struct Session {
    process: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    /// When the last data came from the server.
    pub since: Instant,
}

impl Session {
    fn begin(command: &mut Command) -> Session {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = as_plain_user(command).spawn().unwrap();
        let lines = reader(process.stdout.take().unwrap());
        let stdin = process.stdin.take().unwrap();
        let ready = lines.recv_timeout(Duration::from_secs(20));
        assert_eq!(ready.as_deref(), Ok("ready"), "the session begins");
        Session {
            process,
            stdin,
            lines,
            since: Instant::now(),
        }
    }

    /// Lets the acknowledgements pass that are still under way.
    pub fn settle(&self) {
        sleep(Duration::from_millis(200));
    }

    /// Sends a line; whether it comes back within so long.
    pub fn echoes(&mut self, line: &str, within: Duration) -> bool {
        self.stdin
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
        match self.lines.recv_timeout(within) {
            Ok(back) => back == line,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    /// Whether the client has ended.
    pub fn is_over(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn reader(stdout: ChildStdout) -> Receiver<String> {
    let (to, from) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
    from
}
