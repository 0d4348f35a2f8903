//! Softmax under encryption, as arXiv 2106.07229 evaluates it: what it is made of and for which
//! operands.
//!
//! - `exp(z)` is `p(z / 16)^16`, `p` the least-squares polynomial of degree 12 for `exp` on [-1,
//!   1], and four squarings. Operands reach [`OPERAND_BOUND`] at least; a wider range makes the
//!   polynomial's argument wider, up to [`MAX_OPERAND_BOUND`].
//! - the sum of the exponentials, times [`SUM_SCALE`] and then in (0, 2), is inverted by the
//!   iteration of Cheon, Kim, Kim, Lee, Lee (ePrint 2019/417, algorithm 1): `a = 2 - y`, `b = 1 -
//!   y`, then `b = b^2`, `a = a + a b`, [`ITERATIONS`] times. Its relative error is `(1 -
//!   y)^(2^(ITERATIONS + 1))`; the sum of `n` exponentials is at least `n exp(mean z)`, which for
//!   ten classes and operands of mean 0 makes `y` at least 10^-3 and the error at most 3 10^-4, the
//!   same for all classes.
//!
//! That is made for logits of any network. In the middle of a network whose operands were measured,
//! a [`Scheme`] follows from their range: `exp(z - c)`, so that no sum leaves (0, 1], and as many
//! rounds as the smallest sum needs.
//!
//! The paper divides its logits by 64 before the polynomial and squares four times: a softmax of
//! the logits over [`TEMPERATURE`], which [`append_softmax`] adds to a network, so that the plain
//! network is the same function.

use std::f64::consts::{E, PI};

use fhec_ir::entity::Value;
use fhec_ir::fact::Fact;
use fhec_ir::func::{Func, OpData, Stage, StageOp};
use fhec_ir::nn::{Nn, Op};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::record_attr;
use fhec_ir::tensor::Tensor;

use super::calibrate::Range;
use crate::analysis::number_maps::number_map;
use crate::approximation::ApproximationError;
use crate::approximation::chebyshev::interpolant;

/// Degree of the polynomial for the exponential.
pub const EXP_DEGREE: usize = 12;
/// Squarings after it.
pub const SQUARINGS: u32 = 4;
/// What the sum of exponentials is multiplied by before it is inverted.
pub const SUM_SCALE: f64 = 1e-4;
/// Rounds of the iteration for the inverse.
pub const ITERATIONS: usize = 12;
/// Largest inverse of the scaled sum that is expected.
pub const INVERSE_BOUND: f64 = 1024.0;
/// Size of operands that the exponential is made for at least.
pub const OPERAND_BOUND: f64 = 16.0;
/// Size of operands beyond which a polynomial of this degree is no exponential.
pub const MAX_OPERAND_BOUND: f64 = 64.0;
/// What logits are divided by in the softmax that is added to a network.
pub const TEMPERATURE: f64 = 4.0;

/// What a softmax under encryption is made of, beside its polynomial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scheme {
    /// What is subtracted from the operand.
    pub shift: f64,
    /// The largest exponential, shifted.
    pub largest_exponential: f64,
    /// What the sum of exponentials is multiplied by: then it is in (0, 2).
    pub sum_scale: f64,
    /// Rounds of the iteration for the inverse.
    pub rounds: usize,
    /// Largest inverse of the scaled sum that is expected.
    pub inverse_bound: f64,
}

impl Scheme {
    /// That of arXiv 2106.07229.
    pub const PUBLISHED: Scheme = Scheme {
        shift: 0.0,
        largest_exponential: 2.0 / SUM_SCALE,
        sum_scale: SUM_SCALE,
        rounds: ITERATIONS,
        inverse_bound: INVERSE_BOUND,
    };

    /// That of `classes` operands within `range`, whose mean is not below 0, or where most of the
    /// range is below, not below its middle.
    pub fn of_range(range: Range, classes: usize) -> Scheme {
        // All of them as large as any: a sum of 1. Up to 2, beyond the range, it is still inverted.
        let shift = range.max + (classes as f64).ln();
        let mean = range.min.max(((range.min + range.max) / 2.0).min(0.0));
        let smallest_sum = classes as f64 * (mean - shift).exp();
        // Then the error of the inverse, `(1 - y)^(2^(rounds + 1))`, is below 2^-10.
        let rounds = ((7.0 / smallest_sum).log2().ceil() - 1.0).clamp(FEWEST_ROUNDS, MOST_ROUNDS);
        Scheme {
            shift,
            largest_exponential: (range.max - shift).exp(),
            sum_scale: 1.0,
            rounds: rounds as usize,
            inverse_bound: (2.0 / smallest_sum).min((rounds + 1.0).exp2()),
        }
    }
}

