//! Parameter sets with bootstrapping; some have a name (`named`).
//!
//! A set is a [`Recipe`]: sizes of primes per segment, polynomials' degrees, shapes of the
//! transforms. [`Recipe::build`] finds the primes, computes the polynomials and checks both secrets
//! against the security table: the main one at `log2(Q P)`, the ephemeral one at `log2(q0 p)`, the
//! only modulus anything is published at under it.

use fhec_ir::bootstrap::{BootstrapError, BootstrapParams, DftStep, Order};
use fhec_ir::params::{FixedScale, Params, ParamsError, ParamsLiteral, Secret};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::scale::Level;
use thiserror::Error;

use super::chain::{Chain, Primes};
use super::sine;
use crate::approximation::ApproximationError;
use fhec_ir::security::{SecurityError, max_log_qp};

mod named;

pub use named::{LEE2021_GROUPED, LEE2021_STC_LAST, NAMES, lee2021_as_published, named, recipe};

/// A parameter set and its bootstrap for full slots.
#[derive(Clone, Debug)]
pub struct BootstrapSet {
    /// Security level promised.
    pub security_bits: u32,
    /// Scheme parameters.
    pub params: Params,
    /// The bootstrap of N/2 slots.
    pub bootstrap: BootstrapParams,
}

/// Why a set cannot be made.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum SetError {
    #[error("there is no parameter set `{name}`; known are {}", NAMES.join(", "))]
    Unknown { name: String },
    #[error("there are not enough primes of about {bits} bits for ring degree 2^{log_n}")]
    Primes { bits: u32, log_n: u32 },
    #[error("parameter set {name}: {error}")]
    Params { name: String, error: ParamsError },
    #[error("parameter set {name}: {error}")]
    Bootstrap { name: String, error: BootstrapError },
    #[error("parameter set {name}: {error}")]
    Approximation { name: String, error: ApproximationError },
    #[error("parameter set {name}: {error}")]
    Security { name: String, error: SecurityError },
    #[error(
        "parameter set {name}: with slots to coefficients last q0 has as many bits as the application's scale, the message ratio and the conjugate's doubling together, {needed}, not {found}"
    )]
    FirstPrime { name: String, needed: u32, found: u32 },
    #[error("{slots} slots: a bootstrap of this ring serves a power of two from 2^4 to {max}")]
    Slots { slots: usize, max: usize },
}

/// What a set is made from.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Name.
    pub name: String,
    /// `log2` of the ring degree.
    pub log_n: u32,
    /// Security level promised.
    pub security_bits: u32,
    /// Main secret.
    pub secret: Secret,
    /// Order of the linear maps.
    pub order: Order,
    /// Hamming weight of the ephemeral secret.
    pub ephemeral_weight: Option<u32>,
    /// Bound of the integer part (K).
    pub bound: u32,
    /// Degree of the cosine.
    pub cosine_degree: usize,
    /// Doublings.
    pub double_angles: u32,
    /// Degree of the arcsine, if any.
    pub arcsine_degree: Option<usize>,
    /// Bits of q0.
    pub q0_bits: u32,
    /// `log2` of q0 over the largest coefficient where the modulus is raised. With slots to
    /// coefficients last that is one bit above the application's scale
    /// ([`BootstrapParams::coefficient_gain`]).
    pub log_message_ratio: u32,
    /// Bits of the primes of slots to coefficients.
    pub slots_to_coeffs_bits: u32,
    /// Bits of the application's primes, and of its scale.
    pub application_bits: u32,
    /// Levels of the application.
    pub application_levels: u32,
    /// Bits of the primes of the cosine, and of its scale: the noise of its first products is
    /// amplified most.
    pub sine_bits: u32,
    /// Bits of the primes of the doublings and the arcsine, and of their scale.
    pub doubling_bits: u32,
    /// Bits of the primes of coefficients to slots.
    pub coeffs_to_slots_bits: u32,
    /// Butterflies and baby steps per matrix.
    pub coeffs_to_slots: Vec<(u32, u32)>,
    /// Butterflies and baby steps per matrix.
    pub slots_to_coeffs: Vec<(u32, u32)>,
    /// Levels above those that the bootstrap raises to: in the modulus, unused.
    pub spare_levels: u32,
    /// How primes are shared among the application's levels, and those of slots to coefficients
    /// where these come first and are as wide.
    pub packing: LevelPacking,
    /// Bits and number of the special primes.
    pub special: (u32, usize),
    /// Bits of the first special prime, the only one that is used under the ephemeral secret: not
    /// below those of q0. `None`: as the others.
    pub first_special_bits: Option<u32>,
    /// Chain primes per key-switching digit; `None`: as many as special primes.
    pub digit_limbs: Option<usize>,
}

