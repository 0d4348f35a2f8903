//! What the security table says of every secret that a program publishes keys under.

use serde::{Deserialize, Serialize};

use super::{SecurityError, level_reached, max_log_qp, table};
use crate::key_demand::Encapsulation;
use crate::params::{Params, Secret};

/// One secret of a program, at the largest modulus that anything is published at under it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedSecret {
    /// Its distribution.
    #[serde(flatten)]
    pub secret: Secret,
    /// `log2` of the modulus.
    pub log_modulus: f64,
    /// The highest level of [`super::SECURITY_LEVELS`] that the table grants, in bits.
    pub bits: u32,
}

impl CertifiedSecret {
    fn new(log_n: u32, secret: Secret, log_modulus: f64) -> Result<Self, SecurityError> {
        let [lowest, ..] = table::SECURITY_LEVELS;
        let max = max_log_qp(log_n, secret, lowest)?;
        let too_large = SecurityError::TooLarge { log_n, secret, bits: lowest, log_qp: log_modulus, max };
        let bits = level_reached(log_n, secret, log_modulus)?.ok_or(too_large)?;
        Ok(CertifiedSecret { secret, log_modulus, bits })
    }
}

/// The security of a program: computed from its parameters and keys, never read from a file.
///
/// Two secrets may have keys published under them. The *main* one encrypts images and answers; its
/// largest modulus is `Q P`, the chain times all special primes, and every switching key is at that
/// modulus or at a divisor of it. The *ephemeral* one raises the modulus in bootstraps; the only
/// key under it is the one that switches to it, at `q_0 p_0` (Bossuat, Troncoso-Pastoriza and
/// Hubaux, *Bootstrapping for Approximate Homomorphic Encryption with Negligible
/// Failure-Probability by Using Sparse-Secret Encapsulation*, ACNS 2022). Whoever finds either
/// secret finds both, so the program keeps the lower level of the two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// `log2` of the ring degree.
    pub log_n: u32,
    /// The secret of images and answers.
    pub main: CertifiedSecret,
    /// The secret under which bootstraps raise the modulus, if there is one.
    pub ephemeral: Option<CertifiedSecret>,
}

impl Certificate {
    /// The certificate of a program on `params` whose bootstraps, if any, raise the modulus by
    /// `encapsulation`.
    ///
    /// # Errors
    /// If the table has no row for the ring or for a secret, or if a secret is below the lowest
    /// level of the table.
    pub fn of(params: &Params, encapsulation: Option<&Encapsulation>) -> Result<Self, SecurityError> {
        let log_n = params.log_n();
        let ephemeral = encapsulation.map(|keys| {
            let secret = Secret::SparseTernary { hamming_weight: keys.weight };
            CertifiedSecret::new(log_n, secret, params.log_ephemeral_modulus())
        });
        Ok(Certificate {
            log_n,
            main: CertifiedSecret::new(log_n, params.secret(), params.log_qp())?,
            ephemeral: ephemeral.transpose()?,
        })
    }

    /// The level that all secrets keep, in bits.
    pub fn bits(&self) -> u32 {
        self.ephemeral.map_or(self.main.bits, |ephemeral| ephemeral.bits.min(self.main.bits))
    }

    /// Errs unless all secrets keep `least` bits.
    pub fn require(&self, least: u32) -> Result<(), SecurityError> {
        match [Some(self.main), self.ephemeral].into_iter().flatten().find(|secret| secret.bits < least) {
            None => Ok(()),
            Some(CertifiedSecret { secret, bits, .. }) => {
                Err(SecurityError::BelowFloor { secret, bits, least })
            }
        }
    }

    /// Where the levels come from.
    pub fn source() -> String {
        format!("{}: cost model MATZOV, all attacks", table::ESTIMATOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::ParamsLiteral;
    use crate::prime::ntt_primes_near;
    use crate::prime_set::PrimeSet;

    fn params(log_n: u32, primes: usize, secret: Secret) -> Params {
        let q: Vec<u64> = ntt_primes_near(1 << 45, log_n).take(primes).collect();
        let literal = ParamsLiteral {
            name: "test".into(),
            log_n,
            levels: PrimeSet::prefixes(1..=q.len()),
            q,
            p: ntt_primes_near((1 << 48) - 1, log_n).take(1).collect(),
            digit_limbs: 1,
            log_scale: 45,
            secret,
        };
        Params::new(literal).unwrap()
    }

    fn encapsulation(weight: u32) -> Encapsulation {
        Encapsulation { weight, level: 1, special: 1, rotations: [0].into() }
    }

    #[test]
    fn the_weaker_secret_counts() {
        // log QP = 45 * 12 + 48 = 588 keeps 192 bits at 2^15; q0 p0 of 93 bits keeps 128 at
        // weight 32.
        let params = params(15, 12, Secret::UniformTernary);
        let alone = Certificate::of(&params, None).unwrap();
        assert_eq!((alone.bits(), alone.ephemeral), (192, None));
        let both = Certificate::of(&params, Some(&encapsulation(32))).unwrap();
        assert_eq!((both.main.bits, both.bits()), (192, 128));
        assert_eq!(both.ephemeral.unwrap().log_modulus, params.log_ephemeral_modulus());
        assert!((params.log_ephemeral_modulus() - 93.0).abs() < 0.01);
        both.require(128).unwrap();
        assert_eq!(
            both.require(192),
            Err(SecurityError::BelowFloor {
                secret: Secret::SparseTernary { hamming_weight: 32 },
                bits: 128,
                least: 192
            })
        );
    }

    #[test]
    fn what_the_table_does_not_know_has_no_certificate() {
        let weak = Secret::SparseTernary { hamming_weight: 1 };
        assert!(matches!(
            Certificate::of(&params(15, 12, weak), None),
            Err(SecurityError::UnknownSecret { hamming_weight: 1 })
        ));
        assert!(matches!(
            Certificate::of(&params(15, 12, Secret::UniformTernary), Some(&encapsulation(1))),
            Err(SecurityError::UnknownSecret { hamming_weight: 1 })
        ));
        assert!(matches!(
            Certificate::of(&params(11, 1, Secret::UniformTernary), None),
            Err(SecurityError::UnknownRing { log_n: 11 })
        ));
        // log QP = 1128 is below the limit of 98 bits, 1130; one prime more is above.
        assert_eq!(Certificate::of(&params(15, 24, Secret::UniformTernary), None).unwrap().bits(), 98);
        assert!(matches!(
            Certificate::of(&params(15, 25, Secret::UniformTernary), None),
            Err(SecurityError::TooLarge { .. })
        ));
    }
}
