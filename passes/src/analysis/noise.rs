//! Error of every value: standard deviation of the real part of a slot, in units of the message.
//!
//! The average-case analysis of the literature (Costache, Curtis, Hales, Murphy, Ogilvie, Player, ePrint 2020/1481;
//! Bossuat et al., ePrint 2022/024): errors of coefficients are independent, a polynomial with coefficients of
//! variance `v` has slots whose real parts have variance `N v / 2`, and variances add up. Sources are fresh
//! encryption, rounding of plaintexts, key switching, and rescaling; products carry their operands' errors on.
//!
//! How much a polynomial or a product carries on depends on the message: a composition for sign is steep near 0 and flat
//! elsewhere, and where it is steep the `x` it is multiplied with is small. So errors are followed at sample messages,
//! slot by slot, from each linear map (whose results spread anew) to the next.
//!
//! A bootstrap passes its sample messages through its sine, and adds the variance of [`fhec_ir::noise::bootstrap`], which the
//! simulator draws its errors from.

use std::collections::HashMap;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::func::{Func, StageOp};
use fhec_ir::linear_map::{LinearKind, LinearMap, PlainTensor};
use fhec_ir::noise::bootstrap::BootstrapNoise;
use fhec_ir::params::{ERROR_STDDEV, Params, Secret};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::polynomial_shape::{Node, PolynomialShape};
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::scale::Level;
use fhec_ir::tensor::ConstPool;

use super::circuit_shapes::CircuitShapes;
use super::linear_cost::counts;

/// Error and size of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueNoise {
    /// Standard deviation of the error of a slot.
    pub stddev: f64,
    /// Root mean square of the message's slots, as far as it can be told.
    pub magnitude: f64,
}

impl ValueNoise {
    /// Bits of the mean absolute error: `-log2`.
    pub fn mean_bits(&self) -> f64 {
        -(self.stddev * (2.0 / std::f64::consts::PI).sqrt()).log2()
    }

    /// Bits of the largest error that `slots` slots are likely to have.
    pub fn worst_bits(&self, slots: usize) -> f64 {
        -(self.stddev * (2.0 * (2.0 * slots as f64).ln()).sqrt()).log2()
    }
}

/// Root mean square of the results of linear maps and sums where weights and operands alone would suggest more. Stored values are at most 1 in size, the
/// margin of their ranges included, and bell-shaped: a quarter is two thirds of the way to the margin at 2.7 deviations. Messages
/// spread wider would sit at the ends of the polynomials' domains, where slopes are steep and no value of a network is.
const TYPICAL_MAGNITUDE: f64 = 0.25;
/// Sample messages per value.
const SAMPLES: usize = 256;

/// Sample messages of a value and the variance of the error at each. Sample `i` of a result belongs to sample `i` of
/// its operands.
#[derive(Clone, Debug)]
struct Sampled {
    messages: Vec<f64>,
    variances: Vec<f64>,
}

impl Sampled {
    /// Messages spread evenly around 0 with root mean square `magnitude`, all with one variance. `stride`, odd, says in
    /// which order, so that values of different origin do not move together.
    fn spread(magnitude: f64, stride: usize, variance: f64) -> Self {
        let end = 3f64.sqrt() * magnitude;
        let at = |i: usize| (2 * (i * stride % SAMPLES) + 1) as f64 / SAMPLES as f64 - 1.0;
        let messages = (0..SAMPLES).map(|i| end * at(i)).collect();
        Sampled { messages, variances: vec![variance; SAMPLES] }
    }

    fn map(&self, f: impl Fn(f64, f64) -> (f64, f64)) -> Self {
        let pairs = self.messages.iter().zip(&self.variances).map(|(&x, &v)| f(x, v));
        let (messages, variances) = pairs.unzip();
        Sampled { messages, variances }
    }

    fn zip(&self, other: &Self, f: impl Fn((f64, f64), (f64, f64)) -> (f64, f64)) -> Self {
        let left = self.messages.iter().copied().zip(self.variances.iter().copied());
        let right = other.messages.iter().copied().zip(other.variances.iter().copied());
        let (messages, variances) = left.zip(right).map(|(x, y)| f(x, y)).unzip();
        Sampled { messages, variances }
    }

    /// With messages made smaller where their root mean square is above [`TYPICAL_MAGNITUDE`].
    fn within_typical(self) -> Self {
        let factor = (TYPICAL_MAGNITUDE / self.noise().magnitude).min(1.0);
        self.map(|x, v| (factor * x, v))
    }

