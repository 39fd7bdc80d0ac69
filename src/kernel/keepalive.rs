//! The three settings as one value: read together, replaced together or not at
//! all.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::guard::Guard;
use super::taken::options;
use super::{Error, sysctl};
use crate::model::{Setting, Settings, Values};

/// What is in force in the calling thread's network namespace.
///
/// # Errors
/// [`Error::Read`] if `/proc/sys` is not there.
///
/// ```
/// let in_force = keepalivectl::kernel::keepalive::read()?;
/// println!("the first probe comes after {} s", in_force.time);
/// # Ok::<(), keepalivectl::kernel::Error>(())
/// ```
pub fn read() -> Result<Values, Error> {
    Ok(Values {
        time: sysctl::read(Setting::Time)?,
        intvl: sysctl::read(Setting::Intvl)?,
        probes: sysctl::read(Setting::Probes)?,
    })
}

/// The same, asked of a new socket, which has them in effect. `/proc/sys/net` is read
/// where that cannot be: it takes the longer the more namespaces it was read in,
/// because its entries of all of them are in one chain of the kernel's cache.
///
/// # Errors
/// As [`read`].
pub fn ask() -> Result<Values, Error> {
    let asked = || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let new = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        options::read(&new)
    };
    asked().map_or_else(|_: Errno| read(), |options| Ok(options.values))
}

/// Fails if going from `before` to `after` would fail for want of permission.
/// Writes nothing. The three files have one permission, so one is tried.
///
/// # Errors
/// [`Error::NotPermitted`], [`Error::ReadOnly`] or [`Error::Write`].
pub fn check_writable(before: Values, after: Settings) -> Result<(), Error> {
    let after = after.values();
    match after.differences(before).next() {
        Some(setting) => sysctl::check_writable(setting, after.get(setting)),
        None => Ok(()),
    }
}

/// Goes from `before`, which is in force, to `after`: writes what differs,
/// reads all three back, and goes back to `before` if anything fails. Not even
/// SIGKILL leaves a mix. The caller has had its [turn](super::turn) since it read
/// `before`, and holds the signals.
///
/// # Errors
/// [`Error::Undone`] with the cause if nothing is changed;
/// [`Error::NotUndone`] if the old values could not be restored.
pub fn replace(before: Values, after: Settings) -> Result<(), Error> {
    let after = after.values();
    let changed: Vec<Setting> = after.differences(before).collect();
    // A single write is whole by itself.
    let guard = match changed.len() {
        0 => return Ok(()),
        1 => None,
        _ => Some(Guard::post(before, &changed)?),
    };
    let done = write(&changed, after)
        .and_then(|()| check(after))
        .map_err(|cause| undo(before, &changed, cause));
    drop(guard);
    done
}

fn write(settings: &[Setting], values: Values) -> Result<(), Error> {
    settings
        .iter()
        .try_for_each(|setting| sysctl::write(*setting, values.get(*setting)))
}

fn check(wanted: Values) -> Result<(), Error> {
    let found = read()?;
    match found.differences(wanted).next() {
        None => Ok(()),
        Some(setting) => Err(Error::NotKept {
            setting,
            wanted: wanted.get(setting),
            found: found.get(setting),
        }),
    }
}

/// Restores `before` in the settings `changed`, and says how that went.
fn undo(before: Values, changed: &[Setting], cause: Error) -> Error {
    let cause = Box::new(cause);
    for setting in changed {
        let as_before = || sysctl::read(*setting).is_ok_and(|now| now == before.get(*setting));
        if !as_before() {
            // What it leaves is read below; this error says no more than that.
            let _ = sysctl::write(*setting, before.get(*setting));
        }
    }
    match read() {
        Ok(in_force) if in_force == before => Error::Undone { in_force, cause },
        in_force => Error::NotUndone {
            before,
            in_force: in_force.ok(),
            cause,
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_new_socket_tells_what_is_in_force() {
        assert_eq!(super::ask().unwrap(), super::read().unwrap());
    }
}
