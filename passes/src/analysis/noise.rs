//! Error of every value: standard deviation of the real part of a slot, in units of the message.
//!
//! What each operation adds is [`fhec_ir::noise`], which the simulator draws its errors from. Here
//! variances add up from op to op, as if errors were independent (Costache, Curtis, Hales, Murphy,
//! Ogilvie, Player, ePrint 2020/1481), and products carry their operands' errors on.
//!
//! How much a polynomial or a product carries on depends on the message: a composition for sign is
//! steep near 0 and flat elsewhere, and where it is steep the `x` it is multiplied with is small.
//! So errors are followed at sample messages, slot by slot, from each linear map (whose results
//! spread anew) to the next.
//!
//! A polynomial and a bootstrap pass sample messages on, and add the variances of
//! [`fhec_ir::noise::polynomial`] and [`fhec_ir::noise::bootstrap`] at them.

use std::collections::HashMap;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::diagonal::{self, Hoisting, MapCounts};
use fhec_ir::entity::Const;
use fhec_ir::fact::INPUT_FACTORS;
use fhec_ir::func::{Func, StageOp};
use fhec_ir::linear_map::{LinearKind, LinearMap, PlainTensor};
use fhec_ir::noise::bootstrap::BootstrapNoise;
use fhec_ir::noise::polynomial::{PolynomialAt, PolynomialNoise};
use fhec_ir::noise::{EncryptionKind, NoiseModel};
use fhec_ir::params::Params;
use fhec_ir::scale::{Level, Scale};
use fhec_ir::slot_mask::SlotMask;
use fhec_ir::tensor::ConstPool;

use super::circuit_shapes::CircuitShapes;

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

/// Root mean square of the results of linear maps and sums where weights and operands alone would
/// suggest more. Stored values are at most 1 in size, the margin of their ranges included, and
/// bell-shaped: a quarter is two thirds of the way to the margin at 2.7 deviations. Messages spread
/// wider would sit at the ends of the polynomials' domains, where slopes are steep and no value of
/// a network is.
const TYPICAL_MAGNITUDE: f64 = 0.25;
/// Root mean square of inputs that are stored divided by their largest magnitude: pictures that are
/// normalised to a deviation of 1 reach 2.75 or so.
const INPUT_MAGNITUDE: f64 = 1.0 / 2.75;
/// Sample messages per value.
const SAMPLES: usize = 256;

/// Sample messages of a value and the variance of the error at each. Sample `i` of a result belongs
/// to sample `i` of its operands.
#[derive(Clone, Debug)]
struct Sampled {
    messages: Vec<f64>,
    variances: Vec<f64>,
}

impl Sampled {
    /// Messages spread evenly around 0 with root mean square `magnitude`, all with one variance.
    /// `stride`, odd, says in which order, so that values of different origin do not move together.
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

    /// After the polynomial that `at` tells of.
    fn through(&self, at: impl Fn(f64) -> PolynomialAt) -> Self {
        self.map(|x, v| {
            // Ranges see to it that no message is outside.
            let at = at(x.clamp(-1.0, 1.0));
            (at.value, at.slope.powi(2) * v + at.variance)
        })
    }

    /// After a bootstrap, whose sine is undone by those who read the result, or not: then what it
    /// bends messages by is an error.
    fn refreshed(&self, noise: &BootstrapNoise, undone: bool) -> Self {
        let power = self.messages.iter().map(|x| x * x).sum::<f64>() / SAMPLES as f64;
        self.map(|x, v| {
            // As for polynomials.
            let x = x.clamp(-1.0, 1.0);
            let (mean, variance) = noise.moments(x, power);
            let (message, bias) = if undone { (mean, 0.0) } else { (x, mean - x) };
            (message, noise.slope(x).powi(2) * v + variance + bias * bias)
        })
    }

    /// The slot-wise product of different values.
    fn times(&self, other: &Self) -> Self {
        self.zip(other, |(x, v), (y, w)| (x * y, x * x * w + y * y * v))
    }

    /// With an error of variance `variance` more in every slot.
    fn plus(&self, variance: f64) -> Self {
        self.map(|x, v| (x, v + variance))
    }

    fn noise(&self) -> ValueNoise {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / SAMPLES as f64;
        ValueNoise {
            stddev: mean(&mut self.variances.iter().copied()).sqrt(),
            magnitude: mean(&mut self.messages.iter().map(|x| x * x)).sqrt(),
        }
    }
}