    /// After `polynomial`, which is evaluated without errors of its own.
    fn through(&self, polynomial: &Polynomial) -> Self {
        self.map(|x, v| {
            // Ranges see to it that no message is outside.
            let x = x.clamp(-1.0, 1.0);
            (polynomial.eval(x), slope(polynomial, x).powi(2) * v)
        })
    }

    /// After a bootstrap.
    fn refreshed(&self, noise: &BootstrapNoise) -> Self {
        let power = self.messages.iter().map(|x| x * x).sum::<f64>() / SAMPLES as f64;
        self.map(|x, v| {
            // As for polynomials.
            let x = x.clamp(-1.0, 1.0);
            let (message, variance) = noise.moments(x, power);
            (message, noise.slope(x).powi(2) * v + variance)
        })
    }

    /// The slot-wise product of different values.
    fn times(&self, other: &Self) -> Self {
        self.zip(other, |(x, v), (y, w)| (x * y, x * x * w + y * y * v))
    }

    /// With an error of standard deviation `stddev` more in every slot.
    fn plus(&self, stddev: f64) -> Self {
        self.map(|x, v| (x, v + stddev * stddev))
    }

    fn noise(&self) -> ValueNoise {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / SAMPLES as f64;
        ValueNoise {
            stddev: mean(&mut self.variances.iter().copied()).sqrt(),
            magnitude: mean(&mut self.messages.iter().map(|x| x * x)).sqrt(),
        }
    }
}

/// Errors of all values of `func`, by value; inputs are fresh public-key encryptions of magnitude 1.
pub fn noise(func: &Func<Ckks>, params: &Params, shapes: &mut CircuitShapes) -> Vec<ValueNoise> {
    let model = Model::new(params);
    // A program without its bootstraps, or with ones that do not fit, cannot be run: there is nothing to predict, and every
    // backend says what is wrong.
    let bootstraps = BootstrapParams::of_program(func).unwrap_or_default();
    let mut refreshes: HashMap<(usize, Level, Level), Option<BootstrapNoise>> = HashMap::new();
    let mut values = vec![Sampled::spread(0.0, 1, 0.0); func.value_count()];
    for &input in func.inputs() {
        let fresh = model.fresh(func.ty(input).level);
        values[input.index()] = Sampled::spread(1.0, 1, fresh * fresh);
    }
    for data in func.ops() {
        let operands = data.op.operands();
        let Some(&first) = operands.first() else { continue };
        let x = &values[first.index()];
        let y = operands.get(1).map_or(x, |second| &values[second.index()]);
        let level = func.ty(first).level;
        let result = func.ty(data.result);
        let value = match &data.op {
            Op::Add { .. } => x.zip(y, |(x, v), (y, w)| (x + y, v + w)).within_typical(),
            Op::Sub { .. } => x.zip(y, |(x, v), (y, w)| (x - y, v + w)).within_typical(),
            // A square carries one error twice, not two independent ones. Stored values are at most 1, except inputs, which are as
            // preprocessing makes them: squared again and again, messages beyond would leave all bounds.
            Op::Mul { .. } if operands[0] == operands[1] => {
                let end = if func.inputs().contains(&first) { f64::INFINITY } else { 1.0 };
                x.map(|x, v| {
                    let x = x.clamp(-end, end);
                    (x * x, 4.0 * x * x * v)
                })
            }
            Op::Mul { .. } => x.times(y),
            Op::AddPlain { plain, .. } => {
                let scale = params.scale(func.ty(first).scale).to_f64();
                let plain = Sampled::spread(rms(&func.consts, plain), 77, (model.rounding / scale).powi(2));
                x.zip(&plain, |(x, v), (y, w)| (x + y, v + w))
            }
            Op::AddScalar { offset, .. } => x.map(|x, v| (x + offset, v)),
            Op::MulPlain { plain, .. } => {
                let rounding = (model.rounding / model.scale(level)).powi(2);
                let plain = Sampled::spread(rms(&func.consts, plain), 77, rounding);
                x.times(&plain)
            }
            Op::MulScalar { factor, .. } => x.map(|x, v| (factor * x, factor * factor * v)),
            Op::LinearMap { map, baby_step, .. } => {
                let x = x.noise();
                let norm = row_norm(map, &func.consts);
                let rotations = shapes.rotations(map, &func.consts);
                let counts = counts(&rotations, map.input.period, *baby_step);
                let per_output = counts.diagonals as f64 / counts.outputs.max(1) as f64;
                let encoded = x.magnitude * per_output.sqrt() * model.rounding / model.scale(level);
                let switched = x.stddev.hypot(model.key_switch(level) / model.scale(level));
                let stddev = (norm * switched).hypot(encoded);
                Sampled::spread((norm * x.magnitude).min(TYPICAL_MAGNITUDE), 53, stddev * stddev)
            }
            Op::Polynomial { polynomial, .. } => {
                let gain = shapes.gain(polynomial);
                // Every product is relinearised and rescaled; scales are all but equal from level to level.
                let low = result.level;
                let product =
                    model.rescale(low, 2).hypot(model.key_switch(low + 1) / model.scale(low + 1).powi(2));
                x.through(polynomial).plus(gain * product)
            }
            Op::Rotate { .. } | Op::Conjugate { .. } | Op::Relinearize { .. } => {
                let scale = params.scale(func.ty(first).scale).to_f64();
                x.plus(model.key_switch(level) / scale)
            }
            Op::Rescale { .. } => x.plus(model.rescale(result.level, func.ty(first).size)),
            Op::LevelDrop { .. } => x.plus(model.rescale(result.level, 2)),
            Op::Bootstrap { .. } => {
                let slots = func.ty(first).slots;
                let refresh = refreshes.entry((slots, level, result.level)).or_insert_with(|| {
                    BootstrapNoise::of_slots(&bootstraps, params, slots, level, result.level).ok()
                });
                refresh.as_ref().map_or_else(|| x.clone(), |refresh| x.refreshed(refresh))
            }
        };
        values[data.result.index()] = value;
    }
    values.iter().map(Sampled::noise).collect()
}

