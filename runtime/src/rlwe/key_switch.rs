//! Digit decomposition and the fused inner product with a key.
//!
//! Hybrid key switching of `c`: split the chain primes into digits, lift `c` modulo each digit to all primes of the
//! extended basis, multiply by the key of the digit, sum, divide by `P`. The lifted digits are `dnum` times larger than
//! the input, so they are never all in memory: per target prime, one limb of every digit is lifted into a scratch buffer,
//! transformed and used up there. What streams from memory is the key alone.

use std::ops::Range;
use std::sync::Arc;

use fhec_ir::scale::Level;
use rayon::prelude::*;

use super::switching_key::SwitchingKey;
use crate::kernels;
use crate::ring::basis_extension::BasisConversion;
use crate::ring::pool::PooledBuffer;
use crate::ring::{Basis, Context, Domain, Poly, Work};

/// A polynomial split into the digits of its level, ready to be lifted to any prime: the part of a key switch that does
/// not depend on the key. *Cost*: one inverse transform per limb.
pub struct Decomposition<'a> {
    input: &'a Poly,
    /// The extended basis of the input's level.
    basis: Basis,
    digits: Vec<(Range<usize>, Arc<BasisConversion>)>,
    /// `[limb][coefficient]` of the input, prepared for conversion.
    residues: PooledBuffer,
    /// `[digit][coefficient]`; empty where digits are single primes.
    quotients: PooledBuffer,
}

impl<'a> Decomposition<'a> {
    /// Decomposes `input`, a polynomial over the chain primes of `level` in the evaluation domain.
    pub(crate) fn new(context: &Context, input: &'a Poly, level: Level) -> Self {
        assert_eq!(
            input.basis(),
            context.basis(level),
            "the input of a key switch has the primes of its level"
        );
        assert_eq!(input.domain(), Domain::Evaluation, "ciphertexts are kept as evaluations");
        let (isa, degree) = (context.isa(), context.ring_degree());
        let ranges = context.params().digits(level);
        let digits: Vec<(Range<usize>, Arc<BasisConversion>)> = ranges
            .into_iter()
            .map(|range| (range.clone(), context.conversion(range.start, range.end, false)))
            .collect();
        let mut residues = context.scratch(input.limbs());
        context.each_limb(Work::Heavy, [&mut residues], |limb, [x]| {
            x.copy_from_slice(input.limb(limb));
            context.transform(limb).inverse(isa, x);
        });
        let alpha = context.params().digit_limbs();
        let mut quotients = context.scratch(if alpha == 1 { 0 } else { digits.len() });
        residues
            .par_chunks_mut(alpha * degree)
            .zip(quotients.par_chunks_mut(degree))
            .zip(&digits)
            .for_each(|((x, v), (_, conversion))| conversion.prepare(isa, context.moduli(), x, v));
        Decomposition { input, basis: Basis::extended(input.limbs()), digits, residues, quotients }
    }

    /// The extended basis that the digits are lifted to.
    pub(crate) fn basis(&self) -> Basis {
        self.basis
    }

    /// Number of digits.
    pub(crate) fn digits(&self) -> usize {
        self.digits.len()
    }

    /// All digits modulo the prime of limb `limb`, in the evaluation domain. `scratch` has a limb per digit. A digit's
    /// own primes need no lift: there it is the input.
    pub(crate) fn lift<'s>(
        &'s self,
        context: &Context,
        limb: usize,
        scratch: &'s mut [u64],
    ) -> Vec<&'s [u64]> {
        let degree = context.ring_degree();
        let (isa, prime) = (context.isa(), context.prime(self.basis, limb));
        let digits = self.digits.iter().enumerate().zip(scratch.chunks_exact_mut(degree));
        digits
            .map(|((index, (range, conversion)), out)| {
                if range.contains(&limb) {
                    return self.input.limb(limb);
                }
                let residues = &self.residues[range.start * degree..range.end * degree];
                let quotients = if conversion.quotient_limbs() == 0 {
                    &[][..]
                } else {
                    &self.quotients[index * degree..][..degree]
                };
                conversion.convert(isa, context.moduli(), out, (residues, quotients), prime);
                context.transform(prime).forward(isa, out);
                &*out
            })
            .collect()
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
        let (body, uniform): (Vec<&[u64]>, Vec<&[u64]>) =
            (0..digits.len()).map(|digit| key.limb(self.basis, limb, digit)).unzip();
        let modulus = context.modulus(context.prime(self.basis, limb));
        kernels::key_inner_product(context.isa(), out0, out1, digits, &body, &uniform, false, modulus);
    }

    /// `P` times the input, switched: `u_0 + u_1 to = P input from + error`, over the extended basis.
    pub(crate) fn key_switch(&self, context: &Context, key: &SwitchingKey) -> [Poly; 2] {
        let mut out = [(); 2].map(|()| Poly::arbitrary(context, self.basis, Domain::Evaluation));
        context.each_limb(Work::Heavy, out.each_mut().map(Poly::data_mut), |limb, [out0, out1]| {
            let mut scratch = context.scratch(self.digits());
            let digits = self.lift(context, limb, &mut scratch);
            self.inner_product(context, key, limb, &digits, out0, out1);
        });
        out
    }
}
