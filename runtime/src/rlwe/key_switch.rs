//! Digit decomposition and the fused inner product with a key.
//!
//! Hybrid key switching of `c`: split the chain primes into digits, lift `c` modulo each digit to
//! all primes of the extended basis, multiply by the key of the digit, sum, divide by `P`. The
//! lifted digits are `dnum` times larger than the input, so they are never all in memory: for two
//! target primes at a time, one limb of every digit is lifted into a scratch buffer, transformed
//! and used up there. What streams from memory is the key alone.

use std::ops::Range;
use std::sync::Arc;

use fhec_ir::scale::Level;

use super::switching_key::SwitchingKey;
use crate::kernels;
use crate::ring::basis_conversion::BasisConversion;
use crate::ring::basis_extension::TARGETS_AT_ONCE;
use crate::ring::pool::PooledBuffer;
use crate::ring::{Basis, Context, Domain, Poly};

/// A polynomial split into the digits of its level, ready to be lifted to any prime: the part of a
/// key switch that does not depend on the key. *Cost*: one inverse transform per limb.
#[doc(alias("hybrid key switching", "dnum", "digits", "gadget decomposition"))]
pub struct Decomposition<'a> {
    input: &'a Poly,
    /// The basis of the input, with all special primes.
    basis: Basis,
    digits: Vec<Digit>,
    /// Digits of the level that have no prime here, in runs. Where digits are single primes, those
    /// that are left out are apart.
    absent: Vec<Range<usize>>,
}

/// A digit of a polynomial.
struct Digit {
    /// Where its primes are.
    limbs: Range<usize>,
    conversion: Arc<BasisConversion>,
    /// What the conversion reads.
    prepared: PooledBuffer,
}

impl<'a> Decomposition<'a> {
    /// Decomposes `input`, a polynomial over primes that keys of `level` are over, in the
    /// evaluation domain.
    ///
    /// A key's digit is a multiple that is 1 modulo the digit's primes and 0 modulo the others,
    /// whichever of them there are: where primes are left out, digits have fewer of them, or none.
    pub(crate) fn new(context: &Context, input: &'a Poly, level: Level) -> Self {
        let basis = input.basis();
        assert!(
            context.key_basis(level).contains(basis) && basis.special == 0,
            "the input of a key switch has primes of its level"
        );
        assert_eq!(input.domain(), Domain::Evaluation, "ciphertexts are kept as evaluations");
        let ranges = context.params().digits(level);
        let limbs: Vec<Range<usize>> = ranges.into_iter().map(|range| basis.limbs_of(range)).collect();
        let mut absent: Vec<Range<usize>> = Vec::new();
        for (digit, _) in limbs.iter().enumerate().filter(|(_, limbs)| limbs.is_empty()) {
            match absent.last_mut() {
                Some(run) if run.end == digit => run.end += 1,
                _ => absent.push(digit..digit + 1),
            }
        }
        let digits: Vec<(Range<usize>, Arc<BasisConversion>)> = limbs
            .into_iter()
            .filter(|limbs| !limbs.is_empty())
            .map(|limbs| {
                let primes = limbs.clone().map(|limb| basis.chain_prime(limb)).collect();
                (limbs, context.conversion(primes))
            })
            .collect();
        let sources: Vec<(&BasisConversion, Vec<&[u64]>)> = digits
            .iter()
            .map(|(limbs, conversion)| (&**conversion, limbs.clone().map(|limb| input.limb(limb)).collect()))
            .collect();
        let prepared = context.prepare(&sources);
        let digits = digits.into_iter().zip(prepared);
        let digits =
            digits.map(|((limbs, conversion), prepared)| Digit { limbs, conversion, prepared }).collect();
        let basis = basis.with_special(context.params().p().len());
        Decomposition { input, basis, digits, absent }
    }

    /// The extended basis that the digits are lifted to.
    pub(crate) fn basis(&self) -> Basis {
        self.basis
    }

