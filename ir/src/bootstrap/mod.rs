//! Bootstrapping as data: what refreshes a ciphertext, in which order, with which polynomials, at
//! which levels.
//!
//! The chain of a parameter set with bootstrapping, bottom to top, for the two orders of the linear
//! maps:
//!
//! ```text
//! slots to coefficients first
//! level 0      q0                 where the modulus is raised
//! 1 ..= s      slots to coeffs    one level per matrix
//! ..= s + a    application        the result of a bootstrap is at level s + a, its operand at level s
//! ..= + e      sine               cosine, double angles, arcsine; the cosine may have a larger scale than the rest
//! ..= + c      coeffs to slots    one level per matrix but a first one that keeps its level; the
//!                                 last is the level the modulus is raised to
//!
//! slots to coefficients last
//! level 0      q0                 where the modulus is raised: the operand's level
//! 1 ..= a      application        the result of a bootstrap is at level a
//! ..= + s      slots to coeffs
//! ..= + e, + c                    as above
//! ```
//!
//! Each segment has primes and a canonical scale of its own ([`Params::segmented`]). The value that
//! the sine is evaluated at is `t = (I + m D_0 / q_0 - 1/4) / width`, where `m` is the coefficient,
//! `I` the integer that raising the modulus adds and `width` = [`BootstrapParams::width`]; `cos(2
//! pi width t / 2^r)` doubled `r` times is `sin(2 pi (I + m D_0 / q_0))`, about `2 pi m D_0 / q_0`.
//!
//! *One sine.* Real messages fill the slots. Slots to coefficients first puts them in the lower
//! half of a polynomial's coefficients, so that one evaluation of the sine, on the real part,
//! refreshes all of them. Slots to coefficients last raises the polynomial of the message itself:
//! `a_(2n-j) = -a_j` among its `2n` coefficients, because the message is its own conjugate, so the
//! lower half says everything here, too: `z = 2 Re(sum_(j < n) a_j zeta^j) - a_0`. An imaginary
//! part, errors included, would break the symmetry; a conjugate is therefore added before the
//! modulus is raised, where it costs next to nothing and doubles the message but not the integers
//! ([`BootstrapParams::coefficient_gain`]). After the sine, slots to coefficients takes coefficient
//! 0 half ([`DftMatrix::halves_first`]), and a last conjugate is added.
//!
//! *Which order.* Last needs no levels below the application's, and its coefficients are small
//! unless slots are alike, so the sine distorts less. But errors of the sine are in coefficients
//! and grow by `sqrt(2n)` on their way to slots, where first adds them to slots as they are, and
//! slots to coefficients runs on more primes.
//!
//! *Lower results.* A bootstrap to a level below its highest leaves the application's primes above
//! that level out of the chain ([`BootstrapParams::exchange`]): levels keep their numbers and
//! scales, and have fewer primes.
//!
//! *The first matrix of coefficients to slots.* A raised ciphertext under the ephemeral secret `s'`
//! has coefficients below `q0`. Its product with a key needs no digits, so a pair of polynomials,
//! `(-a s + e + P s'(X^g), a)`, rotates it by `g` *and* brings it to the main secret, with one
//! product per prime where a key switch takes as many as there are digits, and with few special
//! primes. Where all slots are in use and all diagonals of the first matrix are baby steps, that
//! matrix is applied so, on the way back from the ephemeral secret
//! ([`BootstrapParams::raises_into_slots`]): many rotations, no decomposition.
//!
//! *A first matrix that keeps its level.* The division by the keys' special primes follows at once.
//! So the diagonals can be encoded at the scale of one special prime more, which is divided by with
//! the others, instead of a prime of the chain ([`BootstrapParams::conserves_level`]): the chain
//! has one level less, for one more limb in these keys (level-conserving rescaling: Yan, Zeng,
//! Song, Wang, "Faster Bootstrapping for CKKS with Less Modulus Consumption", 2025).

mod dft;
mod program;
mod reduction;
mod sine_curve;

use num_bigint::BigUint;
use std::collections::BTreeMap;
use std::f64::consts::PI;
use thiserror::Error;

use crate::attr::{AsAttr, Attr, AttrError};
use crate::ckks::{Ckks, Op};
use crate::func::Func;
use crate::params::{Params, Secret};
use crate::polynomial::Polynomial;
use crate::prime_set::Exchange;
use crate::record_attr;
use crate::scale::{ExactScale, Level};
use crate::slot_mask::SlotMask;