/// Rounds of the iteration for the inverse where the range of operands says how many it takes.
const FEWEST_ROUNDS: f64 = 2.0;
/// Sums so small that they need more are inverted to less than they should be.
const MOST_ROUNDS: f64 = 16.0;

/// Names of the values that a softmax under encryption begins, goes through and ends with: `meta
/// softmax` of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxNames {
    /// Its operand.
    pub logits: String,
    /// The exponentials.
    pub exponentials: String,
    /// Its result.
    pub probabilities: String,
    /// What its operand is stored divided by.
    pub operand_factor: f64,
}

record_attr!(SoftmaxNames { logits, exponentials, probabilities, operand_factor });

impl SoftmaxNames {
    const FACT: Fact<Option<SoftmaxNames>> = Fact::new("softmax");

    /// Those of a program of any stage; the last, if there are several.
    pub fn of<S: Stage>(func: &Func<S>) -> Option<Self> {
        func.fact(Self::FACT).ok().flatten()
    }

    /// The values of `func` whose error says how precise it is: its outputs; where they are a
    /// softmax, its operand, for how much an error of that matters depends on the image alone, and
    /// never more than by half.
    pub fn judged_values<S: Stage>(func: &Func<S>) -> Vec<Value> {
        let named = |names: SoftmaxNames| {
            let is_operand = |data: &&OpData<S>| func.value_name(data.result) == Some(names.logits.as_str());
            func.ops().iter().rev().find(is_operand).map(|data| vec![data.result])
        };
        SoftmaxNames::of(func).and_then(named).unwrap_or_else(|| func.outputs().to_vec())
    }

    /// By value of `func`: whether it is computed from the softmax's operand.
    pub fn values_after<S: Stage>(&self, func: &Func<S>) -> Vec<bool> {
        let mut after = vec![false; func.value_count()];
        for data in func.ops() {
            let from = |operand: &Value| {
                after[operand.index()] || func.value_name(*operand) == Some(self.logits.as_str())
            };
            after[data.result.index()] = data.op.operands().iter().any(from);
        }
        after
    }

    /// Keeps them with a program; later stages take them over.
    pub fn set_in<S: Stage>(&self, func: &mut Func<S>) {
        func.set_fact(Self::FACT, &Some(self.clone()));
    }
}

/// The least-squares polynomial for `t -> exp(domain t / 2^SQUARINGS)` on [-1, 1], all points of
/// equal weight.
pub fn exponential(domain: f64) -> Result<Polynomial, ApproximationError> {
    let exponent = domain / f64::from(1 << SQUARINGS);
    // Coefficients over Legendre polynomials, which are orthogonal for this weight.
    let moments = legendre_moments(|t| E.powf(exponent * t), EXP_DEGREE);
    interpolant(
        |t| legendre(EXP_DEGREE, t).iter().zip(&moments).map(|(p, c)| p * c).sum(),
        [-1.0, 1.0],
        EXP_DEGREE,
    )
}

/// `P_0(t)` to `P_degree(t)`.
fn legendre(degree: usize, t: f64) -> Vec<f64> {
    let mut values = vec![1.0, t];
    for k in 1..degree {
        let k_real = k as f64;
        values.push(((2.0 * k_real + 1.0) * t * values[k] - k_real * values[k - 1]) / (k_real + 1.0));
    }
    values.truncate(degree + 1);
    values
}

/// `(2k + 1) / 2` times the integral of `f P_k` over [-1, 1], by Gauss' rule, which is exact for
/// polynomials up to degree `2 NODES - 1`.
fn legendre_moments(f: impl Fn(f64) -> f64, degree: usize) -> Vec<f64> {
    const NODES: usize = 40;
    const NEWTON_STEPS: usize = 8;
    let mut sums = vec![0.0; degree + 1];
    for i in 0..NODES {
        let slope = |t: f64, p: &[f64]| NODES as f64 * (t * p[NODES] - p[NODES - 1]) / (t * t - 1.0);
        let mut t = (PI * (i as f64 + 0.75) / (NODES as f64 + 0.5)).cos();
        for _ in 0..NEWTON_STEPS {
            let p = legendre(NODES, t);
            t -= p[NODES] / slope(t, &p);
        }
        let weight = 2.0 / ((1.0 - t * t) * slope(t, &legendre(NODES, t)).powi(2));
        for (sum, p) in sums.iter_mut().zip(legendre(degree, t)) {
            *sum += weight * f(t) * p;
        }
    }
    sums.iter().enumerate().map(|(k, sum)| sum * (2.0 * k as f64 + 1.0) / 2.0).collect()
}

