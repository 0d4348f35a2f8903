//! The models that are served.

use std::collections::BTreeMap;
use std::sync::Arc;

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
}

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
}

/// All models, by name.
pub(super) struct Catalogue(BTreeMap<String, Arc<Model>>);

fn is_name(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(fits) && name.as_bytes()[0].is_ascii_alphanumeric()
}

impl Catalogue {
    /// Without a model.
    #[cfg(test)]
    pub(super) fn empty() -> Self {
        Catalogue(BTreeMap::new())
    }

    pub(super) fn new(programs: Vec<(String, Arc<Program>)>) -> Result<Self, ServiceError> {
        let mut models = BTreeMap::new();
        for (name, program) in programs {
            if !is_name(&name) {
                return Err(ServiceError::ModelName(name));
            }
            if models.contains_key(&name) {
                return Err(ServiceError::SameName(name));
            }
            models.insert(name.clone(), Arc::new(Model::new(name, &program)?));
        }
        if models.is_empty() { Err(ServiceError::NoModel) } else { Ok(Catalogue(models)) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Model>> {
        self.0.get(name)
    }

    /// A model of this program.
    pub(super) fn of_program(&self, program: &Digest) -> Option<&Arc<Model>> {
        self.0.values().find(|model| model.program == *program)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.0.values()
    }
}
