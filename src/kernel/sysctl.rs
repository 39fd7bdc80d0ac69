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
    let key = setting.key();
    known(setting)
        .and_then(text)
        .map_err(|source| Error::Read { key, source })
        .and_then(|value| number(key, value))
}

/// Reads any key of the calling thread's network namespace; none if this kernel
/// does not have it.
pub(super) fn read_key(key: &'static str) -> Result<Option<i64>, Error> {
    match open(key).and_then(|ctl| text(&ctl)) {
        Ok(value) => number(key, value).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { key, source }),
    }
}

fn text(ctl: &Ctl) -> io::Result<String> {
    ctl.value_string().map_err(|e| cause(ctl, e))
}

fn number(key: &'static str, value: String) -> Result<i64, Error> {
    value.parse().map_err(|_| Error::NotANumber { key, value })
}

/// Writes one setting.
pub(super) fn write(setting: Setting, value: i64) -> Result<(), Error> {
    let failed = |source| refused(setting, value, source);
    let ctl = known(setting).map_err(failed)?;
    ctl.set_value(CtlValue::String(value.to_string()))
        .map_err(|e| failed(cause(ctl, e)))?;
    Ok(())
}

/// Writes any key.
pub(super) fn write_key(key: &str, value: i64) -> io::Result<()> {
    let ctl = open(key)?;
    ctl.set_value(CtlValue::String(value.to_string()))
        .map(|_| ())
        .map_err(|e| cause(&ctl, e))
}

/// Fails as a write of `value` would fail for want of permission, and writes
/// nothing: the kernel checks the permission when the file is opened.
pub(super) fn check_writable(setting: Setting, value: i64) -> Result<(), Error> {
    let failed = |source| refused(setting, value, source);
    let ctl = known(setting).map_err(failed)?;
    OpenOptions::new()
        .write(true)
        .open(ctl.path())
        .map(drop)
        .map_err(failed)
}

/// The crate opens a key once to see that it is there; once is enough.
fn known(setting: Setting) -> io::Result<&'static Ctl> {
    static KEYS: [OnceLock<Ctl>; 3] = [const { OnceLock::new() }; 3];
    let slot = &KEYS[setting as usize];
    match slot.get() {
        Some(ctl) => Ok(ctl),
        None => open(setting.key()).map(|ctl| slot.get_or_init(|| ctl)),
    }
}

fn open(key: &str) -> io::Result<Ctl> {
    Ctl::new(key).map_err(|_| {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
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
