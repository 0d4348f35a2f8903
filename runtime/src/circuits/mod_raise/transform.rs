//! The first matrix of coefficients to slots on the way back from the ephemeral secret.
//!
//! Of `(c_0, c_1)` under the ephemeral secret `s'`, with coefficients below `q0`, the rotation by
//! `r` under the main secret is `(P X_r(c_0), 0) + X_r(c_1) key_r`, divided by `P`, where `X_r` is
//! the automorphism and `key_r` leads from `X_r(s')`, and `P` is the gadget, a product of special
//! primes. The matrix is `sum_r diagonal_r * rotation_r`, divided once: by `P` and a prime of the
//! chain, or, where the diagonals have the scale of one special prime more, by `P` and that one,
//! and no level is used. Per prime and rotation both polynomials are permuted, multiplied by
//! the key, and by the diagonal, a few evaluations at a time, so that what streams from memory is
//! the keys and the diagonals.

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::scale::{Level, Scale};

use super::{EncapsulationKeys, Raised};
use crate::ckks::Factor;
use crate::ckks::eval::lazy::ExtendedFactor;
use crate::error::EvalError;
use crate::kernels::{self, PERMUTATION_BLOCK, RaisedTerm};
use crate::ring::automorphism::rotation_element;
use crate::ring::basis_extension::Tail;
use crate::ring::{Context, Domain, Poly};
use crate::rlwe::Ciphertext;
use crate::rlwe::key_switch::limb_pair;

/// Evaluations at a time: a piece of an expanded diagonal stays in the first cache.
const BLOCK: usize = 512;

impl Raised {
    /// `sum diagonal * rotation` over `terms` `(steps to the left, diagonal)`, rescaled, under the
    /// main secret. *Diagonals*: extended, encoded for the raised level from its canonical to its
    /// squared scale, or, where the level is conserved, at the scale of the special prime above the
    /// gadget's. *Level*: one less, or the same. *Scale*: canonical.
    ///
    /// *Cost*: per prime and term two products with the key and two with the diagonal; one
    /// division.
    pub fn transform(
        &self,
        context: &Context,
        keys: &EncapsulationKeys,
        terms: &[(usize, &Factor)],
    ) -> Result<Ciphertext, EvalError> {
        let op = "transform while raising";
        let gadget = BootstrapParams::raising_special_primes(context.params());
        let conserves_level = self.c1.basis().special > gadget;
        let Some(below) = self.level.checked_sub(Level::from(!conserves_level)) else {
            return Err(EvalError::LevelTooLow { op, needed: 1, found: 0 });
        };
        let mut pairs = Vec::new();
        for &(steps, diagonal) in terms {
            self.check(op, diagonal)?;
            let element = rotation_element(steps as i64, context.ring_degree());
            pairs.push((keys.rotation(op, steps)?, context.automorphism(element), diagonal));
        }
        let basis = self.c1.basis();
        let mut sums = [(); 2].map(|()| Poly::zero(context, basis, Domain::Evaluation));
        let outputs = sums.iter_mut().map(Poly::data_mut).collect();
        context.each_group(1, outputs, |limbs, mut outputs| {
            let (isa, degree, limb) = (context.isa(), context.ring_degree(), limbs.start);
            let prime = context.prime(basis, limb);
            let modulus = context.modulus(prime);
            let [sum0, sum1] = limb_pair(context, &mut outputs, 0);
            // `P c_0`, which is zero modulo the primes of the gadget.
            let multiple = (!(basis.chain..basis.chain + gadget).contains(&limb)).then(|| {
                let mut multiple = context.scratch(1);
                multiple.copy_from_slice(self.c0.limb(limb));
                let product = context.special_product(prime, gadget);
                kernels::mul_scalar_assign(isa, &mut multiple, product, modulus);
                multiple
            });
            let block = BLOCK.min(degree);
            let mut expanded = [0; BLOCK];
            for (key, permutation, diagonal) in &pairs {
                let key = [key.body.limb_in(basis, limb), key.uniform.limb_in(basis, limb)];
                let multiple = multiple.as_ref().map(|multiple| &multiple[..]);
                let term = RaisedTerm { c1: self.c1.limb(limb), multiple, permutation, key };
                for start in (0..degree).step_by(block) {
                    let (first, range) = (start / PERMUTATION_BLOCK, start..start + block);
                    let factor = diagonal.block(context, basis, limb, start, &mut expanded[..block]);
                    let sums = [&mut sum0[range.clone()], &mut sum1[range]];
                    kernels::raised_term_add_assign(isa, sums, &term, factor, first, modulus);
                }
            }
        });
        let [sum0, sum1] = &sums;
        let kept = context.basis_at(basis, self.level, below);
        let polys = context.divide_round([sum0, sum1], kept, [Tail::default(); 2]);
        Ok(Ciphertext::new(polys.into(), below, Scale::canonical(below), self.slots, self.key))
    }

    fn check(&self, op: &'static str, diagonal: &Factor) -> Result<(), EvalError> {
        if diagonal.level() < self.level {
            return Err(EvalError::LevelTooLow { op, needed: self.level, found: diagonal.level() });
        }
        if !diagonal.is_extended() {
            return Err(EvalError::PlaintextForm {
                op,
                expected: "in Montgomery form over the extended basis",
            });
        }
        Ok(())
    }

    /// The level raised to.
    pub fn level(&self) -> Level {
        self.level
    }
}
