//! Raising the modulus, under an ephemeral sparse secret if there is one (Bossuat, Troncoso-Pastoriza, Hubaux, ePrint
//! 2022/024).
//!
//! At level 0 the ciphertext is switched to a secret of small Hamming weight, over `q0 p` with one special prime; its
//! residues modulo `q0` are then taken as integers modulo the whole chain, where it decrypts to `m + q0 I`; and it is switched
//! back. What is switched is smaller than `q0` both times, so each key is one pair of polynomials, without digits:
//! the noise is that of a multiplier below `q0`, divided by the special primes.
//!
//! Nothing but the first key is ever published under the ephemeral secret.

mod keys;
mod wire;

pub use keys::EncapsulationKeys;

use fhec_ir::scale::{Level, Scale};

use crate::error::EvalError;
use crate::kernels::{self, Modulus};
use crate::ring::{Basis, Context, Domain, Poly, Work};
use crate::rlwe::Ciphertext;

/// The ciphertext `a`, at level 0, at `level`: it decrypts to `m + q0 I`, with small `I` if the secret is sparse, or
/// through `keys`.
///
/// *Scale*: the canonical one of `level`, by name; the caller knows what the integers mean.
pub fn mod_raise(
    context: &Context,
    keys: Option<&EncapsulationKeys>,
    a: &Ciphertext,
    level: Level,
) -> Result<Ciphertext, EvalError> {
    let op = "raise modulus";
    if a.level() != 0 {
        return Err(EvalError::LevelMismatch { op, left: a.level(), right: 0 });
    }
    if a.size() != 2 {
        return Err(EvalError::SizeMismatch { op, expected: 2, found: a.size() });
    }
    let q0 = context.modulus(0);
    let polys = match keys {
        None => {
            [0, 1].map(|i| raise(context, q0, &coefficients(context, &a.polys()[i]), context.basis(level)))
        }
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
            let [c0, c1] = ephemeral.map(|poly| coefficients(small, &poly));
            let c0 = raise(context, q0, &c0, context.basis(level));
            let c1 = raise(context, q0, &c1, context.extended_basis(level));
            keys.from_ephemeral.switch(context, &c0, &c1)
        }
    };
    Ok(Ciphertext::new(polys.into(), level, Scale::canonical(level), a.slots(), a.key()))
}

/// Coefficients modulo the first prime.
fn coefficients(context: &Context, poly: &Poly) -> Poly {
    let mut poly = poly.clone();
    poly.to_coefficients(context);
    poly
}

/// The centred integers with residues `source` modulo `modulus`, the first prime of `context`, over `basis`.
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
