//! Hybrid switching keys and their generation (Han and Ki, ePrint 2019/688, section 3).

use std::fmt;

use fhec_ir::scale::Level;
use rayon::prelude::*;
use zeroize::Zeroize;

use super::keys::KeyKind;
use super::secret::{KeyId, SecretKey};
use crate::kernels::{self, Buffer};
use crate::ring::automorphism::inverse_element;
use crate::ring::sampling::{gaussian, reduce_small, uniform_from_seed};
use crate::ring::{Basis, Context, Domain, Poly, Seed};

/// Switches a polynomial that multiplies `from` to one that multiplies `to`: per digit `d`, an encryption under `to` of
/// `P g_d from`, where `g_d` is 1 modulo the primes of the digit and 0 modulo the other chain primes.
///
/// For relinearisation `from = s^2` and `to = s`. For `X -> X^g`, `from = s` and `to = s(X^(1/g))`: the key is applied
/// *before* the automorphism, so that one decomposition serves many of them (hoisting).
///
/// Both halves are in Montgomery form, `[limb][digit][coefficient]` over the primes of `level` and the special primes:
/// what one target prime needs lies together, and a lower level reads a part of it.
#[derive(Clone)]
pub struct SwitchingKey {
    kind: KeyKind,
    id: KeyId,
    level: Level,
    basis: Basis,
    digits: usize,
    degree: usize,
    uniform_seed: [u8; 32],
    body: Buffer,
    uniform: Buffer,
}

impl SwitchingKey {
    /// The key of `kind` for levels up to `level`, made from `seed` on all threads.
    pub(crate) fn generate(
        context: &Context,
        secret: &SecretKey,
        seed: &Seed,
        kind: KeyKind,
        level: Level,
    ) -> Self {
        // Every key has its own randomness: the same errors under two secrets would give the secrets away.
        let seed = seed.child(&format!("{kind} of {:?}", secret.id().0), u64::from(level));
        let basis = context.extended_basis(level);
        let (mut from, mut to) = (secret.poly().restricted(context, basis), None);
        match kind {
            KeyKind::Relinearization => from.mul_assign(context, secret.poly()),
            KeyKind::Galois { element } => {
                let mut image = Poly::arbitrary(context, basis, Domain::Evaluation);
                from.automorphism_into(context, &mut image, inverse_element(element, context.ring_degree()));
                to = Some(image);
            }
        }
        let digits = context.params().digits(level);
        let degree = context.ring_degree();
        let isa = context.isa();
        let mut errors = vec![0i8; digits.len() * degree];
        errors.par_chunks_exact_mut(degree).enumerate().for_each(|(digit, error)| {
            gaussian(error, &mut seed.child("error", digit as u64).rng());
        });
        let uniform_seed = seed.child("uniform", 0).bytes();
        let uniform = expand_uniform(context, basis, digits.len(), &uniform_seed);
        let mut body = Buffer::zeroed(uniform.len());
        body.par_chunks_exact_mut(degree).zip(uniform.par_chunks_exact(degree)).enumerate().for_each(
            |(index, (body, uniform))| {
                let (limb, digit) = (index / digits.len(), index % digits.len());
                let prime = context.prime(basis, limb);
                let modulus = context.modulus(prime);
                let mut product = context.scratch(1);
                reduce_small(body, &errors[digit * degree..][..degree], modulus);
                context.transform(prime).forward(isa, body);
                let target = to.as_ref().map_or(secret.poly().limb_in(basis, limb), |to| to.limb(limb));
                kernels::mul_montgomery_into(isa, &mut product, target, uniform, modulus);
                kernels::sub_assign(isa, body, &product, modulus);
                if digits[digit].contains(&limb) {
                    product.copy_from_slice(from.limb(limb));
                    kernels::mul_scalar_assign(isa, &mut product, context.special_product(prime), modulus);
                    kernels::add_assign(isa, body, &product, modulus);
                }
                kernels::mul_scalar_assign(isa, body, modulus.to_montgomery(1), modulus);
                product.zeroize();
            },
        );
        errors.zeroize();
        from.data_mut().zeroize();
        if let Some(to) = &mut to {
            to.data_mut().zeroize();
        }
        let (id, digits) = (secret.id(), digits.len());
        SwitchingKey { kind, id, level, basis, digits, degree, uniform_seed, body, uniform }
    }

    /// A key read back: the uniform half is expanded from its seed.
    pub(crate) fn from_body(
        context: &Context,
        kind: KeyKind,
        id: KeyId,
        level: Level,
        uniform_seed: [u8; 32],
        body: Buffer,
    ) -> Self {
        let basis = context.extended_basis(level);
        let digits = context.params().digits(level).len();
        let uniform = expand_uniform(context, basis, digits, &uniform_seed);
        assert_eq!(body.len(), uniform.len(), "a switching key has two halves of one size");
        let degree = context.ring_degree();
        SwitchingKey { kind, id, level, basis, digits, degree, uniform_seed, body, uniform }
    }

    /// What it is for.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Name of the secret key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Highest level it serves.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        8 * (self.body.len() + self.uniform.len())
    }

    pub(crate) fn uniform_seed(&self) -> &[u8; 32] {
        &self.uniform_seed
    }

    /// `[limb][digit][coefficient]`, Montgomery form.
    pub(crate) fn body(&self) -> &[u64] {
        &self.body
    }

    /// Both halves, per digit, for limb `limb` of `basis`, an extended basis contained in the key's.
    #[inline]
    pub(crate) fn limb(&self, basis: Basis, limb: usize, digit: usize) -> (&[u64], &[u64]) {
        let start = (self.basis.limb_of(basis, limb) * self.digits + digit) * self.degree;
        (&self.body[start..][..self.degree], &self.uniform[start..][..self.degree])
    }
}

impl fmt::Debug for SwitchingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("SwitchingKey");
        out.field("kind", &self.kind)
            .field("id", &self.id)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// Uniform residues per limb and digit, each from its own child of the public seed. They *are* the Montgomery form.
fn expand_uniform(context: &Context, basis: Basis, digits: usize, seed: &[u8; 32]) -> Buffer {
    let seed = Seed::from_bytes(*seed);
    let degree = context.ring_degree();
    let mut uniform = Buffer::zeroed(context.limbs(basis) * digits * degree);
    uniform.par_chunks_exact_mut(degree).enumerate().for_each(|(index, x)| {
        let (prime, digit) = (context.prime(basis, index / digits), index % digits);
        let seed = seed.child("limb", (digit as u64) << 32 | prime as u64);
        uniform_from_seed(x, context.modulus(prime), &seed);
    });
    uniform
}
