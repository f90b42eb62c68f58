//! A file system that is small, and can be filled.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::servers::{SKIP, skipped};

/// What switches tests of a full disk off by name.
const NAME: &str = "small-disk";

/// A small file system of its own, which goes when this is dropped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of so many MiB; none when such tests were switched off by name.
    ///
    /// # Panics
    /// When it cannot be mounted, which needs root.
    pub fn mount(mib: u32) -> Option<Self> {
        if skipped(NAME) {
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let size = format!("size={mib}m,mode=755");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path());
        let done = mount.output().expect("run mount");
        assert!(
            done.status.success(),
            "a small file system cannot be mounted: {}; run as root, or switch the tests that \
             need it off with {SKIP}={NAME}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
        Some(Self(dir))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room.
    pub fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.ballast());
        let file = file.as_mut().expect("a file");
        for size in [1 << 16, 1 << 12] {
            let block = vec![7; size];
            let full = loop {
                match file.write_all(&block) {
                    Ok(()) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        }
    }

    /// Leaves room again.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there does not keep it.
        let done = Command::new("umount").arg("-l").arg(self.path()).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be unmounted", self.path().display());
        }
    }
}
