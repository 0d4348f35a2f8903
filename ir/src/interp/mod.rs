//! Cleartext interpreters, one per stage: the meaning of a program and the oracle every pass is
//! tested against.

pub mod nn;
mod slots;

use thiserror::Error;

use crate::entity::Value;

pub use slots::{Bundle, eval_ckks, eval_packed, refresh, run_ckks, run_packed};

/// Why a program cannot be run on the given inputs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum InterpError {
    #[error("the program has {expected} inputs, {found} were given")]
    InputCount { expected: usize, found: usize },
    #[error("input {input} needs shape {expected:?}, found {found:?}")]
    InputShape { input: Value, expected: Vec<usize>, found: Vec<usize> },
    #[error("a value of shape {shape:?} is too large to run")]
    TooLarge { shape: Vec<usize> },
    #[error("the program is malformed: {0}")]
    Malformed(String),
}
