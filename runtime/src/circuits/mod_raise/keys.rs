//! The keys of an encapsulation.

use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::scale::Level;
use zeroize::Zeroize;

use crate::kernels;
use crate::ring::basis_extension::Tail;
use crate::ring::{Context, ContextError, Domain, Poly, Seed, Work};
use crate::rlwe::public::{encrypt_zero, uniform_poly};
use crate::rlwe::secret::small_poly;
use crate::rlwe::{KeyId, SecretKey};

/// The two keys of an encapsulation, with the small ring that the first one lives in.
#[derive(Debug)]
pub struct EncapsulationKeys {
    pub(super) id: KeyId,
    pub(super) hamming_weight: u32,
    pub(super) small: Context,
    pub(super) to_ephemeral: PairKey,
    pub(super) from_ephemeral: PairKey,
    pub(super) level: Level,
}

/// `(-a s' + e + P s, a)` over an extended basis, both halves in Montgomery form.
#[derive(Debug)]
pub(super) struct PairKey {
    pub(super) uniform_seed: [u8; 32],
    pub(super) body: Poly,
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
        let (body, uniform) = (montgomery(context, body), montgomery(context, uniform));
        PairKey { uniform_seed, body, uniform }
    }

    /// A key read back, with its body in Montgomery form: the uniform half is expanded from its seed.
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
        context.divide_round([u0, u1], basis.chain, tails)
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
        level_limbs: vec![1],
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
        let small = ephemeral_context(context, hamming_weight)?;
        let ephemeral = SecretKey::generate(&small, &seed);
        let to_ephemeral =
            PairKey::generate(&small, &ephemeral, secret.coefficients(), 0, &seed.child("to", 0));
        let from_ephemeral =
            PairKey::generate(context, secret, ephemeral.coefficients(), level, &seed.child("from", 0));
        let id = secret.id();
        Ok(EncapsulationKeys { id, hamming_weight, small, to_ephemeral, from_ephemeral, level })
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
