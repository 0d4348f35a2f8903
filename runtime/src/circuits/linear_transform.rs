//! Linear maps between packed tensors, by baby and giant steps.
//!
//! `y_o = sum_g rot_g( sum_(v, b) rot_-g(diagonal_(o, v, g + b)) * rot_b(x_v) )`, after Halevi and
//! Shoup (CRYPTO 2018, section 4):
//!
//! 1. one `x_v` after the other is decomposed, so that one decomposition and its baby rotations are
//!    there at a time;
//! 2. per output and giant step, the products of baby rotations and diagonals are added up
//!    ([`Evaluator::add_products`]);
//! 3. the sums are rotated by their giant steps, and added up with the divisions by `P` postponed;
//! 4. per output, of a regular map, the mask;
//! 5. per output, one last division.
//!
//! Baby rotations are divided by `P` each, or not at all (double hoisting, Bossuat et al., ePrint
//! 2020/1203, section 4), by the counts of the map: [`Hoisting`].
//!
//! *Cost*: one decomposition per input; per baby step an inner product with its key; per giant step
//! a key switch. Steps and counts are those of [`LinearShape`].
//!
//! Diagonals come from the map's description. They are kept as integers ([`CompactPlaintext`]),
//! either once ([`EncodedMap`]) or made every time, as many at a time as the working memory allows.

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::circuit_shape::LinearShape;
use fhec_ir::diagonal::{self, Hoisting, MapCounts};
use fhec_ir::linear_map::LinearMap;
use fhec_ir::scale::{Level, Scale};
use fhec_ir::tensor::ConstPool;
use rayon::prelude::*;

use crate::ckks::eval::diagonal_sums::CompactTerms;
use crate::ckks::{CompactPlaintext, Encoding, Evaluator, FactorEncoder, Form, PlaintextScale};
use crate::error::EvalError;
use crate::rlwe::{Ciphertext, ExtendedCiphertext};

/// Terms of one giant step of one output: `(input vector, baby step)` and the diagonal, already
/// rotated back by the giant step.
#[derive(Clone, Debug)]
struct Row {
    output: usize,
    giant: usize,
    terms: Vec<((usize, usize), Vec<f64>)>,
}

/// A linear map as the circuit works it off: one block, which is done again on the next vectors
/// ([`LinearMap::blocks`]).
#[derive(Clone, Debug)]
pub struct DiagonalRows {
    rows: Vec<Row>,
    blocks: usize,
    /// Of one block.
    inputs: usize,
    /// Of one block.
    outputs: usize,
    period: usize,
    /// What the sums are multiplied by, of a regular map.
    mask: Option<Vec<f64>>,
}

impl DiagonalRows {
    /// The non-zero diagonals of `map` with the given baby step.
    pub fn new(map: &LinearMap, consts: &ConstPool, baby_step: usize) -> Self {
        let blocks = map.blocks(consts);
        let (inputs, outputs) = (map.input.vectors() / blocks, map.output.vectors() / blocks);
        let mut rows: BTreeMap<(usize, usize), Vec<((usize, usize), Vec<f64>)>> = BTreeMap::new();
        for ((output, input), diagonals) in map.diagonals(consts) {
            if output >= outputs {
                continue;
            }
            for (rotation, mut diagonal) in diagonals {
                let baby = rotation % baby_step;
                let giant = rotation - baby;
                let length = diagonal.len();
                diagonal.rotate_right(giant % length);
                rows.entry((output, giant)).or_default().push(((input, baby), diagonal));
            }
        }
        let rows = rows.into_iter().map(|((output, giant), terms)| Row { output, giant, terms }).collect();
        let (period, mask) = (map.diagonal_period(consts), map.mask(consts));
        DiagonalRows { rows, blocks, inputs, outputs, period, mask }
    }

    /// Number of diagonals of a block.
    pub fn diagonals(&self) -> usize {
        self.rows.iter().map(|row| row.terms.len()).sum()
    }

    /// The same without the numbers: what is needed beside an [`EncodedMap`].
    pub fn without_values(mut self) -> Self {
        for (_, diagonal) in self.rows.iter_mut().flat_map(|row| &mut row.terms) {
            *diagonal = Vec::new();
        }
        self
    }