/// Errors of all values of `func`, by value; inputs are fresh encryptions of this `kind`, of
/// magnitude 1, or of the typical one where the program says what they are divided by.
pub fn noise(
    func: &Func<Ckks>,
    params: &Params,
    kind: EncryptionKind,
    shapes: &mut CircuitShapes,
) -> Vec<ValueNoise> {
    // A program without its bootstraps, or with ones that do not fit, cannot be run: there is
    // nothing to predict, and every backend says what is wrong.
    let bootstraps = BootstrapParams::of_program(func).unwrap_or_default();
    let mut refreshes: HashMap<(Refreshed, Level, Level), Option<BootstrapNoise>> = HashMap::new();
    let mut values = vec![Sampled::spread(0.0, 1, 0.0); func.value_count()];
    let magnitude = if func.has_fact(INPUT_FACTORS) { INPUT_MAGNITUDE } else { 1.0 };
    for &input in func.inputs() {
        let ty = func.ty(input);
        let model = NoiseModel::new(params, ty.slots);
        let scale = model.scale(ty.scale);
        let fresh = model.encoding(scale) + model.encryption(kind, scale);
        values[input.index()] = Sampled::spread(magnitude, 1, fresh);
    }
    for data in func.ops() {
        let operands = data.op.operands();
        let Some(&first) = operands.first() else { continue };
        let x = &values[first.index()];
        let y = operands.get(1).map_or(x, |second| &values[second.index()]);
        let (operand, result) = (func.ty(first), func.ty(data.result));
        let model = NoiseModel::new(params, operand.slots);
        let level = operand.level;
        let value = match &data.op {
            Op::Add { .. } => x.zip(y, |(x, v), (y, w)| (x + y, v + w)).within_typical(),
            Op::Sub { .. } => x.zip(y, |(x, v), (y, w)| (x - y, v + w)).within_typical(),
            // A square carries one error twice, not two independent ones. Stored values are at most
            // 1, except inputs, which are as preprocessing makes them: squared again and again,
            // messages beyond would leave all bounds.
            Op::Mul { .. } if operands[0] == operands[1] => {
                let end = if func.inputs().contains(&first) { f64::INFINITY } else { 1.0 };
                x.map(|x, v| {
                    let x = x.clamp(-end, end);
                    (x * x, 4.0 * x * x * v)
                })
            }
            Op::Mul { .. } => x.times(y),
            Op::AddPlain { plain, .. } => {
                let rounding = model.encoding(model.scale(operand.scale));
                let plain = Sampled::spread(rms(&func.consts, plain), 77, rounding);
                x.zip(&plain, |(x, v), (y, w)| (x + y, v + w))
            }
            Op::AddScalar { offset, .. } => x.map(|x, v| (x + offset, v)),
            Op::MulPlain { plain, .. } => {
                let rounding = model.encoding(factor_scale(&model, level));
                let plain = Sampled::spread(rms(&func.consts, plain), 77, rounding);
                x.times(&plain)
            }
            Op::MulScalar { factor, .. } => x.map(|x, v| (factor * x, factor * factor * v)),
            Op::LinearMap { map, baby_step, .. } => {
                let counts = shapes.counts_at(map, &func.consts, *baby_step);
                let counts = MapCounts {
                    babies: counts.babies,
                    giants: counts.giants,
                    diagonals: counts.diagonals,
                    period: map.diagonal_period(&func.consts),
                };
                let norm = row_norm(map, &func.consts);
                let masked = map.is_masked(&func.consts);
                mapped(&model, level, x.noise(), norm, counts, (map.output.vectors(), masked))
            }
            Op::Polynomial { polynomial, .. } => {
                let noise = PolynomialNoise::new(&shapes.polynomial(polynomial), &model, level);
                x.through(|x| noise.at(x))
            }
            Op::Rotate { .. } | Op::Conjugate { .. } | Op::Relinearize { .. } => {
                x.plus(model.key_switch(level, model.scale(operand.scale)))
            }
            Op::Rescale { .. } => x.plus(model.division(operand.size, model.scale(result.scale))),
            Op::LevelDrop { .. } => x.plus(model.division(2, model.scale(result.scale))),
            Op::Bootstrap { sine, mask, .. } => {
                let slots = (operand.slots, *mask);
                let refresh = refreshes.entry((slots, level, result.level)).or_insert_with(|| {
                    BootstrapNoise::of_slots(&bootstraps, params, slots, level, result.level).ok()
                });
                refresh.as_ref().map_or_else(|| x.clone(), |refresh| x.refreshed(refresh, sine.is_some()))
            }
        };
        values[data.result.index()] = value;
    }
    values.iter().map(Sampled::noise).collect()
}

/// The number of slots that are refreshed, and which of them are kept.
type Refreshed = (usize, Option<SlotMask>);