/// How levels become primes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LevelPacking {
    /// A prime each.
    OnePerLevel,
    /// Three levels in two primes of one and a half times their width. One level more is a narrow
    /// prime more, two levels two narrow ones, always the same two; they come back as primes of the
    /// first levels of coefficients to slots.
    ThreeInTwo,
}

/// The polynomials of a reduction modulo `q0`.
#[derive(Clone, Debug, PartialEq)]
pub struct SinePolynomials {
    /// Of the scaled cosine.
    pub cosine: Polynomial,
    /// Of the arcsine, if any.
    pub arcsine: Option<Polynomial>,
}

impl Recipe {
    /// The same with another order of the linear maps. The message ratio stays: for slots to
    /// coefficients last `q0` follows from it.
    pub fn with_order(self, order: Order) -> Recipe {
        let q0_bits = match order {
            Order::SlotsToCoeffsLast if self.order != order => {
                self.application_bits + self.log_message_ratio + 1
            }
            _ => self.q0_bits,
        };
        Recipe { order, q0_bits, ..self }
    }

    /// Finds primes, computes polynomials, checks everything.
    pub fn build(&self) -> Result<BootstrapSet, SetError> {
        self.build_with(self.sine()?)
    }

    /// The polynomials of the reduction: they depend on the bound, the message ratio, the doublings
    /// and the degrees alone.
    pub fn sine(&self) -> Result<SinePolynomials, SetError> {
        let approximation = |error| SetError::Approximation { name: self.name.to_owned(), error };
        let ratio = f64::from(self.log_message_ratio);
        let cosine = sine::cosine(self.bound, self.double_angles, ratio, self.cosine_degree);
        let cosine = cosine.map_err(approximation)?.polynomial;
        let arcsine = self.arcsine_degree.map(|degree| sine::arcsine(ratio, degree)).transpose();
        let arcsine = arcsine.map_err(approximation)?.map(|fit| fit.polynomial);
        Ok(SinePolynomials { cosine, arcsine })
    }

