//! Access lists and extended attributes of a file that is replaced.
//!
//! Without them a file that one user more could read would lose that user, and
//! one whose access list takes rights away from its group would give them back:
//! the group's bits of its mode are then the list's mask.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

/// The access list, as the kernel gives it out.
const ACCESS_LIST: &CStr = c"system.posix_acl_access";
/// Names that must stay, or nothing is written.
const KEPT: [&[u8]; 2] = [b"system.", b"user."];
/// Labels of security modules. A new file has one already, and to set another
/// may be forbidden. Other names are the kernel's own: a capability, or a
/// signature of the old content.
const LABELS: [&[u8]; 2] = [b"security.selinux", b"security.SMACK64"];
/// The longest list of names, and the longest value, that Linux knows.
const LONGEST: usize = 64 << 10;
/// The most that is kept of one file.
const MOST: usize = 1 << 20;

/// The access list and the extended attributes of a file, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(CString, Vec<u8>)>);

impl Attributes {
    /// Reads those that a file has and that are to be kept.
    pub(super) fn read(file: impl AsFd) -> io::Result<Attributes> {
        let mut names = Vec::with_capacity(LONGEST);
        match flistxattr(&file, spare_capacity(&mut names)) {
            // This file system has none.
            Err(Errno::NOTSUP) => return Ok(Attributes::default()),
            other => other?,
        };
        let mut found = Vec::new();
        let mut size = 0;
        for name in names.split_inclusive(|byte| *byte == 0) {
            let name = CStr::from_bytes_with_nul(name).map_err(io::Error::other)?;
            if !starts(name, &KEPT) && !starts(name, &LABELS) {
                continue;
            }
            let mut value = Vec::with_capacity(LONGEST);
            match fgetxattr(&file, name, spare_capacity(&mut value)) {
                // It is gone meanwhile, or listed without being there.
                Err(Errno::NODATA | Errno::NOTSUP) => continue,
                other => other?,
            };
            size += name.count_bytes() + value.len();
            if size > MOST {
                return Err(Errno::TOOBIG.into());
            }
            value.shrink_to_fit();
            found.push((name.to_owned(), value));
        }
        found.sort();
        Ok(Attributes(found))
    }

    /// Gives them to a new file, and takes away an access list that it has from
    /// its folder.
    ///
    /// # Errors
    /// The attribute's name, and why it cannot be set.
    pub(super) fn give(&self, file: impl AsFd) -> Result<(), (String, io::Error)> {
        let failed = |name: &CStr, e: Errno| (name.to_string_lossy().into_owned(), e.into());
        match fremovexattr(&file, ACCESS_LIST) {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(e) => return Err(failed(ACCESS_LIST, e)),
        }
        for (name, value) in &self.0 {
            match fsetxattr(&file, name.as_c_str(), value, XattrFlags::empty()) {
                Err(e) if starts(name, &KEPT) => return Err(failed(name, e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns true if two files have the same, labels aside.
    pub(super) fn same(&self, other: &Attributes) -> bool {
        fn kept(list: &Attributes) -> impl Iterator<Item = &(CString, Vec<u8>)> {
            list.0.iter().filter(|(name, _)| starts(name, &KEPT))
        }
        kept(self).eq(kept(other))
    }
}

fn starts(name: &CStr, with: &[&[u8]]) -> bool {
    with.iter().any(|start| name.to_bytes().starts_with(start))
}
