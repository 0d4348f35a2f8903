//! The error of a bootstrap, per slot: one formula for the simulator and for the compiler's
//! prediction.
//!
//! All variances are of the real part of a slot of the result, in units of the squared message.
//! Slots become coefficients and slots again one to one, and the sine has slope 1 at its message,
//! so what is added on the way reaches the result as it is:
//!
//! (This is *slots to coefficients first*; for the other order see below.)
//!
//! | phase | error |
//! |---|---|
//! | level drops | a division with rounding, if a level is dropped |
//! | slots to coefficients | see below; a slot variance `s^2` at scale `D_0` is `s^2 / n` in a coefficient |
//! | to the ephemeral secret and back (ePrint 2022/024) | `N s^2 (q_0 / p)^2 / 12 + (1 + h) / 12` in a coefficient, at scale `D_0`, each with its special primes and its secret's `h`; the way back counts as part of the first matrix where that is applied on it |
//! | trace to fewer slots | key switch number `i` counts `4^-i`: later rotations double the message, not the error |
//! | coefficients to slots | see below; twice the real part, `width q_0 / D_0` from the sine's argument to the message |
//! | real part | a key switch |
//! | cosine | [`PolynomialNoise`] at `t_I = (I - 1/4) / width` |
//! | doublings | `v -> (4 c)^2 v`, and a product's relinearisation and rescaling |
//! | arcsine | slope and [`PolynomialNoise`] at 0 |
//!
//! *Transforms.* A level of butterflies is `sqrt 2` times a unitary map, so a matrix of `b` levels
//! with factor `f` multiplies energies by `g = 2^b f^2`, and errors of a matrix reach the end times
//! the `g` of those after it. Each matrix adds the rounding of its diagonals, `count * n / 12 /
//! ratio^2 * E|z|^2` for diagonals of full length, less for periodic ones; the undivided key
//! switches of the baby rotations times the squared diagonals, all of whose entries have modulus
//! `f` or 0; the giant steps' key switches at the squared scale; and one division. Only the mean of
//! a matrix's error over slots is known: where messages gather their energy in few slots of a
//! half-done transform, so does the error.
//!
//! *The integer.* The slope of the doubled cosine, `2^r |sin| / |sin|` of a `2^r`-th of the angle,
//! depends much on `I`. Raised coefficients are sums of `h + 1` uniform numbers in `q_0 [-1/2,
//! 1/2]`, so `I` is normal of variance `(h + 1) / 12`; the result's error is a mixture of normal
//! ones, with heavy tails.
//!
//! *Tails.* Roundings are multiplied with the secret, whose slots have squares distributed
//! exponentially around `h`, the same in every rounding. With all slots of the ring in use errors
//! are therefore nearer to Laplace's distribution than to the normal ones assumed here: the mean
//! absolute error is 0.1 to 0.2 bits smaller for the same deviation, the largest of 2^14 errors 0.8
//! bits larger. With few slots each is a mean over many of the ring's, and the difference goes
//! away.
//!
//! *Slots to coefficients last.* The same phases, but what the table adds up to the sine is in the
//! `n` lower coefficients of a real message, in units of `2 D_0` instead of `D_0`, and a slot is `2
//! Re(sum a_j zeta^j) - a_0`: errors of variance `v` in coefficients are `(2n - 1) v` in a slot,
//! about `2n v`. Errors from the real part's key switch on are complex: their imaginary parts, as
//! large, are turned into the real part of slots as well. A slot so adds up errors beside many
//! integers, and is normal; the cosine's own error, real and different from integer to integer, is
//! one of them. Then come the matrices, whose real part counts twice, and a conjugate's key switch;
//! a conjugate's key switch at level 0 comes first. The sine distorts coefficients, each a small
//! part of the message unless slots are alike: moments and errors here leave that out, the
//! simulator does not.
//!
//! Not modelled, being smaller by bits: roundings of constants, errors times errors, how the sine's
//! own error depends on the message.

use std::f64::consts::PI;

use super::polynomial::PolynomialNoise;
use super::{GAUSSIAN, NoiseModel, ROUNDING};
use crate::bootstrap::{BootstrapError, BootstrapParams, DftMatrix, Order, Reduction};
use crate::params::Params;
use crate::polynomial::Polynomial;
use crate::polynomial_shape::PolynomialShape;
use crate::scale::{Level, Scale};
use crate::slot_mask::SlotMask;

