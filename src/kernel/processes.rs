//! The processes of this machine, as far as `/proc` shows them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::unistd::geteuid;

/// Their numbers, in no order.
///
/// # Errors
/// `/proc` cannot be read.
pub fn all() -> io::Result<impl Iterator<Item = i32>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// Whether `/proc` shows all processes to this one: it is root, and in the first
/// PID namespace (`PROC_PID_INIT_INO`).
pub fn are_all_visible() -> bool {
    const FIRST: u64 = 0xEFFF_FFFC;
    let own = fs::metadata("/proc/self/ns/pid").map(|file| file.ino());
    geteuid().is_root() && own.is_ok_and(|inode| inode == FIRST)
}

/// The name of a process's program, as it gave it; none if it is gone.
pub fn command(pid: i32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    Some(String::from_utf8_lossy(name).into_owned())
}

/// The user whose process it is; none if it is gone.
pub(super) fn user(pid: i32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|m| m.uid())
}

/// The state of a process's main thread, as `/proc/PID/status` writes it: `R`, `S`,
/// `D`, …; none if it is gone. Unlike `stat`, to read it waits for nothing.
pub(super) fn state(pid: i32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let state = status
        .lines()
        .find_map(|line| line.strip_prefix("State:"))?;
    state.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_is_there_and_has_a_name() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(super::all().unwrap().any(|found| found == pid));
        assert!(super::command(pid).is_some());
        assert!(super::command(i32::MAX).is_none());
        assert!(super::state(pid).is_some_and(char::is_alphabetic));
        assert_eq!(super::state(i32::MAX), None);
    }
}
