//! Rotations and conjugation, one at a time or hoisted.

use std::sync::Arc;

use super::{Evaluator, check_keys, check_size};
use crate::error::EvalError;
use crate::kernels::{self, Permutation};
use crate::ring::automorphism::{conjugation_element, rotation_element};
use crate::ring::basis_extension::Tail;
use crate::ring::pool::PooledBuffer;
use crate::ring::{Context, Poly};
use crate::rlwe::{Ciphertext, Decomposition, SwitchingKey, SwitchingKeyKind};

/// A ciphertext whose second polynomial is decomposed, to be rotated many times.
pub struct Hoisted<'c> {
    pub(super) ciphertext: &'c Ciphertext,
    pub(super) decomposition: Decomposition<'c>,
}

impl Hoisted<'_> {
    /// The ciphertext.
    pub fn ciphertext(&self) -> &Ciphertext {
        self.ciphertext
    }
}

impl Evaluator<'_> {
    /// Rotates left by `steps`: slot `i + steps` moves to slot `i`. Negative steps rotate right.
    /// *Cost*: one key switch.
    pub fn rotate(&self, a: &Ciphertext, steps: i64) -> Result<Ciphertext, EvalError> {
        self.automorphism("rotate", a, self.rotation_element(a, steps))
    }

    /// The complex conjugate of every slot. *Cost*: one key switch.
    pub fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        self.automorphism("conjugate", a, conjugation_element(self.context.ring_degree()))
    }

    /// `X -> X^element` of the message.
    pub fn automorphism(
        &self,
        op: &'static str,
        a: &Ciphertext,
        element: u64,
    ) -> Result<Ciphertext, EvalError> {
        check_size(op, 2, a)?;
        check_keys(op, a.key(), self.keys.id())?;
        if element == 1 {
            return Ok(a.clone());
        }
        let key = self.keys.get(op, SwitchingKeyKind::Galois { element }, a.level())?;
        let decomposition = Decomposition::new(self.context, &a.polys()[1], a.level());
        let [u0, u1] = &decomposition.key_switch(self.context, key);
        Ok(self.finish_automorphism(a, [u0, u1], element))
    }

    /// Divides by `P`, adds `c_0`, permutes.
    fn finish_automorphism(&self, a: &Ciphertext, switched: [&Poly; 2], element: u64) -> Ciphertext {
        let permutation = self.context.automorphism(element);
        let permute = Some(&*permutation);
        let tails = [Tail { add: Some(&a.polys()[0]), permute }, Tail { add: None, permute }];
        let polys = self.context.divide_round(switched, a.polys()[0].basis(), tails);
        Ciphertext::new(polys.into(), a.level(), a.scale(), a.slots(), a.key())
    }

    /// Decomposes once for many rotations.
    pub fn hoist<'c>(&self, a: &'c Ciphertext) -> Result<Hoisted<'c>, EvalError> {
        check_size("hoist", 2, a)?;
        check_keys("hoist", a.key(), self.keys.id())?;
        let decomposition = Decomposition::new(self.context, &a.polys()[1], a.level());
        Ok(Hoisted { ciphertext: a, decomposition })
    }

    fn rotation_element(&self, a: &Ciphertext, steps: i64) -> u64 {
        // With fewer slots than N/2 the message has that period.
        rotation_element(steps.rem_euclid(a.slots() as i64), self.context.ring_degree())
    }

    pub(super) fn rotation_elements(&self, a: &Hoisted<'_>, steps: &[i64]) -> Vec<u64> {
        steps.iter().map(|&steps| self.rotation_element(a.ciphertext, steps)).collect()
    }

    /// The permutation of every element.
    pub(super) fn permutations(&self, elements: &[u64]) -> Vec<Arc<Permutation>> {
        elements.iter().map(|&element| self.context.automorphism(element)).collect()
    }

    /// The Galois key of every element; none for the identity.
    pub(super) fn galois_keys(
        &self,
        op: &'static str,
        a: &Hoisted<'_>,
        elements: &[u64],
    ) -> Result<Vec<Option<&SwitchingKey>>, EvalError> {
        let level = a.ciphertext.level();
        elements
            .iter()
            .map(|&element| {
                if element == 1 {
                    return Ok(None);
                }
                self.keys.get(op, SwitchingKeyKind::Galois { element }, level).map(Some)
            })
            .collect()
    }
}

/// One limb of a hoisted ciphertext, its digits lifted: what all its rotations share.
pub(super) struct LiftedLimb<'s> {
    context: &'s Context,
    hoisted: &'s Hoisted<'s>,
    limb: usize,
    digits: Vec<&'s [u64]>,
    /// `P c_0` and `P c_1`; none modulo a special prime, where they are zero.
    multiples: Option<PooledBuffer>,
}

impl<'s> LiftedLimb<'s> {
    pub(super) fn new(
        context: &'s Context,
        hoisted: &'s Hoisted<'s>,
        limb: usize,
        digits: Vec<&'s [u64]>,
    ) -> Self {
        let multiples = (limb < hoisted.decomposition.basis().chain).then(|| {
            let mut multiples = context.scratch(2);
            for (x, c) in multiples.chunks_exact_mut(context.ring_degree()).zip(hoisted.ciphertext.polys()) {
                x.copy_from_slice(c.limb(limb));
                let basis = hoisted.decomposition.basis();
                let prime = basis.chain_prime(limb);
                let product = context.special_product(prime, basis.special);
                kernels::mul_scalar_assign(context.isa(), x, product, context.modulus(prime));
            }
            multiples
        });
        LiftedLimb { context, hoisted, limb, digits, multiples }
    }

    /// One limb of `P` times the rotated ciphertext, from block `first` of 64 evaluations on as
    /// many as the outputs take. Without a key: of `P` times the ciphertext itself.
    pub(super) fn rotate(
        &self,
        key: Option<&SwitchingKey>,
        permutation: &Permutation,
        [out0, out1]: [&mut [u64]; 2],
        first: usize,
    ) {
        let (context, degree, len) = (self.context, permutation.degree(), out0.len());
        match (key, &self.multiples) {
            (Some(key), multiples) => {
                let decomposition = &self.hoisted.decomposition;
                let product = kernels::RotatedProduct {
                    digits: &self.digits,
                    key: decomposition.key_limb(key, self.limb),
                    addend: multiples.as_ref().map(|multiples| &multiples[..degree]),
                    permutation,
                };
                let modulus = context.modulus(context.prime(decomposition.basis(), self.limb));
                kernels::rotated_inner_product(context.isa(), [out0, out1], &product, first, modulus);
            }
            (None, Some(multiples)) => {
                let start = first * kernels::PERMUTATION_BLOCK;
                out0.copy_from_slice(&multiples[start..][..len]);
                out1.copy_from_slice(&multiples[degree + start..][..len]);
            }
            (None, None) => [out0, out1].into_iter().for_each(|out| out.fill(0)),
        }
    }
}
