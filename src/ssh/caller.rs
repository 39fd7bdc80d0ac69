//! Who called sudo.
//!
//! What belongs to a user, such as `~/.ssh/config`, is read and written as that
//! user: so its owner stays who it is, and no user's link leads root astray.

use std::io;
use std::process::Command;

use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use super::{Error, Result};

/// All groups of the user who called sudo, as id(1) tells them: it asks the user
/// database, wherever that is.
fn groups(own: Gid) -> Vec<Gid> {
    let told = std::env::var("SUDO_USER").ok().and_then(|name| {
        let output = Command::new("/usr/bin/id")
            .args(["-G", "--", &name])
            .output();
        String::from_utf8(output.ok()?.stdout).ok()
    });
    let told = told.unwrap_or_default();
    let others = told
        .split_whitespace()
        .filter_map(|number| number.parse().ok());
    [own].into_iter().chain(others.map(Gid::from_raw)).collect()
}

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
    setgroups(&groups(group))
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user))
        .map_err(|e| Error::Caller {
            uid,
            source: io::Error::from(e),
        })?;
    Ok(true)
}
