//! The unit as systemd finds it: which file counts under its name, what changes
//! it, and whether it will run at the next boot.
//!
//! systemd takes the first file of a name in a row of folders. A link to
//! `/dev/null` or an empty file in that place is a mask. Drop-ins from all the
//! folders change what was found, those for every service too. See
//! systemd.unit(5) and `src/basic/path-lookup.c`, `unit-file.c` of systemd 252.

mod names;
mod text;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::unit::{self, FILE, LINK, MARK, NAME};
use super::{Error, dropin};
use crate::chain::chain;
use crate::root::{FileError, Root};
use names::Name;

/// The folders in the order of the search, and whether what stands in them
/// lasts: what generators write is there again at the next boot.
const FOLDERS: [(&str, bool); 13] = [
    ("/etc/systemd/system.control", true),
    ("/run/systemd/system.control", false),
    ("/run/systemd/transient", false),
    ("/run/systemd/generator.early", true),
    ("/etc/systemd/system", true),
    ("/etc/systemd/system.attached", true),
    ("/run/systemd/system", false),
    ("/run/systemd/system.attached", false),
    ("/run/systemd/generator", true),
    ("/usr/local/lib/systemd/system", true),
    ("/usr/lib/systemd/system", true),
    ("/lib/systemd/system", true),
    ("/run/systemd/generator.late", true),
];
/// The folder for drop-ins of every service.
const FOR_ALL: &str = "service.d";
/// Folders whose links are units that are started with this one, and whether it
/// fails if they do.
const STARTED_WITH: [(&str, bool); 3] =
    [(".requires", true), (".wants", false), (".upholds", false)];
/// The most of those that are named.
const NAMED: usize = 4;
const LIMIT: usize = 1 << 20;

/// What stands under the unit's name in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unit {
    Absent,
    Ours(String),
    Masked(PathBuf),
    Foreign(PathBuf),
}

impl Unit {
    /// That `enable` may write it and `disable` may remove it.
    fn check_ours(&self) -> Result<(), Error> {
        match self {
            Unit::Absent | Unit::Ours(_) => Ok(()),
            Unit::Masked(file) => Err(Error::Masked { file: file.clone() }),
            Unit::Foreign(file) => Err(Error::ForeignUnit { file: file.clone() }),
        }
    }
}

/// The unit, its link and what changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// In our own place.
    unit: Unit,
    /// What counts instead of it at the next boot: [`Unit::Absent`] if nothing.
    instead: Unit,
    is_linked: bool,
    /// Whether there is a drop-in for the unit to put in force.
    kept: bool,
    /// What an `enable` or `disable` that was cut short has left.
    half_done: Option<String>,
    /// Why the unit itself is not what `enable` would write.
    faults: Vec<String>,
    /// What others add to it, so that nobody knows what it does.
    changed_by: Vec<String>,
    /// What is started with it.
    started: Vec<String>,
    /// What is different until the next boot only.
    for_now: Vec<String>,
}

impl Installed {
    /// Looks at a tree.
    ///
    /// # Errors
    /// The unit or its link cannot be read. A drop-in that cannot is among the
    /// [problems](Self::problems).
    pub fn read(root: &Root) -> Result<Installed, Error> {
        let unit = in_place(root)?;
        let link = root.link_target(LINK)?;
        let kept = root.exists(dropin::FILE)?;
        let mut installed = Installed {
            faults: match &unit {
                Unit::Ours(text) => faults(root, text)?,
                _ => Vec::new(),
            },
            half_done: None,
            unit,
            instead: instead(root)?,
            is_linked: link.as_deref().is_some_and(|link| link.ends_with(NAME)),
            kept,
            changed_by: Vec::new(),
            started: Vec::new(),
            for_now: Vec::new(),
        };
        installed.look_at_runtime_files(root);
        let (others, not_told) = names::others(root);
        installed.changed_by.extend(not_told);
        installed.look_at_drop_ins(root, &others);
        installed.look_at_what_is_started(root, &others);
        installed.half_done = installed.find_half_done(root, link.as_deref());
        Ok(installed)
    }

    /// That `disable` may remove the unit.
    ///
    /// # Errors
    /// [`Error::ForeignUnit`] or [`Error::Masked`].
    pub fn check_ours(&self) -> Result<(), Error> {
        self.unit.check_ours()
    }

    /// That `enable` may write the unit, and that it would count.
    ///
    /// # Errors
    /// [`Error::ForeignUnit`] or [`Error::Masked`].
    pub fn check_writable(&self) -> Result<(), Error> {
        self.unit.check_ours()?;
        self.instead.check_ours()
    }

