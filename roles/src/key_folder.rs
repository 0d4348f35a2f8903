//! The folder that keys are written into: either it has a whole set of keys, or the next key
//! generation may start afresh.
//!
//! Three files cannot appear at once. A marker tells what a killed key generation left from keys
//! that somebody needs: a folder with evaluation keys alone is a server's, one without a secret key
//! may be that of a client who keeps it elsewhere. The marker is written before any key and goes
//! when the secret key, the last, is there. It is locked while keys are made, so that nobody takes
//! a key generation that is running for one that was killed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fhec_runtime::exec::ProgramKeys;
use fhec_runtime::ring::Context;
use fhec_runtime::rlwe::{PublicKey, SecretKey};

use super::exchange::{EVALUATION, ExchangeError, PUBLIC, SECRET};
use crate::files::{self, Access, FileError};

const MARKER: &str = "keygen.unfinished";
/// An empty marker says nothing: whoever made it had not looked into the folder yet.
const MARKER_TEXT: &[u8] = b"fhec keygen has not finished here: run it again\n";

/// A folder claimed for new keys. Dropped before [`KeyFolder::write`] is done, it leaves no file
/// behind.
#[derive(Debug)]
pub struct KeyFolder {
    path: PathBuf,
    /// The marker, open and locked; `None` once the keys are whole.
    marker: Option<File>,
}

impl KeyFolder {
    /// Claims `folder`, which is made if need be. What a killed key generation left in it is
    /// removed.
    ///
    /// # Errors
    /// [`ExchangeError::KeysExist`] if it has keys of any other origin: a lost secret key cannot be
    /// made again. [`ExchangeError::KeysBusy`] while another process makes keys there.
    pub fn claim(folder: &Path) -> Result<Self, ExchangeError> {
        let in_folder = |source| ExchangeError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(in_folder)?;
        let path = folder.join(MARKER);
        let in_marker = |source| FileError::Write { path: path.clone(), source };
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut marker = open.map_err(in_marker)?;
        // Whoever had the lock may have removed the marker meanwhile: then the lock is on a file
        // that nobody else sees.
        if let Err(TryLockError::WouldBlock) = marker.try_lock() {
            return Err(ExchangeError::KeysBusy { path: folder.to_owned() });
        }
        if !is_still_there(&marker, &path) {
            return Err(ExchangeError::KeysBusy { path: folder.to_owned() });
        }
        let unfinished = marker.metadata().map_err(in_marker)?.len() > 0;
        let keys: &[&str] = if unfinished { &[SECRET] } else { &[SECRET, PUBLIC, EVALUATION] };
        if let Some(path) = keys.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
            // With a secret key the others are there too, and the marker is all that was left to
            // remove.
            let _ = fs::remove_file(folder.join(MARKER));
            return Err(ExchangeError::KeysExist { path });
        }
        if unfinished {
            remove_keys(folder).map_err(in_folder)?;
        } else {
            marker.write_all(MARKER_TEXT).and_then(|()| marker.sync_all()).map_err(in_marker)?;
        }
        Ok(KeyFolder { path: folder.to_owned(), marker: Some(marker) })
    }

    /// Writes the three key files.
    pub fn write(
        mut self,
        context: &Context,
        secret: &SecretKey,
        public: &PublicKey,
        keys: &ProgramKeys,
    ) -> Result<(), ExchangeError> {
        let file = |name: &str| self.path.join(name);
        files::write_atomically(&file(EVALUATION), Access::Ordinary, |mut w| keys.write(context, &mut w))?;
        let bytes = public.to_bytes(context);
        files::write_atomically(&file(PUBLIC), Access::Ordinary, |w| w.write_all(&bytes))?;
        // The secret key comes last: a folder that has it has the others.
        let bytes = secret.to_bytes(context);
        files::write_atomically(&file(SECRET), Access::OwnerOnly, |w| w.write_all(&bytes))?;
        self.marker = None;
        // Where it stays, it says nothing beside a secret key.
        let _ = fs::remove_file(file(MARKER));
        Ok(())
    }
}

