//! Whole keys come into memory, from the disk of this service or from the bucket.

use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError};

use fhec_runtime::exec::ProgramKeys;

use super::{Announced, KeyStore, Name, State, WHOLE, key_name};
use crate::api::{Code, Problem};
use crate::service::catalogue::Model;
use crate::service::errors::internal;
use crate::service::spans;

impl KeyStore {
    /// Reads all keys of a file, and checks that the program needs no others. One file at a time:
    /// keys take a lot of memory.
    pub(super) fn read(&self, model: &Model, file: &File) -> Result<Arc<ProgramKeys>, Problem> {
        let bytes = file.metadata().map_err(internal)?.len();
        let _reading = spans::keys(&model.name, bytes).entered();
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        loader.install(|| {
            let keys = ProgramKeys::read(&model.context, file).map_err(|error| refused(&error))?;
            let keys = Arc::new(keys);
            let session = model.server.session(Arc::clone(&keys));
            session.map_err(|reason| Problem::new(Code::KeysRefused, reason.to_string()))?;
            Ok(keys)
        })
    }

    /// The file of whole keys; fetched from the bucket where it is not on the disk, if it has at
    /// most `most` bytes.
    pub(super) fn open_file(&self, name: &Name, most: u64) -> Result<(File, Announced), Problem> {
        self.look_up(name)?;
        let (folder, announced, place) = {
            let entries = self.entries();
            let entry = entries.get(name).ok_or_else(gone)?;
            let State::Whole { place, .. } = &entry.state else { return Err(gone()) };
            (entry.folder.clone(), entry.announced.clone(), *place)
        };
        if place.here {
            match File::open(folder.join(WHOLE)) {
                Ok(file) => return Ok((file, announced)),
                // Evicted at this moment, or lost.
                Err(error) if error.kind() == io::ErrorKind::NotFound && place.stored.is_some() => {}
                Err(error) => return Err(internal(error)),
            }
        }
        Ok((self.fetch(name, most)?, announced))
    }

    /// The keys in memory; read where they are not, which takes a second or two for a ResNet-20,
    /// and longer where they have to be fetched. `loaded` is told that they were.
    pub(in crate::service) fn load(
        &self,
        name: &Name,
        model: &Model,
        loaded: impl FnOnce(),
    ) -> Result<Arc<ProgramKeys>, Problem> {
        if let Some(keys) = self.resident.get(name) {
            return Ok(keys);
        }
        let (file, announced) = self.open_file(name, model.key_file_max_bytes)?;
        let keys = self.read(model, &file)?;
        // What the bucket says of keys is compared with them.
        if announced.key.is_some_and(|key| key != key_name(keys.id())) {
            self.is_damaged(name);
            return Err(gone());
        }
        loaded();
        let bytes = keys.bytes() as u64;
        // Only what was not deleted meanwhile is kept; the caller has it in any case.
        let entries = self.entries();
        let is_here = entries.get(name).is_some_and(|entry| matches!(entry.state, State::Whole { .. }));
        Ok(if is_here { self.resident.insert(name.clone(), keys, bytes) } else { keys })
    }
}

/// What a job is told whose keys cannot be had.
pub(super) fn gone() -> Problem {
    Problem::new(Code::KeysNotWhole, "the keys of this job are not here any more")
}

pub(super) fn refused(error: &fhec_runtime::exec::ReadError) -> Problem {
    match error {
        fhec_runtime::exec::ReadError::Format(reason) => {
            Problem::new(Code::KeysRefused, format!("the keys are of no use here: {reason}"))
        }
        error => internal(error),
    }
}