pub use dft::{DftMatrix, DftStep};
pub use program::ProgramBootstrapError;
pub use reduction::Reduction;
pub use sine_curve::{SineCurve, SineCurveError};

/// Smallest `log2` of the number of slots that a bootstrap serves.
pub const MIN_LOG_SLOTS: u32 = 4;

/// Which of the two linear maps at the ends comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Slots to coefficients at the bottom of the chain, on few primes: one sine for N/2 reals.
    SlotsToCoeffsFirst,
    /// Slots to coefficients at the end, between application and sine: operands may be at level 0,
    /// errors of the sine are those of coefficients.
    SlotsToCoeffsLast,
}

impl AsAttr for Order {
    fn to_attr(&self) -> Option<Attr> {
        let word = match self {
            Order::SlotsToCoeffsFirst => "slots_to_coeffs_first",
            Order::SlotsToCoeffsLast => "slots_to_coeffs_last",
        };
        Some(Attr::Word(word.into()))
    }

    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        match attr {
            Some(Attr::Word(word)) if word == "slots_to_coeffs_first" => Ok(Order::SlotsToCoeffsFirst),
            Some(Attr::Word(word)) if word == "slots_to_coeffs_last" => Ok(Order::SlotsToCoeffsLast),
            Some(other) => Err(AttrError::expected("slots_to_coeffs_first or slots_to_coeffs_last", other)),
            None => Err(AttrError("the order is missing".into())),
        }
    }
}

/// One way to bootstrap.
#[derive(Clone, Debug, PartialEq)]
pub struct BootstrapParams {
    /// `log2` of the number of slots that carry values.
    pub log_slots: u32,
    /// Order of the linear maps.
    pub order: Order,
    /// Hamming weight of the ephemeral secret under which the modulus is raised; `None`: under the
    /// main secret, which is sparse then.
    pub ephemeral_weight: Option<u32>,
    /// Integers `|I| < bound` are removed (the literature's K). Larger ones occur with the failure
    /// probability.
    pub bound: u32,
    /// Even, over `[-1, 1]`: about `cos(2 pi width t / 2^double_angles)` near the points that
    /// occur.
    pub cosine: Polynomial,
    /// Doublings `c -> 2 c^2 - 1` after the cosine.
    pub double_angles: u32,
    /// Odd, over `[-1, 1]`: about `arcsin(y)` near 0; `None` leaves the cubic error of the sine.
    pub arcsine: Option<Polynomial>,
    /// Matrices of coefficients to slots, in order of application.
    pub coeffs_to_slots: Vec<DftStep>,
    /// Whether the first matrix of coefficients to slots takes no level: its diagonals have the
    /// scale of a special prime ([`Self::scaling_prime`]). Only where it is applied by keys from
    /// the ephemeral secret ([`Self::raises_into_slots`]).
    pub conserves_level: bool,
    /// Matrices of slots to coefficients, in order of application.
    pub slots_to_coeffs: Vec<DftStep>,
    /// Level of the result.
    pub output_level: Level,
}

record_attr!(BootstrapParams {
    log_slots,
    order,
    ephemeral_weight,
    bound,
    cosine,
    double_angles,
    arcsine,
    coeffs_to_slots,
    conserves_level,
    slots_to_coeffs,
    output_level,
});

/// Why a bootstrap does not fit a parameter set.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum BootstrapError {
    #[error("a bootstrap of 2^{log_slots} slots: the ring allows 2^{MIN_LOG_SLOTS} to 2^{max}")]
    Slots { log_slots: u32, max: u32 },
    #[error(
        "{what}: the matrices cover {found} levels of butterflies, {expected} are needed (each matrix at least one)"
    )]
    Butterflies { what: &'static str, found: u32, expected: u32 },
    #[error("{what}: {baby_steps} baby steps are no power of two, or more than a matrix has diagonals")]
    BabySteps { what: &'static str, baby_steps: u32 },
    #[error("the bootstrap raises to level {needed}, the parameters' top level is {top}")]
    Levels { needed: Level, top: Level },
    #[error("the chain needs one prime per level up to the bootstrap's top, level {level} has {limbs}")]
    Limbs { level: Level, limbs: usize },
    #[error("level {level} of the bootstrap lacks primes of the level below it")]
    Nesting { level: Level },
    #[error("the {what} must be {parity} over [-1, 1]")]
    Parity { what: &'static str, parity: &'static str },
    #[error("bound {bound} for I(X) is below 2")]
    Bound { bound: u32 },
    #[error("without an ephemeral secret the main secret must be sparse")]
    DenseSecret,
    #[error(
        "the first matrix of coefficients to slots keeps its level only where keys from an ephemeral secret apply it, and a special prime is left for its scale"
    )]
    ConservedLevel,
    #[error("the program has no bootstrap of {slots} slots")]
    Missing { slots: usize },
    #[error(
        "a bootstrap from level {from} to {to}; this one starts from {input} or above and reaches {output}"
    )]
    Reach { from: Level, to: Level, input: Level, output: Level },
    #[error(
        "the message ratio q0 / D_0 is 2^{log_ratio:.1}; between 2^1 and 2^20 the sine is near its argument and above the noise"
    )]
    MessageRatio { log_ratio: f64 },
}

