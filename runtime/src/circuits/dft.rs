//! The discrete Fourier transform between slots and coefficients, as a few sparse matrices.
//!
//! The embedding of [`SpecialFft`] without its bit reversal is a product of levels of butterflies;
//! a [`DftMatrix`] is a run of them. Forwards (slots to coefficients), the slots `z` become those
//! of the polynomial whose coefficients are `z` in bit-reversed order; the inverse undoes that, so
//! the reversal never has to be done.
//!
//! A matrix is evaluated by baby and giant steps with double hoisting. Giant steps are folded by
//! Horner's rule: every one is the same rotation, of the sum so far, so a matrix needs one giant
//! key however many steps there are, at the same number of key switches.
//!
//! Diagonals of a matrix below the top level of butterflies have the period of its largest block,
//! and are encoded at that size: only the matrix with the top level has diagonals of full length.

use std::collections::BTreeMap;

use fhec_ir::bootstrap::DftMatrix;
use fhec_ir::scale::Level;
use rayon::prelude::*;

use crate::ckks::special_fft::SpecialFft;
use crate::ckks::{Complex, Evaluator, Factor, FactorEncoder, PlaintextScale};
use crate::error::EvalError;
use crate::rlwe::Ciphertext;

fn mul(a: Complex, b: Complex) -> Complex {
    Complex::new(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)
}

/// The diagonals of `matrix` times `factor`, in the order of [`DftMatrix::rotation`]: slot `i` of
/// the product with `x` is `sum_d diagonal_d[i] x[i + rotation(d)]`. Each has the length of its
/// period ([`DftMatrix::period`]).
pub fn diagonals(matrix: &DftMatrix, factor: f64) -> Vec<Vec<Complex>> {
    let period = 1usize << matrix.high;
    let wraps = matrix.high == matrix.log_slots;
    let wrap = |offset: i64| if wraps { offset.rem_euclid(period as i64) } else { offset };
    let fft = SpecialFft::new(period);
    let mut product: BTreeMap<i64, Vec<Complex>> =
        BTreeMap::from([(0, vec![Complex::new(factor, 0.0); period])]);
    let levels: Vec<u32> = match matrix.inverse {
        false => (matrix.low..matrix.high).collect(),
        true => (matrix.low..matrix.high).rev().collect(),
    };
    for level in levels {
        let half = 1usize << level;
        let mut next: BTreeMap<i64, Vec<Complex>> = BTreeMap::new();
        for i in 0..period {
            let (j, lower) = (i % half, i % (2 * half) < half);
            let (re, im) = fft.twiddle(level, j);
            let one = Complex::new(1.0, 0.0);
            // Row i of the butterflies: the weight of x[i], and that of its partner.
            let (own, other) = match (matrix.inverse, lower) {
                (false, true) => (one, Complex::new(re, im)),
                (false, false) => (Complex::new(-re, -im), one),
                (true, true) => (one, one),
                (true, false) => (Complex::new(-re, im), Complex::new(re, -im)),
            };
            let partner = if lower { half as i64 } else { -(half as i64) };
            for (step, weight) in [(0, own), (partner, other)] {
                let row = (i as i64 + step).rem_euclid(period as i64) as usize;
                for (&offset, diagonal) in &product {
                    let entry = diagonal[row];
                    if entry.re == 0.0 && entry.im == 0.0 {
                        continue;
                    }
                    let target = wrap(offset + step);
                    let diagonal = next.entry(target).or_insert_with(|| vec![Complex::default(); period]);
                    let term = mul(weight, entry);
                    diagonal[i].re += term.re;
                    diagonal[i].im += term.im;
                }
            }
        }
        product = next;
    }
    let slots = 1usize << matrix.log_slots;
    let mut by_rotation: BTreeMap<usize, Vec<Complex>> =
        product.into_iter().map(|(offset, d)| (offset.rem_euclid(slots as i64) as usize, d)).collect();
    let zero = || vec![Complex::default(); period];
    let diagonal = |(index, length): (usize, usize)| {
        let rotation = matrix.rotation(index);
        let mut diagonal = by_rotation.remove(&rotation).unwrap_or_else(zero).repeat(length / period);
        if let Some(mask) = matrix.mask {
            let rows = diagonal.iter_mut().enumerate();
            let dropped = rows.filter(|(row, _)| !mask.keeps((row + rotation) % slots));
            dropped.for_each(|(_, entry)| *entry = Complex::default());
        }
        if matrix.halves_first && length == slots { halved(diagonal, rotation) } else { diagonal }
    };
    matrix.periods().enumerate().map(diagonal).collect()
}

/// The diagonal with its entry for slot 0 of the operand, the one in row `-rotation`, halved.
fn halved(mut diagonal: Vec<Complex>, rotation: usize) -> Vec<Complex> {
    let row = (diagonal.len() - rotation) % diagonal.len();
    let Complex { re, im } = diagonal[row];
    diagonal[row] = Complex::new(re / 2.0, im / 2.0);
    diagonal
}