    /// Returns true if the unit will run at the next boot, as `enable` wrote it.
    pub fn runs(&self) -> bool {
        let is_there = matches!(self.unit, Unit::Ours(_)) && self.is_linked;
        is_there && self.faults.is_empty() && self.would_run()
    }

    /// Returns true if the unit will run once `enable` has written it.
    pub fn would_run(&self) -> bool {
        self.check_writable().is_ok() && self.changed_by.is_empty()
    }

    /// What others add to the unit, which `enable` does not take away.
    pub fn changed_by(&self) -> &[String] {
        &self.changed_by
    }

    /// What an `enable` or `disable` that was cut short has left, and what
    /// comes of it.
    pub fn half_done(&self) -> Option<&str> {
        self.half_done.as_deref()
    }

    /// What is wrong, one sentence each, with the command that mends it.
    pub fn problems(&self) -> Vec<String> {
        const MEND: &str = "`keepalivectl enable NAME` writes it again";
        let mut problems: Vec<String> = self
            .half_done()
            .map(|half| {
                format!(
                    "{half}; `keepalivectl enable NAME` completes it and `keepalivectl disable` \
                     removes it"
                )
            })
            .into_iter()
            .collect();
        let is_ours = matches!(self.unit, Unit::Ours(_));
        if !self.kept && !is_ours {
            return problems;
        }
        problems.extend(self.faults.iter().map(|fault| format!("{fault}; {MEND}")));
        for unit in [&self.instead, &self.unit] {
            if let Unit::Foreign(file) = unit {
                problems.push(format!(
                    "{} was not written by keepalivectl, so what it does at boot is not known; \
                     remove or rename it, then run `keepalivectl enable NAME`",
                    file.display()
                ));
            }
        }
        if is_ours {
            problems.extend(self.changed_by.iter().cloned());
        }
        problems
    }

