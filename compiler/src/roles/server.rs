//! The server: runs the program with public keys alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::artifact::Artifact;
use fhec_ir::entity::Value;
use fhec_runtime::exec::{Control, Observer, PrepareError, Prepared, ProgramKeys, Session, Witness};
use fhec_runtime::ring::Context;
use fhec_runtime::rlwe::Ciphertext;

use super::RoleError;
use super::client::check_bundle;

/// Bytes that encoded diagonals may keep between images where the program does not name fewer: enough for any network without
/// bootstraps.
const CACHE_BYTES: usize = 4 << 30;

/// Holder of the public keys that one program is run with.
pub struct Server<'a> {
    artifact: &'a Artifact,
    context: Arc<Context>,
    keys: Arc<ProgramKeys>,
}

impl<'a> Server<'a> {
    /// A server with `keys`.
    pub fn new(artifact: &'a Artifact, context: &Arc<Context>, keys: ProgramKeys) -> Self {
        Server { artifact, context: Arc::clone(context), keys: Arc::new(keys) }
    }

    /// Encodes the matrices of the program's bootstraps and its weights, so that images need not wait for it, and returns
    /// what evaluates them.
    pub fn ready(&self) -> Result<Evaluation<'a>, RoleError> {
        let prepared = Arc::new(Prepared::new(&self.context, self.artifact.program.clone(), CACHE_BYTES)?);
        // Checked before weights are encoded: with the wrong keys nobody waits for it.
        let session = Session::new(&prepared, Arc::clone(&self.keys))?;
        prepared.preload()?;
        Ok(Evaluation { artifact: self.artifact, session })
    }
}

/// A program with its keys and encoded weights.
pub struct Evaluation<'a> {
    artifact: &'a Artifact,
    session: Session,
}

impl Evaluation<'_> {
    /// Bytes of encoded weights kept, and of the matrices of bootstraps.
    pub fn weight_bytes(&self) -> usize {
        self.session.prepared().encoded_bytes()
    }

    /// Runs the program on an encrypted image; `progress` is told the number of ops done.
    pub fn evaluate(
        &self,
        image: Vec<Ciphertext>,
        progress: impl FnMut(usize),
    ) -> Result<Vec<Ciphertext>, RoleError> {
        self.evaluate_from(image, BTreeMap::new(), &mut Progress(progress), &mut ())
    }

    /// Runs the program on an encrypted image, or what is left of it where results of ops are `known`. `observer` is told of every op that
    /// is run, `witness` is shown ciphertexts as they come.
    pub fn evaluate_from(
        &self,
        image: Vec<Ciphertext>,
        known: BTreeMap<Value, Vec<Ciphertext>>,
        observer: &mut dyn Observer,
        witness: &mut dyn Witness<Vec<Ciphertext>>,
    ) -> Result<Vec<Ciphertext>, RoleError> {
        let program = &self.artifact.program;
        let &[input] = program.inputs() else {
            return Err(RoleError::Program { what: "input", reason: "there is not exactly one".into() });
        };
        let ty = program.ty(input);
        check_bundle("an encrypted image", &image, ty.vectors, ty.slots, ty.level)?;
        let control = Control::default();
        let mut outputs = self.session.execute_from(vec![image], known, &control, observer, witness)?;
        match (outputs.pop(), outputs.is_empty()) {
            (Some(output), true) => Ok(output),
            _ => Err(RoleError::Program { what: "output", reason: "there is not exactly one".into() }),
        }
    }
}

/// Told the number of ops done, after each.
pub struct Progress<F>(pub F);

impl<F: FnMut(usize)> Observer for Progress<F> {
    fn op_finished(&mut self, index: usize, _seconds: f64) {
        (self.0)(index + 1);
    }
}

impl From<PrepareError> for RoleError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Bootstraps(error) => error.into(),
            PrepareError::Setup(error) => error.into(),
            PrepareError::WeightBytes { reason } => RoleError::Program { what: "memory for weights", reason },
        }
    }
}
