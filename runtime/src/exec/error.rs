//! Why a program was not executed, or not to the end.

use fhec_ir::entity::Value;
use fhec_ir::scale::Level;
use fhec_ir::verify::VerifyErrors;
use thiserror::Error;

use crate::error::EvalError;
use crate::rlwe::{KeyId, KeyRequest};

/// See the [module](self). All but [`ExecError::Op`] and [`ExecError::Cancelled`] come before any work.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ExecError {
    /// The program does not verify.
    #[error(transparent)]
    Malformed(#[from] VerifyErrors),
    /// The backend was prepared for another program.
    #[error("the backend was prepared for program `{prepared}`, not for `{given}`")]
    OtherProgram {
        /// Name of the program it was prepared for.
        prepared: String,
        /// Name of the program to execute.
        given: String,
    },
    /// The program was scheduled for other parameters.
    #[error("op {op} (`{mnemonic}`): {reason}, with parameters {params}")]
    Params {
        /// Index of the op; the number of ops for an input.
        op: usize,
        /// Its name.
        mnemonic: &'static str,
        /// What does not fit.
        reason: String,
        /// Name of the parameter set.
        params: String,
    },
    /// An op the backend does not have.
    #[error("op {op} (`{mnemonic}`) is not supported on {backend}")]
    Unsupported {
        /// Index of the op.
        op: usize,
        /// Its name.
        mnemonic: &'static str,
        /// The backend.
        backend: &'static str,
    },
    /// Evaluation keys that the program needs and that are absent, or end below the level they are used at.
    #[error(
        "{} evaluation keys of key {key} are missing or too short, the first a {} for level {}; generate keys for this program",
        .missing.len(), .missing[0].kind, .missing[0].level
    )]
    MissingKeys {
        /// Name of the secret key.
        key: KeyId,
        /// What is missing, never empty.
        missing: Vec<KeyRequest>,
    },
    /// A wrong number of inputs.
    #[error("the program has {expected} inputs, {found} were given")]
    InputCount {
        /// Inputs of the program.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input of the wrong type.
    #[error("input {input} needs {expected}: {found}")]
    Input {
        /// The input.
        input: Value,
        /// Its type.
        expected: String,
        /// What is wrong with the value.
        found: String,
    },
    /// An op failed.
    #[error("op {op} (`{mnemonic}`) failed")]
    Op {
        /// Index of the op.
        op: usize,
        /// Its name.
        mnemonic: &'static str,
        /// Why.
        source: EvalError,
    },
    /// The observer asked to stop.
    #[error("cancelled before op {op}")]
    Cancelled {
        /// Index of the next op.
        op: usize,
    },
}

/// A level that a program uses and parameters do not have.
pub(super) fn level_reason(level: Level, top: Level) -> String {
    format!("level {level} is above the top level {top}")
}
