//! `profile`: the built-in profiles, and the administrator's, which win over
//! built-in ones of the same name.

use std::path::PathBuf;

use serde::Serialize;

use super::files::{Change, FilePlan};
use super::{Error, Result, warnings};
use crate::boot::{self, lock};
use crate::kernel::signals;
use crate::model::builtin::{self, Builtin};
use crate::model::check::survives_idle_ms;
use crate::model::similar::similar;
use crate::model::span::{as_seconds, as_seconds_if_any};
use crate::model::time_to_drop::{Idle, idle};
use crate::model::{Profile, ProfileName, Settings};
use crate::root::Root;

/// Where a profile comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// This program.
    BuiltIn,
    /// A file of the administrator's.
    Administrator,
}

/// A profile, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The profile.
    pub profile: Profile,
    /// The administrator's file, if it is one.
    pub file: Option<PathBuf>,
    /// The built-in one of that name, used or not.
    pub builtin: Option<Builtin>,
    /// What is worth knowing before it is used: who else can change its file.
    pub warnings: Vec<String>,
}

impl Found {
    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        match self.file {
            Some(_) => Origin::Administrator,
            None => Origin::BuiltIn,
        }
    }
}

/// Looks a profile up.
///
/// # Errors
/// [`Error::NoSuchProfile`], or the administrator's file of that name is broken.
pub fn find(root: &Root, name: &ProfileName) -> Result<Found> {
    let builtin = builtin::find(name);
    if let Some(profile) = boot::profiles::read(root, name)? {
        let file = boot::profiles::file(name);
        let exposed = boot::owner::exposed(root, &file)?;
        let warning = exposed.map(|exposed| {
            let (path, why, mend) = (exposed.path.display(), exposed.why, exposed.mend);
            format!("{path} {why}, so not only root can change {name}; put it right with: {mend}")
        });
        return Ok(Found {
            profile,
            file: Some(root.display(file)),
            builtin,
            warnings: warning.into_iter().collect(),
        });
    }
    match builtin {
        Some(builtin) => Ok(Found {
            profile: builtin.profile.clone(),
            file: None,
            builtin: Some(builtin),
            warnings: Vec::new(),
        }),
        None => Err(Error::NoSuchProfile {
            similar: alike(root, name),
            name: name.clone(),
        }),
    }
}

/// All names, sorted; of the administrator's only as many as are listed, and
/// whether there are more.
fn names(root: &Root) -> Result<(Vec<ProfileName>, bool)> {
    let mut names = boot::profiles::names(root)?;
    let more = names.len() > boot::profiles::MOST;
    names.truncate(boot::profiles::MOST);
    names.extend(builtin::all().into_iter().map(|b| b.profile.name));
    names.sort();
    names.dedup();
    Ok((names, more))
}

/// Names that were perhaps meant.
fn alike(root: &Root, wanted: &ProfileName) -> Vec<ProfileName> {
    let (all, _) = names(root).unwrap_or_default();
    similar(wanted.as_str(), all.iter().map(ProfileName::as_str))
        .into_iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}

/// One line of `profile list`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileEntry {
    /// Its name.
    pub name: ProfileName,
    /// Where it comes from.
    pub origin: Origin,
    /// One line about it.
    pub description: String,
    /// The three settings.
    pub settings: Settings,
    /// The longest silence it keeps to, one probe lost and each timer as late
    /// as it can be: a path that forgets later than this keeps the connection.
    /// None with probes 1, which forgives no loss.
    #[serde(rename = "survives_idle_s", serialize_with = "as_seconds_if_any")]
    pub survives_idle_ms: Option<u64>,
    /// The time to drop of an idle connection.
    #[serde(rename = "drop_s", serialize_with = "as_seconds")]
    pub drop_ms: u64,
}

/// All profiles by name, and the errors of those that cannot be used.
///
/// # Errors
/// The administrator's folder cannot be read.
pub fn list(root: &Root) -> Result<(Vec<ProfileEntry>, Vec<Error>)> {
    let mut entries = Vec::new();
    let mut broken = Vec::new();
    let (names, more) = names(root)?;
    for name in names {
        match find(root, &name) {
            Ok(found) => entries.push(ProfileEntry {
                name,
                origin: found.origin(),
                survives_idle_ms: survives_idle_ms(found.profile.settings),
                drop_ms: idle(found.profile.settings, None, None).drop.earliest_ms,
                description: found.profile.description,
                settings: found.profile.settings,
            }),
            Err(e) => broken.push(e),
        }
    }
    if more {
        let folder = root.display(boot::profiles::DIR);
        broken.push(boot::Error::TooManyProfiles { folder }.into());
    }
    Ok((entries, broken))
}