/// The errors of one bootstrap between two levels.
#[derive(Clone, Debug)]
pub struct BootstrapNoise {
    /// Variances that are the same for all slots and messages.
    pub phases: PhaseVariances,
    /// Per mean square of the slots of the operand: roundings of the matrices of slots to
    /// coefficients.
    pub per_message_square: f64,
    /// The integers that occur, ascending, with what the sine adds beside each.
    pub integers: Vec<IntegerNoise>,
    /// Where a slot is a sum over coefficients: slots to coefficients last.
    mixed: Option<Mixed>,
    reduction: Reduction,
}

/// Variances that errors in coefficients add to a slot.
#[derive(Clone, Copy, Debug)]
struct Mixed {
    /// Of the sine, real parts.
    real: f64,
    /// Of the sine and of its argument, imaginary parts.
    imaginary: f64,
}

/// By phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PhaseVariances {
    /// From the operand's level to the bootstrap's, and from the level that is reached to one asked
    /// for below the operand's.
    pub level_drops: f64,
    /// Slots to coefficients, without [`BootstrapNoise::per_message_square`], and the real part if
    /// it comes last.
    pub slots_to_coeffs: f64,
    /// Key switches around the raising of the modulus, the conjugate's before it among them.
    pub raise_modulus: f64,
    /// Trace, coefficients to slots and real part.
    pub coeffs_to_slots: f64,
}

impl PhaseVariances {
    /// Of all.
    pub fn sum(&self) -> f64 {
        self.level_drops + self.slots_to_coeffs + self.raise_modulus + self.coeffs_to_slots
    }
}

/// An integer beside a message where the modulus has been raised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerNoise {
    /// `I`.
    pub integer: i32,
    /// How often it occurs.
    pub probability: f64,
    /// What cosine, doublings and arcsine add where they are evaluated: to a slot, or a
    /// coefficient.
    pub variance: f64,
}

impl BootstrapNoise {
    /// Of that one among `bootstraps` that serves `slots` slots, where it keeps those of `mask`:
    /// what a `bootstrap` op means.
    ///
    /// # Errors
    /// If there is none, and as [`Self::new`].
    pub fn of_slots(
        bootstraps: &[BootstrapParams],
        params: &Params,
        (slots, mask): (usize, Option<SlotMask>),
        from: Level,
        to: Level,
    ) -> Result<Self, BootstrapError> {
        let found = bootstraps.iter().find(|b| b.log_slots < usize::BITS && b.slots() == slots);
        BootstrapNoise::masking(found.ok_or(BootstrapError::Missing { slots })?, mask, params, from, to)
    }

    /// Of `bootstrap`, from operands at level `from` to results at level `to`.
    ///
    /// # Errors
    /// If the bootstrap does not fit `params` or the levels.
    pub fn new(
        bootstrap: &BootstrapParams,
        params: &Params,
        from: Level,
        to: Level,
    ) -> Result<Self, BootstrapError> {
        Self::masking(bootstrap, None, params, from, to)
    }

    /// The same where the bootstrap keeps the slots of `mask` alone: of these, and of what it makes
    /// zero.
    ///
    /// # Errors
    /// As above.
    pub fn masking(
        bootstrap: &BootstrapParams,
        mask: Option<SlotMask>,
        params: &Params,
        from: Level,
        to: Level,
    ) -> Result<Self, BootstrapError> {
        bootstrap.validate(params)?;
        let (input, output) = (bootstrap.input_level(), bootstrap.output_level);
        if from < input || to > output || from > params.top_level() {
            return Err(BootstrapError::Reach { from, to, input, output });
        }
        let model = NoiseModel::new(params, bootstrap.slots());
        // Slots to coefficients first are below all primes that are left out.
        let model = model.exchanged(bootstrap.exchange(params, to));
        let parts = Parts {
            bootstrap,
            mask,
            model,
            reached: bootstrap.reached_level(params, to),
            reduction: Reduction::new(bootstrap, params),
        };
        let drop = |from: Level, to: Level| {
            if from > to { model.division(2, model.scale(Scale::canonical(to))) } else { 0.0 }
        };
        let (slots_to_coeffs, per_message_square) = parts.slots_to_coeffs();
        let phases = PhaseVariances {
            level_drops: drop(from, input) + drop(parts.reached, to),
            slots_to_coeffs,
            raise_modulus: parts.raise_modulus(),
            coeffs_to_slots: parts.coeffs_to_slots(),
        };
        let integers = parts.sine();
        let mixed = (bootstrap.order == Order::SlotsToCoeffsLast).then(|| {
            let mean = |of: &dyn Fn(&IntegerNoise) -> f64| -> f64 {
                integers.iter().map(|i| i.probability * of(i)).sum()
            };
            let own = mean(&|i| parts.reduction.apply(0.0, f64::from(i.integer)).powi(2));
            let sine = mean(&|i| i.variance);
            Mixed {
                real: parts.to_slot() * (sine + own),
                imaginary: parts.to_slot() * (sine + parts.real_part()),
            }
        });
        Ok(BootstrapNoise { phases, per_message_square, integers, mixed, reduction: parts.reduction })
    }

