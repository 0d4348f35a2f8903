//! Bootstrapping: a ciphertext with few levels left becomes one with many, holding the same real
//! message.
//!
//! Slots to coefficients first (levels and scales: [`fhec_ir::bootstrap`]):
//!
//! 1. *slots to coefficients*, on the lowest primes: real slots become the lower half of the
//!    coefficients;
//! 2. *raise the modulus*, under the ephemeral secret: the coefficients are now `m + q0 I`, modulo
//!    the whole chain;
//! 3. *coefficients to slots*, all scalars folded in: back from the ephemeral secret, with the
//!    first matrix where it can be applied on the way ([`BootstrapParams::raises_into_slots`]); for
//!    fewer slots than N/2 after a trace to the subring;
//! 4. *real part*, by one conjugation: the imaginary part, where the other half of the coefficients
//!    is, goes;
//! 5. *reduction* modulo `q0` by the sine: the message again, in the slots, far up in the chain.
//!
//! *Pairs.* A real message leaves the upper half of the coefficients empty. Two ciphertexts become
//! one, `a + i b`, go through steps 1 to 3 together, and come apart in step 4 as real and imaginary
//! part; only step 5 is done for each. Imaginary parts are dropped before, so that they do not mix:
//! `2 Re` of each by a conjugation on the few primes that there are, with the half in the matrices
//! of step 1.
//!
//! *Masks.* Slots that a bootstrap is told to leave out are columns of zeros in the matrices of
//! step 1 ([`BootstrapParams::masking_matrices`]). Each mask has matrices of its own.
//!
//! Slots to coefficients last starts from level 0 with a conjugation, so that the polynomial is
//! that of a real message, goes through steps 2 to 5, which refresh the lower half of its
//! coefficients, and ends with step 1 and another conjugation.

pub mod keys;

use std::iter;
use std::sync::Arc;

use fhec_ir::bootstrap::{BootstrapError, BootstrapParams, DftMatrix, Order};
use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::scale::{Level, Scale};
use fhec_ir::slot_mask::SlotMask;
use thiserror::Error;
use tracing::info_span;

use super::dft::EncodedDft;
use super::eval_mod::EvalMod;
use super::mod_raise::{EncapsulationKeys, Raised};
use crate::ckks::{Evaluator, FactorEncoder, PlaintextScale};
use crate::error::EvalError;
use crate::rlwe::Ciphertext;