impl BootstrapParams {
    /// Number of slots.
    pub fn slots(&self) -> usize {
        1 << self.log_slots
    }

    /// Half the width of the interval of arguments: `|I| <= bound - 1`, a quarter for the shift,
    /// and a quarter of room.
    pub fn width(&self) -> f64 {
        f64::from(self.bound) - 0.5
    }

    /// How many times a message of size 1 a coefficient may be where the modulus is raised: the
    /// conjugate that slots to coefficients last adds before doubles it.
    pub fn coefficient_gain(&self) -> f64 {
        match self.order {
            Order::SlotsToCoeffsFirst => 1.0,
            Order::SlotsToCoeffsLast => 2.0,
        }
    }

    /// Level of the operand.
    pub fn input_level(&self) -> Level {
        match self.order {
            Order::SlotsToCoeffsFirst => self.slots_to_coeffs.len() as Level,
            Order::SlotsToCoeffsLast => 0,
        }
    }

    /// Levels that cosine, double angles and arcsine use.
    pub fn sine_depth(&self) -> Level {
        let arcsine = self.arcsine.as_ref().map_or(0, Polynomial::depth);
        (self.cosine.depth() + self.double_angles + arcsine) as Level
    }

    /// Level of the sine's result.
    pub fn sine_output_level(&self) -> Level {
        match self.order {
            Order::SlotsToCoeffsFirst => self.output_level,
            Order::SlotsToCoeffsLast => self.output_level + self.slots_to_coeffs.len() as Level,
        }
    }

    /// Level of the sine's argument.
    pub fn sine_input_level(&self) -> Level {
        self.sine_output_level() + self.sine_depth()
    }

    /// Level that the modulus is raised to.
    pub fn raised_level(&self) -> Level {
        self.sine_input_level() + self.coeffs_to_slots_levels()
    }

    /// Levels that coefficients to slots use.
    fn coeffs_to_slots_levels(&self) -> Level {
        (self.coeffs_to_slots.len() as Level).saturating_sub(Level::from(self.conserves_level))
    }

    /// Level that slots to coefficients starts from.
    pub fn slots_to_coeffs_level(&self) -> Level {
        match self.order {
            Order::SlotsToCoeffsFirst => self.input_level(),
            Order::SlotsToCoeffsLast => self.sine_output_level(),
        }
    }

    /// Level that a bootstrap to level `to` really reaches: `to`, but none of those that slots to
    /// coefficients uses; the rest is a level drop.
    pub fn reached_level(&self, params: &Params, to: Level) -> Level {
        let above = params.primes(self.raised_level()).without(params.primes(self.output_level));
        let apart = |level: &Level| params.primes(*level).within(above).is_empty();
        (to.max(self.input_level())..self.output_level).find(apart).unwrap_or(self.output_level)
    }

    /// The chain primes that a bootstrap to level `to` leaves out, those of the application's
    /// levels above, and what it has instead. So it is from the raising of the modulus on, and
    /// everything that follows is done on fewer primes; switching keys serve any subset.
    pub fn exchange(&self, params: &Params, to: Level) -> Exchange {
        Exchange::new(params.primes(self.output_level), params.primes(self.reached_level(params, to)))
    }

    /// Levels between operand and result that an application may use.
    pub fn usable_levels(&self) -> Level {
        self.output_level - self.input_level()
    }

