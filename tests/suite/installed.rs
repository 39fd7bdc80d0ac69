//! A sandbox's own root folder, in which programs are installed that scripts play.
//!
//! Root runs only what nobody else can change, from `/` on. In a sandbox of a plain
//! user the machine's own folders belong to somebody else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::unistd::pivot_root;

use crate::sandbox::{bind, tmpfs};

/// Gives the sandbox a root folder of its own: with all that the machine's has, but
/// with nothing in `/usr/local/bin` and `/usr/local/sbin`.
pub fn own_root() {
    let new = std::env::temp_dir().join("root");
    fs::create_dir(&new).unwrap();
    tmpfs(&new);
    set_mode(&new, 0o755);
    furnish(Path::new("/"), &new, &["usr"]);
    furnish(Path::new("/usr"), &new.join("usr"), &["local"]);
    furnish(
        Path::new("/usr/local"),
        &new.join("usr/local"),
        &["bin", "sbin"],
    );
    std::env::set_current_dir(&new).unwrap();
    // The old one comes to lie over the new one (pivot_root(2)).
    pivot_root(".", ".").unwrap();
    umount2(".", MntFlags::MNT_DETACH).unwrap();
    std::env::set_current_dir("/").unwrap();
}

/// What is in one folder, in another; empty folders in place of those that are named.
fn furnish(old: &Path, new: &Path, empty: &[&str]) {
    for entry in fs::read_dir(old).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), new.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            symlink(fs::read_link(from).unwrap(), to).unwrap();
        } else if kind.is_dir() {
            fs::create_dir(&to).unwrap();
            set_mode(&to, 0o755);
            if !empty.iter().any(|name| entry.file_name() == *name) {
                bind(&from, &to);
            }
        }
    }
    for name in empty {
        let folder = new.join(name);
        fs::create_dir_all(&folder).unwrap();
        set_mode(&folder, 0o755);
    }
}

/// Installs a program; the shell plays it.
pub fn install(path: &str, script: &str) -> PathBuf {
    let path = PathBuf::from(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // A program that still runs cannot be written over.
    let _ = fs::remove_file(&path);
    fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
    set_mode(&path, 0o755);
    path
}

pub fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
