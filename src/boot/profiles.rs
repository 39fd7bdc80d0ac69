//! The administrator's own profiles: one file each in
//! `/etc/keepalivectl/profiles`.

use std::path::{Path, PathBuf};

use super::{Error, read_profile};
use crate::model::{Profile, ProfileName, profile};
use crate::root::Root;

/// The folder.
pub const DIR: &str = "/etc/keepalivectl/profiles";
const ENDING: &str = ".conf";

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
        .filter_map(|file| file.strip_suffix(ENDING)?.parse().ok())
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
        description: parsed.description().to_owned(),
        settings,
    }))
}

/// Writes a profile, over one that is there only if `replace` says so.
///
/// # Errors
/// [`Error::Exists`], or the file cannot be written.
pub fn write(root: &Root, profile: &Profile, replace: bool) -> Result<PathBuf, Error> {
    let path = file(&profile.name);
    if !replace && root.exists(&path)? {
        return Err(Error::Exists {
            name: profile.name.clone(),
            file: root.display(&path),
        });
    }
    let text = profile::to_text(&[&profile.description], profile.settings.values());
    root.replace(&path, text.as_bytes())?;
    Ok(root.display(&path))
}

/// Removes a profile; `false` if there was none.
///
/// # Errors
/// The file cannot be removed.
pub fn delete(root: &Root, name: &ProfileName) -> Result<bool, Error> {
    Ok(root.remove(file(name))?)
}