    /// [`Self::build`] with polynomials that are there already: those of [`Self::sine`].
    pub fn build_with(&self, sine: SinePolynomials) -> Result<BootstrapSet, SetError> {
        let fail_params = |error| SetError::Params { name: self.name.to_owned(), error };
        let SinePolynomials { cosine, arcsine } = sine;
        let steps = |list: &[(u32, u32)]| -> Vec<DftStep> {
            list.iter().map(|&(butterflies, baby_steps)| DftStep { butterflies, baby_steps }).collect()
        };
        let bootstrap = BootstrapParams {
            log_slots: self.log_n - 1,
            order: self.order,
            ephemeral_weight: self.ephemeral_weight,
            bound: self.bound,
            cosine,
            double_angles: self.double_angles,
            arcsine,
            coeffs_to_slots: steps(&self.coeffs_to_slots),
            conserves_level: self.conserves_level(),
            slots_to_coeffs: steps(&self.slots_to_coeffs),
            output_level: match self.order {
                Order::SlotsToCoeffsFirst => self.slots_to_coeffs.len() as Level,
                Order::SlotsToCoeffsLast => 0,
            } + self.application_levels as Level,
        };
        let needed = self.application_bits + self.log_message_ratio + 1;
        if self.order == Order::SlotsToCoeffsLast && self.q0_bits != needed {
            return Err(SetError::FirstPrime { name: self.name.to_owned(), needed, found: self.q0_bits });
        }
        let params = self.params(&bootstrap).map_err(|error| match error {
            Ok(error) => fail_params(error),
            Err(bits) => SetError::Primes { bits, log_n: self.log_n },
        })?;
        let checked = bootstrap.validate(&params);
        checked.map_err(|error| SetError::Bootstrap { name: self.name.to_owned(), error })?;
        // Under the ephemeral secret there is one digit, q0, and one special prime.
        let [digit_bits, special_bits] = [params.q()[0], params.p()[0]].map(|q| (q as f64).log2());
        if self.ephemeral_weight.is_some() && digit_bits > special_bits + 1.0 {
            return Err(fail_params(ParamsError::SpecialPrimesTooSmall { digit_bits, special_bits }));
        }
        let set = BootstrapSet { security_bits: self.security_bits, params, bootstrap };
        set.check_security()?;
        Ok(set)
    }

    /// The chain, top down, every prime chosen so that the scale of its segment stays where it is.
    fn params(&self, bootstrap: &BootstrapParams) -> Result<Params, Result<ParamsError, u32>> {
        let mut primes = Primes { log_n: self.log_n, taken: Vec::new() };
        let first = self.first_special_bits.unwrap_or(self.special.0);
        let p = [primes.below(first, 1)?, primes.below(self.special.0, self.special.1 - 1)?].concat();
        let q0 = primes.below(self.q0_bits, 1)?;
        let cosine_depth = bootstrap.cosine.depth() as Level;
        let doubling_depth = usize::from(bootstrap.sine_depth() - cosine_depth);
        let raised = self.coeffs_to_slots_levels() + self.spare_levels as usize;
        let packed = self.packed_levels();
        let wide = primes.below(self.wide_bits(), raised.saturating_sub(self.shared_levels()))?;
        let transforms = if self.packs_transforms() { 0 } else { self.slots_to_coeffs.len() };
        let slots_to_coeffs = primes.below(self.slots_to_coeffs_bits, transforms)?;
        let cosine = primes.segment(self.sine_bits, usize::from(cosine_depth))?;
        let doublings = primes.segment(self.doubling_bits, doubling_depth)?;
        let mut chain = Chain::new(q0[0]);
        if self.order == Order::SlotsToCoeffsFirst {
            chain.extend(&slots_to_coeffs);
        }
        let mut narrow = Vec::new();
        match self.packing {
            LevelPacking::OnePerLevel => {
                chain.extend(&primes.segment(self.application_bits, self.application_levels as usize)?);
            }
            LevelPacking::ThreeInTwo => {
                let levels = primes.three_in_two(self.application_bits, packed)?;
                chain.pack(&levels);
                narrow = levels.narrow_above();
            }
        }
        if self.order == Order::SlotsToCoeffsLast {
            chain.extend(&slots_to_coeffs);
        }
        let coeffs_to_slots = alternating(&wide, &narrow);
        chain.extend(&[doublings, cosine, coeffs_to_slots.clone()].concat());
        // Matrices are encoded with as many bits on each level, their mean: the scale goes up below
        // narrow primes and down below wide ones.
        let bits: Vec<f64> = coeffs_to_slots.iter().map(|&prime| (prime as f64).log2()).collect();
        let mean = bits.iter().sum::<f64>() / bits.len() as f64;
        let scales = bits.iter().scan(f64::from(self.sine_bits), |scale, bits| {
            *scale += bits - mean;
            Some(scale.round() as u32)
        });
        let scales: Vec<u32> = [self.sine_bits].into_iter().chain(scales).collect();
        let levels = (bootstrap.sine_input_level()..).zip(&scales[..bits.len()]);
        let mut fixed: Vec<FixedScale> =
            levels.map(|(level, &log_scale)| FixedScale { level, log_scale }).collect();
        fixed.reverse();
        let cosine_output = bootstrap.sine_input_level() - cosine_depth;
        fixed.push(FixedScale { level: cosine_output, log_scale: self.doubling_bits });
        let application = (bootstrap.output_level..=bootstrap.sine_output_level()).rev();
        fixed.extend(application.map(|level| FixedScale { level, log_scale: self.application_bits }));
        let bottom = (0..bootstrap.input_level()).rev();
        let log_bottom = self.q0_bits - self.log_message_ratio;
        fixed.extend(bottom.map(|level| FixedScale { level, log_scale: log_bottom }));
        let literal = ParamsLiteral {
            name: self.name.to_owned(),
            log_n: self.log_n,
            levels: chain.levels,
            q: chain.q,
            p,
            digit_limbs: self.digit_limbs.unwrap_or(self.special.1),
            log_scale: self.sine_bits,
            secret: self.secret,
        };
        Params::segmented(literal, fixed).map_err(Ok)
    }

