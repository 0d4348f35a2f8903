//! Residues back to integers.

use num_bigint::BigUint;
use num_traits::ToPrimitive;
use rayon::prelude::*;

use super::basis::Basis;
use super::context::Context;
use super::poly::{Domain, Poly};
use crate::kernels::Modulus;

impl Context {
    /// The centred integer coefficients of `poly`, each to the nearest double (two units in the
    /// last place above 2^53), taking every `stride`-th coefficient.
    ///
    /// Messages are far smaller than their modulus: two limbs give the value, a third confirms it,
    /// and only a coefficient that fails the check is composed in big integers.
    pub(crate) fn centred_coefficients(&self, poly: &Poly, stride: usize) -> Vec<f64> {
        assert_eq!(poly.domain(), Domain::Coefficient, "coefficients are wanted");
        assert!(poly.basis().special == 0, "a value over the chain is wanted");
        let limbs = poly.limbs();
        let modulus = |limb: usize| self.modulus(poly.basis().chain_prime(limb));
        let indices = (0..self.ring_degree() / stride).into_par_iter().map(|i| i * stride).with_min_len(1024);
        if limbs == 1 {
            let m = *modulus(0);
            return indices
                .map(|i| centre(u128::from(poly.limb(0)[i]), u128::from(m.value())) as f64)
                .collect();
        }
        let (m0, m1) = (*modulus(0), *modulus(1));
        let q01 = u128::from(m0.value()) * u128::from(m1.value());
        let q0_inverse = m1.inv(m1.reduce(m0.value()));
        let big = BigComposition::new(self, poly.basis());
        indices
            .map(|i| {
                let (x0, x1) = (poly.limb(0)[i], poly.limb(1)[i]);
                // Garner: x = x0 + q0 ((x1 - x0) / q0 mod q1).
                let digit = m1.mul(m1.sub(x1, m1.reduce(x0)), q0_inverse);
                let value = centre(u128::from(x0) + u128::from(m0.value()) * u128::from(digit), q01);
                if limbs > 2 && residue(value, modulus(2)) != poly.limb(2)[i] {
                    let residues: Vec<u64> = (0..limbs).map(|limb| poly.limb(limb)[i]).collect();
                    return big.centred(&residues);
                }
                value as f64
            })
            .collect()
    }
}

fn centre(value: u128, modulus: u128) -> i128 {
    if value > modulus / 2 { value as i128 - modulus as i128 } else { value as i128 }
}

fn residue(value: i128, m: &Modulus) -> u64 {
    let size = m.reduce_u128(value.unsigned_abs());
    if value < 0 { m.neg(size) } else { size }
}

/// Composition by the Chinese remainder theorem in big integers.
struct BigComposition {
    modulus: BigUint,
    /// `(Q / q_i) ((Q / q_i)^-1 mod q_i)`.
    idempotents: Vec<BigUint>,
}

impl BigComposition {
    fn new(context: &Context, basis: Basis) -> Self {
        let primes: Vec<u64> =
            (0..basis.limbs()).map(|limb| context.modulus(context.prime(basis, limb)).value()).collect();
        let modulus: BigUint = primes.iter().map(|&q| BigUint::from(q)).product();
        let idempotents = primes.iter().map(|&q| {
            let others = &modulus / q;
            let inverse = (&others % q).modpow(&BigUint::from(q - 2), &BigUint::from(q));
            others * inverse
        });
        BigComposition { idempotents: idempotents.collect(), modulus }
    }

    fn centred(&self, residues: &[u64]) -> f64 {
        let sum: BigUint = self.idempotents.iter().zip(residues).map(|(e, &x)| e * x).sum();
        let value = sum % &self.modulus;
        let negated = &self.modulus - &value;
        let as_double = |x: &BigUint| x.to_f64().unwrap_or(f64::INFINITY);
        if negated < value { -as_double(&negated) } else { as_double(&value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, mixed_context};

    #[test]
    fn small_and_large_integers_come_back() {
        for context in [context(10, 5, 2), mixed_context(10)] {
            for limbs in 1..=4 {
                let basis = Basis::chain(limbs);
                let primes = (0..limbs).map(|l| context.modulus(l).value());
                let bits = primes.map(|q| (q as f64).log2()).sum::<f64>() as i32 - 1;
                let mut poly = Poly::zero(&context, basis, Domain::Coefficient);
                // Powers of two of either sign, up to just below half the modulus.
                let value = |i: usize| {
                    let size = 2f64.powi((i as i32 / 2) % bits);
                    if i.is_multiple_of(2) { size } else { -size }
                };
                for limb in 0..limbs {
                    let m = *context.modulus(limb);
                    for (i, x) in poly.limb_mut(limb).iter_mut().enumerate() {
                        let size = m.pow(2, ((i as i32 / 2) % bits) as u64);
                        *x = if i % 2 == 0 { size } else { m.neg(size) };
                    }
                }
                for stride in [1, 4] {
                    let found = context.centred_coefficients(&poly, stride);
                    assert_eq!(found.len(), context.ring_degree() / stride);
                    assert!(found.iter().enumerate().all(|(i, &x)| x == value(i * stride)), "{limbs} limbs");
                }
            }
        }
    }
}