impl Drop for KeyFolder {
    fn drop(&mut self) {
        if self.marker.is_some() && !self.path.join(SECRET).exists() {
            // What cannot be removed now is removed by the next claim, for the marker goes last.
            if remove_keys(&self.path).is_ok() {
                let _ = fs::remove_file(self.path.join(MARKER));
            }
        }
    }
}

/// Whether `path` is the file that is open as `file`, and not gone or another one.
fn is_still_there(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let of = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        matches!((file.metadata(), fs::metadata(path)), (Ok(open), Ok(there)) if of(&open) == of(&there))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// Errs if a key generation runs in `folder` or was killed there, so that nothing is encrypted that
/// nobody can decrypt.
pub(super) fn refuse_unfinished(folder: &Path) -> Result<(), ExchangeError> {
    let Ok(marker) = File::open(folder.join(MARKER)) else { return Ok(()) };
    let path = folder.to_owned();
    let running = matches!(marker.try_lock_shared(), Err(TryLockError::WouldBlock));
    // Asked last: whoever held the lock may have finished by now.
    match (folder.join(SECRET).exists(), running) {
        (true, _) => Ok(()),
        (false, true) => Err(ExchangeError::KeysBusy { path }),
        (false, false) if marker.metadata().is_ok_and(|marker| marker.len() > 0) => {
            Err(ExchangeError::KeysUnfinished { path })
        }
        (false, false) => Ok(()),
    }
}

/// Removes key files that lack their secret key, and what was going to be key files.
fn remove_keys(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == PUBLIC || name == EVALUATION || files::is_temporary(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_on_a_marker_that_is_gone_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MARKER);
        let marker = File::create(&path).unwrap();
        assert!(is_still_there(&marker, &path));
        fs::remove_file(&path).unwrap();
        assert!(!is_still_there(&marker, &path));
        File::create(&path).unwrap();
        assert!(!is_still_there(&marker, &path));
    }

    /// As if the process had been killed: nothing is removed, the lock is gone.
    fn kill(mut folder: KeyFolder) {
        folder.marker = None;
    }

    #[test]
    fn what_a_killed_key_generation_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for left in [&[][..], &[EVALUATION], &[EVALUATION, PUBLIC], &[EVALUATION, ".fhec-abc.tmp"]] {
            let claimed = KeyFolder::claim(path).unwrap();
            left.iter().for_each(|name| fs::write(path.join(name), "half a pair").unwrap());
            fs::write(path.join("notes.txt"), "of somebody").unwrap();
            assert!(matches!(KeyFolder::claim(path), Err(ExchangeError::KeysBusy { .. })));
            assert!(matches!(refuse_unfinished(path), Err(ExchangeError::KeysBusy { .. })));
            kill(claimed);
            assert!(matches!(refuse_unfinished(path), Err(ExchangeError::KeysUnfinished { .. })));
            let claimed = KeyFolder::claim(path).unwrap();
            assert_eq!(names(path), [MARKER, "notes.txt"]);
            drop(claimed);
            assert_eq!(names(path), ["notes.txt"]);
            refuse_unfinished(path).unwrap();
        }
    }

    #[test]
    fn whole_pairs_and_keys_of_others_are_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for name in [SECRET, PUBLIC, EVALUATION] {
            fs::write(path.join(name), "a key").unwrap();
            assert!(matches!(KeyFolder::claim(path), Err(ExchangeError::KeysExist { .. })), "{name}");
            assert_eq!(names(path), [name]);
            refuse_unfinished(path).unwrap();
            fs::remove_file(path.join(name)).unwrap();
        }
        // Killed after the last key, before the marker went.
        let claimed = KeyFolder::claim(path).unwrap();
        [SECRET, PUBLIC, EVALUATION].iter().for_each(|name| fs::write(path.join(name), "a key").unwrap());
        kill(claimed);
        refuse_unfinished(path).unwrap();
        assert!(matches!(KeyFolder::claim(path), Err(ExchangeError::KeysExist { .. })));
        assert_eq!(names(path), [EVALUATION, PUBLIC, SECRET]);
    }
}
