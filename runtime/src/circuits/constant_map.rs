//! Linear maps whose diagonals are constants: one pixel per ciphertext, nothing is rotated.
//!
//! `y_o = sum_i w_(o, i) x_i` with numbers `w`, which cost one product of residues each and no
//! transform. The general circuit ([`super::linear_transform`]) would decompose every operand.

use fhec_ir::linear_map::LinearMap;
use fhec_ir::scale::Scale;
use fhec_ir::tensor::ConstPool;
use num_bigint::BigInt;
use rayon::prelude::*;

use crate::ckks::{Evaluator, PlaintextScale};
use crate::error::EvalError;
use crate::rlwe::Ciphertext;

/// A map from vectors to sums of vectors times constants.
#[derive(Clone, Debug)]
pub struct ConstantMap {
    /// Per output vector: `(input vector, constant)`.
    rows: Vec<Vec<(usize, f64)>>,
}

impl ConstantMap {
    /// `map`, if all its diagonals are constants.
    pub fn of(map: &LinearMap, consts: &ConstPool) -> Option<Self> {
        if !map.is_slotwise() {
            return None;
        }
        let mut rows = vec![Vec::new(); map.output.vectors()];
        for ((output, input), diagonals) in map.diagonals(consts) {
            rows[output].extend(diagonals.values().map(|diagonal| (input, diagonal[0])));
        }
        Some(ConstantMap { rows })
    }
}

impl Evaluator<'_> {
    /// The map on a bundle of canonical ciphertexts of one level; every result is put through
    /// `then`, before the next is made on its thread.
    ///
    /// *Level*: kept. *Scale*: `D_l` to `D_l^2`. *Size*: 2. *Cost*: a product of residues per
    /// constant and limb.
    pub fn constant_map(
        &self,
        inputs: &[Ciphertext],
        map: &ConstantMap,
        then: impl Fn(Ciphertext) -> Result<Ciphertext, EvalError> + Sync,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let Some(first) = inputs.first() else { return Ok(Vec::new()) };
        for x in inputs {
            self.check_linear_operand(first, x)?;
        }
        let (level, squared) = (first.level(), Scale::squared(first.level()));
        let ratio = PlaintextScale::Ratio { from: Scale::canonical(level), to: squared };
        let ratio = ratio.exact(self.context().params());
        let sum = |row: &Vec<(usize, f64)>| {
            let term = |&(input, constant): &(usize, f64)| {
                Ok((&inputs[input], self.scaled_integer(constant, &ratio)?))
            };
            let mut terms = row.iter().map(term).collect::<Result<Vec<_>, EvalError>>()?;
            if terms.is_empty() {
                terms.push((first, BigInt::ZERO));
            }
            then(self.combine(level, squared, &terms, &BigInt::ZERO)?)
        };
        map.rows.par_iter().map(sum).collect()
    }
}
