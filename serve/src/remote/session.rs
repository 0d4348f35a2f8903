//! A client's keys at a service, for one model: encrypted image in, encrypted answer out.

use std::io;
use std::path::Path;

use fhec_ir::program::Interface;
use fhec_roles::exchange;
use fhec_runtime::ring::Context;

use super::{Home, Remote, RemoteError};
use crate::api::{Job, Model};
use crate::digest::Digest;
use crate::receipt::Receipt;

/// What came of an encrypted image.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The bytes of a ciphertext file.
    pub answer: Vec<u8>,
    /// What the service says that the answer was computed of; it fits what was sent.
    pub receipt: Receipt,
    /// The job as it ended.
    pub job: Job,
}

/// A client's keys at a service, for one model.
#[derive(Clone, Debug)]
pub struct RemoteSession {
    model: String,
    program: Digest,
    keys: Digest,
    most_answer_bytes: u64,
}

impl RemoteSession {
    /// The session of the keys in `folder`, which are uploaded where the service lacks them.
    /// `progress` is told of an upload: how many bytes are there, of how many.
    ///
    /// # Errors
    /// [`RemoteError::Replaced`] where the service's model is of another program than `interface`.
    pub fn open(
        remote: &Remote,
        model: &Model,
        interface: &Interface,
        context: &Context,
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, RemoteError> {
        if model.program != Digest::from(interface.program) {
            return Err(RemoteError::Replaced { model: model.name.clone() });
        }
        let keys = Home::keys_digest(folder)?;
        if !model.keys.contains(&keys) {
            remote.upload(&model.name, &Home::evaluation_keys(folder), keys, progress)?;
        }
        // What the service says of its answers is no reason to take more than there can be.
        let most = exchange::most_bundle_bytes(context, &interface.answer_types());
        Ok(RemoteSession {
            model: model.name.clone(),
            program: model.program,
            keys,
            most_answer_bytes: most.min(model.answer_max_bytes),
        })
    }

    /// Name of the keys at the service.
    pub fn keys(&self) -> Digest {
        self.keys
    }

    /// Sends an encrypted image, waits for the answer and fetches it. `deadline`: seconds after
    /// which it is of no use. `progress` is told of the job, first when it is accepted.
    ///
    /// # Errors
    /// [`RemoteError::Cancelled`], or what the service says is wrong.
    pub fn evaluate(
        &self,
        remote: &Remote,
        image: &[u8],
        deadline: Option<u64>,
        progress: &mut dyn FnMut(&Job),
    ) -> Result<Answered, RemoteError> {
        let job = remote.submit(&self.model, self.keys, image, deadline, &random_name()?)?;
        progress(&job);
        let job = remote.wait(&job.id, progress)?;
        let sent = Digest::of(image);
        let (answer, receipt) = remote.answer(&job, self.program, self.keys, sent, self.most_answer_bytes)?;
        Ok(Answered { answer, receipt, job })
    }
}

/// A name that nobody else chooses.
fn random_name() -> Result<String, RemoteError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
