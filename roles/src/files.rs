//! Files that are either whole or not there, and what is no file: devices, pipes, standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
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
    #[error("{} has more than the {limit} bytes that this kind of file may have", .path.display())]
    TooLarge { path: PathBuf, limit: u64 },
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

/// What a path that is to be written names.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// `-`.
    StandardOutput,
    /// A regular file or none yet, links followed: replaced as a whole.
    File(PathBuf),
    /// A device, a pipe, a socket: written as it stands, for it must stay what it is.
    Stream(PathBuf),
}

/// Whether `path` stands for standard output.
pub fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl Target {
    /// Links that are followed, as many as the kernel follows.
    const MOST_LINKS: usize = 40;

    fn of(path: &Path) -> io::Result<Target> {
        if is_standard_output(path) {
            return Ok(Target::StandardOutput);
        }
        match fs::metadata(path) {
            Ok(there) if there.is_file() => return Ok(Target::File(fs::canonicalize(path)?)),
            Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => return Ok(Target::Stream(path.to_owned())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        // Nothing is there yet, but a link may say where it is to be.
        let mut target = path.to_owned();
        for _ in 0..Self::MOST_LINKS {
            match fs::read_link(&target) {
                Ok(next) => target = target.parent().unwrap_or(Path::new("")).join(next),
                Err(_) => return Ok(Target::File(target)),
            }
        }
        Err(io::Error::other("links lead to one another"))
    }
}

/// Writes through `write`, and returns the number of bytes. A file gets a temporary name in the
/// same folder first, is flushed to disk, and renamed: a full disk or a killed process leaves the
/// old file, or none, never half of one. Links are followed. What exists and is no file is written
/// straight, and `-` is standard output.
pub fn write_atomically(
    path: &Path,
    access: Access,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<u64, FileError> {
    let error = |source| FileError::Write { path: path.to_owned(), source };
    match Target::of(path).map_err(error)? {
        Target::File(file) => replace(path, &file, access, write),
        Target::Stream(stream) => {
            let stream = OpenOptions::new().write(true).open(stream).map_err(error)?;
            write_counted(stream, access, write).map_err(error)
        }
        Target::StandardOutput => write_counted(io::stdout().lock(), access, write).map_err(error),
    }
}

/// Writes `file`, which was called `path`, as [`write_atomically`] does.
fn replace(
    path: &Path,
    file: &Path,
    access: Access,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<u64, FileError> {
    let error = |source| FileError::Write { path: path.to_owned(), source };
    let folder = match file.parent() {
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
    let temporary = builder.tempfile_in(folder).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if !folder.exists() => {
            FileError::NoFolder { path: path.to_owned(), folder: folder.to_owned() }
        }
        // The message names a temporary file, which nobody asked for; the kind says as much.
        kind => error(kind.into()),
    })?;
    let bytes = write_counted(temporary.as_file(), access, write).map_err(error)?;
    temporary.as_file().sync_all().map_err(error)?;
    temporary.persist(file).map_err(|e| error(e.error))?;
    // The rename itself is durable once the folder is; a failure here loses nothing that was there.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(bytes)
}

/// Counts what goes through it.
struct Counted<W> {
    writer: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn write_counted(
    writer: impl Write,
    access: Access,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<u64> {
    let mut counted = Counted { writer, bytes: 0 };
    if access == Access::OwnerOnly {
        // A buffer would keep the secret in memory that nobody wipes.
        write(&mut counted)?;
    } else {
        let mut buffered = BufWriter::with_capacity(1 << 20, &mut counted);
        write(&mut buffered)?;
        buffered.flush()?;
    }
    counted.flush()?;
    Ok(counted.bytes)
}

/// Reads a whole file of at most `limit` bytes. What the file system says of its size is not
/// believed: devices say nothing, and files grow.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let error = |source| FileError::Read { path: path.to_owned(), source };
    let too_large = || FileError::TooLarge { path: path.to_owned(), limit };
    let file = File::open(path).map_err(error)?;
    let said = file.metadata().map_err(error)?.len();
    if said > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(said).unwrap_or(0));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
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

    #[cfg(unix)]
    #[test]
    fn files_without_end_are_refused() {
        assert!(matches!(read(Path::new("/dev/zero"), 1 << 20), Err(FileError::TooLarge { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_stay() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("other")).unwrap();
        symlink("other/file", path("link")).unwrap();
        // Where nothing is yet, and where the file is.
        for content in [&b"first"[..], b"second"] {
            let bytes = write_atomically(&path("link"), Access::Ordinary, |w| w.write_all(content)).unwrap();
            assert_eq!(bytes, content.len() as u64);
            assert_eq!(fs::read(path("other/file")).unwrap(), content);
            assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
        }
        symlink("loop", path("loop")).unwrap();
        write_atomically(&path("loop"), Access::Ordinary, |_| Ok(())).unwrap_err();
        write_atomically(&path("other"), Access::Ordinary, |_| Ok(())).unwrap_err();
        assert!(path("other").is_dir());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_and_pipes_are_written_and_stay() {
        use std::io::{PipeReader, pipe};
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::FileTypeExt;
        assert_eq!(Target::of(Path::new("/dev/null")).unwrap(), Target::Stream("/dev/null".into()));
        write_atomically(Path::new("/dev/null"), Access::Ordinary, |w| w.write_all(b"gone")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let (mut reader, writer): (PipeReader, _) = pipe().unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd()));
        write_atomically(&path, Access::Ordinary, |w| w.write_all(b"through")).unwrap();
        drop(writer);
        let mut found = String::new();
        reader.read_to_string(&mut found).unwrap();
        assert_eq!(found, "through");
    }
}
