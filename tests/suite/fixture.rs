//! A file tree to act on with `--root`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::command::{Said, keepalivectl};

/// The drop-in, inside a tree.
pub const DROPIN: &str = "etc/sysctl.d/99-keepalivectl.conf";
/// The unit file.
pub const UNIT: &str = "etc/systemd/system/keepalivectl.service";
/// The link that enables it.
pub const LINK: &str = "etc/systemd/system/sysinit.target.wants/keepalivectl.service";

/// A tree that is gone when this is dropped.
pub struct Tree {
    top: TempDir,
}

impl Tree {
    /// An empty one.
    pub fn new() -> Tree {
        let top = tempfile::tempdir().unwrap();
        Tree { top }
    }

    /// One with systemd and an installed keepalivectl.
    pub fn with_systemd() -> Tree {
        let tree = Tree::new();
        tree.write("usr/lib/systemd/systemd", "");
        tree.program("usr/local/bin/keepalivectl");
        tree
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.top.path().join(path)
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A file that can be run, as far as its mode goes.
    pub fn program(&self, path: &str) {
        self.write(path, "");
        self.set_mode(path, 0o755);
    }

    pub fn set_mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub fn mode(&self, path: &str) -> u32 {
        let metadata = fs::symlink_metadata(self.path(path)).unwrap();
        metadata.permissions().mode() & 0o7777
    }

    /// All files and links, sorted, relative to the top.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.top.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if fs::symlink_metadata(&path).unwrap().is_dir() {
                    folders.push(path);
                } else {
                    let inside = path.strip_prefix(self.top.path()).unwrap();
                    found.push(inside.to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// Runs `keepalivectl --root TREE` with the words of one line.
    pub fn run(&self, line: &str) -> Said {
        let root = ["--root", self.top.path().to_str().unwrap()];
        keepalivectl(root.into_iter().chain(line.split_whitespace()))
    }
}
