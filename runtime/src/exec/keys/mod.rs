//! The keys that a program needs on the server's side.

mod arriving;
mod file;
mod records;
mod source;

pub use arriving::{ArrivingKeys, most_file_bytes};
pub use file::ReadError;
pub use records::KeyRecords;

use fhec_ir::bootstrap::ProgramBootstrapError;
use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::key_demand;
use thiserror::Error;

use crate::circuits::mod_raise::EncapsulationKeys;
use crate::error::EvalError;
use crate::ring::{Context, ContextError, Seed};
use crate::rlwe::{EvaluationKeys, KeyId, KeyRequest, SecretKey};

/// Why the keys of a program cannot be made.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum KeysError {
    #[error(transparent)]
    Bootstraps(#[from] ProgramBootstrapError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("the encapsulation keys belong to key {encapsulation}, the evaluation keys to {evaluation}")]
    Foreign { evaluation: KeyId, encapsulation: KeyId },
}

/// All that a server needs to run one program on ciphertexts of one secret key. It is public.
#[derive(Debug)]
pub struct ProgramKeys {
    evaluation: EvaluationKeys,
    encapsulation: Option<EncapsulationKeys>,
}

impl ProgramKeys {
    /// Puts keys of the same secret key together.
    pub fn new(
        evaluation: EvaluationKeys,
        encapsulation: Option<EncapsulationKeys>,
    ) -> Result<Self, KeysError> {
        match &encapsulation {
            Some(keys) if keys.id() != evaluation.id() => {
                Err(KeysError::Foreign { evaluation: evaluation.id(), encapsulation: keys.id() })
            }
            _ => Ok(ProgramKeys { evaluation, encapsulation }),
        }
    }

    /// Makes the keys of `program` and of its bootstraps, each once and up to the highest level it
    /// is used at, from `seed`, on all threads.
    pub fn generate(
        context: &Context,
        secret: &SecretKey,
        seed: &Seed,
        program: &Func<Ckks>,
    ) -> Result<Self, KeysError> {
        let needed = key_demand::KeyDemand::of(program, context.params())?;
        ProgramKeys::generate_needed(context, secret, seed, &needed)
    }

    /// Makes the keys that a program says it needs, from `seed`, on all threads.
    pub fn generate_needed(
        context: &Context,
        secret: &SecretKey,
        seed: &Seed,
        needed: &key_demand::KeyDemand,
    ) -> Result<Self, KeysError> {
        let requests = KeyRequest::of_set(needed, context.params());
        let evaluation = EvaluationKeys::generate(context, secret, seed, &requests)?;
        let encapsulation = needed
            .encapsulation
            .as_ref()
            .map(|keys| EncapsulationKeys::generate(context, secret, keys, seed))
            .transpose()?;
        ProgramKeys::new(evaluation, encapsulation)
    }

    /// Name of the secret key.
    pub fn id(&self) -> KeyId {
        self.evaluation.id()
    }

    /// The switching keys.
    pub fn evaluation(&self) -> &EvaluationKeys {
        &self.evaluation
    }

    /// The keys to the ephemeral secret of the program's bootstraps and back.
    pub fn encapsulation(&self) -> Option<&EncapsulationKeys> {
        self.encapsulation.as_ref()
    }

    /// Number of keys, those of an encapsulation included.
    pub fn count(&self) -> usize {
        let encapsulation = self.encapsulation.as_ref().map_or(0, |keys| 1 + keys.rotations().count());
        self.evaluation.iter().count() + encapsulation
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.evaluation.bytes() + self.encapsulation.as_ref().map_or(0, EncapsulationKeys::bytes)
    }
}

/// The requests that `keys` do not meet.
pub fn missing(requests: &[KeyRequest], keys: &EvaluationKeys) -> Vec<KeyRequest> {
    let met = |request: &&KeyRequest| {
        !keys.iter().any(|key| key.kind() == request.kind && key.level() >= request.level)
    };
    requests.iter().filter(met).copied().collect()
}

#[cfg(test)]
mod tests;
