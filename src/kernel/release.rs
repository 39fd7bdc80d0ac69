//! Which kernel this is.

use std::fs;

/// The kernel's release, as uname(1) gives it; empty if `/proc` does not say.
pub fn release() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}