    /// Whether the first matrix of coefficients to slots takes no level: where keys from an
    /// ephemeral secret apply it, and there is a special prime beside those of their gadget.
    fn conserves_level(&self) -> bool {
        let without_giants = self.coeffs_to_slots.first().is_some_and(|&(b, babies)| babies == 1 << b);
        let first = self.first_special_bits.unwrap_or(self.special.0);
        let bits = |count: usize| first + self.special.0 * (count as u32 - 1);
        // As [`BootstrapParams::raising_special_primes`] counts them.
        let gadget = (1..self.special.1).find(|&count| bits(count) >= self.q0_bits + 4);
        self.ephemeral_weight.is_some() && without_giants && gadget.is_some()
    }

    /// Levels that coefficients to slots take.
    pub fn coeffs_to_slots_levels(&self) -> usize {
        self.coeffs_to_slots.len() - usize::from(self.conserves_level())
    }

    /// Whether levels of slots to coefficients are packed with those of the application above them.
    fn packs_transforms(&self) -> bool {
        self.packing == LevelPacking::ThreeInTwo
            && self.order == Order::SlotsToCoeffsFirst
            && self.slots_to_coeffs_bits == self.application_bits
    }

    /// Number of the highest levels of coefficients to slots that take primes of packed levels,
    /// which the application's highest does not have.
    pub fn shared_levels(&self) -> usize {
        match self.packed_levels() {
            0 => 0,
            levels => 2 - levels % 3,
        }
    }

    /// Bits of the other primes of coefficients to slots: these have `coeffs_to_slots_bits` on
    /// average, as far as fast kernels go.
    pub fn wide_bits(&self) -> u32 {
        let (bits, shared) = (self.coeffs_to_slots_bits, self.shared_levels() as u32);
        let others = (self.coeffs_to_slots_levels() as u32).saturating_sub(shared);
        if shared == 0 || others == 0 {
            return bits;
        }
        (bits + bits.saturating_sub(self.application_bits) * shared / others).min(49)
    }

    /// Bits of the primes of coefficients to slots, together.
    pub fn coeffs_to_slots_total(&self) -> u32 {
        let levels = self.coeffs_to_slots_levels() as u32;
        let shared = (self.shared_levels() as u32).min(levels);
        self.application_bits * shared + self.wide_bits() * (levels - shared)
    }

    /// Number of levels that share primes.
    fn packed_levels(&self) -> usize {
        let transforms = if self.packs_transforms() { self.slots_to_coeffs.len() } else { 0 };
        match self.packing {
            LevelPacking::OnePerLevel => 0,
            LevelPacking::ThreeInTwo => self.application_levels as usize + transforms,
        }
    }
}

