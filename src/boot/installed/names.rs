//! The names that systemd knows the unit by: its own, and those of links to it.
//! What a folder of any of these names holds counts for the unit.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{FOLDERS, NAME, not_known};
use crate::root::Root;

const SUFFIX: &[u8] = b".service";
/// The most files of the folders that are looked at, and the most other names.
const MOST_LOOKED_AT: usize = 10_000;
const MOST_NAMES: usize = 20;

/// One name.
pub(super) struct Name {
    pub name: OsString,
    /// Whether the unit has it after the next boot too.
    pub lasts: bool,
}

impl Name {
    /// The unit's own.
    pub fn own() -> Name {
        Name {
            name: NAME.into(),
            lasts: true,
        }
    }

    /// The folder for what belongs to this name, such as `x.service.wants`.
    pub fn folder(&self, suffix: &str) -> OsString {
        let mut folder = self.name.clone();
        folder.push(suffix);
        folder
    }

    /// The folders for drop-ins: of the name, and of each beginning of it that ends
    /// with a dash.
    pub fn drop_ins(&self) -> Vec<OsString> {
        let mut folders = vec![self.folder(".d")];
        let name = self.name.as_bytes();
        let name = name.strip_suffix(SUFFIX).unwrap_or(name);
        let dashes = (1..name.len()).rev().filter(|&at| name[at - 1] == b'-');
        folders.extend(dashes.map(|at| {
            let folder = [&name[..at], SUFFIX, b".d"].concat();
            OsStr::from_bytes(&folder).to_owned()
        }));
        folders
    }
}

/// The other names, and why they may not be all.
pub(super) fn others(root: &Root) -> (Vec<Name>, Vec<String>) {
    let (links, mut not_told) = links(root);
    let mut found: BTreeMap<&OsStr, bool> = BTreeMap::new();
    let mut reached = vec![(OsStr::new(NAME), true)];
    while let Some((target, target_lasts)) = reached.pop() {
        for link in links.iter().filter(|link| link.target == target) {
            let lasts = link.lasts && target_lasts;
            if found
                .get(link.name.as_os_str())
                .is_some_and(|&known| known || !lasts)
            {
                continue;
            }
            if found.len() == MOST_NAMES {
                not_told.push(format!(
                    "{NAME} has more than {MOST_NAMES} other names, and not all are looked at"
                ));
                reached.clear();
                break;
            }
            found.insert(&link.name, lasts);
            reached.push((&link.name, lasts));
        }
    }
    let names = found.into_iter().map(|(name, lasts)| Name {
        name: name.to_owned(),
        lasts,
    });
    (names.collect(), not_told)
}

/// A link of one service to another.
struct Link {
    name: OsString,
    target: OsString,
    lasts: bool,
}

fn links(root: &Root) -> (Vec<Link>, Vec<String>) {
    let (mut links, mut not_told) = (Vec::new(), Vec::new());
    let mut left = MOST_LOOKED_AT;
    for (folder, lasts) in FOLDERS {
        let names = match root.names(folder) {
            Ok(names) => names,
            Err(e) => {
                not_told.push(not_known(&e));
                continue;
            }
        };
        let is_other = |name: &OsString| name.as_bytes().ends_with(SUFFIX) && name != NAME;
        let names: Vec<_> = names.into_iter().filter(is_other).collect();
        if names.len() > left {
            not_told.push(format!(
                "{} holds too many services to look at, so whether one of them is another name \
                 of {NAME} is not known",
                root.display(folder).display()
            ));
            continue;
        }
        left -= names.len();
        for name in names {
            match root.link_target(Path::new(folder).join(&name)) {
                Ok(target) => links.extend(target.as_deref().and_then(Path::file_name).map(
                    |target| Link {
                        name,
                        target: target.to_owned(),
                        lasts,
                    },
                )),
                Err(e) => not_told.push(not_known(&e)),
            }
        }
    }
    (links, not_told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_for_beginnings_too() {
        let of = |name: &str| {
            let (name, lasts) = (name.into(), true);
            Name { name, lasts }.drop_ins()
        };
        assert_eq!(of("x.service"), ["x.service.d"]);
        let all = ["a-b-c.service.d", "a-b-.service.d", "a-.service.d"];
        assert_eq!(of("a-b-c.service"), all);
    }
}
