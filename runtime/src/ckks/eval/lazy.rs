//! Sums of rotated products with one division in the end: double hoisting (Bossuat et al., ePrint
//! 2020/1203, section 4).
//!
//! A linear transform by baby and giant steps is
//!
//! 1. [`Evaluator::hoist`] the input;
//! 2. [`Evaluator::rotate_and_sum_products`]: for every giant step, the sum of plaintexts times
//!    baby-step rotations;
//! 3. [`Evaluator::add_rotated_assign`] each of them into one sum,
//!    [`Evaluator::divide_special_rescale`] in the end.

use fhec_ir::params::Params;
use fhec_ir::scale::{Level, Scale};

use super::mul::add_special_multiple;
use super::rotate::{Hoisted, LiftedLimb};
use super::{Evaluator, check_keys, check_levels, check_scale, check_size};
use crate::ckks::plaintext::{Form, Plaintext};
use crate::error::EvalError;
use crate::kernels;
use crate::names::PlaintextScale;
use crate::ring::automorphism::rotation_element;
use crate::ring::basis_extension::{TARGETS_AT_ONCE, Tail};
use crate::ring::{Basis, Context, Domain, Poly, Work};
use crate::rlwe::key_switch::limb_pair;
use crate::rlwe::{Ciphertext, Decomposition, ExtendedCiphertext, SwitchingKeyKind};

