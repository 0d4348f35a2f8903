//! Raising the modulus, under an ephemeral sparse secret if there is one (Bossuat,
//! Troncoso-Pastoriza, Hubaux, ePrint 2022/024).
//!
//! At level 0 the ciphertext is switched to a secret of small Hamming weight, over `q0 p` with one
//! special prime; its residues modulo `q0` are then taken as integers modulo the whole chain, where
//! it decrypts to `m + q0 I`; and it is switched back. What is switched is smaller than `q0` both
//! times, so each key is one pair of polynomials, without digits: the noise is that of a multiplier
//! below `q0`, divided by a few special primes.
//!
//! Nothing but the first key is ever published under the ephemeral secret.

//!
//! On the way back the first matrix of coefficients to slots may be applied
//! ([`Raised::transform`]): its rotations then cost one product with a key each, where a key switch
//! takes a decomposition and as many products as there are digits.

mod keys;
mod transform;
mod wire;

pub use keys::EncapsulationKeys;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::prime_set::Exchange;
use fhec_ir::scale::{Level, Scale};

use crate::error::EvalError;
use crate::kernels::{self, Modulus};
use crate::ring::{Basis, Context, Domain, Poly, Work};
use crate::rlwe::{Ciphertext, KeyId};

/// A ciphertext whose modulus is raised: it decrypts to `m + q0 I`, with small `I`, under the
/// ephemeral secret if there is one.
#[derive(Clone, Debug)]
#[doc(alias("ModRaise", "mod raise"))]
pub struct Raised {
    /// Over the basis of `c1`, or without its special primes.
    c0: Poly,
    /// Over the basis of the keys from the ephemeral secret that it is multiplied by.
    c1: Poly,
    level: Level,
    slots: usize,
    key: KeyId,
}

impl Raised {
    /// The ciphertext `a`, at level 0, at `level`; under the ephemeral secret of `keys`, or,
    /// without, under the main one, which must be sparse for `I` to be small. Its primes are those
    /// of the level, exchanged as `exchange` says. Only where the first matrix `conserves_level`,
    /// [`Self::transform`] is what follows.
    pub fn new(
        context: &Context,
        keys: Option<&EncapsulationKeys>,
        a: &Ciphertext,
        level: Level,
        exchange: Exchange,
        conserves_level: bool,
    ) -> Result<Self, EvalError> {
        let op = "raise modulus";
        if a.level() != 0 {
            return Err(EvalError::LevelMismatch { op, left: a.level(), right: 0 });
        }
        if a.size() != 2 {
            return Err(EvalError::SizeMismatch { op, expected: 2, found: a.size() });
        }
        let q0 = context.modulus(0);
        let chain = Basis::of(exchange.of(context.params().primes(level)));
        let (bases, [c0, c1]) = match keys {
            None => ([chain; 2], [0, 1].map(|i| coefficients(context, &a.polys()[i]))),
            Some(keys) => {
                if keys.id() != a.key() {
                    return Err(EvalError::KeyMismatch { op, left: a.key(), right: keys.id() });
                }
                if keys.level() < level {
                    return Err(EvalError::LevelTooHigh { op, top: keys.level(), found: level });
                }
                let small = &keys.small;
                let c1 = raise(small, q0, &coefficients(context, &a.polys()[1]), Basis::extended(1, 1));
                let ephemeral = keys.to_ephemeral.switch(small, &a.polys()[0], &c1);
                let gadget = BootstrapParams::raising_special_primes(context.params());
                let basis = chain.with_special(gadget + usize::from(conserves_level));
                if basis.special > keys.special {
                    return Err(EvalError::Encapsulation { op, needed: true });
                }
                // Modulo the primes of the gadget alone `P c_0` is zero.
                let of_c0 = if conserves_level { basis } else { chain };
                ([of_c0, basis], ephemeral.map(|poly| coefficients(small, &poly)))
            }
        };
        let (c0, c1) = (raise(context, q0, &c0, bases[0]), raise(context, q0, &c1, bases[1]));
        Ok(Raised { c0, c1, level, slots: a.slots(), key: a.key() })
    }

    /// The ciphertext under the main secret. *Scale*: the canonical one of the level, by name; the
    /// caller knows what the integers mean.
    ///
    /// # Panics
    /// If it was raised for a first matrix that conserves the level.
    pub fn switch(
        self,
        context: &Context,
        keys: Option<&EncapsulationKeys>,
    ) -> Result<Ciphertext, EvalError> {
        let polys = match keys {
            None => [self.c0, self.c1],
            Some(_) if self.c0.basis().special > 0 => panic!("raised for a matrix, not for a switch"),
            Some(keys) => keys.rotation("raise modulus", 0)?.switch(context, &self.c0, &self.c1),
        };
        Ok(Ciphertext::new(polys.into(), self.level, Scale::canonical(self.level), self.slots, self.key))
    }
}

/// Coefficients modulo the first prime.
fn coefficients(context: &Context, poly: &Poly) -> Poly {
    let mut poly = poly.clone();
    poly.to_coefficients(context);
    poly
}

/// The centred integers with residues `source` modulo `modulus`, the first prime of `context`, over
/// `basis`.
fn raise(context: &Context, modulus: &Modulus, source: &Poly, basis: Basis) -> Poly {
    let mut out = Poly::arbitrary(context, basis, Domain::Evaluation);
    context.each_limb(Work::Heavy, [out.data_mut()], |limb, [x]| {
        let prime = context.prime(basis, limb);
        if prime == 0 {
            x.copy_from_slice(source.limb(0));
        } else {
            kernels::reduce_into(context.isa(), x, source.limb(0), modulus, context.modulus(prime));
        }
        context.transform(prime).forward(context.isa(), x);
    });
    out
}
