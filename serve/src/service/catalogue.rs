//! The models that are served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fhec_ir::ckks::CiphertextType;
use fhec_ir::layers::Layers;
use fhec_ir::program::Program;
use fhec_roles::{Server, context, exchange};
use fhec_runtime::exec::keys::most_file_bytes;
use fhec_runtime::ring::Context;

use super::errors::ServiceError;
use crate::digest::Digest;

/// A model: its program, made ready.
pub(super) struct Model {
    pub(super) name: String,
    pub(super) program: Digest,
    pub(super) server: Server,
    pub(super) context: Arc<Context>,
    /// The interface file, for clients.
    pub(super) interface: axum::body::Bytes,
    pub(super) interface_digest: Digest,
    pub(super) security_bits: u32,
    pub(super) key_file_max_bytes: u64,
    pub(super) key_memory_bytes: u64,
    pub(super) input_max_bytes: u64,
    pub(super) answer_max_bytes: u64,
    pub(super) layers: Layers,
    /// Seconds of late evaluations here, once there was one.
    measured: Mutex<Option<f64>>,
}

/// What the last evaluation counts for, beside those before.
const NEWEST: f64 = 0.25;

impl Model {
    fn new(name: String, program: &Arc<Program>) -> Result<Self, ServiceError> {
        let of_model = |source| ServiceError::Model { name: name.clone(), source };
        let interface = &program.interface;
        let context = context(interface).map_err(|error| of_model(error.into()))?;
        let server = Server::new(program, &context).map_err(of_model)?;
        let certificate = interface.certificate();
        let security_bits =
            certificate.map_err(|error| of_model(fhec_roles::RoleError::Interface(error.into())))?;
        let most = |types: &[CiphertextType]| exchange::most_bundle_bytes(&context, types);
        let bytes = interface.to_bytes();
        Ok(Model {
            program: interface.program.into(),
            security_bits: security_bits.bits(),
            key_file_max_bytes: most_file_bytes(&interface.keys, &interface.params),
            key_memory_bytes: interface.keys.bytes(&interface.params),
            input_max_bytes: most(&[interface.input.ty]),
            answer_max_bytes: most(&interface.answer_types()),
            layers: Layers::of(&program.schedule),
            measured: Mutex::new(None),
            interface_digest: Digest::of(&bytes),
            interface: bytes.into(),
            name,
            server,
            context,
        })
    }

    /// The program.
    pub(super) fn program(&self) -> &Arc<Program> {
        self.server.program()
    }

    /// Number of ops.
    pub(super) fn ops(&self) -> usize {
        self.program().schedule.ops().len()
    }

    /// An evaluation has taken so long.
    pub(super) fn took(&self, seconds: f64) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        *measured = Some(measured.map_or(seconds, |before| before + NEWEST * (seconds - before)));
    }

    /// Seconds that an evaluation takes: as late ones took here, or as the plan predicts.
    pub(super) fn expected_seconds(&self) -> f64 {
        let measured = *self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.unwrap_or(self.program().plan.predicted_seconds)
    }

    /// The least that an evaluation is expected to take. Jobs are refused by this alone: a slow
    /// hour would else refuse all that could show that it is over.
    pub(super) fn least_seconds(&self) -> f64 {
        self.expected_seconds().min(self.program().plan.predicted_seconds)
    }
}

type Models = BTreeMap<String, Arc<Model>>;

/// All models, by name. Others may take their place while the service runs: who has a model keeps
/// it.
pub(super) struct Catalogue(RwLock<Arc<Models>>);

/// What is different after [`Catalogue::replace`].
pub(super) struct Replaced {
    /// Programs that were not served before.
    pub(super) new: BTreeSet<Digest>,
    /// Names whose program is gone, or another one.
    pub(super) gone: Vec<String>,
}

fn is_name(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(fits) && name.as_bytes()[0].is_ascii_alphanumeric()
}

impl Catalogue {
    /// Without a model.
    #[cfg(test)]
    pub(super) fn empty() -> Self {
        Catalogue(RwLock::default())
    }

    pub(super) fn new(programs: Vec<(String, Arc<Program>)>) -> Result<Self, ServiceError> {
        Ok(Catalogue(RwLock::new(Arc::new(models(programs, &Models::new())?))))
    }

    fn models(&self) -> Arc<Models> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Model>> {
        self.models().get(name).cloned()
    }

    /// A model of this program.
    pub(super) fn of_program(&self, program: &Digest) -> Option<Arc<Model>> {
        self.models().values().find(|model| model.program == *program).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Model>> {
        self.models().values().cloned().collect()
    }

    /// Serves these programs from now on. A model whose name and program stay is the same one, with
    /// the weights that it has encoded.
    ///
    /// # Errors
    /// As at the start; then all stays as it is.
    pub(super) fn replace(&self, programs: Vec<(String, Arc<Program>)>) -> Result<Replaced, ServiceError> {
        let before = self.models();
        let after = Arc::new(models(programs, &before)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&after);
        let programs = |models: &Models| models.values().map(|model| model.program).collect::<BTreeSet<_>>();
        let is_gone = |(name, model): &(&String, &Arc<Model>)| {
            after.get(*name).is_none_or(|now| now.program != model.program)
        };
        Ok(Replaced {
            new: &programs(&after) - &programs(&before),
            gone: before.iter().filter(is_gone).map(|(name, _)| name.clone()).collect(),
        })
    }
}

/// Makes programs ready, but for those that are in `known`.
fn models(programs: Vec<(String, Arc<Program>)>, known: &Models) -> Result<Models, ServiceError> {
    let mut models = Models::new();
    for (name, program) in programs {
        if !is_name(&name) {
            return Err(ServiceError::ModelName(name));
        }
        if models.contains_key(&name) {
            return Err(ServiceError::SameName(name));
        }
        let same = known.get(&name).filter(|model| model.program == program.interface.program.into());
        let model = match same {
            Some(model) => Arc::clone(model),
            None => Arc::new(Model::new(name.clone(), &program)?),
        };
        models.insert(name, model);
    }
    if models.is_empty() { Err(ServiceError::NoModel) } else { Ok(models) }
}