impl Evaluator<'_> {
    /// `P a`, over the extended basis.
    pub fn extend(&self, a: &Ciphertext) -> Result<ExtendedCiphertext, EvalError> {
        check_size("extend", 2, a)?;
        let basis = a.polys()[0].basis().with_special(self.context.params().p().len());
        let polys = [(); 2].map(|()| Poly::zero(self.context, basis, Domain::Evaluation));
        let (level, scale, slots, key) = (a.level(), a.scale(), a.slots(), a.key());
        let mut out = ExtendedCiphertext { polys, level, scale, slots, key };
        for (x, c) in out.polys.iter_mut().zip(a.polys()) {
            add_special_multiple(self.context, x, c);
        }
        Ok(out)
    }

    /// `sum += a`. *Level, scale*: equal.
    pub fn add_extended_assign(
        &self,
        sum: &mut ExtendedCiphertext,
        a: &ExtendedCiphertext,
    ) -> Result<(), EvalError> {
        check_sum("add_extended", sum, a)?;
        for (x, y) in sum.polys.iter_mut().zip(&a.polys) {
            x.add_assign(self.context, y);
        }
        sum.slots = sum.slots.max(a.slots);
        Ok(())
    }

    /// `sum *= mask` for a plaintext of plain residues over the extended basis, encoded at a power
    /// of two that the scale of `sum` has left to it ([`PlaintextScale::BeforeMask`]).
    pub fn mask_extended_assign(
        &self,
        sum: &mut ExtendedCiphertext,
        mask: &Plaintext,
    ) -> Result<(), EvalError> {
        let (op, context) = ("mask_extended", self.context);
        let basis = sum.polys[0].basis();
        if mask.level() < sum.level {
            return Err(EvalError::LevelTooLow { op, needed: sum.level, found: mask.level() });
        }
        if mask.form() != Form::Residues || !mask.poly().basis().contains(basis) {
            return Err(EvalError::PlaintextForm { op, expected: "plain residues over the extended basis" });
        }
        for poly in &mut sum.polys {
            context.each_limb(Work::Light, [poly.data_mut()], |limb, [x]| {
                let modulus = context.modulus(context.prime(basis, limb));
                kernels::mul_assign(context.isa(), x, mask.poly().limb_in(basis, limb), modulus);
            });
        }
        Ok(())
    }

    /// For every row of `terms`, the sum of `rotation[steps[i]] * factor` over its terms `(i,
    /// factor)`, with the divisions by `P` postponed.
    ///
    /// Per target prime, the digits of the input live in scratch memory only, and its rotations a
    /// block at a time; keys and plaintexts stream past. *Factors*: extended, in Montgomery form,
    /// all giving the same scale. *Cost*: one lift; per rotation an inner product with its key; no
    /// division.
    pub fn rotate_and_sum_products<F: ExtendedFactor>(
        &self,
        a: &Hoisted<'_>,
        steps: &[i64],
        terms: &[Vec<(usize, &F)>],
    ) -> Result<Vec<ExtendedCiphertext>, EvalError> {
        let op = "rotate_and_sum_products";
        let (scale, slots) = check_factors(op, self.context.params(), a, terms)?;
        let ciphertext = a.ciphertext;
        let basis = a.decomposition.basis();
        let mut sums: Vec<ExtendedCiphertext> = terms
            .iter()
            .map(|_| ExtendedCiphertext {
                polys: [(); 2].map(|()| Poly::arbitrary(self.context, basis, Domain::Evaluation)),
                level: ciphertext.level(),
                scale: scale.unwrap_or(ciphertext.scale()),
                slots,
                key: ciphertext.key(),
            })
            .collect();
        self.products_into(op, &mut sums, a, steps, terms, false)?;
        Ok(sums)
    }

    /// [`Self::rotate_and_sum_products`], each sum added to one of `sums`. *Level, scale*: equal.
    pub fn rotate_and_add_products<F: ExtendedFactor>(
        &self,
        sums: &mut [ExtendedCiphertext],
        a: &Hoisted<'_>,
        steps: &[i64],
        terms: &[Vec<(usize, &F)>],
    ) -> Result<(), EvalError> {
        let op = "rotate_and_add_products";
        let (scale, slots) = check_factors(op, self.context.params(), a, terms)?;
        for sum in sums.iter() {
            check_keys(op, sum.key, a.ciphertext.key())?;
            check_levels(op, sum.level, a.ciphertext.level())?;
            check_scale(op, sum.scale, scale.unwrap_or(sum.scale))?;
        }
        sums.iter_mut().for_each(|sum| sum.slots = sum.slots.max(slots));
        self.products_into(op, sums, a, steps, terms, true)
    }

    fn products_into<F: ExtendedFactor>(
        &self,
        op: &'static str,
        sums: &mut [ExtendedCiphertext],
        a: &Hoisted<'_>,
        steps: &[i64],
        terms: &[Vec<(usize, &F)>],
        accumulate: bool,
    ) -> Result<(), EvalError> {
        assert_eq!(sums.len(), terms.len(), "one sum per row of terms");
        let context = self.context;
        let elements = self.rotation_elements(a, steps);
        let keys = self.galois_keys(op, a, &elements)?;
        let permutations = self.permutations(&elements);
        let basis = a.decomposition.basis();
        let outputs = sums.iter_mut().flat_map(|sum| sum.polys.iter_mut().map(Poly::data_mut)).collect();
        context.each_group(TARGETS_AT_ONCE, outputs, |limbs, mut outputs| {
            let degree = context.ring_degree();
            let mut scratch = context.scratch(a.decomposition.lift_scratch(limbs.len()));
            let block = FACTOR_BLOCK.min(degree);
            // Halves of rotations do not all start in one cache set.
            let stride = block + ROTATED_PADDING;
            let mut rotated = context.pool().take(2 * steps.len() * stride);
            let longest = terms.iter().map(Vec::len).max().unwrap_or(0);
            let mut expanded = context.scratch((longest * block).div_ceil(degree));
            let lifted = a.decomposition.lift(context, limbs.clone(), &mut scratch);
            for (i, (limb, digits)) in limbs.zip(lifted).enumerate() {
                let modulus = context.modulus(context.prime(basis, limb));
                let lifted = LiftedLimb::new(context, a, limb, digits);
                // Rotations are made block by block, and stay in the cache until all rows have been
                // multiplied with them.
                for start in (0..degree).step_by(block) {
                    for ((outs, key), permutation) in
                        rotated.chunks_exact_mut(2 * stride).zip(&keys).zip(&permutations)
                    {
                        let (out0, out1) = outs.split_at_mut(stride);
                        let outs = [&mut out0[..block], &mut out1[..block]];
                        lifted.rotate(*key, permutation, outs, start / kernels::PERMUTATION_BLOCK);
                    }
                    for (outs, terms) in outputs.chunks_exact_mut(2).zip(terms) {
                        let [out0, out1] = limb_pair(context, outs, i);
                        let half = |half: usize| -> Vec<&[u64]> {
                            let of = |i: usize| &rotated[(2 * i + half) * stride..][..block];
                            terms.iter().map(|&(i, _)| of(i)).collect()
                        };
                        let factors: Vec<&[u64]> = terms
                            .iter()
                            .zip(expanded.chunks_exact_mut(block))
                            .map(|((_, f), scratch)| f.block(context, basis, limb, start, scratch))
                            .collect();
                        // The kernel wants one operand of each product in Montgomery form: here the
                        // factors.
                        let (rotated0, rotated1) = (half(0), half(1));
                        let (out0, out1) = (&mut out0[start..][..block], &mut out1[start..][..block]);
                        let isa = context.isa();
                        kernels::pair_products(
                            isa, out0, out1, &factors, &rotated0, &rotated1, accumulate, modulus,
                        );
                    }
                }
            }
        });
        Ok(())
    }

    /// `sum += rotation of a left by steps`, both with their divisions by `P` postponed: a giant
    /// step.
    ///
    /// *Cost*: one key switch, of which half a division.
    pub fn add_rotated_assign(
        &self,
        sum: &mut ExtendedCiphertext,
        a: &ExtendedCiphertext,
        steps: i64,
    ) -> Result<(), EvalError> {
        let op = "add_rotated";
        check_sum(op, sum, a)?;
        check_keys(op, a.key, self.keys.id())?;
        let context = self.context;
        let element = rotation_element(steps.rem_euclid(a.slots as i64), context.ring_degree());
        if element == 1 {
            return self.add_extended_assign(sum, a);
        }
        let key = self.keys.get(op, SwitchingKeyKind::Galois { element }, a.level)?;
        let permutation = context.automorphism(element);
        let basis = a.polys[1].basis();
        let [divided] = context.divide_round([&a.polys[1]], basis.with_special(0), [Tail::default()]);
        let decomposition = Decomposition::new(context, &divided, a.level);
        let outputs = sum.polys.iter_mut().map(Poly::data_mut).collect();
        context.each_group(TARGETS_AT_ONCE, outputs, |limbs, mut outputs| {
            let mut scratch = context.scratch(decomposition.lift_scratch(limbs.len()));
            let mut switched = context.scratch(2);
            let (u0, u1) = switched.split_at_mut(context.ring_degree());
            let lifted = decomposition.lift(context, limbs.clone(), &mut scratch);
            for (i, (limb, digits)) in limbs.zip(lifted).enumerate() {
                let (isa, modulus) = (context.isa(), context.modulus(context.prime(basis, limb)));
                decomposition.inner_product(context, key, limb, &digits, u0, u1);
                kernels::add_assign(isa, u0, a.polys[0].limb(limb), modulus);
                for (sum, u) in limb_pair(context, &mut outputs, i).into_iter().zip([&*u0, &*u1]) {
                    kernels::permute_add_assign(isa, sum, u, &permutation, modulus);
                }
            }
        });
        sum.slots = sum.slots.max(a.slots);
        Ok(())
    }

    /// `a / P`, rounded: the ciphertext, at the same level and scale.
    #[doc(alias("ModDown", "mod down"))]
    pub fn divide_special(&self, a: &ExtendedCiphertext) -> Ciphertext {
        a.mod_down(self.context)
    }

    /// `a / (P q)`, rounded once: divided by `P` and rescaled. *Scale*: `D_level^2`.
    #[doc(alias("ModDown", "mod down"))]
    pub fn divide_special_rescale(&self, a: &ExtendedCiphertext) -> Result<Ciphertext, EvalError> {
        let op = "divide_special_rescale";
        let Some(level) = a.level.checked_sub(1) else {
            return Err(EvalError::LevelTooLow { op, needed: 1, found: 0 });
        };
        check_scale(op, Scale::squared(a.level), a.scale)?;
        let [c0, c1] = &a.polys;
        let kept = self.context.basis_at(c0.basis(), a.level, level);
        let polys = self.context.divide_round([c0, c1], kept, [Tail::default(); 2]);
        let scale = Scale::canonical(level);
        Ok(Ciphertext::new(polys.into(), level, scale, a.slots, a.key))
    }
}