    /// Bytes of all diagonals, encoded at `level`.
    pub fn encoded_bytes(&self, encoder: &FactorEncoder, level: Level) -> usize {
        let params = encoder.encoder().context().params();
        self.diagonals() * diagonal::bytes(params, level, self.period, self.mask.is_some())
    }

    /// What decides how its baby rotations are kept.
    fn counts(&self) -> MapCounts {
        let terms = self.rows.iter().flat_map(|row| row.terms.iter().map(|(term, _)| *term));
        let babies: BTreeSet<(usize, usize)> = terms.filter(|(_, baby)| *baby != 0).collect();
        let giants = self.rows.iter().filter(|row| row.giant != 0).count();
        MapCounts { babies: babies.len(), giants, diagonals: self.diagonals(), period: self.period }
    }

    /// The shape it has; that of the map, without diagonals that cancelled to zero.
    pub fn shape(&self, baby_step: usize) -> LinearShape {
        let mut rotations: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for block in 0..self.blocks {
            for row in &self.rows {
                for &((input, baby), _) in &row.terms {
                    let pair = (block * self.outputs + row.output, block * self.inputs + input);
                    rotations.entry(pair).or_default().push(row.giant + baby);
                }
            }
        }
        rotations.values_mut().for_each(|list| list.sort_unstable());
        LinearShape::new(&rotations, baby_step)
    }

    /// Encodes every diagonal for operands at `level`.
    pub fn encode(&self, encoder: &FactorEncoder, level: Level) -> Result<EncodedMap, EvalError> {
        let rows: Result<Vec<Vec<CompactPlaintext>>, EvalError> =
            self.rows.iter().map(|row| self.encode_row(row, encoder, level)).collect();
        Ok(EncodedMap { rows: rows?, level })
    }

    fn encode_row(
        &self,
        row: &Row,
        encoder: &FactorEncoder,
        level: Level,
    ) -> Result<Vec<CompactPlaintext>, EvalError> {
        let params = encoder.encoder().context().params();
        let (from, to) = (Scale::canonical(level), Scale::squared(level));
        let scale = match self.mask {
            None => PlaintextScale::Ratio { from, to },
            Some(_) => PlaintextScale::BeforeMask { from, to, log2_mask: diagonal::log2_mask(params, level) },
        };
        let word_bytes = diagonal::word_bytes(params, level, self.mask.is_some());
        let encode = |diagonal: &[f64]| encoder.encode_compact(diagonal, level, scale, word_bytes);
        row.terms.par_iter().map(|(_, diagonal)| encode(diagonal)).collect()
    }
}

/// All diagonals of a map, encoded for one level.
#[derive(Clone, Debug)]
pub struct EncodedMap {
    rows: Vec<Vec<CompactPlaintext>>,
    level: Level,
}

impl EncodedMap {
    /// Bytes of integers.
    pub fn bytes(&self) -> usize {
        self.rows.iter().flatten().map(CompactPlaintext::bytes).sum()
    }

    /// The level it was encoded for.
    pub fn level(&self) -> Level {
        self.level
    }
}

