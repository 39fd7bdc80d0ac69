//! Single values under `/proc/sys`, through the `sysctl` crate.
//!
//! The crate reports any failure to open a key as "no such sysctl"; the cause
//! matters here (EROFS in a container, EACCES without the capability), so it is
//! asked for again.

use std::fs::{File, OpenOptions};
use std::io;
use std::sync::OnceLock;

use ::sysctl::{Ctl, CtlValue, Sysctl, SysctlError};
use nix::errno::Errno;

use super::Error;
use crate::model::Setting;

/// Reads one setting of the calling thread's network namespace.
pub(super) fn read(setting: Setting) -> Result<i64, Error> {
    let failed = |source| Error::Read { setting, source };
    let ctl = key(setting).map_err(failed)?;
    let value = ctl.value_string().map_err(|e| failed(cause(ctl, e)))?;
    value
        .parse()
        .map_err(|_| Error::NotANumber { setting, value })
}

/// Writes one setting.
pub(super) fn write(setting: Setting, value: i64) -> Result<(), Error> {
    let failed = |source| refused(setting, value, source);
    let ctl = key(setting).map_err(failed)?;
    ctl.set_value(CtlValue::String(value.to_string()))
        .map_err(|e| failed(cause(ctl, e)))?;
    Ok(())
}

/// Fails as a write of `value` would fail for want of permission, and writes
/// nothing: the kernel checks the permission when the file is opened.
pub(super) fn check_writable(setting: Setting, value: i64) -> Result<(), Error> {
    let failed = |source| refused(setting, value, source);
    let ctl = key(setting).map_err(failed)?;
    OpenOptions::new()
        .write(true)
        .open(ctl.path())
        .map(drop)
        .map_err(failed)
}

/// The crate opens a key once to see that it is there; once is enough.
fn key(setting: Setting) -> io::Result<&'static Ctl> {
    static KEYS: [OnceLock<Ctl>; 3] = [const { OnceLock::new() }; 3];
    let known = &KEYS[setting as usize];
    match known.get() {
        Some(ctl) => Ok(ctl),
        None => open(setting).map(|ctl| known.get_or_init(|| ctl)),
    }
}

fn open(setting: Setting) -> io::Result<Ctl> {
    Ctl::new(setting.key()).map_err(|_| {
        let path = format!("/proc/sys/{}", setting.path());
        match File::open(path) {
            Err(e) => e,
            // It failed a moment ago and does not now: no cause to be had.
            Ok(_) => io::Error::other("it could not be opened, and can be now"),
        }
    })
}

fn cause(ctl: &Ctl, error: SysctlError) -> io::Error {
    match error {
        SysctlError::IoError(e) => e,
        SysctlError::NotFound(_) => {
            io::Error::new(io::ErrorKind::NotFound, format!("{} is gone", ctl.path()))
        }
        other => io::Error::other(other),
    }
}

fn refused(setting: Setting, value: i64, source: io::Error) -> Error {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => Error::NotPermitted { setting },
        Some(Errno::EROFS) => Error::ReadOnly { setting, value },
        _ => Error::Write {
            setting,
            value,
            source,
        },
    }
}