/// The path that a built-in profile is made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeFor {
    /// What it is.
    pub title: &'static str,
    /// Seconds after which it forgets an idle flow.
    pub idle_timeout_s: u32,
}

/// What `profile show` tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileReport {
    /// Its name.
    pub name: ProfileName,
    /// Where it comes from.
    pub origin: Origin,
    /// The administrator's file.
    pub file: Option<PathBuf>,
    /// Whether it stands in front of a built-in one.
    pub hides_builtin: bool,
    /// One line about it.
    pub description: String,
    /// The three settings.
    pub settings: Settings,
    /// Why these numbers; nothing is known of the administrator's reasons.
    pub why: Option<String>,
    /// Where they come from.
    pub source: Option<String>,
    /// The path it is made for.
    pub path: Option<MadeFor>,
    /// As in [`ProfileEntry`].
    #[serde(rename = "survives_idle_s", serialize_with = "as_seconds_if_any")]
    pub survives_idle_ms: Option<u64>,
    /// The time to drop of an idle connection.
    #[serde(rename = "drop_s", serialize_with = "as_seconds")]
    pub drop_ms: u64,
    /// The same in full, on any kernel.
    pub idle: Idle,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// One profile in full.
///
/// # Errors
/// As [`find`].
pub fn show(root: &Root, name: &ProfileName) -> Result<ProfileReport> {
    let found = find(root, name)?;
    let origin = found.origin();
    let Found {
        profile,
        file,
        builtin,
        warnings: about_file,
    } = found;
    let hides_builtin = file.is_some() && builtin.is_some();
    let builtin = builtin.filter(|_| !hides_builtin);
    let idle = idle(profile.settings, None, None);
    Ok(ProfileReport {
        name: profile.name,
        origin,
        file,
        hides_builtin,
        description: profile.description,
        settings: profile.settings,
        why: builtin.as_ref().map(|b| b.why.clone()),
        source: builtin.as_ref().map(|b| b.source.to_owned()),
        path: builtin.and_then(|b| b.path).map(|path| MadeFor {
            title: path.title,
            idle_timeout_s: path.idle_timeout_s,
        }),
        survives_idle_ms: survives_idle_ms(profile.settings),
        drop_ms: idle.drop.earliest_ms,
        idle,
        warnings: [warnings(profile.settings), about_file].concat(),
    })
}

/// What `profile create` and `profile delete` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileFileReport {
    /// The profile's name.
    pub name: ProfileName,
    /// Its file.
    pub file: PathBuf,
    /// The settings it has; none if it is deleted.
    pub settings: Option<Settings>,
    /// Whether a built-in profile of that name exists.
    pub builtin_of_that_name: bool,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Writes an administrator's profile.
///
/// # Errors
/// One of that name exists and `replace` is not set, or the file cannot be
/// written.
pub fn create(root: &Root, profile: &Profile, replace: bool) -> Result<ProfileFileReport> {
    let _lock = lock::take(root)?;
    let _signals = signals::hold()?;
    let path = boot::profiles::file(&profile.name);
    let file = root.display(&path);
    if !replace && root.exists(&path)? {
        let name = profile.name.clone();
        return Err(boot::Error::Exists { name, file }.into());
    }
    boot::owner::require_roots_folders(root, &path)?;
    let mut plan = FilePlan::default();
    plan.add(root, Change::write(path, boot::profiles::text(profile)))?;
    plan.carry_out(root)?;
    Ok(ProfileFileReport {
        name: profile.name.clone(),
        file,
        settings: Some(profile.settings),
        builtin_of_that_name: builtin::find(&profile.name).is_some(),
        warnings: warnings(profile.settings),
    })
}

/// Removes an administrator's profile, whatever is in its file.
///
/// # Errors
/// There is none, it is built in, or the file cannot be removed.
pub fn delete(root: &Root, name: &ProfileName) -> Result<ProfileFileReport> {
    let _lock = lock::take(root)?;
    let _signals = signals::hold()?;
    let builtin = builtin::find(name).is_some();
    let path = boot::profiles::file(name);
    let file = root.display(&path);
    let mut plan = FilePlan::default();
    plan.add(root, Change::Remove { file: path })?;
    if plan.is_empty() {
        let name = name.clone();
        return Err(if builtin {
            Error::BuiltIn { name }
        } else {
            let similar = Vec::new();
            Error::NoSuchProfile { name, similar }
        });
    }
    plan.carry_out(root)?;
    Ok(ProfileFileReport {
        name: name.clone(),
        file,
        settings: None,
        builtin_of_that_name: builtin,
        warnings: Vec::new(),
    })
}