    /// The matrices of coefficients to slots, in order of application, each with the level it is
    /// applied at.
    pub fn coeffs_to_slots_matrices(&self) -> Vec<(DftMatrix, Level)> {
        let mut high = self.log_slots;
        let first = Level::from(!self.conserves_level);
        let levels = [0].into_iter().chain(first..);
        self.coeffs_to_slots
            .iter()
            .zip(levels)
            .map(|(step, below)| {
                let low = high - step.butterflies;
                let matrix = DftMatrix {
                    log_slots: self.log_slots,
                    low,
                    high,
                    inverse: true,
                    baby_steps: step.baby_steps,
                    halves_first: false,
                    mask: None,
                };
                high = low;
                (matrix, self.raised_level() - below)
            })
            .collect()
    }

    /// The matrices of slots to coefficients, in order of application, each with the level it is
    /// applied at.
    pub fn slots_to_coeffs_matrices(&self) -> Vec<(DftMatrix, Level)> {
        let mut low = 0;
        let steps = self.slots_to_coeffs.iter().enumerate();
        steps
            .map(|(index, step)| {
                let high = low + step.butterflies;
                let matrix = DftMatrix {
                    log_slots: self.log_slots,
                    low,
                    high,
                    inverse: false,
                    baby_steps: step.baby_steps,
                    halves_first: low == 0 && self.order == Order::SlotsToCoeffsLast,
                    mask: None,
                };
                low = high;
                (matrix, self.slots_to_coeffs_level() - index as Level)
            })
            .collect()
    }

    /// [`Self::slots_to_coeffs_matrices`] of a product with `mask`, where they come first.
    ///
    /// A matrix that covers the butterflies below `high` keeps to blocks of `2^high` slots, so
    /// whatever is the same throughout such blocks may be done before or after it. Rows and columns
    /// of the mask are each left to the last matrix that can do them: its diagonals are the longest
    /// anyway.
    pub fn masking_matrices(&self, mask: Option<SlotMask>) -> Vec<(DftMatrix, Level)> {
        let mut matrices = self.slots_to_coeffs_matrices();
        for factor in mask.iter().flat_map(SlotMask::factors) {
            let can = |matrix: &DftMatrix| 1 << matrix.low <= factor.block();
            if let Some((matrix, _)) = matrices.iter_mut().rev().find(|(matrix, _)| can(matrix)) {
                // Of two factors in one matrix the product is the whole mask.
                matrix.mask = if matrix.mask.is_some() { mask } else { Some(factor) };
            }
        }
        matrices
    }

    /// What the bootstraps of `program` with as many slots mask, and whether any with that mask
    /// takes ciphertexts in pairs: one set of matrices each, and one more for pairs.
    pub fn masks_in(&self, program: &Func<Ckks>, params: &Params) -> BTreeMap<Option<SlotMask>, bool> {
        let mut masks = BTreeMap::new();
        for data in program.ops() {
            let Op::Bootstrap { x, mask, .. } = data.op else { continue };
            let ty = program.ty(x);
            if ty.slots == self.slots() {
                *masks.entry(mask).or_default() |= ty.vectors > 1 && self.takes_pairs(params);
            }
        }
        masks
    }

    /// Whether two ciphertexts can be refreshed together, as real and imaginary part of one until
    /// the sine: where all slots are in use. Sparse bootstraps, which the 2021 program does one by
    /// one, are not.
    pub fn takes_pairs(&self, params: &Params) -> bool {
        self.order == Order::SlotsToCoeffsFirst && self.slots() == params.slots()
    }

    /// Whether the first matrix of coefficients to slots is applied by keys from the ephemeral
    /// secret.
    pub fn raises_into_slots(&self, params: &Params) -> bool {
        let matrix = self.coeffs_to_slots_matrices().first().map(|(matrix, _)| *matrix);
        let without_giants = matrix.is_some_and(|matrix| matrix.giant_steps() == 1);
        self.ephemeral_weight.is_some() && without_giants && self.trace_rotations(params).is_empty()
    }

    /// Rotations that keys from the ephemeral secret are needed for: those of the first matrix, or
    /// none but the identity.
    pub fn raising_rotations(&self, params: &Params) -> Vec<usize> {
        match self.coeffs_to_slots_matrices().first() {
            Some((matrix, _)) if self.raises_into_slots(params) => matrix.baby_rotations(),
            _ => vec![0],
        }
    }

    /// Number of special primes whose product is the gadget of keys from the ephemeral secret, what
    /// the secret in them is multiplied by: the fewest whose product is so far above `q0` that
    /// their errors, `N s^2 (q_0 / P)^2 / 12`, stay well below the rounding error of a division,
    /// `(1 + h) / 12`.
    pub fn raising_special_primes(params: &Params) -> usize {
        const MARGIN_BITS: f64 = 3.5;
        let mut bits = -params.log_q(0) - MARGIN_BITS;
        let enough = params.p().iter().position(|&p| {
            bits += (p as f64).log2();
            bits >= 0.0
        });
        enough.map_or(params.p().len(), |index| index + 1)
    }