/// A matrix with its diagonals encoded for one level.
#[derive(Clone, Debug)]
pub struct EncodedDft {
    matrix: DftMatrix,
    level: Level,
    /// `[giant step][baby step]`, each diagonal rotated back by its giant step.
    rows: Vec<Vec<Factor>>,
}

impl EncodedDft {
    /// Encodes the diagonals of `matrix` times `factor` for operands at `level`, at `scale`, on all
    /// threads.
    pub fn new(
        matrix: DftMatrix,
        factor: f64,
        level: Level,
        scale: PlaintextScale,
        encoder: &FactorEncoder,
    ) -> Result<Self, EvalError> {
        if level == 0 {
            return Err(EvalError::LevelTooLow { op: "encode transform", needed: 1, found: 0 });
        }
        let babies = matrix.baby_rotations().len();
        let mut factors: Vec<Factor> = diagonals(&matrix, factor)
            .into_par_iter()
            .enumerate()
            .map(|(index, mut diagonal)| {
                let giant = index / babies * matrix.giant_rotation();
                let length = diagonal.len();
                diagonal.rotate_right(giant % length);
                encoder.encode_complex(&diagonal, level, scale)
            })
            .collect::<Result<_, _>>()?;
        let mut rows = Vec::new();
        while !factors.is_empty() {
            let rest = factors.split_off(babies.min(factors.len()));
            rows.push(factors);
            factors = rest;
        }
        Ok(EncodedDft { matrix, level, rows })
    }

    /// All diagonals of a matrix without giant steps, each with its rotation.
    pub(crate) fn terms(&self) -> Vec<(usize, &Factor)> {
        debug_assert_eq!(self.rows.len(), 1, "diagonals of giant steps are rotated back");
        self.matrix.baby_rotations().into_iter().zip(self.rows.iter().flatten()).collect()
    }

    /// The matrix.
    pub fn matrix(&self) -> &DftMatrix {
        &self.matrix
    }

    /// The level of its operands.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Bytes of the diagonals.
    pub fn bytes(&self) -> usize {
        self.rows.iter().flatten().map(Factor::bytes).sum()
    }
}

impl Evaluator<'_> {
    /// The product of the matrix with the slots of `a`, rescaled. *Level*: that of the matrix, one
    /// less. *Scale*: canonical, in and out.
    ///
    /// *Cost*: one decomposition, an inner product per baby step, a key switch per giant step but
    /// one, one division.
    pub fn dft(&self, a: &Ciphertext, matrix: &EncodedDft) -> Result<Ciphertext, EvalError> {
        let op = "discrete Fourier transform";
        if a.level() != matrix.level {
            return Err(EvalError::LevelMismatch { op, left: a.level(), right: matrix.level });
        }
        if a.slots() != 1 << matrix.matrix.log_slots {
            return Err(EvalError::SlotCount { found: a.slots(), max: 1 << matrix.matrix.log_slots });
        }
        let steps: Vec<i64> = matrix.matrix.baby_rotations().iter().map(|&r| r as i64).collect();
        let terms: Vec<Vec<(usize, &Factor)>> =
            matrix.rows.iter().map(|row| row.iter().enumerate().collect()).collect();
        let mut sums = self.rotate_and_sum_products(&self.hoist(a)?, &steps, &terms)?;
        let giant = matrix.matrix.giant_rotation() as i64;
        let mut folded = sums.pop().expect("a matrix has a diagonal");
        while let Some(mut sum) = sums.pop() {
            self.add_rotated_assign(&mut sum, &folded, giant)?;
            folded = sum;
        }
        self.divide_special_rescale(&folded)
    }
}

#[cfg(test)]
mod tests {
    use fhec_ir::bootstrap::{BootstrapParams, DftStep};
    use fhec_ir::slot_mask::SlotMask;

    use super::*;
    use crate::testing::random_slots;

    fn apply(matrix: &DftMatrix, x: &[Complex], factor: f64) -> Vec<Complex> {
        let diagonals = diagonals(matrix, factor);
        (0..x.len())
            .map(|i| {
                let mut sum = Complex::default();
                for (index, diagonal) in diagonals.iter().enumerate() {
                    let other = x[(i + matrix.rotation(index)) % x.len()];
                    let term = mul(diagonal[i % diagonal.len()], other);
                    sum = Complex::new(sum.re + term.re, sum.im + term.im);
                }
                sum
            })
            .collect()
    }

    fn bit_reversed(x: &[Complex]) -> Vec<Complex> {
        let bits = x.len().trailing_zeros();
        (0..x.len()).map(|i| x[i.reverse_bits() >> (usize::BITS - bits)]).collect()
    }

