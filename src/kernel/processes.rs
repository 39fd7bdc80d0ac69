//! The processes of this machine, as far as `/proc` shows them.

use std::fs;
use std::io;

/// Their numbers, in no order.
///
/// # Errors
/// `/proc` cannot be read.
pub fn all() -> io::Result<impl Iterator<Item = i32>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// The name of a process's program, as it gave it; none if it is gone.
pub fn command(pid: i32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_is_there_and_has_a_name() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(super::all().unwrap().any(|found| found == pid));
        assert!(super::command(pid).is_some());
        assert!(super::command(i32::MAX).is_none());
    }
}
