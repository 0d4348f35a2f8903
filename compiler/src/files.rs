//! Files that are either whole or not there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a file could not be read or written.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum FileError {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}; nothing was left behind", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write {}: the folder {} does not exist", .path.display(), .folder.display())]
    NoFolder { path: PathBuf, folder: PathBuf },
    #[error("{} has {bytes} bytes, more than the {limit} this kind of file may have", .path.display())]
    TooLarge { path: PathBuf, bytes: u64, limit: u64 },
}

/// Who may read a written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As the process's umask says.
    Ordinary,
    /// The owner alone (mode 0600): secret keys.
    OwnerOnly,
}

/// Beginning and end of the names that files have while they are written.
const TEMPORARY: (&str, &str) = (".fhec-", ".tmp");

/// Whether a file of this name was being written: a killed process leaves it.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)
}

/// Writes a file through `write` under a temporary name in the same folder, flushes it to disk, and renames it: a
/// full disk or a killed process leaves the old file, or none, never half of one.
pub fn write_atomically(
    path: &Path,
    access: Access,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let error = |source| FileError::Write { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Dropped on every early return, which removes it.
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask still applies to this.
        let mode = if access == Access::OwnerOnly { 0o600 } else { 0o666 };
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    let file = builder.tempfile_in(folder).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if !folder.exists() => {
            FileError::NoFolder { path: path.to_owned(), folder: folder.to_owned() }
        }
        // The message names a temporary file, which nobody asked for; the kind says as much.
        kind => error(kind.into()),
    })?;
    let mut writer = BufWriter::with_capacity(1 << 20, file.as_file());
    write(&mut writer).and_then(|()| writer.flush()).map_err(error)?;
    drop(writer);
    file.as_file().sync_all().map_err(error)?;
    file.persist(path).map_err(|e| error(e.error))?;
    // The rename itself is durable once the folder is; a failure here loses nothing that was there.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Reads a whole file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let error = |source| FileError::Read { path: path.to_owned(), source };
    let bytes = fs::metadata(path).map_err(error)?.len();
    if bytes > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes, limit });
    }
    fs::read(path).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomically(&path, Access::Ordinary, |w| w.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, Access::Ordinary, |w| {
            w.write_all(&[7; 3 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(matches!(failed, Err(FileError::Write { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/file");
        let failed = write_atomically(&path, Access::Ordinary, |_| Ok(())).unwrap_err();
        assert!(failed.to_string().ends_with("none does not exist"), "{failed}");
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_readable_by_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_atomically(&path, Access::OwnerOnly, |w| w.write_all(b"x")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn large_files_are_refused_before_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(read(&path, 1 << 20), Err(FileError::TooLarge { .. })));
    }
}