/// Derivative at `x`, to the few digits that an error model needs.
fn slope(polynomial: &Polynomial, x: f64) -> f64 {
    const STEP: f64 = 1e-6;
    (polynomial.eval(x + STEP) - polynomial.eval(x - STEP)) / (2.0 * STEP)
}

/// Errors of the scheme's operations, as standard deviations of slots times the scale.
struct Model<'a> {
    params: &'a Params,
    /// `sqrt(N / 2)`: from coefficients to slots.
    embedding: f64,
    /// Squared norm of the secret.
    secret_norm: f64,
    /// Of a rounded polynomial.
    rounding: f64,
}

impl<'a> Model<'a> {
    fn new(params: &'a Params) -> Self {
        let n = params.ring_degree() as f64;
        let secret_norm = match params.secret() {
            Secret::UniformTernary => 2.0 * n / 3.0,
            Secret::SparseTernary { hamming_weight } => f64::from(hamming_weight),
        };
        let embedding = (n / 2.0).sqrt();
        Model { params, embedding, secret_norm, rounding: embedding / 12f64.sqrt() }
    }

    fn scale(&self, level: Level) -> f64 {
        self.params.canonical_scale(level).to_f64()
    }

    /// `v e + e_0 + e_1 s` with a ternary `v`, and the rounding of the message.
    fn fresh(&self, level: Level) -> f64 {
        let n = self.params.ring_degree() as f64;
        let variance = ERROR_STDDEV.powi(2) * (2.0 * n / 3.0 + 1.0 + self.secret_norm);
        (self.embedding * variance.sqrt()).hypot(self.rounding) / self.scale(level)
    }

    /// `r_0 + r_1 s (+ r_2 s^2)`, each rounded, over the scale of the level reached.
    fn rescale(&self, level: Level, size: u8) -> f64 {
        let powers: f64 = (0..size).map(|power| self.secret_norm.powi(i32::from(power))).sum();
        self.rounding * powers.sqrt() / self.scale(level)
    }

    /// Digits times the key's errors, over P, and the rounding of the division by P; not over any scale.
    fn key_switch(&self, level: Level) -> f64 {
        let n = self.params.ring_degree() as f64;
        let log_p: f64 = self.params.p().iter().map(|&p| (p as f64).log2()).sum();
        let primes = self.params.primes(level);
        let digit = |range: std::ops::Range<usize>| {
            let digit = primes.within(PrimeSet::range(range));
            if digit.is_empty() {
                return 0.0;
            }
            let log_digit = self.params.log_modulus(digit);
            n * ERROR_STDDEV.powi(2) / 12.0 * (2.0 * (log_digit - log_p)).exp2()
        };
        let products: f64 = self.params.digits(level).into_iter().map(digit).sum();
        self.embedding * (products + (1.0 + self.secret_norm) / 12.0).sqrt()
    }
}