    /// The function that is applied to every slot, or to every coefficient
    /// ([`Self::reduces_coefficients`]).
    pub fn reduction(&self) -> &Reduction {
        &self.reduction
    }

    /// Whether slots to coefficients comes last.
    pub fn reduces_coefficients(&self) -> bool {
        self.mixed.is_some()
    }

    /// By how much the error of an operand's slot grows: the slope of the reduction, if it is
    /// applied to the slot.
    pub fn slope(&self, message: f64) -> f64 {
        if self.reduces_coefficients() { 1.0 } else { self.reduction.slope(message) }
    }

    /// Variance of a slot's error beside an integer, for slots of mean square `power`; where
    /// coefficients are reduced, of a slot's error without the one that each coefficient has beside
    /// its integer.
    pub fn variance(&self, integer: &IntegerNoise, power: f64) -> f64 {
        let sine = self.mixed.map_or(integer.variance, |mixed| mixed.imaginary);
        self.phases.sum() + self.per_message_square * power + sine
    }

    /// Mean over the integers of what becomes of `message`, and the variance of the result: that of
    /// the error for slots of mean square `power`, and of the result's own change with the integer.
    pub fn moments(&self, message: f64, power: f64) -> (f64, f64) {
        if let Some(Mixed { real, imaginary }) = self.mixed {
            return (message, self.phases.sum() + self.per_message_square * power + real + imaginary);
        }
        let mut reduced = vec![message; self.integers.len()];
        self.reduction.apply_all(&mut reduced, |index| f64::from(self.integers[index].integer));
        let results = || reduced.iter().zip(&self.integers);
        let mean: f64 = results().map(|(y, i)| i.probability * y).sum();
        let variance = results().map(|(y, i)| i.probability * ((y - mean).powi(2) + self.variance(i, power)));
        (mean, variance.sum())
    }

    /// Mean absolute distance of the result from `message`, distortion and error.
    pub fn mean_absolute_error(&self, message: f64, power: f64) -> f64 {
        if self.reduces_coefficients() {
            let (result, variance) = self.moments(message, power);
            return mean_absolute(result - message, variance.sqrt());
        }
        let of_integer = |i: &IntegerNoise| {
            let bias = self.reduction.apply(message, f64::from(i.integer)) - message;
            i.probability * mean_absolute(bias, self.variance(i, power).sqrt())
        };
        self.integers.iter().map(of_integer).sum()
    }

    /// Mean absolute distance from `message` of what `count` bootstraps in a row make of it:
    /// distortions follow one another, the independent errors of more than one add up to a normal
    /// one.
    pub fn chained_mean_absolute_error(&self, message: f64, power: f64, count: usize) -> f64 {
        if count == 1 {
            return self.mean_absolute_error(message, power);
        }
        let (result, variance) = (0..count).fold((message, 0.0), |(mean, sum), _| {
            let (next, variance) = self.moments(mean, power);
            (next, sum + variance)
        });
        mean_absolute(result - message, variance.sqrt())
    }
}

/// `E|X|` of a normal `X`.
fn mean_absolute(mean: f64, deviation: f64) -> f64 {
    let z = mean / deviation;
    deviation * (2.0 / PI).sqrt() * (-z * z / 2.0).exp() + mean * libm::erf(z / 2f64.sqrt())
}

struct Parts<'a> {
    bootstrap: &'a BootstrapParams,
    /// Slots of the operand that are kept, if not all.
    mask: Option<SlotMask>,
    model: NoiseModel<'a>,
    /// Level of the sine's result, by its primes.
    reached: Level,
    reduction: Reduction,
}