/// A softmax of the only output over [`TEMPERATURE`] at the end of a network, in place of one that
/// is there, whatever becomes of its numbers. Returns the names of the old output and of what the
/// softmax is taken of.
///
/// # Errors
/// If the network has several outputs, or one that is no list of classes.
pub fn append_softmax(func: &mut Func<Nn>) -> Result<(String, String), String> {
    let &[mut logits] = func.outputs() else {
        return Err("a softmax needs a network with one output".into());
    };
    let mut numbers = logits;
    while let Some((x, _)) = number_map(func, numbers) {
        numbers = x;
    }
    let definition = func.ops().iter().find(|data| data.result == numbers).map(|data| data.op.clone());
    if let Some(op @ Op::Softmax { .. }) = definition {
        logits = op.operands()[0];
    }
    let shape = func.ty(logits).shape.clone();
    if !is_row(&shape) {
        return Err(format!("a softmax is taken of a list of classes [1, F], the output is {shape:?}"));
    }
    let known = func.value_name(logits).map_or_else(|| logits.to_string(), str::to_string);
    let scaled = format!("{known}/over_temperature");
    let value = func.add_const(Tensor::scalar((1.0 / TEMPERATURE) as f32));
    let y = func.push(Op::Constant { value })?;
    let x = func.push_named(Op::Mul { x: logits, y }, Some(&scaled))?;
    let probabilities = func.push_named(Op::Softmax { x, axis: 1 }, Some("probabilities"))?;
    func.set_outputs(vec![probabilities]);
    Ok((known, scaled))
}

/// Whether a tensor of this shape is one row, as dense layers leave it.
pub fn is_row(shape: &[usize]) -> bool {
    matches!(shape, [1, classes] if *classes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The iteration, as the circuit does it, on lists of the range: exact to 2^-9 where their mean
    /// is what was assumed, and no sum leaves (0, 2), so nothing grows without bound.
    #[test]
    fn schemes_of_ranges_invert_every_sum() {
        let ranges =
            [(-1.0, 3.5), (-8.0, 8.0), (2.0, 5.0), (-12.0, 1.0), (-0.1, 0.1), (-3.0, -1.0), (0.0, 14.0)];
        for (min, max) in ranges {
            for classes in [2, 3, 10, 100] {
                let scheme = Scheme::of_range(Range::new(min, max), classes);
                assert!((2.0..=16.0).contains(&(scheme.rounds as f64)));
                for one in 0..=4 {
                    // One is the largest, or between; the others are equal.
                    let first = min + (max - min) * f64::from(one) / 4.0;
                    for other in [min, (min + max) / 2.0, max] {
                        let z: Vec<f64> = (0..classes).map(|i| if i == 0 { first } else { other }).collect();
                        let e: Vec<f64> = z.iter().map(|z| (z - scheme.shift).exp()).collect();
                        assert!(e.iter().all(|&e| e <= scheme.largest_exponential * (1.0 + 1e-12)));
                        let y = scheme.sum_scale * e.iter().sum::<f64>();
                        assert!(y > 0.0 && y <= 1.0 + 1e-12, "{y}");
                        let (mut a, mut b) = (2.0 - y, 1.0 - y);
                        for _ in 0..scheme.rounds {
                            b *= b;
                            a += a * b;
                        }
                        assert!(
                            a <= scheme.inverse_bound * 1.01 || y < 2.0 / scheme.inverse_bound,
                            "{a} {scheme:?}"
                        );
                        let mean = z.iter().sum::<f64>() / classes as f64;
                        if mean >= min.max(((min + max) / 2.0).min(0.0)) && scheme.rounds < 16 {
                            assert!(
                                (a * y - 1.0).abs() < 2f64.powi(-9),
                                "[{min}, {max}] {classes} {z:?}: {}",
                                a * y
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_polynomial_is_the_least_squares_one() {
        let p = exponential(OPERAND_BOUND).unwrap();
        assert_eq!((p.degree(), p.depth()), (EXP_DEGREE, 4));
        // The residue is orthogonal to every polynomial of the degree.
        for degree in 0..=EXP_DEGREE {
            let residue = legendre_moments(|t| t.exp() - p.eval(t), degree)[degree];
            assert!(residue.abs() < 1e-13, "{degree}: {residue}");
        }
        for i in 0..=200 {
            let t = f64::from(i) / 100.0 - 1.0;
            assert!((p.eval(t) - t.exp()).abs() < 1e-12, "{t}");
        }
        let wide = exponential(MAX_OPERAND_BOUND).unwrap();
        assert!((wide.eval(1.0) / 4f64.exp() - 1.0).abs() < 1e-4);
    }
}