/// The elements of both, one of `a` before one of `b` as long as there are some.
fn alternating(a: &[u64], b: &[u64]) -> Vec<u64> {
    (0..a.len().max(b.len()))
        .flat_map(|index| a.get(index).into_iter().chain(b.get(index)).copied())
        .collect()
}

impl BootstrapSet {
    /// `log2(q0 p)`: the modulus of the key that switches to the ephemeral secret.
    pub fn ephemeral_log_qp(&self) -> f64 {
        (self.params.q()[0] as f64).log2() + (self.params.p()[0] as f64).log2()
    }

    /// Errs unless both secrets keep the level promised.
    pub fn check_security(&self) -> Result<(), SetError> {
        let name = self.params.name().to_owned();
        let check = |secret: Secret, log_qp: f64| {
            let (log_n, bits) = (self.params.log_n(), self.security_bits);
            let max = max_log_qp(log_n, secret, bits)?;
            if log_qp <= f64::from(max) {
                return Ok(());
            }
            Err(SecurityError::TooLarge { log_n, secret, bits, log_qp, max })
        };
        let ephemeral = self.bootstrap.ephemeral_weight;
        let ephemeral = ephemeral.map_or(Ok(()), |hamming_weight| {
            check(Secret::SparseTernary { hamming_weight }, self.ephemeral_log_qp())
        });
        check(self.params.secret(), self.params.log_qp())
            .and(ephemeral)
            .map_err(|error| SetError::Security { name, error })
    }