    /// Number of special primes that keys from the ephemeral secret have: those of their gadget,
    /// and [`Self::scaling_prime`].
    pub fn raising_key_primes(&self, params: &Params) -> usize {
        Self::raising_special_primes(params) + usize::from(self.conserves_level)
    }

    /// The special prime that the diagonals of a first matrix that keeps its level have as scale:
    /// the one above the gadget's. `None` where it takes a level, or no prime is left.
    pub fn scaling_prime(&self, params: &Params) -> Option<u64> {
        let index = Self::raising_special_primes(params);
        self.conserves_level.then(|| params.p().get(index).copied()).flatten()
    }

    /// Rotations that project a raised polynomial to the subring of `slots` values, largest first;
    /// empty when full.
    pub fn trace_rotations(&self, params: &Params) -> Vec<usize> {
        (self.log_slots..params.log_n() - 1).rev().map(|log| 1 << log).collect()
    }

    /// Rotations to the left by key switches, each with the highest level it is used at.
    pub fn rotations(&self, params: &Params) -> BTreeMap<usize, Level> {
        let mut rotations = BTreeMap::new();
        let raising = usize::from(self.raises_into_slots(params));
        let coeffs_to_slots = self.coeffs_to_slots_matrices().into_iter().skip(raising);
        let matrices = coeffs_to_slots.chain(self.slots_to_coeffs_matrices());
        let of_matrices = matrices.flat_map(|(matrix, level)| {
            matrix.rotations().into_iter().map(move |rotation| (rotation, level)).collect::<Vec<_>>()
        });
        let trace = self.trace_rotations(params).into_iter().map(|rotation| (rotation, self.raised_level()));
        for (rotation, level) in of_matrices.chain(trace).filter(|&(rotation, _)| rotation != 0) {
            let highest = rotations.entry(rotation).or_default();
            *highest = level.max(*highest);
        }
        rotations
    }

    /// What every slot is bent by; `None` where an arcsine undoes the sine, where coefficients are
    /// what is bent, and where the sine is too small to be undone. The ratio is rounded to a
    /// thousandth, so that chains whose primes differ a little share polynomials: of a curve that
    /// can be undone at all that is a millionth of a message.
    pub fn sine_curve(&self, params: &Params) -> Option<SineCurve> {
        let bent = self.arcsine.is_none() && self.order == Order::SlotsToCoeffsFirst;
        let ratio = (1024.0 * self.message_ratio(params)).round() / 1024.0;
        bent.then(|| SineCurve::new(ratio).ok()).flatten()
    }

    /// `q0 / D_0` over [`Self::coefficient_gain`]: a message of this size fills the modulus.
    pub fn message_ratio(&self, params: &Params) -> f64 {
        params.q()[0] as f64 / params.canonical_scale(0).to_f64() / self.coefficient_gain()
    }

    /// `log2` of `q0 / D_0` over [`Self::coefficient_gain`]: how much smaller than the modulus a
    /// message of size 1 is where the modulus is raised.
    pub fn log_message_ratio(&self, params: &Params) -> f64 {
        params.log_q(0) - params.canonical_scale(0).log2() - self.coefficient_gain().log2()
    }

    /// The scale at which the sine's result comes out: that of the application where its last step
    /// is a polynomial, whose constants are encoded for it; `D^2 / q` of the level above where its
    /// last step is a doubling.
    pub fn sine_scale(&self, params: &Params) -> ExactScale {
        let level = self.sine_output_level();
        if self.arcsine.is_some() || self.double_angles == 0 {
            return params.canonical_scale(level).clone();
        }
        params.canonical_scale(level + 1).square_over(&params.rescale_divisor(level + 1))
    }

    /// What `sin(2 pi (I + g m D_0 / q_0))` is to be multiplied by, so that its ciphertext, read at
    /// the application's scale, holds `m`: `D q_0 / (2 pi g D_0 S)`, where `D` is the application's
    /// scale, `g` [`Self::coefficient_gain`] and `S` that of [`Self::sine_scale`].
    pub fn sine_factor(&self, params: &Params) -> f64 {
        let level = self.sine_output_level();
        let q0 = ExactScale::from_integer(&params.modulus(0));
        let ratio = q0.mul_ratio(&BigUint::from(1u8), params.canonical_scale(0)).to_f64();
        let scales = params.canonical_scale(level).to_f64() / self.sine_scale(params).to_f64();
        scales * ratio / (2.0 * PI * self.coefficient_gain())
    }

