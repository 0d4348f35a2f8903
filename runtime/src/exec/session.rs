//! One client's keys on a prepared program.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::entity::Value;

use super::backend::Backend;
use super::ckks::Encrypted;
use super::control::Control;
use super::error::ExecError;
use super::keys::ProgramKeys;
use super::observer::Observer;
use super::prepared::Prepared;
use super::witness::Witness;
use crate::rlwe::Ciphertext;

/// A prepared program with the keys of one client, checked against each other. Many sessions share
/// one [`Prepared`], and may run at the same time; a clone is the same session.
#[derive(Clone, Debug)]
pub struct Session {
    backend: Encrypted,
}

impl Session {
    /// A session with `keys`.
    ///
    /// # Errors
    /// If keys are missing or end below the level they are used at, or the program does not fit its
    /// parameters.
    pub fn new(prepared: &Arc<Prepared>, keys: impl Into<Arc<ProgramKeys>>) -> Result<Self, ExecError> {
        let backend = Encrypted::new(prepared, keys);
        backend.check_program()?;
        Ok(Session { backend })
    }

    /// What it shares with other sessions.
    pub fn prepared(&self) -> &Arc<Prepared> {
        self.backend.prepared()
    }

    /// The client's keys.
    pub fn keys(&self) -> &Arc<ProgramKeys> {
        self.backend.keys()
    }

    /// Runs the program on `inputs`, one bundle of ciphertexts each, and returns its outputs.
    ///
    /// # Errors
    /// See [`ExecError`].
    pub fn execute(
        &self,
        inputs: Vec<Vec<Ciphertext>>,
        control: &Control,
    ) -> Result<Vec<Vec<Ciphertext>>, ExecError> {
        self.execute_from(inputs, BTreeMap::new(), control, &mut (), &mut ())
    }

    /// [`Self::execute`] with results of ops that are `known`, somebody told of every op, and
    /// somebody shown values: [`super::execute_from`].
    ///
    /// # Errors
    /// See [`ExecError`].
    pub fn execute_from(
        &self,
        inputs: Vec<Vec<Ciphertext>>,
        known: BTreeMap<Value, Vec<Ciphertext>>,
        control: &Control,
        observer: &mut dyn Observer,
        witness: &mut dyn Witness<Vec<Ciphertext>>,
    ) -> Result<Vec<Vec<Ciphertext>>, ExecError> {
        super::execute_from(&self.backend, inputs, known, control, observer, witness)
    }
}