impl Evaluator<'_> {
    /// The map on a bundle of canonical ciphertexts of one level. Diagonals are taken from
    /// `encoded`, or encoded on the way.
    ///
    /// *Level*: kept. *Scale*: `D_l` to `D_l^2`. *Size*: 2.
    ///
    /// # Panics
    /// If the bundle does not have as many ciphertexts as the map has input vectors, or `encoded`
    /// is of another map.
    pub fn linear_map(
        &self,
        inputs: &[Ciphertext],
        rows: &DiagonalRows,
        encoded: Option<&EncodedMap>,
        encoder: &FactorEncoder,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let sums = self.linear_map_extended(inputs, rows, encoded, encoder)?;
        Ok(sums.iter().map(|sum| self.divide_special(sum)).collect())
    }

    /// [`Self::linear_map`] before the last divisions by `P`, which may be one with a rescaling
    /// ([`Evaluator::divide_special_rescale`]).
    pub fn linear_map_extended(
        &self,
        inputs: &[Ciphertext],
        rows: &DiagonalRows,
        encoded: Option<&EncodedMap>,
        encoder: &FactorEncoder,
    ) -> Result<Vec<ExtendedCiphertext>, EvalError> {
        self.linear_map_within(inputs, rows, encoded, encoder, diagonal::WORKING_BYTES)
    }

    /// [`Self::linear_map_extended`] with another bound of the working memory. The result does not
    /// depend on it.
    pub fn linear_map_within(
        &self,
        inputs: &[Ciphertext],
        rows: &DiagonalRows,
        encoded: Option<&EncodedMap>,
        encoder: &FactorEncoder,
        working_bytes: usize,
    ) -> Result<Vec<ExtendedCiphertext>, EvalError> {
        assert_eq!(inputs.len(), rows.blocks * rows.inputs, "one ciphertext per input vector");
        assert!(encoded.is_none_or(|e| e.rows.len() == rows.rows.len()), "diagonals of another map");
        let first = &inputs[0];
        for x in inputs {
            self.check_linear_operand(first, x)?;
        }
        let mut results = Vec::with_capacity(rows.blocks * rows.outputs);
        for block in inputs.chunks_exact(rows.inputs) {
            results.extend(self.linear_block(block, rows, encoded, encoder, working_bytes)?);
        }
        Ok(results)
    }

    fn linear_block(
        &self,
        inputs: &[Ciphertext],
        rows: &DiagonalRows,
        encoded: Option<&EncodedMap>,
        encoder: &FactorEncoder,
        working_bytes: usize,
    ) -> Result<Vec<ExtendedCiphertext>, EvalError> {
        let first = &inputs[0];
        let (context, level) = (self.context(), first.level());
        let zero = || {
            let scale = Scale::squared(level);
            ExtendedCiphertext::zero(context, level, scale, first.slots(), first.key())
        };
        let hoisting = Hoisting::cheaper(context.params(), level, rows.counts());
        let basis = match hoisting {
            Hoisting::Single => context.basis(level),
            Hoisting::Double => context.extended_basis(level),
        };
        let sum_bytes = 2 * 8 * context.ring_degree() * basis.limbs();
        let masked = rows.mask.is_some();
        let diagonal_bytes = diagonal::bytes(context.params(), level, rows.period, masked);
        let row_bytes =
            |row: &Row| sum_bytes + if encoded.is_some() { 0 } else { row.terms.len() * diagonal_bytes };
        let mut results: Vec<Option<ExtendedCiphertext>> = vec![None; rows.outputs];
        let mut start = 0;
        while start < rows.rows.len() {
            let (mut end, mut bytes) = (start, 0);
            while end < rows.rows.len()
                && (end == start || bytes + row_bytes(&rows.rows[end]) <= working_bytes)
            {
                bytes += row_bytes(&rows.rows[end]);
                end += 1;
            }
            let part = &rows.rows[start..end];
            let made: Vec<Vec<CompactPlaintext>>;
            let factors = match encoded {
                Some(encoded) => &encoded.rows[start..end],
                None => {
                    made = part
                        .iter()
                        .map(|row| rows.encode_row(row, encoder, level))
                        .collect::<Result<_, _>>()?;
                    &made
                }
            };
            match hoisting {
                Hoisting::Single => self.add_chain_rows(&mut results, inputs, part, factors, zero)?,
                Hoisting::Double => self.add_extended_rows(&mut results, inputs, part, factors, zero)?,
            }
            start = end;
        }
        let mut results: Vec<_> = results.into_iter().map(|result| result.unwrap_or_else(zero)).collect();
        if let Some(mask) = &rows.mask {
            let scale = PlaintextScale::PowerOfTwo(diagonal::log2_mask(context.params(), level));
            let encoding = Encoding { level, scale, special: true, form: Form::Residues };
            let mask = encoder.encoder().encode(mask, encoding)?;
            results.iter_mut().try_for_each(|result| self.mask_extended_assign(result, &mask))?;
        }
        Ok(results)
    }

    /// Adds the rotated sums of `rows` to the results of their outputs; baby rotations are divided
    /// by `P`.
    fn add_chain_rows(
        &self,
        results: &mut [Option<ExtendedCiphertext>],
        inputs: &[Ciphertext],
        rows: &[Row],
        factors: &[Vec<CompactPlaintext>],
        zero: impl Fn() -> ExtendedCiphertext,
    ) -> Result<(), EvalError> {
        let mut sums: Option<Vec<Ciphertext>> = None;
        for (vector, x) in inputs.iter().enumerate() {
            let Some((steps, terms)) = terms_of(vector, rows, factors) else { continue };
            self.add_products(&mut sums, &self.hoist(x)?, &steps, &terms)?;
        }
        let sums = sums.unwrap_or_default();
        for (output, result) in results.iter_mut().enumerate() {
            let of_output = rows.iter().zip(&sums).filter(|(row, _)| row.output == output);
            let parts: Vec<(&Ciphertext, i64)> =
                of_output.map(|(row, sum)| (sum, row.giant as i64)).collect();
            if !parts.is_empty() {
                self.add_rotations_assign(result.get_or_insert_with(&zero), &parts)?;
            }
        }
        Ok(())
    }

    /// [`Self::add_chain_rows`] without divisions of baby rotations.
    fn add_extended_rows(
        &self,
        results: &mut [Option<ExtendedCiphertext>],
        inputs: &[Ciphertext],
        rows: &[Row],
        factors: &[Vec<CompactPlaintext>],
        zero: impl Fn() -> ExtendedCiphertext,
    ) -> Result<(), EvalError> {
        let mut sums: Option<Vec<ExtendedCiphertext>> = None;
        for (vector, x) in inputs.iter().enumerate() {
            let Some((steps, terms)) = terms_of(vector, rows, factors) else { continue };
            self.add_products_extended(&mut sums, &self.hoist(x)?, &steps, &terms)?;
        }
        for (row, sum) in rows.iter().zip(sums.unwrap_or_default()) {
            match (&mut results[row.output], row.giant) {
                (empty @ None, 0) => *empty = Some(sum),
                (result, giant) => {
                    self.add_rotated_assign(result.get_or_insert_with(&zero), &sum, giant as i64)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_linear_operand(&self, first: &Ciphertext, x: &Ciphertext) -> Result<(), EvalError> {
        let op = "linear_map";
        if first.level() != x.level() {
            return Err(EvalError::LevelMismatch { op, left: first.level(), right: x.level() });
        }
        if x.level() == 0 {
            return Err(EvalError::LevelTooLow { op, needed: 1, found: 0 });
        }
        let expected = Scale::canonical(x.level());
        if x.scale() != expected {
            return Err(EvalError::ScaleMismatch { op, expected, found: x.scale() });
        }
        Ok(())
    }
}

/// Baby steps of input `vector` in `rows`, and the terms of every row by position among them; none
/// if there are none.
fn terms_of<'f>(
    vector: usize,
    rows: &[Row],
    factors: &'f [Vec<CompactPlaintext>],
) -> Option<(Vec<i64>, Vec<CompactTerms<'f>>)> {
    let mine = |row: &Row| {
        let terms = row.terms.iter().enumerate();
        terms.filter(|(_, ((input, _), _))| *input == vector).map(|(i, &((_, baby), _))| (i, baby)).collect()
    };
    let terms: Vec<Vec<(usize, usize)>> = rows.iter().map(mine).collect();
    let babies: BTreeSet<usize> = terms.iter().flatten().map(|&(_, baby)| baby).collect();
    let babies: Vec<usize> = babies.into_iter().collect();
    if babies.is_empty() {
        return None;
    }
    let position = |baby: usize| babies.partition_point(|&b| b < baby);
    let by_position = |(row, factors): (&Vec<(usize, usize)>, &'f Vec<CompactPlaintext>)| {
        row.iter().map(|&(index, baby)| (position(baby), &factors[index])).collect()
    };
    let terms = terms.iter().zip(factors).map(by_position).collect();
    Some((babies.iter().map(|&baby| baby as i64).collect(), terms))
}