fn check_sum(op: &'static str, a: &ExtendedCiphertext, b: &ExtendedCiphertext) -> Result<(), EvalError> {
    check_keys(op, a.key, b.key)?;
    check_levels(op, a.level, b.level)?;
    check_scale(op, a.scale, b.scale)
}

/// Residues of a factor, and of every rotation, that are handled at a time: those of a dozen
/// rotations stay in the second cache.
pub(crate) const FACTOR_BLOCK: usize = 1 << 10;

/// Words between halves of rotations beyond their number.
const ROTATED_PADDING: usize = 72;

/// A plaintext to multiply extended ciphertexts with: over the extended basis, in Montgomery form.
pub trait ExtendedFactor: Sync {
    /// The highest level it can be used at.
    fn level(&self) -> Level;
    /// The primes it has residues for.
    fn basis(&self) -> Basis;
    /// Its scale.
    fn scale(&self) -> PlaintextScale;
    /// Number of slots.
    fn slots(&self) -> usize;
    /// Whether it is over the extended basis, in Montgomery form.
    fn is_extended(&self) -> bool;
    /// The residues from `start` on modulo the prime of limb `limb` of `basis`, as many as
    /// `scratch` has room for, which may be written.
    fn block<'s>(
        &'s self,
        context: &Context,
        basis: Basis,
        limb: usize,
        start: usize,
        scratch: &'s mut [u64],
    ) -> &'s [u64];
}

