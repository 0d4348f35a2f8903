//! Operations on ciphertexts, one file per family.
//!
//! Levels, scales, sizes and keys are checked before data is touched; an operation that fails has
//! changed nothing.
//!
//! | module | operations |
//! |---|---|
//! | [`add`] | sums and differences of ciphertexts, plaintexts, constants |
//! | [`combine`] | linear combinations with integer coefficients |
//! | [`mul`] | products, relinearisation |
//! | [`rescale`] | rescale, level changes |
//! | [`rotate`] | rotations and conjugation, one at a time or hoisted |
//! | [`diagonal_sums`] | sums of rotations times many plaintexts kept as integers |
//! | [`lazy`] | sums of rotated products with one division in the end |

pub mod add;
pub mod combine;
pub mod diagonal_sums;
pub mod lazy;
pub mod mul;
pub mod rescale;
pub mod rotate;

use fhec_ir::scale::{Level, Scale};

use crate::error::EvalError;
use crate::ring::Context;
use crate::rlwe::{Ciphertext, EvaluationKeys, KeyId};

pub use rotate::Hoisted;

/// Evaluates on ciphertexts of one secret key with its evaluation keys.
///
/// A view of two things that somebody else owns, made where an operation starts and gone when it
/// ends. It is copied freely, which with two counted owners would cost atomic operations on every
/// thread. What lives longer is [`crate::exec::Session`].
#[derive(Clone, Copy, Debug)]
pub struct Evaluator<'a> {
    context: &'a Context,
    keys: &'a EvaluationKeys,
}

impl<'a> Evaluator<'a> {
    /// Evaluates with `keys`.
    pub fn new(context: &'a Context, keys: &'a EvaluationKeys) -> Self {
        Evaluator { context, keys }
    }

    /// The context.
    pub fn context(&self) -> &'a Context {
        self.context
    }

    /// The evaluation keys.
    pub fn keys(&self) -> &'a EvaluationKeys {
        self.keys
    }
}

fn check_keys(op: &'static str, left: KeyId, right: KeyId) -> Result<(), EvalError> {
    if left == right { Ok(()) } else { Err(EvalError::KeyMismatch { op, left, right }) }
}

fn check_levels(op: &'static str, left: Level, right: Level) -> Result<(), EvalError> {
    if left == right { Ok(()) } else { Err(EvalError::LevelMismatch { op, left, right }) }
}

fn check_scale(op: &'static str, expected: Scale, found: Scale) -> Result<(), EvalError> {
    if expected == found { Ok(()) } else { Err(EvalError::ScaleMismatch { op, expected, found }) }
}

fn check_size(op: &'static str, expected: usize, ciphertext: &Ciphertext) -> Result<(), EvalError> {
    let found = ciphertext.size();
    if expected == found { Ok(()) } else { Err(EvalError::SizeMismatch { op, expected, found }) }
}

#[cfg(test)]
mod tests;