    /// [`Self::sine_factor`] of a bootstrap to level `to`, whose result is read at the scale of the
    /// level that it reaches.
    pub fn sine_factor_to(&self, params: &Params, to: Level) -> f64 {
        let [reached, output] = [self.reached_level(params, to), self.output_level]
            .map(|level| params.canonical_scale(level).to_f64());
        self.sine_factor(params) * (reached / output)
    }

    /// What the coefficients of a raised polynomial, read at the canonical scale of the raised
    /// level, are to be multiplied by to be arguments of the sine, before its shift: `D / (q_0
    /// width)`.
    pub fn argument_factor(&self, params: &Params) -> f64 {
        let scale = params.canonical_scale(self.raised_level());
        scale.mul_ratio(&BigUint::from(1u8), &ExactScale::from_integer(&params.modulus(0))).to_f64()
            / self.width()
    }

    /// Checks that this bootstrap is one of `params`.
    pub fn validate(&self, params: &Params) -> Result<(), BootstrapError> {
        let max = params.log_n() - 1;
        if !(MIN_LOG_SLOTS..=max).contains(&self.log_slots) {
            return Err(BootstrapError::Slots { log_slots: self.log_slots, max });
        }
        let maps = [
            ("coefficients to slots", &self.coeffs_to_slots),
            ("slots to coefficients", &self.slots_to_coeffs),
        ];
        for (what, steps) in maps {
            let found = steps.iter().fold(0u32, |sum, step| sum.saturating_add(step.butterflies));
            if found != self.log_slots || steps.iter().any(|step| step.butterflies == 0) {
                return Err(BootstrapError::Butterflies { what, found, expected: self.log_slots });
            }
            let bad = |step: &&DftStep| {
                !step.baby_steps.is_power_of_two() || step.baby_steps > 1 << step.butterflies
            };
            if let Some(step) = steps.iter().find(bad) {
                return Err(BootstrapError::BabySteps { what, baby_steps: step.baby_steps });
            }
        }
        let is_unit = |p: &Polynomial| p.domain() == [-1.0, 1.0] && p.degree() > 0;
        if !(self.cosine.is_even() && is_unit(&self.cosine)) {
            return Err(BootstrapError::Parity { what: "cosine", parity: "even" });
        }
        if self.arcsine.as_ref().is_some_and(|p| !(p.is_odd() && is_unit(p))) {
            return Err(BootstrapError::Parity { what: "arcsine", parity: "odd" });
        }
        if self.bound < 2 {
            return Err(BootstrapError::Bound { bound: self.bound });
        }
        if self.ephemeral_weight.is_none() && params.secret() == Secret::UniformTernary {
            return Err(BootstrapError::DenseSecret);
        }
        // In wide numbers: those of a file may wrap around in narrow ones.
        let sine = u64::from(self.cosine.depth()) + u64::from(self.double_angles);
        let sine = sine + self.arcsine.as_ref().map_or(0, |p| u64::from(p.depth()));
        let to_slots = self.coeffs_to_slots.len() - usize::from(self.conserves_level);
        let transforms = match self.order {
            Order::SlotsToCoeffsFirst => to_slots,
            Order::SlotsToCoeffsLast => to_slots + self.slots_to_coeffs.len(),
        };
        let needed = u64::from(self.output_level) + sine + transforms as u64;
        let (needed, top) = (Level::try_from(needed).unwrap_or(Level::MAX), params.top_level());
        if needed > top || self.output_level <= self.input_level() {
            return Err(BootstrapError::Levels { needed, top });
        }
        if let Some(level) = (self.output_level + 1..=needed).find(|&level| !params.nests(level, level - 1)) {
            return Err(BootstrapError::Nesting { level });
        }
        if params.limbs(0) != 1 {
            return Err(BootstrapError::Limbs { level: 0, limbs: params.limbs(0) });
        }
        let conserves = || self.raises_into_slots(params) && self.scaling_prime(params).is_some();
        if self.conserves_level && !conserves() {
            return Err(BootstrapError::ConservedLevel);
        }
        let log_ratio = self.log_message_ratio(params);
        if !(1.0..=20.0).contains(&log_ratio) {
            return Err(BootstrapError::MessageRatio { log_ratio });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