    /// The unit's files that are there: whoever can write one decides what runs.
    pub fn files(&self) -> impl Iterator<Item = &'static str> {
        let unit = matches!(self.unit, Unit::Ours(_)).then_some(FILE);
        let link = self.is_linked.then_some(LINK);
        unit.into_iter().chain(link)
    }

    /// What is worth knowing and nobody's mistake.
    pub fn notes(&self) -> Vec<String> {
        let units = [&self.instead, &self.unit].into_iter();
        let masks = units.filter_map(|unit| match unit {
            Unit::Masked(file) if self.kept => Some(format!(
                "{} masks the unit, so it will not run",
                file.display()
            )),
            _ => None,
        });
        let is_ours = matches!(self.unit, Unit::Ours(_));
        let started = self.started.iter().filter(|_| is_ours);
        masks.chain(started.chain(&self.for_now).cloned()).collect()
    }

    /// Files of the unit's name that are gone at the next boot.
    fn look_at_runtime_files(&mut self, root: &Root) {
        if !matches!(self.unit, Unit::Ours(_)) {
            return;
        }
        let mut counts = true;
        for (folder, lasts) in FOLDERS {
            let path = Path::new(folder).join(NAME);
            counts &= path != Path::new(FILE);
            if lasts {
                continue;
            }
            let shown = root.display(&path);
            let shown = shown.display();
            let said = match (look(root, &path), counts) {
                (Ok(Found::Nothing), _) => continue,
                (Ok(Found::Mask), true) => format!("{shown} masks the unit"),
                (Ok(_), true) => format!("{shown} counts instead of the unit"),
                // As `systemctl mask --runtime` makes it.
                (Ok(Found::Mask), false) => {
                    let ours = root.display(FILE);
                    let ours = ours.display();
                    self.for_now
                        .push(format!("{shown} masks nothing: {ours} goes before it"));
                    continue;
                }
                (Ok(_), false) => continue,
                (Err(e), _) => chain(&e),
            };
            self.for_now
                .push(format!("{said} until the next boot, and is gone then"));
        }
    }

    fn look_at_drop_ins(&mut self, root: &Root, others: &[Name]) {
        let mut own = Name::own().drop_ins();
        own.push(FOR_ALL.into());
        self.look_at_drop_ins_in(root, &own, true);
        // Apart: which of the names goes first is not said, and one drop-in too
        // many is better than one too few.
        for other in others {
            self.look_at_drop_ins_in(root, &other.drop_ins(), other.lasts);
        }
    }

    /// Looks at folders where the first drop-in of a name hides those after it.
    fn look_at_drop_ins_in(&mut self, root: &Root, drop_ins: &[OsString], name_lasts: bool) {
        let mut decided = BTreeSet::new();
        for drop_ins in drop_ins {
            for (folder, lasts) in FOLDERS {
                let folder = Path::new(folder).join(drop_ins);
                let names = match root.names(&folder) {
                    Ok(names) => names,
                    Err(e) => {
                        self.changed_by.push(not_known(&e));
                        continue;
                    }
                };
                let mut names: Vec<_> = names.into_iter().filter(|name| is_drop_in(name)).collect();
                names.sort();
                for name in names {
                    let path = folder.join(&name);
                    if !(lasts && name_lasts) {
                        self.for_now.extend(change_for_now(root, &path));
                    } else if decided.insert(name) {
                        self.changed_by.extend(change(root, &path));
                    }
                }
            }
        }
    }

    fn look_at_what_is_started(&mut self, root: &Root, others: &[Name]) {
        for name in [&Name::own()].into_iter().chain(others) {
            for (suffix, is_needed) in STARTED_WITH {
                for (folder, lasts) in FOLDERS {
                    let folder = Path::new(folder).join(name.folder(suffix));
                    let units = match root.names(&folder) {
                        Ok(units) if units.is_empty() => continue,
                        Ok(units) => listed(units),
                        Err(e) => {
                            self.changed_by.push(not_known(&e));
                            continue;
                        }
                    };
                    let shown = root.display(&folder);
                    let shown = shown.display();
                    match (lasts && name.lasts, is_needed) {
                        (true, true) => self.changed_by.push(format!(
                            "{shown} makes the unit need {units}, so whether it runs at boot is \
                             not known; remove it, or see `systemctl cat {NAME}`"
                        )),
                        (true, false) => self
                            .started
                            .push(format!("{shown} starts {units} with the unit")),
                        (false, _) => self.for_now.push(format!(
                            "{shown} starts {units} with the unit now, and is gone at the next boot"
                        )),
                    }
                }
            }
        }
    }

    /// What there is of unit, drop-in and link, if not all of them or none.
    fn find_half_done(&self, root: &Root, link: Option<&Path>) -> Option<String> {
        let [unit_file, link_file, drop_in] =
            [FILE, LINK, dropin::FILE].map(|file| root.display(file).display().to_string());
        // Another unit than the one that `enable` writes may not wait for the drop-in.
        let is_known = self.faults.is_empty() && self.would_run();
        match (&self.unit, link) {
            (Unit::Ours(_), _) if !self.kept && is_known => Some(format!(
                "{unit_file} is there without {drop_in}, so the unit sets nothing"
            )),
            (Unit::Ours(_), _) if !self.kept => {
                Some(format!("{unit_file} is there without {drop_in}"))
            }
            (Unit::Ours(_), None) => Some(format!(
                "{unit_file} is there without the link {link_file}, so the unit does not run at boot"
            )),
            (Unit::Ours(_), Some(target)) if !target.ends_with(NAME) => Some(format!(
                "{link_file} leads to {}, so the unit does not run at boot",
                target.display()
            )),
            (Unit::Absent, Some(_)) => Some(format!(
                "{link_file} is there without {unit_file}, so there is no unit to run"
            )),
            _ => None,
        }
    }
}

/// The first of some names, and how many more.
fn listed(mut names: Vec<OsString>) -> String {
    names.sort();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let mut listed: Vec<String> = names
        .iter()
        .map(|n| n.to_string_lossy().into_owned())
        .collect();
    if more > 0 {
        listed.push(format!("{more} more"));
    }
    listed.join(", ")
}

/// What stands in the unit's own place.
fn in_place(root: &Root) -> Result<Unit, Error> {
    let file = root.display(FILE);
    Ok(match look(root, Path::new(FILE))? {
        Found::Nothing => Unit::Absent,
        Found::Mask => Unit::Masked(file),
        Found::Text(text) if text.starts_with(MARK) => Unit::Ours(text),
        _ => Unit::Foreign(file),
    })
}

/// What will be found in a folder that goes before it.
fn instead(root: &Root) -> Result<Unit, Error> {
    let before = FOLDERS
        .iter()
        .map(|(folder, lasts)| (Path::new(folder).join(NAME), lasts))
        .take_while(|(path, _)| path != Path::new(FILE));
    for (path, _) in before.filter(|(_, lasts)| **lasts) {
        match look(root, &path)? {
            Found::Nothing => {}
            Found::Mask => return Ok(Unit::Masked(root.display(path))),
            _ => return Ok(Unit::Foreign(root.display(path))),
        }
    }
    Ok(Unit::Absent)
}

