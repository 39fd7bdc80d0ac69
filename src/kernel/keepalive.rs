//! The three settings as one value: read together, replaced together or not at
//! all.

use super::guard::Guard;
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
