//! The keys of an encapsulation.

use std::collections::BTreeMap;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::key_demand::Encapsulation;
use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::scale::Level;
use zeroize::Zeroize;

use crate::error::EvalError;
use crate::kernels;
use crate::ring::automorphism::rotation_element;
use crate::ring::basis_extension::Tail;
use crate::ring::{Context, ContextError, Domain, Poly, Seed, Work};
use crate::rlwe::public::{encrypt_zero, uniform_poly};
use crate::rlwe::secret::small_poly;
use crate::rlwe::{KeyId, SecretKey};

/// The keys of an encapsulation, with the small ring that the one to the ephemeral secret lives in.
#[derive(Debug)]
pub struct EncapsulationKeys {
    pub(super) id: KeyId,
    pub(super) hamming_weight: u32,
    pub(super) small: Context,
    pub(super) to_ephemeral: PairKey,
    /// By steps to the left: from the ephemeral secret, rotated, to the main one.
    pub(super) from_ephemeral: BTreeMap<usize, PairKey>,
    /// Public seed of their uniform halves.
    pub(super) uniform_seed: [u8; 32],
    pub(super) level: Level,
    /// Special primes of the keys back: at least those of the gadget.
    pub(super) special: usize,
}

/// `(-a s' + e + P s, a)` over an extended basis, both halves in Montgomery form.
#[derive(Debug)]
pub(super) struct PairKey {
    pub(super) uniform_seed: [u8; 32],
    pub(super) body: Poly,
    pub(super) uniform: Poly,
}

impl PairKey {
    /// From `from` to the secret `to` of `context`, with a gadget of the first `gadget` special
    /// primes.
    fn generate(
        context: &Context,
        to: &SecretKey,
        from: Poly,
        gadget: usize,
        uniform_seed: [u8; 32],
        seed: &Seed,
    ) -> Self {
        let basis = from.basis();
        let (mut body, uniform) = encrypt_zero(context, to, basis, &uniform_seed, seed);
        let mut multiple = from;
        multiple.mul_scalar_assign(context, |prime| context.special_product(prime, gadget));
        context.each_limb(Work::Light, [body.data_mut()], |limb, [x]| {
            let modulus = context.modulus(context.prime(basis, limb));
            kernels::add_assign(context.isa(), x, multiple.limb(limb), modulus);
        });
        multiple.data_mut().zeroize();
        let (body, uniform) = (montgomery(context, body), montgomery(context, uniform));
        PairKey { uniform_seed, body, uniform }
    }

    /// A key read back, with its body in Montgomery form: the uniform half is expanded from its
    /// seed.
    pub(super) fn from_body(context: &Context, uniform_seed: [u8; 32], body: Poly) -> Self {
        let uniform = montgomery(context, uniform_poly(context, body.basis(), &uniform_seed));
        PairKey { uniform_seed, body, uniform }
    }

    fn bytes(&self) -> usize {
        8 * (self.body.data().len() + self.uniform.data().len())
    }

    /// `(c_0, 0) + c_1 key / P` for small integers `c_1`, given over the key's basis.
    pub(super) fn switch(&self, context: &Context, c0: &Poly, c1: &Poly) -> [Poly; 2] {
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
        context.divide_round([u0, u1], basis.with_special(0), tails)
    }
}

fn montgomery(context: &Context, mut poly: Poly) -> Poly {
    poly.mul_scalar_assign(context, |prime| context.modulus(prime).to_montgomery(1));
    poly
}

/// The ring of an ephemeral secret: the bottom prime and the first special one of `context`.
pub(super) fn ephemeral_context(context: &Context, hamming_weight: u32) -> Result<Context, ContextError> {
    let params = context.params();
    let literal = ParamsLiteral {
        name: format!("{} ephemeral", params.name()),
        log_n: params.log_n(),
        q: params.q()[..1].to_vec(),
        levels: PrimeSet::prefixes([1]),
        p: params.p()[..1].to_vec(),
        digit_limbs: 1,
        log_scale: params.canonical_scale(0).log2().round() as u32,
        secret: Secret::SparseTernary { hamming_weight },
    };
    let small = Params::new(literal)
        .map_err(|error| ContextError::Ephemeral { name: params.name().to_owned(), error })?;
    Context::with_isa(small, context.isa())
}