    /// Scratch that [`Self::lift`] needs for `limbs` target primes, in limbs.
    pub(crate) fn lift_scratch(&self, limbs: usize) -> usize {
        limbs * self.digits.len()
    }

    /// All digits modulo the primes of the limbs `limbs`, in the evaluation domain:
    /// `[limb][digit]`. A digit's own primes need no lift: there it is the input.
    #[doc(alias("ModUp", "mod up"))]
    pub(crate) fn lift<'s>(
        &'s self,
        context: &Context,
        limbs: Range<usize>,
        scratch: &'s mut [u64],
    ) -> Vec<Vec<&'s [u64]>> {
        let (degree, count) = (context.ring_degree(), self.digits.len());
        for (index, digit) in self.digits.iter().enumerate() {
            let slots = scratch.chunks_exact_mut(degree).skip(index).step_by(count.max(1));
            let (primes, mut outs): (Vec<usize>, Vec<&mut [u64]>) = limbs
                .clone()
                .zip(slots)
                .filter(|(limb, _)| !digit.limbs.contains(limb))
                .map(|(limb, out)| (context.prime(self.basis, limb), out))
                .unzip();
            digit.conversion.convert(context, &mut outs, &digit.prepared, &primes);
        }
        // Prime by prime, so that the constants of its transform are in the cache for all digits.
        let mut lifted = Vec::with_capacity(limbs.len());
        let mut slots = scratch.chunks_exact_mut(degree);
        for limb in limbs {
            let transform = context.transform(context.prime(self.basis, limb));
            let digits = self.digits.iter().zip(&mut slots).map(|(digit, slot)| {
                if digit.limbs.contains(&limb) {
                    return self.input.limb(limb);
                }
                transform.other_passes(context.isa(), slot);
                &*slot
            });
            lifted.push(digits.collect());
        }
        lifted
    }

    /// `(out0, out1) <- sum of digits * key` modulo the prime of limb `limb`.
    pub(crate) fn inner_product(
        &self,
        context: &Context,
        key: &SwitchingKey,
        limb: usize,
        digits: &[&[u64]],
        out0: &mut [u64],
        out1: &mut [u64],
    ) {
        let modulus = context.modulus(context.prime(self.basis, limb));
        let key = self.key_limb(key, limb);
        kernels::key_inner_product(context.isa(), out0, out1, digits, key, modulus);
    }

    /// What a key has for the digits modulo the prime of limb `limb`.
    pub(crate) fn key_limb<'k>(&'k self, key: &'k SwitchingKey, limb: usize) -> kernels::KeyLimb<'k> {
        key.limb(self.basis, limb, &self.absent)
    }

    /// `P` times the input, switched: `u_0 + u_1 to = P input from + error`, over the extended
    /// basis.
    pub(crate) fn key_switch(&self, context: &Context, key: &SwitchingKey) -> [Poly; 2] {
        let mut out = [(); 2].map(|()| Poly::arbitrary(context, self.basis, Domain::Evaluation));
        let outputs = out.iter_mut().map(Poly::data_mut).collect();
        context.each_group(TARGETS_AT_ONCE, outputs, |limbs, mut outputs| {
            let mut scratch = context.scratch(self.lift_scratch(limbs.len()));
            let lifted = self.lift(context, limbs.clone(), &mut scratch);
            for (i, (limb, digits)) in limbs.zip(lifted).enumerate() {
                let [out0, out1] = limb_pair(context, &mut outputs, i);
                self.inner_product(context, key, limb, &digits, out0, out1);
            }
        });
        out
    }
}

/// Limb `limb` of each of a pair of outputs.
pub(crate) fn limb_pair<'o>(
    context: &Context,
    outputs: &'o mut [&mut [u64]],
    limb: usize,
) -> [&'o mut [u64]; 2] {
    let degree = context.ring_degree();
    match outputs {
        [out0, out1] => [&mut out0[limb * degree..][..degree], &mut out1[limb * degree..][..degree]],
        _ => unreachable!("outputs come in pairs"),
    }
}