    /// Every cut of the transform into matrices gives the embedding, and the inverse matrices undo
    /// it.
    #[test]
    fn products_of_matrices_are_the_embedding() {
        let log_slots = 8u32;
        let x = random_slots(1 << log_slots, 1);
        let (mut re, mut im): (Vec<f64>, Vec<f64>) = bit_reversed(&x).iter().map(|z| (z.re, z.im)).unzip();
        SpecialFft::new(1 << log_slots).forward(&mut re, &mut im);
        for cut in [vec![8], vec![3, 5], vec![4, 4], vec![2, 3, 3], vec![1; 8]] {
            let (mut y, mut low) = (x.clone(), 0);
            for &butterflies in &cut {
                let high = low + butterflies;
                let matrix = DftMatrix {
                    log_slots,
                    low,
                    high,
                    inverse: false,
                    baby_steps: 2,
                    halves_first: false,
                    mask: None,
                };
                y = apply(&matrix, &y, 1.0);
                low = high;
            }
            for i in 0..x.len() {
                assert!((y[i].re - re[i]).abs() < 1e-12 && (y[i].im - im[i]).abs() < 1e-12, "{cut:?}");
            }
            let mut high = log_slots;
            for &butterflies in cut.iter().rev() {
                let low = high - butterflies;
                let matrix = DftMatrix {
                    log_slots,
                    low,
                    high,
                    inverse: true,
                    baby_steps: 2,
                    halves_first: false,
                    mask: None,
                };
                y = apply(&matrix, &y, 0.5f64.powi(butterflies as i32));
                high = low;
            }
            for i in 0..x.len() {
                assert!((y[i].re - x[i].re).abs() < 1e-13 && (y[i].im - x[i].im).abs() < 1e-13);
            }
        }
    }

    /// Matrices with a mask are the others after a product with ones and zeros, and have the
    /// periods that they say.
    #[test]
    fn masking_matrices_are_products_with_masks() {
        let slots = 1usize << 9;
        let x = random_slots(slots, 3);
        for steps in [vec![9], vec![3, 6], vec![4, 5], vec![3, 3, 3]] {
            let step = |&butterflies: &u32| DftStep { butterflies, baby_steps: 2 };
            let bootstrap = BootstrapParams {
                slots_to_coeffs: steps.iter().map(step).collect(),
                ..crate::testing::bootstrap::bootstrap(9, false, true)
            };
            for (area, plane) in [
                ([14, 28], [16, 32]),
                ([16, 27], [16, 32]),
                ([12, 32], [16, 32]),
                ([3, 3], [4, 4]),
                ([5, 16], [8, 32]),
                ([16, 32], [16, 32]),
            ] {
                let mask = SlotMask { area, plane };
                let mut kept = x.clone();
                let dropped = kept.iter_mut().enumerate().filter(|(slot, _)| !mask.keeps(*slot));
                dropped.for_each(|(_, z)| *z = Complex::default());
                let through = |mask: Option<SlotMask>, x: &[Complex]| {
                    bootstrap.masking_matrices(mask).iter().fold(x.to_vec(), |x, (matrix, _)| {
                        let lengths: Vec<usize> = diagonals(matrix, 1.0).iter().map(Vec::len).collect();
                        assert_eq!(lengths, matrix.periods().collect::<Vec<_>>());
                        apply(matrix, &x, 1.0)
                    })
                };
                let (found, expected) = (through(Some(mask), &x), through(None, &kept));
                for (a, b) in found.iter().zip(&expected) {
                    assert!((a.re - b.re).abs() < 1e-12 && (a.im - b.im).abs() < 1e-12, "{mask:?} {steps:?}");
                }
            }
        }
    }

    /// A first matrix that takes slot 0 half does nothing else: its product with `x` is that of the
    /// plain one with `x_0` halved.
    #[test]
    fn slot_zero_counts_half() {
        let log_slots = 6u32;
        let x = random_slots(1 << log_slots, 2);
        let mut half = x.clone();
        half[0] = Complex::new(x[0].re / 2.0, x[0].im / 2.0);
        for high in 1..=log_slots {
            let plain = DftMatrix {
                log_slots,
                low: 0,
                high,
                inverse: false,
                baby_steps: 2,
                halves_first: false,
                mask: None,
            };
            let halving = DftMatrix { halves_first: true, ..plain };
            let lengths: Vec<usize> = diagonals(&halving, 1.0).iter().map(Vec::len).collect();
            assert_eq!(lengths, halving.periods().collect::<Vec<_>>());
            let (found, expected) = (apply(&halving, &x, 0.75), apply(&plain, &half, 0.75));
            for (a, b) in found.iter().zip(&expected) {
                assert!((a.re - b.re).abs() < 1e-13 && (a.im - b.im).abs() < 1e-13, "{high}");
            }
        }
    }
}
