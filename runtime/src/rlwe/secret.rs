//! The secret key.

use std::fmt;

use fhec_ir::params::Secret;
use zeroize::Zeroize;

use crate::names::KeyId;
use crate::ring::sampling::{reduce_small, sparse_ternary, ternary};
use crate::ring::{Context, Domain, Poly, Seed, Work};

/// A secret key: a polynomial with coefficients in {-1, 0, 1}, distributed as the parameters say.
/// Wiped when dropped.
pub struct SecretKey {
    id: KeyId,
    coefficients: Vec<i8>,
    /// Over all primes, in the evaluation domain.
    poly: Poly,
}

impl SecretKey {
    /// The key made from `seed`. The same seed gives the same key.
    pub fn generate(context: &Context, seed: &Seed) -> Self {
        let mut coefficients = vec![0; context.ring_degree()];
        let mut rng = seed.child("secret key", 0).rng();
        match context.params().secret() {
            Secret::UniformTernary => ternary(&mut coefficients, &mut rng),
            Secret::SparseTernary { hamming_weight } => {
                sparse_ternary(&mut coefficients, hamming_weight, &mut rng);
            }
        }
        let mut id = [0; 16];
        id.copy_from_slice(&seed.child("secret key id", 0).bytes()[..16]);
        Self::from_coefficients(context, KeyId(id), coefficients)
    }

    pub(crate) fn from_coefficients(context: &Context, id: KeyId, coefficients: Vec<i8>) -> Self {
        let poly = small_poly(context, context.key_basis(context.params().top_level()), &coefficients);
        SecretKey { id, coefficients, poly }
    }

    /// Name of this key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The coefficients, in {-1, 0, 1}.
    pub(crate) fn coefficients(&self) -> &[i8] {
        &self.coefficients
    }

    /// The key over all primes, in the evaluation domain.
    pub(crate) fn poly(&self) -> &Poly {
        &self.poly
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.coefficients.zeroize();
        self.poly.data_mut().zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Small signed coefficients as a polynomial in the evaluation domain.
pub(crate) fn small_poly(context: &Context, basis: crate::ring::Basis, coefficients: &[i8]) -> Poly {
    let mut poly = Poly::arbitrary(context, basis, Domain::Evaluation);
    context.each_limb(Work::Heavy, [poly.data_mut()], |limb, [x]| {
        let prime = context.prime(basis, limb);
        reduce_small(x, coefficients, context.modulus(prime));
        context.transform(prime).forward(context.isa(), x);
    });
    poly
}