    /// The bootstrap of `slots` slots on the same parameters: of fewer than all, with as many
    /// matrices, so that levels stay, and butterflies spread evenly.
    pub fn with_slots(&self, slots: usize) -> Result<BootstrapParams, SetError> {
        let max = self.params.slots();
        if !slots.is_power_of_two() || slots > max || slots < 1 << fhec_ir::bootstrap::MIN_LOG_SLOTS {
            return Err(SetError::Slots { slots, max });
        }
        let mut bootstrap = self.bootstrap.clone();
        if slots == max {
            return Ok(bootstrap);
        }
        bootstrap.log_slots = slots.trailing_zeros();
        // A trace goes before the first matrix, which therefore takes a level.
        if std::mem::take(&mut bootstrap.conserves_level) {
            bootstrap.coeffs_to_slots.pop();
        }
        for steps in [&mut bootstrap.coeffs_to_slots, &mut bootstrap.slots_to_coeffs] {
            let mut rest = bootstrap.log_slots;
            let count = steps.len() as u32;
            for (index, step) in steps.iter_mut().enumerate() {
                step.butterflies = rest / (count - index as u32);
                step.baby_steps = 1 << step.butterflies.div_ceil(2);
                rest -= step.butterflies;
            }
        }
        let checked = bootstrap.validate(&self.params);
        checked.map_err(|error| SetError::Bootstrap { name: self.params.name().to_owned(), error })?;
        Ok(bootstrap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::failure::log2_failure;

    #[test]
    fn every_set_keeps_its_security_level() {
        for name in NAMES {
            let set = named(name).unwrap();
            let (params, b) = (&set.params, &set.bootstrap);
            set.check_security().unwrap();
            let weight = b.ephemeral_weight.or(match params.secret() {
                Secret::SparseTernary { hamming_weight } => Some(hamming_weight),
                Secret::UniformTernary => None,
            });
            let failure = log2_failure(weight.unwrap(), b.bound, b.slots(), 64);
            let keys = b.rotations(params);
            let key_bytes: usize = keys
                .values()
                .map(|&level| {
                    2 * params.digits(level).len()
                        * (params.limbs(level) + params.p().len())
                        * params.ring_degree()
                        * 8
                })
                .sum();
            eprintln!(
                "{name}: logQP {:.1} of {}, q0 p {:.1}, {} limbs + {}, {} digits, levels {} to {} of {}, 64 bootstraps fail 2^{failure:.1}, {} keys {} MB, scale at output 2^{:.3}, at input 2^{:.3}",
                params.log_qp(),
                max_log_qp(params.log_n(), params.secret(), set.security_bits).unwrap(),
                set.ephemeral_log_qp(),
                params.q().len(),
                params.p().len(),
                params.digits(params.top_level()).len(),
                b.input_level(),
                b.output_level,
                params.top_level(),
                keys.len(),
                key_bytes >> 20,
                params.canonical_scale(b.output_level).log2(),
                params.canonical_scale(b.input_level()).log2(),
            );
            // The 2021 program's K is its own choice.
            assert!(failure <= if name == "lee2021" { -20.0 } else { -40.0 }, "{name}: 2^{failure:.1}");
            assert!(params.q().iter().chain(params.p()).all(|&q| q < 1 << 60));
            if !name.starts_with("lee2021") {
                assert!(params.q().iter().chain(params.p()).all(|&q| q < 1 << 50), "{name}: 52-bit kernels");
            }
            // Scales stay within a tenth of a bit of their segments'.
            for level in b.input_level()..=b.sine_input_level() {
                let log = params.canonical_scale(level).log2();
                assert!((log - log.round()).abs() < 0.1, "{name} level {level}: {log}");
            }
        }
    }

    #[test]
    fn the_first_special_prime_covers_q0_under_an_ephemeral_secret() {
        let narrow = Recipe { first_special_bits: None, ..recipe("lee2021-grouped").unwrap() };
        let sine = narrow.sine().unwrap();
        let error = narrow.build_with(sine).unwrap_err();
        let SetError::Params { error: ParamsError::SpecialPrimesTooSmall { digit_bits, .. }, .. } = error
        else {
            panic!("{error}")
        };
        assert!(digit_bits > 59.0);
    }

    #[test]
    fn every_set_has_the_other_order_with_its_ratio() {
        for name in ["n15-98", "n15-128", "n16-128", "n16-192"] {
            let first = recipe(name).unwrap();
            let (levels, ratio) = (first.application_levels, f64::from(first.log_message_ratio));
            let last = first.with_order(Order::SlotsToCoeffsLast);
            let set = last.build().unwrap();
            let (params, b) = (&set.params, &set.bootstrap);
            assert_eq!((b.input_level(), u32::from(b.output_level)), (0, levels), "{name}");
            assert!((b.log_message_ratio(params) - ratio).abs() < 0.1, "{name}");
            assert_eq!(params.q().len(), named(name).unwrap().params.q().len(), "{name}");
            // The application's scale goes down to where the modulus is raised, and no level
            // changes it.
            assert!((0..b.output_level).all(|level| params.continues(level)), "{name}");
            let wrong = Recipe { q0_bits: last.q0_bits + 1, ..last };
            assert!(matches!(wrong.build(), Err(SetError::FirstPrime { .. })), "{name}");
        }
    }

    #[test]
    fn the_2021_program_has_its_levels() {
        let set = named("lee2021").unwrap();
        assert_eq!(set.params.top_level(), 11 + 18);
        assert_eq!(set.params.q()[0].ilog2() + 1, 60);
        assert_eq!(set.bootstrap.bound, 17);
    }

    #[test]
    fn fewer_slots_keep_the_levels() {
        let set = named("n15-128").unwrap();
        for log_slots in 10..=14 {
            let sparse = set.with_slots(1 << log_slots).unwrap();
            assert_eq!(sparse.raised_level(), set.bootstrap.raised_level());
            assert_eq!(sparse.input_level(), set.bootstrap.input_level());
        }
        assert!(matches!(set.with_slots(1 << 15), Err(SetError::Slots { .. })));
        assert!(matches!(named("n18"), Err(SetError::Unknown { .. })));
    }
}
