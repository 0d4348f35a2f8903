//! The folder with all that outlives the process. Which files are there is the state.
//!
//! | path | content |
//! |---|---|
//! | `lock` | locked while a service runs |
//! | `principals/P/keys/K/announced.json` | program, length, and once they are whole the key's name |
//! | `principals/P/keys/K/evaluation.keys.part` | chunks that have arrived |
//! | `principals/P/keys/K/evaluation.keys` | the keys, whole and checked |
//! | `principals/P/spent.json` | processor time that was used lately |
//! | `principals/P/keys/K/used` | its time is when they were last used |
//! | `principals/P/keys/K/stored` | which bucket has the keys, too |
//! | `principals/P/jobs/J/job.json`, `image.ct` | a job; both appear at once |
//! | `principals/P/jobs/J/checkpoint` | where its evaluation is |
//! | `principals/P/jobs/J/done.json`, `answer.ct` | receipt and time; it is done if there is an answer |
//! | `principals/P/jobs/J/ended.json` | it has failed or was cancelled |
//!
//! Files appear whole, by renaming. Folders of jobs do, too.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhec_roles::files::{self, Access, FileError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::errors::ServiceError;

/// More than any of the small files has.
const MAX_JSON_BYTES: u64 = 1 << 16;

/// The folder, locked.
#[derive(Clone, Debug)]
pub(super) struct StateFolder {
    principals: PathBuf,
    _lock: Arc<File>,
}

impl StateFolder {
    /// Claims `path`, which is made if need be.
    pub(super) fn claim(path: &Path) -> Result<Self, ServiceError> {
        let error = |source| ServiceError::State { path: path.to_owned(), source };
        let principals = path.join("principals");
        make_private(path).and_then(|()| make_private(&principals)).map_err(error)?;
        let lock = File::create(path.join("lock")).map_err(error)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(ServiceError::StateBusy(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(error(source)),
            Ok(()) => Ok(StateFolder { principals, _lock: Arc::new(lock) }),
        }
    }

    /// Folder of a principal, made if need be. `principal` is a name by [`crate::tokens::is_name`].
    pub(super) fn of_principal(&self, principal: &str) -> io::Result<PathBuf> {
        let path = self.principals.join(principal);
        make_private(&path)?;
        Ok(path)
    }

    /// Folder of a principal's things of a kind, made if need be.
    pub(super) fn of(&self, principal: &str, kind: &str) -> io::Result<PathBuf> {
        let path = self.of_principal(principal)?.join(kind);
        make_private(&path)?;
        Ok(path)
    }

    /// Where a principal's thing of a kind is, or would be. `principal` and `name` are names as for
    /// [`StateFolder::of`].
    pub(super) fn path(&self, principal: &str, kind: &str, name: &str) -> PathBuf {
        self.principals.join(principal).join(kind).join(name)
    }

    /// Names of principals and the folders of their things of a kind, with the names of these. What
    /// a killed process was making is removed.
    pub(super) fn all(&self, kind: &str) -> io::Result<Vec<(String, PathBuf, String)>> {
        let mut found = Vec::new();
        for principal in names(&self.principals)? {
            let folder = self.principals.join(&principal).join(kind);
            for name in names(&folder)? {
                let path = folder.join(&name);
                if files::is_temporary(&name) {
                    remove(&path)?;
                    continue;
                }
                for left in names(&path)?.into_iter().filter(|name| files::is_temporary(name)) {
                    fs::remove_file(path.join(left))?;
                }
                found.push((principal.clone(), path, name));
            }
        }
        Ok(found)
    }
}

/// Names of what is in a folder; nothing where it is none.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        // Others than ours are left alone.
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Makes a folder that nobody else may enter, if it is not there.
fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            builder.create(path)
        }
        made => made,
    }
}

/// Makes `folder/name` with what `fill` puts into it: whole, or not there.
pub(super) fn make_folder(
    folder: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let temporary = tempfile::Builder::new().prefix(".fhec-").suffix(".tmp").tempdir_in(folder)?;
    fill(temporary.path())?;
    sync(temporary.path())?;
    let path = folder.join(name);
    fs::rename(temporary.path(), &path)?;
    // Nothing is left at the old name.
    let _ = temporary.keep();
    sync(folder)?;
    Ok(path)
}

/// Removes a folder and what is in it. It loses its name first, so that it is whole or gone.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let gone = path.with_file_name(format!(
        ".fhec-{}.tmp",
        path.file_name().unwrap_or_default().to_string_lossy().trim_start_matches('.')
    ));
    match fs::rename(path, &gone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    fs::remove_dir_all(gone)
}

/// What is in a folder stays in it when the power goes.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes a file as a whole, on the disk when done.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = files::write_atomically(path, Access::OwnerOnly, |writer| writer.write_all(bytes));
    written.map(drop).map_err(without_path)
}

fn without_path(error: FileError) -> io::Error {
    match error {
        FileError::Read { source, .. } | FileError::Write { source, .. } => source,
        FileError::NoFolder { .. } => io::ErrorKind::NotFound.into(),
        FileError::TooLarge { limit, .. } => io::Error::other(format!("a file has more than {limit} bytes")),
    }
}

/// [`write`] of JSON.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write(path, &serde_json::to_vec_pretty(value)?)
}

/// Reads what [`write_json`] wrote. Errors do not name the path, as of [`write`]: it may have the
/// digest of keys beside the name of a principal, and logs do not.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let bytes = files::read(path, MAX_JSON_BYTES).map_err(without_path)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Writes `bytes` at `offset` of the file, which has to have that many bytes. What is behind them
/// was never confirmed and goes.
pub(super) fn append(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<File> {
    let mut file = fs::OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let length = file.metadata()?.len();
    if length < offset {
        return Err(io::Error::other("the file is shorter than was known"));
    }
    if length > offset {
        file.set_len(offset)?;
    }
    match file.write_all(bytes) {
        Ok(()) => Ok(file),
        // What was written of the chunk goes again: the offset that was told stays true.
        Err(error) => {
            file.set_len(offset)?;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_name_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let principal = folder.path().join("alice");
        fs::create_dir(&principal).unwrap();
        let (large, junk) = (principal.join("large"), principal.join("junk"));
        fs::write(&large, vec![b' '; MAX_JSON_BYTES as usize + 1]).unwrap();
        fs::write(&junk, "{").unwrap();
        let read = |path: &Path| read_json::<u64>(path).unwrap_err().to_string();
        let errors = [
            read(&large),
            read(&junk),
            read(&principal),
            read(&principal.join("none")),
            write(&principal.join("none/x"), b"x").unwrap_err().to_string(),
            write(&principal, b"x").unwrap_err().to_string(),
        ];
        assert!(errors.iter().all(|error| !error.contains("alice")), "{errors:?}");
    }

    #[test]
    fn what_was_not_confirmed_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        drop(append(&path, 0, b"abcdef").unwrap());
        drop(append(&path, 3, b"xy").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"abcxy");
        append(&path, 6, b"z").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"abcxy");
    }
}
