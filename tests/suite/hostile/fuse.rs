//! A file system of the attacker's own (`fuse(4)`), with one file. It answers
//! everything but the FLUSH that the program under test causes by closing the
//! file, and each READ: whoever closes it or reads it waits as long as the file
//! system lives.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The mounted file system. Whoever waits for it goes on when it is dropped.
pub struct Fuse {
    /// Its file.
    pub file: File,
    /// How many wait for an answer that does not come.
    pub waiting: Arc<AtomicUsize>,
    server: Option<JoinHandle<()>>,
    on: std::path::PathBuf,
}

impl Fuse {
    /// Mounts it on a folder.
    pub fn mount(on: &Path) -> Fuse {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.expect("/dev/fuse can be opened");
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            device.as_raw_fd()
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(
            Some("attack"),
            on,
            Some("fuse"),
            flags,
            Some(options.as_str()),
        )
        .unwrap();
        let waiting = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&waiting);
        let server = Some(thread::spawn(move || serve(device, &count)));
        let file = File::open(on.join("file")).unwrap();
        Fuse {
            file,
            waiting,
            server,
            on: on.to_owned(),
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // Aborts the connection, and so ends every wait.
        umount2(&self.on, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).unwrap();
        drop(self.server.take());
    }
}

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// `struct fuse_in_header`: length, operation, unique, node, uid, gid, pid.
fn serve(mut device: File, waiting: &AtomicUsize) {
    let mut request = vec![0; 1 << 17];
    while let Ok(length) = device.read(&mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let (operation, pid) = (word(4), word(32));
        let node = u64::from_ne_bytes(request[16..24].try_into().unwrap());
        assert!(length >= 40);
        let body = match operation {
            FORGET | BATCH_FORGET | INTERRUPT => continue,
            READ => {
                waiting.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            FLUSH if is_victim(pid) => {
                waiting.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            INIT => init(),
            // nodeid, generation, validity in four parts, then the attributes.
            LOOKUP => [words64(&[2, 0, 3600, 3600, 0]), attributes(2)].concat(),
            GETATTR => [words64(&[3600, 0]), attributes(node)].concat(),
            OPEN => words64(&[1, 0]),
            _ => Vec::new(),
        };
        let mut answer = (16 + body.len() as u32).to_ne_bytes().to_vec();
        answer.extend(0_i32.to_ne_bytes());
        answer.extend(&request[8..16]);
        answer.extend(body);
        if device.write_all(&answer).is_err() {
            return;
        }
    }
}

/// By its name: a child of the test that is about to become the program closes the
/// file in execve(2), and must be answered.
fn is_victim(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name.starts_with("keepalivectl"))
}

/// `struct fuse_init_out` of protocol 7.31.
fn init() -> Vec<u8> {
    let mut body = Vec::new();
    for word in [7_u32, 31, 0, 0, 0, 1 << 16] {
        body.extend(word.to_ne_bytes());
    }
    body.resize(64, 0);
    body
}

/// `struct fuse_attr`: node 1 is the folder.
fn attributes(node: u64) -> Vec<u8> {
    let mode: u32 = if node == 1 { 0o040_755 } else { 0o100_644 };
    let mut body = words64(&[node, 4096, 8, 0, 0, 0]);
    for word in [0_u32, 0, 0, mode, 1, 0, 0, 0, 512, 0] {
        body.extend(word.to_ne_bytes());
    }
    body
}

fn words64(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
