//! Files that client and server exchange.
//!
//! | file | who has it | content |
//! |---|---|---|
//! | `secret.key` | client | the secret key, readable by its owner alone |
//! | `public.key` | anyone | encrypts |
//! | `evaluation.keys` | server | relinearisation, Galois and encapsulation keys, uniform halves as seeds |
//! | `*.ct` | both | a bundle of ciphertexts of one program |
//!
//! Keys are written by [`KeyFolder`](super::KeyFolder). Each carries the fingerprint of the
//! parameters and a checksum; what does not fit is refused with a reason.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use fhec_ir::ckks::CiphertextType;
use fhec_runtime::FormatError;
use fhec_runtime::exec::{ProgramKeys, ReadError};
use fhec_runtime::ring::Context;
use fhec_runtime::rlwe::{Ciphertext, PublicKey, SecretKey, SeededCiphertext};
use thiserror::Error;
use zeroize::Zeroizing;

use super::key_folder::refuse_unfinished;
pub use crate::bundle::{
    BundleError, answer_from_bytes, ciphertexts_from_bytes, ciphertexts_to_bytes, most_bundle_bytes,
    seeded_ciphertexts_to_bytes,
};
use crate::bundle::{FromBytes, parse_bundle, put_bundle};
use crate::files::{self, Access, FileError};

pub(super) const SECRET: &str = "secret.key";
pub(super) const PUBLIC: &str = "public.key";
pub(super) const EVALUATION: &str = "evaluation.keys";
/// Secret and public keys are smaller: a public key is one polynomial, of 128 primes at most.
const MAX_KEY_BYTES: u64 = 256 << 20;
/// Why a key or ciphertext file is of no use.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ExchangeError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot make the folder {}: {source}", .path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("{} exists already; keys are never overwritten: name another folder or remove it", .path.display())]
    KeysExist { path: PathBuf },
    #[error("keys are being made in {} right now; wait for it, or name another folder", .path.display())]
    KeysBusy { path: PathBuf },
    #[error(
        "the keys in {} are not whole: `fhec keygen` was stopped before the secret key was written; run it again for this folder",
        .path.display()
    )]
    KeysUnfinished { path: PathBuf },
    #[error("{source}; `fhec keygen PROGRAM --dir {}` makes keys", .folder.display())]
    NoKeys { folder: PathBuf, source: FileError },
    #[error("{}: {source}; {advice}", .path.display())]
    Parameters { path: PathBuf, source: FormatError, advice: &'static str },
    #[error("{}: {source}", .path.display())]
    Format { path: PathBuf, source: FormatError },
    #[error("{}: {source}", .path.display())]
    Read { path: PathBuf, source: ReadError },
    #[error("{}: {reason}", .path.display())]
    Bundle { path: PathBuf, reason: String },
}

impl BundleError {
    /// The same of a file, or of what `path` is a name for.
    pub fn in_file(self, path: &Path) -> ExchangeError {
        let path = path.to_owned();
        match self {
            BundleError::Ciphertext(source) => {
                format_error(path, source, "encrypt again with the keys of this program")
            }
            error => ExchangeError::Bundle { path, reason: error.to_string() },
        }
    }
}

/// What to do with keys of other parameters.
const OTHER_KEYS: &str = "name the folder with the keys of this program, or make them: `fhec keygen`";

/// What the bytes of `path` lack, with `advice` where they are those of another program.
fn format_error(path: PathBuf, source: FormatError, advice: &'static str) -> ExchangeError {
    match source {
        FormatError::Fingerprint { .. } => ExchangeError::Parameters { path, source, advice },
        _ => ExchangeError::Format { path, source },
    }
}

/// That a key file of `folder` cannot be read; where there are no keys at all, with the way to get
/// them.
fn key_error(folder: &Path, error: FileError) -> ExchangeError {
    // Beside other keys none are made.
    match [SECRET, PUBLIC, EVALUATION].iter().any(|name| folder.join(name).exists()) {
        true => error.into(),
        false => ExchangeError::NoKeys { folder: folder.to_owned(), source: error },
    }
}

/// Whether `folder` has a secret key.
pub fn has_secret_key(folder: &Path) -> bool {
    folder.join(SECRET).is_file()
}

/// Reads the secret key.
pub fn read_secret_key(folder: &Path, context: &Context) -> Result<SecretKey, ExchangeError> {
    refuse_unfinished(folder)?;
    let path = folder.join(SECRET);
    let bytes = files::read(&path, MAX_KEY_BYTES).map_err(|error| key_error(folder, error))?;
    let bytes = Zeroizing::new(bytes);
    warn_of_readers(&path);
    SecretKey::from_bytes(context, &bytes).map_err(|source| format_error(path, source, OTHER_KEYS))
}