impl EncapsulationKeys {
    /// Makes an ephemeral secret and the keys to it and back that are `needed`. The secret is
    /// wiped.
    pub fn generate(
        context: &Context,
        secret: &SecretKey,
        needed: &Encapsulation,
        seed: &Seed,
    ) -> Result<Self, ContextError> {
        let seed = seed.child("encapsulation", 0).child(&format!("{:?}", secret.id().0), 0);
        let small = ephemeral_context(context, needed.weight)?;
        let ephemeral = SecretKey::generate(&small, &seed);
        let to_ephemeral = {
            let seed = seed.child("to", 0);
            let from = small_poly(&small, small.extended_basis(0), secret.coefficients());
            PairKey::generate(&small, &ephemeral, from, 1, seed.child("uniform", 0).bytes(), &seed)
        };
        let (level, special) = (needed.level, needed.special);
        let basis = context.key_basis(level).with_special(special);
        let seed = seed.child("from", 0);
        let uniform_seed = seed.child("uniform", 0).bytes();
        let gadget = BootstrapParams::raising_special_primes(context.params());
        let mut secret_image = small_poly(context, basis, ephemeral.coefficients());
        let from_ephemeral = needed.rotations.iter().map(|&steps| {
            let mut from = Poly::arbitrary(context, secret_image.basis(), Domain::Evaluation);
            let element = rotation_element(steps as i64, context.ring_degree());
            secret_image.automorphism_into(context, &mut from, element);
            // Every key has its own randomness.
            let seed = seed.child("rotation", steps as u64);
            (
                steps,
                PairKey::generate(context, secret, from, gadget, rotation_seed(&uniform_seed, steps), &seed),
            )
        });
        let from_ephemeral = from_ephemeral.collect();
        secret_image.data_mut().zeroize();
        let (id, hamming_weight) = (secret.id(), needed.weight);
        Ok(EncapsulationKeys {
            id,
            hamming_weight,
            small,
            to_ephemeral,
            from_ephemeral,
            uniform_seed,
            level,
            special,
        })
    }

    /// Hamming weight of the ephemeral secret.
    pub fn hamming_weight(&self) -> u32 {
        self.hamming_weight
    }

    /// Name of the main secret.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Number of special primes of the keys from the ephemeral secret.
    pub fn special_primes(&self) -> usize {
        self.special
    }

    /// Highest level that the modulus can be raised to.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Steps to the left that the keys from the ephemeral secret rotate by.
    pub fn rotations(&self) -> impl Iterator<Item = usize> + '_ {
        self.from_ephemeral.keys().copied()
    }

    /// Whether one of the keys from the ephemeral secret rotates by `steps` to the left.
    pub fn rotates(&self, steps: usize) -> bool {
        self.from_ephemeral.contains_key(&steps)
    }

    /// The key from the ephemeral secret that rotates by `steps`.
    pub(super) fn rotation(&self, op: &'static str, steps: usize) -> Result<&PairKey, EvalError> {
        self.from_ephemeral.get(&steps).ok_or(EvalError::MissingRaisingKey { op, steps })
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.to_ephemeral.bytes() + self.from_ephemeral.values().map(PairKey::bytes).sum::<usize>()
    }
}

/// Public seed of the uniform half of the key that rotates by `steps`.
pub(super) fn rotation_seed(uniform_seed: &[u8; 32], steps: usize) -> [u8; 32] {
    Seed::from_bytes(*uniform_seed).child("rotation", steps as u64).bytes()
}
