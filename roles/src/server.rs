//! The server: runs the program with public keys alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::entity::Value;
use fhec_ir::program::Program;
use fhec_runtime::exec::{self, Control, Observer, Prepared, ProgramKeys, Witness};
use fhec_runtime::ring::Context;
use fhec_runtime::rlwe::Ciphertext;

use super::RoleError;
use super::client::check_bundle;

/// Bytes that encoded diagonals may keep between images where the program does not name fewer:
/// enough for any network without bootstraps.
const CACHE_BYTES: usize = u32::MAX as usize;

/// A program made ready for any number of clients: nothing of it depends on a key.
#[derive(Clone, Debug)]
pub struct Server {
    program: Arc<Program>,
    prepared: Arc<Prepared>,
}

impl Server {
    /// Encodes the matrices of the program's bootstraps; weights are encoded with the first
    /// session. `context` is that of the program ([`super::context`]).
    pub fn new(program: &Arc<Program>, context: &Arc<Context>) -> Result<Self, RoleError> {
        let prepared = Arc::new(Prepared::new(context, program.schedule.clone(), CACHE_BYTES)?);
        Ok(Server { program: Arc::clone(program), prepared })
    }

    /// A session with the keys of one client. The first one encodes weights, so that images need
    /// not wait for it.
    ///
    /// # Errors
    /// If the keys are not those that the program needs: before weights are encoded, so that nobody
    /// waits for it.
    pub fn session(&self, keys: impl Into<Arc<ProgramKeys>>) -> Result<Session, RoleError> {
        let session = exec::Session::new(&self.prepared, keys)?;
        self.prepared.preload()?;
        Ok(Session { program: Arc::clone(&self.program), session })
    }

    /// Errs unless `image` is an encrypted image of this program: number, level, scale, size and
    /// slots are compared.
    pub fn check_image(&self, image: &[Ciphertext]) -> Result<(), RoleError> {
        check_bundle("an encrypted image", image, &self.program.interface.input.ty)
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Bytes of encoded weights kept, and of the matrices of bootstraps.
    pub fn encoded_bytes(&self) -> usize {
        self.prepared.encoded_bytes()
    }
}

/// A program with the keys of one client.
#[derive(Clone, Debug)]
pub struct Session {
    program: Arc<Program>,
    session: exec::Session,
}

impl Session {
    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The client's keys.
    pub fn keys(&self) -> &Arc<ProgramKeys> {
        self.session.keys()
    }

    /// Runs the program on an encrypted image. The answer holds the ciphertexts of all outputs, one
    /// after the other.
    pub fn evaluate(&self, image: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, RoleError> {
        self.evaluate_from(image, BTreeMap::new(), &Control::default(), &mut (), &mut ())
    }

    /// Runs the program on an encrypted image, or what is left of it where results of ops are
    /// `known`, as long as `control` lets it. `observer` is told of every op that is run, `witness`
    /// is shown ciphertexts as they come.
    pub fn evaluate_from(
        &self,
        image: Vec<Ciphertext>,
        known: BTreeMap<Value, Vec<Ciphertext>>,
        control: &Control,
        observer: &mut dyn Observer,
        witness: &mut dyn Witness<Vec<Ciphertext>>,
    ) -> Result<Vec<Ciphertext>, RoleError> {
        check_bundle("an encrypted image", &image, &self.program.interface.input.ty)?;
        let outputs = self.session.execute_from(vec![image], known, control, observer, witness)?;
        Ok(outputs.into_iter().flatten().collect())
    }
}

/// Told the number of ops done, after each.
pub struct Progress<F>(pub F);

impl<F: FnMut(usize)> Observer for Progress<F> {
    fn op_finished(&mut self, index: usize, _seconds: f64) {
        (self.0)(index + 1);
    }
}
