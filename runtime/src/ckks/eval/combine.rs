//! Linear combinations with integer coefficients, and products, of ciphertexts from different
//! levels, in one pass over memory: what polynomials are made of.

use fhec_ir::scale::{ExactScale, Level, Scale};
use num_bigint::BigInt;

use super::mul::{constant_residues, scaled_integer};
use super::{Evaluator, check_keys, check_size};
use crate::error::EvalError;
use crate::kernels;
use crate::ring::{Poly, Work};
use crate::rlwe::Ciphertext;

impl Evaluator<'_> {
    /// `sum_i factors_i sources_i + constant`, over the primes of `level`, as integers: scales are
    /// the caller's business, who names that of the result.
    ///
    /// *Level*: one that nests in that of every source. *Size*: that of the largest source. *Cost*:
    /// one product per source limb, one reduction per limb.
    ///
    /// # Panics
    /// Without a source.
    pub fn combine(
        &self,
        level: Level,
        scale: Scale,
        sources: &[(&Ciphertext, BigInt)],
        constant: &BigInt,
    ) -> Result<Ciphertext, EvalError> {
        let op = "combine";
        let (first, _) = sources.first().expect("a combination has a source");
        for (source, factor) in sources {
            check_keys(op, first.key(), source.key())?;
            self.check_nested(op, source.level(), level)?;
            self.check_constant(factor, level)?;
        }
        self.check_constant(constant, level)?;
        let context = self.context;
        let basis = context.basis_at(first.polys()[0].basis(), first.level(), level);
        let factors: Vec<Vec<u64>> =
            sources.iter().map(|(_, factor)| constant_residues(context, factor)).collect();
        let constant = constant_residues(context, constant);
        let size = sources.iter().map(|(source, _)| source.size()).max().unwrap_or(2);
        let mut polys: Vec<Poly> =
            (0..size).map(|_| Poly::arbitrary(context, basis, first.polys()[0].domain())).collect();
        for (index, out) in polys.iter_mut().enumerate() {
            let present: Vec<(&Poly, &Vec<u64>)> = sources
                .iter()
                .zip(&factors)
                .filter_map(|((source, _), factor)| Some((source.polys().get(index)?, factor)))
                .collect();
            let work = if present.len() < 4 { Work::Light } else { Work::Heavy };
            context.each_limb(work, [out.data_mut()], |limb, [out]| {
                let (isa, prime) = (context.isa(), basis.chain_prime(limb));
                let modulus = context.modulus(prime);
                let limbs: Vec<&[u64]> = present.iter().map(|(poly, _)| poly.limb_in(basis, limb)).collect();
                let factors: Vec<u64> =
                    present.iter().map(|(_, factor)| modulus.to_montgomery(factor[prime])).collect();
                let bits = vec![modulus.bits(); limbs.len()];
                kernels::basis_convert(isa, out, &limbs, &bits, &factors, modulus);
                if index == 0 && constant[prime] != 0 {
                    // A constant polynomial has the same value at every point.
                    kernels::add_scalar_assign(isa, out, constant[prime], modulus);
                }
            });
        }
        let slots = sources.iter().map(|(source, _)| source.slots()).max().unwrap_or(1);
        Ok(Ciphertext::new(polys, level, scale, slots, first.key()))
    }

    /// `a b` over the primes of `level`, which nests in both levels, without copies of operands
    /// from above it; named `D_level^2`, whatever the scales are. *Size*: 2 and 2, gives 3.
    pub(crate) fn product_at(
        &self,
        level: Level,
        a: &Ciphertext,
        b: &Ciphertext,
    ) -> Result<Ciphertext, EvalError> {
        let op = "product";
        check_keys(op, a.key(), b.key())?;
        for operand in [a, b] {
            check_size(op, 2, operand)?;
            self.check_nested(op, operand.level(), level)?;
        }
        let context = self.context;
        let basis = context.basis_at(a.polys()[0].basis(), a.level(), level);
        let mut polys = [(); 3].map(|()| Poly::arbitrary(context, basis, a.polys()[0].domain()));
        let outputs = polys.each_mut().map(Poly::data_mut);
        let square = std::ptr::eq(a, b);
        context.each_limb(Work::Light, outputs, |limb, [c0, c1, c2]| {
            let (isa, modulus) = (context.isa(), context.modulus(basis.chain_prime(limb)));
            let [a0, a1, b0, b1] =
                [(a, 0), (a, 1), (b, 0), (b, 1)].map(|(x, i)| x.polys()[i].limb_in(basis, limb));
            if square {
                kernels::add_into(isa, c0, a0, a0, modulus);
                kernels::mul_into(isa, c1, c0, a1, modulus);
            } else {
                kernels::mul_into(isa, c1, a0, b1, modulus);
                kernels::mul_add_assign(isa, c1, a1, b0, modulus);
            }
            kernels::mul_into(isa, c0, a0, b0, modulus);
            kernels::mul_into(isa, c2, a1, b1, modulus);
        });
        let slots = a.slots().max(b.slots());
        Ok(Ciphertext::new(polys.into(), level, Scale::squared(level), slots, a.key()))
    }

    /// The integer nearest to `constant * scale`.
    pub(crate) fn scaled_integer(&self, constant: f64, scale: &ExactScale) -> Result<BigInt, EvalError> {
        scaled_integer(constant, scale)
    }
}
