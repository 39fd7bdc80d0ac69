//! The administrator's own profiles: one file each in
//! `/etc/keepalivectl/profiles`.

use std::path::{Path, PathBuf};

use super::{Error, read_profile};
use crate::model::{Profile, ProfileName, profile};
use crate::root::Root;

/// The folder.
pub const DIR: &str = "/etc/keepalivectl/profiles";
const ENDING: &str = ".conf";
/// The most profiles that are listed.
pub const MOST: usize = 1000;

/// The file of a profile, in the tree.
pub fn file(name: &ProfileName) -> PathBuf {
    Path::new(DIR).join(format!("{name}{ENDING}"))
}

/// The names of all files that could be profiles, sorted. Other files in the
/// folder are left alone.
///
/// # Errors
/// The folder cannot be read.
pub fn names(root: &Root) -> Result<Vec<ProfileName>, Error> {
    let mut names: Vec<ProfileName> = root
        .names(DIR)?
        .iter()
        .filter_map(|file| file.to_str()?.strip_suffix(ENDING)?.parse().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Reads one profile; `None` if the administrator has none of that name.
///
/// # Errors
/// The file cannot be read, is no profile, or has illegal settings.
pub fn read(root: &Root, name: &ProfileName) -> Result<Option<Profile>, Error> {
    let path = file(name);
    let Some(parsed) = read_profile(root, &path)? else {
        return Ok(None);
    };
    let settings = parsed.settings().map_err(|error| Error::NotAProfile {
        file: root.display(&path),
        error,
    })?;
    Ok(Some(Profile {
        name: name.clone(),
        description: profile::short(parsed.description()),
        settings,
    }))
}

/// The text of a profile's file.
pub fn text(profile: &Profile) -> String {
    profile::to_text(&[&profile.description], profile.settings.values())
}