impl Parts<'_> {
    fn params(&self) -> &Params {
        self.model.params()
    }

    fn slots(&self) -> f64 {
        self.bootstrap.slots() as f64
    }

    fn canonical(&self, level: Level) -> f64 {
        self.model.scale(Scale::canonical(level))
    }

    /// Hamming weight of the secret under which the modulus is raised.
    fn raising_weight(&self) -> f64 {
        self.bootstrap.ephemeral_weight.map_or(self.model.secret_norm(), f64::from)
    }

    /// Variance of slots after `matrices`, each times `factor`, and the part of it per `E|z|^2` of
    /// the operand.
    fn transform(&self, matrices: &[(DftMatrix, Level)], factor: f64, raising: bool) -> (f64, f64) {
        let (model, square) = (&self.model, factor * factor);
        let (mut added, mut per_energy, mut energy) = (0.0, 0.0, 1.0);
        for (index, (matrix, level)) in matrices.iter().enumerate() {
            let (scale, squared) = (self.canonical(*level), model.scale(Scale::squared(*level)));
            let entries = f64::from(1u32 << (matrix.high - matrix.low));
            let gain = entries * square;
            let rotated = square * (entries - unrotated_entries(matrix));
            // What the diagonals are encoded at, and the level of what the division leaves.
            let conserved = self.bootstrap.scaling_prime(model.params()).filter(|_| raising && index == 0);
            let (ratio, below) =
                conserved.map_or((squared / scale, level - 1), |prime| (prime as f64, *level));
            let switched = if raising && index == 0 {
                // Every rotation, the one by nothing included, is a product with a key from the
                // ephemeral secret.
                self.slots() * self.raising_product() / (scale * scale) * gain
            } else {
                model.key_switch_product(*level, scale) * rotated
                    + (matrix.giant_steps() - 1) as f64 * model.key_switch(*level, squared)
            };
            let rounding: f64 = matrix.periods().map(|period| model.encoding_of_period(period, ratio)).sum();
            added = added * gain + switched + model.division(2, self.canonical(below));
            per_energy = per_energy * gain + energy * rounding;
            energy *= gain;
        }
        (added, per_energy)
    }

    /// From the variance of what the sine is evaluated at to that of a slot.
    fn to_slot(&self) -> f64 {
        match self.bootstrap.order {
            Order::SlotsToCoeffsFirst => 1.0,
            Order::SlotsToCoeffsLast => 2.0 * self.slots() - 1.0,
        }
    }

    /// The scale of a message where the modulus is raised.
    fn raising_scale(&self) -> f64 {
        self.canonical(0) * self.bootstrap.coefficient_gain()
    }

    /// From the scale of the highest result to that of the one that is reached: levels keep their
    /// names while primes are missing.
    fn reading(&self) -> f64 {
        self.canonical(self.bootstrap.output_level) / self.canonical(self.reached)
    }

    fn slots_to_coeffs(&self) -> (f64, f64) {
        let b = self.bootstrap;
        let (added, per_energy) = self.transform(&b.masking_matrices(self.mask), 1.0, false);
        match b.order {
            Order::SlotsToCoeffsFirst => (added / self.slots(), per_energy / self.slots()),
            Order::SlotsToCoeffsLast => {
                let conjugate = self.model.key_switch(b.output_level, self.canonical(b.output_level));
                ((4.0 * added + conjugate) * self.reading().powi(2), 4.0 * per_energy / self.to_slot())
            }
        }
    }

    fn raise_modulus(&self) -> f64 {
        // Errors of the conjugate are not symmetric like the message: `n` coefficients of them make
        // a slot.
        let conjugate = match self.bootstrap.order {
            Order::SlotsToCoeffsFirst => 0.0,
            Order::SlotsToCoeffsLast => {
                self.model.key_switch(0, self.raising_scale()) / self.slots() * self.to_slot()
            }
        };
        conjugate + self.encapsulation()
    }

    fn encapsulation(&self) -> f64 {
        let Some(weight) = self.bootstrap.ephemeral_weight else { return 0.0 };
        let params = self.params();
        let q0 = params.q()[0] as f64;
        let switch = |special: f64, weight: f64| {
            let ratio = q0 / special;
            params.ring_degree() as f64 * GAUSSIAN * ratio * ratio * ROUNDING + ROUNDING * (1.0 + weight)
        };
        let mut sum = switch(params.p()[0] as f64, f64::from(weight));
        if !self.bootstrap.raises_into_slots(params) {
            sum += self.raising_product() + ROUNDING * (1.0 + self.model.secret_norm());
        }
        sum / self.raising_scale().powi(2) * self.to_slot()
    }

    /// Variance in a coefficient of a product with a key from the ephemeral secret, divided by the
    /// special primes it has.
    fn raising_product(&self) -> f64 {
        let params = self.params();
        let special = &params.p()[..BootstrapParams::raising_special_primes(params)];
        let ratio = params.q()[0] as f64 / special.iter().map(|&p| p as f64).product::<f64>();
        params.ring_degree() as f64 * GAUSSIAN * ratio * ratio * ROUNDING
    }

    fn coeffs_to_slots(&self) -> f64 {
        let (b, params, model) = (self.bootstrap, self.params(), &self.model);
        let (slots, q0) = (self.slots(), params.q()[0] as f64);
        let raised = b.raised_level();
        let trace = b.trace_rotations(params).len() as i32;
        let switch = model.key_switch(raised, self.raising_scale()) / slots;
        let traced: f64 = (1..=trace).map(|rotation| 0.25f64.powi(rotation) * switch).sum();
        let growth = f64::from(trace).exp2();
        let share =
            (b.argument_factor(params) / (2.0 * slots) / growth).powf(1.0 / b.coeffs_to_slots.len() as f64);
        let (added, per_energy) =
            self.transform(&b.coeffs_to_slots_matrices(), share, b.raises_into_slots(params));
        // 2n coefficients of q_0 I.
        let coefficient = q0 * growth / self.canonical(raised);
        let energy = 2.0 * slots * coefficient.powi(2) * (self.raising_weight() + 1.0) / 12.0;
        let argument = 4.0 * (added + per_energy * energy) * self.argument_to_message();
        (traced + argument + self.real_part()) * self.to_slot()
    }

    /// The key switch of the real part.
    fn real_part(&self) -> f64 {
        let level = self.bootstrap.sine_input_level();
        self.model.key_switch(level, self.canonical(level)) * self.argument_to_message()
    }

    /// From the variance of the sine's argument to that of its result.
    fn argument_to_message(&self) -> f64 {
        (self.bootstrap.width() * self.reduction.ratio()).powi(2)
    }

    fn sine(&self) -> Vec<IntegerNoise> {
        let (b, params, model) = (self.bootstrap, self.params(), &self.model);
        let factor = b.sine_factor_to(params, self.reached);
        let amplitude = match b.arcsine {
            Some(_) => 1.0,
            None => factor.powf(0.5f64.powi(b.double_angles as i32)),
        };
        let scaled = |polynomial: &Polynomial, factor: f64, level: Level| {
            let scaled = polynomial.scaled(factor).expect("a finite polynomial times a finite factor");
            PolynomialNoise::new(&PolynomialShape::new(&scaled), model, level)
        };
        let mut level = b.sine_input_level();
        let cosine = scaled(&b.cosine, amplitude, level);
        level -= b.cosine.depth() as Level;
        let doublings: Vec<f64> = (0..b.double_angles)
            .map(|_| {
                let square = self.canonical(level).powi(2);
                let divisor = params.rescale_divisor(level).to_f64();
                level -= 1;
                model.division(2, square / divisor) + model.key_switch_product(level + 1, square)
            })
            .collect();
        let arcsine = b.arcsine.as_ref().map(|arcsine| scaled(arcsine, factor, level).at(0.0));
        // Read at the application's scale.
        let reading = b.sine_scale(params).to_f64() / self.canonical(b.sine_output_level()) * self.reading();
        let at = |integer: i32| {
            let start = cosine.at((f64::from(integer) - 0.25) / b.width());
            let (mut c, mut variance, mut square) = (start.value, start.variance, amplitude * amplitude);
            for doubling in &doublings {
                variance = (4.0 * c).powi(2) * variance + doubling;
                (c, square) = (2.0 * c * c - square, square * square);
            }
            if let Some(arcsine) = arcsine {
                variance = arcsine.slope.powi(2) * variance + arcsine.variance;
            }
            variance * reading * reading
        };
        let spread = (self.raising_weight() + 1.0) / 12.0;
        let weight = |i: i32| (-f64::from(i).powi(2) / (2.0 * spread)).exp();
        // Beyond nine deviations a double adds nothing to a sum of probabilities.
        let last = f64::from(b.bound - 1).min((9.0 * spread.sqrt()).ceil()) as i32;
        let all: f64 = (-last..=last).map(weight).sum();
        (-last..=last)
            .map(|integer| IntegerNoise {
                integer,
                probability: weight(integer) / all,
                variance: at(integer),
            })
            .collect()
    }
}

/// How many entries of an average row stand on diagonals whose baby rotation is none: those need no
/// key switch before they are multiplied.
fn unrotated_entries(matrix: &DftMatrix) -> f64 {
    let babies = (matrix.baby_steps as usize).min(matrix.diagonals());
    let reach = 1usize << (matrix.high - matrix.low);
    let full = matrix.diagonals() == reach;
    let entries = |index: usize| {
        // Diagonal `index` is `index + 1 - reach` strides from the main one; those that do not wrap
        // leave rows out.
        if full { 1.0 } else { 1.0 - (index + 1).abs_diff(reach) as f64 / reach as f64 }
    };
    (0..matrix.diagonals()).filter(|index| matrix.rotation(index % babies) == 0).map(entries).sum()
}
