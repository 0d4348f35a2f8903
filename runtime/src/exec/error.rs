//! Why a program was not executed, or not to the end.

use std::time::Duration;

use fhec_ir::entity::Value;
use fhec_ir::scale::Level;
use fhec_ir::verify::VerifyErrors;
use thiserror::Error;

use crate::error::{EvalError, Stop};
use crate::rlwe::{KeyId, KeyRequest};

/// See the [module](self). All but [`ExecError::Op`], [`ExecError::Cancelled`] and
/// [`ExecError::DeadlineExceeded`] come before any work.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ExecError {
    /// The program does not verify.
    #[error(transparent)]
    Malformed(#[from] VerifyErrors),
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
    /// Evaluation keys that the program needs and that are absent, or end below the level they are
    /// used at.
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
    /// The run was cancelled.
    #[error("cancelled at op {op}")]
    Cancelled {
        /// Index of the first op without a result.
        op: usize,
    },
    /// The run's deadline has passed.
    #[error("the deadline had passed by {overdue:.1?} at op {op}")]
    DeadlineExceeded {
        /// Index of the first op without a result.
        op: usize,
        /// By how much the deadline had passed when it was looked at.
        overdue: Duration,
    },
}

impl ExecError {
    /// The error of a run that was stopped when op `op` had no result yet.
    pub(super) fn stopped(stop: Stop, op: usize) -> Self {
        match stop {
            Stop::Cancelled => ExecError::Cancelled { op },
            Stop::Deadline { overdue } => ExecError::DeadlineExceeded { op, overdue },
        }
    }
}

/// A level that a program uses and parameters do not have.
pub(super) fn level_reason(level: Level, top: Level) -> String {
    format!("level {level} is above the top level {top}")
}
