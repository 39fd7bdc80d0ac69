//! The one record of what is kept for boot: an ordinary sysctl.d drop-in.

use std::path::{Path, PathBuf};

use super::{Error, read_profile};
use crate::model::profile::{self, ParseError};
use crate::model::{Profile, ProfileName, Setting, Settings};
use crate::root::Root;

/// Where it is. `99-` sorts it behind what packages bring.
pub const FILE: &str = "/etc/sysctl.d/99-keepalivectl.conf";

/// Stands before the profile's name in the drop-in's second comment.
const NAME_MARK: &str = "kept for boot by `keepalivectl enable ";
const NAME_END: &str = "`";

/// What is kept for boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The enabled profile; `None` if the file does not name it, as when it was
    /// written by hand.
    pub profile: Option<ProfileName>,
    /// The drop-in.
    pub file: PathBuf,
    /// Its settings, which count even where the profile says otherwise.
    pub settings: Settings,
    lines: [usize; 3],
}

impl Kept {
    /// The line of the drop-in on which a setting stands.
    pub fn line(&self, setting: Setting) -> usize {
        self.lines[setting as usize]
    }
}

/// The drop-in's text for a profile.
pub fn text(profile: &Profile) -> String {
    let name = format!("{NAME_MARK}{}{NAME_END}", profile.name);
    profile::to_text(&[&profile.description, &name], profile.settings.values())
}

/// The drop-in that `enable` would write for a profile: what it keeps, and its
/// text.
pub fn planned(root: &Root, profile: &Profile) -> (Kept, String) {
    let text = text(profile);
    let line = |setting: Setting| {
        let at = text.lines().position(|l| l.starts_with(setting.key()));
        at.map_or(0, |i| i + 1)
    };
    let kept = Kept {
        profile: Some(profile.name.clone()),
        file: root.display(FILE),
        settings: profile.settings,
        lines: Setting::ALL.map(line),
    };
    (kept, text)
}

/// Reads what is kept; `None` if nothing is.
///
/// # Errors
/// The drop-in cannot be read, is no profile, or has illegal settings.
pub fn read(root: &Root) -> Result<Option<Kept>, Error> {
    let Some(parsed) = read_profile(root, Path::new(FILE))? else {
        return Ok(None);
    };
    let settings = parsed.settings().map_err(|error: ParseError| {
        let file = root.display(FILE);
        Error::NotAProfile { file, error }
    })?;
    Ok(Some(Kept {
        // The last: a description may say anything.
        profile: parsed.comments.iter().rev().find_map(|c| name_in(c)),
        file: root.display(FILE),
        settings,
        lines: parsed.lines,
    }))
}

fn name_in(comment: &str) -> Option<ProfileName> {
    let rest = comment.strip_prefix(NAME_MARK)?;
    rest.split_once(NAME_END)?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::builtin;

    #[test]
    fn each_builtin_reads_back_with_its_name() {
        for builtin in builtin::all() {
            let text = text(&builtin.profile);
            let parsed = profile::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed.description(), builtin.profile.description);
            assert_eq!(parsed.settings().unwrap(), builtin.profile.settings);
            let name = parsed.comments.iter().find_map(|c| name_in(c));
            assert_eq!(name.as_ref(), Some(&builtin.profile.name));
            let (kept, planned) = planned(&Root::machine(), &builtin.profile);
            assert_eq!((planned, kept.lines), (text, parsed.lines));
        }
    }
}
