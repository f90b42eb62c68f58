//! Database files of our own: nobody else on the machine reads them.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
};

/// Makes an empty file that only its owner may read and write (mode 0600), unless there is one; SQLite takes
/// an empty file for an empty database, and gives its -wal and -shm the same mode. The mode of a file that
/// is there stays as it is. On systems without such modes it is made as others are.
///
/// # Errors
/// The file cannot be made: there is no such directory, or no right to write there.
///
/// ```
/// # let folder = std::env::temp_dir().join(uuid::Uuid::now_v7().to_string());
/// # std::fs::create_dir(&folder)?;
/// let path = folder.join("service.db");
/// syncline::storage::file::make_private(&path)?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn make_private(path: &Path) -> io::Result<()> {
    match create_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done.map(drop),
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn a_new_file_is_its_owners_alone_and_one_that_is_there_stays() {
        use std::{fs, os::unix::fs::PermissionsExt, path::Path};

        use super::make_private;

        let folder = std::env::temp_dir().join(uuid::Uuid::now_v7().to_string());
        fs::create_dir(&folder).expect("a folder");
        let (new, old) = (folder.join("new.db"), folder.join("old.db"));
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        make_private(&new).expect("a new file");
        assert_eq!(mode(&new), 0o600);
        fs::write(&old, "kept").expect("a file");
        let before = mode(&old);
        make_private(&old).expect("one that is there");
        assert_eq!((fs::read(&old).expect("a file"), mode(&old)), (b"kept".to_vec(), before));
        make_private(&folder.join("none/db")).expect_err("no such directory");
        fs::remove_dir_all(&folder).expect("to be removed");
    }
}