/// Root mean square of a plaintext's elements.
fn rms(consts: &ConstPool, plain: &PlainTensor) -> f64 {
    let data = consts[plain.values].data();
    (data.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / data.len().max(1) as f64).sqrt()
}

/// Root mean square over rows of a row's Euclidean norm: what an error of independent slots is multiplied with on average.
/// The largest row would overstate errors by a factor per layer, which in deep networks leaves nothing. Where the map leaves
/// partial sums, each has its share of the row; the additions that join them make it whole again.
fn row_norm(map: &LinearMap, consts: &ConstPool) -> f64 {
    match &map.kind {
        LinearKind::Conv2d { weight, .. } | LinearKind::Dense { weight } => {
            let weight = &consts[*weight];
            let rows = weight.shape().first().copied().unwrap_or(1).max(1);
            let squares: f64 = weight.data().iter().map(|&w| f64::from(w).powi(2)).sum();
            (squares / (rows * map.fold) as f64).sqrt()
        }
        LinearKind::Place { .. } => 1.0,
    }
}

/// From an error in every product of a polynomial's evaluation to its result, root mean square over `[-1, 1]`: the scheme
/// is evaluated with and without small errors.
pub fn internal_gain(polynomial: &Polynomial, shape: &PolynomialShape) -> f64 {
    const POINTS: usize = 96;
    const TRIALS: usize = 4;
    const SIZE: f64 = 1e-7;
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut sum = 0.0;
    for i in 0..POINTS {
        let x = -1.0 + (2 * i + 1) as f64 / POINTS as f64;
        let exact = polynomial.eval(x);
        for _ in 0..TRIALS {
            let found = evaluate(shape, x, &mut || SIZE * gaussian(&mut state));
            sum += ((found - exact) / SIZE).powi(2) / TRIALS as f64;
        }
    }
    (sum / POINTS as f64).sqrt()
}

/// The scheme's value at `x` with an error added to every product.
fn evaluate(shape: &PolynomialShape, x: f64, error: &mut impl FnMut() -> f64) -> f64 {
    let mut basis = HashMap::from([(0, 1.0), (1, x)]);
    for element in &shape.basis {
        let value =
            2.0 * basis[&element.left] * basis[&element.right] - basis[&(element.left - element.right)];
        basis.insert(element.index, value + error());
    }
    node(&shape.root, &basis, error)
}

fn node(n: &Node, basis: &HashMap<usize, f64>, error: &mut impl FnMut() -> f64) -> f64 {
    let mut sum: f64 = n.terms.iter().map(|(k, c)| c * basis[k]).sum();
    for product in &n.products {
        let quotient = node(&product.quotient, basis, error);
        sum += quotient * basis[&product.giant];
    }
    sum + error()
}

/// Standard normal by Box and Muller from SplitMix64.
fn gaussian(state: &mut u64) -> f64 {
    let mut uniform = || {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let (a, b) = (uniform().max(f64::MIN_POSITIVE), uniform());
    (-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approximation::composite::relu;

    /// Where a composition for sign is steep, the `x` it is multiplied with is small: ReLU passes on about the error of
    /// its operand, not the product of all steepest slopes. Compared with drawn errors.
    #[test]
    fn errors_through_a_composite_relu_are_those_of_drawn_errors() {
        const STDDEV: f64 = 1e-7;
        let composite = relu(&[7, 15, 27], 2f64.powi(-14)).unwrap();
        let sign = composite.affine(0.5, 0.5).unwrap();
        let x = Sampled::spread(1.0 / 3f64.sqrt(), 1, STDDEV * STDDEV);
        let predicted = x.times(&sign.iter().fold(x.clone(), |s, p| s.through(p))).noise().stddev;

        let exact = |x: f64| x * sign.iter().fold(x, |s, p| p.eval(s));
        let mut state = 1;
        let count = 1 << 15;
        let squares = (0..count).map(|i| {
            let x = (2 * i + 1) as f64 / count as f64 - 1.0;
            // The product's operands have independent errors in the model; here they share one, as in a program.
            (exact(x + STDDEV * gaussian(&mut state)) - exact(x)).powi(2)
        });
        let measured = (squares.sum::<f64>() / count as f64).sqrt();
        assert!(
            (0.7..1.5).contains(&(predicted / measured)),
            "predicted {predicted:.2e}, measured {measured:.2e}"
        );
        assert!(measured < 2.0 * STDDEV);
    }
}