/// Scale of what operands at `level` are multiplied with.
fn factor_scale(model: &NoiseModel<'_>, level: Level) -> f64 {
    model.scale(Scale::squared(level)) / model.scale(Scale::canonical(level))
}

/// A linear map of `vectors` results whose rows have Euclidean norm `norm`: every diagonal is
/// counted as rotated, and giant steps, whose errors are over the squared scale, are left out.
fn mapped(
    model: &NoiseModel<'_>,
    level: Level,
    x: ValueNoise,
    norm: f64,
    counts: MapCounts,
    (vectors, masked): (usize, bool),
) -> Sampled {
    let scale = model.scale(Scale::canonical(level));
    let switched = match Hoisting::cheaper(model.params(), level, counts) {
        Hoisting::Single => model.key_switch(level, scale),
        Hoisting::Double => model.key_switch_product(level, scale),
    };
    let per_result = counts.diagonals as f64 / vectors.max(1) as f64;
    let mask = if masked { f64::from(diagonal::log2_mask(model.params(), level)).exp2() } else { 1.0 };
    let rounded = model.encoding_of_period(counts.period, factor_scale(model, level) / mask) * per_result;
    let magnitude = (norm * x.magnitude).min(TYPICAL_MAGNITUDE);
    let masking = if masked { magnitude.powi(2) * model.encoding(mask) } else { 0.0 };
    let variance = norm.powi(2) * (x.stddev.powi(2) + switched) + x.magnitude.powi(2) * rounded + masking;
    Sampled::spread(magnitude, 53, variance)
}

/// Root mean square of a plaintext's elements.
fn rms(consts: &ConstPool, plain: &PlainTensor) -> f64 {
    let data = consts[plain.values].data();
    (data.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / data.len().max(1) as f64).sqrt()
}

/// Root mean square over rows of a row's Euclidean norm: what an error of independent slots is
/// multiplied with on average. The largest row would overstate errors by a factor per layer, which
/// in deep networks leaves nothing. Where the map leaves partial sums, each has its share of the
/// row; the additions that join them make it whole again.
fn row_norm(map: &LinearMap, consts: &ConstPool) -> f64 {
    let squares = |id: Const| consts[id].data().iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
    let rows = |id: Const| consts[id].shape().first().copied().unwrap_or(1).max(1) as f64;
    let mean_square = match &map.kind {
        LinearKind::Conv2d { weight, .. } | LinearKind::Dense { weight } => squares(*weight) / rows(*weight),
        // A tap of every input channel, spread over as many more pixels as the result has.
        LinearKind::ConvTranspose2d { weight, .. } => {
            squares(*weight) * map.input.elements() as f64 / rows(*weight) / map.output.elements() as f64
        }
        // Rows of a product of matrices have the product of the rows' norms.
        LinearKind::AxisMatrices { weights, .. } => {
            weights.iter().map(|id| squares(*id) / rows(*id)).product()
        }
        LinearKind::Place { .. } | LinearKind::Transpose { .. } => return 1.0,
    };
    (mean_square / map.fold as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use fhec_ir::polynomial::Polynomial;

    use super::*;
    use crate::approximation::composite::relu;

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

    /// Where a composition for sign is steep, the `x` it is multiplied with is small: ReLU passes
    /// on about the error of its operand, not the product of all steepest slopes. Compared with
    /// drawn errors.
    #[test]
    fn errors_through_a_composite_relu_are_those_of_drawn_errors() {
        const STDDEV: f64 = 1e-7;
        let composite = relu(&[7, 15, 27], 2f64.powi(-14)).unwrap();
        let sign = composite.affine(0.5, 0.5).unwrap();
        let x = Sampled::spread(1.0 / 3f64.sqrt(), 1, STDDEV * STDDEV);
        let slope = |p: &Polynomial, x: f64| (p.eval(x + 1e-6) - p.eval(x - 1e-6)) / 2e-6;
        // Evaluated without errors of its own.
        let at = |p: &Polynomial, x| PolynomialAt { value: p.eval(x), slope: slope(p, x), variance: 0.0 };
        let predicted = sign.iter().fold(x.clone(), |s, p| s.through(|x| at(p, x)));
        let predicted = x.times(&predicted).noise().stddev;

        let exact = |x: f64| x * sign.iter().fold(x, |s, p| p.eval(s));
        let mut state = 1;
        let count = 1 << 15;
        let squares = (0..count).map(|i| {
            let x = (2 * i + 1) as f64 / count as f64 - 1.0;
            // The product's operands have independent errors in the model; here they share one, as
            // in a program.
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
