//! Where a client keeps what it has of services: in the user's folder for configurations.
//!
//! | path | content |
//! |---|---|
//! | `remotes/HOST-DIGEST/MODEL.client.fhec` | the interface of the model, as it was last |
//! | `remotes/HOST-DIGEST/keys/PROGRAM/` | a folder of keys as `fhec keygen` makes it |
//! | `remotes/HOST-DIGEST/keys/PROGRAM/evaluation.keys.blake3` | digest of the keys for the service |
//!
//! Services have keys of their own each: keys tell that two clients are one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::BaseStrategy;
use fhec_ir::program::Interface;
use fhec_roles::files::{self, Access};

use super::{Remote, RemoteError};
use crate::api::Model;
use crate::digest::Digest;

/// A program's digest in names of folders.
const DIGITS: usize = 32;
const DIGEST: &str = "evaluation.keys.blake3";
/// The file that goes to the service.
const EVALUATION: &str = "evaluation.keys";
/// No interface is larger, whatever a service says.
pub(super) const MAX_INTERFACE_BYTES: u64 = 64 << 20;

/// What a client has of one service.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// Of the service at `url`, in `base` or in the user's folder for configurations.
    pub fn open(base: Option<&Path>, url: &str) -> Result<Self, RemoteError> {
        let base = match base {
            Some(base) => base.to_owned(),
            None => {
                let folders = etcetera::choose_base_strategy().map_err(|_| RemoteError::NoHome)?;
                folders.config_dir().join("fhec")
            }
        };
        let url = url.trim_end_matches('/');
        let host = url.split_once("://").map_or(url, |(_, host)| host);
        let host: String =
            host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect();
        let digest = &Digest::of(url.as_bytes()).to_string()[..16];
        let home = Home { path: base.join("remotes").join(format!("{host}-{digest}")) };
        make_private(&home.path)?;
        Ok(home)
    }

    /// The interface of `model`: the one that is here if it is of the same program, else the
    /// service's, which is kept if it has as much security. Whether it came from the service.
    pub fn interface(
        &self,
        remote: &Remote,
        model: &Model,
        least_security: u32,
    ) -> Result<(Arc<Interface>, bool), RemoteError> {
        let path = self.path.join(format!("{}.client.fhec", safe(&model.name)));
        if path.is_file() {
            let bytes = files::read(&path, MAX_INTERFACE_BYTES)?;
            // Damaged or of an older version: the service has it.
            if let Ok(interface) = Interface::from_bytes(&bytes, least_security)
                && Digest::from(interface.program) == model.program
            {
                return Ok((Arc::new(interface), false));
            }
        }
        let bytes = remote.interface(model)?;
        let interface = Interface::from_bytes(&bytes, least_security)
            .map_err(|source| RemoteError::Interface { model: model.name.clone(), source })?;
        if Digest::from(interface.program) != model.program {
            return Err(RemoteError::OtherProgram { said: model.program });
        }
        files::write_atomically(&path, Access::OwnerOnly, |writer| writer.write_all(&bytes))?;
        Ok((Arc::new(interface), true))
    }

    /// The folder with the keys for a program; it may be empty.
    pub fn keys(&self, program: Digest) -> Result<PathBuf, RemoteError> {
        let path = self.path.join("keys").join(&program.to_string()[..DIGITS]);
        make_private(&path)?;
        Ok(path)
    }

    /// The file in a folder of keys that goes to the service.
    pub fn evaluation_keys(folder: &Path) -> PathBuf {
        folder.join(EVALUATION)
    }

    /// Says that new keys were made in a folder: what was known of others goes.
    pub fn keys_are_new(folder: &Path) {
        let _ = fs::remove_file(folder.join(DIGEST));
    }

    /// Digest of that file; computed once.
    pub fn keys_digest(folder: &Path) -> Result<Digest, RemoteError> {
        let known = folder.join(DIGEST);
        if let Ok(text) = fs::read_to_string(&known)
            && let Ok(digest) = text.trim().parse()
        {
            return Ok(digest);
        }
        let path = Home::evaluation_keys(folder);
        let read = File::open(&path).and_then(Digest::of_reader);
        let digest = read.map_err(|source| files::FileError::Read { path, source })?;
        let text = format!("{digest}\n");
        files::write_atomically(&known, Access::OwnerOnly, |writer| writer.write_all(text.as_bytes()))?;
        Ok(digest)
    }
}

/// A name of a model as a name of a file, whatever the service calls it.
fn safe(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let text: String = name.chars().take(64).map(|c| if fits(c) { c } else { '-' }).collect();
    format!("{text}-{}", &Digest::of(name.as_bytes()).to_string()[..8])
}

/// Makes a folder, and those above it, that nobody else may enter.
fn make_private(path: &Path) -> Result<(), RemoteError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source: io::Error| RemoteError::Home { path: path.to_owned(), source })
}
