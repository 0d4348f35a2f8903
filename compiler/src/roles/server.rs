//! The server: runs the program with public keys alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::artifact::Artifact;
use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::WEIGHT_BYTES;
use fhec_ir::entity::Value;
use fhec_runtime::circuits::bootstrap::{Bootstrapper, Bootstrapping};
use fhec_runtime::ckks::FactorEncoder;
use fhec_runtime::exec::{self, Observer, ProgramKeys, Witness};
use fhec_runtime::ring::Context;
use fhec_runtime::rlwe::Ciphertext;

use super::RoleError;
use super::client::{check_bundle, input_type};

/// Bytes that encoded diagonals may keep between images where the program does not name fewer: enough for any network without
/// bootstraps.
const CACHE_BYTES: usize = 4 << 30;

/// Holder of the public keys that one program is run with.
pub struct Server<'a> {
    artifact: &'a Artifact,
    context: &'a Context,
    keys: ProgramKeys,
}

impl<'a> Server<'a> {
    /// A server with `keys`.
    pub fn new(artifact: &'a Artifact, context: &'a Context, keys: ProgramKeys) -> Self {
        Server { artifact, context, keys }
    }

    /// Encodes the matrices of the program's bootstraps and its weights, so that images need not wait for it, and returns
    /// what evaluates them.
    pub fn ready(&self) -> Result<Evaluation<'_>, RoleError> {
        let program = &self.artifact.program;
        let bootstraps = BootstrapParams::checked_of_program(program, self.context.params())?;
        let encoder = FactorEncoder::new(self.context);
        let ready = |bootstrap: BootstrapParams| {
            let pairs = bootstrap.pairs_in(program, self.context.params());
            let single = Bootstrapper::new(bootstrap, &encoder)?;
            Ok(Arc::new(if pairs { single.with_pairs(&encoder)? } else { single }))
        };
        let bootstrappers = bootstraps.into_iter().map(ready);
        let bootstrapping = Bootstrapping {
            bootstrappers: bootstrappers.collect::<Result<_, RoleError>>()?,
            encapsulation: self.keys.encapsulation(),
        };
        let bootstrap_bytes = bootstrapping.bootstrappers.iter().map(|b| b.bytes()).sum();
        let keys = self.keys.evaluation();
        let planned: Option<u64> = program
            .meta(WEIGHT_BYTES)
            .map_err(|error| RoleError::Program { what: "memory for weights", reason: error.to_string() })?;
        let cache = planned.map_or(CACHE_BYTES, |bytes| bytes as usize).min(CACHE_BYTES);
        let backend =
            exec::ckks::Encrypted::new(self.context, keys, program, cache).with_bootstrapping(bootstrapping);
        // Checked before weights are encoded: with the wrong keys nobody waits for it.
        exec::Backend::check_program(&backend, program)?;
        backend.preload()?;
        Ok(Evaluation { artifact: self.artifact, backend, bootstrap_bytes })
    }
}

/// A program with its keys and encoded weights.
pub struct Evaluation<'a> {
    artifact: &'a Artifact,
    backend: exec::ckks::Encrypted<'a>,
    bootstrap_bytes: usize,
}

impl Evaluation<'_> {
    /// Bytes of encoded weights kept, and of the matrices of bootstraps.
    pub fn weight_bytes(&self) -> usize {
        self.backend.cache().bytes() + self.bootstrap_bytes
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
        check_bundle("an encrypted image", &image, &input_type(self.artifact)?)?;
        let mut outputs = exec::execute_from(program, &self.backend, vec![image], known, observer, witness)?;
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
