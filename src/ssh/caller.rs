//! Who called sudo.
//!
//! What belongs to a user, such as `~/.ssh/config`, is read and written as that
//! user: so its owner stays who it is, and no user's link leads root astray. A file
//! that the user names is read as that user too: root would print what the user may
//! not read.

use std::io;

use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use super::{Error, Result};
use crate::programs::{self, Run};

/// All groups of the user who called sudo, as id(1) tells them: it asks the user
/// database, wherever that is. Only the given one if the database has no such user.
fn groups(own: Gid) -> Result<Vec<Gid>> {
    let told = match std::env::var("SUDO_USER") {
        Ok(name) => {
            let found = programs::find("id", None).map_err(Error::Groups)?;
            let output = Run::new(&found, &["-G", "--", &name]).output();
            output.map_err(Error::Groups)?.stdout
        }
        Err(_) => Vec::new(),
    };
    let told = String::from_utf8_lossy(&told);
    let others = told
        .split_whitespace()
        .filter_map(|number| number.parse().ok());
    Ok([own].into_iter().chain(others.map(Gid::from_raw)).collect())
}

/// Goes on as the user who called sudo, if somebody did, for the rest of this
/// process. Says whether it does.
///
/// # Errors
/// [`Error::Caller`] if the kernel refuses, [`Error::Groups`].
pub fn act_as_caller() -> Result<bool> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID")) else {
        return Ok(false);
    };
    if !geteuid().is_root() || uid == 0 {
        return Ok(false);
    }
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&groups(group)?)
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user))
        .map_err(|e| Error::Caller {
            uid,
            source: io::Error::from(e),
        })?;
    Ok(true)
}
