//! Whole keys come into memory.

use std::fs::File;
use std::sync::{Arc, PoisonError};

use fhec_runtime::exec::ProgramKeys;

use super::{KeyStore, Name, State, WHOLE};
use crate::api::{Code, Problem};
use crate::service::catalogue::Model;
use crate::service::errors::internal;

impl KeyStore {
    /// Reads all keys of a file, and checks that the program needs no others. One file at a time:
    /// keys take a lot of memory.
    pub(super) fn read(&self, model: &Model, file: &File) -> Result<Arc<ProgramKeys>, Problem> {
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        loader.install(|| {
            let keys = ProgramKeys::read(&model.context, file).map_err(|error| refused(&error))?;
            let keys = Arc::new(keys);
            let session = model.server.session(Arc::clone(&keys));
            session.map_err(|reason| Problem::new(Code::KeysRefused, reason.to_string()))?;
            Ok(keys)
        })
    }

    /// The keys in memory; read where they are not, which takes a second or two for a ResNet-20.
    /// `loaded` is told that they were.
    pub(in crate::service) fn load(
        &self,
        name: &Name,
        model: &Model,
        loaded: impl FnOnce(),
    ) -> Result<Arc<ProgramKeys>, Problem> {
        if let Some(keys) = self.resident.get(name) {
            return Ok(keys);
        }
        let path = {
            let entries = self.entries();
            let whole = entries.get(name).filter(|entry| matches!(entry.state, State::Whole { .. }));
            let gone = || Problem::new(Code::KeysNotWhole, "the keys of this job are not here any more");
            whole.map(|entry| entry.folder.join(WHOLE)).ok_or_else(gone)?
        };
        let file = File::open(path).map_err(internal)?;
        let keys = self.read(model, &file)?;
        loaded();
        let bytes = keys.bytes() as u64;
        // Only what was not deleted meanwhile is kept; the caller has it in any case.
        let entries = self.entries();
        let is_here = entries.get(name).is_some_and(|entry| matches!(entry.state, State::Whole { .. }));
        Ok(if is_here { self.resident.insert(name.clone(), keys, bytes) } else { keys })
    }
}

pub(super) fn refused(error: &fhec_runtime::exec::ReadError) -> Problem {
    match error {
        fhec_runtime::exec::ReadError::Format(reason) => {
            Problem::new(Code::KeysRefused, format!("the keys are of no use here: {reason}"))
        }
        error => internal(error),
    }
}
