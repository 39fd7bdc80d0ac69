//! Who called sudo.
//!
//! What belongs to a user, such as `~/.ssh/config`, is read and written as that
//! user: so its owner stays who it is, and no user's link leads root astray.

use std::io;

use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use super::{Error, Result};

/// Goes on as the user who called sudo, if somebody did, for the rest of this
/// process. Says whether it does.
///
/// # Errors
/// [`Error::Caller`] if the kernel refuses.
pub fn act_as_caller() -> Result<bool> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID")) else {
        return Ok(false);
    };
    if !geteuid().is_root() || uid == 0 {
        return Ok(false);
    }
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[group])
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user))
        .map_err(|e| Error::Caller {
            uid,
            source: io::Error::from(e),
        })?;
    Ok(true)
}
