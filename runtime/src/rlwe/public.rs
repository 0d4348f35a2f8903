//! The public key.

use zeroize::Zeroize;

use super::secret::{SecretKey, small_poly};
use crate::kernels;
use crate::names::KeyId;
use crate::ring::sampling::{gaussian, uniform_from_seed};
use crate::ring::{Basis, Context, Domain, Poly, Seed, Work};

/// An encryption of zero, `(-a s + e, a)`, over the whole chain. The uniform half is known by its
/// seed.
#[derive(Clone, Debug)]
pub struct PublicKey {
    id: KeyId,
    uniform_seed: [u8; 32],
    body: Poly,
    uniform: Poly,
}

impl PublicKey {
    /// A public key of `secret`, made from `seed`.
    pub fn generate(context: &Context, secret: &SecretKey, seed: &Seed) -> Self {
        let seed = seed.child("public key", 0).child(&format!("{:?}", secret.id().0), 0);
        let uniform_seed = seed.child("uniform", 0).bytes();
        let basis = context.key_basis(context.params().top_level()).with_special(0);
        let (body, uniform) = encrypt_zero(context, secret, basis, &uniform_seed, &seed);
        PublicKey { id: secret.id(), uniform_seed, body, uniform }
    }

    pub(crate) fn from_body(context: &Context, id: KeyId, uniform_seed: [u8; 32], body: Poly) -> Self {
        let uniform = uniform_poly(context, body.basis(), &uniform_seed);
        PublicKey { id, uniform_seed, body, uniform }
    }

    /// Name of the secret key that decrypts.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn uniform_seed(&self) -> &[u8; 32] {
        &self.uniform_seed
    }

    /// `-a s + e`.
    pub(crate) fn body(&self) -> &Poly {
        &self.body
    }

    /// `a`.
    pub(crate) fn uniform(&self) -> &Poly {
        &self.uniform
    }
}

/// The uniform polynomial over `basis` that a public seed stands for, in the evaluation domain.
pub(crate) fn uniform_poly(context: &Context, basis: Basis, seed: &[u8; 32]) -> Poly {
    let seed = Seed::from_bytes(*seed);
    let mut poly = Poly::arbitrary(context, basis, Domain::Evaluation);
    context.each_limb(Work::Heavy, [poly.data_mut()], |limb, [x]| {
        let prime = context.prime(basis, limb);
        uniform_from_seed(x, context.modulus(prime), &seed.child("limb", prime as u64));
    });
    poly
}

/// `(-a s + e, a)` over `basis`, with `a` from the public seed and `e` from the secret one.
pub(crate) fn encrypt_zero(
    context: &Context,
    secret: &SecretKey,
    basis: Basis,
    uniform_seed: &[u8; 32],
    seed: &Seed,
) -> (Poly, Poly) {
    let uniform = uniform_poly(context, basis, uniform_seed);
    let mut error = vec![0i8; context.ring_degree()];
    gaussian(&mut error, &mut seed.child("error", 0).rng());
    let mut body = small_poly(context, basis, &error);
    error.zeroize();
    context.each_limb(Work::Heavy, [body.data_mut()], |limb, [x]| {
        let modulus = context.modulus(context.prime(basis, limb));
        let mut product = context.scratch(1);
        let s = secret.poly().limb_in(basis, limb);
        kernels::mul_into(context.isa(), &mut product, uniform.limb(limb), s, modulus);
        kernels::sub_assign(context.isa(), x, &product, modulus);
        product.zeroize();
    });
    (body, uniform)
}
