//! Linear maps whose diagonals are constants: one pixel per ciphertext, or one channel and a tap of
//! one pixel. Nothing is rotated.
//!
//! `y_o = sum_i w_(o, i) x_i` with numbers `w`, which cost one product of residues each and no
//! transform. The general circuit ([`super::linear_transform`]) would decompose every operand.

use fhec_ir::linear_map::{CONSTANT_ROWS, LinearMap};
use fhec_ir::scale::Scale;
use fhec_ir::tensor::ConstPool;
use num_bigint::BigInt;
use rayon::prelude::*;

use crate::ckks::eval::combine::Combination;
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
        if !map.is_of_constants(consts) {
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
    /// `then`, a few at a time.
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
        let combination = |row: &Vec<(usize, f64)>| {
            let term = |&(input, constant): &(usize, f64)| {
                Ok((&inputs[input], self.scaled_integer(constant, &ratio)?))
            };
            let mut sources = row.iter().map(term).collect::<Result<Vec<_>, EvalError>>()?;
            if sources.is_empty() {
                sources.push((first, BigInt::ZERO));
            }
            Ok(Combination { sources, constant: BigInt::ZERO })
        };
        let mut results = Vec::with_capacity(map.rows.len());
        for rows in map.rows.chunks(CONSTANT_ROWS) {
            let combinations = rows.iter().map(combination).collect::<Result<Vec<_>, EvalError>>()?;
            let sums = self.combine_all(level, squared, &combinations)?;
            results.extend(sums.into_par_iter().map(&then).collect::<Result<Vec<_>, EvalError>>()?);
        }
        Ok(results)
    }
}