impl ExtendedFactor for Plaintext {
    fn level(&self) -> Level {
        self.level
    }

    fn basis(&self) -> Basis {
        self.poly.basis()
    }

    fn scale(&self) -> PlaintextScale {
        self.scale
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn is_extended(&self) -> bool {
        self.form == Form::Montgomery && self.poly.basis().special > 0
    }

    fn block<'s>(
        &'s self,
        _: &Context,
        basis: Basis,
        limb: usize,
        start: usize,
        scratch: &'s mut [u64],
    ) -> &'s [u64] {
        &self.poly.limb_in(basis, limb)[start..][..scratch.len()]
    }
}

/// Checks all factors; returns the scale of the products, if there are any, and their slots.
fn check_factors<F: ExtendedFactor>(
    op: &'static str,
    params: &Params,
    a: &Hoisted<'_>,
    terms: &[Vec<(usize, &F)>],
) -> Result<(Option<Scale>, usize), EvalError> {
    let ciphertext = a.ciphertext;
    let (mut scale, mut slots) = (None, ciphertext.slots());
    for (_, factor) in terms.iter().flatten() {
        check_primes(op, *factor, ciphertext)?;
        let product =
            factor.scale().product(ciphertext.scale(), params).ok_or(EvalError::PlaintextScaleMismatch {
                op,
                ciphertext: ciphertext.scale(),
                plaintext: factor.scale(),
            })?;
        check_scale(op, *scale.get_or_insert(product), product)?;
        check_extended_factor(op, *factor)?;
        slots = slots.max(factor.slots());
    }
    Ok((scale, slots))
}

/// Errs unless the factor has the primes of the ciphertext, whose level is not above its own.
fn check_primes<F: ExtendedFactor>(op: &'static str, factor: &F, a: &Ciphertext) -> Result<(), EvalError> {
    if factor.level() < a.level() {
        return Err(EvalError::LevelTooLow { op, needed: a.level(), found: factor.level() });
    }
    if !factor.basis().contains(a.polys()[0].basis()) {
        return Err(EvalError::NotNested { op, from: factor.level(), to: a.level() });
    }
    Ok(())
}

pub(super) fn check_extended_factor<F: ExtendedFactor>(
    op: &'static str,
    factor: &F,
) -> Result<(), EvalError> {
    if factor.is_extended() {
        return Ok(());
    }
    Err(EvalError::PlaintextForm { op, expected: "in Montgomery form over the extended basis" })
}
