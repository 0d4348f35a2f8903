//! Rotations and products one at a time: what sums of rotated products are compared with.

use crate::ckks::eval::lazy::check_extended_factor;
use crate::ckks::eval::rotate::LiftedLimb;
use crate::ckks::eval::{check_keys, check_levels, check_scale};
use crate::ckks::{Evaluator, Hoisted, Plaintext};
use crate::error::EvalError;
use crate::kernels;
use crate::ring::basis_extension::TARGETS_AT_ONCE;
use crate::ring::{Domain, Poly, Work};
use crate::rlwe::ExtendedCiphertext;
use crate::rlwe::key_switch::limb_pair;

impl Evaluator<'_> {
    /// The rotations of a hoisted ciphertext with their divisions by `P` postponed.
    pub(super) fn rotate_hoisted_lazy(
        &self,
        a: &Hoisted<'_>,
        steps: &[i64],
    ) -> Result<Vec<ExtendedCiphertext>, EvalError> {
        let elements = self.rotation_elements(a, steps);
        let keys = self.galois_keys("rotate_hoisted_lazy", a, &elements)?;
        let (context, ciphertext) = (self.context, a.ciphertext);
        let mut rotated: Vec<ExtendedCiphertext> = keys
            .iter()
            .map(|_| ExtendedCiphertext {
                polys: [(); 2]
                    .map(|()| Poly::arbitrary(context, a.decomposition.basis(), Domain::Evaluation)),
                level: ciphertext.level(),
                scale: ciphertext.scale(),
                slots: ciphertext.slots(),
                key: ciphertext.key(),
            })
            .collect();
        let permutations = self.permutations(&elements);
        let outputs = rotated.iter_mut().flat_map(|r| r.polys.iter_mut().map(Poly::data_mut)).collect();
        context.each_group(TARGETS_AT_ONCE, outputs, |limbs, mut outputs| {
            let mut scratch = context.scratch(a.decomposition.lift_scratch(limbs.len()));
            let lifted = a.decomposition.lift(context, limbs.clone(), &mut scratch);
            for (i, (limb, digits)) in limbs.zip(lifted).enumerate() {
                let lifted = LiftedLimb::new(context, a, limb, digits);
                for ((outs, key), permutation) in outputs.chunks_exact_mut(2).zip(&keys).zip(&permutations) {
                    lifted.rotate(*key, permutation, limb_pair(context, outs, i), 0);
                }
            }
        });
        Ok(rotated)
    }

    /// `sum += a b`, all with their divisions by `P` postponed. *Plaintext*: extended, in
    /// Montgomery form.
    pub(super) fn mul_plain_add_extended_assign(
        &self,
        sum: &mut ExtendedCiphertext,
        a: &ExtendedCiphertext,
        b: &Plaintext,
    ) -> Result<(), EvalError> {
        let op = "mul_plain_add_extended";
        check_keys(op, sum.key, a.key)?;
        check_levels(op, sum.level, a.level)?;
        self.check_nested(op, b.level, a.level)?;
        let mismatch = EvalError::PlaintextScaleMismatch { op, ciphertext: a.scale, plaintext: b.scale };
        check_scale(op, sum.scale, b.scale.product(a.scale, self.context.params()).ok_or(mismatch)?)?;
        check_extended_factor(op, b)?;
        let context = self.context;
        let basis = a.polys[0].basis();
        for (sum, x) in sum.polys.iter_mut().zip(&a.polys) {
            context.each_limb(Work::Light, [sum.data_mut()], |limb, [out]| {
                let (factor, modulus) =
                    (b.poly.limb_in(basis, limb), context.modulus(context.prime(basis, limb)));
                kernels::mul_montgomery_add_assign(context.isa(), out, x.limb(limb), factor, modulus);
            });
        }
        sum.slots = sum.slots.max(a.slots).max(b.slots);
        Ok(())
    }
}
