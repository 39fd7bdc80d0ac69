//! File handles of namespaces (nsfs, since Linux 6.18): they tell whether a
//! namespace that was seen before is still there, and keep nothing alive.
//!
//! An older kernel has no such handles. There it cannot be told: a namespace may
//! live on in a mount of another mount namespace, in a descriptor or in a socket.

use std::fmt::Write;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_uint};

/// The largest handle (`MAX_HANDLE_SZ`).
const LARGEST: usize = 128;

/// `struct file_handle` with room for the largest.
#[repr(C)]
struct Handle {
    length: c_uint,
    kind: c_int,
    bytes: [u8; LARGEST],
}

/// The calling thread's network namespace.
fn own() -> std::io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// What names the calling thread's network namespace in this boot, for
/// [`is_gone`]; none where the kernel has no handles.
pub(super) fn own_handle() -> Option<String> {
    let file = own().ok()?;
    let mut handle = Handle {
        length: LARGEST as c_uint,
        kind: 0,
        bytes: [0; LARGEST],
    };
    let mut mount: c_int = 0;
    // SAFETY: the path is an empty C string, as AT_EMPTY_PATH asks for; `handle`
    // is laid out as `struct file_handle` and has the room that it says.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            file.as_raw_fd(),
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    let bytes = handle.bytes.get(..handle.length as usize)?;
    if done != 0 || bytes.is_empty() {
        return None;
    }
    let mut text = format!("{:x}:", handle.kind);
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// Returns true if the namespace of a handle is certainly gone. Whatever else
/// keeps it from being found, it may still be there.
pub fn is_gone(handle: &str) -> bool {
    let Some((handle, file)) = parse(handle).zip(own().ok()) else {
        return false;
    };
    // ESTALE is the answer to nonsense too.
    let own = own_handle().and_then(|own| parse(&own));
    let is_alike = |own: Handle| own.kind == handle.kind && own.length == handle.length;
    if !own.is_some_and(is_alike) {
        return false;
    }
    // SAFETY: `handle` is laid out as `struct file_handle`, holds as many bytes as
    // it says and is only read.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            file.as_raw_fd(),
            &raw const handle,
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    match c_int::try_from(opened) {
        Ok(-1) => Errno::last() == Errno::ESTALE,
        Ok(fd) => {
            // SAFETY: the kernel has just made this descriptor, for nobody else.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            false
        }
        Err(_) => false,
    }
}

fn parse(text: &str) -> Option<Handle> {
    let (kind, hex) = text.split_once(':')?;
    let mut handle = Handle {
        length: c_uint::try_from(hex.len() / 2).ok()?,
        kind: c_int::from_str_radix(kind, 16).ok()?,
        bytes: [0; LARGEST],
    };
    if hex.len() % 2 != 0 || hex.len() > LARGEST * 2 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in handle.bytes[..hex.len() / 2].iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_there() {
        if let Some(handle) = own_handle() {
            assert!(!is_gone(&handle), "{handle}");
        }
    }

    #[test]
    fn what_is_no_handle_is_never_gone() {
        for text in [
            "", "f1", "f1:", "f1:0", "f1:00", "x:00", "f1:zz", "f1:é", ":00",
        ] {
            assert!(!is_gone(text), "{text:?}");
        }
        assert!(!is_gone(&format!("f1:{}", "00".repeat(LARGEST + 1))));
    }
}
