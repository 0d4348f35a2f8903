//! Raising the modulus, under an ephemeral sparse secret if there is one (Bossuat, Troncoso-Pastoriza, Hubaux, ePrint
//! 2022/024).
//!
//! At level 0 the ciphertext is switched to a secret of small Hamming weight, over `q0 p` with one special prime; its
//! residues modulo `q0` are then taken as integers modulo the whole chain, where it decrypts to `m + q0 I`; and it is switched
//! back. What is switched is smaller than `q0` both times, so each key is one pair of polynomials, without digits:
//! the noise is that of a multiplier below `q0`, divided by the special primes.
//!
//! Nothing but the first key is ever published under the ephemeral secret.

use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::scale::{Level, Scale};
use zeroize::Zeroize;

use crate::error::EvalError;
use crate::kernels::{self, Modulus};
use crate::ring::basis_extension::Tail;
use crate::ring::{Basis, Context, ContextError, Domain, Poly, Seed, Work};
use crate::rlwe::public::encrypt_zero;
use crate::rlwe::secret::small_poly;
use crate::rlwe::{Ciphertext, KeyId, SecretKey};

/// The two keys of an encapsulation, with the small ring that the first one lives in.
#[derive(Debug)]
pub struct EncapsulationKeys {
    id: KeyId,
    small: Context,
    to_ephemeral: PairKey,
    from_ephemeral: PairKey,
    level: Level,
}

/// `(-a s' + e + P s, a)` over an extended basis, both halves in Montgomery form.
#[derive(Debug)]
struct PairKey {
    body: Poly,
    uniform: Poly,
}

impl PairKey {
    /// From `from` to the secret `to` of `context`.
    fn generate(context: &Context, to: &SecretKey, from: &[i8], level: Level, seed: &Seed) -> Self {
        let basis = context.extended_basis(level);
        let uniform_seed = seed.child("uniform", 0).bytes();
        let (mut body, uniform) = encrypt_zero(context, to, basis, &uniform_seed, seed);
        let mut multiple = small_poly(context, context.basis(level), from);
        let chain = multiple.limbs() * context.ring_degree();
        multiple.mul_scalar_assign(context, |prime| context.special_product(prime));
        context.each_limb(Work::Light, [&mut body.data_mut()[..chain]], |limb, [x]| {
            kernels::add_assign(context.isa(), x, multiple.limb(limb), context.modulus(limb));
        });
        multiple.data_mut().zeroize();
        let montgomery = |mut poly: Poly| {
            poly.mul_scalar_assign(context, |prime| context.modulus(prime).to_montgomery(1));
            poly
        };
        PairKey { body: montgomery(body), uniform: montgomery(uniform) }
    }

    fn bytes(&self) -> usize {
        8 * (self.body.data().len() + self.uniform.data().len())
    }

    /// `(c_0, 0) + c_1 key / P` for small integers `c_1`, given over the key's basis.
    fn switch(&self, context: &Context, c0: &Poly, c1: &Poly) -> [Poly; 2] {
        let basis = c1.basis();
        let mut products = [(); 2].map(|()| Poly::arbitrary(context, basis, Domain::Evaluation));
        context.each_limb(Work::Light, products.each_mut().map(Poly::data_mut), |limb, [u0, u1]| {
            let (isa, modulus, x) =
                (context.isa(), context.modulus(context.prime(basis, limb)), c1.limb(limb));
            kernels::mul_montgomery_into(isa, u0, x, self.body.limb_in(basis, limb), modulus);
            kernels::mul_montgomery_into(isa, u1, x, self.uniform.limb_in(basis, limb), modulus);
        });
        let [u0, u1] = &products;
        let tails = [Tail { add: Some(c0), permute: None }, Tail::default()];
        context.divide_round([u0, u1], basis.chain, tails)
    }
}

impl EncapsulationKeys {
    /// Makes an ephemeral secret of Hamming weight `hamming_weight` and the keys to it and back, for raising to `level`. The
    /// secret is wiped.
    pub fn generate(
        context: &Context,
        secret: &SecretKey,
        hamming_weight: u32,
        level: Level,
        seed: &Seed,
    ) -> Result<Self, ContextError> {
        let seed = seed.child("encapsulation", 0).child(&format!("{:?}", secret.id().0), 0);
        let params = context.params();
        let literal = ParamsLiteral {
            name: format!("{} ephemeral", params.name()),
            log_n: params.log_n(),
            q: params.q()[..1].to_vec(),
            level_limbs: vec![1],
            p: params.p()[..1].to_vec(),
            digit_limbs: 1,
            log_scale: params.canonical_scale(0).log2().round() as u32,
            secret: Secret::SparseTernary { hamming_weight },
        };
        let small_params = Params::new(literal)
            .map_err(|error| ContextError::Ephemeral { name: params.name().to_owned(), error })?;
        let small = Context::with_isa(small_params, context.isa())?;
        let ephemeral = SecretKey::generate(&small, &seed);
        let to_ephemeral =
            PairKey::generate(&small, &ephemeral, secret.coefficients(), 0, &seed.child("to", 0));
        let from_ephemeral =
            PairKey::generate(context, secret, ephemeral.coefficients(), level, &seed.child("from", 0));
        Ok(EncapsulationKeys { id: secret.id(), small, to_ephemeral, from_ephemeral, level })
    }

    /// Name of the main secret.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Highest level that the modulus can be raised to.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.to_ephemeral.bytes() + self.from_ephemeral.bytes()
    }
}

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
            if keys.id != a.key() {
                return Err(EvalError::KeyMismatch { op, left: a.key(), right: keys.id });
            }
            if keys.level < level {
                return Err(EvalError::LevelTooHigh { op, top: keys.level, found: level });
            }
            let small = &keys.small;
            let c1 = raise(small, q0, &coefficients(context, &a.polys()[1]), Basis::extended(1));
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