/// What stands in one place.
enum Found {
    Nothing,
    Mask,
    Text(String),
    /// A link to elsewhere, a folder, a device: nothing that we wrote.
    Other,
}

fn look(root: &Root, path: &Path) -> Result<Found, Error> {
    match root.link_target(path)? {
        // By what it says: an image may have no /dev/null yet.
        Some(target) if leads_to_null(path, &target) => return Ok(Found::Mask),
        Some(_) => return Ok(Found::Other),
        None => {}
    }
    match root.read(path, LIMIT) {
        Ok(None) => Ok(Found::Nothing),
        Ok(Some(content)) if content.bytes.is_empty() => Ok(Found::Mask),
        Ok(Some(content)) => Ok(Found::Text(
            String::from_utf8_lossy(&content.bytes).into_owned(),
        )),
        Err(FileError::NotAFile { .. } | FileError::TooLarge { .. }) => Ok(Found::Other),
        Err(e) => Err(e.into()),
    }
}

fn leads_to_null(link: &Path, target: &Path) -> bool {
    let mut reached = PathBuf::from("/");
    let folder = link.parent().unwrap_or(Path::new("/"));
    for component in folder.join(target).components() {
        match component {
            Component::ParentDir => drop(reached.pop()),
            Component::Normal(step) => reached.push(step),
            _ => {}
        }
    }
    reached == Path::new("/dev/null")
}

/// Where a unit of ours differs from the one that would be written for the
/// program that it names, and what is wrong with that program.
fn faults(root: &Root, text: &str) -> Result<Vec<String>, Error> {
    let unit = root.display(FILE);
    let unit = unit.display();
    let Some(program) = text::program(text) else {
        return Ok(vec![format!("{unit} names no program to run")]);
    };
    let program = Path::new(program);
    let mut faults = Vec::new();
    if let Some(differences) = text::differences(text, &unit::text(program)) {
        faults.push(format!(
            "{unit} was written by another version of keepalivectl, or changed: {differences}"
        ));
    }
    let fault = unit::fault_of(root, program)?;
    faults.extend(fault.map(|fault| format!("the unit's program: {fault}")));
    Ok(faults)
}

/// Whether systemd reads a file of this name as a drop-in.
fn is_drop_in(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".conf") && !name.as_bytes().starts_with(b".")
}

/// What a drop-in changes, if anything that matters.
fn change(root: &Root, path: &Path) -> Option<String> {
    let shown = root.display(path);
    match drop_in(root, path) {
        Ok(directives) if directives.is_empty() => None,
        Ok(directives) => Some(format!(
            "{} changes the unit ({}), so what it does at boot is not known; remove it, or see \
             `systemctl cat {NAME}`",
            shown.display(),
            directives.join(", ")
        )),
        Err(e) => Some(not_known(&e)),
    }
}

fn change_for_now(root: &Root, path: &Path) -> Option<String> {
    let shown = root.display(path);
    let directives = drop_in(root, path).unwrap_or_else(|e| vec![chain(&e)]);
    (!directives.is_empty()).then(|| {
        format!(
            "{} changes the unit now ({}), and is gone at the next boot",
            shown.display(),
            directives.join(", ")
        )
    })
}

/// The directives of a drop-in that may matter.
fn drop_in(root: &Root, path: &Path) -> Result<Vec<String>, Error> {
    // Through links: an administrator may keep them elsewhere.
    let text = match root.link_target(path)? {
        Some(target) if leads_to_null(path, &target) => return Ok(Vec::new()),
        _ => root.read(path, LIMIT)?,
    };
    let text = text.map(|content| String::from_utf8_lossy(&content.bytes).into_owned());
    Ok(text::directives(&text.unwrap_or_default()))
}

fn not_known(error: &(dyn std::error::Error + 'static)) -> String {
    format!(
        "{}, so whether it changes the unit is not known",
        chain(error)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_known_by_what_the_link_says() {
        let leads = |target| leads_to_null(Path::new(FILE), Path::new(target));
        for mask in ["/dev/null", "../../../dev/null", "//dev/./null"] {
            assert!(leads(mask), "{mask}");
        }
        for other in ["/dev/nul", "null", "/tmp/dev/null", "/dev/null/x"] {
            assert!(!leads(other), "{other}");
        }
    }
}