/// Why a bootstrap cannot be set up.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum SetupError {
    #[error(transparent)]
    Misfit(#[from] BootstrapError),
    #[error(transparent)]
    Eval(#[from] EvalError),
}

/// The bootstraps of a program, one per number of slots and mask. They depend on no key.
#[derive(Clone, Debug, Default)]
pub struct Bootstrapping {
    /// Ready to run.
    pub bootstrappers: Vec<Arc<Bootstrapper>>,
}

impl Bootstrapping {
    /// Encodes the matrices of `bootstraps`, for every mask of `program`, and those for pairs where
    /// it refreshes several ciphertexts at a time.
    pub fn new(
        bootstraps: Vec<BootstrapParams>,
        program: &Func<Ckks>,
        encoder: &FactorEncoder,
    ) -> Result<Self, SetupError> {
        let params = encoder.encoder().context().params();
        let mut bootstrappers: Vec<Arc<Bootstrapper>> = Vec::new();
        for bootstrap in bootstraps {
            // All else is shared by those of the same slots.
            let mut first: Option<Arc<Bootstrapper>> = None;
            for (mask, pairs) in bootstrap.masks_in(program, params) {
                let single = match &first {
                    None => Bootstrapper::masking(bootstrap.clone(), mask, encoder)?,
                    Some(first) => first.with_mask(mask, encoder)?,
                };
                let made = Arc::new(if pairs { single.with_pairs(encoder)? } else { single });
                first.get_or_insert_with(|| Arc::clone(&made));
                bootstrappers.push(made);
            }
        }
        Ok(Bootstrapping { bootstrappers })
    }

    /// Bytes of encoded matrices.
    pub fn bytes(&self) -> usize {
        let mut sum = 0;
        for (index, bootstrapper) in self.bootstrappers.iter().enumerate() {
            let before = &self.bootstrappers[..index];
            let known = |other: &Arc<Bootstrapper>| {
                Arc::ptr_eq(&other.coeffs_to_slots, &bootstrapper.coeffs_to_slots)
            };
            sum += bootstrapper.bytes();
            if before.iter().any(known) {
                sum -= bytes(&bootstrapper.coeffs_to_slots);
            }
        }
        sum
    }

    /// The bootstrap of `slots` slots, of which it keeps those of `mask`, from `from` to `to`,
    /// which runs with these keys; what is missing otherwise.
    pub fn find(
        &self,
        encapsulation: Option<&EncapsulationKeys>,
        (slots, mask): (usize, Option<SlotMask>),
        from: Level,
        to: Level,
    ) -> Result<&Bootstrapper, String> {
        let mut of_slots = self.bootstrappers.iter().filter(|b| b.bootstrap.slots() == slots).peekable();
        if of_slots.peek().is_none() {
            return Err(format!("there is no bootstrap of {slots} slots"));
        }
        let Some(found) = of_slots.find(|b| b.mask == mask) else {
            return Err(format!("there is no bootstrap of {slots} slots with the mask {mask:?}"));
        };
        let (input, output) = (found.bootstrap.input_level(), found.bootstrap.output_level);
        if from < input || to > output {
            return Err(format!(
                "a bootstrap from level {from} to {to}; this one starts from {input} or above and reaches {output}"
            ));
        }
        let raised = found.bootstrap.raised_level();
        match (found.bootstrap.ephemeral_weight, encapsulation) {
            (Some(_), None) => Err("the bootstrap needs encapsulation keys".into()),
            (None, Some(_)) => {
                Err("the bootstrap has no use for the encapsulation keys that came with it".into())
            }
            (Some(weight), Some(keys)) if keys.hamming_weight() != weight => Err(format!(
                "the bootstrap's ephemeral secret has Hamming weight {weight}, that of the encapsulation keys {}",
                keys.hamming_weight()
            )),
            (Some(_), Some(keys)) if keys.special_primes() < found.raising_key_primes => {
                Err("the encapsulation keys lack a special prime".into())
            }
            (Some(_), Some(keys)) if keys.level() < raised => Err(format!(
                "the bootstrap raises to level {raised}, the encapsulation keys reach level {}",
                keys.level()
            )),
            (Some(_), Some(keys)) => match found.raising_rotations.iter().find(|&&r| !keys.rotates(r)) {
                Some(steps) => {
                    Err(format!("the encapsulation keys do not rotate by {steps} on the way back"))
                }
                None => Ok(found),
            },
            (None, None) => Ok(found),
        }
    }
}

/// A bootstrap, ready to run: matrices encoded, polynomials laid out.
#[derive(Debug)]
pub struct Bootstrapper {
    bootstrap: BootstrapParams,
    /// What it keeps: a factor of some of the matrices of slots to coefficients.
    mask: Option<SlotMask>,
    slots_to_coeffs: Vec<EncodedDft>,
    /// With the half of a pair's real parts; none where pairs are not taken.
    pairs_to_coeffs: Vec<EncodedDft>,
    coeffs_to_slots: Arc<[EncodedDft]>,
    trace: Vec<usize>,
    shift: f64,
    /// By level of the result, from the lowest that is reached on.
    eval_mods: Arc<[EvalMod]>,
    raises_into_slots: bool,
    raising_rotations: Vec<usize>,
    raising_key_primes: usize,
}

impl Bootstrapper {
    /// Checks `bootstrap` against the parameters of the encoder's context and encodes its matrices.
    pub fn new(bootstrap: BootstrapParams, encoder: &FactorEncoder) -> Result<Self, SetupError> {
        Self::masking(bootstrap, None, encoder)
    }

    /// The same, which keeps the slots of `mask` and zeros the others, at no cost.
    pub fn masking(
        bootstrap: BootstrapParams,
        mask: Option<SlotMask>,
        encoder: &FactorEncoder,
    ) -> Result<Self, SetupError> {
        let params = encoder.encoder().context().params();
        bootstrap.validate(params)?;
        let trace = bootstrap.trace_rotations(params);
        // The transform's 1/n, the trace's number of terms, the half of the real part, and the
        // sine's argument.
        let factor =
            bootstrap.argument_factor(params) / (2 * bootstrap.slots()) as f64 / (1u64 << trace.len()) as f64;
        let special = BootstrapParams::raising_special_primes(params);
        let conserving = bootstrap.conserves_level.then_some(PlaintextScale::Special(special));
        Ok(Bootstrapper {
            mask,
            slots_to_coeffs: encode(bootstrap.masking_matrices(mask), 1.0, None, encoder)?,
            pairs_to_coeffs: Vec::new(),
            coeffs_to_slots: encode(bootstrap.coeffs_to_slots_matrices(), factor, conserving, encoder)?
                .into(),
            trace,
            shift: -0.25 / bootstrap.width(),
            eval_mods: (bootstrap.input_level()..=bootstrap.output_level)
                .map(|to| EvalMod::new(&bootstrap, params, to))
                .collect(),
            raises_into_slots: bootstrap.raises_into_slots(params),
            raising_rotations: bootstrap.raising_rotations(params),
            raising_key_primes: bootstrap.raising_key_primes(params),
            bootstrap,
        })
    }

    /// The same for another mask, without matrices for pairs. All that does not depend on the mask
    /// is shared.
    fn with_mask(&self, mask: Option<SlotMask>, encoder: &FactorEncoder) -> Result<Self, EvalError> {
        Ok(Bootstrapper {
            mask,
            slots_to_coeffs: encode(self.bootstrap.masking_matrices(mask), 1.0, None, encoder)?,
            pairs_to_coeffs: Vec::new(),
            bootstrap: self.bootstrap.clone(),
            coeffs_to_slots: Arc::clone(&self.coeffs_to_slots),
            trace: self.trace.clone(),
            eval_mods: Arc::clone(&self.eval_mods),
            raising_rotations: self.raising_rotations.clone(),
            ..*self
        })
    }

    /// The same with matrices for pairs, if the bootstrap takes any
    /// ([`BootstrapParams::takes_pairs`]): for programs that refresh several ciphertexts at a time.
    pub fn with_pairs(mut self, encoder: &FactorEncoder) -> Result<Self, EvalError> {
        if self.bootstrap.takes_pairs(encoder.encoder().context().params()) {
            self.pairs_to_coeffs = encode(self.bootstrap.masking_matrices(self.mask), 0.5, None, encoder)?;
        }
        Ok(self)
    }

    /// The bootstrap it runs.
    pub fn bootstrap_params(&self) -> &BootstrapParams {
        &self.bootstrap
    }

    /// Bytes of encoded matrices.
    pub fn bytes(&self) -> usize {
        bytes(&self.slots_to_coeffs) + bytes(&self.pairs_to_coeffs) + bytes(&self.coeffs_to_slots)
    }

    /// Refreshes `a` to `level`. *Message*: real, `|m| <= 1`; an imaginary part is dropped; larger
    /// messages give wrong results, which nothing can detect under encryption. *Level*: of `a`, at
    /// least the bootstrap's input level; of the result, at most its output level. *Scale*:
    /// canonical, in and out. *Cost*: the lower the result, the fewer primes.
    pub fn bootstrap(
        &self,
        evaluator: &Evaluator<'_>,
        keys: Option<&EncapsulationKeys>,
        a: &Ciphertext,
        level: Level,
    ) -> Result<Ciphertext, EvalError> {
        self.bootstrap_by_phases(evaluator, keys, a, level, &mut |_| ())
    }

    /// [`Self::bootstrap`], which tells `done` the name of every phase that has ended; some have
    /// several parts.
    pub fn bootstrap_by_phases(
        &self,
        evaluator: &Evaluator<'_>,
        keys: Option<&EncapsulationKeys>,
        a: &Ciphertext,
        level: Level,
        done: &mut dyn FnMut(&'static str),
    ) -> Result<Ciphertext, EvalError> {
        self.check(keys, a, level)?;
        let (b, last) = (&self.bootstrap, self.bootstrap.order == Order::SlotsToCoeffsLast);
        let mut x = evaluator.level_drop(a, b.input_level())?.with_slots(b.slots());
        done("level_drop");
        if last {
            x = self.twice_real_part(evaluator, x)?;
            done("real_part");
        } else {
            x = self.slots_to_coeffs(evaluator, x)?;
            done("slots_to_coeffs");
        }
        let raised = self.raise_modulus(evaluator, keys, &x, level)?;
        done("raise_modulus");
        x = self.coeffs_to_slots(evaluator, keys, raised)?;
        done("coeffs_to_slots");
        x = self.argument(evaluator, x)?;
        done("real_part");
        x = self.reduce(evaluator, &x, level)?;
        done("sine");
        if last {
            x = self.slots_to_coeffs(evaluator, x)?;
            done("slots_to_coeffs");
            x = self.twice_real_part(evaluator, x)?;
            done("real_part");
        }
        x = self.lowered(evaluator, x, level)?;
        done("level_drop");
        Ok(x)
    }

    /// Whether two ciphertexts can be refreshed together: [`Self::with_pairs`].
    pub fn takes_pairs(&self) -> bool {
        !self.pairs_to_coeffs.is_empty()
    }

    /// Refreshes `a` and `b` to `level` like [`Self::bootstrap`], in less time than one after the
    /// other.
    ///
    /// # Panics
    /// Unless [`Self::takes_pairs`].
    pub fn bootstrap_pair(
        &self,
        evaluator: &Evaluator<'_>,
        keys: Option<&EncapsulationKeys>,
        [a, b]: [&Ciphertext; 2],
        level: Level,
    ) -> Result<[Ciphertext; 2], EvalError> {
        assert!(self.takes_pairs(), "a bootstrap without matrices for pairs");
        let twice_real = |x: &Ciphertext| {
            self.check(keys, x, level)?;
            let input = evaluator.level_drop(x, self.bootstrap.input_level())?;
            self.twice_real_part(evaluator, input.with_slots(self.bootstrap.slots()))
        };
        let (mut pair, mut imaginary) = (twice_real(a)?, twice_real(b)?);
        evaluator.mul_imaginary_unit_assign(&mut imaginary);
        evaluator.add_assign(&mut pair, &imaginary)?;
        let pair = self.pairs_to_coeffs.iter().try_fold(pair, |x, matrix| evaluator.dft(&x, matrix))?;
        let raised = self.raise_modulus(evaluator, keys, &pair, level)?;
        let mut real = self.coeffs_to_slots(evaluator, keys, raised)?;
        // z + conj z = 2 Re z, and i (conj z - z) = 2 Im z.
        let conjugate = evaluator.conjugate(&real)?;
        let mut imaginary = evaluator.sub(&conjugate, &real)?;
        evaluator.mul_imaginary_unit_assign(&mut imaginary);
        evaluator.add_assign(&mut real, &conjugate)?;
        let refreshed = |mut argument: Ciphertext| {
            evaluator.add_scalar_assign(&mut argument, self.shift)?;
            self.lowered(evaluator, self.reduce(evaluator, &argument, level)?, level)
        };
        Ok([refreshed(real)?, refreshed(imaginary)?])
    }

    /// What came out of the sine, or of the matrices after it, at `level`.
    fn lowered(
        &self,
        evaluator: &Evaluator<'_>,
        mut x: Ciphertext,
        level: Level,
    ) -> Result<Ciphertext, EvalError> {
        // All primes between the levels are missing, so this is a ciphertext of the lower one.
        let reached = self.bootstrap.reached_level(evaluator.context().params(), level);
        x.set_level(reached);
        x.set_scale(Scale::canonical(reached));
        evaluator.level_drop(&x, level)
    }

    fn check(&self, keys: Option<&EncapsulationKeys>, a: &Ciphertext, level: Level) -> Result<(), EvalError> {
        let op = "bootstrap";
        let (needed, top) = (self.bootstrap.input_level(), self.bootstrap.output_level);
        if a.level() < needed {
            return Err(EvalError::LevelTooLow { op, needed, found: a.level() });
        }
        if level > top {
            return Err(EvalError::LevelTooHigh { op, top, found: level });
        }
        if a.size() != 2 {
            return Err(EvalError::SizeMismatch { op, expected: 2, found: a.size() });
        }
        if a.slots() > self.bootstrap.slots() {
            return Err(EvalError::SlotCount { found: a.slots(), max: self.bootstrap.slots() });
        }
        if keys.is_some() != self.bootstrap.ephemeral_weight.is_some() {
            return Err(EvalError::Encapsulation { op, needed: self.bootstrap.ephemeral_weight.is_some() });
        }
        Ok(())
    }

    /// Step 1. *Level*: from the input level to 0, or, if it comes last, from that of the sine's
    /// result to the output level.
    #[doc(alias("SlotToCoeff", "StC"))]
    pub fn slots_to_coeffs(&self, evaluator: &Evaluator<'_>, a: Ciphertext) -> Result<Ciphertext, EvalError> {
        let _span = info_span!("slots_to_coeffs").entered();
        self.slots_to_coeffs.iter().try_fold(a, |x, matrix| evaluator.dft(&x, matrix))
    }

    /// Step 2. *Level*: from 0 to the raised level, without the primes that a result at level `to`
    /// will not have.
    #[doc(alias("ModRaise", "mod raise"))]
    pub fn raise_modulus(
        &self,
        evaluator: &Evaluator<'_>,
        keys: Option<&EncapsulationKeys>,
        a: &Ciphertext,
        to: Level,
    ) -> Result<Raised, EvalError> {
        let _span = info_span!("raise_modulus").entered();
        let context = evaluator.context();
        let exchange = self.bootstrap.exchange(context.params(), to);
        let (level, conserves_level) = (self.bootstrap.raised_level(), self.bootstrap.conserves_level);
        Raised::new(context, keys, a, level, exchange, conserves_level)
    }

    /// Step 3. *Level*: from the raised level to that of the sine's argument.
    #[doc(alias("CoeffToSlot", "CtS"))]
    pub fn coeffs_to_slots(
        &self,
        evaluator: &Evaluator<'_>,
        keys: Option<&EncapsulationKeys>,
        a: Raised,
    ) -> Result<Ciphertext, EvalError> {
        let _span = info_span!("coeffs_to_slots").entered();
        let context = evaluator.context();
        if let (true, Some(keys)) = (self.raises_into_slots, keys)
            && let Some((first, rest)) = self.coeffs_to_slots.split_first()
        {
            let a = a.transform(context, keys, &first.terms())?.with_slots(self.bootstrap.slots());
            return rest.iter().try_fold(a, |x, matrix| evaluator.dft(&x, matrix));
        }
        let a = a.switch(context, keys)?;
        // I(X) has all N coefficients: as a message it fills the ring, whatever m does.
        let mut a = a.with_slots(evaluator.context().params().slots());
        for &rotation in &self.trace {
            let rotated = evaluator.rotate(&a, rotation as i64)?;
            evaluator.add_assign(&mut a, &rotated)?;
        }
        let a = a.with_slots(self.bootstrap.slots());
        self.coeffs_to_slots.iter().try_fold(a, |x, matrix| evaluator.dft(&x, matrix))
    }

    /// Step 4, with the shift of the sine to a cosine.
    pub fn argument(&self, evaluator: &Evaluator<'_>, a: Ciphertext) -> Result<Ciphertext, EvalError> {
        let mut argument = self.twice_real_part(evaluator, a)?;
        evaluator.add_scalar_assign(&mut argument, self.shift)?;
        Ok(argument)
    }

    fn twice_real_part(&self, evaluator: &Evaluator<'_>, mut a: Ciphertext) -> Result<Ciphertext, EvalError> {
        let _span = info_span!("real_part").entered();
        let conjugate = evaluator.conjugate(&a)?;
        evaluator.add_assign(&mut a, &conjugate)?;
        Ok(a)
    }

    /// Step 5, of an argument raised for results at level `to`. *Level*: from that of the sine's
    /// argument to that of its result, by name; primes are missing if the level that is reached
    /// ([`BootstrapParams::reached_level`]) is below the output level.
    #[doc(alias("EvalMod"))]
    pub fn reduce(
        &self,
        evaluator: &Evaluator<'_>,
        a: &Ciphertext,
        to: Level,
    ) -> Result<Ciphertext, EvalError> {
        let _span = info_span!("reduce").entered();
        let reached = self.bootstrap.reached_level(evaluator.context().params(), to);
        let eval_mod = &self.eval_mods[usize::from(reached - self.bootstrap.input_level())];
        evaluator.eval_mod(a, eval_mod)
    }
}

fn bytes(matrices: &[EncodedDft]) -> usize {
    matrices.iter().map(EncodedDft::bytes).sum()
}

/// Matrices with one factor in all, spread evenly. Products are rescaled, but that of the first
/// matrix if it has a scale of its own.
fn encode(
    matrices: Vec<(DftMatrix, Level)>,
    factor: f64,
    first: Option<PlaintextScale>,
    encoder: &FactorEncoder,
) -> Result<Vec<EncodedDft>, EvalError> {
    let share = factor.powf(1.0 / matrices.len() as f64);
    let rescaled = |level| PlaintextScale::Ratio { from: Scale::canonical(level), to: Scale::squared(level) };
    let scales = [first].into_iter().chain(iter::repeat(None));
    let one = |((matrix, level), scale): (_, Option<_>)| {
        EncodedDft::new(matrix, share, level, scale.unwrap_or_else(|| rescaled(level)), encoder)
    };
    matrices.into_iter().zip(scales).map(one).collect()
}

#[cfg(test)]
mod tests;