/// Warns where others than its owner may read the secret key at `path`.
fn warn_of_readers(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o077 != 0 {
            tracing::warn!(
                "{} can be read by others than its owner (mode {:03o}): `chmod 600` it, and make new keys if somebody did",
                path.display(),
                mode & 0o777
            );
        }
    }
}

/// Whether `folder`, which a server is to read its keys from, has a secret key beside them.
pub fn warn_of_secret_key(folder: &Path) {
    if has_secret_key(folder) {
        tracing::warn!(
            "{} has a secret.key: the server needs evaluation.keys alone, and must not have the secret key",
            folder.display()
        );
    }
}

/// Reads the public key.
pub fn read_public_key(folder: &Path, context: &Context) -> Result<PublicKey, ExchangeError> {
    refuse_unfinished(folder)?;
    let path = folder.join(PUBLIC);
    let bytes = files::read(&path, MAX_KEY_BYTES).map_err(|error| key_error(folder, error))?;
    PublicKey::from_bytes(context, &bytes).map_err(|source| format_error(path, source, OTHER_KEYS))
}

/// Reads the keys of the server and expands their uniform halves.
pub fn read_evaluation_keys(folder: &Path, context: &Context) -> Result<ProgramKeys, ExchangeError> {
    refuse_unfinished(folder)?;
    let path = folder.join(EVALUATION);
    let file = File::open(&path).map_err(|source| FileError::Read { path: path.clone(), source });
    let file = file.map_err(|error| key_error(folder, error))?;
    ProgramKeys::read(context, &file).map_err(|error| match error {
        ReadError::Format(source) => format_error(path, source, OTHER_KEYS),
        source => ExchangeError::Read { path, source },
    })
}

/// Writes the keys of the server alone into `folder`, which is made if need be.
///
/// # Errors
/// [`ExchangeError::KeysExist`] if it has such keys: nothing is overwritten.
pub fn write_evaluation_keys(
    folder: &Path,
    context: &Context,
    keys: &ProgramKeys,
) -> Result<u64, ExchangeError> {
    let in_folder = |source| ExchangeError::Folder { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(in_folder)?;
    let path = folder.join(EVALUATION);
    if path.exists() {
        return Err(ExchangeError::KeysExist { path });
    }
    Ok(files::write_atomically(&path, Access::Ordinary, |mut writer| keys.write(context, &mut writer))?)
}

/// Size in bytes of the evaluation key file.
pub fn evaluation_key_bytes(folder: &Path) -> Option<u64> {
    fs::metadata(folder.join(EVALUATION)).ok().map(|metadata| metadata.len())
}

/// Writes a bundle of ciphertexts: magic, their number, then length and bytes of each. Returns the
/// number of bytes.
pub fn write_ciphertexts(
    path: &Path,
    context: &Context,
    bundle: &[Ciphertext],
) -> Result<u64, ExchangeError> {
    write_bundle(path, bundle, |ciphertext| ciphertext.to_bytes(context))
}

/// The same of fresh ciphertexts whose uniform halves are seeds: half as many bytes.
/// [`read_ciphertexts`] expands them.
pub fn write_seeded_ciphertexts(
    path: &Path,
    context: &Context,
    bundle: &[SeededCiphertext],
) -> Result<u64, ExchangeError> {
    write_bundle(path, bundle, |ciphertext| ciphertext.to_bytes(context))
}

fn write_bundle<C>(
    path: &Path,
    bundle: &[C],
    to_bytes: impl Fn(&C) -> Vec<u8>,
) -> Result<u64, ExchangeError> {
    Ok(files::write_atomically(path, Access::Ordinary, |writer| put_bundle(writer, bundle, to_bytes))?)
}

/// Reads a bundle of ciphertexts, of which the program says that it is of type `ty`: a file that is
/// larger than such a bundle, or announces another number, is refused before any ciphertext is
/// read. What each of them is says whoever takes them.
pub fn read_ciphertexts(
    path: &Path,
    context: &Context,
    ty: &CiphertextType,
) -> Result<Vec<Ciphertext>, ExchangeError> {
    read_bundle(path, context, std::slice::from_ref(ty), Ciphertext::from_bytes)
}

/// The same of an answer, whose outputs are of these types one after the other: fresh ciphertexts,
/// whose uniform halves are seeds, are refused.
pub fn read_answer(
    path: &Path,
    context: &Context,
    types: &[CiphertextType],
) -> Result<Vec<Ciphertext>, ExchangeError> {
    read_bundle(path, context, types, Ciphertext::from_full_bytes)
}

fn read_bundle(
    path: &Path,
    context: &Context,
    types: &[CiphertextType],
    from_bytes: FromBytes,
) -> Result<Vec<Ciphertext>, ExchangeError> {
    let bytes = files::read(path, most_bundle_bytes(context, types))?;
    parse_bundle(&bytes, context, types, from_bytes).map_err(|error| error.in_file(path))
}
